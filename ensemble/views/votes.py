"""All sets of views that several members share: probabilities `(M, V, N, C)` -> what members x views answer for each of 2^V - 1 sets.

As `ensemble.views.subsets` does it for one member, by one means more: what the members say through one view is added up first, so that a
set of views costs the same however many members there are. Whole numbers throughout: answers equal `ensemble.votes` to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import SMALLEST_PROB
from ensemble.selection.candidates import Candidates
from ensemble.selection.greedy import BLOCK
from ensemble.selection.kernels import ONE
from ensemble.views.subsets import SubsetVotes, subset_sums
from ensemble.votes import Ints, to_half

Signed = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class ViewSums:
    """What the members of a vote say together through each view, about n photos.

    Attributes:
        units: `int (n, C, V)`. Soft: sums of weight x probability in units of 2^-24. Hard: votes, each counting one more than there
            are voters, so that seniority, taken off, decides ties and nothing else.
        ranks: `int32 (n, C, V)`, hard only: the place of the most senior voter who names the class, the number of voters for nobody.
        labels: `int64 (n,)`, the true classes.
    """

    units: Signed
    ranks: NDArray[np.int32] | None
    labels: Ints

    def answers(self, views: Sequence[int]) -> NDArray[np.int16]:
        """What is decided through some of the views: `int16 (n,)`."""
        named: NDArray[np.int16] = self._totals(views).argmax(axis=1).astype(np.int16)
        return named

    def logs(self, views: Sequence[int]) -> NDArray[np.float64]:
        """The logarithm of the true class's share of a soft vote through some of the views, as log-loss counts it: `float64 (n,)`."""
        total = self._totals(views).astype(np.float64)
        true = total[np.arange(len(total)), self.labels] / total.sum(axis=1)
        found: NDArray[np.float64] = np.log(np.clip(true, SMALLEST_PROB, 1.0))
        return found

    def _totals(self, views: Sequence[int]) -> Signed:
        total: Signed = self.units[:, :, list(views)].sum(axis=2)
        return total if self.ranks is None else total - self.ranks[:, :, list(views)].min(axis=2)


def view_sums(candidates: Candidates, members: Sequence[int], voices: Ints, rows: Ints, *, rule: str) -> ViewSums:
    """Add up, view by view, what K members say.

    Args:
        candidates: The members.
        members: K member numbers, most senior first.
        voices: `int64 (K, V)`, each voter's weight, at least 1; for the hard rule `(K, V, C)` as well, its weight for each class.
        rows: `int64 (n,)`, photos.
        rule: `hard` or `soft`.
    """
    n_views, n_classes = len(candidates.views), candidates.n_classes
    n_voters = len(members) * n_views
    most = int(voices.max()) * n_voters * (n_voters + 1 if rule == "hard" else ONE)
    units = np.zeros((len(rows), n_classes, n_views), dtype=np.int32 if most < 1 << 31 else np.int64)
    if rule == "soft":
        for voice, member in zip(voices, members, strict=True):
            whole = to_half(candidates.probs[member][:, rows]).astype(np.float32) * np.float32(ONE)
            units += whole.transpose(1, 2, 0).astype(units.dtype) * voice.astype(units.dtype)
        return ViewSums(units, None, candidates.labels[rows])
    ranks, seats = np.full(units.shape, n_voters, dtype=np.int32), np.arange(len(rows))
    for place in reversed(range(len(members))):  # the most senior writes last
        for view in range(n_views):
            named, voice = candidates.named[members[place], view, rows], voices[place, view]
            units[seats, named, view] += (voice if voices.ndim == 2 else voice[named]).astype(units.dtype) * (n_voters + 1)
            ranks[seats, named, view] = place * n_views + view
    return ViewSums(units, ranks, candidates.labels[rows])


def shared_subset_votes(candidates: Candidates, members: Sequence[int], voices: Ints, rows: Ints, *, rule: str) -> SubsetVotes:
    """The votes of K members through every set of views, as `ensemble.votes.RULES` would decide each of them, member-major.

    Only photos on which sets differ are kept apart. Arguments as for `view_sums`, at most `view_subsets.MOST_VIEWS` views.
    """
    constant, open_rows = _agreed(candidates, members, rows)
    sums = view_sums(candidates, members, voices, rows[open_rows], rule=rule)
    classes, n_left = _contenders(sums)
    constant[open_rows] = classes[:, 0]
    varying, named = [], []
    for left in np.unique(n_left[n_left > 1]):
        chosen = np.flatnonzero(n_left == left)
        size = max(1, BLOCK // (int(left) << len(candidates.views)))
        for start in range(0, len(chosen), size):
            block = chosen[start : start + size]
            answers = _answers_of_all(sums, block, classes[block, :left])
            constant[open_rows[block]] = answers[:, -1]
            differ = (answers != answers[:, -1:]).any(axis=1)
            varying.append(block[differ])
            named.append(answers[differ])
    if not named:
        return SubsetVotes(
            constant, open_rows[:0], np.zeros((0, (1 << len(candidates.views)) - 1), dtype=np.int16), candidates.n_classes
        )
    places = np.concatenate(varying)
    order = np.argsort(places)
    return SubsetVotes(constant, open_rows[places[order]], np.concatenate(named)[order], candidates.n_classes)


def _agreed(candidates: Candidates, members: Sequence[int], rows: Ints) -> tuple[Ints, Ints]:
    """What the most senior voter names `(n,)`, and where not all name it.

    Whoever names a class finds none more probable and none before it equally so; where all name one, every sum does the same.
    """
    first = candidates.named[members[0], 0, rows]
    differs = np.zeros(len(rows), dtype=bool)
    for member in members:
        differs |= (candidates.named[member][:, rows] != first).any(axis=0)
    return first.astype(np.int64), np.flatnonzero(differs)


def _contenders(sums: ViewSums) -> tuple[Ints, Ints]:
    """Classes that may win with some set, ascending and first in each row: `(n, C)`; and how many they are: `(n,)`.

    Left out is what nobody names, and what the class with the largest sum beats in every view; where sums are equal, soft votes go
    to the smaller class number, and hard votes to seniority, which is not looked at here.
    """
    n, n_classes, _ = sums.units.shape
    seats = np.arange(n)
    top = sums.units.sum(axis=2, dtype=np.int64).argmax(axis=1)
    leader = sums.units[seats, top][:, None]
    tie_wins = (np.arange(n_classes) < top[:, None]) | (sums.ranks is not None)
    can_win = (sums.units + tie_wins[:, :, None] > leader).any(axis=2)
    can_win &= sums.units.any(axis=2)
    can_win[seats, top] = True
    return np.argsort(~can_win, axis=1, kind="stable"), can_win.sum(axis=1)


def _answers_of_all(sums: ViewSums, rows: Ints, classes: Ints) -> NDArray[np.int16]:
    """For each set the class of the largest sum among `classes (b, L)`, ascending, of `rows (b,)`: `int16 (b, 2^V - 1)`."""
    best = _keys(sums, rows, classes[:, 0])
    named = np.repeat(classes[:, :1].astype(np.int16), best.shape[1], axis=1)
    for number in classes[:, 1:].T:
        own = _keys(sums, rows, number)
        better = own > best
        np.maximum(own, best, out=best)
        np.copyto(named, number[:, None].astype(np.int16), where=better)
    return named[:, 1:]


def _keys(sums: ViewSums, rows: Ints, classes: Ints) -> Signed:
    """What one class of each row comes to with every set of views `(b, 2^V)`; the largest wins."""
    keys = subset_sums(sums.units[rows, classes])
    if sums.ranks is not None:
        keys -= _subset_minima(sums.ranks[rows, classes])
    return keys


def _subset_minima(ranks: NDArray[np.int32]) -> NDArray[np.int32]:
    """`(b, V)` -> the least rank in every set of views `(b, 2^V)`; that of the empty set means nothing."""
    b, n_views = ranks.shape
    least = np.full((b, 1 << n_views), np.iinfo(np.int32).max, dtype=np.int32)
    for view in range(n_views):
        np.minimum(least[:, : 1 << view], ranks[:, view, None], out=least[:, 1 << view : 2 << view])
    return least
