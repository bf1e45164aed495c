"""Calibration: the implied prior becomes the data's, planted distortions are undone, JSON keeps every bit."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.metrics import METRICS
from ensemble.log_probs import half_logs
from ensemble.plan.reader import read
from ensemble.postprocess.calibration import Calibration, Problem, calibrate, fit_calibration, minimise
from ensemble.votes import Floats, Ints
from system.errors import UserError


def model(seed: int, *, n_groups: int = 300, n_classes: int = 4) -> tuple[Floats, Ints, np.ndarray]:
    """True probabilities (N, C) given what a model sees, labels and groups (N,) of five photos."""
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"g{i}" for i in range(n_groups)], 5)
    prior = rng.dirichlet(np.full(n_classes, 3.0))
    labels = rng.choice(n_classes, len(groups), p=prior)
    seen = 1.5 * np.eye(n_classes)[labels] + rng.normal(size=(len(groups), n_classes))
    return normal(prior * np.exp(1.5 * seen)), labels, groups


def normal(values: Floats) -> Floats:
    return values / values.sum(axis=1, keepdims=True)


def distorted(probs: Floats, slopes: float, weights: np.ndarray) -> np.ndarray:
    """What an overconfident model says that learned with class weights."""
    return normal(probs**slopes * weights).astype(np.float16)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), slope=st.floats(0.3, 6), n_classes=st.integers(2, 6))
def test_the_implied_prior_becomes_that_of_the_photos(seed: int, slope: float, n_classes: int) -> None:
    probs, labels, _ = model(seed, n_groups=40, n_classes=n_classes)
    said = distorted(probs, slope, np.random.default_rng(seed).uniform(0.1, 10, n_classes))
    present = np.unique(labels)
    implied = calibrate(fit_calibration(said[:, present], np.searchsorted(present, labels)), said[:, present]).mean(axis=0)
    np.testing.assert_allclose(implied, np.bincount(labels)[present] / len(labels), atol=2e-5)


def test_class_weights_and_overconfidence_are_undone_on_other_people() -> None:
    probs, labels, groups = model(0, n_groups=800)
    said = distorted(probs, 3.0, np.array([8.0, 1.0, 0.2, 3.0]))
    seen = groups < "g5"
    scores = {"said": METRICS["log_loss"](said[~seen], labels[~seen]), "true": METRICS["log_loss"](probs[~seen], labels[~seen])}
    fitted = fit_calibration(said[seen], labels[seen])
    calibrated = METRICS["log_loss"](calibrate(fitted, said[~seen]), labels[~seen])
    assert scores["said"] < calibrated - 0.22
    assert calibrated > scores["true"] - 0.01
    np.testing.assert_allclose(fitted.slopes, 1 / 3, atol=0.06)


def test_what_is_calibrated_stays_about_as_it_is() -> None:
    probs, labels, _ = model(1, n_groups=2000)
    fitted = fit_calibration(probs.astype(np.float16), labels)
    np.testing.assert_allclose(fitted.slopes, 1, atol=0.1)
    np.testing.assert_allclose(fitted.biases, 0, atol=0.15)


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_json_keeps_every_bit_and_the_order_of_photos_changes_none(seed: int) -> None:
    probs, labels, _ = model(seed, n_groups=30)
    order = np.random.default_rng(seed).permutation(len(labels))
    said = distorted(probs, 2.0, np.ones(4))
    fitted = fit_calibration(said, labels)
    assert fitted == fit_calibration(said[order], labels[order])
    again = read(Calibration, json.loads(json.dumps(fitted.to_json())), "fitted")
    np.testing.assert_array_equal(calibrate(again, said), calibrate(fitted, said))
    np.testing.assert_array_equal(calibrate(fitted, said[:7]), calibrate(fitted, said)[:7], "few photos or many")


def test_zeros_of_float16_and_a_model_that_is_never_wrong_give_finite_numbers() -> None:
    _, labels, _ = model(2, n_groups=40)
    sure = np.eye(4, dtype=np.float16)[labels]
    fitted = fit_calibration(sure, labels)
    assert METRICS["log_loss"](calibrate(fitted, sure), labels) > -0.01
    wrong = sure[:, [1, 0, 2, 3]]
    assert np.isfinite(calibrate(fit_calibration(wrong, labels), wrong)).all()


def test_a_class_that_is_absent_keeps_a_say_and_does_not_move_the_others() -> None:
    probs, labels, _ = model(3)
    labels = np.where(labels == 2, 0, labels)
    said = distorted(probs, 2.0, np.array([4.0, 1.0, 1.0, 0.5]))
    fitted = fit_calibration(said, labels)
    others = [0, 1, 3]
    alone = fit_calibration(said[:, others], np.searchsorted(others, labels))
    np.testing.assert_allclose(np.array(fitted.slopes)[others], alone.slopes, atol=2e-6)
    np.testing.assert_allclose(np.array(fitted.biases)[others], alone.biases, atol=2e-6)
    assert fitted.biases[2] == 0
    assert fitted.slopes[2] == pytest.approx(np.mean(alone.slopes), abs=1e-6)
    assert (calibrate(fitted, said)[:, 2] > 0).all()


def test_photos_without_a_label_take_no_part() -> None:
    probs, labels, groups = model(4, n_groups=50)
    gone = groups == "g3"
    one = fit_calibration(probs, np.where(gone, -1, labels))
    assert one == fit_calibration(probs[~gone], labels[~gone])


def test_on_few_people_the_slopes_are_held_together() -> None:
    probs, labels, _ = model(5, n_groups=12)
    problem = Problem(half_logs(probs.astype(np.float16)), labels, np.eye(8))
    fits = [problem.slopes_biases(minimise(problem, strength))[0] for strength in (1.0, 0.1, 0.01, 0.001)]
    spreads = [np.ptp(slopes) for slopes in fits]
    assert spreads == sorted(spreads)
    assert np.ptp(fit_calibration(probs, labels).slopes) == pytest.approx(spreads[1], abs=2e-6)


def test_what_cannot_be_fitted_is_refused() -> None:
    probs, labels, _ = model(6, n_groups=3)
    with pytest.raises(UserError, match=r"must lie in 0..1"):
        fit_calibration(np.full_like(probs, np.nan), labels)
    with pytest.raises(UserError, match="as many finite"):
        Calibration((1.0, float("nan")), (0.0, 0.0))
