"""What the whole choice of an ensemble scores on people it did not see: out-of-bag bootstrap over groups.

A choice is a function of in-bag rows that returns a decision, a decision is a function of rows that returns a `Vote`:
`choose(rows)(other_rows).labels`. Rows are photos of one validation part, aligned by ids over all members and tasks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS, score_labels
from ensemble.cascade import Place
from ensemble.grouped import out_of_bag
from ensemble.votes import Ints, Vote
from ledger.errors import UserError, unknown

Decide = Callable[[Ints], Vote]  # rows int64 (n,) -> the vote on those photos, labels (n,)
Choose = Callable[[Ints], Decide]  # in-bag rows int64 (n,), a photo as often as it was drawn -> the decision chosen on them


@dataclass(frozen=True)
class Honest:
    """Scores of a choice on out-of-bag photos, in the metric's unit, greater is better.

    Attributes:
        mean: Mean over the resamples.
        low: Their 5 % percentile.
        high: Their 95 % percentile.
        n_resamples: Resamples that had an out-of-bag photo and are counted.
    """

    mean: float
    low: float
    high: float
    n_resamples: int


def honest_score(
    choose: Choose, labels: Ints, groups: Sequence[str] | NDArray[np.str_], *, metric: str, seed: int, n_resamples: int = 200
) -> Honest:
    """The score of a choice that is made anew, whole, in each resample and scored on the groups left out of it.

    Each resample draws as many groups as there are, with replacement; the choice sees the photos of the drawn groups (63.2 % of
    the groups on average, the rest repeats) and is scored on the others. Efron & Tibshirani 1997, "Improvements on
    cross-validation: the .632+ bootstrap method", the leave-one-out bootstrap with groups as units.

    What it does not choose again, so that nobody calls it more honest than it is: the weights and the best epoch of each member,
    which were picked on these photos, and the search itself, which adapted its suggestions and stopped trials by their scores
    here. The score is therefore still somewhat too good where a search was long and the fold small. Two things lean the other
    way: choosing on fewer distinct groups costs a little, and the interval is wider than the one for all photos (about 1.3
    times for a mean of independent photos, as only 36.8 % of them are scored at once).

    Args:
        choose: The whole choice, e.g. `ensemble.choosing.Choosing`, or `choose_together(...)` for the composed label.
        labels: `int64 (N,)` of class numbers; photos with -1 take no part.
        groups: N group names.
        metric: One of `competitions.metrics.METRICS`.
        seed: Of the resamples; the same seed draws the same groups for every task.
        n_resamples: How many.

    Raises:
        UserError: There are fewer than two groups, no resample is asked for, or the metric is unknown.
    """
    used = np.flatnonzero(labels >= 0)
    alike = len(groups) == len(labels)
    names, place = np.unique(np.asarray(groups)[used] if alike else [], return_inverse=True)
    faults = [] if metric in METRICS else [unknown("metric", metric, dict(METRICS))]
    faults += [] if n_resamples >= 1 else [f"n_resamples must be at least 1, got {n_resamples}"]
    faults += [] if alike else [f"labels and groups must be one per photo, got {len(labels)}, {len(groups)}"]
    if not faults and len(names) < 2:
        faults.append(f"an honest score needs labelled photos of at least two groups, got {len(names)}")
    if faults:
        raise UserError(*faults)
    scores = [
        vote_score(choose(used[inside])(used[outside]), labels[used[outside]], metric=metric)
        for inside, outside in out_of_bag(place, n_resamples=n_resamples, seed=seed)
    ]
    if not scores:
        raise UserError(f"none of {n_resamples} resamples left out a group: too few groups or resamples for an honest score")
    low, high = np.percentile(scores, [5, 95])
    return Honest(float(np.mean(scores)), float(low), float(high), len(scores))


def optimistic_score(choose: Choose, labels: Ints, *, metric: str) -> float:
    """The score on the very photos that chose: too good, shown beside the honest one. `labels int64 (N,)`; -1 takes no part."""
    rows = np.flatnonzero(labels >= 0)
    return vote_score(choose(rows)(rows), labels[rows], metric=metric)


def vote_score(vote: Vote, labels: Ints, *, metric: str) -> float:
    """The metric of a vote on photos with `labels int64 (N,)`: of its labels, or of its shares where the metric needs them."""
    if METRICS[metric].of_counts is None:
        return METRICS[metric](vote.shares, labels)
    return score_labels(metric, vote.labels, labels, vote.shares.shape[1])


def choose_together(choices: Mapping[Place, Choose], answer: Callable[[Sequence[Place], Sequence[Vote]], Vote]) -> Choose:
    """The choice for what several ensembles answer together: each is chosen anew by its own of `choices`, then they answer.

    Args:
        choices: Place of each ensemble -> its choice; rows mean the same photos for all of them.
        answer: From places and their votes to one vote, e.g. that of the composed label.
    """
    places = list(choices)

    def choose(rows: Ints) -> Decide:
        decisions = [choices[place](rows) for place in places]
        return lambda others: answer(places, [decide(others) for decide in decisions])

    return choose
