"""Ways to tell two sides apart: what an AUC is, and that nobody is judged by themselves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ensemble.shift.two_sample import Looker, PooledRows, weighted_auc


def pool_of(columns, group_numbers):
    n_groups = group_numbers.max() + 1
    return PooledRows(columns, group_numbers, np.ones(len(group_numbers)), np.ones(n_groups), np.ones(n_groups))


@given(
    low=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=8),
    high=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=8),
)
def test_an_auc_is_the_share_of_pairs_that_stand_right_and_a_weight_is_a_repetition(low: list, high: list) -> None:
    a, b = (np.array([value for value, _ in side], dtype=float) for side in (low, high))
    wa, wb = (np.array([weight for _, weight in side], dtype=float) for side in (low, high))
    pairs = [(x, y) for (x, n), (y, m) in ((p, q) for p in low for q in high) for _ in range(n * m)]
    expected = np.mean([1.0 if y > x else 0.5 if y == x else 0.0 for x, y in pairs])
    assert abs(weighted_auc(a, b, wa, wb) - expected) < 1e-12


def test_groups_that_differ_from_all_others_alike_are_not_told_apart() -> None:
    """Each group is a point of its own, equally far from all others: whoever judges a group by itself would be sure."""
    group_numbers = np.repeat(np.arange(12), 5)
    columns = 50 * np.eye(12)[group_numbers] + np.random.default_rng(0).normal(size=(60, 12)) * 0.01
    foreign, separated = Looker(pool_of(columns, group_numbers)).tell(np.arange(6), np.arange(6, 12), np.random.default_rng(0))
    assert 0.3 < foreign < 0.7
    assert separated < 0.6


def test_the_nearest_of_some_groups_is_found_also_where_all_near_ones_are_left_out() -> None:
    rng = np.random.default_rng(1)
    group_numbers = np.arange(200)
    columns = np.sort(rng.normal(size=200))[:, None]
    looker = Looker(pool_of(columns, group_numbers))
    labelled = np.array([0, 1])  # the far end: none of the 48 nearest of most photos
    distances = np.abs(columns - columns[:2, 0])
    mine = abs(columns[0, 0] - columns[1, 0])
    far = distances[2:].mean(axis=1)
    assert abs(looker.foreign(labelled, np.arange(2, 200)) - np.mean(far > np.float32(mine))) < 1e-12


def test_a_side_of_one_group_leaves_the_classifier_out() -> None:
    rng = np.random.default_rng(2)
    values = Looker(pool_of(rng.normal(size=(20, 2)), np.repeat(np.arange(4), 5))).tell(np.arange(3), np.array([3]), rng)
    assert np.isnan(values).tolist() == [False, True]
