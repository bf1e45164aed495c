"""Splits: a manifest to one fold number per photo, `(N,) int8`, that depends on ids and labels and not on row order.

What must not be split is a *unit*: a group, joined with every group that holds a photo of the same pixels. Units are dealt one
after another, those with the largest shares of the rarest classes first, each to the fold that holds least of its classes. A fold
is refused where it would take the last unit of a class all of whose units it holds, so every class that is not excused in
`notes` stands in the training part of every fold.

A holdout is dealt by the same rule to two bins with the shares h and 1 - h: fold 0, and training always. There a class may also
not end up in training alone, as long as the unit this sends to the holdout leaves that at most twice its share.

Pinning. A unit that alone holds a composed class is pinned to training: were it in a validation fold, that fold's model would be
asked for a class it never saw. The price is that its photos have no out-of-fold prediction, so units are pinned smallest
first and only while all pinned ones hold at most a third of the photos; classes left unpinned are named in `notes`. On the
clothing data three senders with 3, 11 and 42 of 3,816 photos are pinned, 1.5 %. A class of a single task with one unit is
pinned too; a note says that its score cannot be measured. A task of which every class is such is refused.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import frexp
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from competitions.manifest import SEPARATOR, Manifest
from system.errors import UserError, listed

PINNED = -1
UNUSABLE = -2
MOST_PINNED = 1 / 3  # of the photos; beyond it validation says less than the classes it would protect


@dataclass(frozen=True)
class Folds:
    """Where each photo of a manifest stands.

    Attributes:
        fold: `(N,) int8` in manifest order: 0..F-1 the fold it validates, -1 in training of every fold, -2 not a usable
            training photo. Of a holdout only fold 0 is there.
        pinned: The names of the groups that are kept in training for a reason, sorted; a photo without a group reads `~id`.
        reasons: Why, one sentence per entry of `pinned`.
        notes: What the split could not do, one sentence each.
    """

    fold: NDArray[np.int8]
    pinned: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """Something about the photos that a person should know.

    Attributes:
        kind: `group` on both sides, identical `pixels` on both sides, a `contradiction` of two labels, or `near` copies on both sides.
        names: The group, or the image ids.
        stops: Whether a study must not start.
        text: One sentence for people.
    """

    kind: Literal["group", "pixels", "contradiction", "near"]
    names: tuple[str, ...]
    stops: bool
    text: str


@dataclass(frozen=True)
class _Class:
    """One class of a task, or of the composed label (`task` is None), and the units that hold it."""

    task: str | None
    name: str
    units: tuple[int, ...]
    n_photos: int


@dataclass(frozen=True)
class _Units:
    """U units of n photos: their group names, photo counts, and per unit its photos of each class `{class: n}`."""

    groups: tuple[tuple[str, ...], ...]
    sizes: tuple[int, ...]
    holds: tuple[dict[int, int], ...]
    classes: tuple[_Class, ...]


def make_folds(
    manifest: Manifest,
    usable: NDArray[np.bool_],
    *,
    n_folds: int,
    seed: int,
    tasks: Mapping[str, Sequence[str]],
    composed: Sequence[str] | None = None,
    by_group: bool = True,
    same_pixels: Sequence[str | None] | None = None,
    holdout: float | None = None,
    clusters: Sequence[str] | None = None,
) -> Folds:
    """Deal the training photos to folds, stratified over every task and the composed label together.

    Args:
        manifest: N photos.
        usable: `(N,) bool`, False for broken files.
        n_folds: F, 2 to 127; 1 with a holdout.
        seed: Decides between equals.
        tasks: Task name -> its ordered class names.
        composed: The tasks that make up the label, most significant first; all of `tasks` where None.
        by_group: False deals photos one by one, whatever their groups.
        same_pixels: N pixel hashes; photos with equal ones stay together. None or an empty entry: not known.
        holdout: The share of the photos that fold 0 is to hold; all others are in training. None cuts into folds.
        clusters: N names, read for usable training photos only; photos with equal ones stay together, beside those of a group.

    Raises:
        UserError: There are fewer units than folds, or every class of a task has a single unit.
    """
    weights = (1.0,) * n_folds if holdout is None else (holdout, 1.0 - holdout)
    rows = manifest.rows("train")
    rows = rows[usable[rows]]
    names = [manifest.groups[r] if by_group else f"~{manifest.image_ids[r]}" for r in rows]
    together = [] if same_pixels is None else [[same_pixels[r] for r in rows]]
    if clusters is not None:
        together, names = [*together, names], [clusters[r] for r in rows]
    unit = _join(names, *together)
    units = _describe(names, unit, _label_columns(manifest, rows, tasks, tuple(tasks) if composed is None else composed))
    what = "clusters" if clusters is not None else "groups" if by_group else "photos"
    _refuse(units, len(weights), what, is_holdout=holdout is not None)
    pinned, notes = _pin_single(units, len(weights))
    notes = (*_unmeasured(units, what), *notes)
    dealt = _deal(units, pinned, weights, np.random.default_rng(seed), is_holdout=holdout is not None)
    if holdout is not None:
        dealt = _fill_holdout(units, pinned, dealt, holdout)
        notes += _missing_in_holdout(units, pinned, dealt)
    fold = np.full(len(manifest), UNUSABLE, dtype=np.int8)
    fold[rows] = np.array(dealt, dtype=np.int8)[unit]
    listed = sorted((group, reason) for u, reason in pinned.items() for group in units.groups[u])
    return Folds(fold, tuple(g for g, _ in listed), tuple(r for _, r in listed), notes)


TRAINING_WORDS = ("", "-1", "train", "training")
"""In a column that says how the organisers cut: photos that teach in every fold."""


def given_folds(manifest: Manifest, usable: NDArray[np.bool_], words: Sequence[str], n_folds: int) -> Folds:
    """The folds that the organisers cut, as they are.

    Args:
        manifest: N photos.
        usable: `(N,) bool`, False for broken files.
        words: N texts: one of `TRAINING_WORDS`, or the fold, or part, that the photo judges.
        n_folds: F; 1 where one part judges.

    Raises:
        UserError: The words name another number of folds.
    """
    rows = manifest.rows("train")
    rows = rows[usable[rows]]
    said = [words[row].strip() for row in rows]
    names = sorted({word for word in said if word.lower() not in TRAINING_WORDS}, key=lambda word: (len(word), word))
    if len(names) != n_folds:
        told = listed(map(repr, names)) or "none"
        raise UserError(
            f"the column of the split names {len(names)} parts that judge ({told}), the split has {n_folds}; write `folds` beside "
            f"`given`, or one part alone without it; photos that always teach are called {listed(map(repr, TRAINING_WORDS))}"
        )
    number = {name: k for k, name in enumerate(names)}
    fold = np.full(len(manifest), UNUSABLE, dtype=np.int8)
    fold[rows] = [number.get(word, PINNED) for word in said]
    if n_folds == 1 and not (fold == PINNED).any():
        raise UserError(f"the part {names[0]!r} of the given split holds every training photo, so none is left to learn from")
    places: dict[str, set[int]] = defaultdict(set)
    for row in rows.tolist():
        places[manifest.groups[row]].add(int(fold[row]))
    cut = sorted(group for group, found in places.items() if len(found) > 1)
    notes = (f"the given split cuts {len(cut)} groups apart: {listed(cut)}; its scores may be too good",) if cut else ()
    return Folds(fold, (), (), notes)


def same_pixel_sets(manifest: Manifest, same_pixels: Sequence[str | None]) -> list[tuple[int, ...]]:
    """The sets of rows (at least two each) with equal pixel hashes, rows in order of their ids."""
    sets: dict[str, list[int]] = defaultdict(list)
    for row, pixels in enumerate(same_pixels):
        if pixels:
            sets[pixels].append(row)
    found = [tuple(sorted(rows, key=lambda r: manifest.image_ids[r])) for rows in sets.values() if len(rows) > 1]
    return sorted(found, key=lambda rows: manifest.image_ids[rows[0]])


def leaks(manifest: Manifest, same_pixels: Sequence[str | None] | None = None) -> list[Finding]:
    """What stands on both sides of the border between train and test.

    A group on both sides stops a study (photos without a group are their own, so this needs a group column). Identical
    pixels are a warning: test photos must be answered all the same.

    Args:
        manifest: N photos.
        same_pixels: N pixel hashes, or None where they are not known yet.
    """
    roles: dict[str, set[str]] = defaultdict(set)
    for group, role in zip(manifest.groups, manifest.roles, strict=True):
        roles[group].add(role)
    both = sorted(group for group, found in roles.items() if {"train", "test"} <= found)
    found = [Finding("group", (g,), True, f"group {g!r} stands in train and in test; a group must be on one side") for g in both]
    for rows in same_pixel_sets(manifest, same_pixels or ()):
        first = next((manifest.image_ids[r] for r in rows if manifest.roles[r] == "train"), None)
        tests = [manifest.image_ids[r] for r in rows if manifest.roles[r] == "test"]
        if first is not None:
            found += [
                Finding("pixels", (first, t), False, f"test photo {t!r} has the pixels of training photo {first!r}")
                for t in tests
            ]
    return found


def contradictions(manifest: Manifest, same_pixels: Sequence[str | None]) -> list[Finding]:
    """The sets of training photos with identical pixels and two different labels of one task.

    Args:
        manifest: N photos.
        same_pixels: N pixel hashes.
    """
    found = []
    for rows in same_pixel_sets(manifest, same_pixels):
        for task, labels in manifest.labels.items():
            labelled = [r for r in rows if labels[r] >= 0]
            if len({int(labels[r]) for r in labelled}) > 1:
                ids = tuple(manifest.image_ids[r] for r in labelled)
                found.append(
                    Finding(
                        "contradiction", ids, False, f"photos {', '.join(ids)} have the same pixels and different {task} labels"
                    )
                )
    return found


def _join(names: Sequence[str], *together: Sequence[str | None]) -> NDArray[np.int64]:
    """Per photo the number of its unit `(n,) int64`: union-find over group names; units are numbered by their smallest name.

    Args:
        names: n names.
        together: Each n keys; photos with equal ones belong together, an empty key says nothing.
    """
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for keys in together:
        first: dict[str, str] = {}
        for name, key in zip(names, keys, strict=True):
            if key:
                a, b = root(first.setdefault(key, name)), root(name)
                parent[max(a, b)] = min(a, b)
    number = {name: i for i, name in enumerate(sorted(name for name in parent if parent[name] == name))}
    return np.array([number[root(name)] for name in names], dtype=np.int64)


def _label_columns(
    manifest: Manifest, rows: NDArray[np.int64], tasks: Mapping[str, Sequence[str]], composed: Sequence[str]
) -> list[tuple[str | None, list[str]]]:
    """Per task, and for the composed label of two or more, the class name of each of the n photos; empty: no label."""
    columns: list[tuple[str | None, list[str]]] = []
    for task, classes in tasks.items():
        columns.append((task, [classes[n] if n >= 0 else "" for n in manifest.labels[task][rows].tolist()]))
    if len(composed) > 1:
        texts = dict(columns)
        joined = zip(*(texts[task] for task in composed), strict=True)
        columns.append((None, [SEPARATOR.join(names) if all(names) else "" for names in joined]))
    return columns


def _describe(names: Sequence[str], unit: NDArray[np.int64], columns: Sequence[tuple[str | None, list[str]]]) -> _Units:
    n_units = int(unit.max()) + 1 if len(unit) else 0
    sizes = np.bincount(unit, minlength=n_units).tolist()
    groups: list[set[str]] = [set() for _ in range(n_units)]
    for u, name in zip(unit.tolist(), names, strict=True):
        groups[u].add(name)
    holds: list[dict[int, int]] = [{} for _ in range(n_units)]
    classes: list[_Class] = []
    for task, texts in columns:
        pairs = sorted((text, u) for text, u in zip(texts, unit.tolist(), strict=True) if text)
        for text, found in groupby(pairs, key=lambda pair: pair[0]):
            members = [u for _, u in found]
            for u in members:
                holds[u][len(classes)] = holds[u].get(len(classes), 0) + 1
            classes.append(_Class(task, text, tuple(sorted(set(members))), len(members)))
    return _Units(tuple(tuple(sorted(g)) for g in groups), tuple(sizes), tuple(holds), tuple(classes))


def _refuse(units: _Units, n_bins: int, what: str, *, is_holdout: bool) -> None:
    faults = []
    if len(units.sizes) < n_bins:
        needed, way = ("a holdout needs", "") if is_holdout else (f"{n_bins} folds need", "lower split.folds or ")
        faults.append(f"{needed} at least {n_bins} {what} of training photos, there are {len(units.sizes)}; {way}add photos")
    for task in dict.fromkeys(c.task for c in units.classes if c.task is not None):
        classes = [c for c in units.classes if c.task == task]
        if all(len(c.units) == 1 for c in classes):
            told = listed(f"{c.name!r} ({c.n_photos}, all of {units.groups[c.units[0]][0]!r})" for c in classes)
            faults.append(
                f"a task needs a class with training photos of at least two {what}, or nothing can be judged; task {task} has none: "
                f"{told}; is it the right column? Else add photos, or mend the groups"
            )
    if faults:
        raise UserError(*faults)


def _unmeasured(units: _Units, what: str) -> tuple[str, ...]:
    """A sentence for each task that has classes of a single unit: no fold can judge them."""
    tasks: dict[str, list[str]] = defaultdict(list)
    for c in units.classes:
        if c.task is not None and len(c.units) == 1:
            tasks[c.task].append(c.name)
    return tuple(
        f"task {task}: {len(names)} classes have training photos of one of the {what} alone, so their score cannot be measured: "
        f"{listed(names)}"
        for task, names in tasks.items()
    )


def _pin_single(units: _Units, n_folds: int) -> tuple[dict[int, str], tuple[str, ...]]:
    """Unit -> why it is pinned, for units that alone hold a composed class; and the classes for which that costs too much."""
    alone: dict[int, list[str]] = defaultdict(list)
    for c in units.classes:
        if len(c.units) == 1:
            alone[c.units[0]].append(c.name)
    pinned: dict[int, str] = {}
    notes = []
    room = MOST_PINNED * sum(units.sizes)
    for u in sorted(alone, key=lambda u: (units.sizes[u], u)):
        text = f"{_named(units, u)} alone holds {listed(alone[u])}"
        if units.sizes[u] <= room and len(pinned) + n_folds < len(units.sizes):
            pinned[u] = text
            room -= units.sizes[u]
        else:
            notes.append(
                f"{text}; it is not pinned, because pinned photos may be at most a third and every fold needs a group: "
                f"in one fold the class is asked for and was never learned"
            )
    return pinned, tuple(notes)


def _deal(
    units: _Units, pinned: dict[int, str], weights: Sequence[float], rng: np.random.Generator, *, is_holdout: bool
) -> list[int]:
    """The fold of each of the U units; a unit that no fold may take is added to `pinned`. The last fold of a holdout is training.

    The cost of a fold is the sum, over the unit's classes and its size, of the unit's count x what the fold has / all there is:
    the gradient of the chi-square distance from an even deal. Size counts as much as all labels of a photo together; an
    empty fold costs nothing and any other something, so the first F units open the F folds.
    Where the folds differ in weight, the cost is divided by it, and half of the unit's own count is added to what the fold has:
    the whole change of that distance. The gradient alone would put the first, largest unit into a small holdout for nothing.
    Plain floats in a fixed order, rounded, so that every machine deals alike.
    """
    n_folds, own = len(weights), 0.5 if is_holdout else 0.0
    n_labels = len({c.task for c in units.classes}) or 1
    has = [[0] * n_folds for _ in units.classes]
    photos = [0] * n_folds
    n_photos = sum(size for u, size in enumerate(units.sizes) if u not in pinned)
    left = [sum(u not in pinned for u in c.units) for c in units.classes]
    safe = [any(u in pinned for u in c.units) or len(c.units) == 1 for c in units.classes]
    tie = rng.permutation(n_folds).tolist()
    dealt = [PINNED] * len(units.sizes)
    queue = [u for u in _order(units, rng) if u not in pinned]
    for u in queue:
        holds = units.holds[u]
        closing = [has[c] for c in holds if left[c] == 1 and not safe[c]]
        allowed = [f for f in range(n_folds) if not any(sum(h) > 0 and sum(h) == h[f] for h in closing)]
        for c in holds:
            left[c] -= 1
        if is_holdout and 1 not in allowed and (0 not in allowed or photos[0] + units.sizes[u] > 2 * weights[0] * n_photos):
            allowed = [1]
        if not allowed:
            pinned[u] = f"{_named(units, u)} holds the last photos of classes that every fold would lack in training"
            for c in holds:
                safe[c] = True
            continue
        size = units.sizes[u]
        cost = {f: n_labels * size * (photos[f] + own * size) / (n_photos * weights[f]) for f in allowed}
        for c, n in holds.items():
            for f in allowed:
                cost[f] += n * (has[c][f] + own * n) / (units.classes[c].n_photos * weights[f])
        best = min(allowed, key=lambda f: (round(cost[f], 9), tie[f]))
        dealt[u] = best
        photos[best] += size
        for c, n in holds.items():
            has[c][best] += n
    return dealt


def _fill_holdout(units: _Units, pinned: Mapping[int, str], dealt: Sequence[int], share: float) -> list[int]:
    """Bins as folds: 0 the holdout, -1 training. An empty holdout gets the unit whose size is nearest to its share."""
    free = [u for u in range(len(dealt)) if u not in pinned]
    held = {u for u in free if dealt[u] == 0}
    wanted = share * sum(units.sizes[u] for u in free)
    held = held or {min(free, key=lambda u: (abs(units.sizes[u] - wanted), u))}
    return [0 if u in held else PINNED for u in range(len(dealt))]


def _missing_in_holdout(units: _Units, pinned: Mapping[int, str], dealt: Sequence[int]) -> tuple[str, ...]:
    """One sentence that names the classes of two or more units that the holdout could not get a photo of."""
    missing = [c.name for c in units.classes if len(c.units) > 1 and all(dealt[u] != 0 for u in c.units)]
    if not missing:
        return ()
    return (f"the holdout has no photo of {listed(missing)}: whole groups did not fit; take folds, or a larger holdout",)


def _order(units: _Units, rng: np.random.Generator) -> list[int]:
    """The units, those with the largest shares of all classes first; within a factor of two the generator decides.

    Strict order would leave the generator nothing but the numbers of the folds: every seed would cut the groups alike.
    """
    chance = rng.permutation(len(units.sizes)).tolist()
    share = [round(sum(n / units.classes[c].n_photos for c, n in holds.items()), 9) for holds in units.holds]
    octave = [frexp(s)[1] for s in share]
    return sorted(range(len(units.sizes)), key=lambda u: (-octave[u], chance[u]))


def _named(units: _Units, u: int) -> str:
    return f"{units.groups[u][0]} ({units.sizes[u]} photo{'' if units.sizes[u] == 1 else 's'})"
