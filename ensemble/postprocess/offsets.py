"""Offsets on the logarithms of a decision's shares `(N, C)`, one per class, for metrics that pay for more than being right most often.

Macro-F1 is won by naming rare classes at less than even odds (Lipton, Elkan & Naryanaswamy 2014, "Optimal thresholding of classifiers
to maximize F1 measure"). Accuracy and log loss are won by the most probable class and by the probabilities themselves: no offsets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import PerClass, metric_of
from ensemble.log_probs import share_logs, softmax
from ensemble.postprocess.calibration import DIGITS
from ensemble.resampling import Groups, group_folds
from ensemble.votes import Floats, Ints, Vote

Numbers = NDArray[np.float64]

REACH = 3.0  # offsets lie within 3 of 0, a factor of 20
SHRINKS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""By how much of what fits these photos best is taken; cross-validation chooses, the smaller of equals."""
N_FOLDS = 5
ASCENT_SWEEPS = 4


def with_offsets(shares: Floats, offsets: Sequence[float]) -> Vote:
    """The decision for the class of the greatest logarithm plus offset; shares are moved alike.

    Args:
        shares: `float (N, C)` of at least 0; less than 2**-25 counts as 2**-25.
        offsets: C numbers; all 0 change no label.
    """
    if not any(offsets):
        return Vote(shares.argmax(axis=1), np.asarray(shares, dtype=np.float64))
    moved = softmax(share_logs(shares) + np.asarray(offsets, dtype=np.float64))
    return Vote(moved.argmax(axis=1), moved)


def fit_offsets(shares: Floats, labels: Ints, groups: Groups, *, metric: str) -> tuple[float, ...]:
    """The offsets of the best score on these photos, shrunk to where they are best on held-out groups.

    Args:
        shares: `float (N, C)` of decisions on photos nobody learned from, calibrated.
        labels: `int64 (N,)`; photos with -1 take no part.
        groups: N group names, at least two of labelled photos.
        metric: One of `competitions.metrics.METRICS`; one without `part` needs none and gets zeros.
    """
    none: tuple[float, ...] = (0.0,) * shares.shape[1]
    if metric_of(metric).part is None:
        return none
    known = np.flatnonzero(labels >= 0)
    logs, truth = share_logs(shares[known]), labels[known]
    folds = group_folds(np.asarray(groups)[known], n_folds=N_FOLDS, seed=0)
    shrink = _best_shrink(logs, truth, folds, metric)
    if not shrink:
        return none
    offsets = np.round(shrink * best_offsets(logs, truth, metric=metric), DIGITS)
    return tuple(float(offset) for offset in offsets)


def best_offsets(logs: Numbers, labels: Ints, *, metric: str) -> Numbers:
    """Offsets `(C,)` by coordinate ascent, each class in turn moved to the best of all places where the score changes.

    Not regularised: `fit_offsets` is. Offsets are relative to each other, so the mean is brought to 0.

    Args:
        logs: Logarithms of shares `float64 (N, C)`.
        labels: `int64 (N,)` in 0..C-1.
        metric: One of `competitions.metrics.METRICS` with a `part`.
    """
    part = metric_of(metric).part
    assert part is not None, f"{metric} does not add up over the classes"
    offsets = np.zeros(logs.shape[1])
    truth = np.bincount(labels, minlength=len(offsets)).astype(np.float64)
    for _ in range(ASCENT_SWEEPS):
        before = offsets.copy()
        for one in map(int, np.flatnonzero(truth)):
            offsets[one] = _best_place(logs, labels, offsets, one, truth, part)
        if (offsets == before).all():
            break
    offsets -= offsets.mean()
    return offsets


def _best_place(logs: Numbers, labels: Ints, offsets: Numbers, one: int, truth: Numbers, per_class: PerClass) -> float:
    """The offset of one class at which the score is greatest, given the others'; of equal ones that nearest to where it is."""
    moved = logs + offsets
    moved[:, one] = -np.inf
    other = moved.argmax(axis=1)
    needed = moved[np.arange(len(logs)), other] - logs[:, one]  # from this offset on the photo is given to this class
    right, own, always = other == labels, labels == one, needed < -REACH
    hits, named = (np.bincount(other[rows], minlength=len(truth)).astype(np.float64) for rows in (right & ~always, ~always))
    order = np.argsort(needed)
    order = order[np.searchsorted(needed[order], -REACH) : np.searchsorted(needed[order], REACH)]
    counts = always.sum() + np.arange(len(order) + 1.0)  # when the first k photos in reach are given to it
    gained = (own & always).sum() + np.append(0.0, np.cumsum(own[order]))
    score = per_class(gained, counts, np.full(len(counts), truth[one]))
    score[1:] += np.cumsum(_losses(other[order], right[order], hits, named, truth, per_class))
    return _place(needed[order], score, float(offsets[one]))


def _losses(other: Ints, right: NDArray[np.bool_], hits: Numbers, named: Numbers, truth: Numbers, per_class: PerClass) -> Numbers:
    """How each photo's leaving changes the part of the class it leaves, in the order of leaving, `(N,)`."""
    by_class = np.argsort(other, kind="stable")
    left = other[by_class]
    first = np.searchsorted(left, left)
    gone = np.arange(len(left)) - first + 1.0
    missed = np.cumsum(right[by_class])
    missed = missed - (missed - right[by_class])[first]
    after = per_class(hits[left] - missed, named[left] - gone, truth[left])
    before = per_class(hits[left] - missed + right[by_class], named[left] - gone + 1, truth[left])
    changes = np.empty(len(left))
    changes[by_class] = after - before
    return changes


def _place(needed: Numbers, score: Numbers, current: float) -> float:
    """Between the sorted places `(n,)` where photos change, and `REACH`: a point on a stretch of the greatest score, `(n + 1,)`."""
    low, high = np.append(-REACH, needed), np.append(needed, REACH)
    wide = np.flatnonzero(high > low)
    best = wide[score[wide] >= score[wide].max() - 1e-12]
    inside = (low[best] <= current) & (current <= high[best])
    if inside.any():
        return current
    nearest = best[np.argmin(np.maximum(low[best] - current, current - high[best]))]
    return float((low[nearest] + high[nearest]) / 2)


def _best_shrink(logs: Numbers, labels: Ints, folds: Ints, metric: str) -> float:
    """The shrinkage of the best score on held-out groups; the smaller of equals."""
    score, n_classes = metric_of(metric), logs.shape[1]
    named = np.empty((len(SHRINKS), len(labels)), dtype=np.int64)
    for fold in range(folds.max() + 1):
        inside, outside = folds != fold, folds == fold
        best = best_offsets(logs[inside], labels[inside], metric=metric)
        for position, shrink in enumerate(SHRINKS):
            named[position, outside] = (logs[outside] + shrink * best).argmax(axis=1)
    return SHRINKS[int(np.argmax([score.of_named(one, labels, n_classes) for one in named]))]
