"""What a probe learns is frozen per RECIPE: planted features, for each probe and scaling."""

import numpy as np
import pytest
from scipy.special import log_softmax

from tests.trainables.probes.test_heads import N, fitted, planted
from trainables.config import RECIPE
from trainables.probes.heads import PROBES, SCALINGS

RTOL = 1e-3
GOLDEN: dict[int, dict[str, float]] = {
    1: {
        "logistic even": 1.27927,
        "logistic none": 1.21635,
        "logistic standard": 1.01331,
        "lda even": 0.637875,
        "lda none": 0.637873,
        "lda standard": 0.637875,
        "ridge even": 1.35265,
        "ridge none": 1.30596,
        "ridge standard": 1.24182,
        "svm even": 1.26161,
        "svm none": 1.33068,
        "svm standard": 0.663775,
    },
}
"""RECIPE -> a probe and its scaling -> the log-loss on what it was fitted on."""


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("probe", PROBES)
def test_what_a_probe_learns_moves_only_with_the_recipe(probe: str, scaling: str) -> None:
    features, labels, groups = planted()
    weights, bias = fitted(probe, features, labels, groups, scaling=scaling, class_weights=np.array([1, 2, 1, 0.5]))
    found = -log_softmax(features.astype(np.float64) @ weights.T + bias, axis=1)[np.arange(N), labels].mean()
    stored = GOLDEN[RECIPE].get(f"{probe} {scaling}")
    assert stored is not None, f"new probe {probe} {scaling}; store {found:.6g}"
    assert found == pytest.approx(stored, rel=RTOL)
