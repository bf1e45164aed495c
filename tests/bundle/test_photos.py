"""Tables of ids that people write: read as they are, or refused with the way out."""

from pathlib import Path

import pytest

from bundle.photos import PhotoTable, read_ids
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
