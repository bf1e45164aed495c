"""What growing sets of members amount to: a state per set, and the confusion matrices of (the set + one more member), many at once.

Members join most senior first, so each state is its parent's and one more. `BallotWalk` is for one vote per member, in bits: what the last
member turns is found by a handful of operations on 64 photos at a time. `SumWalk` is for sums of any whole numbers, soft votes or several
votes per member, which hold a vote and its tie rule in one number; a photo whose lead the last member cannot turn is counted once.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ensemble.votes import Ints
from system.errors import UserError

Whole = NDArray[np.integer[Any]]
Words = NDArray[np.uint64]
State = TypeVar("State")
WORD = 64
ALL = ~np.uint64(0)


class Walk(Protocol[State]):
    """Sets of members on n photos, members by rank, the most senior first."""

    def start(self) -> State:
        """The empty set."""

    def add(self, state: State, rank: int) -> State:
        """The set and a member that is junior to all in it."""

    def confusions(self, state: State, first: int) -> NDArray[np.int64]:
        """Of the set and each member from rank `first` on, J of them: `int64 (J, C * C)`."""


@dataclass(frozen=True)
class Photos:
    """What is judged.

    Attributes:
        labels: `int64 (n,)`.
        times: `int64 (n,)`, how often each counts.
        n_classes: C.
    """

    labels: Ints
    times: Ints
    n_classes: int

    def tally(self, at: Whole, named: Whole, set_number: Whole | int = 0, n_sets: int = 1) -> NDArray[np.int64]:
        """`int64 (n_sets, C * C)` of photos `at`, each with what a set answers."""
        cells = self.n_classes**2
        pairs = self.labels[at] * self.n_classes + named + set_number * cells
        return np.bincount(pairs, self.times[at], n_sets * cells).reshape(n_sets, cells).astype(np.int64)


@dataclass(frozen=True)
class Voted:
    """One vote each of d members. Photos are bits, 64 in a word, so that one operation is about 64 of them.

    Attributes:
        ranks: Of the members, most senior first.
        counts: `uint64 (d, d, W)`: where at least k + 1 members name the class that member j names.
        raises: `uint64 (d, W)`: where the class that member j names leads, which it does not yet, if one more member names it.
        lead: `uint64 (C, W)`: where each class leads.
    """

    ranks: tuple[int, ...]
    counts: Words
    raises: Words
    lead: Words


class BallotWalk:
    """One vote per member; of classes with equally many votes the one with the most senior voter leads.

    Who is named matters only where it turns the vote. Before that it is enough to know where two members name the same.

    Args:
        named: `int (P, n)`: what each member names.
        photos: What is judged.
    """

    def __init__(self, named: Whole, photos: Photos) -> None:
        rows = np.repeat(np.arange(len(photos.labels)), photos.times)
        rows = rows[np.argsort(photos.labels[rows], kind="stable")]
        n_words = -(-np.bincount(photos.labels[rows], minlength=photos.n_classes) // WORD)
        starts = np.repeat((np.cumsum(n_words) - n_words) * WORD, np.bincount(photos.labels[rows], minlength=photos.n_classes))
        firsts = np.searchsorted(photos.labels[rows], photos.labels[rows])
        seats = starts + np.arange(len(rows)) - firsts  # a word holds photos of one class only
        self.label_of = np.repeat(np.eye(photos.n_classes, dtype=np.float32), n_words, axis=0)
        spread = np.full((len(named), int(n_words.sum()) * WORD), -1)
        spread[:, seats] = named[:, rows]
        self.names = np.stack([_words(member == np.arange(photos.n_classes)[:, None]) for member in spread])
        self.same = np.stack([_words((member == spread) & (member >= 0)) for member in spread])

    def start(self) -> Voted:
        """See `Walk`."""
        n_words = self.names.shape[2]
        nothing = np.zeros((0, n_words), dtype=np.uint64)
        return Voted((), nothing[None], nothing, np.zeros(self.names.shape[1:], dtype=np.uint64))

    def add(self, state: Voted, rank: int) -> Voted:
        """See `Walk`."""
        d, same = len(state.ranks), self.same[list(state.ranks), rank]
        counts = np.zeros((d + 1, d + 1, same.shape[1]), dtype=np.uint64)
        counts[0] = ALL
        if d:
            raised = state.counts & same
            counts[1:, :d] = raised
            counts[:d, :d] |= state.counts
            np.bitwise_or.reduce(raised, axis=1, out=counts[1:, d])
        ranks = (*state.ranks, rank)
        turned = self._turned(state, rank)[0] if d else ALL
        lead = (state.lead & ~turned) | (self.names[rank] & turned)
        return Voted(ranks, counts, self._raises(counts, ranks), lead)

    def confusions(self, state: Voted, first: int) -> NDArray[np.int64]:
        """See `Walk`."""
        names = self.names[first:]
        if not state.ranks:
            return self._counted(names)
        turned = self._turned(state, slice(first, None))[:, None]
        return self._counted(state.lead) + self._counted(names & turned) - self._counted(state.lead & turned)

    def _turned(self, state: Voted, ranks: slice | int) -> Words:
        """Where the vote turns to what a member names, `(J, W)`."""
        same = self.same[list(state.ranks), ranks].reshape(len(state.ranks), -1, self.same.shape[2])
        turned: Words = np.bitwise_or.reduce(same & state.raises[:, None], axis=0)
        return turned

    def _raises(self, counts: Words, ranks: tuple[int, ...]) -> Words:
        """See `Voted`. A class with as many votes as the first needs one more; one that has one less must have the senior voter."""
        some = np.bitwise_or.reduce(counts, axis=1)
        most = counts.copy()
        most[:-1] &= ~some[1:, None]
        first = np.bitwise_or.reduce(most, axis=0)  # (d, W): where the class of member j has as many votes as any
        until = np.bitwise_or.accumulate(first, axis=0)
        leads = first.copy()
        leads[1:] &= ~until[:-1]  # the most senior voter of the leading class
        same = self.same[list(ranks)][:, list(ranks)]
        raises: Words = first & ~np.bitwise_or.reduce(same & leads[:, None], axis=0)
        if len(ranks) > 1:
            level = some[1:].copy()
            level[:-1] &= ~some[2:]
            one_less = np.bitwise_or.reduce(counts[:-1] & ~counts[1:] & level[:, None], axis=0)
            raises |= one_less & ~until
        return raises

    def _counted(self, where: Words) -> NDArray[np.int64]:
        """From where each class is answered, `(..., C, W)`, to confusion matrices `(..., C * C)`. Exact below 2^24 photos."""
        *sets, n_classes, n_words = where.shape
        by_word = np.bitwise_count(where).astype(np.float32).reshape(prod(sets) * n_classes, n_words)
        by_answer = (by_word @ self.label_of).astype(np.int64)  # one product, not one per set
        counted: NDArray[np.int64] = by_answer.reshape(*sets, n_classes, n_classes).swapaxes(-1, -2).reshape(*sets, n_classes**2)
        return counted


@dataclass(frozen=True)
class Summed:
    """Sums `(C, n)` of a set of `size` members."""

    total: Whole
    size: int


class SumWalk:
    """Sums over any votes of a member; the largest sum wins, the first of equal ones.

    Args:
        votes: `int (P, C, n)`: a member's votes for each class, or its probabilities in units of 2^-24.
        photos: What is judged.
        most: D, the largest set.
        seniors: For hard votes, `int (P, C, n)`: 0 for a class that the member does not name, else V less the place of its first
            view that does. One vote then weighs (V + 1)^D, and the senior view of the member that joins as number d this number times
            (V + 1)^(D-1-d), so that the most senior voter decides ties.
        n_views: V.
    """

    def __init__(self, votes: Whole, photos: Photos, most: int, *, seniors: Whole | None = None, n_views: int = 1) -> None:
        self.photos, self.most, self.seniors, self.base = photos, most, seniors, n_views + 1
        self.vote = self.base**most if seniors is not None else 1
        largest = _fitting((int(votes.max(initial=0)) * most + 1) * self.vote)
        self.kind = np.dtype(np.int32 if largest < 1 << 31 else np.int64)
        self.votes = votes.astype(self.kind) * self.kind.type(self.vote)
        self.swing = self.votes.max(initial=0) + self.kind.type(self.vote)

    def start(self) -> Summed:
        """See `Walk`."""
        return Summed(np.zeros(self.votes.shape[1:], self.kind), 0)

    def add(self, state: Summed, rank: int) -> Summed:
        """See `Walk`."""
        total = state.total + self.votes[rank]
        if self.seniors is not None:
            total += self.seniors[rank] * self._senior(state.size)
        return Summed(total, state.size + 1)

    def confusions(self, state: Summed, first: int) -> NDArray[np.int64]:
        """See `Walk`. A photo is open where another class lies no further behind the first than one member can lift it."""
        n_classes, n = self.votes.shape[1], len(self.votes) - first
        lead, largest = _first_of_largest(state.total)
        near = state.total >= largest - self.swing
        is_open = near.sum(axis=0, dtype=np.uint16) > 1
        closed, at = np.flatnonzero(~is_open), np.flatnonzero(is_open)
        sums = np.empty((n_classes, n, len(at)), self.kind)
        for number in range(n_classes):
            sums[number] = self.votes[first:, number].take(at, axis=1)
            if self.seniors is not None:
                sums[number] += self.seniors[first:, number].take(at, axis=1) * self._senior(state.size)
            sums[number] += state.total[number, at]
        named = _first_of_largest(sums)[0]
        counts = self.photos.tally(np.tile(at, n), named.ravel(), np.repeat(np.arange(n), len(at)), n)
        return self.photos.tally(closed, lead[closed]) + counts

    def _senior(self, size: int) -> Any:
        return self.kind.type(self.base ** (self.most - 1 - size))


def _first_of_largest(sums: Whole) -> tuple[Ints, Whole]:
    """Along the first axis, `(C, ...)` -> the number of the largest, the first of equal ones, and its value."""
    largest = sums[0].copy()
    named = np.zeros(sums.shape[1:], dtype=np.int64)
    for number in range(1, len(sums)):
        np.copyto(named, number, where=sums[number] > largest)
        np.maximum(largest, sums[number], out=largest)
    return named, largest


def _words(bits: NDArray[np.bool_]) -> Words:
    """`(..., 64 W)` -> `uint64 (..., W)`."""
    words: Words = np.packbits(bits, axis=-1).view(np.uint64)
    return words


def _fitting(largest: int) -> int:
    """The number, which 63 bits hold.

    Raises:
        UserError: They do not.
    """
    if largest >= 1 << 63:
        raise UserError("so many votes in one subset cannot be counted exactly; ask for smaller subsets, or for fewer views")
    return largest
