"""Two preparations of one competition -> what differs between them, in sentences that name photos and settings.

Told is what a person changed; that photos stand in another fold is told by itself only where nothing else explains it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from competitions.prepare import Prepared
from competitions.targets import targets
from system.errors import listed

COMPARED_SETTINGS = ("metric", "image_size", "label")
NAMED_PHOTOS = 5
"""So many photos are named of each change."""


@dataclass(frozen=True)
class DataDifference:
    """Something that is not as it was.

    Attributes:
        kind: One word: `photos`, `pixels`, `labels`, `groups`, `split`, `metric` ...
        text: One sentence for people.
        stops: Whether scores or suggestions could come out in another way.
    """

    kind: str
    text: str
    stops: bool = True

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def differences(then: Prepared, now: Prepared, names: Collection[str]) -> list[DataDifference]:
    """What differs for the targets of these `names`, settings first.

    Args:
        then: What something began with.
        now: Today's.
        names: Targets that both have.
    """
    found = [*_settings(then, now, names), *_photos(then, now)]
    before, after = (_training(one) for one in (then, now))
    shared = [photo for photo in before if photo in after]
    moved = [photo for photo in shared if before[photo]["fold"] != after[photo]["fold"]]
    found += _changed(shared, "pixels", "other pixels", lambda photo: before[photo]["pixels"] != after[photo]["pixels"])
    asked = {task for one in (then, now) for name in names for task in _tasks(one, name)}
    for task in now.competition.tasks:
        differs = _differs(before, after, f"label {task}")
        found += _changed(shared, "labels", f"another label of task {task}", differs, stops=task in asked or bool(moved))
    found += _changed(shared, "groups", "another group", lambda photo: before[photo]["group"] != after[photo]["group"])
    if moved and not any(difference.stops for difference in found):
        found += _changed(moved, "folds", "another fold", lambda photo: True)
    return found


def _settings(then: Prepared, now: Prepared, names: Collection[str]) -> Iterator[DataDifference]:
    one, two = then.competition, now.competition
    for name in COMPARED_SETTINGS:
        yield from _setting(name, getattr(one, name), getattr(two, name))
    for name in (name for name in one.tasks if name in two.tasks):
        yield from _setting("classes", one.classes(name), two.classes(name), of=f" of task {name}")
        yield from _setting("forbids", one.tasks[name].forbids, two.tasks[name].forbids, of=f" of task {name}", stops=False)
    for name in names:
        asked = [(targets(competition)[name].heads, targets(competition)[name].where) for competition in (one, two)]
        yield from _setting("target", *asked, of=f" {name}")
    split, other = one.split.model_dump(), two.split.model_dump()
    for name in split:
        yield from _setting("split", split[name], other[name], of=f".{name}")
    yield from _setting("views", one.views, two.views, stops=False)


def _setting(kind: str, then: Any, now: Any, *, of: str = "", stops: bool = True) -> Iterator[DataDifference]:
    if then != now:
        yield DataDifference(kind, f"{kind}{of} was {_told(then)}, is {_told(now)}", stops)


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple | list) else str(value)


def _photos(then: Prepared, now: Prepared) -> Iterator[DataDifference]:
    """Photos that are there on one side only, or can be decoded on one side only."""
    for role, stops in (("train", True), ("test", False)):
        one, two = (set(_of_role(prepared, role)) for prepared in (then, now))
        what = "training" if role == "train" else role
        for ids, word in ((two - one, "added"), (one - two, "removed")):
            if ids:
                yield DataDifference("photos", f"{_count(ids, f'{what} photo')} {word} ({_few(ids)})", stops)
        both = one & two
        for broken, other, word in ((now, then, "can no longer be decoded"), (then, now, "can be decoded again")):
            ids = {photo for photo in both if photo in broken.broken and photo not in other.broken}
            if ids:
                yield DataDifference("photos", f"{_count(ids, f'{what} photo')} {word} ({_few(ids)})", stops)
    seen = [dict(zip(one.manifest.image_ids, one.pixels, strict=True)) for one in (then, now)]
    tested = set(_of_role(then, "test")) & set(_of_role(now, "test"))
    repainted = {photo for photo in tested if seen[0][photo] != seen[1][photo] and seen[0][photo] and seen[1][photo]}
    if repainted:
        yield DataDifference("pixels", f"{_count(repainted, 'test photo')} with other pixels ({_few(repainted)})", False)


def _training(prepared: Prepared) -> dict[str, dict[str, Any]]:
    """Usable training photo -> what the split and learning see of it."""
    manifest, competition = prepared.manifest, prepared.competition
    named = {task: (*competition.classes(task), None) for task in competition.tasks}  # -1: no label
    return {
        manifest.image_ids[row]: {
            "pixels": prepared.pixels[row],
            "group": manifest.groups[row],
            "fold": int(prepared.folds.fold[row]),
            **{f"label {task}": named[task][manifest.labels[task][row]] for task in competition.tasks},
        }
        for row in np.flatnonzero(prepared.usable())
    }


def _of_role(prepared: Prepared, role: str) -> list[str]:
    return [photo for photo, own in zip(prepared.manifest.image_ids, prepared.manifest.roles, strict=True) if own == role]


def _differs(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> Callable[[str], bool]:
    return lambda photo: before[photo].get(key) != after[photo].get(key)


def _changed(
    photos: Collection[str], kind: str, what: str, differs: Callable[[str], bool], *, stops: bool = True
) -> list[DataDifference]:
    ids = [photo for photo in photos if differs(photo)]
    return [DataDifference(kind, f"{_count(ids, 'photo')} with {what} ({_few(ids)})", stops)] if ids else []


def _tasks(prepared: Prepared, name: str) -> set[str]:
    """The tasks whose labels a target learns, or is limited by."""
    target = targets(prepared.competition)[name]
    named = {*target.heads, *target.where}
    return named | (set(prepared.competition.composed) if "label" in named else set())


def _count(ids: Collection[str], what: str) -> str:
    return f"{len(ids)} {what}{'' if len(ids) == 1 else 's'}"


def _few(ids: Collection[str]) -> str:
    return listed(sorted(ids), NAMED_PHOTOS)
