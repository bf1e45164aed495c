"""The journal of a view search: a spec and the photos that choose -> every set of views tried, and which views hurt.

Each set's score stands beside its gain over all views and over the first view alone, with the interval of a bootstrap over groups. These
are the photos that would choose: the best of 255 sets looks better than it is, `ensemble.scoring.gain` says what it wins. The verdict on
a single view is no choice: it compares all views with all but this one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import metric_of
from ensemble.plan.spec import Spec
from ensemble.resampling import group_draws, group_sums, t_widening
from ensemble.scoring.paired import HELPS, HURTS, UNDECIDED
from ensemble.selection.candidates import Candidates, Sample
from ensemble.selection.greedy import DECIMALS
from ensemble.views.search import try_all, try_forward, try_these
from ensemble.views.sets import Tried, Views, sorted_sets

Numbers = NDArray[np.float64]
JOURNAL_RESAMPLES = 200
N_VERDICT = 1000
"""Resamples for the verdicts, whose percentiles lie further out; only one set per view is scored in them."""
MOST_DRAWN = 1000
"""Of more sets than these only the best get intervals: those of all 4,095 of 12 views would take half a minute with 18 classes."""
JOURNAL_COVERAGE, VERDICT_COVERAGE = 0.90, 0.95
JOURNAL_DIGITS = 9


@dataclass(frozen=True)
class Gained:
    """A difference of two scores, in the metric's unit.

    Attributes:
        gain: Above 0 is better.
        low: Where its 90 % interval begins; `None` where none was drawn.
        high: Where it ends.
    """

    gain: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ViewCombination:
    """One set of views.

    Attributes:
        views: Their names, most senior first.
        score: Of the vote through them.
        over_all: What it gains over all views.
        over_first: What it gains over the first view alone, the identity.
    """

    views: tuple[str, ...]
    score: float
    over_all: Gained
    over_first: Gained


@dataclass(frozen=True)
class ViewEffect:
    """What becomes of the vote of all views when one is left out.

    Attributes:
        view: Its name.
        without: What leaving it out gains.
        verdict: `hurts` where leaving it out gains beyond noise, `helps` where it loses beyond noise (two-sided, 5 %), else `not
            beyond noise`.
    """

    view: str
    without: Gained
    verdict: str


@dataclass(frozen=True)
class Journal:
    """Everything a view search tried.

    Attributes:
        views: V names.
        rule: The spec's.
        metric: The candidates'.
        exhaustive: Whether every set was tried.
        n_resamples: Behind the intervals of the combinations.
        combinations: Best first; of equals fewer, then more senior views first.
        effects: Per view; none where there is one view.
    """

    views: tuple[str, ...]
    rule: str
    metric: str
    exhaustive: bool
    n_resamples: int
    combinations: tuple[ViewCombination, ...]
    effects: tuple[ViewEffect, ...]

    @property
    def hurts(self) -> tuple[str, ...]:
        """The views that hurt: leaving one of them out of all gains beyond noise."""
        return tuple(effect.view for effect in self.effects if effect.verdict == HURTS)

    def to_json(self) -> dict[str, Any]:
        """The journal as a JSON value."""
        return {**asdict(self), "hurts": list(self.hurts)}


def tta_journal(
    candidates: Candidates, sample: Sample, spec: Spec, *, seed: int, n_resamples: int = JOURNAL_RESAMPLES
) -> Journal:
    """Try sets of views shared by a spec's members, and write down each of them.

    Intervals are those of a percentile bootstrap over groups, widened by Student's t with one degree of freedom less than there are groups
    on which the two sides differ (as `ensemble.scoring.paired.compare`: a bootstrap believes four lucky groups).

    Args:
        candidates: The members.
        sample: The photos that choose, of at least two groups.
        spec: Whose members, weights and rule, without a stacking; the views it has do not matter.
        seed: Of the resamples.
        n_resamples: How many, for the combinations.
    """
    tried, n_resamples = try_all(candidates, spec), metric_of(candidates.metric).resamples(n_resamples)
    exhaustive = tried is not None
    tried = tried or _with_references(candidates, sample, spec)
    times = tried.times(sample)
    scores = tried.scores(times)
    order = np.argsort(-np.round(scores, DECIMALS), kind="stable")
    return Journal(
        views=candidates.views,
        rule=spec.rule,
        metric=candidates.metric,
        exhaustive=exhaustive,
        n_resamples=n_resamples,
        combinations=_combinations(candidates, tried, times, scores, order, seed=seed, n_resamples=n_resamples),
        effects=_effects(candidates, tried, times, seed=seed + 1),
    )


def _with_references(candidates: Candidates, sample: Sample, spec: Spec) -> Tried:
    """The sets met one view at a time, with those that everything is compared with."""
    n_views = len(candidates.views)
    met = try_forward(candidates, sample, spec).sets
    return try_these(candidates, spec, sorted_sets({*met, (0,), *_references(n_views)}), sample.rows)


def _references(n_views: int) -> list[Views]:
    """All views, and all without each of them where there are several."""
    every = tuple(range(n_views))
    return [every, *(tuple(view for view in every if view != left_out) for left_out in every if n_views > 1)]


def _combinations(
    candidates: Candidates,
    tried: Tried,
    times: NDArray[np.int64],
    scores: Numbers,
    order: NDArray[np.int64],
    *,
    seed: int,
    n_resamples: int,
) -> tuple[ViewCombination, ...]:
    bases = [tried.sets.index(views) for views in (tuple(range(len(candidates.views))), (0,))]
    drawn = np.array(list(dict.fromkeys([*bases, *order[:MOST_DRAWN].tolist()])))
    part = tried.of(drawn)
    resampled = _resampled(candidates, part, times, seed=seed, n_resamples=n_resamples)
    low_high = [
        _interval(candidates, part, times, resampled, base=base, level=JOURNAL_COVERAGE) for base in (0, len({*bases}) - 1)
    ]
    number_of = {int(column): number for number, column in enumerate(drawn)}

    def gained(column: int, which: int) -> Gained:
        gain, at = _rounded(scores[column] - scores[bases[which]]), number_of.get(column)
        return Gained(gain, None, None) if at is None else Gained(gain, *(_rounded(end[at]) for end in low_high[which]))

    return tuple(
        ViewCombination(_names(candidates, tried.sets[column]), _rounded(scores[column]), gained(column, 0), gained(column, 1))
        for column in order.tolist()
    )


def _effects(candidates: Candidates, tried: Tried, times: NDArray[np.int64], *, seed: int) -> tuple[ViewEffect, ...]:
    """What leaving out each view does, from `N_VERDICT` resamples of those sets alone."""
    every, *without = _references(len(candidates.views))
    if not without:
        return ()
    part = tried.of(np.array([tried.sets.index(views) for views in (every, *without)]))
    n_verdict = metric_of(candidates.metric).resamples(N_VERDICT)
    scores, resampled = part.scores(times), _resampled(candidates, part, times, seed=seed, n_resamples=n_verdict)
    low, high = _interval(candidates, part, times, resampled, base=0, level=JOURNAL_COVERAGE)
    least, most = _interval(candidates, part, times, resampled, base=0, level=VERDICT_COVERAGE)
    return tuple(
        ViewEffect(
            view=candidates.views[column - 1],
            without=Gained(_rounded(scores[column] - scores[0]), _rounded(low[column]), _rounded(high[column])),
            verdict=HURTS if least[column] > 0 else HELPS if most[column] < 0 else UNDECIDED,
        )
        for column in range(1, len(part.sets))
    )


def _resampled(candidates: Candidates, tried: Tried, times: NDArray[np.int64], *, seed: int, n_resamples: int) -> Numbers:
    """The scores `(1 + R, T)`: of the sample itself, then of resamples of its groups."""
    names, groups = np.unique(candidates.group_numbers[tried.rows][times > 0], return_inverse=True)
    group_numbers = np.zeros(len(times), dtype=np.int64)  # photos that do not count may stand in any group
    group_numbers[times > 0] = groups
    draws = group_draws(len(names), n_resamples=n_resamples, seed=seed)
    return np.vstack([tried.scores(times), tried.resampled(times, group_numbers, draws)])


def _interval(
    candidates: Candidates, tried: Tried, times: NDArray[np.int64], resampled: Numbers, *, base: int, level: float
) -> tuple[Numbers, Numbers]:
    """Where the interval of each set's gain over one of them begins and ends: `(T,)` each."""
    gains = resampled - resampled[:, base : base + 1]
    wider = t_widening(*_differing(candidates, tried, times, base), sure=0.5 + level / 2)
    tails = 50 * (1 - level)
    drawn = gains[1:][np.isfinite(gains[1:]).all(axis=1)]  # of a draw that shows one class alone some metrics say nothing
    low, high = gains[0] + wider * (np.percentile(drawn, (tails, 100 - tails), axis=0) - gains[0])
    return low, high


def _differing(candidates: Candidates, tried: Tried, times: NDArray[np.int64], base: int) -> tuple[int, NDArray[np.int64]]:
    """How many groups there are, and on how many of them each set differs from one of them: `(T,)`."""
    rows, differs = tried.results.differing(base)
    counted = times[rows] > 0
    n_groups = len(np.unique(candidates.group_numbers[tried.rows[times > 0]]))
    names, group_numbers = np.unique(candidates.group_numbers[tried.rows[rows[counted]]], return_inverse=True)
    by_group = group_sums(differs[counted].astype(np.float64), group_numbers, len(names))
    return n_groups, (by_group > 0).sum(axis=0)


def _rounded(number: float) -> float:
    """A number without the digits that depend on the machine: log-losses are sums of logarithms."""
    return round(float(number), JOURNAL_DIGITS) + 0.0


def _names(candidates: Candidates, views: Sequence[int]) -> tuple[str, ...]:
    return tuple(candidates.views[view] for view in views)
