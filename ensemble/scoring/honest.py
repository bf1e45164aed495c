"""What the whole choice of an ensemble scores on people it did not see: out-of-bag bootstrap over groups.

A choice is a function of in-bag rows that returns a decision, a decision is a function of rows that returns a `Vote`:
`choose(rows)(other_rows).labels`. Rows are photos of one validation part, aligned by ids over all members and tasks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import metric_of
from ensemble.label.cascade import Subtask
from ensemble.metric_sums import Sums, SumsToCome, needed_of, score_of_all, vote_score, weights_of
from ensemble.parallel import parallel_map
from ensemble.resampling import out_of_bag
from ensemble.votes import Choose, Decide, Ints, Vote
from system.errors import UserError

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Honest:
    """Scores of a choice on out-of-bag photos, in the metric's unit, greater is better.

    Attributes:
        mean: The score of all out-of-bag decisions together, each photo counting once.
        low: Where the 90 % interval begins.
        high: Where it ends.
        n_resamples: Resamples that had an out-of-bag photo that counts.
    """

    mean: float
    low: float
    high: float
    n_resamples: int


def honest_score(
    choose: Choose,
    labels: Ints,
    groups: Sequence[str] | NDArray[np.str_],
    *,
    metric: str,
    seed: int,
    n_resamples: int = 200,
    class_weights: Sequence[float] | None = None,
) -> Honest:
    """The score of a choice that is made anew, whole, in each resample and scored on the groups left out of it.

    Each resample draws as many groups as there are, with replacement; the choice sees the photos of the drawn groups (63.2 % of
    the groups on average, the rest repeats) and is scored on the others. Efron & Tibshirani 1997, "Improvements on
    cross-validation: the .632+ bootstrap method", the leave-one-out bootstrap with groups as units.

    The score is that of one confusion matrix, to which each photo adds its mean over the resamples that left it out: macro-F1 of a
    resample alone would not count classes that its few groups do not show. The interval reaches from there as far as the 5 % and the
    95 % percentile of the resamples' own scores lie from their mean. Coverage with known truth is in tests/ensemble/scoring/test_honest.py.

    What it does not choose again, so that nobody calls it more honest than it is: the weights and the best epoch of each member,
    which were picked on these photos, and the search itself, which adapted its suggestions and stopped trials by their scores
    here. The score is therefore still somewhat too good where a search was long and the fold small. Two things lean the other
    way: choosing on fewer distinct groups costs a little, and the interval is wider than the one for all photos (about 1.3
    times for a mean of independent photos, as only 36.8 % of them are scored at once).

    Args:
        choose: The whole choice, e.g. `ensemble.selection.selector.Selector`, or `choose_together(...)` for the composed label.
        labels: `int64 (N,)` of class numbers; photos with -1 take no part.
        groups: N group names, at least two of labelled photos.
        metric: One of `competitions.metrics.METRICS`.
        seed: Of the resamples; the same seed draws the same groups for every task.
        n_resamples: How many.
        class_weights: C numbers by which photos of each true class count (`ensemble.scoring.gain.Judge`).

    Raises:
        UserError: No photo counts, in any resample.
    """
    used = np.flatnonzero(labels >= 0)
    _, group_numbers = np.unique(np.asarray(groups)[used], return_inverse=True)
    weights, judging = weights_of(labels[used], class_weights), metric_of(metric)
    resamples = list(out_of_bag(group_numbers, n_resamples=judging.resamples(n_resamples), seed=seed))
    times = np.bincount(np.concatenate([outside for _, outside in resamples]), minlength=len(used)) if resamples else np.ones(1)

    def ask(resample: tuple[Ints, Ints]) -> Vote:
        vote = choose(used[resample[0]])(used[resample[1]])
        return needed_of(vote, metric)

    def sums_of(vote: Vote, outside: Ints, counted: Numbers) -> Sums:
        sums = SumsToCome(metric, vote.shares.shape[1])
        sums.add(vote, labels[used[outside]], groups=np.zeros_like(outside), weights=counted[outside])
        return sums.done()

    votes = parallel_map(ask, resamples)
    alone = np.array([score_of_all(sums_of(vote, out, weights)) for (_, out), vote in zip(resamples, votes, strict=True)])
    alone = alone[np.isfinite(alone)]
    if not len(alone):
        raise UserError(f"none of {n_resamples} resamples left out a photo that counts: too few groups or resamples for a score")
    shared, together = weights / np.maximum(times, 1), SumsToCome(metric, votes[0].shares.shape[1])
    for (_, outside), vote in zip(resamples, votes, strict=True):
        together.add_sums(sums_of(vote, outside, shared))
    mean = score_of_all(together.done())
    low, high = np.clip(mean + np.percentile(alone, [5, 95]) - alone.mean(), judging.worst, judging.best)
    return Honest(mean, float(low), float(high), len(alone))


def optimistic_score(choose: Choose, labels: Ints, *, metric: str, class_weights: Sequence[float] | None = None) -> float:
    """The score on the very photos that chose: too good, shown beside the honest one. `labels int64 (N,)`; -1 takes no part."""
    rows = np.flatnonzero(labels >= 0)
    return vote_score(choose(rows)(rows), labels[rows], metric=metric, class_weights=class_weights)


def choose_together(choices: Mapping[Subtask, Choose], answer: Callable[[Sequence[Subtask], Sequence[Vote]], Vote]) -> Choose:
    """The choice for what several ensembles answer together: each is chosen anew by its own of `choices`, then they answer.

    Args:
        choices: Place of each ensemble -> its choice; rows mean the same photos for all of them.
        answer: From subtasks and their votes to one vote, e.g. that of the composed label.
    """
    subtasks = list(choices)

    def choose(rows: Ints) -> Decide:
        decisions = [choices[subtask](rows) for subtask in subtasks]
        return lambda others: answer(subtasks, [decide(others) for decide in decisions])

    return choose
