"""Which views a spec looks through: all sets of TTA views tried on the photos that choose -> the same members with other views.

A view search is chosen like all else: `shared_views` and `own_views` are steps (`ensemble.selection.refinements`), asked anew.
Up to `MOST_VIEWS` views every set is tried. With more of them, and for rules whose votes do not add up (geometric, rank,
calibrated members ...), views join one at a time, each time the one with which the vote scores best, until all are in; of the sets
met so the best is taken. (To stop at the first view that wins nothing would always leave one view: a second ballot can only tie.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import metric_of
from ensemble.metric_sums import defined, terms_of
from ensemble.plan.spec import Spec
from ensemble.selection.candidates import WHOLE, Candidates, Sample
from ensemble.selection.greedy import DECIMALS
from ensemble.views.sets import SetShares, SetTerms, SetVotes, Tried, Views, all_sets, sorted_sets
from ensemble.views.votes import view_sums, votes_of_sets
from ensemble.votes import Ints

Answer = Callable[[Views], NDArray[Any]]
"""From a set of views to what the vote is judged by: answers `int16 (n,)`, terms of photos `float64 (n, X)`, or shares `float64 (n, C)`."""
MOST_VIEWS = 12
"""All 4,095 sets of so many are tried."""
MOST_LOGGED = 8
"""Terms need a float64 per photo and set, so only up to 255 sets are all tried."""
MOST_SETS = 1 << 15
"""Sets whose answers are kept for other resamples: those of 128 groups of members with 8 views, of 8 with 12."""


def shared_views(candidates: Candidates, sample: Sample, spec: Spec) -> Spec:
    """The set of views that scores best where all members look through the same; of equals the one with fewer, then more senior views."""
    if _stays(sample, spec):
        return spec
    views = best_views(candidates, sample, spec)
    return with_views(spec, dict.fromkeys(spec.members, views))


def own_views(candidates: Candidates, sample: Sample, spec: Spec) -> Spec:
    """For each member the set of views through which it scores best alone, by the spec's rule; of equals as for `shared_views`.

    Alone: to choose K sets together would be a choice among (2^V - 1)^K, which no validation set can bear.
    """
    if _stays(sample, spec):
        return spec
    now = {member: tuple(view for of, view in spec.voters if of == member) for member in spec.members}
    alone = {member: with_views(spec, {member: views}) for member, views in now.items()}
    return with_views(spec, {member: best_views(candidates, sample, one) for member, one in alone.items()})


def best_views(candidates: Candidates, sample: Sample, spec: Spec) -> Views:
    """The set of views through which a spec's members score best together."""
    tried = try_all(candidates, spec)
    tried = tried or try_forward(candidates, sample, spec)
    return tried.sets[int(np.argmax(np.round(defined(tried.scores(tried.times(sample))), DECIMALS)))]


def with_views(spec: Spec, views: Mapping[int, Views]) -> Spec:
    """Some of the spec's members, each looking through the views given for it.

    Order and weights stay; a view that had no vote before weighs what its member's most senior voter does.
    """
    voters = tuple((member, view) for member in spec.members if member in views for view in views[member])
    if spec.weights is None:
        return replace(spec, voters=voters)
    known: dict[Any, Any] = {}
    for voter, weight in zip(spec.voters, spec.weights, strict=True):
        known[voter] = weight
        known.setdefault(voter[0], weight)
    weights: Any = tuple(known.get(voter, known[voter[0]]) for voter in voters)
    return replace(spec, voters=voters, weights=weights)


def try_all(candidates: Candidates, spec: Spec) -> Tried | None:
    """Every set of views on all labelled photos; `None` where there are too many, or votes do not add up.

    Answers are kept for the next sample. With terms soft votes are taken one after another, which is slower, and hard ones not at all;
    metrics whose photos do not add up always go view by view.
    """
    n_views, voices, metric = len(candidates.views), _voices(candidates, spec), metric_of(candidates.metric)
    most = MOST_VIEWS if metric.judges_labels else MOST_LOGGED if metric.terms is not None and spec.rule == "soft" else 0
    if voices is None or n_views > most:
        return None

    def made() -> Tried:
        rows, sets = np.flatnonzero(candidates.labels >= 0), all_sets(n_views)
        if not metric.judges_labels:
            return try_these(candidates, spec, sets, rows)
        votes = votes_of_sets(candidates, spec.members, voices, rows, rule=spec.rule)
        columns = np.array([sum(1 << view for view in views) - 1 for views in sets])
        return Tried(sets, rows, candidates.labels[rows], candidates.metric, votes.of(columns))

    key = ("views", spec.rule, spec.members, voices.tobytes())
    return candidates.lately(key, made, most=max(1, MOST_SETS >> n_views))


def try_forward(candidates: Candidates, sample: Sample, spec: Spec) -> Tried:
    """The sets that are met when views join one at a time, on the sample's photos: V (V + 1) / 2 of them."""
    answer = _answering(candidates, spec, sample.rows)
    inside: Views = ()
    tried: dict[Views, NDArray[Any]] = {}
    while len(inside) < len(candidates.views):
        sets = sorted_sets({tuple(sorted((*inside, view))) for view in range(len(candidates.views)) if view not in inside})
        step = {views: answer(views) for views in sets}
        scores = _collected(candidates, step, sample.rows).scores(sample.times)
        inside = sets[int(np.argmax(np.round(defined(scores), DECIMALS)))]
        tried |= step
    return _collected(candidates, {views: tried[views] for views in sorted_sets(tried)}, sample.rows)


def try_these(candidates: Candidates, spec: Spec, sets: Sequence[Views], rows: Ints) -> Tried:
    """These sets of views, voted on one after another, on labelled photos `int64 (n,)`."""
    answer = _answering(candidates, spec, rows)
    return _collected(candidates, {views: answer(views) for views in sorted_sets(sets)}, rows)


def _stays(sample: Sample, spec: Spec) -> bool:
    return spec.stacking is not None or not len(sample.rows)


def _voices(candidates: Candidates, spec: Spec) -> Ints | None:
    """Each voter's weight through each view, `int64 (K, V)` or `(K, V, C)`; `None` where votes do not add up view by view."""
    extras = (spec.stacking, spec.correction, spec.offsets, spec.same_group, spec.quota)
    if spec.calibration or any(extra is not None for extra in extras) or spec.rule not in WHOLE:
        return None
    n_views = len(candidates.views)
    full = with_views(spec, dict.fromkeys(spec.members, tuple(range(n_views))))
    weights = np.ones(len(full.voters)) if full.weights is None else np.array(full.weights, dtype=np.float64)
    if (weights != np.rint(weights)).any() or (weights < 1).any() or (weights.ndim == 2 and spec.rule == "soft"):
        return None
    voices = weights.astype(np.int64) // gcd(*weights.astype(np.int64).ravel().tolist())
    return voices.reshape(len(spec.members), n_views, *voices.shape[1:])


def _answering(candidates: Candidates, spec: Spec, rows: Ints) -> Answer:
    """What a spec answers through any set of views, on labelled photos `int64 (n,)`."""
    voices, metric, labels = _voices(candidates, spec), metric_of(candidates.metric), candidates.labels[rows]
    if voices is not None and (metric.judges_labels or (metric.terms is not None and spec.rule == "soft")):
        sums = view_sums(candidates, spec.members, voices, rows, rule=spec.rule)
        return sums.answers if metric.judges_labels else lambda views: terms_of(metric, sums.totals(views), labels)

    def voted(views: Views) -> NDArray[Any]:
        vote = next(candidates.votes_of([with_views(spec, dict.fromkeys(spec.members, views))], rows))
        if metric.judges_labels:
            return vote.labels.astype(np.int16)
        return vote.shares if metric.terms is None else terms_of(metric, vote.shares, labels)

    return voted


def _collected(candidates: Candidates, answers: Mapping[Views, NDArray[Any]], rows: Ints) -> Tried:
    stacked, labels, metric = np.stack(list(answers.values()), axis=1), candidates.labels[rows], metric_of(candidates.metric)
    if not metric.judges_labels:
        results = SetShares(stacked) if metric.terms is None else SetTerms(stacked)
        return Tried(tuple(answers), rows, labels, candidates.metric, results)
    votes = SetVotes(stacked[:, 0].astype(np.int64), np.arange(len(rows)), stacked, candidates.n_classes)
    return Tried(tuple(answers), rows, labels, candidates.metric, votes)
