"""The best subset of some members, exactly: candidates, the photos that choose, the sizes allowed -> the members whose vote scores best.

No subset is left out, and none is voted on from the start: a walk over the subsets, most senior member first, carries what the members
so far amount to, and what each member that could come last would change is counted for all at once (`ensemble.selection.subset_walk`).
Photos for which all voters name the same class are counted once.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS
from ensemble.plan.spec import Spec
from ensemble.selection.candidates import Candidates, Sample
from ensemble.selection.kernels import ONE
from ensemble.selection.subset_walk import BallotWalk, Photos, State, SumWalk, Walk, Whole
from ensemble.votes import Ints, to_half
from system.errors import UserError, unknown

RULES = ("hard", "soft")
MOST_SUBSETS = 200_000
"""At most 5 of 30 members are 174,436 subsets, at most 5 of 12 are 1,585."""
MOST_VOTED = 20_000
"""Where the metric needs shares, each subset is voted on: some milliseconds each."""
AT_ONCE = 1 << 20
"""Cells of confusion matrices that are scored together."""

Ranks = tuple[int, ...]
Counts = NDArray[np.int64]
Rated = tuple[float, int, Ranks]
"""Score, minus the number of members, and minus their ranks: the greatest is the best."""


@dataclass(frozen=True)
class BestSubset:
    """The outcome.

    Attributes:
        spec: The members vote through all the views that were asked for, most senior first.
        score: On the photos that chose: optimistic.
        n_subsets: How many were compared.
    """

    spec: Spec
    score: float
    n_subsets: int


@dataclass(frozen=True)
class _Question:
    """Which subsets of `ranked` members, voting through `seats`, are compared on which photos."""

    candidates: Candidates
    sample: Sample
    ranked: tuple[int, ...]
    seats: tuple[int, ...]
    rule: str
    allowed: tuple[int, ...]

    def spec(self, ranks: Sequence[int]) -> Spec:
        return Spec(tuple((self.ranked[rank], view) for rank in ranks for view in self.seats), self.rule)


def best_subset(
    candidates: Candidates,
    sample: Sample,
    *,
    sizes: Sequence[int],
    rule: str = "hard",
    views: Sequence[int] | None = None,
    among: Sequence[int] | None = None,
    n_threads: int = 1,
) -> BestSubset:
    """The subset whose vote scores best: what asking `Candidates.vote` and `Candidates.score` for each of them would find.

    Seniority is rank on the sample. Of equal scores the subset with fewer members is taken, then the one whose most senior member is
    more senior, then whose second is, and so on.

    Args:
        candidates: The members.
        sample: The photos that choose, at least one.
        sizes: The numbers of members allowed.
        rule: `hard`: a member has one vote per view, the most senior voter decides ties; or `soft`.
        views: Through which each member votes; `(0,)` lets each vote once, through its first view, and is fastest. All for `None`.
        among: The members to choose from; all for `None`.
        n_threads: They change no outcome. Numpy leaves Python's lock for most of the time.

    Raises:
        UserError: There are more than `MOST_SUBSETS` subsets (`MOST_VOTED` where the metric needs shares), none of the allowed size, no
            photo, the rule is unknown, or one subset has so many votes that 63 bits do not hold them and their tie rule.
    """
    pool = set(range(len(candidates.members)) if among is None else among)
    seats = tuple(range(len(candidates.views)) if views is None else sorted(set(views)))
    allowed = tuple(sorted(set(sizes)))
    _check(candidates, sample, rule=rule, allowed=allowed, n_members=len(pool))
    question = _Question(
        candidates, sample, tuple(member for member in candidates.ranked(sample) if member in pool), seats, rule, allowed
    )
    score, _, ranks = max(_voted(question) if METRICS[candidates.metric].of_many is None else _walked(question, n_threads))
    return BestSubset(question.spec([-rank for rank in ranks]), score, count_subsets(len(pool), allowed))


def count_subsets(n_members: int, sizes: Sequence[int]) -> int:
    """How many subsets of these sizes there are.

    >>> count_subsets(30, [5])
    142506
    """
    return sum(comb(n_members, k) for k in set(sizes))


def _check(candidates: Candidates, sample: Sample, *, rule: str, allowed: tuple[int, ...], n_members: int) -> None:
    most = MOST_SUBSETS if METRICS[candidates.metric].of_many else MOST_VOTED
    faults = [] if rule in RULES else [unknown("rule for subsets of members", rule, RULES)]
    faults += [] if len(sample.rows) else ["the best subset needs at least one labelled photo to choose on"]
    if not allowed or not 1 <= allowed[0] <= allowed[-1] <= n_members:
        faults.append(f"sizes must be 1..{n_members}, as many as there are members to choose from, got {list(allowed)}")
    elif count_subsets(n_members, allowed) > most:
        faults.append(
            f"{n_members} members have {count_subsets(n_members, allowed):,} subsets of the sizes {list(allowed)}, and at most {most:,} "
            f"are compared by {candidates.metric}; choose among fewer members, or ask for smaller subsets"
        )
    if faults:
        raise UserError(*faults)


def _rated(score: float, ranks: Ranks) -> Rated:
    return score, -len(ranks), tuple(-rank for rank in ranks)


def _voted(question: _Question) -> Iterator[Rated]:
    """Every subset voted on, in an order in which one mostly has the members of the one before."""
    candidates, sample = question.candidates, question.sample
    asked = sorted(ranks for k in question.allowed for ranks in combinations(range(len(question.ranked)), k))
    for ranks, vote in zip(asked, candidates.votes_of([question.spec(ranks) for ranks in asked], sample.rows), strict=True):
        yield _rated(candidates.score(vote, sample), ranks)


def _walked(question: _Question, n_threads: int) -> Iterator[Rated]:
    """The best of the members alone, and the best of the subsets that begin with each."""
    walk, fixed = _walk(question)
    starts: list[Ranks] = [(), *((rank,) for rank in range(len(question.ranked)))]
    with ThreadPoolExecutor(n_threads) as threads:
        for best in threads.map(lambda start: _best_from(question, walk, fixed, start), starts):
            yield from best


def _best_from(question: _Question, walk: Walk[State], fixed: Counts, start: Ranks) -> list[Rated]:
    """The best of the subsets that have these members and more; nothing where there is none."""
    of_many, n_classes = METRICS[question.candidates.metric].of_many, question.candidates.n_classes
    assert of_many is not None, "other metrics are voted on"
    best: list[Rated] = []
    waiting: list[tuple[Ranks, int, Counts]] = []

    def rate() -> None:
        counts = np.concatenate([counts for _, _, counts in waiting]) + fixed
        scores = of_many(counts.reshape(-1, n_classes, n_classes))
        subsets = [(*ranks, last) for ranks, first, counts in waiting for last in range(first, first + len(counts))]
        top = np.flatnonzero(scores == scores.max())
        best[:] = [max([*best, *(_rated(float(scores[place]), subsets[place]) for place in top)])]
        waiting.clear()

    state = walk.start()
    for rank in start:
        state = walk.add(state, rank)
    for ranks, first, counts in _last_members(question, walk, state, start):
        waiting.append((ranks, first, counts))
        if sum(counts.size for _, _, counts in waiting) > AT_ONCE:
            rate()
    if waiting:
        rate()
    return best


def _last_members(question: _Question, walk: Walk[State], state: State, ranks: Ranks) -> Iterator[tuple[Ranks, int, Counts]]:
    """A set, the first rank that could come last, and the confusion matrices with each from there on; below `ranks`."""
    size, n_members = len(ranks) + 1, len(question.ranked)
    first = ranks[-1] + 1 if ranks else 0
    if size in question.allowed and first < n_members:
        yield ranks, first, walk.confusions(state, first)
    if not ranks:  # members alone; what begins with each is another start
        return
    for rank in range(first, n_members):
        if any(size < larger <= size + n_members - rank - 1 for larger in question.allowed):
            yield from _last_members(question, walk, walk.add(state, rank), (*ranks, rank))


def _walk(question: _Question) -> tuple[Walk[Any], Counts]:
    """The walk over the photos that voters disagree on, and the confusion matrix `(C * C,)` of the others."""
    candidates, rows, most = question.candidates, question.sample.rows, question.allowed[-1]
    members, seats = np.array(question.ranked), np.array(question.seats)
    named = candidates.named[members[:, None], seats][:, :, rows]
    apart = (named != named[0, 0]).any(axis=(0, 1))
    photos = Photos(candidates.labels[rows], question.sample.times, candidates.n_classes)
    at = np.flatnonzero(~apart)
    fixed = photos.tally(at, named[0, 0, at])[0]
    split = Photos(photos.labels[apart], photos.times[apart], photos.n_classes)
    if question.rule == "soft":
        return SumWalk(_units(candidates, members, seats, rows[apart]), split, most), fixed
    if len(seats) == 1:
        return BallotWalk(named[:, 0, apart], split), fixed
    votes, seniors = _votes(named[:, :, apart], candidates.n_classes)
    return SumWalk(votes, split, most, seniors=seniors, n_views=len(seats)), fixed


def _votes(named: Whole, n_classes: int) -> tuple[Whole, Whole]:
    """Of `(P, V, n)` ballots each member's votes per class and V less the place of the first, 0 for none: both `int16 (P, C, n)`."""
    n_members, n_views, n = named.shape
    votes, seniors = np.zeros((2, n_members, n_classes, n), dtype=np.int16)
    member, photo = np.arange(n_members)[:, None], np.arange(n)
    for view in reversed(range(n_views)):  # the most senior speaks last
        votes[member, named[:, view], photo] += 1
        seniors[member, named[:, view], photo] = n_views - view
    return votes, seniors


def _units(candidates: Candidates, members: Ints, seats: Ints, rows: Ints) -> Whole:
    """Probabilities summed over the seats, in units of 2^-24: `int32 (P, C, n)`."""
    total = np.zeros((len(members), candidates.n_classes, len(rows)), dtype=np.int32)
    for number, member in enumerate(members):
        for seat in seats:
            total[number] += (to_half(candidates.probs[member, seat, rows]).astype(np.float32) * np.float32(ONE)).T.astype(
                np.int32
            )
    return total
