"""What growing sets of members amount to: a state per set, and the confusion matrices of (the set + one more member), many at once.

Members join most senior first, so each state is its parent's and one more vote. `BallotWalk` is for one vote per member: the class that
leads changes only to the class just named, and a lead of more than one vote holds against whoever comes last. `SumWalk` is for sums of
any whole numbers: soft votes, or several votes per member. Both hold a vote and its tie rule in one number, so that the largest wins.
"""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ensemble.votes import Ints
from ledger.errors import UserError

Whole = NDArray[np.integer[Any]]
State = TypeVar("State")


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

    def tally(self, at: Whole, named: Whole, set_number: Whole | int = 0, n_sets: int = 1) -> NDArray[np.float64]:
        """`(n_sets, C * C)` of photos `at`, each with what a set answers; whole numbers."""
        cells = self.n_classes**2
        pairs = self.labels[at] * self.n_classes + named + set_number * cells
        return np.bincount(pairs, self.times[at], n_sets * cells).reshape(n_sets, cells)


@dataclass(frozen=True)
class Counted:
    """Votes `(C * n,)` by class and photo, the leading class `(n,)` and its number `(n,)`, of a set of `size` members."""

    total: Whole
    lead: Whole
    of_lead: Whole
    size: int


class BallotWalk:
    """One vote per member.

    A vote weighs 2^D, D being the largest set, and 2^(D-1-d) more of the member that joins as number d: of classes with equally many
    votes the one with the most senior voter has more, for all juniors of a voter weigh less than it.

    Args:
        named: `int (P, n)`: what each member names.
        photos: What is judged.
        most: D.
    """

    def __init__(self, named: Whole, photos: Photos, most: int) -> None:
        self.named, self.photos, self.most = named.astype(np.int64), photos, most
        self.seats = np.arange(named.shape[1])
        self.at = self.named * len(self.seats) + self.seats
        self.kind = np.min_scalar_type(_fitting((most + 1) << most))

    def start(self) -> Counted:
        """Nobody has voted, and class 0 leads with nothing."""
        n = len(self.seats)
        return Counted(np.zeros(self.photos.n_classes * n, self.kind), np.zeros(n, np.int64), np.zeros(n, self.kind), 0)

    def add(self, state: Counted, rank: int) -> Counted:
        """See `Walk`."""
        own = state.total.take(self.at[rank])
        own += self._weight(state.size)
        total = state.total.copy()
        total[self.at[rank]] = own
        lead = np.where(own > state.of_lead, self.named[rank], state.lead)
        return Counted(total, lead, np.maximum(own, state.of_lead), state.size + 1)

    def confusions(self, state: Counted, first: int) -> NDArray[np.int64]:
        """See `Walk`. Who leads by two votes keeps the lead: others have at most what is left, and one more."""
        open_ = np.flatnonzero(state.of_lead < self.kind.type(((state.size + 1) // 2 + 1) << self.most))
        own = state.total.take(self.at[first:, open_])
        own += self._weight(state.size)
        member, place = np.nonzero(own > state.of_lead[open_])
        at = open_[place]
        n = len(self.named) - first
        counts = self.photos.tally(self.seats, state.lead)
        counts = counts + self.photos.tally(at, self.named[first + member, at], member, n)
        counts -= self.photos.tally(at, state.lead[at], member, n)
        return counts.astype(np.int64)

    def _weight(self, size: int) -> Any:
        return self.kind.type((1 << self.most) + (1 << (self.most - 1 - size)))


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
        counts = self.photos.tally(closed, lead[closed])
        counts = counts + self.photos.tally(np.tile(at, n), named.ravel(), np.repeat(np.arange(n), len(at)), n)
        return counts.astype(np.int64)

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


def _fitting(largest: int) -> int:
    """The number, which 63 bits hold.

    Raises:
        UserError: They do not.
    """
    if largest >= 1 << 63:
        raise UserError("so many votes in one subset cannot be counted exactly; ask for smaller subsets, or for fewer views")
    return largest
