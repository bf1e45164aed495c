"""What stands in a folder: photos, tables, COCO files and archives, each looked at once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from competitions.csv_tables import Table, parse_table
from competitions.images.elsewhere import ARCHIVES
from competitions.images.photo_files import list_photos
from competitions.readers.coco import parse_coco
from competitions.readers.pixels import has_pixels, parse_pixels
from system.errors import UserError, listed
from system.texts import looks_of

SAMPLE_WORDS = re.compile(r"sample|submi", re.IGNORECASE)
"""How organisers call the file that shows what is handed in."""
TEST_WORDS = re.compile(r"(^|[^a-z])(test|eval)", re.IGNORECASE)
TRAIN_WORDS = re.compile(r"train|label", re.IGNORECASE)
MOST_TABLE_BYTES = 1 << 31
"""A larger table is no list of photos."""


@dataclass(frozen=True)
class Unpacked:
    """What was found.

    Attributes:
        root: The folder.
        photos: Paths below it, sorted.
        tables: Name below it -> table, sample submissions left out.
        coco: Name below it -> the table of a COCO file.
        samples: Name below it -> table of what looks like a sample submission.
        pixels: Names of the tables that have a column per pixel; `tables` has their other columns.
        archives: Names of archives.
        notes: What could not be read, one sentence each.
    """

    root: Path
    photos: tuple[str, ...]
    tables: dict[str, Table]
    coco: dict[str, Table]
    samples: dict[str, Table]
    pixels: tuple[str, ...]
    archives: tuple[str, ...]
    notes: tuple[str, ...]


def look(root: Path) -> Unpacked:
    """List a folder and read its tables.

    Raises:
        UserError: It is no folder, or holds nothing that could be a competition.
    """
    if not root.is_dir():
        raise UserError(f"FOLDER must be a folder, got {root}, which is not there")
    listing = list_photos(root)
    tables, coco, notes, pixels = dict[str, Table](), dict[str, Table](), list[str](), list[str]()
    for name in listing.passed_over:
        ending = PurePosixPath(name).suffix.lower()
        parse: Any = {".csv": parse_table, ".tsv": parse_table, ".json": parse_coco}.get(ending)
        if parse is None or (root / name).stat().st_size > MOST_TABLE_BYTES:
            continue
        try:
            if parse is parse_table and has_pixels(root / name):
                pixels.append(name)
                parse = parse_pixels
            table, faults = parse(root / name, name=name)
        except UserError as error:
            notes += [f"{name} was not read: {error.faults[0]}"] * (ending != ".json")
            continue
        notes += [f"{name}: {fault}" for fault in faults]
        (coco if ending == ".json" else tables)[name] = table
    samples = {name: table for name, table in tables.items() if SAMPLE_WORDS.search(PurePosixPath(name).name)}
    archives = tuple(name for name in listing.passed_over if name.lower().endswith(ARCHIVES) and "idx" not in name)
    if not listing.photos and not tables:
        there = f"; archives are there: {listed(archives)}: unpack them" if archives else ""
        raise UserError(f"{root} holds no photo and no table, so there is nothing to write a competition from{there}")
    rest = {name: table for name, table in tables.items() if name not in samples}
    return Unpacked(root, listing.photos, rest, coco, samples, tuple(pixels), archives, tuple(notes))


@dataclass(frozen=True)
class Lead:
    """How the texts of a column lead to photos.

    Attributes:
        share: Of the texts looked at, how many do.
        images: The folder that they start from.
        rule: The path rule, where one is needed: empty where the text itself is the path, with or without ending.
        packed: Whether they lead into `.npz` archives.
    """

    share: float
    images: str = ""
    rule: str = ""
    packed: bool = False


@dataclass
class PhotoIndex:
    """The photos of a folder by their names, and by their names without ending."""

    photos: Sequence[str]
    _by_name: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for photo in self.photos:
            name = looks_of(PurePosixPath(photo).name)
            for key in (name, name[: name.rindex(".")]):
                self._by_name.setdefault(key, []).append(photo)

    def place_of(self, table: Table, column: str, *, test: bool, most: int = 300) -> Lead:
        """Where a column's texts lead; of folders that serve equally well the one that is called like the table's part."""
        texts = table.columns[column]
        if texts and all(".npz#" in text for text in texts):
            return Lead(1.0, packed=True)
        step = max(1, len(texts) // most)
        rows = range(0, len(texts), step)
        others = [other for other in table.columns if other != column]
        counts: dict[tuple[str, str], int] = {}
        n_looked = 0
        for row in rows:
            text = looks_of(texts[row]).replace("\\", "/").removeprefix("./")
            if not text:
                continue
            n_looked += 1
            found = {
                pair
                for photo in self._by_name.get(PurePosixPath(text).name, ())
                for pair in _ways(photo, text, table, others, row)
            }
            for pair in found:
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            return Lead(0.0)
        best = max(counts, key=lambda pair: (counts[pair], not pair[1], _fits(pair[0], test=test), -len(pair[1]), pair))
        return Lead(counts[best] / n_looked, best[0], best[1].replace("{}", f"{{{column}}}") if best[1] else "")


def _fits(front: str, *, test: bool) -> int:
    is_test, is_train = TEST_WORDS.search(front), TRAIN_WORDS.search(front)
    return int(bool(is_test)) - int(bool(is_train)) if test else int(bool(is_train)) - int(bool(is_test))


def _ways(photo: str, text: str, table: Table, others: Sequence[str], row: int) -> list[tuple[str, str]]:
    """The pairs (folder, rule) by which a text leads to a photo; `{}` in a rule stands for the column of the text."""
    path = PurePosixPath(looks_of(photo))
    whole = text.endswith(path.suffix)
    bare = str(path) if whole else str(path.with_suffix(""))
    if bare == text or bare.endswith(f"/{text}"):
        front = bare[: -len(text)].rstrip("/")
        ways = [(front, "")]
    else:
        return []
    if "/" in text:
        return ways
    ending, parts = "" if whole else path.suffix, front.split("/") if front else []
    for column in others:
        if parts and table.columns[column][row].strip() == parts[-1]:
            ways.append(("/".join(parts[:-1]), f"{{{column}}}/{{}}{ending}"))
    for depth in range(1, min(3, len(parts), len(text)) + 1):
        if parts[-depth:] == list(text[:depth]):
            signs = "/".join(f"{{id[{k}]}}" for k in range(depth))
            ways.append(("/".join(parts[:-depth]), f"{signs}/{{}}{ending}"))
    return ways
