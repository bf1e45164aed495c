"""Readers: a competition's table and photos to a checked `Manifest`.

A reader is called as `READERS[competition.reader](competition, root)`, where `root` is the competition's own folder
(`PODIUM_DATA` / `competition.root`). It looks at the table, at folder listings and at array headers, never at pixels, and
raises one `UserError` with every fault it found. The table is read with the csv module: a class called `NA` and an id `001`
stay what they are, and short or long rows are seen.
"""

import csv
import io
import os
import posixpath
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO
from unicodedata import normalize

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from competitions.competition import Competition
from competitions.manifest import Manifest
from ledger.errors import EXAMPLES, UserError, listed, unknown

Reader = Callable[[Competition, Path], Manifest]
Place = Callable[[Path, Sequence[str]], tuple[list[str], list[str]]]


@dataclass(frozen=True)
class _Table:
    name: str
    columns: dict[str, tuple[str, ...]]
    n_rows: int


def read_csv(competition: Competition, root: Path) -> Manifest:
    """One table beside a folder of image files; `columns.path` (else `columns.image`) is relative to `competition.images`.

    Raises:
        UserError: With every fault of the table and every file that is not there.
    """
    return _read(competition, root, _place_files)


def read_npz(competition: Competition, root: Path) -> Manifest:
    """One table beside photos packed in .npz archives; a path reads `images.npz#train/0`: archive, array, row.

    Raises:
        UserError: With every fault of the table, the archives and the rows pointed to.
    """
    return _read(competition, root, _place_members)


def read_demo(competition: Competition, root: Path) -> Manifest:
    """The competition that draws its own photos, seeded by `competition.seed`, and is then read as csv."""
    from competitions.demo import draw_demo

    draw_demo(root, seed=competition.seed)
    return read_csv(competition, root)


READERS: dict[str, Reader] = {
    "csv": read_csv,
    "npz": read_npz,
    "demo": read_demo,
}


def _read(competition: Competition, root: Path, place: Place) -> Manifest:
    table = _load_table(competition, root)
    columns = competition.columns
    ids = table.columns[columns.image]
    faults = _id_faults(ids)
    roles = _roles(competition, table, faults)
    labels = _labels(competition, table, roles, faults)
    paths, misplaced = _paths(competition.images, table.columns[columns.path or columns.image])
    faults += misplaced
    if not misplaced:
        paths, missing = place(root, paths)
        faults += missing
    if faults:
        raise UserError(*(f"{table.name}: {fault}" for fault in faults))
    given = table.columns[columns.group] if columns.group else ("",) * len(ids)
    groups = tuple(group or f"~{image_id}" for group, image_id in zip(given, ids, strict=True))
    return Manifest(ids, tuple(paths), groups, tuple(roles), labels)


# ---- the table


def _load_table(competition: Competition, root: Path) -> _Table:
    if not root.is_dir():
        raise UserError(
            f"competition {competition.name!r} reads its data from {root}, which is not a folder; PODIUM_DATA is the "
            f"folder that holds the data of all competitions: set it in the environment or in .env (PODIUM_DATA=/path/to/data), "
            f"or put the data there"
        )
    path = root / competition.table
    if not path.is_file():
        tables = sorted(p.name for p in root.iterdir() if p.suffix in {".csv", ".tsv"})
        raise UserError(
            f"competition {competition.name!r} has no table {competition.table!r} in {root}; "
            f"tables there: {listed(tables) or 'none'}; set `table` in the competition's YAML"
        )
    header, rows = _parse(path.name, _decode(path), "\t" if path.suffix == ".tsv" else ",")
    faults = _column_faults(competition, header)
    if not rows:
        faults.append("the table has a header and no rows; it needs one row per photo")
    if faults:
        raise UserError(*(f"{path.name}: {fault}" for fault in faults))
    return _Table(path.name, dict(zip(header, zip(*rows, strict=True), strict=True)), len(rows))


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


def _column_faults(competition: Competition, header: list[str]) -> list[str]:
    columns = competition.columns
    wanted = {
        "columns.image": columns.image,
        "columns.path": columns.path,
        "columns.group": columns.group,
        "columns.role": columns.role,
    }
    wanted |= {f"tasks.{name}.column": task.column for name, task in competition.tasks.items()}
    faults = [f"{place}: {unknown('column', c, header)}" for place, c in wanted.items() if c is not None and c not in header]
    if faults and len(header) == 1 and re.search("[;|\t]", header[0]):
        faults.append(
            f"the header reads as one column {header[0]!r}; fields must be separated by commas (or tabs in a .tsv file)"
        )
    twice = [column for column, n in Counter(header).items() if n > 1]
    if twice:
        faults.append(f"column names must differ, these stand more than once: {listed(twice)}; rename or drop one")
    return faults


# ---- its rows


def _id_faults(ids: Sequence[str]) -> list[str]:
    faults = []
    empty = ids.count("")
    if empty:
        faults.append(f"image ids must not be empty, {empty} of {len(ids)} rows have none; fill the column or drop the rows")
    broken = [repr(i) for i in ids if "\n" in i or "\r" in i or "\0" in i]
    if broken:
        faults.append(f"image ids must be one line of text, got {listed(broken)}; remove the line breaks")
    twice = [repr(i) for i, n in Counter(ids).items() if n > 1 and i]
    if twice:
        faults.append(f"image ids must differ, these stand more than once: {listed(twice)}; keep one row per photo")
    return faults


def _roles(competition: Competition, table: _Table, faults: list[str]) -> list[str]:
    """N roles; faults are added to `faults`, and a row with an unknown word counts as unlabelled from here on."""
    if competition.columns.role is None:
        return ["train"] * table.n_rows
    meaning: dict[str, str] = {word: role for role, word in competition.roles.items()}
    words = Counter(table.columns[competition.columns.role])
    for word in [w for w in words if w not in meaning][:EXAMPLES]:
        faults.append(f"role: {unknown('word', word, set(meaning))} in {words[word]} rows; add it to `roles` or change the rows")
    roles = [meaning.get(word, "unlabelled") for word in table.columns[competition.columns.role]]
    if "train" not in roles:
        faults.append(
            f"no row has the role train (the word {competition.roles['train']!r}); without training photos nothing can be learned"
        )
    return roles


def _labels(competition: Competition, table: _Table, roles: Sequence[str], faults: list[str]) -> dict[str, NDArray[np.int16]]:
    """Per task `(N,) int16`, -1 outside the role train and where the field is empty; faults are added to `faults`."""
    train = np.array([role == "train" for role in roles], dtype=bool)
    filled = np.zeros(len(train), dtype=bool)
    labels = {}
    for name, task in competition.tasks.items():
        values = table.columns[task.column]
        number = {"": -1} | {text: i for i, text in enumerate(task.classes)}
        wrong = Counter(value for value, learns in zip(values, train, strict=True) if learns and value not in number)
        faults += [
            f"task {name}: {unknown('class', value, task.classes)} in {n} rows; add the class or change the rows"
            for value, n in wrong.most_common(EXAMPLES)
        ]
        if len(wrong) > EXAMPLES:
            faults.append(f"task {name}: and {len(wrong) - EXAMPLES} more unknown classes")
        labels[name] = np.where(train, np.array([number.get(v, -1) for v in values]), -1).astype(np.int16)
        filled |= np.array([v != "" for v in values], dtype=bool)
    bare = [repr(table.columns[competition.columns.image][row]) for row in np.flatnonzero(train & ~filled)]
    if bare:
        faults.append(
            f"a training photo needs a label for at least one task, these have none: {listed(bare)}; "
            f"label them or give them another role"
        )
    return labels


# ---- where the photos are


def _paths(images: str, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """N normalised paths relative to the root, and the faults of those that leave it."""
    paths = [value.replace("\\", "/") for value in given]
    absolute = [repr(p) for p in paths if p.startswith("/") or re.match("[A-Za-z]:", p)]
    paths = [posixpath.normpath(f"{images}/{p}" if images else p) for p in paths]
    outside = [repr(p) for p in paths if p == ".." or p.startswith("../")]
    faults = []
    if absolute:
        faults.append(f"paths must be relative to the competition's folder, got absolute {listed(absolute)}; cut off the front")
    if outside:
        faults.append(f"paths must stay inside the competition's folder, got {listed(outside)}; move the photos into it")
    return paths, faults


def _place_files(root: Path, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The paths as the file system spells them (a Korean name may be stored decomposed), and the files that are missing.

    Each folder is listed once; 70,000 single look-ups on a network mount take minutes.
    """

    @cache
    def listing(folder: str) -> frozenset[str]:
        try:
            return frozenset(entry.name for entry in os.scandir(root / folder))
        except OSError:
            return frozenset()

    @cache
    def folder_of(path: str) -> str | None:
        return spelled(path) if path else ""

    def spelled(path: str) -> str | None:
        above, _, name = path.rpartition("/")
        folder = folder_of(above)
        if folder is None:
            return None
        names = listing(folder)
        found = name if name in names else next((f for f in (normalize("NFC", name), normalize("NFD", name)) if f in names), None)
        return found and (f"{folder}/{found}" if folder else found)

    places = [spelled(path) for path in paths]
    missing = [repr(path) for path, place in zip(paths, places, strict=True) if place is None]
    faults = []
    if missing:
        faults.append(
            f"{len(missing)} of {len(paths)} image files are not below {root}: {listed(missing)}; "
            f"check `images` and `columns.path` in the competition's YAML, or the upload"
        )
    return [place or path for place, path in zip(places, paths, strict=True)], faults


def _place_members(root: Path, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The paths as they are, and the faults of archives, arrays and rows they point to."""
    split = [_member(path) for path in paths]
    unreadable = [repr(path) for path, parts in zip(paths, split, strict=True) if parts is None]
    faults = []
    if unreadable:
        faults.append(
            f"a packed photo's path must read archive.npz#array/row, as in images.npz#train/0, got {listed(unreadable)}"
        )
    highest: dict[tuple[str, str], int] = {}
    for parts in filter(None, split):
        archive, array, row = parts
        highest[archive, array] = max(row, highest.get((archive, array), 0))
    for archive in sorted({archive for archive, _ in highest}):
        asked = {array: row for (a, array), row in highest.items() if a == archive}
        faults += _archive_faults(root / archive, archive, asked)
    return list(paths), faults


def _member(path: str) -> tuple[str, str, int] | None:
    archive, _, rest = path.partition("#")
    array, _, row = rest.rpartition("/")
    return (archive, array, int(row)) if archive and array and re.fullmatch("[0-9]{1,9}", row) else None


def _archive_faults(path: Path, name: str, asked: dict[str, int]) -> list[str]:
    if not path.is_file():
        return [f"there is no archive {name!r} in {path.parent}; check the upload"]
    try:
        with zipfile.ZipFile(path) as archive:
            held = {member.removesuffix(".npy") for member in archive.namelist()}
            faults = [f"{name}: {unknown('array', array, held)}" for array in asked if array not in held]
            for array in sorted(held.intersection(asked)):
                with archive.open(f"{array}.npy") as file:
                    faults += _array_faults(f"{name}#{array}", file, asked[array])
            return faults
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        return [f"{name} is not a readable .npz archive ({error}); write it with numpy.savez or upload it again"]


def _array_faults(name: str, file: IO[bytes], highest: int) -> list[str]:
    """The faults of one packed array, from its header alone."""
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
    shape, _, dtype = read(file)
    if dtype != np.uint8 or len(shape) not in {3, 4} or (len(shape) == 4 and shape[3] not in {1, 3}):
        return [f"{name} must be uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), got {dtype} {shape}; convert it before packing"]
    if highest >= shape[0]:
        return [f"{name} has rows 0..{shape[0] - 1}, the table asks for row {highest}; table and archive do not belong together"]
    return []
