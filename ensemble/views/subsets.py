"""All subsets of a trial's TTA views: probabilities `(V, N, C)` -> what each of the 2^V - 1 votes answers and scores.

Exact, and cheap by three means. A photo on which every view names the same class is answered alike by every subset. Of the others only
classes are added up that can win: one which another beats in every view never does. The sums of all subsets come by doubling, each from a
smaller subset and one more view. Sums are whole numbers (`ensemble.selection.greedy`): a subset scores the same everywhere. Where numba is
installed, many trials run in compiled loops (`ensemble.selection.kernels`), with the same outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS
from ensemble.counts import tally
from ensemble.selection.greedy import BLOCK
from ensemble.selection.kernels import ONE, Loops, ready
from ensemble.votes import Floats, Ints, ballots, to_half
from system.errors import UserError, unknown

MOST_VIEWS = 12
"""4,095 subsets; with more views `ensemble.views.search` goes one view at a time."""
Units = NDArray[np.int32]
RULES = ("hard", "soft")
SECONDS = 6e-9
"""What numpy takes for one probability, or for one answer of a subset."""
MOST_CELLS = 4_000_000
"""Numbers in the groups' confusion matrices that are made at once."""
CELLS_PER_PHOTO = 60
"""With more of them, groups x classes x classes for each photo that is not constant, resamples are counted one by one: a product with
matrices that are mostly 0 takes longer (200 resamples, 255 sets, 18 classes, 2,700 groups, 18,900 photos: 8.5 s against 4)."""
Whole = TypeVar("Whole", bound=np.signedinteger[Any])


@dataclass(frozen=True)
class SubsetVotes:
    """What every subset of V views answers for N photos. Subset number s (from 1) has view v where bit v of s is set.

    Attributes:
        constant: `int64 (N,)`: the answer of all subsets, for photos on which views agree; elsewhere that of all views.
        rows: `int64 (n,)`: photos on which they do not.
        named: `int16 (n, 2^V - 1)`: the answers there, subsets from 1 (or those that `of` took, in its order).
        n_classes: C.
    """

    constant: Ints
    rows: Ints
    named: NDArray[np.int16]
    n_classes: int

    def scores(self, labels: Ints, *, metric: str, times: Ints | None = None) -> NDArray[np.float64]:
        """The score of each subset, `float64 (2^V - 1,)`.

        Args:
            labels: `int64 (N,)`; photos with -1 take no part.
            metric: One of `competitions.metrics.METRICS` that judges labels.
            times: `int64 (N,)`, how often each photo counts; once each for `None`.

        Raises:
            UserError: The metric is unknown or needs probabilities, or no photo counts.
        """
        of_many = METRICS[metric].of_many if metric in METRICS else None
        if of_many is None:
            usable = {name: one for name, one in METRICS.items() if one.of_many}
            raise UserError(f"{unknown('metric of labels', metric, usable)}")
        counts = np.where(labels >= 0, 1 if times is None else times, 0)
        if not counts.any():
            raise UserError("views are compared on labelled photos, and none counts")
        cells = self.n_classes**2
        agreed = counts.copy()
        agreed[self.rows] = 0
        seats = np.flatnonzero(agreed)
        fixed = tally(labels[seats] * self.n_classes + self.constant[seats], agreed[seats], cells)
        split = self._split(labels[self.rows], counts[self.rows])
        return of_many(fixed.reshape(self.n_classes, -1) + split)

    def _split(self, labels: Ints, counts: Ints) -> Ints:
        """Each subset's confusion matrix over the photos on which views do not agree: `int64 (2^V - 1, C, C)`."""
        n_subsets, n_classes = self.named.shape[1], self.n_classes
        if loops := ready(SECONDS * self.named.size):
            found = np.zeros((n_classes, n_subsets, n_classes), dtype=np.int64)
            loops.count_subsets(self.named, np.argsort(labels, kind="stable"), labels, counts, found)
            return found.transpose(1, 0, 2)
        own = np.flatnonzero(counts)
        pairs = (labels[own, None] * n_classes + np.arange(n_subsets) * n_classes**2) + self.named[own]
        return tally(pairs, counts[own, None], n_subsets * n_classes**2).reshape(n_subsets, n_classes, n_classes)

    def counts(self, labels: Ints, place: Ints, times: Ints) -> NDArray[np.float32]:
        """Each group's confusion matrices of all subsets: `float32 (G, T, C, C)`, whole numbers.

        Args:
            labels: `int64 (N,)`, each 0..C-1.
            place: `int64 (N,)`, the photos' groups, 0..G-1.
            times: `int64 (N,)`, how often each photo counts.
        """
        n_groups, n_subsets, cells = int(place.max()) + 1, self.named.shape[1], self.n_classes**2
        agreed = times.copy()
        agreed[self.rows] = 0
        fixed = tally(place * cells + labels * self.n_classes + self.constant, agreed, n_groups * cells)
        starts = (place[self.rows, None] * n_subsets + np.arange(n_subsets)) * cells
        pairs = starts + labels[self.rows, None] * self.n_classes + self.named
        split = tally(pairs, times[self.rows, None], n_groups * n_subsets * cells)
        total = split.reshape(n_groups, n_subsets, cells) + fixed.reshape(n_groups, 1, cells)
        return total.astype(np.float32).reshape(n_groups, n_subsets, self.n_classes, self.n_classes)

    def resampled(
        self, labels: Ints, place: Ints, draws: NDArray[np.float64], *, metric: str, times: Ints
    ) -> NDArray[np.float64]:
        """Scores `float64 (R, T)` where each group counts as often as it was drawn, `draws (R, G)`; other arguments as for `counts`."""
        of_many, cells = METRICS[metric].of_many, self.n_classes**2
        if of_many is None:
            raise UserError(f"{metric} does not judge labels")
        if draws.shape[1] * cells > CELLS_PER_PHOTO * len(self.rows):
            return np.array([self.scores(labels, metric=metric, times=times * draw[place]) for draw in draws.astype(np.int64)])
        size = max(1, MOST_CELLS // (draws.shape[1] * cells))
        scores = np.empty((len(draws), self.named.shape[1]))
        for start in range(0, scores.shape[1], size):
            columns = np.arange(start, min(start + size, scores.shape[1]))
            counts = self.of(columns).counts(labels, place, times).reshape(draws.shape[1], -1)
            drawn = np.rint(draws.astype(np.float32) @ counts).astype(np.int64)  # whole numbers below 2^24: exact
            scores[:, columns] = of_many(drawn.reshape(-1, self.n_classes, self.n_classes)).reshape(len(draws), -1)
        return scores

    def of(self, columns: Ints) -> "SubsetVotes":
        """Some of the subsets, by their columns `int64 (T,)` in `named`."""
        return replace(self, named=np.ascontiguousarray(self.named[:, columns]))

    def differing(self, column: int) -> tuple[Ints, NDArray[np.bool_]]:
        """The photos `(n,)` on which subsets may differ, and where each answers otherwise than one of them: `bool (n, T)`."""
        return self.rows, self.named != self.named[:, column : column + 1]


def subset_votes(probs: Floats, rule: str = "hard") -> SubsetVotes:
    """The votes of all subsets of views, as `ensemble.votes.RULES` would decide each of them.

    Args:
        probs: `float (V, N, C)` in [0, 1], most senior view first, at most `MOST_VIEWS`.
        rule: `hard` or `soft`.

    Raises:
        UserError: There are too many views, or the rule is not one of the two.
    """
    half = to_half(probs)
    faults = [] if half.ndim == 3 and 1 <= len(half) <= MOST_VIEWS else [f"subsets need 1..{MOST_VIEWS} views, got {half.shape}"]
    faults += [] if rule in RULES else [unknown("rule for subsets of views", rule, RULES)]
    if faults:
        raise UserError(*faults)
    n_classes = half.shape[2]
    loops = ready(SECONDS * half.size)
    constant, rows, units = _prepared(loops, half, rule) if loops else _prepared_by_numpy(half, rule)
    named = _named(units)
    constant[rows] = named[:, -1]
    return SubsetVotes(constant, rows, named, n_classes)


def views_of(subset: int, views: Sequence[str]) -> tuple[str, ...]:
    """The names of the views in a subset, senior first.

    >>> views_of(5, ["identity", "hflip", "darken"])
    ('identity', 'darken')
    """
    return tuple(view for number, view in enumerate(views) if subset >> number & 1)


def subset_sums(units: NDArray[Whole]) -> NDArray[Whole]:
    """`(b, V)` -> the sums of all subsets `(b, 2^V)`, the empty one first."""
    b, n_views = units.shape
    sums = np.zeros((b, 1 << n_views), dtype=units.dtype)
    for view in range(n_views):
        np.add(sums[:, : 1 << view], units[:, view, None], out=sums[:, 1 << view : 2 << view])
    return sums


def _prepared(loops: Loops, half: NDArray[np.float16], rule: str) -> tuple[Ints, Ints, Units]:
    """As `_prepared_by_numpy`."""
    bits = np.ascontiguousarray(half).view(np.uint16)
    first, split = np.empty(half.shape[:2], dtype=np.int16), np.empty(half.shape[1], dtype=np.bool_)
    loops.find_split(bits, first, split)
    rows = np.flatnonzero(split)
    if rule == "hard":
        units = _hard_units(first[:, rows], half.shape[2])
    else:
        units = np.empty((len(rows), half.shape[2], len(half)), dtype=np.int32)
        loops.lay_out(bits.take(rows, axis=1), units)
    return first[0].astype(np.int64), rows, units


def _prepared_by_numpy(half: NDArray[np.float16], rule: str) -> tuple[Ints, Ints, Units]:
    """What the first view names `(N,)`, the photos on which views do not agree `(n,)`, and there what is added up `(n, C, V)`."""
    first, rows = _agreed(half)
    own = half[:, rows]
    return first, rows, _hard_units(ballots(own), half.shape[2]) if rule == "hard" else _soft_units(own)


def _agreed(half: NDArray[np.float16]) -> tuple[Ints, Ints]:
    """What the first view names `(N,)`, and the photos on which not all views surely name the same `(n,)`.

    Photos turned to the last axis are compared four times faster than row by row (8 views x 20,000 x 18, 2.6 ms for 11).
    """
    bits = np.ascontiguousarray(half.view(np.uint16).transpose(0, 2, 1))  # float16 of 0..1 sort like their bits
    largest = bits.max(axis=1)
    named = half[0].view(np.uint16).argmax(axis=1)
    seats = np.arange(half.shape[1])
    other = bits[:, named, seats] != largest
    tied = (bits == largest[:, None]).sum(axis=1, dtype=np.uint8) > 1
    return named, np.flatnonzero((other | tied).any(axis=0))


def _named(units: Units) -> NDArray[np.int16]:
    """What each subset names, `(n, C, V)` -> `int16 (n, 2^V - 1)`: the class of the largest sum, the first of equal ones."""
    n, _, n_views = units.shape
    named = np.empty((n, (1 << n_views) - 1), dtype=np.int16)
    if loops := ready(2 * SECONDS * named.size):
        loops.name_subsets(units, named)
        return named
    classes, n_left = _contenders(units)
    for left in np.unique(n_left):
        chosen = np.flatnonzero(n_left == left)
        size = max(1, BLOCK // (int(left) << n_views))
        for start in range(0, len(chosen), size):
            block = chosen[start : start + size]
            named[block] = _largest_of_each(units, block, classes[block, :left])
    return named


def _soft_units(half: NDArray[np.float16]) -> Units:
    """Probabilities in units of 2^-24: `(V, n, C)` -> `int32 (n, C, V)`."""
    return np.ascontiguousarray((half.astype(np.float32) * np.float32(ONE)).transpose(1, 2, 0)).astype(np.int32)


def _hard_units(first: NDArray[np.integer[Any]], n_classes: int) -> Units:
    """Ballots `(V, n)` as numbers that add up to the vote and its tie rule: `int32 (n, C, V)`.

    A ballot weighs 2^V, and 2^(V-1-v) more for view v: of classes with equally many votes the one with the most senior
    voter has more, for all juniors of a voter weigh less than it.
    """
    n_views, n = first.shape
    units = np.zeros((n, n_classes, n_views), dtype=np.int32)
    for view in range(n_views):
        units[np.arange(n), first[view], view] = (1 << n_views) + (1 << (n_views - 1 - view))
    return units


def _contenders(units: Units) -> tuple[Ints, Ints]:
    """Classes that may win with some subset, ascending and first in each row: `(n, C)`; and how many they are: `(n,)`.

    Left out is what nobody names, and what the class with the largest sum beats in every view, a smaller class number counting as
    a little more.
    """
    n, n_classes, _ = units.shape
    top = units.sum(axis=2, dtype=np.int64).argmax(axis=1)
    leader = units[np.arange(n), top][:, None]
    earlier = np.arange(n_classes) < top[:, None]
    can_win = (units + earlier[:, :, None] > leader).any(axis=2)
    can_win &= units.any(axis=2)
    can_win[np.arange(n), top] = True
    return np.argsort(~can_win, axis=1, kind="stable"), can_win.sum(axis=1)


def _largest_of_each(units: Units, rows: Ints, classes: Ints) -> NDArray[np.int16]:
    """For each subset the class of the largest sum among `classes (b, L)`, ascending, of `rows (b,)`; the first of equal ones."""
    best = subset_sums(units[rows, classes[:, 0]])
    named = np.repeat(classes[:, :1].astype(np.int16), best.shape[1], axis=1)
    better = np.empty(best.shape, dtype=bool)
    for number in classes[:, 1:].T:
        own = subset_sums(units[rows, number])
        np.greater(own, best, out=better)
        np.maximum(own, best, out=best)
        np.copyto(named, number[:, None].astype(np.int16), where=better)
    return named[:, 1:]
