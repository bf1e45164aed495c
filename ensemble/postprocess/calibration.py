"""One model's probabilities `(N, C)` -> calibrated ones `(N, C)`: out-of-fold predictions and labels -> C slopes and C biases.

Vector scaling (Guo et al. 2017, "On calibration of modern neural networks", 4.2): softmax of `slope_c * log p_c + bias_c`. A model that
learned with class weights or from a weighted sampler believes in their prior; the biases take it back, as at the optimum the mean
calibrated probability of each class is its share of the photos that it was fitted on. Temperature scaling is one slope and no bias.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import half_logs, softmax
from ensemble.postprocess.scaling import DIGITS, Problem, losses, minimise
from ensemble.resampling import Groups, group_folds
from ensemble.votes import Floats, Ints, to_half
from system.errors import UserError, unknown

Numbers = NDArray[np.float64]

STRENGTHS = (1.0, 0.1, 0.01, 0.001)
"""What pulls the slopes of the classes together, strongest first; cross-validation chooses, the stronger of equals."""


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration, plain numbers.

    Attributes:
        slopes: C factors of the logarithms.
        biases: C summands.

    Raises:
        UserError: They are not as many finite numbers.
    """

    slopes: tuple[float, ...]
    biases: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.slopes) != len(self.biases) or not all(map(isfinite, chain(self.slopes, self.biases))):
            raise UserError(f"a calibration has as many finite slopes as biases, got {list(self.slopes)} and {list(self.biases)}")

    def to_json(self) -> dict[str, list[float]]:
        """The calibration as a JSON value."""
        return {"slopes": list(self.slopes), "biases": list(self.biases)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Calibration":
        """The calibration in a JSON value, equal to the last bit."""
        return cls(tuple(map(float, value["slopes"])), tuple(map(float, value["biases"])))


def calibrate(calibration: Calibration, probs: Floats) -> Numbers:
    """Calibrated probabilities `float64 (N, C)`, rows sum to 1, of `float (N, C)` in [0, 1]; they are rounded to float16 before.

    Raises:
        UserError: A value is no probability, or there are not C classes.
    """
    if probs.ndim != 2 or probs.shape[1] != len(calibration.slopes):
        raise UserError(f"the calibration is one of {len(calibration.slopes)} classes, got probabilities of shape {probs.shape}")
    return softmax(half_logs(to_half(probs)) * np.array(calibration.slopes) + np.array(calibration.biases))


def fit_calibration(
    probs: Floats,
    labels: Ints,
    groups: Groups,
    *,
    method: str = "vector",
    seed: int = 0,
    n_folds: int = 5,
    strengths: Sequence[float] = STRENGTHS,
) -> Calibration:
    """The calibration of least log loss on photos the model did not learn from.

    A class without a photo here keeps bias 0 and the common slope: nothing is known about it. The others' biases are then on a
    common level, so that their mean by shares is 0.

    Args:
        probs: `float (N, C)` in [0, 1], out-of-fold predictions of one model; a photo may stand several times.
        labels: `int64 (N,)`; photos with -1 take no part.
        groups: N group names; cross-validation keeps them whole.
        method: One of `METHODS`.
        seed: Of the folds.
        n_folds: Of the cross-validation among `strengths`.
        strengths: See `STRENGTHS`; a single one is taken as it is, without cross-validation.

    Raises:
        UserError: The method is unknown, no photo has a label, or there is no strength.
    """
    known = np.flatnonzero(labels >= 0)
    faults = [] if method in METHODS else [unknown("calibration", method, dict(METHODS))]
    faults += [] if len(known) else ["a calibration needs photos with labels, got none"]
    faults += [] if len(strengths) else ["a calibration needs a strength, got none"]
    if faults:
        raise UserError(*faults)
    present, classes = np.unique(labels[known], return_inverse=True)
    problem = Problem(half_logs(to_half(probs[known]))[:, present], classes, METHODS[method](len(present)))
    strength = strengths[0]
    if len(strengths) > 1 and method == "vector":
        strength = _best_strength(problem, np.asarray(groups)[known], strengths, n_folds=n_folds, seed=seed)
    slopes, biases = problem.slopes_biases(minimise(problem, strength))
    level = float(np.bincount(classes) / len(classes) @ biases)
    all_slopes, all_biases = np.full(probs.shape[1], slopes.mean()), np.zeros(probs.shape[1])
    all_slopes[present], all_biases[present] = slopes, biases - level
    return Calibration(*(tuple(np.round(values, DIGITS).tolist()) for values in (all_slopes, all_biases)))


def _best_strength(problem: Problem, groups: NDArray[Any], strengths: Sequence[float], *, n_folds: int, seed: int) -> float:
    """The strength of least log loss on held-out groups; the first of equals."""
    if len(np.unique(groups)) < 2:
        return strengths[0]
    folds = group_folds(groups, n_folds=n_folds, seed=seed)
    total = np.zeros(len(strengths))
    for fold in range(folds.max() + 1):
        inside, outside = problem.rows(folds != fold), problem.rows(folds == fold)
        parameters = None
        for place, strength in enumerate(strengths):
            parameters = minimise(inside, strength, parameters)
            total[place] += losses(outside, outside.probs(parameters)).sum()
    return strengths[int(np.argmin(total))]


def _temperature(n_classes: int) -> Numbers:
    return np.concatenate([np.ones((n_classes, 1)), np.zeros((n_classes, 1))])


def _vector(n_classes: int) -> Numbers:
    return np.eye(2 * n_classes)


METHODS: dict[str, Callable[[int], Numbers]] = {"temperature": _temperature, "vector": _vector}
