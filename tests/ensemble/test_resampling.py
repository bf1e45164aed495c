"""Folds and draws of groups: whole, even, and blind to the order of photos."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ensemble.resampling import group_draws, group_folds, group_sums

names = st.lists(st.sampled_from([f"g{i}" for i in range(12)]), min_size=2, max_size=60).filter(lambda found: len(set(found)) > 1)


@given(names, st.integers(2, 6), st.integers(0, 99))
def test_groups_are_whole_folds_even_and_order_is_nothing(groups: list[str], n_folds: int, seed: int) -> None:
    folds = group_folds(groups, n_folds=n_folds, seed=seed)
    fold_of = dict(zip(groups, folds.tolist(), strict=True))
    assert folds.tolist() == [fold_of[group] for group in groups]
    counts = np.bincount(list(fold_of.values()))
    assert len(counts) == min(n_folds, len(fold_of))
    assert np.ptp(counts) <= 1
    np.testing.assert_array_equal(group_folds(groups[::-1], n_folds=n_folds, seed=seed), folds[::-1])


@given(names)
def test_sums_are_those_of_each_group(groups: list[str]) -> None:
    values = np.arange(2.0 * len(groups)).reshape(-1, 2)
    group_numbers = np.array([int(group[1:]) for group in groups])
    np.testing.assert_array_equal(
        group_sums(values, group_numbers, 12), [values[group_numbers == g].sum(axis=0) for g in range(12)]
    )


def test_as_many_groups_are_drawn_as_there_are() -> None:
    times = group_draws(7, n_resamples=50, seed=0)
    assert (times.sum(axis=1) == 7).all()
    assert 0.3 < (times == 0).mean() < 0.4
    np.testing.assert_array_equal(times, group_draws(7, n_resamples=50, seed=0))
