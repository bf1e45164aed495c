"""The organisers' sample submission: the file handed in has its columns, its photos and its order, or reading stops."""

import shutil
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from competitions.competition import Competition, Submission
from competitions.loading import parse_competition
from competitions.prepare import load_prepared, prepare
from competitions.readers.read import read
from submissions.external.csv_file import read_file
from submissions.format import write_submission
from system.errors import UserError
from system.paths import CompetitionPaths

TASKS = "tasks:\n  kind: {column: kind, classes: [cat, dog]}\n  size: {column: size, classes: [small, big]}\n"
YAML = f"table: t.csv\ncolumns: {{image: id, role: role}}\n{TASKS}submission: {{sample: sample.csv}}\n"
TABLE = "id,role,kind,size\n1.jpg,train,cat,big\nb.jpg,test,,\n2.jpg,train,dog,small\na.jpg,test,,\nc.jpg,test,,\n"
KAGGLE = f"table: t.csv\ncolumns: {{image: id}}\nimages: train\ntest_images: test\n{TASKS}submission: {{sample: sample.csv}}\n"
TRAIN_ONLY = "id,kind,size\n1.jpg,cat,big\n2.jpg,dog,small\n"


def lay_out(root: Path, sample: str, *, table: str = TABLE, files: tuple[str, ...] = tuple("12abc")) -> None:
    (root / "t.csv").write_text(table)
    (root / "sample.csv").write_text(sample)
    for name in files:
        path = root / (name if "." in name else f"{name}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def competition(yaml: str = YAML) -> Competition:
    return parse_competition(yaml, "x", where="x.yaml")


def faults_of(root: Path, yaml: str = YAML) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        read(competition(yaml), root)
    return caught.value.faults


def test_the_test_photos_stand_in_the_samples_order_and_all_others_where_they_were(tmp_path: Path) -> None:
    lay_out(tmp_path, "ImageID,ans\nc.jpg,0\na.jpg,0\nb.jpg,0\n")
    asked, manifest = read(competition(), tmp_path)
    assert manifest.image_ids == manifest.paths == ("1.jpg", "c.jpg", "2.jpg", "a.jpg", "b.jpg")
    assert manifest.roles == ("train", "test", "train", "test", "test")
    assert manifest.labels["kind"].tolist() == [0, -1, 1, -1, -1]
    assert (asked.submission.id_column, asked.submission.answers) == ("ImageID", {"ans": "label"})


@pytest.mark.parametrize(
    ("header", "answers"),
    [
        ("id,label", {"label": "label"}),
        ("id,target", {"target": "label"}),
        ("id,kind", {"kind": "kind"}),
        ("id,size,kind", {"size": "size", "kind": "kind"}),
        ("id,label,size,kind", {"label": "label", "size": "size", "kind": "kind"}),
    ],
)
def test_headers_say_what_they_ask_for(tmp_path: Path, header: str, answers: dict[str, str]) -> None:
    zeros = ",0" * header.count(",")
    lay_out(tmp_path, f"{header}\n" + "".join(f"{i}.jpg{zeros}\n" for i in "abc"))
    found = read(competition(), tmp_path)[0].submission
    assert list(found.answers.items()) == list(answers.items())


def test_given_answers_take_the_samples_order_and_a_single_task_needs_none(tmp_path: Path) -> None:
    lay_out(tmp_path, "id,y,x\na.jpg,0,0\nb.jpg,0,0\nc.jpg,0,0\n")
    yaml = YAML.replace("sample: sample.csv", "sample: sample.csv, answers: {x: kind, y: size}, values: index")
    found = read(competition(yaml), tmp_path)[0].submission
    assert (list(found.answers.items()), found.values) == ([("y", "size"), ("x", "kind")], "index")
    lay_out(tmp_path, "id,y\na.jpg,0\nb.jpg,0\nc.jpg,0\n")
    one = YAML.replace("  size: {column: size, classes: [small, big]}\n", "")
    assert read(competition(one), tmp_path)[0].submission.answers == {"y": "kind"}


@pytest.mark.parametrize("setting", ["", ", answers: {label: label}", ", form: probability"])
def test_a_column_called_label_asks_for_the_only_task(tmp_path: Path, setting: str) -> None:
    lay_out(tmp_path, "id,label\na.jpg,0\nb.jpg,0\nc.jpg,0\n")
    one = YAML.replace("  size: {column: size, classes: [small, big]}\n", "").replace("sample.csv", f"sample.csv{setting}")
    found = read(competition(one), tmp_path)[0].submission
    assert found.answers == {"label": "label"}
    assert [column.task for column in found.columns] == ["label"]


@pytest.mark.parametrize(
    ("sample", "setting", "says"),
    [
        ("id,x,y\na.jpg,0,0\n", "", "the headers x, y name no task"),
        ("id,x\na.jpg,0\n", ", answers: {z: kind}", "unknown header 'z'"),
        ("id\na.jpg\n", "", "no column for an answer beside 'id'"),
        ("id,x\na.jpg,0\n", ", id_column: x", "the ids must stand in the first column, 'id', got submission.id_column 'x'"),
        ("id,x\na.jpg,0\n", ", id_column: ImageID", "unknown column 'ImageID'"),
        (",x\na.jpg,0\n", "", "the first header is empty"),
        ("id,x\na.jpg,0\na.jpg,0\n", "", "these stand more than once: 'a.jpg'"),
        ("id,x\na.jpg,0\nb.jpg,0\n", "", "1 test photos do not stand in the sample: 'c.jpg'"),
        ("id,x\na.jpg,0\nb.jpg,0\nc.jpg,0\n1.jpg,0\n", "", "1 ids of the sample are no test photos: '1.jpg'"),
        ("id,x\na,0\nb,0\nd,0\n", "", "1 ids of the sample are no test photos: 'd'"),
    ],
)
def test_each_unusable_sample_says_what_is_wrong(tmp_path: Path, sample: str, setting: str, says: str) -> None:
    lay_out(tmp_path, sample)
    found = faults_of(tmp_path, YAML.replace("sample: sample.csv", f"sample: sample.csv{setting}"))
    assert any(says in fault for fault in found), found
    assert all(fault.startswith("sample.csv: ") for fault in found)


def test_a_table_without_test_rows_takes_them_from_the_sample_with_or_without_endings(tmp_path: Path) -> None:
    files = ("train/1.jpg", "train/2.jpg", "test/a.PNG", "test/deep/b.jpg", "test/c.jpg", "test/notes.txt")
    lay_out(tmp_path, "id,label\nc.jpg,0\na,0\ndeep/b,0\n", table=TRAIN_ONLY, files=files)
    asked, manifest = read(competition(KAGGLE), tmp_path)
    assert manifest.image_ids == ("1.jpg", "2.jpg", "c.jpg", "a", "deep/b")
    assert manifest.paths == ("train/1.jpg", "train/2.jpg", "test/c.jpg", "test/a.PNG", "test/deep/b.jpg")
    assert manifest.roles == ("train", "train", "test", "test", "test")
    assert manifest.labels["size"].tolist() == [1, 0, -1, -1, -1]
    assert Competition.model_validate(asked.model_dump(mode="json")) == asked


def test_a_sample_may_leave_out_the_endings_that_the_table_writes(tmp_path: Path) -> None:
    lay_out(tmp_path, "ImageID,ans\nc,0\na,0\nb,0\n")
    _, manifest = read(competition(), tmp_path)
    assert manifest.image_ids == ("1.jpg", "c", "2.jpg", "a", "b")
    assert manifest.paths == ("1.jpg", "c.jpg", "2.jpg", "a.jpg", "b.jpg")
    assert manifest.ids_without_endings
    assert not read(competition(YAML.replace("submission: {sample: sample.csv}", "submission: {answers: {x: kind}}")), tmp_path)[
        1
    ].ids_without_endings


def test_a_sample_in_another_unicode_form_is_answered_in_its_own_spelling(tmp_path: Path) -> None:
    names = {form: normalize(form, "아이디") for form in ("NFC", "NFD")}
    lay_out(tmp_path, f"{names['NFD']},label\nc.jpg\u00a0,0\na.jpg,0\nb.jpg,0\n")
    yaml = YAML.replace("sample: sample.csv", f"sample: sample.csv, id_column: {names['NFC']}")
    asked, manifest = read(competition(yaml), tmp_path)
    assert asked.submission.id_column == names["NFD"]
    assert manifest.image_ids == ("1.jpg", "c.jpg\u00a0", "2.jpg", "a.jpg", "b.jpg")


def test_photos_of_a_sample_that_stand_elsewhere_are_named(tmp_path: Path) -> None:
    files = ("train/1.jpg", "train/2.jpg", "test/test/a.jpg")
    lay_out(tmp_path, "id,label\na,0\n", table=TRAIN_ONLY, files=files)
    assert any("in another folder: 'test/test/a.jpg' for 'test/a'" in fault for fault in faults_of(tmp_path, KAGGLE))
    (tmp_path / "test").rename(tmp_path / "Test")
    assert any("'Test/test/a.jpg' for 'test/a'" in fault for fault in faults_of(tmp_path, KAGGLE))
    (tmp_path / "sample.csv").rename(tmp_path / "Sample.csv")
    assert any("in another case: 'Sample.csv' for 'sample.csv'" in fault for fault in faults_of(tmp_path, KAGGLE))


def test_photos_of_both_parts_in_one_folder_are_told_apart_by_the_sample(tmp_path: Path) -> None:
    lay_out(tmp_path, "id,label\nb,0\na,0\n", table=TRAIN_ONLY, files=("all/1.jpg", "all/2.jpg", "all/a.jpg", "all/b.jpg"))
    yaml = KAGGLE.replace("images: train\ntest_images: test", "images: all\ntest_images: all/")
    assert read(competition(yaml), tmp_path)[1].paths == ("all/1.jpg", "all/2.jpg", "all/b.jpg", "all/a.jpg")


def test_a_folder_that_does_not_fit_the_sample_is_named(tmp_path: Path) -> None:
    files = ("train/1.jpg", "train/2.jpg", "test/a.jpg", "test/more.jpg")
    lay_out(tmp_path, "id,label\na,0\nz,0\n2.jpg,0\n", table=TRAIN_ONLY, files=files)
    found = faults_of(tmp_path, KAGGLE)
    assert any("2 ids of the sample are no test photos: 'z', '2.jpg'" in f for f in found)
    assert any("1 test photos do not stand in the sample: 'more.jpg'" in f for f in found)
    assert any("these stand in both: '2.jpg'" in f for f in found)
    lay_out(tmp_path, "id,label\na,0\n", table=TRAIN_ONLY, files=("test/a.png",))
    assert any("these mean more: a (a.jpg and a.png)" in f for f in faults_of(tmp_path, KAGGLE))
    assert "name the folder" in faults_of(tmp_path, KAGGLE.replace("test_images: test\n", ""))[0]
    assert "is no folder" in faults_of(tmp_path, KAGGLE.replace("test_images: test\n", "test_images: tset\n"))[0]


def test_what_a_sample_completes_is_kept_and_written_in_its_order(
    tiny_data: Path, tiny_competition: Competition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_data, tmp_path / "data")
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    order = [f"t{k:02}" for k in np.random.default_rng(0).permutation(12)]
    (tmp_path / "data/tiny/sample.csv").write_text("ImageID,ans\n" + "".join(f"{i},0\n" for i in order))
    form = Submission(sample="sample.csv", values="index")
    prepared = prepare(tiny_competition.model_copy(update={"submission": form}), CompetitionPaths(tmp_path / "tiny"))
    again = load_prepared(prepared.paths, prepared.save())
    assert again.competition == prepared.competition
    ids = tuple(again.manifest.image_ids[row] for row in again.manifest.rows("test"))
    assert list(ids) == order
    write_submission(tmp_path / "out.csv", again.competition, ids, {"label": np.arange(12) % 6})
    assert (tmp_path / "out.csv").read_text().splitlines()[:2] == ["ImageID,ans", f"{order[0]},0"]
    assert read_file(tmp_path / "out.csv", again.competition).image_ids == ids


def test_settings_around_the_sample_are_checked_in_the_file() -> None:
    for old, new, says in (
        ("sample: sample.csv", "values: index", "answers must have at least 1 entry"),
        ("sample: sample.csv", "answers: {kind: kind}, id_column: ''", "id_column must not be empty"),
        ("sample: sample.csv", "sample: ../sample.csv", "submission.sample must be relative"),
        ("{sample: sample.csv}", "{answers: {kind: kind}}\ntest_images: test", "test_images has no effect"),
    ):
        with pytest.raises(UserError) as caught:
            competition(YAML.replace(old, new))
        assert any(says in fault for fault in caught.value.faults), caught.value.faults
