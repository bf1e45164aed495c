"""All sets of views that members share: probabilities `(M, V, N, C)` -> what members x views answer for each of 2^V - 1 sets.

Exact, and cheap by four means. A photo on which every voter names the same class is answered alike by every set. What the members say
through one view is added up first, so that a set costs the same however many members there are. Only classes are looked at that can win.
The sums of all sets come by doubling, each from a smaller set and one more view. Whole numbers throughout: answers equal
`ensemble.votes` to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.selection.candidates import Candidates
from ensemble.selection.kernels import ONE, laid_out, name_view_sets
from ensemble.views.sets import SetVotes
from ensemble.votes import Ints

Signed = NDArray[np.signedinteger[Any]]
MOST_BITS = 16
"""Views whose seniority is written into one member's votes."""


@dataclass(frozen=True)
class ViewSums:
    """What the members of a vote say together through each view, about n photos.

    Attributes:
        units: `int (n, C, V)`. Soft: sums of weight x probability in units of 2^-24. Hard: votes, each counting one more than there
            are voters, so that seniority, taken off, decides ties and nothing else. One member's votes count 2^V, and 2^(V-1-v)
            more through view v: all juniors of a view then weigh less than it, and no rank is needed.
        ranks: `int32 (n, C, V)`, the position of the most senior voter who names the class, the number of voters for nobody; of length 0
            where sums alone decide.
        labels: `int64 (n,)`, the true classes.
    """

    units: Signed
    ranks: NDArray[np.int32]
    labels: Ints

    def answers(self, views: Sequence[int]) -> NDArray[np.int16]:
        """What is decided through some of the views: `int16 (n,)`."""
        named: NDArray[np.int16] = self._totals(views).argmax(axis=1).astype(np.int16)
        return named

    def totals(self, views: Sequence[int]) -> NDArray[np.float64]:
        """The shares of a soft vote through some of the views, not normalised: `float64 (n, C)`."""
        return self._totals(views).astype(np.float64)

    def _totals(self, views: Sequence[int]) -> Signed:
        total: Signed = self.units[:, :, list(views)].sum(axis=2)
        return total - self.ranks[:, :, list(views)].min(axis=2) if len(self.ranks) else total


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
    n_voters, alone = len(members) * n_views, len(members) == 1 and n_views <= MOST_BITS
    vote = ONE if rule == "soft" else 1 << n_views if alone else n_voters + 1
    most = int(voices.max()) * n_voters * vote
    units = np.zeros((len(rows), n_classes, n_views), dtype=np.int32 if most < 1 << 31 else np.int64)
    unranked = np.empty((0, n_classes, n_views), dtype=np.int32)
    if rule == "soft":
        for voice, member in zip(voices, members, strict=True):
            whole = laid_out(candidates.probs[member].take(rows, axis=1))
            units += whole if (voice == 1).all() else whole * voice.astype(units.dtype)
        return ViewSums(units, unranked, candidates.labels[rows])
    ranks = unranked if alone else np.full(units.shape, n_voters, dtype=np.int32)
    photos, views = np.arange(len(rows)), np.arange(n_views)[:, None]
    for position in reversed(range(len(members))):  # the most senior writes last
        named, voice = candidates.named[members[position]].take(rows, axis=1), voices[position]
        counted = (voice[:, None] if voices.ndim == 2 else np.take_along_axis(voice, named, axis=1)) * vote
        if alone:
            counted = counted + (1 << (n_views - 1 - views))
        else:
            ranks[photos, named, views] = position * n_views + views
        units[photos, named, views] += counted.astype(units.dtype)
    return ViewSums(units, ranks, candidates.labels[rows])


def votes_of_sets(candidates: Candidates, members: Sequence[int], voices: Ints, rows: Ints, *, rule: str) -> SetVotes:
    """The votes of K members through every set of views, as `ensemble.votes.RULES` would decide each of them, member-major.

    Set number s (from 1, in column s - 1) has view v where bit v of s is set. Only photos on which voters differ are kept apart. Arguments
    as for `view_sums`; of V views there are 2^V - 1 sets.
    """
    constant, apart = _agreed(candidates, members, rows)
    sums = view_sums(candidates, members, voices, rows[apart], rule=rule)
    named = np.empty((len(apart), (1 << len(candidates.views)) - 1), dtype=np.int16)
    name_view_sets(sums.units, sums.ranks, named)
    constant[apart] = named[:, -1]
    return SetVotes(constant, apart, named, candidates.n_classes)


def _agreed(candidates: Candidates, members: Sequence[int], rows: Ints) -> tuple[Ints, Ints]:
    """What the most senior voter names `(n,)`, and where not all name it.

    Whoever names a class finds none more probable and none before it equally so; where all name one, every sum does the same.
    """
    first = candidates.named[members[0], 0]
    differs = np.zeros(len(first), dtype=bool)
    for member in members:
        for named in candidates.named[member]:
            differs |= named != first
    return first[rows].astype(np.int64), np.flatnonzero(differs[rows])
