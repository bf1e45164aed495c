"""Contract of every probe: a linear layer that scores every class, the same each time; and that layer is what scikit-learn fitted."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from trainables.probes.heads import PROBES, SCALINGS, SCORES_ONLY, fit_head

N, D, C = 240, 20, 4
Array = NDArray[Any]


def planted(n_classes: int = C, seed: int = 0) -> tuple[Array, Array, list[str]]:
    """Features of unlike size and centre, labels that follow from them but for noise, and groups of three photos."""
    chance = np.random.default_rng(seed)
    plain = chance.normal(size=(N, D))
    labels = (plain @ chance.normal(size=(D, n_classes)) + chance.gumbel(size=(N, n_classes))).argmax(axis=1)
    features = plain * np.geomspace(0.01, 10, D) + np.linspace(-3, 3, D)
    return features.astype(np.float32), labels, [f"group-{row // 3}" for row in range(N)]


def fitted(probe: str, features: Array, labels: Array, groups: list[str], **more: Any) -> tuple[Array, Array]:
    asked = {"n_classes": C, "class_weights": None, "scaling": "standard", "settings": {}, **more}
    return fit_head(probe, features, labels, groups=groups, **asked)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("probe", PROBES)
def test_every_probe_learns_what_is_planted_and_is_the_same_each_time(probe: str, scaling: str) -> None:
    features, labels, groups = planted()
    weights, bias = fitted(probe, features, labels, groups, scaling=scaling)
    assert (weights.shape, bias.shape) == ((C, D), (C,))
    assert (weights.dtype, bias.dtype) == (np.float32, np.float32)
    assert np.isfinite(weights).all()
    assert np.isfinite(bias).all()
    assert np.mean((features @ weights.T + bias).argmax(axis=1) == labels) > 1.5 / C
    again = fitted(probe, features, labels, groups, scaling=scaling)
    assert np.array_equal(weights, again[0])
    assert np.array_equal(bias, again[1])


@pytest.mark.parametrize("n_classes", [2, C])
@pytest.mark.parametrize("probe", PROBES)
def test_photos_without_a_label_teach_nothing_and_classes_without_a_photo_are_never_answered(probe: str, n_classes: int) -> None:
    features, labels, groups = planted(n_classes)
    nothing = np.arange(N) % 5 == 0
    given = np.where(nothing, -1, labels + C - n_classes)  # the first classes have no photo
    weights, bias = fitted(probe, features, given, groups)
    probs = softmax(features @ weights.T + bias, axis=1)
    assert probs[:, : C - n_classes].max(initial=0) < 1e-7
    rest = fitted(
        probe, features[~nothing], given[~nothing], [name for name, out in zip(groups, nothing, strict=True) if not out]
    )
    assert np.allclose(weights, rest[0], atol=1e-6)


@pytest.mark.parametrize("probe", PROBES)
def test_one_class_alone_is_always_the_answer_and_no_photo_at_all_is_an_even_one(probe: str) -> None:
    features, _, groups = planted()
    for labels, chosen in ((np.full(N, 2), [2]), (np.full(N, -1), range(C))):
        weights, bias = fitted(probe, features, labels, groups)
        probs = softmax(features @ weights.T + bias, axis=1)
        assert np.allclose(probs[:, list(chosen)], 1 / len(chosen), atol=1e-6)


@pytest.mark.parametrize("probe", PROBES)
def test_class_weights_draw_the_answers_to_a_class(probe: str) -> None:
    features, labels, groups = planted()
    rare = np.where((labels == 0) & (np.arange(N) % 4 > 0), 1, labels)
    shares = []
    for weight in (1.0, 20.0):
        weights, bias = fitted(probe, features, rare, groups, class_weights=np.array([weight, 1, 1, 1]))
        shares.append(softmax(features @ weights.T + bias, axis=1)[:, 0].mean())
    assert shares[1] > shares[0]


@pytest.mark.parametrize("n_classes", [2, 3, C])
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("probe", ["logistic", "lda"])
def test_the_layer_says_the_probabilities_of_scikit_learn(probe: str, scaling: str, n_classes: int) -> None:
    """The scaling is folded in: raw features through the layer give what scaled ones gave."""
    features, labels, groups = planted(n_classes)
    centre, scale = (part.astype(np.float64) for part in SCALINGS[scaling](features.astype(np.float64)))
    scaled = ((features - centre) / scale).astype(np.float32)
    weights, bias = fitted(probe, features, labels, groups, n_classes=n_classes, scaling=scaling)
    model: Any = LogisticRegression(C=1e-2, max_iter=300, tol=1e-3, class_weight=dict.fromkeys(range(n_classes), 1.0))
    if probe == "lda":
        shares = np.bincount(labels) / N
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=shares)
    theirs = model.fit(scaled, labels).predict_proba(scaled)
    assert np.abs(softmax(features.astype(np.float64) @ weights.T + bias, axis=1) - theirs).max() < 1e-5


def test_the_scores_of_an_svm_get_the_temperature_that_photos_of_other_groups_ask_for() -> None:
    features, labels, groups = planted()
    weights, bias = fitted("svm", features, labels, groups, settings={"probe_c": 0.01})
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    model = LinearSVC(C=0.01, dual=True, max_iter=300, random_state=0, class_weight=dict.fromkeys(range(C), 1.0)).fit(
        scaled, labels
    )
    scores, ours = model.decision_function(scaled), features @ weights.T + bias
    assert (scores.argmax(axis=1) == ours.argmax(axis=1)).mean() > 0.99
    warmth = (ours - ours.mean(axis=1, keepdims=True)) / (scores - scores.mean(axis=1, keepdims=True))
    assert np.allclose(warmth, np.median(warmth), rtol=0.05)
    losses = [-log_softmax(np.median(warmth) * factor * scores, axis=1)[np.arange(N), labels].mean() for factor in (0.05, 1, 20)]
    assert losses[1] < min(losses[0], losses[2])
    assert set(SCORES_ONLY) <= set(PROBES)
