"""Layouts with a table: `csv` and `coco` beside photo files, `npz` beside packed photos, `files`, whose table is made of the photos'
names, and `demo`, which draws its photos first.

Tables are read with the csv module: a class called `NA` and an id `001` stay what they are, and short or long rows are seen.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from competitions.competition import Competition
from competitions.csv_tables import Table, parse_table, required
from competitions.demo.draw import draw_demo
from competitions.images.elsewhere import what_is_there
from competitions.images.photo_files import list_photos, passed_over
from competitions.manifest import Manifest
from competitions.readers.coco import parse_coco
from competitions.readers.columns import below, joined, named_groups, one_hot, texts_of, with_pattern
from competitions.readers.given_split import column_notes, roles_with, table_notes
from competitions.readers.path_rules import columns_of, filled, is_rule
from competitions.readers.photo_paths import Place, place_files, place_members, require_root
from competitions.readers.pixels import PLACE, parse_pixels
from competitions.readers.rows import PhotoRows, apart, manifest_of
from system.errors import EXAMPLES, UserError, listed, unknown
from system.texts import recognise

Parse = Callable[[Path], tuple[Table, list[str]]]
"""A file to its table and the faults of its form."""


def read_csv(competition: Competition, root: Path) -> Manifest:
    """One table beside a folder of image files; `columns.path` (else `columns.image`) is relative to `competition.images`.

    Raises:
        UserError: With every fault of the table and every file that is not there.
    """
    return _read(competition, root, parse_table, place_files)


def read_npz(competition: Competition, root: Path) -> Manifest:
    """One table beside photos packed in .npz archives; a path reads `images.npz#train/0`: archive, array, row.

    Raises:
        UserError: With every fault of the table, the archives and the rows pointed to.
    """
    return _read(competition, root, parse_table, place_members)


def read_coco(competition: Competition, root: Path) -> Manifest:
    """A COCO file beside a folder of image files.

    Raises:
        UserError: With every fault of the file and every photo that is not there.
    """
    return _read(competition, root, parse_coco, place_files)


def read_pixels(competition: Competition, root: Path) -> Manifest:
    """A table with a column per pixel; its photos are called by the numbers of their rows (`row`, from 1) where no column names them.

    Raises:
        UserError: With every fault of the table.
    """

    def parse(path: Path) -> tuple[Table, list[str]]:
        return parse_pixels(path, name=path.relative_to(root).as_posix())

    columns = competition.columns.model_copy(update={"path": PLACE})
    asked = competition.model_copy(update={"columns": columns})
    return _read(asked, root, parse, lambda root, paths: (list(paths), []))


def read_files(competition: Competition, root: Path) -> Manifest:
    """A folder of photos and no table: `pattern` reads columns out of their paths; an id is the path below `images`.

    Raises:
        UserError: With every photo that the pattern does not fit.
    """
    require_root(competition, root)
    folder = root / competition.images
    if not folder.is_dir():
        there = what_is_there(root, [competition.images])
        raise UserError(f"there is no folder {competition.images!r} in {root}; set `images` in the competition's YAML", *there)
    listing = list_photos(folder)
    test = root / competition.test_images if competition.test_images is not None else None
    inside = test is not None and test != folder and test.is_relative_to(folder)
    front = f"{test.relative_to(folder).as_posix()}/" if test is not None and inside else "\0"
    photos = tuple(photo for photo in listing.photos if not photo.startswith(front))
    if not photos:
        raise UserError(f"the folder {folder} holds no photo", *passed_over(listing.passed_over))
    table = Table(competition.images or competition.root, {competition.columns.image: photos}, len(photos))
    return _rows(competition, root, table, place_files, faults=[], notes=passed_over(listing.passed_over))


def read_demo(competition: Competition, root: Path) -> Manifest:
    """The competition that draws its own photos, seeded by `competition.seed`, and is then read as csv."""
    draw_demo(root, seed=competition.seed)
    return read_csv(competition, root)


def _read(competition: Competition, root: Path, parse: Parse, place: Place) -> Manifest:
    """The rows of the table, of the table of test photos and of those that are joined to them."""
    require_root(competition, root)
    table, faults = parse(_file(competition, root, "table", competition.table))
    table, n_train, notes = replace(table, name=competition.table), table.n_rows, list[str]()
    more: Table | None = None
    if competition.test_table is not None:
        more, wrong = parse(_file(competition, root, "test_table", competition.test_table))
        faults += [f"{competition.test_table}: {fault}" for fault in wrong]
        if competition.columns.image not in more.columns:
            faults.append(f"test_table {competition.test_table}: {unknown('column', competition.columns.image, more.columns)}")
    for name, on in competition.join.items():
        other, wrong = parse_table(_file(competition, root, "join", name))
        faults += [f"{name}: {fault}" for fault in wrong]
        table, wrong, odd = joined(table, other, on)
        faults, notes = faults + wrong, notes + odd
        if more is not None:  # a table of labels has no test rows, one of groups may have them
            with_test, wrong, _ = joined(more, other, on)
            more = more if wrong else with_test
    table = table if more is None else below(table, more)
    notes += _given_split(competition, table, root)
    return _rows(competition, root, table, place, faults=faults, notes=notes, n_train=n_train)


def _rows(
    competition: Competition,
    root: Path,
    table: Table,
    place: Place,
    *,
    faults: Sequence[str],
    notes: Sequence[str],
    n_train: int | None = None,
) -> Manifest:
    """The manifest of a whole table, of which the first `n_train` rows are not those of the test table."""
    columns, n_test = competition.columns, 0 if n_train is None else table.n_rows - n_train
    late = set(named_groups(competition.pattern)) if competition.pattern else set()
    wanted = _wanted(competition, list(table.columns))
    early = {place: c for place, c in wanted.items() if c not in late or place.startswith(("columns.image", "columns.path"))}
    table = required(table, faults, early)
    paths = _paths(competition, table, table.n_rows - n_test)
    if competition.pattern:
        table, wrong = with_pattern(table, paths, competition.pattern, table.n_rows - n_test)
        table = required(table, wrong, wanted if not wrong else {})
    found, given = list[str](), table.columns[columns.image]
    roles = _roles(competition, table, found, n_test)
    ids, renamed = apart(given, roles, competition.images or PurePosixPath(table.name).stem)
    fronts = [competition.images] * (table.n_rows - n_test) + [competition.test_images or competition.images] * n_test
    fields = {}
    for name, task in competition.tasks.items():
        if task.columns:
            fields[name], wrong = one_hot(table, task.columns, task.classes, [role == "train" for role in roles])
            found += [f"task {name}: {fault}" for fault in wrong]
        else:
            fields[name] = table.columns[task.column]
    rows = PhotoRows(
        name=table.name,
        ids=ids,
        paths=paths,
        groups=texts_of(table.columns, columns.group, table.n_rows),
        roles=roles,
        fields=fields,
        images=fronts,
        notes=[*notes, *renamed],
        units=table.columns[unit.column] if (unit := competition.submission.unit) else (),
        given={split.given: table.columns[split.given] for split in competition.all_splits.values() if split.given},
    )
    return manifest_of(competition, rows, root, place, found)


def _paths(competition: Competition, table: Table, n_train: int) -> list[str]:
    """The paths of all rows, by a rule or from a column; of test rows, after the first `n_train`, that lack a column of it: the ids."""
    columns, ids = competition.columns, table.columns[competition.columns.image]
    if not columns.path:
        return list(ids)
    if not is_rule(columns.path):
        given = table.columns[columns.path]
        return [*given[:n_train], *(path or image_id for path, image_id in zip(given[n_train:], ids[n_train:], strict=True))]
    needed = columns_of(columns.path, list(table.columns), columns.image).values()
    bare = [row >= n_train and not all(table.columns[c][row] for c in needed) for row in range(table.n_rows)]
    paths = filled(columns.path, table.columns, columns.image)
    return [image_id if lacks else path for image_id, lacks, path in zip(ids, bare, paths, strict=True)]


def _wanted(competition: Competition, headers: Sequence[str]) -> dict[str, str | None]:
    """Who asks -> the column it asks for."""
    columns = competition.columns
    unit = competition.submission.unit
    wanted = {"columns.image": columns.image, "columns.group": columns.group, "columns.role": columns.role}
    wanted |= {"submission.unit.column": None if unit is None else unit.column}
    wanted |= {f"split {name}, given": split.given for name, split in competition.all_splits.items()}
    if columns.path and is_rule(columns.path):
        wanted |= {f"columns.path {columns.path}, {n}": c for n, c in columns_of(columns.path, headers, columns.image).items()}
    else:
        wanted |= {"columns.path": columns.path}
    for name, task in competition.tasks.items():
        wanted |= {f"tasks.{name}.columns, {c}": c for c in task.columns} or {f"tasks.{name}.column": task.column}
    return wanted


def _given_split(competition: Competition, table: Table, root: Path) -> list[str]:
    columns = competition.columns
    if columns.role is not None:
        return []
    used = [columns.image, columns.path, columns.group]
    used += [split.given for split in competition.all_splits.values()]
    used += [column for task in competition.tasks.values() for column in (task.column, *task.columns)]
    return [*column_notes(table, used), *table_notes(root, competition.table)]


def _file(competition: Competition, root: Path, setting: str, name: str) -> Path:
    path = root / name
    if not path.is_file():
        tables = sorted(p.name for p in root.iterdir() if p.suffix in {".csv", ".tsv", ".json"})
        raise UserError(
            f"competition {competition.name!r} has no table {name!r} in {root}; "
            f"tables there: {listed(tables) or 'none'}; set `{setting}` in the competition's YAML",
            *what_is_there(root, [name]),
        )
    return path


def _roles(competition: Competition, table: Table, faults: list[str], n_test: int) -> list[str]:
    """N roles, of which the last `n_test` are those of a table of test photos; faults are added to `faults`.

    A row with an unknown word counts as unlabelled from here on.
    """
    n_others = table.n_rows - n_test
    if competition.columns.role is None:
        return ["train"] * n_others + ["test"] * n_test
    meaning = {word: role for role, some in competition.words.items() for word in some}
    words = Counter(table.columns[competition.columns.role][:n_others])
    spelled = recognise(meaning)
    meaning |= {word: meaning[known] for word in words if (known := spelled(word)) is not None}
    for word in [w for w in words if w not in meaning][:EXAMPLES]:
        way_out = f"change the rows, or learn from them: `{roles_with(competition.words, word)}`"
        faults.append(f"role: {unknown('word', word, set(meaning))} in {words[word]} rows; {way_out}")
    return [meaning.get(word, "unlabelled") for word in table.columns[competition.columns.role][:n_others]] + ["test"] * n_test
