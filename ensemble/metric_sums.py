"""What a metric is made of: votes and labels -> sums that add up over photos, groups and resamples -> the score.

For metrics of labels the sums are the cells of a confusion matrix, for log loss the log-probabilities of the true classes and the number
of photos. A score of sums is that of all photos together: macro-F1 over many small sets is too good on average, for a class that a set
does not show is left out of its mean.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS, SMALLEST_PROB
from ensemble.votes import Ints, Vote
from system.errors import UserError

Numbers = NDArray[np.float64]

LOG_LOSS = "log_loss"
RANGE = {name: (float(np.log(SMALLEST_PROB)), 0.0) if name == LOG_LOSS else (0.0, 1.0) for name in METRICS}
"""From the worst score to the best."""
FIXED = 2.0**16
"""Sums are rounded to multiples of 1 / FIXED: confusion matrices stay whole numbers, and their sums exact."""


def tally(pairs: Ints, counts: Ints, length: int) -> NDArray[np.int64]:
    """How often each number stands in `pairs`, `int64 (length,)`.

    Args:
        pairs: `int64 (n, ...)`, each 0..length-1, e.g. cells of confusion matrices.
        counts: `int64 (n, ...)` or `(n, 1, ...)`: how often a photo counts.
        length: How many numbers there are.
    """
    if (counts == 1).all():
        return np.bincount(pairs.ravel(), minlength=length)
    return np.bincount(pairs.ravel(), np.broadcast_to(counts, pairs.shape).ravel(), length).astype(np.int64)


def width(metric: str, n_classes: int) -> int:
    """X: how many sums a metric is made of."""
    return 2 if metric == LOG_LOSS else n_classes**2


def add(sums: Numbers, vote: Vote, labels: Ints, *, metric: str, row_of: Ints, weights: Numbers) -> None:
    """Count n photos into `sums (G, X)`, in place.

    Args:
        sums: One row per group, C-contiguous.
        vote: Of these photos.
        labels: `int64 (n,)`.
        metric: One of `competitions.metrics.METRICS`.
        row_of: `int64 (n,)`, the row of each photo.
        weights: `float64 (n,)`, how often each counts.
    """
    flat, start = sums.reshape(-1), row_of * sums.shape[1]
    if metric == LOG_LOSS:
        np.add.at(flat, start, true_logs(vote.shares, labels) * weights)
        np.add.at(flat, start + 1, weights)
    else:
        np.add.at(flat, start + labels * vote.shares.shape[1] + vote.labels, weights)


def true_logs(shares: Numbers, labels: Ints) -> Numbers:
    """The terms of `competitions.metrics.log_loss`, photo by photo: shares `float64 (N, C)`, at least 0 -> `float64 (N,)`."""
    return log_shares(shares[np.arange(len(labels)), labels], shares.sum(axis=1))


def log_shares(true: Numbers, total: Numbers) -> Numbers:
    """The same from the true class's share of a total, arrays of one shape."""
    logs: Numbers = np.log(np.clip(true / total, SMALLEST_PROB, 1.0))
    return logs


def scores(sums: Numbers, *, metric: str) -> Numbers:
    """The metric `float64 (R,)` of sums `(R, X)`, whole numbers where they are counts; NaN where nothing was counted."""
    of_many = METRICS[metric].of_many
    if of_many is None:
        mean: Numbers = np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)
        return mean
    n_classes = int(sums.shape[1] ** 0.5)
    matrices = sums.astype(np.int64).reshape(-1, n_classes, n_classes)
    found, counted = np.full(len(matrices), np.nan), matrices.any(axis=(1, 2))
    found[counted] = of_many(matrices[counted])
    return found


def whole(sums: Numbers, *, metric: str) -> Numbers:
    """Sums as whole multiples of 1 / FIXED, where they are counts: what order they were added in then changes nothing."""
    return sums if metric == LOG_LOSS else np.rint(sums * FIXED)


def weights_of(labels: Ints, class_weights: Sequence[float] | None) -> Numbers:
    """How often each photo counts, `float64 (n,)`: by its true class, or once.

    Raises:
        UserError: None counts.
    """
    found = np.ones(len(labels)) if class_weights is None else np.array(class_weights, dtype=np.float64)[labels]
    if len(labels) and not found.any():
        raise UserError(
            "no labelled photo counts: the test shares give all weight to classes that none of them shows; mend test_shares in the "
            "YAML, or give another --fold"
        )
    return found


def vote_score(vote: Vote, labels: Ints, *, metric: str, class_weights: Sequence[float] | None = None) -> float:
    """The metric of a vote on photos with `labels int64 (N,)`: of its labels, or of its shares where the metric needs them."""
    sums = np.zeros((1, width(metric, vote.shares.shape[1])))
    add(
        sums, vote, labels, metric=metric, row_of=np.zeros(len(labels), dtype=np.int64), weights=weights_of(labels, class_weights)
    )
    return float(scores(whole(sums, metric=metric), metric=metric)[0])
