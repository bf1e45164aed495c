"""Numbers `(N, C)` that somebody calls probabilities -> float16 `(N, C)` as a trial's predictions are kept, or which rows are none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.answers import SUM_SLACK
from system.errors import listed

ROUNDING, SMALLEST = 2**-11 + 1e-6, 2**-25
"""What rounding to float16 can take from a row that sums to 1: half a unit in the last place of each number, 2^-11 of it, and half of
the smallest number for each that is below 2^-14. Such a row stays as it is: exported predictions of a trial come back bit by bit."""


def placed(numbers: NDArray[np.floating[Any]], class_numbers: Sequence[int], n_classes: int) -> NDArray[np.float64]:
    """Columns `(N, c)` at their class numbers: `float64 (N, C)`, 0 for a class that has no column."""
    wide = np.zeros((len(numbers), n_classes))
    wide[:, class_numbers] = numbers
    return wide


def rounded(
    image_ids: Sequence[str], numbers: NDArray[np.float64], judged: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float16], list[str]]:
    """Probabilities as they are kept, and a sentence for each rule that rows break.

    Args:
        image_ids: N ids, for the sentences.
        numbers: `(N, C)`, columns in the order of the classes: the order of a file's columns must not change the sums.
        judged: `(N,) bool`, the rows that sentences are about; all of them for `None`.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.isfinite(numbers).all(axis=1)
        negative = finite & (numbers < 0).any(axis=1)
        total = numbers.sum(axis=1)
        off = finite & ~negative & ~(np.abs(total - 1) <= SUM_SLACK)
        faults = [
            f"{rule}, {wrong.sum()} rows {do}: {listed(image_ids[row] for row in np.flatnonzero(wrong).tolist())}"
            for rule, broken, do in (
                ("probabilities must be numbers", ~finite, "have an empty cell, a NaN or an infinite one"),
                ("probabilities must not be negative", negative, "have one that is"),
                (f"a row's probabilities must sum to 1 within {SUM_SLACK}", off, "do not"),
            )
            if (wrong := broken if judged is None else broken & judged).any()
        ]
        apart = np.abs(total - 1) > ROUNDING + SMALLEST * numbers.shape[1]
        even = np.where(apart[:, None], numbers / np.where(apart, total, 1)[:, None], numbers)
        return (even + 0.0).astype(np.float16), faults


def class_numbers_of(columns: Sequence[str], classes: Sequence[str]) -> list[int] | None:
    """The class numbers that columns are called by, all by name or all by number; names win where both are possible.

    >>> class_numbers_of(["old", "young"], ["young", "old"])
    [1, 0]
    >>> class_numbers_of(["1"], ["young", "old"]), class_numbers_of(["2"], ["young", "old"])
    ([1], None)
    """
    numbered: Mapping[str, int] = {str(number): number for number in range(len(classes))}
    for known in ({name: number for number, name in enumerate(classes)}, numbered):
        if columns and all(column in known for column in columns):
            return [known[column] for column in columns]
    return None
