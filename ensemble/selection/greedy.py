"""Greedy selection with replacement: probabilities of M members `(M, N, C)` -> the order in which members join a soft vote.

Caruana et al. 2004, "Ensemble selection from libraries of models": in each round the member joins whose probabilities, added to the sum
of those chosen so far, score best; a member that joins k times has weight k. (The same with hard votes never leaves the best single
member, for a second vote can only tie: members are selected softly and vote hard at the end.)

Exact and the same on every machine: float16 probabilities are whole multiples of 2^-24, so their sums are kept as whole numbers.
Fast by the same means: a class that lies behind the sum's first by more than one whole probability cannot win with any member in this
round, so only the others are looked at; after a few rounds most photos have no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import Metric, metric_of
from ensemble.metric_sums import defined, scores_of_counted
from ensemble.selection.kernels import count_winners, laid_out, units_of
from ensemble.votes import Floats, Ints, to_half

Units = NDArray[np.int32]
MOST_ROUNDS = 100
"""Sums of so many members stay below 2^31 units."""
DECIMALS = 6
"""Scores are compared at so many decimals, as AutoGluon does: what is equal there is a tie."""
SUMS_AT_ONCE = 4_000_000
"""Sums of members and of those that have joined that are looked at together: photos x members x classes."""


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
        return cls(half, laid_out(half), labels.astype(np.int64))

    def some(self, members: Ints) -> "Library":
        """Of these members only, in this order."""
        return Library(self.half[members], np.ascontiguousarray(self.units[:, :, members]), self.labels)

    def of_member(self, member: int) -> Units:
        """The sums' step when a member joins, `int32 (N, C)`, read where it lies together."""
        return units_of(self.half[member])


def select(
    library: Library, *, metric: str, rounds: int = 50, times: Ints | None = None, among: Sequence[int] | None = None
) -> Selection:
    """Let members join one by one while the soft vote of those chosen gets no worse than its best.

    Among members that score equally one that has joined already goes first, then the smallest number.

    Args:
        library: The members.
        metric: One of `competitions.metrics.METRICS`.
        rounds: How many may join, repeats included; sums of up to `MOST_ROUNDS` are exact.
        times: `int64 (N,)`, how often each photo counts, e.g. in a resample; once each for `None`.
        among: Numbers of the members that may join; all for `None`.
    """
    members = np.arange(library.units.shape[2]) if among is None else np.array(sorted(among))
    if len(members) < library.units.shape[2]:
        chosen = select(library.some(members), metric=metric, rounds=rounds, times=times)
        return Selection(tuple(int(members[one]) for one in chosen.order), chosen.scores)
    counts = np.ones(len(library.labels), dtype=np.int64) if times is None else times
    used = np.flatnonzero(counts)
    total = np.zeros(library.units.shape[:2], dtype=np.int32)
    order: list[int] = []
    scores: list[float] = []
    for _ in range(rounds):
        candidate_scores = np.round(defined(_scores(library, total, used, counts, metric)), DECIMALS)
        ties = np.flatnonzero(candidate_scores == candidate_scores.max())
        again = [member for member in ties if member in order]
        best = int((again or ties)[0])
        order.append(best)
        scores.append(float(candidate_scores.max()))
        total += library.of_member(best)
    length = int(np.argmax(scores)) + 1
    return Selection(tuple(order[:length]), tuple(scores[:length]))


def _scores(library: Library, total: Units, used: Ints, counts: Ints, metric: str) -> NDArray[np.float64]:
    """The score of (the chosen + member m) for every m: `float64 (M,)`."""
    judging = metric_of(metric)
    if judging.judges_labels:
        return scores_of_counted(judging, lambda times: _counts(library, total, times), library.labels, counts, total.shape[1])
    if judging.terms is not None:
        return _of_terms(judging, library, total, used, counts)
    labels, times = library.labels[used], counts[used]
    sums = (library.of_member(member)[used] + total[used] for member in range(len(library.half)))
    return np.array([judging.of(shares, labels, times) for shares in sums])


def _counts(library: Library, total: Units, times: Ints) -> NDArray[np.int64]:
    """What (total + member m) names, where right and at all, for every m: `int64 (2, M, C)`."""
    _, n_classes, n_members = library.units.shape
    named = np.zeros((2, n_members, n_classes), dtype=np.int64)
    settled = np.zeros((2, n_classes), dtype=np.int64)
    count_winners(library.units, total, np.flatnonzero(times), library.labels, times, named, settled)
    return named + settled[:, None]


def _of_terms(metric: Metric, library: Library, total: Units, used: Ints, counts: Ints) -> NDArray[np.float64]:
    """The same where photos add terms up, a few photos at a time."""
    assert metric.terms is not None, "asked before"
    size = max(1, SUMS_AT_ONCE // (library.units.shape[1] * library.units.shape[2]))
    sums: Any = 0.0
    for start in range(0, len(used), size):
        rows = used[start : start + size]
        shares = np.moveaxis(library.units[rows] + total[rows][:, :, None], 1, 2)
        sums = sums + np.tensordot(counts[rows].astype(np.float64), metric.terms.of_photos(shares, library.labels[rows]), 1)
    return metric.terms.of_sums(sums, np.full(len(sums), float(counts[used].sum())))
