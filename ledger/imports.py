"""Imports: what a notebook or an old submission answers -> a folder from which it votes like a trial. Written, read and dropped here.

    imports/<id>/source.json                                    who gave it, from which files, and what the columns mean
    imports/<id>/predictions/<head>/<part>.<head>.identity.npy  (N, C) float16, with its photos, as a trial keeps them

`source.json` comes last: a folder without one is no import. The id is a hash of what is answered alone, so the same answers are the same
import, whatever order, file or name they came in. Nothing says where a file stood: its base name and its hash tell it apart.
"""

import hashlib
import json
import logging
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.predictions import PARTS, Photos, Predictions, ReadOnce
from ledger.reading import DAMAGE
from system.errors import UserError, unknown
from system.files import read_json, replace_sealed, sweep
from system.paths import CompetitionPaths, check_name

log = logging.getLogger("podium.ledger")
LABELS, PROBABILITIES = "labels", "probabilities"
VIEW = "identity"
SOURCE = "source.json"
ID_DIGITS = 12
RESERVED_NAME = re.compile(r"[0-9a-f]{12}|.+@[^@]*-[0-9a-f]{8}")
"""What looks like an id, or like the name of one of several imports that were given one name."""
Rows = tuple[Photos, NDArray[np.floating[Any]]]
"""N pairs of image id and pixel hash, and their probabilities `(N, C)`."""


@dataclass(frozen=True)
class ImportedAnswers:
    """What is told about one head.

    Attributes:
        kind: `labels` or `probabilities`; of labels the rows are one-hot.
        classes: The C class names of the columns.
        parts: Part (`validation`: training photos, `test`) -> its rows, in any order, each photo once.
    """

    kind: str
    classes: tuple[str, ...]
    parts: Mapping[str, Rows]


@dataclass(frozen=True)
class SourceFile:
    """A file that was imported: its base name, and the SHA-256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """What `source.json` holds beside the heads.

    Attributes:
        name: As it was given.
        files: What was read.
        note: The giver's words.
        author: Who imported it.
        host: On which machine.
        imported: When, in UTC.
    """

    name: str
    files: tuple[SourceFile, ...]
    note: str = ""
    author: str = ""
    host: str = ""
    imported: str = ""


@dataclass(frozen=True)
class Head:
    """What an import says about one head: its kind, the columns' class names, and how many photos of each part it answers."""

    kind: str
    classes: tuple[str, ...]
    photos: dict[str, int]


@dataclass(frozen=True)
class Import:
    """One import as it is kept.

    Attributes:
        folder: `<storage>/<competition>/imports/<id>`.
        id: 12 hex digits over what is answered.
        name: As it was given; where several imports have that name (a merge may bring them together) `<name>@<author>-<8 digits>`.
        heads: What is answered, by head (a task, or `label`).
        source: Where it is from.
    """

    folder: Path
    id: str
    name: str
    heads: dict[str, Head]
    source: Source

    def read(self, head: str, part: str) -> tuple[tuple[str, ...], NDArray[np.float16]]:
        """The n ids and probabilities `(n, C)` of a part, sorted by id; n is 0 where the part is not answered.

        Raises:
            UserError: The head is not answered, or the arrays are damaged.
        """
        photos, probs = self._answers(head, part)
        return tuple(image_id for image_id, _ in photos), probs

    def _answers(self, head: str, part: str) -> tuple[Photos, NDArray[np.float16]]:
        if head not in self.heads:
            raise UserError(f"import {self.name}: {unknown('head', head, self.heads)}")
        if not self.heads[head].photos.get(part):
            return (), np.zeros((0, len(self.heads[head].classes)), np.float16)
        kept = ReadOnce(predictions_of(self.folder, head).folder)
        try:
            _, probs = kept.read(part, head, VIEW)
            return kept.photos(part), probs
        except (OSError, ValueError) as error:
            raise UserError(
                f"import {self.name} is damaged ({str(error).partition(';')[0]}); import its file again with --replace, "
                f"or bring it with merge_ledgers.py: {', '.join(file.name for file in self.source.files)}"
            ) from error

    def aligned(
        self, head: str, part: str, photos: Photos, classes: Sequence[str]
    ) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """The probabilities of wanted photos, in their order.

        Args:
            head: A task, or `label`.
            part: One of `PARTS`.
            photos: N wanted pairs of image id and pixel hash.
            classes: The head's C class names as the competition has them now.

        Returns:
            `(N, C) float16`, and `(N,) bool`: which photos are answered. A photo that is not, or whose pixels are others than those
            that were answered, has a row of zeros.

        Raises:
            UserError: The head is not answered, its classes are others by now, or the arrays are damaged.
        """
        listed, probs = self._answers(head, part)
        if tuple(classes) != self.heads[head].classes:
            raise UserError(
                f"import {self.name}: the classes of {head} were {', '.join(self.heads[head].classes)} when it was imported and are "
                f"{', '.join(classes)} now; import its file again with --replace"
            )
        place = {photo: row for row, photo in enumerate(listed)}
        rows = np.array([place.get(photo, -1) for photo in photos], dtype=np.int64)
        known: NDArray[np.bool_] = rows >= 0
        wanted = np.zeros((len(rows), len(classes)), np.float16)
        wanted[known] = probs[rows[known]]
        return wanted, known

    def fault(self) -> str | None:
        """What is wrong with its arrays, in words; `None` where all can be read and are what its id says."""
        try:
            answers = {name: ImportedAnswers(head.kind, head.classes, self._parts(name)) for name, head in self.heads.items()}
        except UserError as error:
            return str(error)
        return None if content_id(answers) == self.id else f"import {self.name}: its content is not what its id says"

    def json(self) -> dict[str, Any]:
        """The facts as JSON values; without the folder, which is a path of this machine."""
        heads = {name: asdict(head) for name, head in self.heads.items()}
        return {"id": self.id, "heads": heads, **asdict(self.source), "name": self.name}

    def _parts(self, head: str) -> dict[str, Rows]:
        parts: dict[str, Rows] = {}
        for part in PARTS:
            ids, probs = self.read(head, part)
            if ids:
                parts[part] = ([(image_id, "") for image_id in ids], probs)
        return parts


def content_id(answers: Mapping[str, ImportedAnswers]) -> str:
    """The id of what is answered: heads with their classes, and per part ids and float16 probabilities, in any order of rows."""
    hashed = hashlib.sha256()
    for head, answer in sorted(answers.items()):
        for part, rows in sorted(answer.parts.items()):
            photos, probs = in_order(rows)
            facts = [head, answer.classes, part, [image_id for image_id, _ in photos]]
            hashed.update(json.dumps(facts).encode() + b"\n" + probs.astype("<f2").tobytes())
    return hashed.hexdigest()[:ID_DIGITS]


def imports_of(paths: CompetitionPaths) -> list[Import]:
    """All imports, by name. One whose `source.json` is damaged is named in a warning and left out."""
    imports = []
    for folder in sorted(paths.imports.iterdir()) if paths.imports.is_dir() else ():
        try:
            if (folder / SOURCE).is_file():
                imports.append(read_import(folder))
        except DAMAGE as error:
            log.warning("import %s is left out: %s; import its file again, or merge it", folder.name, error)
    several = {name for name, count in Counter(one.source.name for one in imports).items() if count > 1}
    named = [replace(one, name=_distinct_name(one)) if one.source.name in several else one for one in imports]
    return sorted(named, key=lambda one: (one.name, one.id))


def read_import(folder: Path) -> Import:
    """The import in a folder, under the name it was given.

    Raises:
        FileNotFoundError: There is none.
        ValueError, TypeError, KeyError, AttributeError: Its `source.json` is damaged, or another import's.
    """
    value = read_json(folder / SOURCE)
    heads = {name: _head(head) for name, head in value["heads"].items()}
    files = tuple(SourceFile(**file) for file in value["files"])
    source = Source(**{**{key: value[key] for key in ("name", "note", "author", "host", "imported")}, "files": files})
    if value["id"] != folder.name:
        raise ValueError(f"{SOURCE} is that of import {value['id']}")
    return Import(folder, folder.name, source.name, heads, source)


def find_import(paths: CompetitionPaths, name: str) -> Import:
    """The import with this name or id.

    Raises:
        UserError: There is none; the known names are told.
    """
    known = imports_of(paths)
    for one in known:
        if name in (one.name, one.id):
            return one
    raise UserError(unknown("import", name, [one.name for one in known]))


def name_faults(paths: CompetitionPaths, wanted: Mapping[str, str], *, replacing: bool) -> list[str]:
    """Why imports cannot have their names.

    Args:
        paths: The competition's folders.
        wanted: Name -> id of the import that is to have it.
        replacing: Whether an import that has the name already makes room.
    """
    known, faults = imports_of(paths), list[str]()
    for name, wanted_id in wanted.items():
        try:
            check_name("import", name)
        except UserError as error:
            faults += [f"{fault}; give one with --name" for fault in error.faults]
        if RESERVED_NAME.fullmatch(name):
            faults.append(f"import names must not look like an id, or like the names of two that had one name, got {name!r}")
        taken = [one for one in known if name in (one.name, one.source.name) and one.id != wanted_id]
        kept = any(one.id == wanted_id for one in known)
        if taken and (len(taken) > 1 if replacing else not kept):
            others = ", ".join(f"{one.id} ({', '.join(file.name for file in one.source.files)})" for one in taken)
            way = "drop one of them" if len(taken) > 1 else "give another with --name, or --replace it"
            faults.append(f"import names must be new, {name!r} has other answers already: {others}; {way}")
    return faults


def write_import(
    paths: CompetitionPaths, answers: Mapping[str, ImportedAnswers], source: Source, *, replacing: bool = False
) -> tuple[Import, bool]:
    """Keep answers; the same ones are kept once, under the name they had first.

    Args:
        paths: The competition's folders.
        answers: What is told, by head.
        source: Where it is from; `imported` is filled in.
        replacing: Take the name from an import that has it, which is dropped, and tell of `source` where the answers are kept already.

    Returns:
        The import, and whether its answers are new here.

    Raises:
        FullDiskError: There is no room; what was there stays.
        UserError: The name cannot be had.
    """
    import_id = content_id(answers)
    faults = name_faults(paths, {source.name: import_id}, replacing=replacing)
    if faults:
        raise UserError(*faults)
    known = imports_of(paths)
    same = next((one for one in known if one.id == import_id), None)
    for (
        head,
        answer,
    ) in answers.items():  # those that are there as well: arrays may be damaged, and photos have other pixels by now
        for part, rows in answer.parts.items():
            photos, probs = in_order(rows)
            predictions_of(paths.imports / import_id, head).write(part, head, VIEW, photos, probs)
    if same is None or replacing:
        _write_source(
            paths.imports / import_id, answers, replace(source, imported=datetime.now(UTC).isoformat(timespec="seconds"))
        )
        for old in known:
            if old.id != import_id and source.name in (old.name, old.source.name):
                _remove(old.folder)
    return next(one for one in imports_of(paths) if one.id == import_id), same is None


def drop_import(paths: CompetitionPaths, name: str) -> Import:
    """Remove the import with this name or id; a team-mate's copy comes back with the next merge.

    Raises:
        UserError: There is none.
    """
    dropped = find_import(paths, name)
    _remove(dropped.folder)
    return dropped


def predictions_of(folder: Path, head: str) -> Predictions:
    """Where an import's folder keeps the arrays of one head: heads may answer different photos."""
    return Predictions(folder / "predictions" / head)


def in_order(rows: Rows) -> Rows:
    """The rows sorted by image id."""
    photos, probs = rows
    order = sorted(range(len(photos)), key=lambda row: photos[row][0])
    return [photos[row] for row in order], probs[order]


def _write_source(folder: Path, answers: Mapping[str, ImportedAnswers], source: Source) -> None:
    heads = {
        head: {
            "kind": answer.kind,
            "classes": answer.classes,
            "photos": {part: len(rows[0]) for part, rows in answer.parts.items()},
        }
        for head, answer in answers.items()
    }
    sweep(folder)
    replace_sealed(folder / SOURCE, {"id": folder.name, "heads": heads, **asdict(source)})


def _remove(folder: Path) -> None:
    (folder / SOURCE).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _distinct_name(one: Import) -> str:
    author = re.sub(r"[^A-Za-z0-9_.=]+", "-", one.source.author).strip("-") or "unknown"
    return f"{one.source.name}@{author}-{one.id[:8]}"


def _head(value: Mapping[str, Any]) -> Head:
    return Head(
        value["kind"], tuple(value["classes"]), {part: value["photos"][part] for part in PARTS if part in value["photos"]}
    )
