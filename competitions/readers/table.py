"""Layouts with a table: `csv` beside photo files, `npz` beside packed photos, and `demo`, which draws its photos first.

Tables are read with the csv module: a class called `NA` and an id `001` stay what they are, and short or long rows are seen.
"""

from collections import Counter
from pathlib import Path

from competitions.competition import Competition
from competitions.csv_tables import Table, read_table
from competitions.demo.draw import draw_demo
from competitions.images.elsewhere import what_is_there
from competitions.manifest import Manifest
from competitions.readers.given_split import column_notes, roles_with, table_notes
from competitions.readers.photo_paths import Place, place_files, place_members, require_root
from competitions.readers.rows import PhotoRows, manifest_of
from system.errors import EXAMPLES, UserError, listed, unknown
from system.texts import recognise


def read_csv(competition: Competition, root: Path) -> Manifest:
    """One table beside a folder of image files; `columns.path` (else `columns.image`) is relative to `competition.images`.

    Raises:
        UserError: With every fault of the table and every file that is not there.
    """
    return _read(competition, root, place_files)


def read_npz(competition: Competition, root: Path) -> Manifest:
    """One table beside photos packed in .npz archives; a path reads `images.npz#train/0`: archive, array, row.

    Raises:
        UserError: With every fault of the table, the archives and the rows pointed to.
    """
    return _read(competition, root, place_members)


def read_demo(competition: Competition, root: Path) -> Manifest:
    """The competition that draws its own photos, seeded by `competition.seed`, and is then read as csv."""
    draw_demo(root, seed=competition.seed)
    return read_csv(competition, root)


def _read(competition: Competition, root: Path, place: Place) -> Manifest:
    table = _load_table(competition, root)
    columns, faults = competition.columns, list[str]()
    ids = table.columns[columns.image]
    rows = PhotoRows(
        name=table.name,
        ids=ids,
        paths=table.columns[columns.path or columns.image],
        groups=table.columns[columns.group] if columns.group else ("",) * len(ids),
        roles=_roles(competition, table, faults),
        fields={name: table.columns[task.column] for name, task in competition.tasks.items()},
        images=competition.images,
        notes=_given_split(competition, table, root),
        units=table.columns[unit.column] if (unit := competition.submission.unit) else (),
    )
    return manifest_of(competition, rows, root, place, faults)


def _given_split(competition: Competition, table: Table, root: Path) -> list[str]:
    columns = competition.columns
    if columns.role is not None:
        return []
    used = [columns.image, columns.path, columns.group, *(task.column for task in competition.tasks.values())]
    return [*column_notes(table, used), *table_notes(root, competition.table)]


def _load_table(competition: Competition, root: Path) -> Table:
    require_root(competition, root)
    path = root / competition.table
    if not path.is_file():
        tables = sorted(p.name for p in root.iterdir() if p.suffix in {".csv", ".tsv"})
        raise UserError(
            f"competition {competition.name!r} has no table {competition.table!r} in {root}; "
            f"tables there: {listed(tables) or 'none'}; set `table` in the competition's YAML",
            *what_is_there(root, [competition.table]),
        )
    columns = competition.columns
    wanted = {
        "columns.image": columns.image,
        "columns.path": columns.path,
        "columns.group": columns.group,
        "columns.role": columns.role,
        "submission.unit.column": None if (unit := competition.submission.unit) is None else unit.column,
    }
    return read_table(path, wanted | {f"tasks.{name}.column": task.column for name, task in competition.tasks.items()})


def _roles(competition: Competition, table: Table, faults: list[str]) -> list[str]:
    """N roles; faults are added to `faults`, and a row with an unknown word counts as unlabelled from here on."""
    if competition.columns.role is None:
        return ["train"] * table.n_rows
    meaning = {word: role for role, some in competition.words.items() for word in some}
    words = Counter(table.columns[competition.columns.role])
    spelled = recognise(meaning)
    meaning |= {word: meaning[known] for word in words if (known := spelled(word)) is not None}
    for word in [w for w in words if w not in meaning][:EXAMPLES]:
        way_out = f"change the rows, or learn from them: `{roles_with(competition.words, word)}`"
        faults.append(f"role: {unknown('word', word, set(meaning))} in {words[word]} rows; {way_out}")
    return [meaning.get(word, "unlabelled") for word in table.columns[competition.columns.role]]
