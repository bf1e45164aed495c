"""Weights make the classes as frequent as they are elsewhere, however wrong the model often is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.shift.reweight import UNEVEN, matched_weights, shares_elsewhere


def called(rng, labels, right):
    """One-hot answers `(N, 3)`, right in a share of cases, else anything."""
    named = np.where(rng.random(len(labels)) < right, labels, rng.integers(0, 3, len(labels)))
    return np.eye(3)[named]


@pytest.mark.parametrize("right", [0.9, 0.4])
def test_other_shares_are_found_through_a_model_that_errs(right: float) -> None:
    rng = np.random.default_rng(0)
    old, new = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    labels, others = rng.choice(3, 6000, p=old), rng.choice(3, 6000, p=new)
    found = shares_elsewhere(called(rng, labels, right), labels, called(rng, others, right))
    counted = called(rng, others, right).mean(axis=0)
    assert np.abs(found - new).max() < max(0.02, 0.9 * np.abs(counted - new).max())
    same = shares_elsewhere(called(rng, labels, right), labels, called(rng, labels, right))
    assert np.abs(same - old).max() < 0.06


def test_a_head_without_a_label_and_no_photos_at_all_change_no_weight() -> None:
    labels = {"age": np.array([-1, -1]), "mask": np.array([0, 0])}
    shares = {"age": np.array([0.5, 0.5]), "mask": np.array([1.0])}
    assert matched_weights(labels, shares).tolist() == [1.0, 1.0]
    assert matched_weights({head: own[:0] for head, own in labels.items()}, shares).tolist() == []


def test_photos_without_a_label_and_classes_without_a_photo_do_no_harm() -> None:
    labels = np.array([0, 0, 1, -1])
    shares = shares_elsewhere(np.eye(3)[[0, 0, 1, 2]], labels, np.eye(3)[[0, 1, 1, 2]])
    assert shares.sum() == pytest.approx(1)
    assert (shares > 0).all()
    weights = matched_weights({"task": labels}, {"task": np.array([0.4, 0.4, 0.2])})
    assert weights.mean() == pytest.approx(1)
    assert weights[2] == pytest.approx(2 * weights[0])


@given(seed=st.integers(0, 10**6))
def test_all_heads_get_their_shares_at_once_and_no_photo_speaks_for_many(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = {"a": rng.integers(0, 3, 300), "b": rng.integers(0, 2, 300)}
    shares = {"a": np.array([0.2, 0.3, 0.5]), "b": np.array([0.65, 0.35])}
    weights = matched_weights(labels, shares)
    for head, wanted in shares.items():
        np.testing.assert_allclose(np.bincount(labels[head], weights) / 300, wanted, atol=0.01)
    rare = np.zeros(300, dtype=np.int64)
    rare[0] = 1
    uneven = matched_weights({"a": rare}, {"a": np.array([0.5, 0.5])})
    assert 4 < uneven.max() / uneven.min() <= UNEVEN
