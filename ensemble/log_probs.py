"""Probabilities `(..., C)` -> natural logarithms `float64 (..., C)` with a floor, the same bits on every machine and in every order.

float16 writes 0 for whatever is at most 2**-25, so 0 means "at most 2**-25" and its logarithm is that of 2**-25, -17.3. Logarithms are
rounded to multiples of 2**-32: sums of up to 2**16 of them are exact, so no order of photos or voters changes a bit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOOR = 2.0**-25
FEW_ROWS = 7
"""Classes up to so many stand as rows while a softmax is taken, whose sums then are the same, one after another, and 3 times as fast."""
_GRID = 2.0**32
_ONE = int(np.float16(1).view(np.uint16))


def half_logs(half: NDArray[np.float16]) -> NDArray[np.float64]:
    """Logarithms of float16 probabilities that `votes.to_half` has checked: any shape, values in 0..1 -> `float64`, the same shape."""
    found: NDArray[np.float64] = _LOGS[half.view(np.uint16)]
    return found


def share_logs(shares: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Logarithms of shares of any float type in 0..1, which are not rounded before: any shape -> `float64`, the same shape."""
    wide: NDArray[np.float64] = np.asarray(shares, dtype=np.float64)
    return _on_grid(np.log(np.maximum(wide, FLOOR)))


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores `float64 (N, C)` on the scale of logarithms -> shares `float64 (N, C)`, rows sum to 1."""
    if scores.shape[1] > FEW_ROWS:
        grown: NDArray[np.float64] = np.exp(scores - scores.max(axis=1, keepdims=True))
        grown /= grown.sum(axis=1, keepdims=True)
        return grown
    columns = np.ascontiguousarray(scores.T)
    columns -= columns.max(axis=0)
    np.exp(columns, out=columns)
    columns /= columns.sum(axis=0)
    return np.ascontiguousarray(columns.T)


def _on_grid(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded: NDArray[np.float64] = np.rint(logs * _GRID) / _GRID
    return rounded


_LOGS = share_logs(np.arange(_ONE + 1, dtype=np.uint16).view(np.float16))  # of every float16 from 0 to 1
