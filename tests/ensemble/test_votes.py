"""Properties that every voting rule keeps, and the written tie rule against a plain reference."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ensemble.votes import RULES, Floats, ballots, hard_vote, soft_vote, to_half
from ledger.errors import UserError

every_rule = pytest.mark.parametrize("rule", sorted(RULES))


@st.composite
def cubes(draw: st.DrawFn, voters: int = 6) -> Floats:
    """`float32 (K, N, C)` of eighths: many equal probabilities, many ties."""
    shape = draw(st.tuples(st.integers(1, voters), st.integers(0, 8), st.integers(1, 4)))
    return draw(arrays(np.int64, shape, elements=st.integers(0, 8))).astype(np.float32) / 8


def reference(probs: Floats, weights: list[Fraction]) -> list[int]:
    """The hard vote, photo by photo, as the rule is written."""
    decided = []
    for photo in range(probs.shape[1]):
        named = [max(range(probs.shape[2]), key=lambda c: (voter[photo, c], -c)) for voter in probs]
        votes: Counter[int] = Counter()
        for choice, weight in zip(named, weights, strict=True):
            votes[choice] += weight  # type: ignore[assignment]
        most = max(votes.values())
        decided.append(next(c for c, w in zip(named, weights, strict=True) if w and votes[c] == most))
    return decided


@given(cubes())
def test_hard_vote_is_the_written_rule(probs: Floats) -> None:
    assert hard_vote(probs).tolist() == reference(probs, [Fraction(1)] * len(probs))


@given(cubes(), st.data())
def test_weighted_hard_vote_is_the_written_rule_in_tenths(probs: Floats, data: st.DataObject) -> None:
    tenths = data.draw(st.lists(st.integers(0, 5), min_size=len(probs), max_size=len(probs)).filter(any))
    assert hard_vote(probs, [t / 10 for t in tenths]).tolist() == reference(probs, [Fraction(t) for t in tenths])


def test_tie_goes_to_the_most_senior_voter() -> None:
    says = np.eye(3)[[2, 0, 0, 2, 1]][:, None, :]
    assert hard_vote(says).tolist() == [2], "classes 0 and 2 are tied; the first voter said 2"
    assert hard_vote(says[1:4]).tolist() == [0], "no tie: two of three said 0"
    assert hard_vote(says[[4, 1, 0, 2, 3]]).tolist() == [0], "the first voter said 1, which is not tied; the next said 0"


def test_a_voter_without_weight_has_no_say_in_ties() -> None:
    assert hard_vote(np.eye(2)[[1, 0, 1]][:, None, :], [0, 1, 1]).tolist() == [0]


@every_rule
@given(probs=cubes())
def test_shares_and_labels_agree(rule: str, probs: Floats) -> None:
    vote = RULES[rule].vote(probs, None)
    assert vote.labels.shape == probs.shape[1:2]
    assert vote.labels.dtype == np.int64
    assert vote.shares.shape == probs.shape[1:]
    assert vote.shares.dtype == np.float64
    assert (vote.shares >= 0).all()
    assert (vote.shares.argmax(axis=1) == vote.labels).all()


@every_rule
def test_shares_of_probabilities_sum_to_one(rule: str) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(18), (4, 500))
    np.testing.assert_allclose(RULES[rule].vote(probs, None).shares.sum(axis=1), 1, atol=2e-3)


@every_rule
@given(probs=cubes(voters=1), k=st.integers(1, 9))
def test_equal_voters_vote_like_one(rule: str, probs: Floats, k: int) -> None:
    one, many = RULES[rule].vote(probs, None), RULES[rule].vote(np.repeat(probs, k, axis=0), None)
    assert (one.labels == many.labels).all()
    np.testing.assert_array_equal(one.shares, many.shares)


@every_rule
@given(probs=cubes(voters=1))
def test_one_voter_is_exactly_that_voter(rule: str, probs: Floats) -> None:
    assert (RULES[rule].vote(probs, None).labels == probs[0].argmax(axis=1)).all()


@every_rule
@given(probs=cubes(), seed=st.integers(0, 99))
def test_shuffling_images_changes_nothing(rule: str, probs: Floats, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(probs.shape[1])
    assert (RULES[rule].vote(probs[:, order], None).labels == RULES[rule].vote(probs, None).labels[order]).all()


@every_rule
@given(probs=cubes())
def test_a_class_nobody_names_is_no_error(rule: str, probs: Floats) -> None:
    wider = np.concatenate([probs, np.zeros((*probs.shape[:2], 1))], axis=2)
    assert (RULES[rule].vote(wider, None).labels == RULES[rule].vote(probs, None).labels).all()


@every_rule
@given(probs=cubes())
def test_equal_weights_are_no_weights(rule: str, probs: Floats) -> None:
    assert (RULES[rule].vote(probs, [0.1] * len(probs)).labels == RULES[rule].vote(probs, None).labels).all()


@every_rule
@settings(max_examples=25)
@given(seed=st.integers(0, 999))
def test_fresh_probabilities_decide_like_cached_ones(rule: str, seed: int) -> None:
    fresh = np.random.default_rng(seed).dirichlet(np.full(3, 50.0), (3, 200))
    cached = fresh.astype(np.float16)
    assert (RULES[rule].vote(fresh, None).labels == RULES[rule].vote(cached, None).labels).all()


def test_rounding_comes_before_the_decision() -> None:
    fresh = np.array([[[0.49999, 0.50001]]])
    assert fresh.argmax() == 1
    assert hard_vote(fresh).tolist() == [0], "both are 0.5 in float16"


def test_soft_vote_is_the_weighted_mean() -> None:
    probs = np.array([[[1.0, 0.0]], [[0.25, 0.75]]])
    np.testing.assert_array_equal(soft_vote(probs), [[0.625, 0.375]])
    np.testing.assert_array_equal(soft_vote(probs, [1, 3]), [[0.4375, 0.5625]])


def test_negative_zero_is_zero() -> None:
    assert ballots(np.array([[[0.0, -0.0, 1.0], [-0.0, 0.0, 0.0]]])).tolist() == [[2, 0]]


@every_rule
@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.5, 1e6])
def test_what_is_no_probability_is_refused(rule: str, value: float) -> None:
    with pytest.raises(UserError, match=r"must lie in 0..1, 1 of 6 values"):
        RULES[rule].vote(np.array([[[0.5, value], [0, 0], [1, 0]]]), None)


@every_rule
@pytest.mark.parametrize("weights", [[1], [0, 0], [1, -1], [1, np.nan], [[1, 1]]])
def test_wrong_weights_are_refused(rule: str, weights: list[float]) -> None:
    with pytest.raises(UserError, match="weights must be"):
        RULES[rule].vote(np.full((2, 3, 2), 0.5), weights)


@every_rule
@pytest.mark.parametrize("shape", [(2, 3), (0, 3, 2), (2, 3, 0)])
def test_wrong_shapes_are_refused(rule: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="shape"):
        RULES[rule].vote(np.zeros(shape), None)


def test_to_half_keeps_shape_and_cached_arrays() -> None:
    cached = np.full((2, 3), 0.5, np.float16)
    assert np.shares_memory(to_half(cached), cached)
    assert to_half(np.ones((1, 2, 3, 4))).shape == (1, 2, 3, 4)
