"""A table with a column per pixel -> a table with a row per photo, without the pixels: `row` counts from 1, `place` says where they are.

    label,pixel0,pixel1,...,pixel783        becomes        label,row,place      with the place train.csv#0

Its photos are read where all photos are (`competitions.images.arrays`).
"""

import csv
from pathlib import Path

from competitions.csv_tables import Table
from competitions.images.arrays import pixel_columns
from system.errors import UserError

ROW, PLACE = "row", "place"


def has_pixels(path: Path) -> bool:
    """Whether a table has a column per pixel, by its header."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return bool(pixel_columns(next(csv.reader(file, delimiter=_delimiter(path)), [])))


def parse_pixels(path: Path, *, name: str) -> tuple[Table, list[str]]:
    """The columns beside the pixels, the number of each row, and where its pixels are.

    Args:
        path: The file.
        name: The file relative to the competition's root.

    Raises:
        UserError: It has no pixel columns, or is no table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_delimiter(path))
            header = next(reader, [])
            pixels = set(pixel_columns(header))
            others = [place for place in range(len(header)) if place not in pixels]
            rows = [[row[place] for place in others] if len(row) == len(header) else None for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name} is no readable table ({error}); save it as CSV UTF-8, or download it again") from error
    if not pixels:
        raise UserError(f"{name} has no pixel columns that fill a square (pixel0, pixel1, ...); the reader pixels needs them")
    short = rows.count(None)
    faults = [f"{short} rows have another length than the header; download it again"] if short else []
    whole = [row for row in rows if row is not None]
    columns = {header[place]: tuple(row[k] for row in whole) for k, place in enumerate(others)}
    numbers = {ROW: tuple(str(n + 1) for n in range(len(whole))), PLACE: tuple(f"{name}#{n}" for n in range(len(whole)))}
    return Table(name, columns | numbers, len(whole)), faults


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","
