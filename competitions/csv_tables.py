"""Tables: a .csv or .tsv file becomes a `Table` of texts by column, read with the csv module so that texts stay what they are."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from system.errors import UserError, listed, unknown


@dataclass(frozen=True)
class Table:
    """N rows.

    Attributes:
        name: What messages call it.
        columns: Header -> N texts, in the file's order.
        n_rows: N.
    """

    name: str
    columns: dict[str, tuple[str, ...]]
    n_rows: int


def read_table(path: Path, wanted: Mapping[str, str | None], *, name: str = "") -> Table:
    """The table in a file that is there: UTF-8 with or without a byte-order mark, or cp949; tabs in a .tsv, else commas.

    Args:
        path: The file.
        wanted: Who asks (`columns.group`) -> the column it asks for; `None` asks for nothing.
        name: What messages call the table; by default the file's name.

    Raises:
        UserError: It cannot be read, has no rows, rows of other lengths than the header, or lacks columns.
    """
    name = name or path.name
    header, rows = _parse(name, _decode(path), "\t" if path.suffix.lower() == ".tsv" else ",")
    faults = _column_faults(wanted, header)
    if not rows:
        faults.append("the table has a header and no rows; it needs one row per photo")
    if faults:
        raise UserError(*(f"{name}: {fault}" for fault in faults))
    return Table(name, dict(zip(header, zip(*rows, strict=True), strict=True)), len(rows))


def _decode(path: Path) -> str:
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UserError(f"{path.name}: the table is neither UTF-8 nor cp949; save it as UTF-8")


def _parse(name: str, text: str, delimiter: str) -> tuple[list[str], list[list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    ragged: list[str] = []
    try:
        for row in filter(None, reader):
            if not header:
                header = row
            elif len(row) != len(header):
                ragged.append(f"line {reader.line_num} has {len(row)}")
            else:
                rows.append(row)
    except csv.Error as error:
        raise UserError(f"{name}: line {reader.line_num} is not readable ({error}); a quote may be left open") from error
    if not header:
        raise UserError(f"{name}: the table is empty; it needs a header and one row per photo")
    if ragged:
        raise UserError(
            f"{name}: every row must have the header's {len(header)} fields; {listed(ragged)}; quote fields that hold commas"
        )
    return header, rows


def _column_faults(wanted: Mapping[str, str | None], header: list[str]) -> list[str]:
    faults = [f"{place}: {unknown('column', c, header)}" for place, c in wanted.items() if c is not None and c not in header]
    if faults and len(header) == 1 and re.search("[;|\t]", header[0]):
        faults.append(
            f"the header reads as one column {header[0]!r}; fields must be separated by commas (or tabs in a .tsv file)"
        )
    twice = [column for column, n in Counter(header).items() if n > 1]
    if twice:
        faults.append(f"column names must differ, these stand more than once: {listed(twice)}; rename or drop one")
    return faults
