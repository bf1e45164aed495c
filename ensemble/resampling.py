"""Groups, which are never split: names `(N,)` -> folds `(N,)`, draws `(R, G)`, and resamples with the groups left out."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ensemble.votes import Ints

Groups = Sequence[str] | NDArray[np.str_]

INTERVAL = (5.0, 95.0)
"""The percentiles of resamples that an interval of 90 % ends at."""


def group_folds(groups: Groups, *, n_folds: int, seed: int) -> Ints:
    """The fold of each of N photos, `int64 (N,)` in 0..n_folds-1 (fewer where there are fewer groups); a group is in one fold.

    Which groups share a fold depends on their names and the seed, not on the order of photos.
    """
    names, group_numbers = np.unique(np.asarray(groups), return_inverse=True)
    fold_of = np.empty(len(names), dtype=np.int64)
    fold_of[np.random.default_rng(seed).permutation(len(names))] = np.arange(len(names)) % n_folds
    folds: Ints = fold_of[group_numbers]
    return folds


def group_draws(n_groups: int, *, n_resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each group was drawn in each bootstrap resample: `float64 (R, G)`, every row sums to G; to be read only."""
    return _draws(n_groups, n_resamples, seed)


@lru_cache(maxsize=4)  # several questions about the same groups follow one another
def _draws(n_groups: int, n_resamples: int, seed: int) -> NDArray[np.float64]:
    times = drawn_groups(np.random.default_rng(seed), n_groups, n_resamples=n_resamples)
    times.flags.writeable = False
    return times


def drawn_groups(rng: np.random.Generator, n_groups: int, *, n_resamples: int) -> NDArray[np.float64]:
    """The same from a generator, never kept: `float64 (R, G)`."""
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_resamples).astype(np.float64)


def t_widening(n_groups: int, n_differing: int | NDArray[np.int64], *, sure: float, n_compared: int = 1) -> NDArray[np.float64]:
    """How much wider an interval must be than the bootstrap's own: Student's t over the normal, for few groups.

    One degree of freedom less than there are groups on which the two sides differ: a percentile bootstrap believes four lucky groups
    (Hesterberg 2015, "What teachers should know about the bootstrap", on small samples).

    Args:
        n_groups: Of all.
        n_differing: Groups on which the sides differ, one number or several `int64 (T,)`.
        sure: Where the interval's end lies for a normal mean, e.g. 0.95.
        n_compared: Sides compared with the same one at once; their level is divided by their number (Bonferroni).

    Returns:
        `float64`, of the shape of `n_differing`.
    """
    from scipy.special import stdtrit

    tails = stdtrit(np.maximum(n_differing - 1, 1), 1 - (1 - sure) / n_compared) / stdtrit(np.inf, sure)
    wider: NDArray[np.float64] = tails * (n_groups / (n_groups - 1)) ** 0.5
    return wider


def group_sums(values: NDArray[np.float64], group_numbers: NDArray[np.integer], n_groups: int) -> NDArray[np.float64]:
    """The sum over each group's photos: values `float64 (N, X)` and the groups' numbers `int (N,)` -> `float64 (G, X)`."""
    order = np.argsort(group_numbers, kind="stable")
    starts = np.searchsorted(group_numbers[order], np.arange(n_groups))
    sums = np.zeros((n_groups, values.shape[1]))
    present = np.bincount(group_numbers, minlength=n_groups) > 0
    sums[present] = np.add.reduceat(values[order], starts[present], axis=0)
    return sums


def out_of_bag(group_numbers: NDArray[np.integer], *, n_resamples: int, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Bootstrap resamples of groups: rows of the drawn groups, a photo as often as it was drawn, and rows of the groups left out.

    Args:
        group_numbers: The groups' numbers `int (N,)`, 0 to G-1, each at least once.
        n_resamples: How many are drawn; one that leaves no group out is passed over.
        seed: Of the draws.
    """
    for times in group_draws(int(group_numbers.max()) + 1, n_resamples=n_resamples, seed=seed):
        drawn = times[group_numbers].astype(np.int64)
        if (drawn == 0).any():
            yield np.repeat(np.arange(len(group_numbers)), drawn), np.flatnonzero(drawn == 0)
