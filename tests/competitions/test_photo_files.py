"""Which files are photos: whatever the decoder can open, the same files for training and for a bundle; and where a path leads.

A photo that is not where its path leads: what is there instead is named, whatever the mistake, and the message stays short.
"""

import io
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from bundle.photos import find_photos
from competitions.images.decode import ENDINGS, FORMATS, decode
from competitions.images.elsewhere import what_is_there
from competitions.images.photo_files import find_files, is_photo, list_photos
from competitions.loading import parse_competition
from competitions.readers.read import read
from system.errors import UserError

YAML = """
table: t.csv
images: train
columns: {image: id}
tasks: {kind: {column: kind, classes: [a, b]}}
submission: {answers: {kind: kind}}
"""


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_that_is_decoded_has_an_ending_that_is_listed(kind: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, kind)
    assert decode(file.getvalue()).shape == (8, 8, 3)
    endings = [ending for ending, name in Image.EXTENSION.items() if name == kind]
    assert endings
    assert all(is_photo(f"a{ending.upper()}") for ending in endings)


def test_photos_that_were_learned_from_by_their_ending_always_are() -> None:
    before = {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
    }
    assert before <= ENDINGS


def test_a_bundle_is_asked_about_the_photos_that_training_would_see(tmp_path: Path) -> None:
    for name in ("b/1.jfif", "a.png", "5.HEIC", "._a.png", ".cache/a.png", "notes.txt", "table"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path.parent / "more").mkdir()
    (tmp_path.parent / "more/6.png").write_bytes(b"x")
    (tmp_path / "linked").symlink_to(tmp_path.parent / "more")
    assert find_photos(tmp_path) == list_photos(tmp_path)
    assert find_photos(tmp_path).photos == ("5.HEIC", "a.png", "b/1.jfif", "linked/6.png")
    assert find_photos(tmp_path).passed_over == ("notes.txt", "table")


def test_arrays_and_dicom_files_are_photos_where_no_image_is(tmp_path: Path) -> None:
    for name in ("x/a.npy", "x/b.NPY", "y/a.png", "y/a.npy", "y/b.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert list_photos(tmp_path / "x").photos == ("a.npy", "b.NPY")
    assert list_photos(tmp_path / "y").photos == ("a.png",)
    assert list_photos(tmp_path / "y").passed_over == ("a.npy", "b.dcm")
    found = find_files(tmp_path, ["x/a", "y/a", "y/b"])
    assert found.paths == ("x/a.npy", "y/a.png", "y/b.dcm")
    assert not found.several


def test_a_folder_without_a_photo_says_what_is_there_instead(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"x")
    with pytest.raises(UserError, match=r"PHOTOS must hold image files .*\n1 files do not end like a photo.*\.ppm \(1\)"):
        find_photos(tmp_path)


def lay_out(root: Path, *files: str) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


CASES = {
    "case of the name": ("train/a.jpg", "train/A.JPG", "in another case: 'train/A.JPG' for 'train/a.jpg'"),
    "case of the ending": ("train/a.jpg", "train/a.JPG", "in another case: 'train/a.JPG'"),
    "case of the folder": ("train/a.jpg", "Train/a.jpg", "in another case: 'Train/a.jpg'"),
    "case in Greek": ("train/ΣΟΦΙΑ.jpg", "train/σοφια.jpg", "in another case"),
    "no ending and case": ("train/a", "train/A.png", "in another case: 'train/A.png' for 'train/a'"),
    "another ending": (
        "train/a.jpg",
        "train/a.png",
        "with another ending: 'train/a.png'; write the paths as the files are called",
    ),
    "an ending that is none": (
        "train/a.jpg",
        "train/a.ppm",
        "with an ending that is no photo's: 'train/a.ppm' for 'train/a.jpg'; convert",
    ),
    "raw camera file": ("train/a", "train/a.CR2", "with an ending that is no photo's"),
    "one folder deeper": (
        "train/a.jpg",
        "train/train/a.jpg",
        "in another folder: 'train/train/a.jpg' for 'train/a.jpg'; name the folder",
    ),
    "one folder higher": ("train/x/a.jpg", "train/a.jpg", "in another folder: 'train/a.jpg'"),
    "both": ("train/a.jpg", "images/a.png", "in another folder and with another ending"),
    "old encoding": ("train/개.jpg", os.fsdecode(b"train/" + "개.jpg".encode("cp949")), "with a name that is no UTF-8"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    asked, there, says = CASES[name]
    lay_out(tmp_path, there)
    [text] = what_is_there(tmp_path, [asked])
    assert text.startswith(says if says.startswith("1 of") else "1 of them are there ")
    assert all(part in text for part in says.split("; "))
    assert "; " in text


def test_of_files_with_one_name_the_one_whose_folders_fit_is_meant_and_none_where_none_does(tmp_path: Path) -> None:
    lay_out(tmp_path, "data/p1/0.jpg", "data/p2/0.jpg")
    [text] = what_is_there(tmp_path, ["p2/0.jpg"])
    assert "'data/p2/0.jpg' for 'p2/0.jpg'" in text
    assert what_is_there(tmp_path, ["p3/0.jpg"]) == []


def test_an_archive_that_holds_them_is_named_and_another_one_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as packed:
        packed.writestr("train/a.jpg", b"x")
    (tmp_path / "more.zip").write_bytes(b"no zip")
    assert what_is_there(tmp_path, ["train/a.jpg"]) == ["train.zip holds 'train/a.jpg'; unpack it"]
    assert what_is_there(tmp_path, ["train/a"]) == ["train.zip holds 'train/a.jpg'; unpack it"]
    assert what_is_there(tmp_path, ["b.jpg"]) == ["archives are there: more.zip, train.zip; unpack what holds them"]


def test_ten_thousand_missing_photos_are_a_few_short_lines(tmp_path: Path) -> None:
    lay_out(tmp_path, *(f"in/{n}.PNG" for n in range(30)), "other.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as packed:
        for n in range(100, 2000):
            packed.writestr(f"{n}.png", b"")
    texts = what_is_there(tmp_path, [f"in/{n}.png" for n in range(10_000)])
    assert len(texts) == 2
    assert sum(map(len, texts)) < 500
    assert what_is_there(tmp_path / "not there", ["a.jpg"]) == []


def test_a_reader_says_all_of_it_at_once(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/A.JPG", "train/b.png", "train/deep/c.jpg", "train/d.jpg")
    (tmp_path / "t.csv").write_text("id,kind\na.jpg,a\nb.jpg,b\nc.jpg,a\nd.jpg,b\n")
    with pytest.raises(UserError) as caught:
        read(parse_competition(YAML, "x", where="x.yaml"), tmp_path)
    assert len(caught.value.faults) == 4
    assert caught.value.faults[0].endswith("'train/a.jpg', 'train/b.jpg', 'train/c.jpg'")
    (tmp_path / "t.csv").rename(tmp_path / "T.csv")
    with pytest.raises(UserError, match=r"has no table 't\.csv'.*\n.*in another case: 'T\.csv' for 't\.csv'"):
        read(parse_competition(YAML, "x", where="x.yaml"), tmp_path)


def test_an_id_means_the_one_photo_of_that_name_whatever_its_ending(tmp_path: Path) -> None:
    lay_out(tmp_path, "a.png", "b.JPEG", "b.txt", "v1.2.tif", "고양이.webp", "c/c.png", "d/1.jpg", "d.gif", "e.png", "e.jpg")
    (tmp_path / "f.png").mkdir()
    found = find_files(tmp_path, ["a", "a.png", "b", "v1.2", "고양이", "c/c", "d", "e", "f", "x", "v1"])
    assert found.paths == ("a.png", "a.png", "b.JPEG", "v1.2.tif", "고양이.webp", "c/c.png", "d.gif", None, None, None, None)
    assert found.several == {"e": ("e.jpg", "e.png")}
    assert found.missing(["a", "a.png", "b", "v1.2", "고양이", "c/c", "d", "e", "f", "x", "v1"]) == ["f", "x", "v1"]


@pytest.mark.parametrize("rows", ["a,a\nb,b\n", "a.png,a\nb,b\n"])
def test_a_table_may_leave_endings_out(tmp_path: Path, rows: str) -> None:
    lay_out(tmp_path, "train/a.png", "train/b.jpg")
    (tmp_path / "t.csv").write_text(f"id,kind\n{rows}")
    _, manifest = read(parse_competition(YAML, "x", where="x.yaml"), tmp_path)
    assert manifest.paths == ("train/a.png", "train/b.jpg")
    assert manifest.ids_without_endings == ("." not in rows)
    lay_out(tmp_path, "train/b.png")
    with pytest.raises(UserError, match=r"each id must mean one photo, these mean more: train/b \(b\.jpg and b\.png\)"):
        read(parse_competition(YAML, "x", where="x.yaml"), tmp_path)
