"""The mask competition's own layout: what real uploads do to it is read, or named; nothing is guessed."""

import csv
import io
from pathlib import Path
from unicodedata import normalize

import pytest

from competitions.loading import load_competition
from competitions.manifest import Manifest
from competitions.readers.mask import SHOWS
from competitions.readers.read import read
from system.errors import UserError

HEADER = ["id", "gender", "race", "age", "path"]
Person = tuple[str, str, str, str]
PEOPLE: list[Person] = [
    ("000001", "male", "Asian", "29"),
    ("000002", "female", "Asian", "30"),
    ("000003", "female", "Asian", "60"),
]


def lay_out(
    root: Path, people: list[Person], *, encoding: str = "utf-8", stored: str = "NFC", written: str = "NFC", ending: str = ".jpg"
) -> None:
    rows = [[*p, "_".join(p)] for p in people]
    for row in rows:
        folder = root / "train/images" / normalize(stored, row[-1])
        folder.mkdir(parents=True, exist_ok=True)
        for stem in SHOWS:
            (folder / (stem.upper() + ending if ending.isupper() else stem + ending)).write_bytes(b"x")
    write_table(root / "train/train.csv", [HEADER, *([normalize(written, field) for field in row] for row in rows)], encoding)
    (root / "eval/images").mkdir(parents=True, exist_ok=True)
    (root / "eval/images/a.jpg").write_bytes(b"x")
    write_table(root / "eval/info.csv", [["ImageID", "ans"], ["a.jpg", "0"]], encoding)


def write_table(path: Path, rows: list[list[str]], encoding: str = "utf-8") -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))


def manifest_of(root: Path) -> Manifest:
    return read(load_competition("mask"), root)[1]


def faults_of(root: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        manifest_of(root)
    return list(caught.value.faults)


def test_labels_compose_as_mask_6_gender_3_age_and_an_age_on_a_cut_belongs_above_it(tmp_path: Path) -> None:
    lay_out(tmp_path, PEOPLE)
    manifest = manifest_of(tmp_path)
    composed = manifest.labels["mask"] * 6 + manifest.labels["gender"] * 3 + manifest.labels["age"]
    assert composed[:21].tolist() == [0] * 5 + [6, 12] + [4] * 5 + [10, 16] + [5] * 5 + [11, 17]
    assert manifest.groups[:21] == ("000001",) * 7 + ("000002",) * 7 + ("000003",) * 7
    assert manifest.image_ids[5] == "000001_male_Asian_29/incorrect_mask.jpg"
    assert (manifest.image_ids[-1], manifest.roles[-1], manifest.groups[-1]) == ("a.jpg", "test", "~a.jpg")


@pytest.mark.parametrize("ending", [".jpeg", ".PNG", ".JPG", ".webp", ".bmp"])
def test_any_image_ending_in_any_case_and_upper_case_names_are_read(tmp_path: Path, ending: str) -> None:
    lay_out(tmp_path, PEOPLE, ending=ending)
    manifest = manifest_of(tmp_path)
    assert len(manifest.rows("train")) == 21
    assert manifest.labels["mask"][:7].tolist() == [0] * 5 + [1, 2]
    assert all((tmp_path / path).is_file() for path in manifest.paths)


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("written", "encoding"),  # cp949 has no letters for the decomposed form
    [("NFC", "utf-8"), ("NFD", "utf-8"), ("NFC", "utf-8-sig"), ("NFD", "utf-8-sig"), ("NFC", "cp949")],
)
def test_korean_names_in_either_form_and_any_encoding_are_the_same_people(
    tmp_path: Path, stored: str, written: str, encoding: str
) -> None:
    lay_out(tmp_path, [("민지", "female", "한국", "25"), PEOPLE[2]], stored=stored, written=written, encoding=encoding)
    manifest = manifest_of(tmp_path)
    assert manifest.image_ids[0] == normalize("NFC", "민지_female_한국_25/mask1.jpg")
    assert all((tmp_path / path).is_file() for path in manifest.paths)
    assert len(set(manifest.groups[:14])) == 2


def test_hidden_files_other_files_and_people_without_a_row_are_passed_over(tmp_path: Path) -> None:
    lay_out(tmp_path, PEOPLE)
    before = manifest_of(tmp_path).paths
    folder = tmp_path / "train/images/000001_male_Asian_29"
    for name in ("._mask1.jpg", ".DS_Store", "Thumbs.db", "notes.txt"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "train/images/._000001_male_Asian_29").mkdir()
    (tmp_path / "train/images/000009_male_Asian_20").mkdir()
    assert manifest_of(tmp_path).paths == before


def test_everything_that_is_missing_strange_or_double_is_named_at_once(tmp_path: Path) -> None:
    lay_out(tmp_path, [*PEOPLE, ("000004", "male", "Asian", "40")])
    images = tmp_path / "train/images"
    (images / "000001_male_Asian_29/mask3.jpg").unlink()
    (images / "000001_male_Asian_29/mask6.jpg").write_bytes(b"x")
    (images / "000002_female_Asian_30/NORMAL.png").write_bytes(b"x")
    (images / "000003_female_Asian_60").rename(images / "000003_female_Asian_61")
    rows = [[*p, "_".join(p)] for p in PEOPLE] + [["000004", "male", "Asian", "41", "000004_male_Asian_40"]]
    write_table(tmp_path / "train/train.csv", [HEADER, *rows])
    (tmp_path / "eval/images/a.jpg").unlink()
    found = faults_of(tmp_path)
    for says in (
        "1 are missing: 000001_male_Asian_29/mask3;",
        "got 000001_male_Asian_29/mask6.jpg",
        "got 000002_female_Asian_30/NORMAL.png and 000002_female_Asian_30/normal.jpg",
        "1 of 4 people have no folder in train/images: 000003_female_Asian_60",
        "000004_male_Asian_40 (its row says 000004_male_Asian_41)",
        "'eval/images/a.jpg'",
    ):
        assert any(says in fault for fault in found), (says, found)
    assert len(found) == 6


def test_an_id_with_two_ages_is_one_group_and_each_photo_keeps_its_rows_label(tmp_path: Path) -> None:
    lay_out(tmp_path, [*PEOPLE, ("000001", "male", "Asian", "61")])
    manifest = manifest_of(tmp_path)
    assert manifest.groups[21:28] == manifest.groups[:7] == ("000001",) * 7
    assert manifest.labels["age"][[0, 21]].tolist() == [0, 2]


def test_a_person_who_stands_twice_an_age_that_is_no_number_and_an_unknown_gender_stop(tmp_path: Path) -> None:
    lay_out(tmp_path, [PEOPLE[0], PEOPLE[0], ("000005", "Female", "Asian", "sixty")])
    found = faults_of(tmp_path)
    assert any("these folders stand more than once: 000001_male_Asian_29" in f for f in found)
    assert any("task age: its cuts need numbers, got 'sixty' in 7 rows" in f for f in found)
    assert any("unknown class 'Female'; did you mean female" in f for f in found)


def test_missing_tables_and_columns_are_named(tmp_path: Path) -> None:
    lay_out(tmp_path, PEOPLE)
    write_table(tmp_path / "train/train.csv", [["id", "Gender", "race", "age", "path"], ["1", "male", "Asian", "2", "x"]])
    assert any("unknown column 'gender'; did you mean Gender" in f for f in faults_of(tmp_path))
    (tmp_path / "train/train.csv").unlink()
    (tmp_path / "eval/info.csv").unlink()
    assert [f.split(" in ")[0] for f in faults_of(tmp_path)] == [
        "there is no file train/train.csv",
        "there is no file eval/info.csv",
    ]
