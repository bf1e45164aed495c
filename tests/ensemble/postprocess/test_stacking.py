"""Stacking: it learns whom to believe on what, is the same after JSON to the last bit, and the same whatever the order of photos."""

import json

import numpy as np
import pytest

from competitions.metrics import METRICS
from ensemble.plan.reader import read
from ensemble.postprocess.stacking import Stacking, fit_stacking, stacked_vote
from ensemble.votes import RULES, Floats, Ints
from system.errors import UserError


def voters(seed: int, *, n_groups: int = 80, n_voters: int = 3, n_classes: int = 3) -> tuple[Floats, Ints, np.ndarray]:
    """Voters that each know one class: probs (K, N, C), labels (N,), groups (N,) of five photos."""
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"g{i}" for i in range(n_groups)], 5)
    labels = rng.integers(0, n_classes, len(groups))
    signal = np.array([np.where(np.arange(n_classes) == k % n_classes, 4.0, 0.0) for k in range(n_voters)])
    scores = signal[:, None, :] * np.eye(n_classes)[labels] + rng.normal(size=(n_voters, len(groups), n_classes))
    probs = np.exp(2 * scores)
    return (probs / probs.sum(axis=2, keepdims=True)).astype(np.float16), labels, groups


def test_it_believes_each_voter_on_what_it_knows() -> None:
    probs, labels, groups = voters(0, n_groups=120)
    seen = groups < "g5"
    stacked = stacked_vote(fit_stacking(probs[:, seen], labels[seen], groups[seen]), probs[:, ~seen])
    for rule in RULES.values():
        assert (stacked.labels == labels[~seen]).mean() > (rule.vote(probs[:, ~seen], None).labels == labels[~seen]).mean() + 0.02
    assert METRICS["log_loss"](stacked.shares, labels[~seen]) > -0.35


@pytest.mark.parametrize("n_classes", [2, 3])
def test_json_keeps_every_bit_and_order_and_company_of_photos_change_none(n_classes: int) -> None:
    probs, labels, groups = voters(1, n_groups=30, n_classes=n_classes)
    order = np.random.default_rng(0).permutation(len(labels))
    fitted = fit_stacking(probs, labels, groups)
    assert fitted == fit_stacking(probs[:, order], labels[order], groups[order])
    again = read(Stacking, json.loads(json.dumps(fitted.to_json())), "fitted")
    assert again == fitted
    shares = stacked_vote(fitted, probs).shares
    np.testing.assert_array_equal(stacked_vote(again, probs).shares, shares)
    np.testing.assert_array_equal(stacked_vote(fitted, probs[:, order]).shares, shares[order])
    np.testing.assert_array_equal(stacked_vote(fitted, probs[:, :3]).shares, shares[:3])
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_on_noise_the_strongest_penalty_keeps_to_the_shares() -> None:
    probs, _, groups = voters(2)
    labels = np.random.default_rng(3).choice(3, len(groups), p=[0.6, 0.3, 0.1])
    fitted = fit_stacking(probs, labels, groups)
    assert fitted.penalty == 100.0
    assert METRICS["log_loss"](stacked_vote(fitted, probs).shares, labels) == pytest.approx(-0.9, abs=0.06), (
        "the entropy of the labels"
    )


@pytest.mark.parametrize("there", [[0, 2], [1], [0, 1, 2]])
def test_classes_without_a_photo_get_no_share_and_are_no_error(there: list[int]) -> None:
    probs, labels, groups = voters(4, n_groups=20, n_classes=4)
    labels = np.where(np.isin(labels, there), labels, there[0])
    vote = stacked_vote(fit_stacking(probs, labels, groups), probs)
    absent = [c for c in range(4) if c not in there]
    assert (vote.shares[:, absent] == 0).all()
    assert np.isin(vote.labels, there).all()
    assert (vote.labels == labels).mean() > 0.6


def test_photos_without_a_label_take_no_part() -> None:
    probs, labels, groups = voters(5, n_groups=20)
    gone = groups == "g3"
    assert fit_stacking(probs, np.where(gone, -1, labels), groups) == fit_stacking(probs[:, ~gone], labels[~gone], groups[~gone])


def test_what_cannot_be_stacked_is_refused() -> None:
    probs, labels, groups = voters(6, n_groups=5)
    with pytest.raises(UserError, match=r"must lie in 0\.\.1"):
        fit_stacking(probs * np.float16(np.nan), labels, groups)
