"""Kept only if it wins on people it did not see: a choice and steps that refine it -> the steps that are kept, and by how much each won.

A step makes a new choice (`ensemble.votes.Choose`: in-bag rows -> a decision on other rows) of the one before it, e.g. "fit offsets on
what the choice says of the in-bag rows, add them to what it says of the others". Each resample draws groups with replacement; both
choices are made anew on the drawn groups and judged on the same groups left out. `Judge` compares any two choices so.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import metric_of
from ensemble.metric_sums import Sums, SumsToCome, needed_of, weights_of
from ensemble.parallel import parallel_map
from ensemble.resampling import INTERVAL, Groups, group_draws, out_of_bag, t_widening
from ensemble.votes import Choose, Decide, Ints, Vote

Numbers = NDArray[np.float64]

SURE = 0.95  # of Student's t: where the interval's lower end lies for a normal mean
ANEW = (1.1, 1.3)
"""An interval reaches so much further down and up than that of two fixed decisions: a choice made anew scatters more than its photos
alone. It also looks worse than it is, for groups that a voter was lucky on choose it and are missing where it is judged; so more upwards.
Measured on the step to the best of eleven voters that are no better than the one before (tests/ensemble/scoring/test_gain.py; nominally
5 % are kept and 10 % of intervals miss). With (1.1, 1.1), 500 pools each: 2.6-5.0 % kept, 13.4-16.4 % missed. With (1.1, 1.3), 1,000
pools each: accuracy 4.2 % and 10.0 %, macro-F1 5.0 % and 11.1 %, log loss 3.0-3.1 % and 10.8-12.0 %. An earlier simulation kept 7.5 %
of 500 with 1.0.
"""
N_DRAWS = 500
Kind = TypeVar("Kind", bound=Choose)


@dataclass(frozen=True)
class Step(Generic[Kind]):
    """A refinement of a decision.

    Attributes:
        name: What the plan calls it.
        on: From the choice so far to the choice with this step.
    """

    name: str
    on: Callable[[Kind], Kind]


@dataclass(frozen=True)
class Gain:
    """What a step won, in the metric's unit, on groups that it was not fitted on.

    Attributes:
        step: Its name.
        before: Score without it.
        after: Score with it.
        gain: Their difference.
        low: Where the 90 % interval of the difference begins.
        high: Where it ends.
        kept: Whether it lies above 0; of several compared at once, whether it does when it is widened for their number. A step is
            kept only if it does not lose on all photos either.
        metric: The metric's name.
        n_resamples: How often both were chosen anew.
        n_compared: How many choices were compared with the same one at once.
        apparent: What a step whose interval lies above 0 wins on all the photos, which chose both; `None` where it was not asked.
    """

    step: str
    before: float
    after: float
    gain: float
    low: float
    high: float
    kept: bool
    metric: str
    n_resamples: int
    n_compared: int = 1
    apparent: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The account as a JSON value."""
        return asdict(self)


def keep_what_wins(base: Kind, steps: Sequence[Step[Kind]], judge: "Judge") -> tuple[Kind, tuple[Gain, ...]]:
    """Try the steps in their order, each on top of those kept before it, and keep those whose gain lies above 0.

    A resample has fewer distinct groups than there are, so a step may win in resamples by being careful (e.g. by naming the frequent
    class alone) where the choice without it is bad, and lose where it is good. So what loses on all photos together is not kept.

    Returns:
        The choice with all steps that were kept, and one account per step.
    """
    kept, of_kept = base, judge.group_results(base)
    accounts: list[Gain] = []
    for step in steps:
        tried = step.on(kept)
        of_tried = judge.group_results(tried)
        account = judge.compare(step.name, of_kept, of_tried)
        if account.kept:
            apparent = judge.apparent(tried) - judge.apparent(kept)
            account = replace(account, apparent=apparent, kept=apparent >= 0)
        accounts.append(account)
        if account.kept:
            kept, of_kept = tried, of_tried
    return kept, tuple(accounts)


class Judge:
    """Choices made anew on drawn groups and judged on those left out.

    The score is that of the mean confusion matrix of each group over the resamples that left it out, added up over all groups; so
    all photos are judged, and a few dozen resamples are enough (each group is left out of 36.8 % of them). The interval of a gain is a
    bootstrap over groups of both choices at once, widened by Student's t with one degree of freedom less than there are groups
    on which they differ (as `ensemble.scoring.paired.compare`). Simulations with known truth are in tests/ensemble/scoring/test_gain.py.

    Args:
        labels: `int64 (N,)`; photos with -1 take no part.
        groups: N group names, at least two of labelled photos.
        metric: One of `competitions.metrics.METRICS`.
        seed: Of the resamples.
        n_resamples: How often each choice is made anew.
        class_weights: C numbers by which photos of each true class count, e.g. test shares / shares here: the gain is then the one
            under the test photos' shares.

    Raises:
        UserError: No photo counts.
    """

    def __init__(
        self,
        labels: Ints,
        groups: Groups,
        *,
        metric: str,
        seed: int,
        n_resamples: int = 50,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        self.rows = np.flatnonzero(labels >= 0)
        self.labels, self.metric, self.seed = labels[self.rows], metric, seed
        _, self.group_numbers = np.unique(np.asarray(groups)[self.rows], return_inverse=True)
        self.weights = weights_of(self.labels, class_weights)
        n_resamples = metric_of(metric).resamples(n_resamples)
        self.resamples = list(out_of_bag(self.group_numbers, n_resamples=n_resamples, seed=seed))

    def group_results(self, choose: Choose) -> Sums:
        """What the metric is made of, per group: the mean over the resamples that left the group out."""
        return self.results_of_several(lambda rows: _alone(choose(rows)))[0]

    def results_of_several(self, choose: Callable[[Ints], Callable[[Ints], Sequence[Vote]]]) -> list[Sums]:
        """Like `group_results`, of several choices that share their work: in-bag rows -> rows -> one vote of each choice."""
        totals: list[SumsToCome] = []
        times = np.zeros(self.n_groups)

        def ask(resample: tuple[Ints, Ints]) -> list[Vote]:
            votes = choose(self.rows[resample[0]])(self.rows[resample[1]])
            return [needed_of(vote, self.metric) for vote in votes]

        answers = parallel_map(ask, self.resamples)
        for (_, outside), votes in zip(self.resamples, answers, strict=True):
            totals = totals or [self._to_come(vote) for vote in votes]
            for total, vote in zip(totals, votes, strict=True):
                self._add(total, vote, outside)
            times[np.unique(self.group_numbers[outside])] += 1
        return [total.done().divided(np.maximum(times, 1)).whole() for total in totals]

    def apparent(self, choose: Choose) -> float:
        """The score of a choice on all the photos that it was made on."""
        vote = choose(self.rows)(self.rows)
        total = self._to_come(vote)
        self._add(total, vote, np.arange(len(self.rows)))
        return self.score(total.done().whole())

    @cached_property
    def draws(self) -> Numbers:
        """How often each group counts: each once, then as the bootstrap drew it; `(1 + N_DRAWS, G)`."""
        n_draws = metric_of(self.metric).resamples(N_DRAWS)
        return np.vstack([np.ones(self.n_groups), group_draws(self.n_groups, n_resamples=n_draws, seed=self.seed + 1)])

    def compare(self, name: str, before: Sums, after: Sums, *, n_compared: int = 1) -> Gain:
        """The account of one step, from the groups' results of both choices.

        Of `n_compared` steps compared with the same choice at once, the best is kept by chance more often than each alone. So
        `kept` asks for Bonferroni's level: 5 % divided by their number stays above the interval, the wider one by Student's t.
        """
        scored = [results.scores(self.draws) for results in (before, after)]
        gain, *drawn = scored[1] - scored[0]
        gains = np.array([gain, *(one for one in drawn if np.isfinite(one))])  # a draw may have none of the photos that count
        n_differing = before.n_differing(after)
        spread = np.percentile(gains[1:], INTERVAL) - gains[0]
        low, high = gains[0] + t_widening(self.n_groups, n_differing, sure=SURE) * spread * ANEW
        least = gains[0] + t_widening(self.n_groups, n_differing, sure=SURE, n_compared=n_compared) * spread[0] * ANEW[0]
        return Gain(
            step=name,
            before=float(scored[0][0]),
            after=float(scored[1][0]),
            gain=float(gains[0]),
            low=float(low),
            high=float(high),
            kept=bool(least > 0),
            metric=self.metric,
            n_resamples=len(self.resamples),
            n_compared=n_compared,
        )

    def score(self, results: Sums) -> float:
        """The out-of-bag score of a choice, from its groups' results."""
        return float(results.scores()[0])

    @property
    def n_groups(self) -> int:
        """G."""
        return int(self.group_numbers.max()) + 1

    def _to_come(self, vote: Vote) -> SumsToCome:
        return SumsToCome(self.metric, vote.shares.shape[1], self.n_groups)

    def _add(self, total: SumsToCome, vote: Vote, outside: Ints) -> None:
        """Count one decision into its groups."""
        total.add(vote, self.labels[outside], groups=self.group_numbers[outside], weights=self.weights[outside])


def _alone(decide: Decide) -> Callable[[Ints], Sequence[Vote]]:
    return lambda rows: [decide(rows)]
