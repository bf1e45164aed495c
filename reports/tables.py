"""Tables whose cells are shaded by how much they hold: counts become rows for the page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
DEEPEST = 42
"""Per cent of the accent colour in the fullest cell: text on it keeps a contrast of 4.5 by day and by night."""


@dataclass(frozen=True)
class Cell:
    """What stands in it, how deep it is shaded (0 to `DEEPEST`), and whether it lies on the diagonal."""

    text: str
    depth: int
    diagonal: bool = False


def count_cells(counts: Counts) -> list[list[Cell]]:
    """Counts `(C, C)` with each row shaded by its shares: what becomes of the photos of a class."""
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    depths = np.round(DEEPEST * counts / totals).astype(int)
    return [
        [Cell(str(n) if n else "·", int(depth), row == column) for column, (n, depth) in enumerate(zip(ns, own, strict=True))]
        for row, (ns, own) in enumerate(zip(counts.tolist(), depths.tolist(), strict=True))
    ]


def share_cells(shares: NDArray[np.float64]) -> list[list[Cell]]:
    """Shares `(K, K)` in [0, 1], shaded from the smallest of them to the greatest."""
    low, high = float(shares.min()), float(shares.max())
    depths = np.round(DEEPEST * (shares - low) / ((high - low) or 1.0)).astype(int)
    return [
        [Cell(f"{share:.0%}", int(depth), row == column) for column, (share, depth) in enumerate(zip(own, deep, strict=True))]
        for row, (own, deep) in enumerate(zip(shares.tolist(), depths.tolist(), strict=True))
    ]


def most_confused(before: Counts, after: Counts, classes: Sequence[str], most: int) -> list[tuple[str, str, int, int]]:
    """The pairs of a true class and a wrong answer that occur most: (truth, answer, photos before, photos after)."""
    wrong = before + after
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(at), len(classes)) for at in order if wrong.flat[at]]
    return [(classes[true], classes[said], int(before[true, said]), int(after[true, said])) for true, said in pairs]
