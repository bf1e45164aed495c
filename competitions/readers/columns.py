"""What a competition's settings make of its tables before rows are read: test rows, joined tables, columns from names, one-hot columns.

Everything is a `Table` of texts by column, so each reader that has one understands all of these settings.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from competitions.csv_tables import Table
from system.errors import listed, unknown

TRUE, FALSE = {"1", "1.0", "true"}, {"0", "0.0", "", "false"}


def below(table: Table, more: Table) -> Table:
    """The rows of two tables, one after the other; a column that one of them lacks is empty there."""
    headers = dict.fromkeys([*table.columns, *more.columns])
    columns = {h: (*table.columns.get(h, ("",) * table.n_rows), *more.columns.get(h, ("",) * more.n_rows)) for h in headers}
    return Table(table.name, columns, table.n_rows + more.n_rows)


def joined(table: Table, other: Table, on: str) -> tuple[Table, list[str], list[str]]:
    """The table with the columns of another one, joined by a column that both have.

    Args:
        table: N rows.
        other: At most one row for each text of `on`.
        on: The header of that column.

    Returns:
        The table, faults, and notes: rows without a partner have empty fields.
    """
    faults = [f"{one.name}: join by {unknown('column', on, one.columns)}" for one in (table, other) if on not in one.columns]
    if faults:
        return table, faults, []
    twice = [repr(text) for text, n in Counter(other.columns[on]).items() if n > 1]
    if twice:
        faults.append(
            f"{other.name}: each {on!r} must stand once to be joined, these stand more often: {listed(twice)}; keep one row each"
        )
    both = [header for header in other.columns if header != on and header in table.columns]
    if both:
        faults.append(f"{other.name}: its columns {listed(both)} stand in {table.name} too; rename or drop one of each")
    if faults:
        return table, faults, []
    row_of = {text: row for row, text in enumerate(other.columns[on])}
    rows = [row_of.get(text) for text in table.columns[on]]
    more = {
        header: tuple("" if row is None else texts[row] for row in rows)
        for header, texts in other.columns.items()
        if header != on
    }
    alone = [repr(text) for text, row in zip(table.columns[on], rows, strict=True) if row is None]
    notes = [f"{len(alone)} of {len(rows)} rows have no row in {other.name}: {listed(alone)}"] if alone else []
    if len(alone) == len(rows):
        faults.append(f"{other.name}: not one row has a {on!r} of {table.name}; is it the right column?")
    return Table(table.name, {**table.columns, **more}, table.n_rows), faults, notes


def named_groups(pattern: str) -> list[str]:
    """The columns that a regular expression reads out of names.

    Raises:
        re.error: It is none.
    """
    return list(re.compile(pattern).groupindex)


def with_pattern(table: Table, paths: Sequence[str], pattern: str, n_matched: int) -> tuple[Table, list[str]]:
    """The table with a column for each named group of a regular expression, read out of the photos' paths.

    Args:
        table: N rows.
        paths: N paths below the folder of photos.
        pattern: Searched in each path.
        n_matched: So many of the first rows must match; the others, of test photos, have empty fields where they do not.

    Returns:
        The table, and a fault where paths do not match.
    """
    found = [re.search(pattern, path) for path in paths]
    strange = [repr(path) for path, match in zip(paths[:n_matched], found, strict=False) if match is None]
    taken = [name for name in named_groups(pattern) if name in table.columns]
    faults = [f"pattern: its names {listed(taken)} are columns of {table.name} already; choose other names"] if taken else []
    if strange:
        faults.append(
            f"pattern: {len(strange)} of {len(paths)} paths do not match {pattern!r}: {listed(strange)}; "
            f"mend it, or name a folder without these photos in `images`"
        )
    if faults:
        return table, faults
    read = {name: tuple((match[name] or "") if match else "" for match in found) for name in named_groups(pattern)}
    return Table(table.name, {**table.columns, **read}, table.n_rows), []


def one_hot(
    table: Table, columns: Sequence[str], classes: Sequence[str], rows: Sequence[bool]
) -> tuple[tuple[str, ...], list[str]]:
    """The class of each row of which one column holds 1 and the others 0; empty where none holds 1.

    Args:
        table: N rows.
        columns: C headers.
        classes: C names.
        rows: N times whether it matters what stands there.

    Returns:
        N class names, and faults.
    """
    texts, several, strange = list[str](), list[str](), Counter[str]()
    for row, matters in enumerate(rows):
        fields = [table.columns[column][row].strip().lower() for column in columns] if matters else []
        ones = [name for name, field in zip(classes, fields, strict=False) if field in TRUE]
        strange.update(field for field in fields if field not in TRUE and field not in FALSE)
        texts.append(ones[0] if len(ones) == 1 else "")
        several += [f"row {row + 1} ({' and '.join(ones)})"] if len(ones) > 1 else []
    faults = []
    if strange:
        told = listed(f"{text!r} in {n} fields" for text, n in strange.most_common())
        faults.append(f"columns of one task must hold 0 or 1, got {told}; is it a single `column` of class names?")
    if several:
        faults.append(
            f"one of a task's columns may hold 1 in each row, in {len(several)} rows more do: {listed(several)}; mend them"
        )
    return tuple(texts), faults


def texts_of(columns: Mapping[str, Sequence[str]], header: str | None, n_rows: int) -> Sequence[str]:
    """A column's texts, empty ones where no column is named."""
    return ("",) * n_rows if header is None else columns[header]
