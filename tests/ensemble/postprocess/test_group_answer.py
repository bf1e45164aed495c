"""One decision per group: the whole group agrees, groups of one are left alone, and order changes nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.postprocess.group_answer import GROUP_SUMS, same_in_group
from ensemble.votes import Vote

every_way = pytest.mark.parametrize("by", sorted(GROUP_SUMS))


def vote_of(seed: int, n_photos: int = 30, n_groups: int = 8) -> tuple[Vote, np.ndarray]:
    rng = np.random.default_rng(seed)
    shares = rng.integers(0, 5, (n_photos, 3)) + np.array([1e-3, 0, 0])
    shares = shares / shares.sum(axis=1, keepdims=True)
    return Vote(shares.argmax(axis=1), shares), rng.choice([f"g{i}" for i in range(n_groups)], n_photos)


@every_way
@given(seed=st.integers(0, 999))
def test_a_group_has_one_answer_whatever_the_order_of_photos(by: str, seed: int) -> None:
    vote, groups = vote_of(seed)
    decided = same_in_group(vote, groups, by=by)
    for group in set(groups):
        assert len(set(decided.labels[groups == group])) == 1
    assert (decided.shares.argmax(axis=1) == decided.labels).all()
    np.testing.assert_allclose(decided.shares.sum(axis=1), 1)
    order = np.random.default_rng(seed).permutation(len(groups))
    shuffled = same_in_group(Vote(vote.labels[order], vote.shares[order]), groups[order], by=by)
    np.testing.assert_array_equal(shuffled.labels, decided.labels[order])
    np.testing.assert_array_equal(shuffled.shares, decided.shares[order])


@every_way
@given(seed=st.integers(0, 99))
def test_groups_of_one_and_groups_of_equals_keep_their_labels(by: str, seed: int) -> None:
    vote, _ = vote_of(seed)
    alone = same_in_group(vote, [f"g{i}" for i in range(30)], by=by)
    assert (alone.labels == vote.labels).all()
    thrice = Vote(np.repeat(vote.labels, 3), np.repeat(vote.shares, 3, axis=0))
    assert (same_in_group(thrice, np.repeat(np.arange(30).astype(str), 3), by=by).labels == thrice.labels).all()


def test_one_sure_photo_outweighs_two_unsure_ones_by_logs_and_not_by_votes() -> None:
    vote = Vote(np.array([0, 1, 1]), np.array([[0.99, 0.01], [0.4, 0.6], [0.4, 0.6]]))
    assert same_in_group(vote, ["a"] * 3, by="logs").labels.tolist() == [0, 0, 0]
    assert same_in_group(vote, ["a"] * 3, by="votes").labels.tolist() == [1, 1, 1]


def test_a_tie_of_votes_goes_to_the_first_class_and_one_of_logs_to_what_more_photos_say() -> None:
    even = Vote(np.array([1, 0]), np.array([[0.4, 0.6], [0.6, 0.4]]))
    assert same_in_group(even, ["a", "a"], by="votes").labels.tolist() == [0, 0]
    odd = Vote(np.array([1, 1]), np.full((2, 2), 0.5))
    assert same_in_group(odd, ["a", "a"], by="logs").labels.tolist() == [1, 1], "a hard vote's tie was decided by seniority"
