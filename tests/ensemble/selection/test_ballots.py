"""Ballots without probabilities equal those with them, above all where rounding makes classes equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.plan.spec import Correction, mean_of_models, prepare_rows
from ensemble.postprocess.calibration import Calibration
from ensemble.selection import ballots as calibrated
from ensemble.selection.ballots import calibrated_ballots
from ensemble.votes import ballots


def drawn(seed: int, n_classes: int, digits: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    powers = np.exp(rng.normal(0, 2, (3, 200, n_classes)))
    return np.round(powers / powers.sum(axis=-1, keepdims=True), digits).astype(np.float16)


def slowly(probs: np.ndarray, calibration: Calibration | None, correction: Correction | None) -> np.ndarray:
    return np.stack([ballots(mean_of_models([prepare_rows(view, calibration, correction)])[None])[0] for view in probs])


@given(
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([0.0, 1e-4, 1e-2, 1.0, 40.0]),
    st.sampled_from(["none", "other", "one missing"]),
)
@settings(max_examples=150)
def test_ballots_equal_those_of_the_probabilities(seed: int, n_classes: int, digits: int, apart: float, shares: str) -> None:
    rng = np.random.default_rng(seed)
    slopes, biases = 1 + rng.normal(0, min(apart, 1.0), n_classes), rng.normal(0, apart, n_classes)
    old, new = rng.dirichlet(np.full(n_classes, 3.0 if seed % 2 else 0.05), 2).clip(1e-9)
    old, new = old / old.sum(), new / new.sum()
    if shares == "one missing" and n_classes > 1:
        new[0], new[1] = 0.0, new[1] + new[0]
    correction = None if shares == "none" else Correction(tuple(old), tuple(new), "known")
    calibration = None if seed % 5 < 2 else Calibration(tuple(slopes.tolist()), tuple(biases.tolist()))
    probs = drawn(seed, n_classes, digits)
    probs[rng.random(probs.shape) < 0.2] = 0
    assert np.array_equal(calibrated_ballots(probs, calibration, correction), slowly(probs, calibration, correction))


def test_near_classes_are_looked_at_as_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two classes one step of a score apart float16 makes many equal, and the first of equals is named."""
    probs, nudged = drawn(1, 3, 1), Calibration((1.0, 1.0, 1.0), (0.0, 0.0002, 0.0001))
    expected = slowly(probs, nudged, None)
    assert np.array_equal(calibrated_ballots(probs, nudged, None), expected)
    monkeypatch.setattr(calibrated, "NEAR", 0.0)
    assert not np.array_equal(calibrated_ballots(probs, nudged, None), expected)
