"""The nearest training photo of each photo: features `float32 (n, D)` to cosine similarities, block by block."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.splits import PINNED

Floats = NDArray[np.float32]
BLOCK = 512
"""Photos asked at once: with 20,000 training photos a block of similarities takes 41 MB."""


def normalised(features: Floats) -> Floats:
    """Rows of length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: Floats = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


def nearest_by_fold(
    asked: Floats, training: Floats, foldings: Sequence[NDArray[np.int8]], together: NDArray[np.int64]
) -> list[Floats]:
    """How similar the nearest photo of each fold is, for each way to cut the training photos.

    Args:
        asked: `(n, D)`, normalised.
        training: `(N, D)`, normalised.
        foldings: Each `(N,)`, the fold of each training photo, `PINNED` for those that are in training always.
        together: `(N,)` numbers, each of 0 to G - 1; photos with the same one are in one fold by each folding, so they are looked at once.

    Returns:
        Per folding `(n, F + 1)`: column f for fold f, the last for pinned photos; -1 where there is none.
    """
    order, starts = _side_by_side(together)
    ordered, first = training[order], order[starts]
    cuts = [_Columns(fold[first]) for fold in foldings]
    found = [np.full((len(asked), cut.width), -1.0, np.float32) for cut in cuts]
    for start in range(0, len(asked), BLOCK):
        block = np.maximum.reduceat(asked[start : start + BLOCK] @ ordered.T, starts, axis=1)
        for cut, into in zip(cuts, found, strict=True):
            into[start : start + BLOCK, cut.present] = np.maximum.reduceat(block[:, cut.order], cut.starts, axis=1)
    return found


def _side_by_side(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order in which equal numbers, 0 to G - 1, stand side by side, and where each begins in it."""
    order = np.argsort(numbers, kind="stable")
    return order, np.searchsorted(numbers[order], np.arange(numbers.max() + 1))


@dataclass(frozen=True)
class Nearest:
    """Of n photos, in each of E trainings, the nearest photo.

    Attributes:
        first: `(n, E)` its similarity.
        second: `(n, E)` that of the nearest photo of any other group; -1 where there is none.
        group: `(n, E)` the number of the group of the first.
    """

    first: Floats
    second: Floats
    group: NDArray[np.int64]


def two_nearest(
    asked: Floats, training: Floats, excluded: NDArray[np.int8], fold: NDArray[np.int8], group: NDArray[np.int64]
) -> Nearest:
    """The nearest photo, and the nearest one of another group, in training without some fold.

    Args:
        asked: `(n, D)`, normalised.
        training: `(N, D)`, normalised.
        excluded: `(n, E)`: the fold that is left out of each of E trainings.
        fold: `(N,)` of the training photos.
        group: `(N,)` their group numbers, each of 0 to G - 1.
    """
    order, starts = _side_by_side(group)
    ordered, folds = training[order], fold[order]
    first, second = (np.empty(excluded.shape, np.float32) for _ in range(2))
    of = np.empty(excluded.shape, np.int64)
    for start in range(0, len(asked), BLOCK):
        rows = slice(start, start + BLOCK)
        block = asked[rows] @ ordered.T
        each = np.arange(len(block))
        for number in range(excluded.shape[1]):
            there = np.where(folds == excluded[rows, number, None], np.float32(-1), block)
            by_group = np.maximum.reduceat(there, starts, axis=1)
            of[rows, number] = top = by_group.argmax(axis=1)
            first[rows, number] = by_group[each, top]
            by_group[each, top] = -1
            second[rows, number] = by_group.max(axis=1)
    return Nearest(first, second, of)


def to_training(nearest: Floats, fold: NDArray[np.int8]) -> Floats:
    """What the nearest photo outside of each photo's own fold has, `(n,)`.

    Args:
        nearest: `(n, F + 1)` of `nearest_by_fold`.
        fold: `(n,)`, the fold each photo validates.
    """
    others = nearest.copy()
    others[np.arange(len(fold)), fold] = -1.0
    found: Floats = others.max(axis=1)
    return found


class _Columns:
    """The columns of one folding, those of a fold side by side."""

    def __init__(self, fold: NDArray[np.int8]) -> None:
        n_folds = int(fold.max(initial=0)) + 1
        column = np.where(fold == PINNED, n_folds, fold)
        self.width, self.order = n_folds + 1, np.argsort(column, kind="stable")
        self.present, self.starts = np.unique(column[self.order], return_index=True)
