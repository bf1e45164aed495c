"""Before a file is handed in: what is right passes, and each fault of each form is one sentence."""

from pathlib import Path
from typing import Any

import pytest

from competitions.answers import ANSWERS
from submissions.format import write_submission
from submissions.lint import check_file
from system.errors import UserError
from tests.submissions.test_answers import HOSTILE, IDS, asked_for, settings_for, shares_of


def checked(path: Path, asked: Any, text: str) -> dict[str, Any]:
    path.write_text(text)
    return check_file(path, asked, ["a", "b"])


@pytest.mark.parametrize("form", ANSWERS)
def test_what_podium_writes_has_no_fault_and_no_note(tmp_path: Path, form: str) -> None:
    asked, shares = asked_for(form, HOSTILE, **settings_for(form)), shares_of(len(IDS), len(HOSTILE))
    write_submission(tmp_path / "s.csv", asked, IDS, {"kind": shares.argmax(axis=1)}, {"kind": shares})
    found = check_file(tmp_path / "s.csv", asked, IDS)
    assert (found["rows"], found["notes"], found["answers"]["kind"]["form"]) == (len(IDS), [], form)


@pytest.mark.parametrize(
    ("form", "text", "faults"),
    [
        ("class", "id,answer\na,x\nb,z\n", ["column answer: unknown class 'z'"]),
        ("class", "id,answer\na,x\n", ["1 test photos have no row: 'b'"]),
        (
            "class",
            "id,answer\na,x\nb,x\nb,x\nc,x\n",
            ["1 image ids stand more than once, among them b", "1 ids are no test photos of x: 'c'"],
        ),
        ("class", "id,answer\na ,x\nb,x\n", ["only look so: 'a ' for 'a'"]),
        ("class", "id;answer\na;x\nb;x\n", ["2 columns are missing: id, answer", "reads as one column", "unknown column"]),
        ("probability", "id,answer\na,0.5\nb,1.01\n", ["must lie in 0..1, got '1.01' (1 rows)"]),
        ("probability", "id,answer\na,\nb,nan\n", ["must be numbers, got '' (1 rows)", "must lie in 0..1, got 'nan'"]),
        ("probabilities", "id,x,y\na,0.5,0.5\nb,0.5,0.4\n", ["must sum to 1 within 0.01, 1 do not: b"]),
        ("probabilities", "id,x\na,0.5\nb,0.5\n", ["1 columns are missing: y"]),
        ("ranking", "id,answer\na,x|y\nb,x|y|x|y\n", ["at most 3 classes, 1 rows do not: 'x|y|x|y'", "a class once"]),
    ],
)
def test_each_fault_is_named(tmp_path: Path, form: str, text: str, faults: list[str]) -> None:
    classes = ("x", "y", "w") if form == "ranking" else ("x", "y")
    with pytest.raises(UserError) as caught:
        checked(tmp_path / "s.csv", asked_for(form, classes, **settings_for(form)), text)
    assert len(caught.value.faults) == len(faults), caught.value.faults
    assert all(any(text in fault for fault in caught.value.faults) for text in faults), caught.value.faults


def test_what_is_odd_and_no_fault_is_noted(tmp_path: Path) -> None:
    found = checked(tmp_path / "s.csv", asked_for("probabilities", ("x", "y")), "id,y,x\nb,0.333,0.666\na,0.5,0.5\n")
    assert [note.partition(" ")[0] for note in found["notes"]] == ["kind:", "its", "its"]
    assert found["answers"]["kind"]["mean"] == {"x": pytest.approx(0.583), "y": pytest.approx(0.4165)}


def test_a_file_of_a_thousand_faults_is_refused_in_few_lines(tmp_path: Path) -> None:
    names = tuple(f"c{number}" for number in range(1000))
    rows = "".join(f"{row}," + ",".join(["x"] * 1000) + "\n" for row in range(50))
    with pytest.raises(UserError) as caught:
        checked(tmp_path / "s.csv", asked_for("probabilities", names), f"id,{','.join(names)}\n{rows}")
    assert len(caught.value.faults) < 20
    assert all(len(fault) < 400 for fault in caught.value.faults)
