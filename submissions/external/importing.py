"""Files from outside Podium -> imports in the ledger: rows split by their photo's role, joined by id, refused as a whole or kept.

A photo to learn from goes to the part `validation`, of which an import may answer any photos; a photo to answer for goes to `test`,
which an import answers wholly or not at all (but for photos that cannot be decoded).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from competitions.prepare import Prepared
from ledger.imports import Import, ImportedAnswers, Source, SourceFile, content_id, name_faults, write_import
from ledger.predictions import PARTS
from submissions.external.csv_file import read_file
from submissions.external.heads import FileContent, HeadRows, heads_of
from system.errors import UserError, listed
from system.files import file_hash
from system.texts import recognise

PART_OF_ROLE = dict(zip(("train", "test"), PARTS, strict=True))
Content = tuple[str, FileContent]
"""A file's base name, and what it says."""


@dataclass(frozen=True)
class Imported:
    """An import, whether its answers are new here, and the name that was wanted: answers that are there keep theirs."""

    kept: Import
    new: bool
    wanted_name: str


def import_files(
    prepared: Prepared,
    files: Sequence[Path],
    source: Source,
    *,
    name: str | None = None,
    head: str | None = None,
    replacing: bool = False,
) -> list[Imported]:
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
    joined: dict[str, dict[str, ImportedAnswers]] = {}
    for called, paths in groups.items():
        contents, wrong = _read(prepared, paths, head)
        joined[called] = _joined(prepared, contents)
        faults += wrong + _group_faults(prepared, contents, complete=len(contents) == len(paths))
    ids = {called: content_id(answers) for called, answers in joined.items()}
    faults += name_faults(prepared.paths, ids, replacing=replacing)
    if faults:
        raise UserError(*faults)
    imported = []
    for called, answers in joined.items():
        read = tuple(SourceFile(_printable(path.name), file_hash(path)) for path in groups[called])
        named = replace(source, name=called, files=read, note=_printable(source.note))
        kept, new = write_import(prepared.paths, answers, named, replacing=replacing)
        imported.append(Imported(kept, new, called))
    return imported


def _read(prepared: Prepared, files: Sequence[Path], head: str | None) -> tuple[list[Content], list[str]]:
    """What can be read of the files, and everything that is wrong with each by itself."""
    contents, faults = list[Content](), list[str]()
    for path in files:
        try:
            content = read_file(path, prepared.competition, head)
        except UserError as error:
            faults += error.faults
            continue
        content = _spelled_as_photos(prepared, content)
        contents.append((path.name, content))
        faults += [f"{path.name}: {fault}" for fault in (*content.faults, *_id_faults(prepared, content.image_ids))]
    return contents, faults


def _spelled_as_photos(prepared: Prepared, content: FileContent) -> FileContent:
    """The content with ids spelled as the competition's, where they only look like them (another Unicode form, spaces)."""
    spelled = recognise(prepared.manifest.image_ids)
    ids = {image_id: spelled(image_id) or image_id for image_id in content.image_ids}
    heads = {head: replace(rows, image_ids=tuple(ids.get(i, i) for i in rows.image_ids)) for head, rows in content.heads.items()}
    return replace(content, heads=heads, image_ids=tuple(ids[i] for i in content.image_ids))


def _id_faults(prepared: Prepared, image_ids: Sequence[str]) -> list[str]:
    """Ids that are no photo to learn from or to answer for."""
    each = zip(prepared.manifest.image_ids, prepared.manifest.roles, strict=True)
    known = {image_id for image_id, role in each if role in PART_OF_ROLE}
    strange = [image_id for image_id in dict.fromkeys(image_ids) if image_id and image_id not in known]
    if not strange:
        return []
    name, ids = prepared.competition.name, prepared.manifest.image_ids
    return [
        f"image ids must be training or test photos of {name}, {len(strange)} of {len(image_ids)} are not, among them "
        f"{listed(strange)}; its ids look like {ids[0]} and {ids[-1]}"
    ]


def _by_head(prepared: Prepared, contents: Sequence[Content]) -> dict[str, list[tuple[str, HeadRows]]]:
    """Head -> the files that answer it, each with its rows; heads in the competition's order."""
    heads = heads_of(prepared.competition)
    answered = {head: [(file, content.heads[head]) for file, content in contents if head in content.heads] for head in heads}
    return {head: files for head, files in answered.items() if files}


def _group_faults(prepared: Prepared, contents: Sequence[Content], *, complete: bool) -> list[str]:
    """Where the files of one import answer a photo twice, mix kinds, or leave test photos out.

    Args:
        prepared: The competition's photos.
        contents: What could be read of the files.
        complete: All files could be read: otherwise nobody knows which test photos they leave out.
    """
    complete = complete and all(content.complete for _, content in contents)
    faults = []
    for head, files in _by_head(prepared, contents).items():
        wrong = _join_faults(head, [rows for _, rows in files])
        wrong += _missing_photos(prepared, head, [rows for _, rows in files]) if complete else []
        faults += [f"{', '.join(file for file, _ in files)}: {fault}" for fault in wrong]
    return faults


def _join_faults(head: str, files: Sequence[HeadRows]) -> list[str]:
    count = Counter(image_id for rows in files for image_id in set(rows.image_ids))
    twice = [image_id for image_id, n in count.items() if n > 1 and image_id]
    faults = [f"{head} of {len(twice)} photos is answered by more than one file, among them {listed(twice)}"] if twice else []
    if len({rows.kind for rows in files}) > 1:
        faults.append(f"{head} must be answered by labels alone or by probabilities alone; give each kind a --name of its own")
    return faults


def _missing_photos(prepared: Prepared, head: str, files: Sequence[HeadRows]) -> list[str]:
    """The test photos without an answer, where some of them have one."""
    answered = {image_id for rows in files for image_id in rows.image_ids}
    ids = [prepared.manifest.image_ids[row] for row in prepared.manifest.rows("test")]
    missing = [image_id for image_id in ids if image_id not in answered and image_id not in prepared.broken]
    if not missing or answered.isdisjoint(ids):
        return []
    return [f"{head} must be answered for every test photo, {len(missing)} are missing, among them {listed(missing)}"]


def _joined(prepared: Prepared, contents: Sequence[Content]) -> dict[str, ImportedAnswers]:
    """Head -> the answers of all files, by the parts that their photos belong to; ids that are no photo are left out."""
    by_head = _by_head(prepared, contents)
    return {head: _answers(prepared, head, [rows for _, rows in files]) for head, files in by_head.items()}


def _answers(prepared: Prepared, head: str, files: Sequence[HeadRows]) -> ImportedAnswers:
    manifest = prepared.manifest
    row_of = {image_id: row for row, image_id in enumerate(manifest.image_ids) if manifest.roles[row] in PART_OF_ROLE}
    ids = [image_id for rows in files for image_id in rows.image_ids]
    probs = np.concatenate([rows.probs for rows in files])
    parts = {}
    for role, part in PART_OF_ROLE.items():
        here = [row for row, image_id in enumerate(ids) if image_id in row_of and manifest.roles[row_of[image_id]] == role]
        if here:
            parts[part] = ([(ids[row], prepared.pixels[row_of[ids[row]]]) for row in here], probs[here])
    return ImportedAnswers(files[0].kind, prepared.competition.classes(head), parts)


def _printable(text: str) -> str:
    """Text from the command line as JSON can hold it: bytes that are no UTF-8 become question marks."""
    return text.encode(errors="replace").decode()
