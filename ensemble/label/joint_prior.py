"""Composed labels `(N,)` of the training photos -> how often each combination of the tasks' classes occurs, C shares."""

import numpy as np
from numpy.typing import NDArray

from competitions.labels import Composition, decompose
from ensemble.votes import Ints

HALF = 0.5
"""Photos added to each class of a task, and on average to each composed class."""
UNITS = 2.0**32
"""Shares are multiples of 1 / UNITS, at least one: they sum to exactly 1 in any order, and no combination is ruled out."""


def fit_joint(table: Composition, labels: Ints, times: Ints | None = None) -> tuple[float, ...]:
    """The composed classes' shares among training photos, smoothed towards tasks that are independent.

    Half a photo is added to each class of each task, and C / 2 photos to the composed classes, spread over them like the product of the
    tasks' shares: a combination nobody has seen is as rare as its parts make it, and the more photos there are the rarer.

    Args:
        table: C composed classes.
        labels: Composed labels `int64 (N,)`; photos with -1 take no part.
        times: `int64 (N,)`, how often each photo counts; once for `None`.

    Returns:
        C shares above 0, multiples of 2**-32 that sum to exactly 1, in the order of `label_classes`.

    Raises:
        UserError: A label is not one of the composed classes.
    """
    parts = decompose(table, labels)
    known = labels >= 0
    weights = known.astype(np.float64) if times is None else np.where(known, times, 0).astype(np.float64)
    counts = np.bincount(np.maximum(labels, 0), weights, table.n_classes)
    shares = []
    for task, size in zip(table.tasks, table.sizes, strict=True):
        own = np.bincount(np.maximum(parts[task], 0), weights, size) + HALF
        shares.append(own / own.sum())
    apart = shares[0]
    for own in shares[1:]:
        apart = np.multiply.outer(apart, own).ravel()
    added = HALF * table.n_classes
    return _in_units((counts + added * apart) / (counts.sum() + added))


def _in_units(shares: NDArray[np.float64]) -> tuple[float, ...]:
    units = np.maximum(np.rint(shares * UNITS), 1.0)
    units[units.argmax()] += UNITS - units.sum()
    return tuple((units / UNITS).tolist())
