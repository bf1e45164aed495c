"""The organisers' sample submission: its columns complete `competition.submission`, its rows say which photos are answered in which order.

The first column is the id (or the one `id_column` names, which must be the first: the file handed in begins with it). Of the others, a
header that is a task's name or `label` asks for it; a single header of another name asks for the only task, or for the label. The ids
must be exactly the test photos; where the reader knows none, they are the photos of the folder `test_images`.
"""

import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from competitions.competition import Competition, Submission
from competitions.csv_tables import parse_table, read_table
from competitions.images.elsewhere import what_is_there
from competitions.images.photo_files import is_photo, list_photos, passed_over
from competitions.manifest import Manifest
from competitions.readers.rows import id_faults
from system.errors import UserError, listed, unknown
from system.texts import looks_of, recognise, utf8_faults


def with_sample(competition: Competition, manifest: Manifest, root: Path) -> tuple[Competition, Manifest]:
    """The competition with a complete submission, and the manifest whose test photos are those of the sample, in its order.

    Without a sample both are returned as they are.

    Raises:
        UserError: With every fault of the sample's headers and ids.
    """
    name = competition.submission.sample
    if not name:
        return competition, manifest
    if not (root / name).is_file():
        missing = f"there is no sample submission {name!r} in {root}; set submission.sample in the competition's YAML"
        raise UserError(missing, *what_is_there(root, [name]))
    given = competition.submission.id_column
    header = list(parse_table(root / name, name=name)[0].columns)
    id_column = recognise(header)(given) or given  # the file handed in has the header as the sample spells it
    table = read_table(root / name, {"submission.id_column": id_column or None}, name=name)
    submission, faults = _resolved(competition, list(table.columns), id_column)
    ids = table.columns[next(iter(table.columns))]
    faults += id_faults(ids)
    if not faults:
        add = _in_order if len(manifest.rows("test")) else _added
        manifest, faults = add(competition, manifest, root, ids)
    if faults:
        raise UserError(*(f"{name}: {fault}" for fault in faults))
    return competition.model_copy(update={"submission": submission, "test_images": None}), manifest


def _resolved(competition: Competition, header: Sequence[str], id_column: str) -> tuple[Submission, list[str]]:
    """The submission whose columns are the sample's, in its order."""
    given, faults = competition.submission, list[str]()
    first, *others = header
    if not first:
        faults.append("the first header is empty; name the column of the photos' ids")
    elif id_column not in ("", first):
        faults.append(
            f"the ids must stand in the first column, {first!r}, got submission.id_column {given.id_column!r}; leave it out"
        )
    if not others:
        faults.append(f"there is no column for an answer beside {first!r}; is this the sample submission?")
    answers = {h: given.answers.get(h, "") for h in others} if given.answers else _asked(competition, others)
    unasked = [h for h, answer in answers.items() if not answer]
    if unasked:
        known = [*competition.tasks, "label"]
        faults.append(
            f"the headers {listed(unasked)} name no task; say in submission.answers what each asks for (known: {', '.join(known)})"
        )
    faults += [f"submission.answers: {unknown('header', h, others)}" for h in given.answers if h not in others]
    return given.model_copy(update={"id_column": first, "answers": answers, "sample": ""}), faults


def _asked(competition: Competition, headers: Sequence[str]) -> dict[str, str]:
    """Header -> task or `label`, empty where the header does not say."""
    if len(headers) == 1 and headers[0] not in (*competition.tasks, "label"):
        return {headers[0]: "label" if len(competition.tasks) > 1 else next(iter(competition.tasks))}
    return {header: header if header in (*competition.tasks, "label") else "" for header in headers}


def _in_order(competition: Competition, manifest: Manifest, root: Path, ids: Sequence[str]) -> tuple[Manifest, list[str]]:
    """The manifest with its test photos in the sample's order and spelling; all other photos stay where they are."""
    if competition.test_images is not None:
        return manifest, [
            f"test_images has no effect: the reader {competition.reader} knows the test photos already; leave it out"
        ]
    places = manifest.rows("test").tolist()
    row_of = {_key(manifest.image_ids[row]): row for row in places}
    if not any(_key(i) in row_of for i in ids):
        row_of = _without_endings(row_of)
    asked = {_key(i) for i in ids}
    faults = _difference(
        [i for i in ids if _key(i) not in row_of], [manifest.image_ids[r] for k, r in row_of.items() if k not in asked]
    )
    if faults:
        return manifest, faults
    order = np.arange(len(manifest))
    order[places] = [row_of[_key(i)] for i in ids]
    spelled = dict(zip(places, ids, strict=True))
    found = _taken(manifest, order.tolist())
    return replace(found, image_ids=tuple(spelled.get(row, i) for row, i in enumerate(found.image_ids))), []


def _without_endings(row_of: dict[str, int]) -> dict[str, int]:
    """The same rows by ids without their endings, where these differ; as they are where they do not."""
    bare = {key.removesuffix(PurePosixPath(key).suffix) if is_photo(key) else key: row for key, row in row_of.items()}
    return bare if len(bare) == len(row_of) else row_of


def _added(competition: Competition, manifest: Manifest, root: Path, ids: Sequence[str]) -> tuple[Manifest, list[str]]:
    """The manifest and, after its photos, those of the sample, found in the folder `test_images`."""
    folder = competition.test_images
    if folder is None:
        return manifest, ["no photo has the role test; name the folder that holds the sample's photos in `test_images`"]
    if not (root / folder).is_dir():
        there = what_is_there(root, [f"{folder}/{i}" for i in ids])
        return manifest, [f"test_images {folder!r} is no folder in {root}; check the YAML, or the upload", *there]
    listing = list_photos(root / folder)
    photos = listing.photos
    whole, bare = {_key(p): p for p in photos}, dict[str, list[str]]()
    for photo in photos:
        bare.setdefault(_key(photo.removesuffix(PurePosixPath(photo).suffix)), []).append(photo)
    found = [[whole[_key(i)]] if _key(i) in whole else bare.get(_key(i), []) for i in ids]
    several = [f"{i} ({' and '.join(some)})" for i, some in zip(ids, found, strict=True) if len(some) > 1]
    paths = [posixpath.normpath(f"{folder or '.'}/{some[0]}") for some in found if some]
    used = {*paths, *manifest.paths}
    extra = [p for p in photos if posixpath.normpath(f"{folder or '.'}/{p}") not in used]
    absent = [i for i, some in zip(ids, found, strict=True) if not some]
    faults = _difference(absent, [] if several else extra) + (passed_over(listing.passed_over) if absent else [])
    faults += utf8_faults(photos)
    faults += what_is_there(root, [posixpath.normpath(f"{folder or '.'}/{i}") for i in absent]) if absent else []
    if several:
        faults.append(
            f"each id must mean one photo in {folder!r}, these mean more: {listed(several)}; remove one, or write the ending"
        )
    known = set(manifest.image_ids)
    taken = [repr(i) for i in ids if i in known]
    if taken:
        faults.append(
            f"test photos must have other ids than the table's, these stand in both: {listed(taken)}; rename those in the table"
        )
    if faults:
        return manifest, faults
    none = np.full(len(ids), -1, np.int16)
    return replace(
        manifest,
        image_ids=manifest.image_ids + tuple(ids),
        paths=manifest.paths + tuple(paths),
        groups=manifest.groups + tuple(f"~{i}" for i in ids),
        roles=manifest.roles + ("test",) * len(ids),
        labels={task: np.concatenate([labels, none]) for task, labels in manifest.labels.items()},
        notes=(*manifest.notes, *passed_over(listing.passed_over)),
    ), []


def _taken(manifest: Manifest, order: Sequence[int]) -> Manifest:
    """The same photos in another order."""
    named = ("image_ids", "paths", "groups", "roles")
    texts: dict[str, Any] = {name: tuple(getattr(manifest, name)[row] for row in order) for name in named}
    return replace(manifest, **texts, labels={task: labels[list(order)] for task, labels in manifest.labels.items()})


def _difference(missing: Sequence[str], extra: Sequence[str]) -> list[str]:
    faults = []
    if missing:
        faults.append(f"{len(missing)} ids of the sample are no test photos: {listed(map(repr, missing))}")
    if extra:
        faults.append(f"{len(extra)} test photos do not stand in the sample: {listed(map(repr, extra))}")
    return faults


def _key(text: str) -> str:
    """Ids are compared by their looks; a folder copied from a Mac spells Korean names in another Unicode form."""
    return looks_of(text)
