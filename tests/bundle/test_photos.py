"""Tables of ids that people write: read as they are, or refused with the way out."""

from pathlib import Path

import pytest

from bundle.photos import PhotoTable, places_below, read_ids, without_endings
from system.errors import UserError


def test_ids_paths_and_groups_come_from_their_columns_whatever_the_line_ends(tmp_path: Path) -> None:
    table = tmp_path / "ids.csv"
    table.write_bytes('\ufeffphoto,file,person\r\na,"x, y.png",p\r\n\r\nb,z.png,\r\n'.encode())
    assert read_ids(table, "photo", "file", "person") == PhotoTable(("a", "b"), ("x, y.png", "z.png"), ("p", "b"))
    assert read_ids(table, "photo") == PhotoTable(("a", "b"), ("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'photo\n"a\n' + b"b\n" * 70_000, "must be a CSV in UTF-8 with a column 'photo'.* field larger than field limit"),
        (b'photo\na\n"b\n', "is not a CSV file: line 3 is not readable: unexpected end of data"),
        (b"photo\n\xff\n", "is not UTF-8 text"),
        (b"photo,answer\na,0\nb\n", "every row must have the header's 2 fields; line 3 has 1"),
        (b"", "unknown column 'photo'"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "ids.csv").write_bytes(text)
    with pytest.raises(UserError, match=message):
        read_ids(tmp_path / "ids.csv", "photo")


def test_a_folder_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--ids must be a CSV"):
        read_ids(tmp_path, "photo")


def test_photos_are_found_without_their_endings_and_in_archives(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "deep/b.JPG", "c.png", "c.gif", "images.npz"):
        (tmp_path / name).write_bytes(b"x")
    asked = ("a", "deep/b", "a.png", "images.npz#test/3")
    assert places_below(tmp_path, asked) == ("a.png", "deep/b.JPG", "a.png", "images.npz#test/3")
    with pytest.raises(UserError, match=r"these mean more: c \(c\.gif and c\.png\)"):
        places_below(tmp_path, ["c"])
    with pytest.raises(
        UserError, match=r"2 of 3 photos are not below .*\n2 of them are there in another folder: 'deep/b.JPG' for 'b'"
    ):
        places_below(tmp_path, ["a", "b", "b.JPG"])


def test_two_photos_of_a_folder_that_would_have_one_id_are_refused(tmp_path: Path) -> None:
    assert without_endings(["a.png", "deep/v1.2.jpg"]) == ("a", "deep/v1.2")
    with pytest.raises(UserError, match=r"each id must mean one photo, these mean more: a \(a\.png and a\.jpg\)"):
        without_endings(["a.png", "a.jpg"])


def test_groups_that_look_equal_are_one_and_ids_that_do_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "ids.csv"
    table.write_text("photo,person\na,Zoë\nb,Zoe\u0308\nc,Zoë \nd,\n")
    assert read_ids(table, "photo", group_column="person").groups == ("Zoë", "Zoë", "Zoë", "d")
    table.write_text("photo\né\ne\u0301\n")
    with pytest.raises(UserError, match=r"ids must differ to the eye, 'é' in 2 spellings \(Unicode form\) do not"):
        read_ids(table, "photo")
