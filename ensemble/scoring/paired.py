"""Did a change help? Pairs of models on the same photos -> the difference of their scores, its interval, and a verdict.

A pair is two models that differ in one change and share fold and seed, so that whatever else moves scores moves both alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import metric_of
from ensemble.metric_sums import SumsToCome, needed_of
from ensemble.resampling import INTERVAL, drawn_groups
from ensemble.votes import Floats, Ints, Vote, ballots, to_half

HELPS, HURTS, UNDECIDED = "helps", "hurts", "not beyond noise"
ALONE = "one pair: ask another seed"
"""No verdict: what another seed would have changed is unknown, and it is often more than what a change does."""
VERDICT = (2.5, 97.5)
"""Percentiles: a change without effect is called helpful or harmful in 5 % of cases, nominally."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Two models of the same fold and seed on the N photos that both were judged on; rows mean the same photo everywhere.

    Attributes:
        image_ids: N ids; pairs with the same ones are resampled alike.
        groups: N group names.
        labels: Head -> `int64 (N,)`, -1 where there is none.
        before: Head -> `float (N, C)` probabilities of the model without the change.
        after: Head -> `float (N, C)` of the model with it.
    """

    image_ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: Mapping[str, Ints]
    before: Mapping[str, Floats]
    after: Mapping[str, Floats]


@dataclass(frozen=True)
class Spread:
    """How far the differences of pairs of one change lie apart: the noise of another seed or fold.

    Attributes:
        sd: Standard deviation of one pair's difference, in the metric's unit.
        dof: Degrees of freedom it was estimated with.
    """

    sd: float
    dof: int


@dataclass(frozen=True)
class Difference:
    """After minus before, in the metric's unit; above 0 is better.

    Attributes:
        mean: Over the pairs, on the photos they share.
        low: The 5 % percentile over the resamples.
        high: Their 95 % percentile.
        verdict: `HELPS` or `HURTS` where the range from 2.5 % to 97.5 % leaves out 0, else `UNDECIDED`; `ALONE` without a spread.
    """

    mean: float
    low: float
    high: float
    verdict: str


def difference(pair: Pair, metric: str) -> float:
    """The metric after the change minus before it, averaged over the heads, on the labelled photos of a pair."""
    once = np.ones((1, len(set(pair.groups))))
    return float(_differences(pair, metric, once)[0])


def spread_of(differences: Sequence[Sequence[float]]) -> Spread | None:
    """The spread of pairs around the mean of their change, pooled over changes; `None` where no change has two pairs."""
    dof = sum(len(of_change) - 1 for of_change in differences)
    if dof < 1:
        return None
    squares = sum(float(np.sum((np.array(of_change) - np.mean(of_change)) ** 2)) for of_change in differences)
    return Spread((squares / dof) ** 0.5, dof)


def compare(
    pairs: Sequence[Pair], *, metric: str, seed: int, spread: Spread | None = None, n_resamples: int = 1000
) -> Difference:
    """The mean difference of some pairs of one change, with the noise of photos and, where it is known, of seeds.

    Each resample draws as many groups as there are, with replacement and the same for both sides and for all pairs on the same
    photos, and averages the pairs' differences. Around the mean, it is widened twice:

    * by Student's t with one degree of freedom less than there are groups on which the sides differ at all: a percentile
      bootstrap believes four lucky groups (Hesterberg 2015, "What teachers should know about the bootstrap", on small samples);
    * by `spread`, again as t. Photo noise of its own that each pair has is then counted twice, so verdicts are rather too
      rare than too frequent. With one pair and no spread from others, the noise of another seed is not in the interval, so there
      is no verdict: where a seed moves the share of errors by 0.03, 195 of 1,000 changes without effect would get one (a long test).

    Args:
        pairs: At least one, of at least two groups together.
        metric: One of `competitions.metrics.METRICS`.
        seed: Of the resamples.
        spread: Of single pairs, e.g. `spread_of` all changes that share the base.
        n_resamples: How many.
    """
    id_sets = sorted({pair.image_ids for pair in pairs})
    groups = [set(next(pair.groups for pair in pairs if pair.image_ids == ids)) for ids in id_sets]
    n_groups, n_differing = sum(map(len, groups)), _differing(pairs, metric)
    n_resamples = metric_of(metric).resamples(n_resamples)
    rng = np.random.default_rng(seed)
    drawn = {ids: drawn_groups(rng, len(names), n_resamples=n_resamples) for ids, names in zip(id_sets, groups, strict=True)}
    mean = float(np.mean([difference(pair, metric) for pair in pairs]))
    resampled = np.mean([_differences(pair, metric, drawn[pair.image_ids]) for pair in pairs], axis=0)
    dof = max(1, n_differing - 1)
    tails = np.sqrt(dof / rng.chisquare(dof, n_resamples)) * np.sqrt(n_groups / (n_groups - 1))
    noise = spread.sd / np.sqrt(len(pairs)) * rng.standard_t(spread.dof, n_resamples) if spread else 0.0
    scattered = mean + (resampled - mean) * tails + noise
    scattered = scattered[np.isfinite(scattered)]  # a resample without any labelled photo says nothing
    low, high = np.percentile(scattered, INTERVAL)
    least, most = np.percentile(scattered, VERDICT)
    verdict = HELPS if least > 0 else HURTS if most < 0 else UNDECIDED
    return Difference(mean, float(low), float(high), verdict if spread else ALONE)


def _differences(pair: Pair, metric: str, times: Numbers) -> Numbers:
    """`(R,)`: the difference in each resample, given how often it drew each group `(R, G)`; NaN where it drew no label."""
    _, group_numbers = np.unique(np.asarray(pair.groups), return_inverse=True)
    by_head = []
    for head, labels in pair.labels.items():
        rows = np.flatnonzero(labels >= 0)
        scores = [
            _scores(to_half(side[head][rows]), labels[rows], group_numbers[rows], times, metric)
            for side in (pair.after, pair.before)
        ]
        by_head.append(scores[0] - scores[1])
    heads = np.array(by_head)
    there = np.isfinite(heads)
    n_heads = there.sum(axis=0)
    total = np.where(there, heads, 0.0).sum(axis=0)
    mean: Numbers = np.divide(total, n_heads, out=np.full(len(times), np.nan), where=n_heads > 0)
    return mean


def _scores(probs: NDArray[np.float16], labels: Ints, group_numbers: NDArray[np.integer], times: Numbers, metric: str) -> Numbers:
    """`(R,)` scores of one head; those of all resamples come from one product where the metric has sums."""
    sums = SumsToCome(metric, probs.shape[1], times.shape[1])
    vote = needed_of(Vote(ballots(probs[None])[0], probs.astype(np.float64)), metric)
    sums.add(vote, labels, groups=group_numbers.astype(np.int64), weights=np.ones(len(labels)))
    return sums.done().scores(times)


def _differing(pairs: Sequence[Pair], metric: str) -> int:
    """On how many groups some pair's sides give different answers (or probabilities, where the metric needs them)."""
    differing = set()
    for pair in pairs:
        groups = np.asarray(pair.groups)
        for head, labels in pair.labels.items():
            before, after = to_half(pair.before[head]), to_half(pair.after[head])
            if metric_of(metric).judges_labels:
                differs = ballots(before[None])[0] != ballots(after[None])[0]
            else:
                differs = (before != after).any(axis=1)
            differing |= {(pair.image_ids[0], group) for group in groups[differs & (labels >= 0)]}
    return len(differing)
