"""The file that is handed in: there and back, and every fault is named before anything is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from competitions.answers import Ints
from competitions.competition import Competition, Submission, Task
from submissions.external.csv_file import read_file
from submissions.format import write_submission
from system.errors import UserError


def competition(values: Any = "name", **answers: str) -> Competition:
    """18 classes of three tasks."""
    tasks = {
        "mask": Task(column="mask", classes=("wear", "incorrect", "none")),
        "gender": Task(column="gender", classes=("male", "fe,male")),
        "age": Task(column="age", classes=("NA", "middle", 'o"ld')),
    }
    form = Submission(id_column="ImageID", answers=answers or {"ans": "label"}, values=values)
    return Competition(name="faces", tasks=tasks, submission=form)


def answered(n: int = 18) -> dict[str, np.ndarray]:
    """Every composed class once, and its tasks."""
    label = np.arange(n) % 18
    mask, gender, age = np.unravel_index(label, (3, 2, 3))
    return {"label": label, "mask": mask, "gender": gender, "age": age}


def read_submission(path: Path, asked: Competition) -> tuple[tuple[str, ...], dict[str, Ints]]:
    """The ids, and the class numbers of each task, as `import_predictions.py` reads them."""
    read = read_file(path, asked)
    if read.faults:
        raise UserError(*read.faults)
    return read.image_ids, {task: rows.probs.argmax(axis=1) for task, rows in read.heads.items()}


IDS = [f"{i:03}.jpg" for i in range(18)]


@pytest.mark.parametrize("values", ["name", "index"])
@pytest.mark.parametrize("answers", [{"ans": "label"}, {"a": "age", "b": "label", "c": "mask"}])
def test_round_trip(tmp_path: Path, values: str, answers: dict[str, str]) -> None:
    asked = competition(values, **answers)
    write_submission(tmp_path / "out" / "s.csv", asked, IDS[::-1], answered())
    ids, found = read_submission(tmp_path / "out" / "s.csv", asked)
    assert list(ids) == IDS[::-1]
    assert set(found) == set(answers.values())
    for task, labels in found.items():
        assert labels.tolist() == answered()[task].tolist()
        assert labels.dtype == np.int64
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["s.csv"], "nothing is left beside it"


def test_the_bytes_are_the_competitions(tmp_path: Path) -> None:
    write_submission(tmp_path / "s.csv", competition("index"), ["001", "é"], {"label": np.array([17, 0])})
    assert (tmp_path / "s.csv").read_bytes() == "ImageID,ans\n001,17\né,0\n".encode()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1, max_size=18, unique=True))
def test_any_image_id_survives(tmp_path: Path, ids: list[str]) -> None:
    write_submission(tmp_path / "s.csv", competition(b="label", a="age"), ids, answered(len(ids)))
    assert list(read_submission(tmp_path / "s.csv", competition(b="label", a="age"))[0]) == ids


def test_class_nineteen_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"label: class numbers must be 0..17, 1 are not: 18 for 017.jpg"):
        write_submission(tmp_path / "s.csv", competition(), IDS, {"label": np.arange(1, 19)})
    assert not (tmp_path / "s.csv").exists()
    (tmp_path / "s.csv").write_text("ImageID,ans\na,17\nb,18\n")
    with pytest.raises(UserError, match=r"column ans: class numbers must be 0..17, got '18' \(1 rows\)"):
        read_submission(tmp_path / "s.csv", competition("index"))


@pytest.mark.parametrize("bad", [np.nan, -1, 0.5, np.inf, 99])
def test_what_is_no_class_number_is_refused(tmp_path: Path, bad: float) -> None:
    with pytest.raises(UserError, match=r"label: class numbers must be 0..17, 1 are not"):
        write_submission(tmp_path / "s.csv", competition(), IDS[:2], {"label": np.array([0, bad])})


def test_whole_floats_are_class_numbers(tmp_path: Path) -> None:
    write_submission(tmp_path / "s.csv", competition("index"), IDS[:2], {"label": np.array([0.0, 17.0])})
    assert read_submission(tmp_path / "s.csv", competition("index"))[1]["label"].tolist() == [0, 17]


def test_all_faults_of_writing_are_named_at_once(tmp_path: Path) -> None:
    answers = {"label": np.array([0, 1]), "age": np.array([0, 1, 7]), "gender": np.array(["a", "b", "c"])}
    with pytest.raises(UserError) as caught:
        write_submission(tmp_path / "s.csv", competition(a="label", b="age", c="mask", d="gender"), ["x", "x", ""], answers)
    assert [f.split(" ")[0] for f in caught.value.faults] == ["1", "an", "label:", "age:", "the", "gender:"]


def test_no_photo_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no photo"):
        write_submission(tmp_path / "s.csv", competition(), [], {"label": np.array([], dtype=np.int64)})


@pytest.mark.parametrize(
    "text", ["\ufeffImageID,ans\r\na,0\r\nb,17\r\n", "ans,ImageID\n0,a\n17,b", "ImageID,ans\na,0\nb,17\n\n\n"]
)
def test_marks_line_ends_and_column_order_are_tolerated(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.csv").write_bytes(text.encode())
    ids, answers = read_submission(tmp_path / "s.csv", competition("index"))
    assert ids == ("a", "b")
    assert answers["label"].tolist() == [0, 17]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ImageID,ans,more\na,0,1\n", "unknown column 'more'"),
        ("ImageID,ans,ans\na,0,1\n", "column names must differ, these stand more than once: ans"),
        ("ImageID,ans\na\nb,0\n", "every row must have the header's 2 fields; line 2 has 1"),
        ("ImageID,ans\na,0\na,1\n", "1 image ids stand more than once, among them a"),
        ("ImageID,ans\n,0\n", "an image id is empty"),
        ("ImageID,ans\n", "there is no photo"),
        ("ImageID,ans\na,\n", "class numbers must be 0..17, got ''"),
        ("ImageID,ans\na,1.0\n", "got '1.0'"),
        ("ImageID,ans\na,nan\n", "got 'nan'"),
        (f"ImageID,ans\na,{'9' * 5000}\n", "class numbers must be 0..17"),
        ('ImageID,ans\na,"0\n', "not a CSV file"),
        ("ImageID,ans\n\udcff,0\n", "not UTF-8"),
    ],
)
def test_faulty_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message):
        read_submission(tmp_path / "s.csv", competition("index"))


def test_an_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("ImageID,ans\na,midle\nb,midle\nc,NA\n")
    with pytest.raises(UserError, match=r"column ans: unknown class 'midle'; did you mean middle\?.*\(2 rows\)"):
        read_submission(tmp_path / "s.csv", competition(ans="age"))


def test_two_columns_of_one_task_must_agree(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("ImageID,a,b\nx,1,2\n")
    with pytest.raises(UserError, match="answers age differently"):
        read_submission(tmp_path / "s.csv", competition("index", a="age", b="age"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_submission(tmp_path / "none.csv", competition())


def test_an_id_that_is_no_text_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be UTF-8 text, 1 are not: '\\udcff.jpg'; rename"):
        write_submission(tmp_path / "s.csv", competition("index"), ["001", "\udcff.jpg"], {"label": np.array([17, 0])})
    assert not list(tmp_path.iterdir())
