"""Files from outside Podium -> imports in the ledger: rows split by their photo's role, joined by id, refused as a whole or kept.

A photo to learn from goes to the part `validation`, of which an import may answer any photos; a photo to answer for goes to `test`,
which an import answers wholly or not at all (but for photos that cannot be decoded).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from competitions.prepare import Prepared
from ledger.imports import Answers, Import, Source, SourceFile, content_id, name_faults, write_import
from ledger.predictions import PARTS
from submissions.external.csv_file import read_outside
from submissions.external.heads import Outside, heads_of
from submissions.tables import some
from system.errors import UserError
from system.files import file_hash

VALIDATION, TEST = PARTS
ROLES = {"train": VALIDATION, "test": TEST}
Said = tuple[str, Mapping[str, Outside]]
"""A file's base name, and what it says of each head."""


@dataclass(frozen=True)
class Brought:
    """An import, whether its answers are new here, and the name that was asked for: answers that are there keep theirs."""

    kept: Import
    new: bool
    asked: str


def import_files(
    prepared: Prepared,
    files: Sequence[Path],
    source: Source,
    *,
    name: str | None = None,
    head: str | None = None,
    replacing: bool = False,
) -> list[Brought]:
    """Keep what files say; all of them, or none.

    Args:
        prepared: The competition's photos.
        files: Submission CSVs, probability CSVs and `.npz` archives (`submissions.external.csv_file`).
        source: Note, author and host; its name and files are filled in.
        name: Join the files to one import of this name; for `None` each file is an import named like the file.
        head: The task, or `label`, that every file answers; for `None` their columns say it.
        replacing: Take names from imports that have them.

    Raises:
        UserError: With every fault of every file.
    """
    groups: dict[str, list[Path]] = {}
    for path in dict.fromkeys(files):
        groups.setdefault(path.stem if name is None else name, []).append(path)
    faults = [
        f"import names must differ, {len(paths)} files are called {stem!r}; join them, or import them one by one, with --name"
        for stem, paths in groups.items()
        if name is None and len(paths) > 1
    ]
    joined: dict[str, dict[str, Answers]] = {}
    for called, paths in groups.items():
        said, wrong = _read(prepared, paths, head)
        joined[called], apart = _joined(prepared, said)
        faults += wrong + apart
    faults += name_faults(prepared.paths, {called: content_id(told) for called, told in joined.items()}, replacing=replacing)
    if faults:
        raise UserError(*faults)
    brought = []
    for called, told in joined.items():
        read = tuple(SourceFile(_printable(path.name), file_hash(path)) for path in groups[called])
        kept, new = write_import(
            prepared.paths, told, replace(source, name=called, files=read, note=_printable(source.note)), replacing=replacing
        )
        brought.append(Brought(kept, new, called))
    return brought


def _read(prepared: Prepared, files: Sequence[Path], head: str | None) -> tuple[list[Said], list[str]]:
    said: list[Said] = []
    faults: list[str] = []
    for path in files:
        try:
            found = read_outside(path, prepared.competition, head)
        except UserError as error:
            faults += error.faults
            continue
        said.append((path.name, found))
        faults += [f"{path.name}: {fault}" for fault in _id_faults(prepared, next(iter(found.values())).image_ids)]
    return said, faults


def _id_faults(prepared: Prepared, image_ids: Sequence[str]) -> list[str]:
    """Ids that are no photo to learn from or to answer for."""
    known = {
        image_id for image_id, role in zip(prepared.manifest.image_ids, prepared.manifest.roles, strict=True) if role in ROLES
    }
    strange = [image_id for image_id in image_ids if image_id not in known]
    if not strange:
        return []
    name, ids = prepared.competition.name, prepared.manifest.image_ids
    return [
        f"image ids must be training or test photos of {name}, {len(strange)} of {len(image_ids)} are not, among them "
        f"{some(strange)}; its ids look like {ids[0]} and {ids[-1]}"
    ]


def _joined(prepared: Prepared, said: Sequence[Said]) -> tuple[dict[str, Answers], list[str]]:
    """Head -> answers of all files, and where these answer one photo twice, mix kinds, or leave test photos out."""
    joined, faults = {}, list[str]()
    for head in heads_of(prepared.competition):
        own = [(file, found[head]) for file, found in said if head in found]
        if own:
            joined[head] = _answers(prepared, head, [outside for _, outside in own])
            faults += [f"{', '.join(file for file, _ in own)}: {fault}" for fault in _join_faults(prepared, head, own)]
    return joined, faults


def _join_faults(prepared: Prepared, head: str, own: Sequence[tuple[str, Outside]]) -> list[str]:
    count = Counter(image_id for _, outside in own for image_id in outside.image_ids)
    twice = [image_id for image_id, n in count.items() if n > 1]
    faults = [f"{head} of {len(twice)} photos is answered by more than one file, among them {some(twice)}"] if twice else []
    if len({outside.kind for _, outside in own}) > 1:
        faults.append(f"{head} must be answered by labels alone or by probabilities alone; give each kind a --name of its own")
    rows = prepared.manifest.rows("test")
    ids = [prepared.manifest.image_ids[row] for row in rows]
    missing = [image_id for image_id in ids if image_id not in count and image_id not in prepared.broken]
    if missing and any(image_id in count for image_id in ids):
        faults.append(f"{head} must be answered for every test photo, {len(missing)} are missing, among them {some(missing)}")
    return faults


def _answers(prepared: Prepared, head: str, own: Sequence[Outside]) -> Answers:
    """All rows of one head, by the parts that their photos belong to; ids that are no photo are left out, they are told of."""
    manifest = prepared.manifest
    place = {image_id: row for row, image_id in enumerate(manifest.image_ids) if manifest.roles[row] in ROLES}
    ids = [image_id for outside in own for image_id in outside.image_ids]
    probs = np.concatenate([outside.probs for outside in own])
    parts = {}
    for role, part in ROLES.items():
        rows = [row for row, image_id in enumerate(ids) if image_id in place and manifest.roles[place[image_id]] == role]
        if rows:
            parts[part] = ([(ids[row], prepared.pixels[place[ids[row]]]) for row in rows], probs[rows])
    return Answers(own[0].kind, prepared.competition.classes(head), parts)


def _printable(text: str) -> str:
    """Text from the command line as JSON can hold it: bytes that are no UTF-8 become question marks."""
    return text.encode(errors="replace").decode()
