"""Properties that every voting rule keeps, and the written tie rule against a plain reference."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ensemble.log_probs import FLOOR, half_logs, share_logs
from ensemble.votes import RULES, TIE_EDGE, Floats, Ints, Weights, ballots, soft_vote, to_half
from system.errors import UserError

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


def hard_vote(probs: Floats, weights: Weights = None) -> Ints:
    return RULES["hard"].vote(probs, weights).labels


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
@given(probs=cubes(), seed=st.integers(0, 99))
def test_the_order_of_voters_decides_ties_and_nothing_else(rule: str, probs: Floats, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(probs))
    one, two = RULES[rule].vote(probs, None), RULES[rule].vote(probs[order], None)
    ranked = np.sort(one.shares, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 2 * TIE_EDGE if probs.shape[2] > 1 else np.ones(len(ranked), dtype=bool)
    assert (one.labels == two.labels)[clear].all()
    np.testing.assert_allclose(one.shares, two.shares, atol=2 * TIE_EDGE)
    if rule in ("soft", "geometric"):
        np.testing.assert_array_equal(one.shares, two.shares)


@every_rule
@given(probs=cubes(), data=st.data())
def test_weights_per_class_that_are_equal_columns_are_weights_per_voter(rule: str, probs: Floats, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 5), min_size=len(probs), max_size=len(probs)).filter(any))
    one, two = (RULES[rule].vote(probs, w) for w in (weights, np.repeat([weights], probs.shape[2], axis=0).T))
    assert (one.labels == two.labels).all()
    np.testing.assert_array_equal(one.shares, two.shares)


@every_rule
@given(probs=cubes(voters=1), k=st.integers(1, 5), seed=st.integers(0, 99))
def test_with_weights_per_class_equal_voters_vote_like_one(rule: str, probs: Floats, k: int, seed: int) -> None:
    """Weights of a class are shared out among the voters; what any of them says of it stays what one of them says."""
    weights = np.random.default_rng(seed).integers(1, 5, (k, probs.shape[2])) / 4
    many = RULES[rule].vote(np.repeat(probs, k, axis=0), weights)
    np.testing.assert_array_equal(many.labels, RULES[rule].vote(probs, None).labels)
    assert (many.shares.argmax(axis=1) == many.labels).all()


@every_rule
def test_a_voter_is_heard_only_on_the_classes_it_has_weight_for(rule: str) -> None:
    probs = np.array([[[0.7, 0.1, 0.2]], [[0.1, 0.6, 0.3]], [[0.5, 0.3, 0.2]]])
    assert RULES[rule].vote(probs, None).labels.tolist() == [0]
    deaf_to_first = np.array([[0, 1, 1], [1, 1, 1], [0, 1, 1]], dtype=float)
    assert RULES[rule].vote(probs, deaf_to_first).labels.tolist() == [1]


def test_where_no_vote_counts_all_count() -> None:
    probs = np.eye(2)[[[0], [1], [1]]]
    assert hard_vote(probs, [[0, 1], [1, 0], [1, 0]]).tolist() == [1], "nobody has weight for the class it names; two say 1"
    assert hard_vote(probs[:2], [[0, 1], [1, 0]]).tolist() == [0], "and a tie goes to the most senior"
    assert hard_vote(probs[:2], [[0, 1], [1, 1]]).tolist() == [1], "the first voter's word for class 0 counts nothing"


@given(cubes())
def test_geometric_vote_is_the_mean_of_logarithms(probs: Floats) -> None:
    mean = np.prod(np.maximum(probs, 2.0**-25).astype(np.longdouble), axis=0) ** (1 / len(probs))
    np.testing.assert_allclose(RULES["geometric"].vote(probs, None).shares, mean / mean.sum(axis=1, keepdims=True), rtol=1e-6)


@given(cubes())
def test_rank_vote_is_the_count_of_classes_found_more_probable(probs: Floats) -> None:
    against = [[sum(int((v[n] > v[n, c]).sum()) for v in probs) for c in range(probs.shape[2])] for n in range(probs.shape[1])]
    labels = RULES["rank"].vote(probs, None).labels
    for photo, points in enumerate(against):
        tied = [c for c, found in enumerate(points) if found == min(points)]
        assert labels[photo] == max(tied, key=lambda c: (probs[0, photo, c], -c))


def test_rules_differ_where_they_should() -> None:
    probs = np.array([[[0.9, 0.1, 0.0]], [[0.4, 0.5, 0.1]], [[0.0, 0.51, 0.49]]])
    decided = {rule: RULES[rule].vote(probs, None).labels.tolist() for rule in ("hard", "soft", "geometric", "rank")}
    assert decided == {"hard": [1], "soft": [0], "geometric": [1], "rank": [1]}, "one voter rules class 0 out"


def test_logarithms_of_cached_probabilities_are_exact_to_their_grid_and_end_at_the_floor() -> None:
    every = np.arange(int(np.float16(1).view(np.uint16)) + 1, dtype=np.uint16).view(np.float16)
    logs = half_logs(every)
    np.testing.assert_allclose(logs[1:], np.log(every[1:].astype(np.float64)), atol=2.0**-33)
    assert (np.diff(logs) > 0).all(), "no two probabilities share a logarithm, so one voter is exactly that voter"
    assert np.exp(logs[0]) == pytest.approx(FLOOR)
    assert np.float16(FLOOR) == 0 < np.float16(FLOOR * 1.001)
    np.testing.assert_array_equal(share_logs(every), logs)


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


def test_to_half_keeps_shape_and_cached_arrays() -> None:
    cached = np.full((2, 3), 0.5, np.float16)
    assert np.shares_memory(to_half(cached), cached)
    assert to_half(np.ones((1, 2, 3, 4))).shape == (1, 2, 3, 4)
