"""Labelled photos weighed so that their classes are as frequent as among test photos: other class shares are no other photos.

The shares are estimated from what a model calls the photos, so they hold where only the shares differ (label shift), which is what
they are here to undo. To decide by, an estimate needs more care than this one takes.
"""

from collections.abc import Mapping

import numpy as np

from ensemble.shift.two_sample import Numbers
from ensemble.votes import Floats, Ints, ballots

PRIOR_WEIGHT = 0.02
"""Of all test photos, as many in addition stand for the labelled photos' shares, so that a rare class does not jump by chance."""
UNEVEN = 25.0
"""A photo counts at most this many times as much as another: few photos must not speak for a whole class."""


def shares_elsewhere(probs: Floats, labels: Ints, test_probs: Floats) -> Numbers:
    """The class shares `(C,)` of test photos at which the model's answers are most likely.

    Lipton, Wang & Smola 2018, "Detecting and correcting for label shift with black box predictors": how often each class is called
    what, counted on labelled photos, explains how often test photos are called what. Solved by expectation-maximisation, so that
    no share is negative.

    Args:
        probs: `float (N, C)` of labelled photos, out of fold.
        labels: `int64 (N,)` of class numbers; photos with -1 take no part.
        test_probs: `float (M, C)` of the same model.
    """
    n_classes, known = probs.shape[1], labels >= 0
    called = np.bincount(ballots(test_probs[None])[0], minlength=n_classes).astype(np.float64)
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (labels[known], ballots(probs[None])[0][known]), 1)
    shares = (counts.sum(axis=1) + 0.5) / (counts.sum() + 0.5 * n_classes)
    likely = counts + (counts.sum(axis=0) + 0.5) / (
        counts.sum() + 0.5 * n_classes
    )  # each class as if seen once more, called anything
    likely /= likely.sum(axis=1, keepdims=True)
    held, estimated = PRIOR_WEIGHT * called.sum() * shares, np.array(shares)
    for _ in range(200):
        explained = estimated[:, None] * likely
        estimated = held + (explained / explained.sum(axis=0)) @ called
        estimated /= estimated.sum()
    return estimated


def matched_weights(labels: Mapping[str, Ints], shares: Mapping[str, Numbers]) -> Numbers:
    """Weights `(N,)`, 1 on average, at which each head's classes have these shares: iterative proportional fitting over the heads.

    Args:
        labels: Head -> `int64 (N,)`; a photo with -1 keeps its weight for that head.
        shares: Head -> `(C,)`.
    """
    weights = np.ones(len(next(iter(labels.values()))))
    if not len(weights):
        return weights
    for _ in range(20):
        for head in sorted(labels):
            known = labels[head] >= 0
            if not known.any():
                continue
            have = np.bincount(labels[head][known], weights[known], minlength=len(shares[head]))
            there = shares[head] * (have > 0)
            factors = np.divide(there / there.sum() * have.sum(), have, out=np.ones_like(have), where=have > 0)
            weights[known] *= factors[labels[head][known]]
        weights = np.clip(weights / weights.mean(), UNEVEN**-0.5, UNEVEN**0.5)
    fitted: Numbers = weights / weights.mean()
    return fitted
