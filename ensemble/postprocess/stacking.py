"""Stacking: voters' probabilities `(K, N, C)` -> shares `(N, C)` by a multinomial logistic regression on their logarithms.

Wolpert 1992, "Stacked generalization"; logarithms, as a weighted sum of them is a weighted geometric mean, which one voter per class
may lead. It learns which voter to believe on which class, and needs out-of-fold predictions: on photos that its voters learned from
all of them look right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import half_logs, softmax
from ensemble.postprocess.calibration import DIGITS
from ensemble.resampling import Groups, group_folds
from ensemble.votes import Floats, Ints, Vote, to_half

Numbers = NDArray[np.float64]

PENALTIES = (100.0, 10.0, 1.0, 0.1)
"""Half of this times the sum of squared coefficients is added to the sum of log losses over `PER_PHOTOS` photos; strongest first."""
PER_PHOTOS = 1000
SCALE = 4.0  # centred logarithms are divided by it: about their spread where a model is 95 % sure


@dataclass(frozen=True)
class Stacking:
    """A fitted stacking, plain numbers.

    Attributes:
        n_classes: C.
        present: The classes that had a photo; the others get share 0.
        coefficients: `(K * C, P)` for K voters and P present classes, voter by voter.
        intercepts: P numbers.
        penalty: The one that cross-validation chose.
    """

    n_classes: int
    present: tuple[int, ...]
    coefficients: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]
    penalty: float

    def to_json(self) -> dict[str, Any]:
        """The stacking as a JSON value."""
        return {
            "n_classes": self.n_classes,
            "present": list(self.present),
            "coefficients": [list(row) for row in self.coefficients],
            "intercepts": list(self.intercepts),
            "penalty": self.penalty,
        }


def stacked_vote(stacking: Stacking, probs: Floats) -> Vote:
    """The vote of `float (K, N, C)` in [0, 1], the voters in the order of the fit; ties go to the first class.

    Columns are added one after the other, so a photo's answer has the same bits whatever photos stand beside it.

    Raises:
        UserError: A value is no probability.
    """
    inputs = _inputs(probs)
    scores = np.tile(np.array(stacking.intercepts), (probs.shape[1], 1))
    for column, row in zip(inputs.T, stacking.coefficients, strict=True):
        scores += column[:, None] * np.array(row)
    shares = np.zeros(probs.shape[1:])
    shares[:, list(stacking.present)] = softmax(scores)
    return Vote(shares.argmax(axis=1), shares)


def fit_stacking(
    probs: Floats, labels: Ints, groups: Groups, *, n_folds: int = 5, penalties: Sequence[float] = PENALTIES
) -> Stacking:
    """The stacking of least log loss, with the penalty that does best on held-out groups.

    Args:
        probs: `float (K, N, C)` in [0, 1], out-of-fold.
        labels: `int64 (N,)`, some of them known; photos with -1 take no part.
        groups: N group names, at least two where there are several penalties; cross-validation keeps them whole.
        n_folds: Of the cross-validation.
        penalties: See `PENALTIES`, strongest first; of equals the first is taken, a single one without cross-validation.
    """
    known = np.flatnonzero(labels >= 0)
    inputs, truth, chosen = _inputs(probs[:, known]), labels[known], penalties[0]
    chooses = len(penalties) > 1
    folds = group_folds(np.asarray(groups)[known], n_folds=n_folds, seed=0) if chooses else np.zeros_like(truth)
    order = np.lexsort(np.vstack([inputs.T, truth, folds]))  # the optimiser stops at a bit that depends on the order of sums
    inputs, truth, folds = inputs[order], truth[order], folds[order]
    if chooses:
        chosen = _best_penalty(inputs, truth, folds, penalties)
    present, coefficients, intercepts = _regression(inputs, truth, chosen)
    return Stacking(
        n_classes=probs.shape[2],
        present=tuple(map(int, present)),
        coefficients=tuple(tuple(map(float, row)) for row in np.round(coefficients, DIGITS)),
        intercepts=tuple(map(float, np.round(intercepts, DIGITS))),
        penalty=chosen,
    )


def _inputs(probs: Floats) -> Numbers:
    """Each voter's logarithms less their mean over the classes: `(N, K * C)`."""
    logs = half_logs(to_half(probs))
    centred = (logs - logs.mean(axis=2, keepdims=True)) / SCALE
    return np.ascontiguousarray(centred.transpose(1, 0, 2)).reshape(probs.shape[1], -1)


def _regression(inputs: Numbers, labels: Ints, penalty: float) -> tuple[Ints, Numbers, Numbers]:
    """The classes that occur `(P,)`, coefficients `(X, P)` and intercepts `(P,)`."""
    from sklearn.linear_model import LogisticRegression

    present: Ints = np.unique(labels)
    if len(present) == 1:
        return present, np.zeros((inputs.shape[1], 1)), np.zeros(1)
    model = LogisticRegression(C=PER_PHOTOS / (penalty * len(labels)), tol=1e-6, max_iter=1000).fit(inputs, labels)
    if len(present) == 2:  # one row, for the second class
        return present, np.hstack([0 * model.coef_.T, model.coef_.T]), np.append(0.0, model.intercept_)
    return present, model.coef_.T, model.intercept_


def _best_penalty(inputs: Numbers, labels: Ints, folds: Ints, penalties: Sequence[float]) -> float:
    """The penalty of least log loss on held-out groups; the first of equals. A class unseen inside counts as sure to be missed."""
    losses = np.zeros(len(penalties))
    for fold in range(folds.max() + 1):
        inside, outside = folds != fold, folds == fold
        for position, penalty in enumerate(penalties):
            present, coefficients, intercepts = _regression(inputs[inside], labels[inside], penalty)
            seen = np.isin(labels[outside], present)
            shares = softmax(inputs[outside][seen] @ coefficients + intercepts)
            at = np.searchsorted(present, labels[outside][seen])
            losses[position] -= np.log(np.maximum(shares[np.arange(len(at)), at], 1e-12)).sum()
    return penalties[int(np.argmin(losses))]
