"""Counting pairs of classes, each photo as often as it counts: what every score of labels is made from."""

import numpy as np
from numpy.typing import NDArray

from ensemble.votes import Ints


def tally(pairs: Ints, counts: Ints, length: int) -> NDArray[np.int64]:
    """How often each number stands in `pairs`, `int64 (length,)`.

    Args:
        pairs: `int64 (n, ...)`, each 0..length-1.
        counts: `int64 (n, ...)` or `(n, 1, ...)`: how often a photo counts.
        length: How many numbers there are.
    """
    if (counts == 1).all():
        return np.bincount(pairs.ravel(), minlength=length)
    return np.bincount(pairs.ravel(), np.broadcast_to(counts, pairs.shape).ravel(), length).astype(np.int64)
