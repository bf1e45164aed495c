"""Which views a design looks through: all sets of TTA views tried on the photos that choose -> the same members with other views.

A view search is chosen like all else: `shared_views` and `own_views` are steps (`ensemble.selection.refinements`), asked anew.
Up to `view_subsets.MOST_VIEWS` views every set is tried. With more of them, and for rules whose votes do not add up (geometric, rank,
calibrated members ...), views join one at a time, each time the one with which the vote scores best, until all are in; of the sets
met so the best is taken. (To stop at the first view that wins nothing would always leave one view: a second ballot can only tie.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS, SMALLEST_PROB
from ensemble.plan.spec import Design
from ensemble.selection.candidates import WHOLE, Arena, Sample
from ensemble.selection.greedy import DECIMALS
from ensemble.views.sets import SetLogs, Tried, Views, all_sets, sorted_sets
from ensemble.views.subsets import MOST_VIEWS, SubsetVotes
from ensemble.views.votes import shared_subset_votes, view_sums
from ensemble.votes import Ints, Vote

Answer = Callable[[Views], NDArray[Any]]
"""From a set of views to what the vote is judged by: answers `int16 (n,)`, or logarithms of the true class's share `float64 (n,)`."""
MOST_LOGGED = 8
"""Log-loss needs a float64 per photo and set, so only up to 255 sets are all tried."""
MOST_KEPT = 1 << 15
"""Sets whose answers are kept for other resamples: those of 128 groups of members with 8 views, of 8 with 12."""


def shared_views(arena: Arena, sample: Sample, design: Design) -> Design:
    """The set of views that scores best where all members look through the same; of equals the one with fewer, then more senior views."""
    if _stays(sample, design):
        return design
    views = best_views(arena, sample, design)
    return with_views(design, dict.fromkeys(design.members, views))


def own_views(arena: Arena, sample: Sample, design: Design) -> Design:
    """For each member the set of views through which it scores best alone, by the design's rule; of equals as for `shared_views`.

    Alone: to choose K sets together would be a choice among (2^V - 1)^K, which no validation set can bear.
    """
    if _stays(sample, design):
        return design
    now = {member: tuple(view for of, view in design.voters if of == member) for member in design.members}
    alone = {member: with_views(design, {member: views}) for member, views in now.items()}
    return with_views(design, {member: best_views(arena, sample, one) for member, one in alone.items()})


def best_views(arena: Arena, sample: Sample, design: Design) -> Views:
    """The set of views through which a design's members score best together."""
    found = try_all(arena, design)
    found = found or try_forward(arena, sample, design)
    return found.sets[int(np.argmax(np.round(found.scores(found.times(sample)), DECIMALS)))]


def with_views(design: Design, views: Mapping[int, Views]) -> Design:
    """Some of the design's members, each looking through the views given for it.

    Order and weights stay; a view that had no vote before weighs what its member's most senior voter does.
    """
    voters = tuple((member, view) for member in design.members if member in views for view in views[member])
    if design.weights is None:
        return replace(design, voters=voters)
    known: dict[Any, Any] = {}
    for voter, weight in zip(design.voters, design.weights, strict=True):
        known[voter] = weight
        known.setdefault(voter[0], weight)
    weights: Any = tuple(known.get(voter, known[voter[0]]) for voter in voters)
    return replace(design, voters=voters, weights=weights)


def try_all(arena: Arena, design: Design) -> Tried | None:
    """Every set of views on all labelled photos; `None` where there are too many, or votes do not add up.

    Answers are kept for the next sample. With log-loss soft votes are taken one after another, which is slower, and hard ones not at all.
    """
    n_views, voices, logged = len(arena.views), _voices(arena, design), METRICS[arena.metric].of_many is None
    if voices is None or (logged and design.rule == "hard") or n_views > (MOST_LOGGED if logged else MOST_VIEWS):
        return None

    def made() -> Tried:
        rows, sets = np.flatnonzero(arena.labels >= 0), all_sets(n_views)
        if logged:
            return try_these(arena, design, sets, rows)
        votes = shared_subset_votes(arena, design.members, voices, rows, rule=design.rule)
        columns = np.array([sum(1 << view for view in views) - 1 for views in sets])
        return Tried(sets, rows, arena.labels[rows], arena.metric, votes.of(columns))

    key = ("views", design.rule, design.members, voices.tobytes())
    return arena.lately(key, made, most=max(1, MOST_KEPT >> n_views))


def try_forward(arena: Arena, sample: Sample, design: Design) -> Tried:
    """The sets that are met when views join one at a time, on the sample's photos: V (V + 1) / 2 of them."""
    answer = _answering(arena, design, sample.rows)
    inside: Views = ()
    tried: dict[Views, NDArray[Any]] = {}
    while len(inside) < len(arena.views):
        sets = sorted_sets({tuple(sorted((*inside, view))) for view in range(len(arena.views)) if view not in inside})
        step = {views: answer(views) for views in sets}
        scores = _collected(arena, step, sample.rows).scores(sample.times)
        inside = sets[int(np.argmax(np.round(scores, DECIMALS)))]
        tried |= step
    return _collected(arena, {views: tried[views] for views in sorted_sets(tried)}, sample.rows)


def try_these(arena: Arena, design: Design, sets: Sequence[Views], rows: Ints) -> Tried:
    """These sets of views, voted on one after another, on labelled photos `int64 (n,)`."""
    answer = _answering(arena, design, rows)
    return _collected(arena, {views: answer(views) for views in sorted_sets(sets)}, rows)


def _stays(sample: Sample, design: Design) -> bool:
    return design.stacking is not None or not len(sample.rows)


def _voices(arena: Arena, design: Design) -> Ints | None:
    """Each voter's weight through each view, `int64 (K, V)` or `(K, V, C)`; `None` where votes do not add up view by view."""
    extras = (design.stacking, design.correction, design.offsets, design.same_group, design.quota)
    if design.calibration or any(extra is not None for extra in extras) or design.rule not in WHOLE:
        return None
    n_views = len(arena.views)
    full = with_views(design, dict.fromkeys(design.members, tuple(range(n_views))))
    weights = np.ones(len(full.voters)) if full.weights is None else np.array(full.weights, dtype=np.float64)
    if (weights != np.rint(weights)).any() or (weights < 1).any() or (weights.ndim == 2 and design.rule == "soft"):
        return None
    voices = weights.astype(np.int64) // gcd(*weights.astype(np.int64).ravel().tolist())
    return voices.reshape(len(design.members), n_views, *voices.shape[1:])


def _answering(arena: Arena, design: Design, rows: Ints) -> Answer:
    """What a design answers through any set of views, on labelled photos `int64 (n,)`."""
    voices, logged = _voices(arena, design), METRICS[arena.metric].of_many is None
    if voices is not None and not (logged and design.rule == "hard"):
        sums = view_sums(arena, design.members, voices, rows, rule=design.rule)
        return sums.logs if logged else sums.answers

    def voted(views: Views) -> NDArray[Any]:
        vote = next(arena.votes_of([with_views(design, dict.fromkeys(design.members, views))], rows))
        return _true_logs(vote, arena.labels[rows]) if logged else vote.labels.astype(np.int16)

    return voted


def _true_logs(vote: Vote, labels: Ints) -> NDArray[np.float64]:
    """The terms of `competitions.metrics.log_loss`, photo by photo."""
    true = vote.shares[np.arange(len(labels)), labels] / vote.shares.sum(axis=1)
    found: NDArray[np.float64] = np.log(np.clip(true, SMALLEST_PROB, 1.0))
    return found


def _collected(arena: Arena, answers: Mapping[Views, NDArray[Any]], rows: Ints) -> Tried:
    stacked, labels = np.stack(list(answers.values()), axis=1), arena.labels[rows]
    if METRICS[arena.metric].of_many is None:
        return Tried(tuple(answers), rows, labels, arena.metric, SetLogs(stacked))
    votes = SubsetVotes(stacked[:, 0].astype(np.int64), np.arange(len(rows)), stacked, arena.n_classes)
    return Tried(tuple(answers), rows, labels, arena.metric, votes)
