"""Heads of probes: features `(n, D)` and labels `(n,)` -> one linear layer, weights `(C, D)` and bias `(C,)`, that a softmax follows.

Every probe is linear, so that what is fitted becomes the last layer of an ordinary network. The scaling of the features is folded into it.
Logistic regression and LDA say log-probabilities. The scores of ridge and SVM are multiplied by one temperature first: the one with the
least log-loss on inner folds of the training photos, which separate groups.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating]
Scores = tuple[Matrix, Matrix]
"""Weights `(K, D)` and bias `(K,)`: scores are `features @ weights.T + bias`."""

Probe = Callable[..., Scores]
"""`(features (n, D) float32, labels (n,) int64 of which each of 0..K-1 occurs, class weights (K,)) -> Scores`, K at least 2.

A keyword parameter is a setting that belongs to this probe alone: a field of `TrialConfig` of that name, with its default here.
"""

INNER_FOLDS = 3
MOST_STEPS = 300
NEVER = -30.0
"""The bias of a class without a training photo: others have scores with a mean of 0, so it gets less than float16 can say."""
COLDEST, HOTTEST = 1e-3, 1e3


def logistic(features: Matrix, labels: NDArray[np.int64], weights: Matrix, *, probe_c: float = 1e-2) -> Scores:
    """Multinomial logistic regression with an L2 penalty; `probe_c` is its inverse strength."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=probe_c, max_iter=MOST_STEPS, tol=1e-3, class_weight=_by_class(weights))
    return _one_row_per_class(model.fit(features, labels))


def ridge(features: Matrix, labels: NDArray[np.int64], weights: Matrix, *, probe_c: float = 1e-3) -> Scores:
    """Least squares to +1 and -1 per class, with a penalty of `1 / probe_c`."""
    from sklearn.linear_model import RidgeClassifier

    model = RidgeClassifier(alpha=1 / probe_c, solver="cholesky", class_weight=_by_class(weights))
    return _one_row_per_class(model.fit(features, labels))


def lda(features: Matrix, labels: NDArray[np.int64], weights: Matrix) -> Scores:
    """Gaussians with one covariance, shrunk after Ledoit & Wolf 2004; class weights multiply the class shares."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    priors = weights * np.bincount(labels)
    return _one_row_per_class(
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors / priors.sum()).fit(features, labels)
    )


def svm(features: Matrix, labels: NDArray[np.int64], weights: Matrix, *, probe_c: float = 1e-4) -> Scores:
    """Linear support vector machines, one class against the rest, squared hinge; `probe_c` is the price of a violated margin."""
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=probe_c, dual=True, max_iter=MOST_STEPS, random_state=0, class_weight=_by_class(weights))
    return _one_row_per_class(model.fit(features, labels))


PROBES: dict[str, Probe] = {"logistic": logistic, "ridge": ridge, "lda": lda, "svm": svm}

SCORES_ONLY = ("ridge", "svm")
"""Probes whose scores are no log-probabilities: a temperature is fitted to them."""


def _mean(features: Matrix) -> Matrix:
    return np.asarray(features.mean(axis=0, dtype=np.float64))


def _deviation(features: Matrix) -> Matrix:
    return np.asarray(features.std(axis=0, dtype=np.float64))


SCALINGS: dict[str, Callable[[Matrix], tuple[Matrix, Matrix]]] = {
    "standard": lambda features: (_mean(features), _deviation(features)),
    "even": lambda features: (_mean(features), np.full(features.shape[1], _deviation(features).mean())),
    "none": lambda features: (np.zeros(features.shape[1]), np.ones(features.shape[1])),
}
"""Training features `(n, D)` -> what is taken off each and what it is divided by, `(D,)` both; a divisor of 0 counts as 1."""
USUAL_SCALING = "standard"


def fit_head(
    probe: str,
    features: Matrix,
    labels: NDArray[np.int64],
    *,
    n_classes: int,
    class_weights: Matrix | None,
    scaling: str,
    groups: Sequence[str],
    settings: dict[str, Any],
) -> Scores:
    """The last layer for one head, as float32.

    Args:
        probe: One of `PROBES`.
        features: `(n, D)` of the training photos.
        labels: `(n,)`, -1 where there is none.
        n_classes: C. A class without a training photo is never answered.
        class_weights: `(C,)`, or `None` for even ones.
        scaling: One of `SCALINGS`.
        groups: n names; inner folds keep photos of one name together.
        settings: The probe's keyword parameters (`TrialConfig.settings_of`).
    """
    known = np.flatnonzero(labels >= 0)
    classes, own = np.unique(labels[known], return_inverse=True)
    weights = np.zeros((n_classes, features.shape[1]))
    bias = np.full(n_classes, NEVER)
    if len(classes) < 2:
        bias[classes] = 0.0
        return weights.astype(np.float32), bias.astype(np.float32)
    seen = features[known]
    centre, scale = SCALINGS[scaling](seen)
    scale = np.where(scale > 0, scale, 1.0)
    scaled: Matrix = np.divide(seen - centre.astype(np.float32), scale.astype(np.float32), dtype=np.float32)
    each = np.ones(len(classes)) if class_weights is None else np.asarray(class_weights, dtype=np.float64)[classes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a fit stops after MOST_STEPS is its rule, and is the same everywhere
        slope, offset = _fit(probe, scaled, own, each, settings)
        if probe in SCORES_ONLY:
            names = [groups[row] for row in known.tolist()]
            warmth = _temperature(probe, scaled, own, each, groups=names, settings=settings)
            slope, offset = slope * warmth, offset * warmth
    slope, offset = slope - slope.mean(axis=0), offset - offset.mean()  # the softmax is the same, and `NEVER` lies far below
    weights[classes] = slope / scale
    bias[classes] = offset - slope @ (centre / scale)
    return weights.astype(np.float32), bias.astype(np.float32)


def _fit(probe: str, features: Matrix, labels: NDArray[np.int64], weights: Matrix, settings: dict[str, Any]) -> Scores:
    slope, offset = PROBES[probe](features, labels, weights, **settings)
    return np.asarray(slope, dtype=np.float64), np.asarray(offset, dtype=np.float64)


def _temperature(
    probe: str, features: Matrix, labels: NDArray[np.int64], weights: Matrix, *, groups: Sequence[str], settings: dict[str, Any]
) -> float:
    """What scores are multiplied by so that their softmax has the least log-loss on photos of other groups; 1 where there are none.

    Folds of which one lacks a class that the others have are passed over.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    found, numbers = [], {name: number for number, name in enumerate(dict.fromkeys(groups))}
    side = np.array([numbers[name] % INNER_FOLDS for name in groups])
    for inner in range(INNER_FOLDS):
        rest, here = np.flatnonzero(side != inner), np.flatnonzero(side == inner)
        if len(here) and len(np.unique(labels[rest])) == len(weights):
            slope, offset = _fit(probe, features[rest], labels[rest], weights, settings)
            found.append((features[here] @ slope.T + offset, labels[here]))
    if not found:
        return 1.0
    scores, truth = np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    def loss(log_warmth: float) -> float:
        each = log_softmax(np.exp(log_warmth) * scores, axis=1)[np.arange(len(truth)), truth]
        return -float(np.average(each, weights=weights[truth]))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded").x))


def _by_class(weights: Matrix) -> dict[int, float]:
    return dict(enumerate(weights.tolist()))


def _one_row_per_class(model: Any) -> Scores:
    """scikit-learn's `coef_` and `intercept_`; of two classes it keeps the difference alone."""
    slope, offset = np.atleast_2d(np.asarray(model.coef_, np.float64)), np.atleast_1d(np.asarray(model.intercept_, np.float64))
    if len(slope) == 1:
        slope, offset = np.concatenate([-slope / 2, slope / 2]), np.concatenate([-offset / 2, offset / 2])
    return slope, offset
