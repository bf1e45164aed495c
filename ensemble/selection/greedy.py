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

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS
from ensemble.metric_sums import log_shares, margins_of_many
from ensemble.selection.kernels import count_winners, laid_out, units_of
from ensemble.votes import Floats, Ints, to_half

Units = NDArray[np.int32]
MOST_ROUNDS = 100
"""Sums of so many members stay below 2^31 units."""
DECIMALS = 6
"""Scores are compared at so many decimals, as AutoGluon does: what is equal there is a tie."""


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
        candidate_scores = np.round(_scores(library, total, used, counts, metric), DECIMALS)
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
    of_margins = METRICS[metric].of_margins
    if of_margins is None:
        return _log_losses(library, total, used, counts)
    return of_margins(_margins(library, total, used, counts))


def _margins(library: Library, total: Units, used: Ints, counts: Ints) -> NDArray[np.int64]:
    """The margins of (total + member m) for every m: `int64 (M, 3, C)`."""
    _, n_classes, n_members = library.units.shape
    named = np.zeros((2, n_members, n_classes), dtype=np.int64)
    settled = np.zeros((2, n_classes), dtype=np.int64)
    count_winners(library.units, total, used, library.labels, counts, named, settled)
    return margins_of_many(named + settled[:, None], library.labels[used], counts[used])


def _log_losses(library: Library, total: Units, used: Ints, counts: Ints) -> NDArray[np.float64]:
    rows, labels = used, library.labels[used]
    true = library.units[rows, labels].astype(np.float64) + total[rows, labels, None]
    whole = library.units[rows].sum(axis=1, dtype=np.float64) + total[rows].sum(axis=1, dtype=np.float64)[:, None]
    losses: NDArray[np.float64] = counts[rows] @ log_shares(true, whole) / counts[rows].sum()
    return losses
