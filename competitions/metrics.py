"""Metrics: `probs (N, C)` and `labels (N,)` to one number, greater is better.

The convention for classes that do not occur: macro-F1 and balanced accuracy average over the classes that occur in the
TRUTH. The denominator is therefore the same whatever is predicted: predicting a class that never occurs costs recall of the
true one and adds no class to the mean. (scikit-learn's default averages over the classes of truth AND prediction, so one
stray prediction of an absent class moves the denominator and two files cannot be compared.) A class number is the position
of the largest probability; of equal ones the lowest class number wins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Probs = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]
SMALLEST_PROB = 1e-7  # float16 probabilities under 6e-8 are 0: without a floor one such photo makes the score -inf


@dataclass(frozen=True)
class Metric:
    """One way to score, called as `metric(probs, labels)`.

    Attributes:
        name: Its key in `METRICS`.
        function: `probs (N, C) float`, `labels (N,) int` -> score; both have been checked.
        of_counts: The same score from a confusion matrix `(C, C) int64` (truth down, prediction across); None where the
            score needs probabilities.
        of_many: The same from many at once: `(S, C, C) int64` -> `float64 (S,)`; None where `of_counts` is.
        of_margins: The same from what a confusion matrix has in its diagonal and in its sums, `(S, 3, C) int64` (`margins`): memory
            grows with the classes and not with their square.
    """

    name: str
    function: Callable[[Probs, Labels], float]
    of_counts: Callable[[Counts], float] | None = None
    of_many: Callable[[Counts], NDArray[np.float64]] | None = None
    of_margins: Callable[[Counts], NDArray[np.float64]] | None = None

    def __call__(self, probs: Probs, labels: Labels) -> float:
        """The score of `probs (N, C) float` against `labels (N,) int` in 0..C-1.

        Raises:
            ValueError: There are no photos, shapes do not fit, a probability is not finite or a label is out of range.
        """
        if probs.ndim != 2:
            raise ValueError(f"probs must be (N, C), got shape {probs.shape}")
        _check_classes("labels", labels, probs.shape[1])
        if len(probs) != len(labels):
            raise ValueError(f"probs and labels must have one row per photo, got {len(probs)} and {len(labels)}")
        if not np.isfinite(probs).all():
            raise ValueError(f"probs must be finite, {int((~np.isfinite(probs)).any(axis=1).sum())} of {len(probs)} rows are not")
        return self.function(probs, labels)


def confusion(predicted: Labels, labels: Labels, n_classes: int) -> Counts:
    """How often each class was taken for each: `(C, C) int64`, truth down, prediction across.

    Args:
        predicted: `(N,) int` in 0..C-1.
        labels: `(N,) int` in 0..C-1.
        n_classes: C.
    """
    pairs = labels.astype(np.int64) * n_classes + predicted
    return np.bincount(pairs, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def margins(counts: Counts) -> Counts:
    """Confusion matrices `(..., C, C)` -> `(..., 3, C)`: how many photos of each class are right, are there, and are named so."""
    return np.stack([np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)], axis=-2)


def label_margins(predicted: Labels, labels: Labels, n_classes: int, times: Labels | None = None) -> Counts:
    """The `margins` of one confusion matrix, `(3, C) int64`, which is never made.

    Args:
        predicted: `(N,) int` in 0..C-1.
        labels: `(N,) int` in 0..C-1.
        n_classes: C.
        times: `(N,) int`, how often each photo counts; once each for `None`.
    """
    hit = predicted == labels
    counted = [(labels[hit], hit), (labels, slice(None)), (predicted, slice(None))]
    return np.stack(
        [np.bincount(which, None if times is None else times[rows], n_classes).astype(np.int64) for which, rows in counted]
    )


def accuracy(sums: Counts) -> NDArray[np.float64]:
    """The share of right photos, from `margins` `(..., 3, C)`."""
    right, truth, _ = np.moveaxis(sums, -2, 0)
    share: NDArray[np.float64] = right.sum(axis=-1) / truth.sum(axis=-1)
    return share


def balanced_accuracy(sums: Counts) -> NDArray[np.float64]:
    """The mean recall over the classes that occur in the truth, from `margins` `(..., 3, C)`."""
    right, truth, _ = np.moveaxis(sums, -2, 0)
    return _mean_where(truth > 0, right / np.maximum(truth, 1))


def macro_f1(sums: Counts) -> NDArray[np.float64]:
    """The mean F1 = 2 TP / (truth + predicted) over the classes that occur in the truth, from `margins` `(..., 3, C)`."""
    right, truth, named = np.moveaxis(sums, -2, 0)
    return _mean_where(truth > 0, 2 * right / np.maximum(truth + named, 1))


def _mean_where(occurs: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.where(occurs, values, 0.0).sum(axis=-1) / occurs.sum(axis=-1)
    return mean


def log_loss(probs: Probs, labels: Labels) -> float:
    """The mean log-probability of the true class, at most 0 (the usual log loss, negated).

    Rows are renormalised in float64, then probabilities under 1e-7 count as 1e-7.

    Args:
        probs: `(N, C) float`, not negative, no row all zero.
        labels: `(N,) int` in 0..C-1.
    """
    wide = probs.astype(np.float64)
    total = wide.sum(axis=1)
    if (wide < 0).any() or (total <= 0).any():
        raise ValueError("log_loss needs probabilities: no negative values and no row that is all zero")
    true = wide[np.arange(len(labels)), labels] / total
    return float(np.log(np.clip(true, SMALLEST_PROB, 1.0)).mean())


def _check_classes(what: str, values: Labels, n_classes: int) -> None:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"{what} must be whole numbers (N,), got {values.dtype} of shape {values.shape}")
    if len(values) == 0:
        raise ValueError(f"{what} must hold at least one photo, got none")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= n_classes:
        raise ValueError(f"{what} must be 0..{n_classes - 1}, got {low if low < 0 else high}")


def _counting(name: str, of_margins: Callable[[Counts], NDArray[np.float64]]) -> Metric:
    def of_many(counts: Counts) -> NDArray[np.float64]:
        return of_margins(margins(counts))

    def of_counts(counts: Counts) -> float:
        return float(of_many(counts))

    def function(probs: Probs, labels: Labels) -> float:
        return float(of_margins(label_margins(probs.argmax(axis=1), labels, probs.shape[1])))

    return Metric(name, function, of_counts, of_many, of_margins)


METRICS: dict[str, Metric] = {
    "macro_f1": _counting("macro_f1", macro_f1),
    "accuracy": _counting("accuracy", accuracy),
    "balanced_accuracy": _counting("balanced_accuracy", balanced_accuracy),
    "log_loss": Metric("log_loss", log_loss),
}
