"""The organisers' sample submission: its columns complete `competition.submission`, its rows say which photos are answered in which order.

The first column is the id (or the one `id_column` names, which must be the first: the file handed in begins with it). Of the others, a
header that is a task's name or `label` asks for it; headers that are all classes of a task ask for their probabilities; a single header of
another name asks for the only task, or for the label. The ids must be exactly the test photos; where the reader knows none, they are the
photos of the folder `test_images`: by the path rule where it needs the id alone, else by their names, with or without ending.
"""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from competitions.answers import (
    CLASS,
    CLASS_PATTERN,
    OF_EACH,
    OF_ONE,
    RANKING,
    ColumnAnswer,
    RowPattern,
    by_their_headers,
    column_faults,
    columns_of_rows,
    expanded,
    floats,
)
from competitions.competition import Competition, Submission
from competitions.csv_tables import parse_table, read_table
from competitions.images.elsewhere import what_is_there
from competitions.images.photo_files import holds_numbers, is_photo, list_photos, passed_over
from competitions.manifest import LABEL, Manifest
from competitions.readers.path_rules import of_id
from competitions.readers.rows import apart, id_faults
from system.errors import UserError, listed, unknown
from system.texts import looks_of, recognise, utf8_faults


def with_sample(competition: Competition, manifest: Manifest, root: Path) -> tuple[Competition, Manifest]:
    """The competition with a complete submission, and the manifest whose test photos are those of the sample, in its order.

    Without a sample the manifest is returned as it is.

    Raises:
        UserError: With every fault of the sample's headers and ids, or of columns without a sample.
    """
    name = competition.submission.sample
    if not name:
        submission, faults = _complete(competition, competition.submission)
        if faults:
            raise UserError(*(f"submission.answers: {fault}" for fault in faults))
        return competition.model_copy(update={"submission": submission}), manifest
    if not (root / name).is_file():
        missing = f"there is no sample submission {name!r} in {root}; set submission.sample in the competition's YAML"
        raise UserError(missing, *what_is_there(root, [name]))
    given = competition.submission.id_column
    header = list(parse_table(root / name, name=name)[0].columns)
    id_column = recognise(header)(given) or given  # the file handed in has the header as the sample spells it
    table = read_table(root / name, {"submission.id_column": id_column or None}, name=name)
    columns, faults = dict(table.columns), list[str]()
    if (rows := competition.submission.rows) is not None:
        columns, faults = _one_row_each(competition, columns, rows)
    submission, derived, wrong = _resolved(competition, columns, id_column) if columns else (competition.submission, [], [])
    ids = columns[next(iter(columns))] if columns else ()
    faults += [*wrong, *(id_faults(ids) if columns else [])]
    if not faults and competition.submission.unit is not None:
        manifest, faults = _by_unit(manifest, ids)
    elif not faults:
        add = _in_order if len(manifest.rows("test")) else _added
        manifest, faults = add(competition, manifest, root, ids)
    if faults:
        raise UserError(*(f"{name}: {fault}" for fault in faults))
    manifest = replace(manifest, notes=(*manifest.notes, *(f"{name}: {note}" for note in derived)))
    return competition.model_copy(update={"submission": submission, "test_images": None}), manifest


def _one_row_each(
    competition: Competition, columns: Mapping[str, Sequence[str]], rows: RowPattern
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """A sample with several rows per photo as one with a row for each and a column per header, and what is wrong with it."""
    first, *others = columns
    if others != [rows.value]:
        given = listed(map(repr, others)) or "none"
        return {}, [f"with submission.rows it must have one column beside {first!r}, {rows.value!r}, got {given}"]
    asked, wrong = _asked_by_rows(competition)
    photos, cells, faults = columns_of_rows(rows, columns[first], columns[rows.value], list(asked))
    return ({} if wrong or faults else {first: photos, **cells}), wrong + faults


def _asked_by_rows(competition: Competition) -> tuple[dict[str, ColumnAnswer], list[str]]:
    """Header -> what is asked; where no answers are given, the classes of the only task, or a probability of each task."""
    form = competition.submission
    default = {CLASS_PATTERN: ColumnAnswer(next(iter(competition.tasks)), form.form or OF_EACH)}
    if len(competition.tasks) > 1:
        default = {task: ColumnAnswer(task, form.form or OF_ONE) for task in competition.tasks}
    return expanded(form.asked or default, form.form, _answerable(competition))


def _by_unit(manifest: Manifest, units: Sequence[str]) -> tuple[Manifest, list[str]]:
    """The manifest whose test photos stand in the order of the sample's units; all other photos stay where they are."""
    places = manifest.rows("test").tolist()
    at = {_key(unit): number for number, unit in enumerate(units)}
    have = {_key(manifest.units[row]): manifest.units[row] for row in places}
    missing, extra = [u for u in units if _key(u) not in have], [u for key, u in have.items() if key not in at]
    faults = [f"{len(missing)} of its rows have no test photo: {listed(map(repr, missing))}"] if missing else []
    faults += [f"{len(extra)} texts of test photos have no row in it: {listed(map(repr, extra))}"] if extra else []
    if faults:
        return manifest, faults
    order = np.arange(len(manifest))
    order[places] = sorted(places, key=lambda row: at[_key(manifest.units[row])])
    found = _taken(manifest, order.tolist())
    spelled = [units[at[_key(u)]] if role == "test" else u for u, role in zip(found.units, found.roles, strict=True)]
    return replace(found, units=tuple(spelled)), []


def _resolved(
    competition: Competition, columns: Mapping[str, Sequence[str]], id_column: str
) -> tuple[Submission, list[str], list[str]]:
    """The submission whose columns are the sample's, in its order, what its form was concluded from, and what is wrong with it."""
    given, faults = competition.submission, list[str]()
    first, *others = columns
    if not first:
        faults.append("the first header is empty; name the column of the photos' ids")
    elif id_column not in ("", first):
        faults.append(
            f"the ids must stand in the first column, {first!r}, got submission.id_column {given.id_column!r}; leave it out"
        )
    if not others:
        faults.append(f"there is no column for an answer beside {first!r}; is this the sample submission?")
    answers, wrong = expanded(given.asked, given.form, _answerable(competition))
    if not given.answers:
        answers, wrong = expanded(_asked(competition, others), given.form, _answerable(competition))
    if given.rows is not None:
        answers, wrong = _asked_by_rows(competition)
    unasked = [h for h in others if h not in answers and not wrong]
    if unasked:
        known = [*competition.tasks, "label"]
        faults.append(
            f"the headers {listed(unasked)} name no task; say in submission.answers what each asks for (known: {', '.join(known)})"
        )
    faults += [f"submission.answers: {fault}" for fault in wrong]
    faults += [f"submission.answers: {unknown('header', h, others)}" for h in answers if h not in others]
    numbers = {} if given.form else _in_fractions(competition, answers, columns)
    answers |= numbers
    form, derived = given.with_columns({h: answers[h] for h in others if h in answers}), list[str]()
    derived += [
        f"{header} holds numbers such as {_fraction(columns[header])}, so it is the probability of {one.of!r} (form: probability)"
        for header, one in numbers.items()
    ]
    rankings = [column.header for column in form.columns if column.form == RANKING]
    if rankings and not form.k:
        form = form.model_copy(update={"k": max(len(cell.split(form.separator)) for h in rankings for cell in columns[h])})
        derived.append(f"its rows name {form.k} classes, so a ranking does (k: {form.k})")
    if not given.form and (shares := [c for c in form.columns if c.form == OF_EACH and c.header not in given.forms]):
        derived.append(
            f"{listed(c.header for c in shares)} hold a probability for each class of {shares[0].task} (form: probabilities)"
        )
    form, wrong = _complete(competition, form)
    return form.model_copy(update={"id_column": first, "sample": ""}), derived, faults + wrong


def _in_fractions(
    competition: Competition, answers: Mapping[str, ColumnAnswer], columns: Mapping[str, Sequence[str]]
) -> dict[str, ColumnAnswer]:
    """Columns of a class of two that the sample fills with numbers between whole ones: they hold the probability of the second."""
    found = {}
    for header, answer in answers.items():
        classes = competition.classes(answer.task)
        if answer.form == CLASS and len(classes) == 2 and header not in competition.submission.forms:
            number = _fraction(columns.get(header, ()))
            if number is not None and number not in classes:
                found[header] = ColumnAnswer(answer.task, OF_ONE, classes[1])
    return found


def _fraction(cells: Sequence[str]) -> str | None:
    """The first cell that is a number strictly between 0 and 1."""
    numbers, wrong = floats(cells)
    between = [] if wrong else np.flatnonzero((numbers > 0) & (numbers < 1)).tolist()
    return cells[between[0]] if between else None


def _classes(competition: Competition) -> dict[str, tuple[str, ...]]:
    """The class names of each task, and of the label where there are several."""
    names = [*competition.tasks, *([LABEL] if len(competition.tasks) > 1 else [])]
    return {name: competition.classes(name) for name in names}


def _answerable(competition: Competition) -> dict[str, tuple[str, ...]]:
    """The class names of whatever a column may ask for; of a single task `label` is another name."""
    return {name: competition.classes(name) for name in (*competition.tasks, LABEL)}


def _complete(competition: Competition, form: Submission) -> tuple[Submission, list[str]]:
    """The submission with a column for each header, and what keeps it from being written."""
    answers, faults = expanded(form.asked, form.form, {task: competition.classes(task) for task in {*form.answers.values()}})
    whole = form.with_columns(answers)
    return whole, faults + [f for column in whole.columns for f in column_faults(column, competition.classes(column.task))]


def _asked(competition: Competition, headers: Sequence[str]) -> dict[str, ColumnAnswer]:
    """Header -> whose answer it asks for; those that do not say it are left out."""
    by_name = {header: ColumnAnswer(header) for header in headers if header in (*competition.tasks, LABEL)}
    if len(by_name) == len(headers):
        return by_name
    by_class = by_their_headers([h for h in headers if h not in by_name], _classes(competition))
    if not by_class and len(headers) == 1:
        return {headers[0]: ColumnAnswer(LABEL if len(competition.tasks) > 1 else next(iter(competition.tasks)))}
    return by_name | by_class


def _in_order(competition: Competition, manifest: Manifest, root: Path, ids: Sequence[str]) -> tuple[Manifest, list[str]]:
    """The manifest with its test photos in the sample's order and spelling; all other photos stay where they are."""
    if competition.test_images is not None and competition.test_table is None:
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
    bare = {
        key.removesuffix(PurePosixPath(key).suffix) if is_photo(key) or holds_numbers(key) else key: row
        for key, row in row_of.items()
    }
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
    ruled = {i: of_id(competition.columns.path, i, competition.columns.image) or i for i in ids}
    keys = [next((key for key in (_key(ruled[i]), _key(i)) if key in whole), None) for i in ids]
    found = [[whole[key]] if key else bare.get(_key(ruled[i]), bare.get(_key(i), [])) for i, key in zip(ids, keys, strict=True)]
    several = [f"{i} ({' and '.join(some)})" for i, some in zip(ids, found, strict=True) if len(some) > 1]
    paths = [_path(folder, some) for some in found if some]
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
    place = dict(zip(manifest.image_ids, manifest.paths, strict=True))
    taken = [repr(i) for i, some in zip(ids, found, strict=True) if i in place and _path(folder, some) in ("", place[i])]
    if taken:
        faults.append(
            f"test photos must be other ones than the table's, these stand in both: {listed(taken)}; rename those in the table"
        )
    if faults:
        return manifest, faults
    none = np.full(len(ids), -1, np.int16)
    roles = manifest.roles + ("test",) * len(ids)
    image_ids, renamed = apart(manifest.image_ids + tuple(ids), roles, competition.images or "train")
    new_groups = {f"~{old}": f"~{new}" for old, new in zip(manifest.image_ids, image_ids, strict=False)}
    return replace(
        manifest,
        image_ids=tuple(image_ids),
        paths=manifest.paths + tuple(paths),
        groups=tuple(new_groups.get(group, group) for group in manifest.groups) + tuple(f"~{i}" for i in ids),
        roles=roles,
        labels={task: np.concatenate([labels, none]) for task, labels in manifest.labels.items()},
        given={column: words + ("",) * len(ids) for column, words in manifest.given.items()},
        notes=(*manifest.notes, *renamed, *passed_over(listing.passed_over)),
    ), []


def _path(folder: str, photos: Sequence[str]) -> str:
    """The path below the root of the one photo that was found in a folder; empty where none was."""
    return posixpath.normpath(f"{folder or '.'}/{photos[0]}") if photos else ""


def _taken(manifest: Manifest, order: Sequence[int]) -> Manifest:
    """The same photos in another order."""
    named = ("image_ids", "paths", "groups", "roles", *(["units"] if manifest.units else []))
    texts: dict[str, Any] = {name: tuple(getattr(manifest, name)[row] for row in order) for name in named}
    labels = {task: numbers[list(order)] for task, numbers in manifest.labels.items()}
    given = {column: tuple(words[row] for row in order) for column, words in manifest.given.items()}
    return replace(manifest, **texts, labels=labels, given=given)


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
