"""Every form of answer, there and back: what is written is what was meant, in the sample's order and with its spelling of ids."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from competitions.answers import ANSWERS, AnswerColumn, by_their_headers
from competitions.competition import Competition
from competitions.csv_tables import parse_table
from competitions.loading import parse_competition
from competitions.readers.read import read
from submissions.external.csv_file import read_file
from submissions.format import write_submission
from submissions.lint import check_file
from submissions.reading import TaskRead, read_columns
from system.errors import UserError

HOSTILE = ("NA", "1", "007", "1e3", "nan", 'say "so"', "a,b", "한국", "-0", "=SUM(A1)", "true", "x/y", "{class}", "p é")
IDS = ["b.jpg", "01", "1.0", "한국.png", "a b"]


def shares_of(n_photos: int, n_classes: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Rows as a soft vote gives them: means of float16 probabilities, some of them 0, sums not quite 1."""
    rng = np.random.default_rng(seed)
    voters = rng.dirichlet(np.full(n_classes, 0.3), (3, n_photos)).astype(np.float16)
    return voters.astype(np.float64).mean(axis=0)


def asked_for(form: str, classes: tuple[str, ...], **more: Any) -> Competition:
    header = "{class}" if form == "probabilities" else "answer"
    of = f", of: {classes[-1]!r}" if ANSWERS[form].of_class and header == "answer" else ""
    settings = "".join(f", {name}: {json.dumps(value)}" for name, value in more.items())
    listed = ", ".join(repr(name).replace("\\'", "''") for name in classes)
    answers = f"{{{header!r}: {{task: kind, form: {form}{of}}}}}"
    text = (
        f"tasks: {{kind: {{column: kind, classes: [{listed}]}}}}\nsubmission: {{id_column: id, answers: {answers}{settings}}}\n"
    )
    return complete(parse_competition(text, "x", where="x.yaml"))


def complete(competition: Competition) -> Competition:
    from competitions.manifest import Manifest
    from competitions.readers.sample_submission import with_sample

    nothing = Manifest((), (), (), (), {})
    return with_sample(competition, nothing, Path())[0]


def order_of(found: dict[str, TaskRead]) -> np.ndarray[Any, Any]:
    order = found["kind"].order
    assert order is not None
    return order


def settings_for(form: str, values: str = "name") -> dict[str, Any]:
    return {"k": 3, "separator": "|", "values": values} if form == "ranking" else {"values": values}


@pytest.mark.parametrize("values", ["name", "index"])
@pytest.mark.parametrize("form", ANSWERS)
def test_what_is_written_reads_back_whatever_classes_are_called(tmp_path: Path, form: str, values: str) -> None:
    asked, shares = asked_for(form, HOSTILE, **settings_for(form, values)), shares_of(len(IDS), len(HOSTILE))
    write_submission(tmp_path / "s.csv", asked, IDS, {"kind": shares.argmax(axis=1)}, {"kind": shares})
    table, torn = parse_table(tmp_path / "s.csv")
    columns = dict(table.columns)
    assert not torn
    assert list(columns) == ["id", *(column.header for column in asked.submission.columns)]
    assert list(columns.pop("id")) == IDS, "the sample's order and spelling"
    found, faults = read_columns(asked.submission.columns, columns, {"kind": HOSTILE})
    assert not faults
    whole = shares / shares.sum(axis=1, keepdims=True)
    if ANSWERS[form].decides:
        assert order_of(found).tolist() == shares.argmax(axis=1)[:, None].tolist()
    elif form == "ranking":
        assert order_of(found).tolist() == np.argsort(-shares, kind="stable")[:, :3].tolist()
    else:
        numbers = list(found["kind"].class_numbers)
        assert np.abs(found["kind"].probs - whole[:, numbers]).max() < 1e-15
        if form == "probabilities":
            assert numbers == list(range(len(HOSTILE)))
            assert np.abs(found["kind"].probs.sum(axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("form", [name for name, form in ANSWERS.items() if not form.decides])
def test_shares_that_are_none_are_refused(tmp_path: Path, form: str) -> None:
    asked, shares = asked_for(form, HOSTILE, **settings_for(form)), shares_of(len(IDS), len(HOSTILE))
    shares[1], shares[2, 0], shares[3, 1] = 0, np.nan, -0.1
    with pytest.raises(
        UserError, match=r"kind: shares must be at least 0 and not all 0, of 3 photos they are not: 01, 1.0, 한국.png"
    ):
        write_submission(tmp_path / "s.csv", asked, IDS, {}, {"kind": shares})
    with pytest.raises(UserError, match="shares must be numbers of the shape"):
        write_submission(tmp_path / "s.csv", asked, IDS, {}, {"kind": shares[:, 1:]})
    with pytest.raises(UserError, match="the class shares of kind are missing"):
        write_submission(tmp_path / "s.csv", asked, IDS, {"kind": shares.argmax(axis=1)})
    assert not (tmp_path / "s.csv").exists()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_min=True))
def test_a_probability_reads_back_as_the_same_number(share: float) -> None:
    column = AnswerColumn("p", "kind", "probability", "yes")
    rows = np.array([[0.5, share], [share, 1.0]])
    said, faults = ANSWERS["probability"].read(column, ("no", "yes"), ANSWERS["probability"].write(column, ("no", "yes"), rows))
    assert not faults
    assert said.probs[1].tolist() == [share, 1.0]
    assert said.probs[0].tolist() == [1 - share, 0.0]


@pytest.mark.parametrize(
    ("form", "cells", "texts"),
    [
        ("class", ["NA", "Na"], ["unknown class 'Na'"]),
        ("probability", ["0.1", "nan", "x"], ["must be numbers, got 'x' (1 rows)", "must lie in 0..1, got 'nan' (1 rows)"]),
        ("probabilities", ["inf", "1.5", "-1e-9"], ["must lie in 0..1, got 'inf' (3 rows)"]),
        ("ranking", ["NA", ""], ["names at least one class, 1 rows do not"]),
        (
            "ranking",
            ["NA|1|007|1e3", "nan|nan", "new"],
            ["at most 3 classes, 1 rows", "names a class once, 1 rows", "unknown class 'new'"],
        ),
    ],
)
def test_cells_that_say_nothing_are_named(form: str, cells: list[str], texts: list[str]) -> None:
    column = AnswerColumn("answer", "kind", form, "NA", k=3, separator="|")
    _, faults = ANSWERS[form].read(column, HOSTILE, cells)
    assert len(faults) == len(texts)
    assert all(text in fault for text, fault in zip(texts, faults, strict=True)), faults


TASK = "tasks:\n  kind: {column: kind, classes: [cat, dog, new york]}\n  sick: {column: sick, classes: ['0', '1']}\n"


@pytest.mark.parametrize(
    ("submission", "texts"),
    [
        ("form: probabilty, answers: {y: kind}", ["unknown form of answer in submission 'probabilty'; did you mean probability"]),
        ("answers: {y: {task: kind, form: soft}}", ["y: unknown form of answer 'soft'"]),
        ("answers: {y: {form: probability}}", ["submission.answers.y must say its task, one of kind, sick, label"]),
        ("answers: {y: {task: kind, from: probability}}", ["submission.answers.y: unknown setting 'from'; did you mean form"]),
        ("answers: {y: {task: kind, form: probability}}", ["say whose probability it holds, e.g. of: 'cat'; kind has 3 classes"]),
        ("answers: {y: {task: kind, form: probability, of: cow}}", ["of: unknown class 'cow'"]),
        ("answers: {y: {task: sick, form: class, of: '1'}}", ["of has no effect with the form class"]),
        ("form: probabilities, answers: {y: kind}", ["probabilities have a column for each class; call it '{class}'"]),
        ("answers: {'{class}': kind}", ["a header with {class} or {number} is a column for each class; say form: probabilities"]),
        (
            "form: probabilities, answers: {cat: kind, dog: kind}",
            ["probabilities need a column for each class, new york have none"],
        ),
        ("form: ranking, k: 2, answers: {y: kind}", ["must not hold the separator ' ', 1 do: 'new york'; give another"]),
        ("form: ranking, k: 4, separator: ',', answers: {y: kind}", ["a ranking names, 1..3, got 4"]),
        ("k: 2, separator: ',', answers: {y: kind}", ["k has no effect without a ranking", "separator has no effect"]),
        (
            "form: probability, answers: {y: {task: sick, of: '2'}, x: {task: seek}}",
            ["unknown answer in submission 'seek'", "'2'"],
        ),
    ],
)
def test_mistakes_in_a_file_are_one_sentence_each(submission: str, texts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse_competition(f"{TASK}submission: {{id_column: id, {submission}}}\n", "x", where="x.yaml")
    assert len(caught.value.faults) == len(texts), caught.value.faults
    assert all(any(text in fault for fault in caught.value.faults) for text in texts), caught.value.faults


@pytest.mark.parametrize(
    ("submission", "columns"),
    [
        ("answers: {y: kind}", [("y", "kind", "class", "")]),
        (
            "form: probability, answers: {y: sick, x: {task: kind, of: dog}}",
            [("y", "sick", "probability", "1"), ("x", "kind", "probability", "dog")],
        ),
        (
            "answers: {'p_{class}': {task: kind, form: probabilities}}",
            [(f"p_{n}", "kind", "probabilities", n) for n in ("cat", "dog", "new york")],
        ),
        (
            "answers: {'c{number}': {task: sick, form: probabilities}}",
            [("c0", "sick", "probabilities", "0"), ("c1", "sick", "probabilities", "1")],
        ),
        ("answers: {'0': sick, '1': sick}", [("0", "sick", "probabilities", "0"), ("1", "sick", "probabilities", "1")]),
        ("form: class, answers: {'0': sick, '1': sick}", [("0", "sick", "class", ""), ("1", "sick", "class", "")]),
        ("form: ranking, k: 2, separator: ',', answers: {y: kind}", [("y", "kind", "ranking", "")]),
    ],
)
def test_a_file_says_its_columns_in_few_words(submission: str, columns: list[tuple[str, ...]]) -> None:
    asked = complete(parse_competition(f"{TASK}submission: {{id_column: id, {submission}}}\n", "x", where="x.yaml"))
    assert [(c.header, c.task, c.form, c.of) for c in asked.submission.columns] == columns
    again = Competition.model_validate(asked.model_dump(mode="json"))
    assert again.submission == asked.submission, "records keep it"


def test_headers_are_taken_for_classes_only_where_they_are_all_of_them() -> None:
    kinds, sick = ("cat", "dog"), ("0", "1")
    assert [a.task for a in by_their_headers(["dog", "cat"], {"kind": kinds, "sick": sick}).values()] == ["kind", "kind"]
    assert not by_their_headers(["dog"], {"kind": kinds})
    assert not by_their_headers(["0", "1"], {"sick": sick, "ill": sick}), "of which task nobody says"
    assert [a.of for a in by_their_headers(["1", "0"], {"kind": kinds}).values()] == ["dog", "cat"]


def lay_out(root: Path, sample: str, tasks: str, form: str = "") -> tuple[Competition, Any]:
    (root / "t.csv").write_text("id,kind,sick\n1.jpg,cat,1\n2.jpg,dog,0\n")
    (root / "sample.csv").write_text(sample)
    for name in ("1.jpg", "2.jpg", "test/b.jpg", "test/a.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    text = f"table: t.csv\ncolumns: {{image: id}}\ntest_images: test\n{tasks}submission: {{sample: sample.csv{form}}}\n"
    return read(parse_competition(text, "x", where="x.yaml"), root)


@pytest.mark.parametrize(
    ("sample", "form", "columns", "note"),
    [
        (
            "id,new york,cat,dog\nb,.3,.3,.4\na,.3,.3,.4\n",
            "",
            [("new york", "new york"), ("cat", "cat"), ("dog", "dog")],
            "form: probabilities",
        ),
        ("id,2,0,1\nb,.3,.3,.4\na,.3,.3,.4\n", "", [], ""),
        ("id,sick\nb,0\na,0\n", ", form: probability", [("sick", "1")], ""),
        ("id,sick\nb,0.5\na,0.5\n", "", [("sick", "1")], "sick holds numbers such as 0.5, so it is the probability of '1'"),
        ("id,sick\nb,0.5\na,0.5\n", ", form: class", [("sick", "")], ""),
        ("id,x\nb,0\na,0\n", ", answers: {x: {task: kind, form: probability, of: dog}}", [("x", "dog")], ""),
        ("id,kind\nb,cat|dog\na,cat|dog\n", ", form: ranking, separator: '|'", [("kind", "")], "k: 2"),
    ],
)
def test_a_sample_says_the_form(tmp_path: Path, sample: str, form: str, columns: list[tuple[str, str]], note: str) -> None:
    if not columns:
        with pytest.raises(UserError, match="the headers 2 name no task"):
            lay_out(tmp_path, sample, TASK, form)
        return
    asked, manifest = lay_out(tmp_path, sample, TASK, form)
    assert [(c.header, c.of) for c in asked.submission.columns] == columns
    assert manifest.image_ids[-2:] == ("b", "a")
    assert any(note in text for text in manifest.notes) == bool(note) or not note


@pytest.mark.parametrize("form", ["probability", "probabilities"])
def test_a_team_mates_file_in_the_competitions_form_votes_with_its_shares(tmp_path: Path, form: str) -> None:
    asked, shares = asked_for(form, ("no", "yes")), shares_of(len(IDS), 2)
    write_submission(tmp_path / "s.csv", asked, IDS, {}, {"kind": shares})
    content = read_file(tmp_path / "s.csv", asked)
    assert not content.faults
    assert content.heads["kind"].kind == "probabilities"
    whole = shares / shares.sum(axis=1, keepdims=True)
    assert np.abs(content.heads["kind"].probs - whole).max() < 1e-3


@pytest.mark.parametrize(("form", "why"), [("ranking", "cannot vote"), ("probability", "probabilities of NA, 1, 007")])
def test_a_file_that_does_not_say_all_classes_cannot_vote(tmp_path: Path, form: str, why: str) -> None:
    asked, shares = asked_for(form, HOSTILE, **settings_for(form)), shares_of(len(IDS), len(HOSTILE))
    write_submission(tmp_path / "s.csv", asked, IDS, {}, {"kind": shares})
    content = read_file(tmp_path / "s.csv", asked)
    assert len(content.faults) == 1
    assert why in content.faults[0]


ROWS = {"id": "{id}_{header}", "value": "Label"}


def test_a_photo_may_have_a_row_for_each_header(tmp_path: Path) -> None:
    asked, shares = asked_for("probabilities", ("x", "y_x"), rows=ROWS), shares_of(2, 2)
    write_submission(tmp_path / "s.csv", asked, ["a", "b_y"], {}, {"kind": shares})
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", "a_x", "a_y_x", "b_y_x", "b_y_y_x"]
    assert lines[0] == "id,Label"
    assert check_file(tmp_path / "s.csv", asked, ["a", "b_y"])["rows"] == 4
    content = read_file(tmp_path / "s.csv", asked)
    assert not content.faults
    assert content.heads["kind"].image_ids == ("a", "b_y")
    whole = shares / shares.sum(axis=1, keepdims=True)
    assert np.abs(content.heads["kind"].probs - whole).max() < 1e-3


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("form", ANSWERS)
def test_several_photos_may_have_one_row(tmp_path: Path, form: str, how: str) -> None:
    classes = ("no", "yes", "perhaps")
    unit = {"column": "patient", "how": how}
    asked = asked_for(form, classes, unit=unit, **(settings_for(form) if form == "ranking" else {}))
    shares, units = shares_of(5, 3), ["p2", "p1", "p2", "p3", "p1"]
    write_submission(tmp_path / "s.csv", asked, IDS, {"kind": shares.argmax(axis=1)}, {"kind": shares}, units)
    table, _ = parse_table(tmp_path / "s.csv")
    assert table.columns["id"] == ("p2", "p1", "p3")
    found, faults = read_columns(asked.submission.columns, table.columns, {"kind": classes})
    assert not faults
    whole = shares / shares.sum(axis=1, keepdims=True)
    each = np.array([getattr(whole[rows], how)(axis=0) for rows in ([0, 2], [1, 4], [3])])
    if form in ("class", "ranking"):
        assert order_of(found)[:, 0].tolist() == each.argmax(axis=1).tolist()
    else:
        each = each / each.sum(axis=1, keepdims=True) if form == "probabilities" else each
        assert np.abs(found["kind"].probs - each[:, list(found["kind"].class_numbers)]).max() < 1e-12
    assert check_file(tmp_path / "s.csv", asked, ["p2", "p1", "p3"])["notes"] == []
    with pytest.raises(UserError, match="each photo must have a patient"):
        write_submission(tmp_path / "s.csv", asked, IDS, {"kind": shares.argmax(axis=1)}, {"kind": shares})


@pytest.mark.parametrize(
    ("submission", "text"),
    [
        ("answers: {y: kind}, rows: {id: '{id}', value: v}", "submission.rows.id must hold {id} and {header} once each"),
        ("answers: {y: kind}, rows: {id: '{id}{header}', value: v, form: x}", "submission.rows: unknown setting 'form'"),
        ("answers: {y: kind}, rows: {id: '{id}{header}'}", "submission.rows.value is missing"),
        ("answers: {y: kind}, rows: long", "submission.rows must be a mapping"),
        ("answers: {y: kind}, unit: {column: p, how: median}", "submission.unit.how must be 'mean' or 'max'"),
    ],
)
def test_rows_and_units_are_checked(submission: str, text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_competition(f"{TASK}submission: {{id_column: id, {submission}}}\n", "x", where="x.yaml")
    assert [fault for fault in caught.value.faults if text in fault], caught.value.faults
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    ("sample", "form", "rows", "texts"),
    [
        ("ID,Label\nb_cat,0\nb_dog,0\nb_new york,0\na_cat,0\na_dog,0\na_new york,0\n", "", 3, ()),
        ("ID,Label\nb_cat,0\nb_dog,0\na_cat,0\n", "", 0, ("2 photos have no row for some of",)),
        ("ID,Label\nb_cat,0\nb_cow,0\n", "", 0, ("1 ids are not '{id}_{header}' with one of cat, dog, new york: 'b_cow'",)),
        ("ID,p\nb_cat,0\n", "", 0, ("one column beside 'ID', 'Label', got 'p'",)),
    ],
)
def test_a_sample_with_several_rows_per_photo_says_photos_and_headers(
    tmp_path: Path, sample: str, form: str, rows: int, texts: tuple[str, ...]
) -> None:
    tasks = TASK.split("\n  sick")[0] + "\n"
    words = ", rows: {id: '{id}_{header}', value: Label}" + form
    if texts:
        with pytest.raises(UserError) as caught:
            lay_out(tmp_path, sample, tasks, words)
        assert all(any(text in fault for fault in caught.value.faults) for text in texts), caught.value.faults
        return
    asked, manifest = lay_out(tmp_path, sample, tasks, words)
    assert len(asked.submission.columns) == rows
    assert asked.submission.id_column == "ID"
    assert manifest.image_ids[-2:] == ("b", "a")


def test_a_sample_of_units_gives_the_order_of_the_photos(tmp_path: Path) -> None:
    for name in "12ab":
        (tmp_path / f"{name}.jpg").write_bytes(b"x")
    (tmp_path / "t.csv").write_text("id,role,kind,well\n1.jpg,train,cat,w1\n2.jpg,train,dog,w2\na.jpg,test,,w3\nb.jpg,test,,w4\n")
    (tmp_path / "sample.csv").write_text("well,kind\nw4,cat\nw3,cat\n")
    tasks = TASK.split("\n  sick")[0] + "\n"
    text = (
        f"table: t.csv\ncolumns: {{image: id, role: role}}\n{tasks}submission: {{sample: sample.csv, unit: {{column: well}}}}\n"
    )
    asked, manifest = read(parse_competition(text, "x", where="x.yaml"), tmp_path)
    assert manifest.image_ids == ("1.jpg", "2.jpg", "b.jpg", "a.jpg")
    assert manifest.units == ("w1", "w2", "w4", "w3")
    assert asked.submission.id_column == "well"
    (tmp_path / "sample.csv").write_text("well,kind\nw4,cat\nw5,cat\n")
    with pytest.raises(
        UserError, match=r"1 of its rows have no test photo: 'w5'[\s\S]*1 texts of test photos have no row in it: 'w3'"
    ):
        read(parse_competition(text, "x", where="x.yaml"), tmp_path)


def test_of_equal_shares_a_ranking_names_the_first_classes_of_the_competitions_order() -> None:
    column, classes = AnswerColumn("answer", "kind", "ranking", k=3), tuple("abcde")
    rows = np.array([[0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.3, 0.1, 0.3, 0.2], [0.0, 0.0, 1.0, 0.0, 0.0]])
    assert ANSWERS["ranking"].write(column, classes, rows) == ["a b c", "b d e", "c a b"]
