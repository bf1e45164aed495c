"""The classifier two-sample test: how well photos of one side are told from those of another, an AUC per classifier.

Both tests judge a group by others only, never by itself: photos of one group always resemble one another. `Looker.tell` is called
once for the true sides and once for each assignment drawn in its place, so all that does not depend on sides is computed ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ensemble.votes import Ints

Numbers = NDArray[np.float64]

FOREIGN, SEPARATED = "unlike any labelled photo", "told apart by a linear classifier"
TESTS = (FOREIGN, SEPARATED)
NEAREST = 48
"""Groups kept in order of distance per photo: among drawn ones the nearest is nearly always one of these, else all are searched."""
COMPONENTS, RIDGE, N_PARTS, N_ROUNDS = 32, 0.1, 3, 2
"""Of the linear classifier: principal components, its ridge in their mean variance, parts of the groups, and how often they are cut."""


@dataclass(frozen=True)
class PooledRows:
    """The photos of both sides, as one member sees them.

    Attributes:
        columns: `float64 (N, D)`, standardised.
        group_numbers: `int64 (N,)`, sorted: the number of each photo's group.
        weights: `float64 (N,)`: how much a photo counts within its group.
        labelled: `float64 (G,)`: by how much a group's photos count on the labelled side.
        tested: `float64 (G,)`: and on the test side.
    """

    columns: Numbers
    group_numbers: Ints
    weights: Numbers
    labelled: Numbers
    tested: Numbers


class Looker:
    """One pool, ready to be asked for many assignments of its G groups to the two sides."""

    def __init__(self, pool: PooledRows) -> None:
        self._pool, self._n_groups = pool, len(pool.labelled)
        self._nearest = _nearest(pool.columns, pool.group_numbers, self._n_groups)
        self._order = np.argsort(self._nearest, axis=1, kind="stable")[:, :NEAREST]
        self._ahead = np.take_along_axis(self._nearest, self._order, axis=1)
        self._components = _principal(pool.columns, pool.weights)
        self._sums = _sums(self._components, pool.group_numbers, pool.weights, self._n_groups)

    def tell(self, labelled: Ints, tested: Ints, rng: np.random.Generator) -> Numbers:
        """The AUC of each of `TESTS`, 0.5 for sides that cannot be told apart; NaN for the classifier where a side has one group.

        Args:
            labelled: Numbers of the groups on the labelled side, at least two, ascending.
            tested: Numbers of those on the test side, at least one.
            rng: Cuts the groups into parts.
        """
        return np.array([self.foreign(labelled, tested), self._separated(labelled, tested, rng)])

    def foreign(self, labelled: Ints, tested: Ints) -> float:
        """How often a test photo is further from the labelled ones than a labelled photo is from those of other groups.

        The nearest neighbour as a classifier of one class (Tax & Duin 2004, "Support vector data description", compares some). A
        labelled photo has one group less to find a neighbour in; so has each test photo, on average over the group that is missing.
        """
        mine, theirs = self._rows(labelled), self._rows(tested)
        near, n = self._two_nearest(theirs, labelled), len(labelled)
        far = near[:, 0] * (n - 1) / n + near[:, 1] / n
        return self._auc(mine, self._two_nearest(mine, labelled)[:, 0], theirs, far)

    def _two_nearest(self, rows: Ints, groups: Ints) -> Numbers:
        """The distances `(n, 2)` of photos to the nearest two of these groups, their own left out; infinite where there is none."""
        among = np.zeros(self._n_groups, dtype=bool)
        among[groups] = True
        hits, each = among[self._order[rows]], np.arange(len(rows))
        first = hits.argmax(axis=1)
        hits[each, first] = False
        second = hits.argmax(axis=1)
        distances = np.stack([self._ahead[rows, first], self._ahead[rows, second]], axis=1).astype(np.float64)
        short = np.flatnonzero(~hits[each, second])
        if len(short):
            padded = np.column_stack([self._nearest[np.ix_(rows[short], groups)], np.full((len(short), 2), np.inf)])
            distances[short] = np.partition(padded, 1, axis=1)[:, :2]
        return distances

    def _separated(self, labelled: Ints, tested: Ints, rng: np.random.Generator) -> float:
        """A linear discriminant, taught on some groups of both sides and asked about the others."""
        n_parts = min(N_PARTS, len(labelled), len(tested))
        if n_parts < 2:
            return np.nan
        cuts = [[rng.permutation(len(side)) % n_parts for side in (labelled, tested)] for _ in range(N_ROUNDS)]
        left_out = [
            [side[part_of == part] for side, part_of in zip((labelled, tested), cut, strict=True)]
            for cut in cuts
            for part in range(n_parts)
        ]
        directions = self._discriminants(labelled, tested, left_out)
        aucs = []
        for groups, direction in zip(left_out, directions, strict=True):
            mine, theirs = (self._rows(side) for side in groups)
            aucs.append(self._auc(mine, self._components[mine] @ direction, theirs, self._components[theirs] @ direction))
        return float(np.mean(aucs))

    def _discriminants(self, labelled: Ints, tested: Ints, left_out: Sequence[Sequence[Ints]]) -> list[Numbers]:
        """Fisher's direction `(D,)` with a ridge, once for each pair of groups of both sides that are left out.

        Each group's sums are there already, so a refit reads no photo; all refits are one product with them.
        """
        shares = np.zeros((2, len(left_out), self._n_groups))
        for side, groups, counts in ((0, labelled, self._pool.labelled), (1, tested, self._pool.tested)):
            shares[side][:, groups] = counts[groups]
            for row, pair in zip(shares[side], left_out, strict=True):
                row[pair[side]] = 0.0
        sums = (shares.reshape(-1, self._n_groups) @ self._sums).reshape(2, len(left_out), -1)
        return [_discriminant(one, other) for one, other in zip(*sums, strict=True)]

    def _rows(self, groups: Ints) -> Ints:
        there = np.zeros(self._n_groups, dtype=bool)
        there[groups] = True
        return np.flatnonzero(there[self._pool.group_numbers])

    def _auc(self, mine: Ints, near: Numbers, theirs: Ints, far: Numbers) -> float:
        group_numbers, weights = self._pool.group_numbers, self._pool.weights
        return weighted_auc(
            near,
            far,
            weights[mine] * self._pool.labelled[group_numbers[mine]],
            weights[theirs] * self._pool.tested[group_numbers[theirs]],
        )


def weighted_auc(low: Numbers, high: Numbers, low_weights: Numbers, high_weights: Numbers) -> float:
    """The share of pairs, by weight, in which a value of `high (m,)` exceeds one of `low (n,)`; equal values count half."""
    order = np.argsort(low, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(low_weights[order])])
    ranks = (below[np.searchsorted(low[order], high, "left")] + below[np.searchsorted(low[order], high, "right")]) / 2
    return float(ranks @ high_weights / (below[-1] * high_weights.sum()))


def _nearest(columns: Numbers, group_numbers: Ints, n_groups: int) -> NDArray[np.float32]:
    """The distance of each photo to the nearest one of each group, `float32 (N, G)`; infinite for its own."""
    squares = (columns**2).sum(axis=1)
    starts = np.searchsorted(group_numbers, np.arange(n_groups))
    nearest = np.empty((len(columns), n_groups), dtype=np.float32)
    for start in range(0, len(columns), 500):  # 500 x 3,000 distances at once: 12 MB
        rows = slice(start, start + 500)
        distances = squares[rows, None] + squares - 2 * columns[rows] @ columns.T
        nearest[rows] = np.sqrt(np.maximum(np.minimum.reduceat(distances, starts, axis=1), 0))
    nearest[np.arange(len(group_numbers)), group_numbers] = np.inf
    return nearest


def _principal(columns: Numbers, weights: Numbers) -> Numbers:
    """The first principal components, `(N, <=32)`."""
    centred = columns - weights @ columns / weights.sum()
    _, vectors = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    components: Numbers = centred @ vectors[:, ::-1][:, :COMPONENTS]
    return components


def _sums(columns: Numbers, group_numbers: Ints, weights: Numbers, n_groups: int) -> Numbers:
    """Per group the weighted sums of 1, x and the upper half of x x^T, flat: `(G, 1 + D + D (D + 1) / 2)`."""
    starts = np.searchsorted(group_numbers, np.arange(n_groups))
    weighted = columns * weights[:, None]
    products = np.stack([w.T @ x for w, x in zip(np.split(weighted, starts[1:]), np.split(columns, starts[1:]), strict=True)])
    sums = np.add.reduceat(np.column_stack([weights, weighted]), starts, axis=0)
    rows, others = _upper(columns.shape[1])
    return np.column_stack([sums, products[:, rows, others]])


@cache
def _upper(width: int) -> tuple[Ints, Ints]:
    """Where the upper half of a square matrix stands."""
    return np.triu_indices(width)


def _discriminant(one: Numbers, other: Numbers) -> Numbers:
    """Fisher's direction `(D,)` from the sums of both sides."""
    (mean_one, spread_one), (mean_other, spread_other) = _moments(one), _moments(other)
    spread = (spread_one + spread_other) / 2
    ridge = RIDGE * np.trace(spread) / len(spread) + 1e-9
    direction: Numbers = np.linalg.solve(spread + ridge * np.eye(len(spread)), mean_other - mean_one)
    return direction


def _moments(sums: Numbers) -> tuple[Numbers, Numbers]:
    """Mean `(D,)` and covariance `(D, D)` from the flat sums of 1, x and the upper half of x x^T."""
    width = int(np.sqrt(2 * len(sums) + 0.25) - 1.5 + 1e-9)  # 1 + D + D (D + 1) / 2 numbers
    mean, (rows, others) = sums[1 : 1 + width] / sums[0], _upper(width)
    products = np.empty((width, width))
    products[rows, others] = products[others, rows] = sums[1 + width :] / sums[0]
    return mean, products - np.outer(mean, mean)
