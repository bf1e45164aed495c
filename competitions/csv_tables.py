"""The one CSV reader: a .csv or .tsv file becomes a `Table` of texts by column, and a sentence for each thing that is wrong with its form.

It reads with the csv module, so that texts stay what they are: a class `NA`, an id `001`. A byte-order mark, Windows line ends and
empty lines are no fault.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
    """A table that must have certain columns and at least one row.

    Args:
        path: The file.
        wanted: Who asks (`columns.group`) -> the column it asks for; `None` asks for nothing.
        name: What messages call the table; by default the file's name.

    Raises:
        UserError: Naming every fault: it cannot be read, has no rows, rows of other lengths than the header, or lacks columns.
    """
    return required(*parse_table(path, name=name), wanted)


def required(table: Table, faults: Sequence[str], wanted: Mapping[str, str | None]) -> Table:
    """A table that has certain columns and at least one row; `wanted` as in `read_table`.

    Raises:
        UserError: Naming `faults`, and the columns and rows that are not there.
    """
    table = _as_wanted(table, [column for column in wanted.values() if column is not None])
    if not table.columns:
        raise UserError(f"{table.name}: the table is empty; it needs a header and one row per photo")
    absent = {place: column for place, column in wanted.items() if column is not None and column not in table.columns}
    faults = [f"{place}: {unknown('column', column, table.columns)}" for place, column in absent.items()] + [*faults]
    faults += separator_faults(table) if absent else []
    if not table.n_rows and not faults:
        faults.append("the table has a header and no rows; it needs one row per photo")
    if faults:
        raise UserError(*(f"{table.name}: {fault}" for fault in faults))
    return table


def _as_wanted(table: Table, wanted: Sequence[str]) -> Table:
    """The table with headers spelled as they are asked for, where one looks the same and is written with other signs."""
    if all(column in table.columns for column in wanted):
        return table
    from system.texts import recognise  # here, so that a bundle opens without it

    spelled = recognise(table.columns)
    known = {spelled(column): column for column in wanted}
    return replace(table, columns={known.get(header, header): texts for header, texts in table.columns.items()})


def parse_table(path: Path, *, name: str = "") -> tuple[Table, list[str]]:
    """Whatever table a file holds, in UTF-8 or cp949, cut at tabs in a .tsv and else at commas; and the faults of its form.

    Rows of another length than the header are left out; of columns with one name the last counts.

    Raises:
        UserError: There is no such file, or it is no table at all.
    """
    name = name or path.name
    reader = csv.reader(io.StringIO(_decoded(path, name), newline=""), delimiter=_delimiter(path), strict=True)
    try:
        lines = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise UserError(
            f"{name} is not a CSV file: line {reader.line_num} is not readable: {error}; a quote may be left open"
        ) from error
    header = lines[0][1] if lines else []
    rows = [row for _, row in lines[1:] if len(row) == len(header)]
    texts: Iterable[tuple[str, ...]] = zip(*rows, strict=True) if rows else ((),) * len(header)
    table = Table(name, dict(zip(header, texts, strict=True)), len(rows))
    return table, _form_faults(header, [(line, row) for line, row in lines[1:] if len(row) != len(header)])


def separator_faults(table: Table) -> list[str]:
    """Why a table may lack columns: it is cut at another sign than its rows."""
    header = next(iter(table.columns), "")
    if len(table.columns) != 1 or not re.search("[;|\t]", header):
        return []
    return [f"the header reads as one column {header!r}; fields must be separated by commas (or tabs in a .tsv file)"]


def _decoded(path: Path, name: str) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        with suppress(UnicodeDecodeError):
            return data.decode("cp949")
        raise UserError(
            f"{name} is not UTF-8 text ({error.reason} at byte {error.start}), and not cp949; save it as CSV UTF-8"
        ) from error


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _form_faults(header: Sequence[str], ragged: Sequence[tuple[int, Sequence[str]]]) -> list[str]:
    faults = []
    if ragged:
        lines = listed(f"line {line} has {len(row)}" for line, row in ragged)
        faults.append(f"every row must have the header's {len(header)} fields; {lines}; quote fields that hold commas")
    twice = [column for column, n in Counter(header).items() if n > 1]
    if twice:
        faults.append(f"column names must differ, these stand more than once: {listed(twice)}; rename or drop one")
    return faults
