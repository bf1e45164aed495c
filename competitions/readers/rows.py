"""Rows: what a layout says about each photo, as texts, becomes a checked `Manifest`. Every reader ends here."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Competition, Task
from competitions.manifest import Manifest
from competitions.readers.photo_paths import Place, relative_paths
from competitions.validation import MOST_CLASSES
from system.errors import EXAMPLES, UserError, listed, unknown
from system.texts import alike, difference, first_spellings, looks_of, recognise, told_alike, utf8_faults


@dataclass(frozen=True)
class PhotoRows:
    """N photos before they are checked.

    Attributes:
        name: What messages call their source.
        ids: N ids.
        paths: N places relative to the folder `images`.
        groups: N groups, empty where a photo has none.
        roles: N of `competitions.manifest.ROLES`.
        fields: Task -> N texts: class names, numbers where the task has cuts, empty where there is no label.
        images: Folder below the root that the paths start from; N folders where they differ.
        notes: What was passed over, one sentence each.
        given: Column -> N texts, where a split of the organisers' is asked for.
        units: N texts, where several photos get one answer: what those of one answer have in common.
    """

    name: str
    ids: Sequence[str]
    paths: Sequence[str]
    groups: Sequence[str]
    roles: Sequence[str]
    fields: Mapping[str, Sequence[str]]
    images: str | Sequence[str] = ""
    notes: Sequence[str] = ()
    units: Sequence[str] = ()
    given: Mapping[str, Sequence[str]] = field(default_factory=dict)


def manifest_of(competition: Competition, rows: PhotoRows, root: Path, place: Place, faults: Sequence[str] = ()) -> Manifest:
    """The manifest of these rows; a photo without a group becomes its own, and only training photos keep labels.

    Args:
        competition: What is asked.
        rows: N photos.
        root: The competition's folder.
        place: Finds the photos.
        faults: What the layout found wrong already.

    Raises:
        UserError: With `faults` and every fault of ids, roles, labels and paths.
    """
    found = [*faults, *(utf8_faults(rows.paths) or utf8_faults(rows.ids, "image ids")), *id_faults(rows.ids)]
    if "train" not in rows.roles:
        words = " or ".join(map(repr, competition.words["train"]))
        found.append(f"no row has the role train (the word {words}); without training photos nothing can be learned")
    bare = sum(role == "test" and not unit for role, unit in zip(rows.roles, rows.units, strict=False))
    found += [f"submission.unit: {bare} test photos have an empty cell there; fill it in"] if bare else []
    notes = list(rows.notes)
    classes = {name: task.classes or classes_of(name, rows, found) for name, task in competition.tasks.items()}
    labels = _labels(competition, rows, classes, found, notes)
    paths, misplaced = relative_paths(rows.images, rows.paths)
    found += misplaced
    if not misplaced:
        paths, missing = place(root, paths)
        found += missing
    if found:
        raise UserError(*(f"{rows.name}: {fault}" for fault in found))
    named = _one_spelling(rows.groups, notes)
    groups = tuple(group or f"~{image_id}" for group, image_id in zip(named, rows.ids, strict=True))
    from_labels = {name: classes[name] for name, task in competition.tasks.items() if not task.classes}
    given = {column: tuple(texts) for column, texts in rows.given.items()}
    ids, units = tuple(rows.ids), tuple(rows.units)
    return Manifest(ids, tuple(paths), groups, tuple(rows.roles), labels, tuple(notes), units, from_labels, given)


def classes_of(name: str, rows: PhotoRows, faults: list[str]) -> tuple[str, ...]:
    """The classes that a task's training labels name, in a fixed order; a fault where they are no two, or too many."""
    texts = (text for text, role in zip(rows.fields[name], rows.roles, strict=True) if role == "train")
    classes = in_order({text.strip() for text in _first_of_each(texts)})
    if len(classes) == 1:
        faults.append(
            f"task {name}: all training labels are {classes[0]!r}, and a task needs two classes; is it the right column? "
            f"Write `classes` where photos of another class are still to come"
        )
    if len(classes) > MOST_CLASSES:
        faults.append(
            f"task {name}: a task may have at most {MOST_CLASSES} classes, its labels name {len(classes)}; is it the right column?"
        )
    return classes


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order that they have wherever they are read: numbers by value, else by text.

    >>> in_order(["10", "9", "1"]), in_order(["10", "9", "cat"])
    (('1', '9', '10'), ('10', '9', 'cat'))
    """
    names = sorted(names)
    numbers = {name: _number(name) for name in names}
    return tuple(names if None in numbers.values() else sorted(names, key=lambda name: (numbers[name], name)))


def _first_of_each(texts: Iterable[str]) -> Iterable[str]:
    """The texts that show something, each by the first of the spellings that look equal."""
    seen = {text: None for text in texts if looks_of(text)}
    first = first_spellings(seen)
    return (text for text in seen if text not in first)


def _one_spelling(groups: Sequence[str], notes: list[str]) -> list[str]:
    """The groups, each by the first of the spellings that look equal: a group cut apart would be a leak that nobody sees."""
    first = first_spellings(dict.fromkeys(groups))
    if first:
        told = listed(map(told_alike, alike([*first.values(), *first])))
        n_groups = len(set(first.values()))
        notes.append(f"{n_groups} groups are written in more than one way that looks the same, and each is one: {told}")
    return [first.get(group, group) for group in groups]


def id_faults(ids: Sequence[str]) -> list[str]:
    """What is wrong with ids: empty, more than one line, twice, or two that look equal."""
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
    same = [told_alike(some) for some in alike(i for i in ids if i)]
    if same:
        faults.append(f"image ids must differ to the eye, these do not: {listed(same)}; rename photos, or keep one row per photo")
    return faults


def apart(ids: Sequence[str], roles: Sequence[str], front: str) -> tuple[list[str], list[str]]:
    """N ids, of which training photos' get a folder in front where test photos have the same: 1.jpg in train/ and 1.jpg in test/.

    Test photos keep their ids, because they are handed in.

    Args:
        ids: N ids.
        roles: N roles.
        front: The folder.

    Returns:
        N ids, and a note.
    """
    asked = {image_id for image_id, role in zip(ids, roles, strict=True) if role == "test"}
    both = [image_id for image_id, role in zip(ids, roles, strict=True) if role != "test" and image_id in asked]
    if not both:
        return list(ids), []
    note = f"{len(both)} ids stand for a training photo and for a test photo ({listed(both)}); training photos are called {front}/... here"
    return [i if role == "test" else f"{front}/{i}" for i, role in zip(ids, roles, strict=True)], [note]


def _labels(
    competition: Competition, rows: PhotoRows, classes: Mapping[str, Sequence[str]], faults: list[str], notes: list[str]
) -> dict[str, NDArray[np.int16]]:
    """Per task `(N,) int16`, -1 outside the role train and where the field is empty; what is wrong or odd is added to the lists."""
    train = np.array([role == "train" for role in rows.roles], dtype=bool)
    filled = np.zeros(len(train), dtype=bool)
    labels = {}
    for name, task in competition.tasks.items():
        values = _class_texts(name, task, classes[name], rows.fields[name], notes)
        numbers = {class_name: k for k, class_name in enumerate(classes[name])}
        number = {text: _class_number(task, text, numbers) for text in set(values)}
        wrong = Counter(value for value, learns in zip(values, train, strict=True) if learns and number[value] is None)
        faults += _class_faults(name, task, wrong)
        labels[name] = np.where(train, np.array([_or_no_label(number[v]) for v in values]), -1).astype(np.int16)
        filled |= np.array([v != "" for v in values], dtype=bool)
    bare = [repr(rows.ids[row]) for row in np.flatnonzero(train & ~filled).tolist()]
    if bare:
        faults.append(
            f"a training photo needs a label for at least one task, these have none: {listed(bare)}; "
            f"label them or give them another role"
        )
    return labels


def _class_texts(name: str, task: Task, classes: Sequence[str], values: Sequence[str], notes: list[str]) -> list[str]:
    """The fields of a task with class names spelled as the competition spells them."""
    if task.cuts is not None:
        return [looks_of(value) for value in values]
    spelled = recognise(classes)
    known = {value: spelled(value) or value for value in set(values) if looks_of(value)}
    other = Counter(value for value in values if known.get(value, value) != value)
    if other:
        told = listed(f"{known[value]!r} ({difference(known[value], value)}) in {n} rows" for value, n in other.most_common())
        notes.append(f"task {name}: classes are written in another way that looks the same, and count as they are: {told}")
    return [known.get(value, value) for value in values]


def _class_number(task: Task, text: str, numbers: Mapping[str, int]) -> int | None:
    """The class a field says: -1 for an empty one, `None` for a text that is no class (or no finite number, where there are cuts)."""
    if not text:
        return -1
    if task.cuts is None:
        return numbers.get(text)
    value = _number(text)
    return None if value is None else bisect_right(task.cuts, value)


def _number(text: str) -> float | None:
    """The finite number that a text is."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and "_" not in text else None


def _or_no_label(number: int | None) -> int:
    return -1 if number is None else number


def _class_faults(name: str, task: Task, wrong: Counter[str]) -> list[str]:
    if task.cuts is not None:
        some = [f"{value!r} in {n} rows" for value, n in wrong.most_common()]
        return [f"task {name}: its cuts need numbers, got {listed(some)}; mend or empty these fields"] if some else []
    faults = [
        f"task {name}: {unknown('class', value, task.classes)} in {n} rows; add the class or change the rows"
        for value, n in wrong.most_common(EXAMPLES)
    ]
    if len(wrong) > EXAMPLES:
        faults.append(f"task {name}: and {len(wrong) - EXAMPLES} more unknown classes")
    return faults
