"""Greedy selection with replacement: probabilities of M members `(M, N, C)` -> the order in which members join a soft vote.

Caruana et al. 2004, "Ensemble selection from libraries of models": in each round the member joins whose probabilities, added to the sum
of those chosen so far, score best; a member that joins k times has weight k. (The same with hard votes never leaves the best single
member, for a second vote can only tie: members are selected softly and vote hard at the end.)

Exact and the same on every machine: float16 probabilities are whole multiples of 2^-24, so their sums are kept as whole numbers.
Fast by the same means: a class that lies behind the sum's first by more than one whole probability cannot win with any member in this
round, so only the others are looked at; after a few rounds most photos have no other. Where numba is installed, large pools and repeated
selections run in compiled loops (`ensemble.selection.kernels`), with the same outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS, SMALLEST_PROB
from ensemble.counts import tally
from ensemble.selection.kernels import ONE, Loops, ready
from ensemble.votes import Floats, Ints, to_half
from system.errors import UserError, unknown

Units = NDArray[np.int32]
MOST_ROUNDS = 100
"""Sums of so many members stay below 2^31 units."""
DECIMALS = 6
"""Scores are compared at so many decimals, as AutoGluon does: what is equal there is a tie."""
BLOCK = 1 << 18
"""Numbers looked at together, so that they stay in a core's cache; 1 MiB."""
SECONDS = 14e-9
"""What numpy takes to lay out one number, or to look at it once."""
LOOKS = 3
"""How often a number is looked at in all rounds together: in most rounds few can still win."""


@dataclass(frozen=True)
class Selection:
    """The outcome of a greedy selection.

    Attributes:
        order: Member numbers in the order in which they joined, repeats included; those after the best score are cut off.
        scores: The score of the soft vote after each of them.
    """

    order: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def weights(self) -> dict[int, int]:
        """Member number -> how often it joined, in order of joining."""
        return {member: self.order.count(member) for member in dict.fromkeys(self.order)}


@dataclass(frozen=True)
class Library:
    """The members' probabilities laid out for selection; made once, selected from many times.

    Attributes:
        half: `float16 (M, N, C)`, the probabilities as they came.
        units: `int32 (N, C, M)`, the same in units of 2^-24.
        labels: `int64 (N,)`, each 0..C-1.
    """

    half: NDArray[np.float16]
    units: Units
    labels: Ints

    @classmethod
    def of(cls, probs: Floats, labels: Ints) -> "Library":
        """Lay out `probs float (M, N, C)`, rounded to float16, for photos with `labels int64 (N,)`, none of them unknown."""
        half = to_half(probs)
        if half.ndim != 3 or 0 in half.shape or half.shape[1] != len(labels):
            raise UserError(f"a selection needs probabilities (members, photos, classes) and a label per photo, got {half.shape}")
        if labels.min() < 0 or labels.max() >= half.shape[2]:
            raise UserError(f"labels must be 0..{half.shape[2] - 1}, got {labels.min()}..{labels.max()}; leave out unknown ones")
        return cls(half, _laid_out(half), labels.astype(np.int64))

    def some(self, members: Ints) -> "Library":
        """Of these members only, in this order."""
        return Library(self.half[members], np.ascontiguousarray(self.units[:, :, members]), self.labels)

    def of_member(self, member: int) -> Units:
        """The sums' step when a member joins, `int32 (N, C)`, read where it lies together."""
        units: Units = (self.half[member].astype(np.float32) * np.float32(ONE)).astype(np.int32)
        return units


def select(
    library: Library, *, metric: str, rounds: int = 50, times: Ints | None = None, among: Sequence[int] | None = None
) -> Selection:
    """Let members join one by one while the soft vote of those chosen gets no worse than its best.

    Among members that score equally one that has joined already goes first, then the smallest number.

    Args:
        library: The members.
        metric: One of `competitions.metrics.METRICS`.
        rounds: How many may join, repeats included.
        times: `int64 (N,)`, how often each photo counts, e.g. in a resample; once each for `None`.
        among: Numbers of the members that may join; all for `None`.

    Raises:
        UserError: The metric is unknown, no photo counts, or there are no rounds or too many.
    """
    members = np.arange(library.units.shape[2]) if among is None else np.array(sorted(among))
    if len(members) < library.units.shape[2]:
        chosen = select(library.some(members), metric=metric, rounds=rounds, times=times)
        return Selection(tuple(int(members[one]) for one in chosen.order), chosen.scores)
    counts = np.ones(len(library.labels), dtype=np.int64) if times is None else times
    faults = [] if metric in METRICS else [unknown("metric", metric, dict(METRICS))]
    faults += [] if 1 <= rounds <= MOST_ROUNDS else [f"rounds must be 1..{MOST_ROUNDS}, got {rounds}"]
    faults += [] if counts.sum() > 0 else ["a selection needs at least one photo that counts"]
    if faults:
        raise UserError(*faults)
    used = np.flatnonzero(counts)
    loops = ready(SECONDS * LOOKS * len(used) * library.units[0].size) if METRICS[metric].of_many else None
    if loops:
        used = used[np.argsort(library.labels[used], kind="stable")]
    total = np.zeros(library.units.shape[:2], dtype=np.int32)
    order: list[int] = []
    scores: list[float] = []
    for _ in range(rounds):
        found = np.round(_scores(library, total, used, counts, metric, loops), DECIMALS)
        ties = np.flatnonzero(found == found.max())
        again = [member for member in ties if member in order]
        best = int((again or ties)[0])
        order.append(best)
        scores.append(float(found.max()))
        total += library.of_member(best)
    length = int(np.argmax(scores)) + 1
    return Selection(tuple(order[:length]), tuple(scores[:length]))


def _scores(library: Library, total: Units, used: Ints, counts: Ints, metric: str, loops: Loops | None) -> NDArray[np.float64]:
    """The score of (the chosen + member m) for every m: `float64 (M,)`."""
    of_many = METRICS[metric].of_many
    if of_many is None:
        return _log_losses(library, total, used, counts)
    if loops:
        return of_many(_counted(loops, library, total, used, counts))
    return of_many(_confusions(library, total, used, counts))


def _laid_out(half: NDArray[np.float16]) -> Units:
    """`(M, N, C)` -> `int32 (N, C, M)` in units of 2^-24."""
    n_members, n_photos, n_classes = half.shape
    units = np.empty((n_photos, n_classes, n_members), dtype=np.int32)
    if loops := ready(SECONDS * half.size):
        loops.lay_out(np.ascontiguousarray(half).view(np.uint16), units)
        return units
    size = max(1, BLOCK // (n_members * n_classes))
    for start in range(
        0, n_photos, size
    ):  # turned and widened in small blocks: seven times faster than whole (72 million numbers)
        block = np.ascontiguousarray(half[:, start : start + size].transpose(1, 2, 0)).astype(np.float32)
        units[start : start + size] = block * np.float32(ONE)
    return units


def _counted(loops: Loops, library: Library, total: Units, used: Ints, counts: Ints) -> NDArray[np.int64]:
    """As `_confusions`, compiled; quickest where photos of one label stand together in `used`."""
    _, n_classes, n_members = library.units.shape
    found = np.zeros((n_classes, n_members, n_classes), dtype=np.int64)
    settled = np.zeros((n_classes, n_classes), dtype=np.int64)
    loops.count_winners(library.units, total, used, library.labels, counts, found, settled)
    return (found + settled[:, None]).transpose(1, 0, 2)


def _confusions(library: Library, total: Units, used: Ints, counts: Ints) -> NDArray[np.int64]:
    """The confusion matrices of (total + member m) for every m: `int64 (M, C, C)`."""
    _, n_classes, n_members = library.units.shape
    sums = total[used]
    can_win = sums >= sums.max(axis=1, keepdims=True) - ONE
    classes = np.argsort(~can_win, axis=1, kind="stable")  # those that can win first, in the order of their numbers
    n_left = can_win.sum(axis=1)
    bins = np.zeros(n_members * n_classes**2, dtype=np.int64)
    fixed = np.zeros(n_classes**2, dtype=np.int64)
    for left in np.unique(n_left):
        chosen = np.flatnonzero(n_left == left)
        rows, own = used[chosen], classes[chosen, :left]
        if left == 1:
            fixed += tally(library.labels[rows] * n_classes + own[:, 0], counts[rows], len(fixed))
            continue
        size = max(1, BLOCK // (left * n_members))
        for block in (slice(start, start + size) for start in range(0, len(rows), size)):
            named = _first_of_largest(library.units, total, rows[block], own[block])
            pairs = library.labels[rows[block], None] * n_classes + named + np.arange(n_members) * n_classes**2
            bins += tally(pairs, counts[rows[block], None], len(bins))
    return fixed.reshape(1, n_classes, n_classes) + bins.reshape(n_members, n_classes, n_classes)


def _first_of_largest(units: Units, total: Units, rows: Ints, classes: Ints) -> NDArray[np.int16]:
    """For each member the class of the largest sum among `classes (n, L)`, ascending, of `rows (n,)`; the first of equal ones.

    Returns:
        `int16 (n, M)`.
    """
    best = units[rows, classes[:, 0]] + total[rows, classes[:, 0], None]
    named = np.repeat(classes[:, :1].astype(np.int16), best.shape[1], axis=1)
    better = np.empty(best.shape, dtype=bool)
    for number in classes[:, 1:].T:
        own = units[rows, number]
        own += total[rows, number, None]
        np.greater(own, best, out=better)
        np.maximum(own, best, out=best)
        np.copyto(named, number[:, None].astype(np.int16), where=better)
    return named


def _log_losses(library: Library, total: Units, used: Ints, counts: Ints) -> NDArray[np.float64]:
    rows, labels = used, library.labels[used]
    true = library.units[rows, labels].astype(np.float64) + total[rows, labels, None]
    whole = library.units[rows].sum(axis=1, dtype=np.float64) + total[rows].sum(axis=1, dtype=np.float64)[:, None]
    logs = np.log(np.clip(true / whole, SMALLEST_PROB, 1.0))
    losses: NDArray[np.float64] = counts[rows] @ logs / counts[rows].sum()
    return losses
