"""One model's probabilities `(N, C)` -> calibrated ones `(N, C)`: out-of-fold predictions and labels -> C slopes and C biases.

Vector scaling (Guo et al. 2017, "On calibration of modern neural networks", 4.2): softmax of `slope_c * log p_c + bias_c`. A model that
learned with class weights or from a weighted sampler believes in their prior; the biases take it back, as at the optimum the mean
calibrated probability of each class is its share of the photos that it was fitted on. `ensemble.postprocess.label_shift` fits one slope
for all classes by the same arithmetic.
"""

from dataclasses import dataclass
from itertools import chain
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import FLOOR, half_logs, softmax
from ensemble.votes import Floats, Ints, to_half
from system.errors import UserError

Numbers = NDArray[np.float64]

STRENGTH = 0.1
"""Of the pull on the slopes. Chosen once: to choose it anew in hundreds of resamples costs twenty fits each."""
DIGITS = 6
"""Fitted numbers are rounded to these decimals: neither the order of photos nor the kind of processor reaches the plan."""
TOWARDS_ONE = 1e-3  # holds the common slope where a model is never wrong on its photos and the best slope would be infinite
SMALLEST_STEP = 1e-9
LAST_STEP = 1e-5
"""After a whole step of this size the next would be about its square: far below the digits that are kept."""


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


def calibrate(calibration: Calibration, probs: Floats) -> Numbers:
    """Calibrated probabilities `float64 (N, C)`, rows sum to 1, of `float (N, C)` in [0, 1]; they are rounded to float16 before.

    Raises:
        UserError: A value is no probability.
    """
    return softmax(half_logs(to_half(probs)) * np.array(calibration.slopes) + np.array(calibration.biases))


def fit_calibration(probs: Floats, labels: Ints) -> Calibration:
    """The calibration of least log loss on photos the model did not learn from; `STRENGTH` pulls the slopes of the classes together.

    A class without a photo here keeps bias 0 and the common slope: nothing is known about it. The others' biases are then on a
    common level, so that their mean by shares is 0.

    Args:
        probs: `float (N, C)` in [0, 1], out-of-fold predictions of one model; a photo may stand several times.
        labels: `int64 (N,)`, some of them known; photos with -1 take no part.
    """
    known = np.flatnonzero(labels >= 0)
    present, classes = np.unique(labels[known], return_inverse=True)
    problem = Problem(half_logs(to_half(probs[known]))[:, present], classes, np.eye(2 * len(present)))
    slopes, biases = problem.slopes_biases(minimise(problem, STRENGTH))
    level = float(np.bincount(classes) / len(classes) @ biases)
    all_slopes, all_biases = np.full(probs.shape[1], slopes.mean()), np.zeros(probs.shape[1])
    all_slopes[present], all_biases[present] = slopes, biases - level
    return Calibration(*(tuple(np.round(values, DIGITS).tolist()) for values in (all_slopes, all_biases)))


@dataclass(frozen=True)
class Problem:
    """Photos to be fitted, and what may move.

    Attributes:
        logs: Logarithms of probabilities `float64 (N, C)`.
        classes: `int64 (N,)`, every class at least once.
        directions: `float64 (2C, P)`: C slopes and then C biases are (1, 0) + directions @ parameters.
    """

    logs: Numbers
    classes: Ints
    directions: Numbers

    def slopes_biases(self, parameters: Numbers) -> tuple[Numbers, Numbers]:
        """Slopes and biases, `float64 (C,)` each, of P parameters."""
        n_classes = self.logs.shape[1]
        both = np.concatenate([np.ones(n_classes), np.zeros(n_classes)]) + self.directions @ parameters
        return both[:n_classes], both[n_classes:]

    def probs(self, parameters: Numbers) -> Numbers:
        """The scaled probabilities `float64 (N, C)`."""
        slopes, biases = self.slopes_biases(parameters)
        return softmax(self.logs * slopes + biases)


def minimise(problem: Problem, strength: float) -> Numbers:
    """The P parameters of least mean log loss and penalty; both are convex, so halved Newton steps find them.

    Args:
        problem: What is fitted.
        strength: Of the penalty on what slopes differ from their mean: half the sum of squares, times this.
    """
    parameters = np.zeros(problem.directions.shape[1])
    value, gradient, hessian = expansion(problem, parameters, strength)
    for _ in range(100):
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-12)[0]
        if np.abs(step).max() < LAST_STEP:
            return parameters - step
        there = expansion(problem, parameters - step, strength)
        while there[0] > value and np.abs(step).max() >= SMALLEST_STEP:
            step = step / 2
            there = expansion(problem, parameters - step, strength)
        parameters = parameters - step
        value, gradient, hessian = there
        if np.abs(step).max() < SMALLEST_STEP:
            break
    return parameters


def expansion(problem: Problem, parameters: Numbers, strength: float) -> tuple[float, Numbers, Numbers]:
    """Value, gradient `(P,)` and Hessian `(P, P)` of the mean log loss with its penalty."""
    probs, logs, (n_photos, n_classes) = problem.probs(parameters), problem.logs, problem.logs.shape
    turn, off, penalty = problem.directions, problem.directions @ parameters, _penalty(n_classes, strength)
    leaning = probs * logs
    moved = np.hstack([leaning, probs])
    hessian = -moved.T @ moved
    slopes, biases = np.arange(n_classes), np.arange(n_classes, 2 * n_classes)
    hessian[slopes, slopes] += (leaning * logs).sum(axis=0)
    hessian[biases, biases] += probs.sum(axis=0)
    hessian[slopes, biases] += leaning.sum(axis=0)
    hessian[biases, slopes] += leaning.sum(axis=0)
    excess = _excess(problem, probs)
    gradient = np.concatenate([(excess * logs).sum(axis=0), excess.sum(axis=0)])
    value = float(_losses(problem, probs).mean() + off @ penalty @ off / 2)
    return value, turn.T @ (gradient / n_photos + penalty @ off), turn.T @ (hessian / n_photos + penalty) @ turn


def pulls(problem: Problem, parameters: Numbers) -> Numbers:
    """The gradient of each photo's log loss, `float64 (N, P)`: what resampled photos pull the parameters by."""
    excess = _excess(problem, problem.probs(parameters))
    gradients: Numbers = np.hstack([excess * problem.logs, excess]) @ problem.directions
    return gradients


def _losses(problem: Problem, probs: Numbers) -> Numbers:
    """The log loss of each photo, `float64 (N,)`."""
    losses: Numbers = -np.log(np.maximum(probs[np.arange(len(probs)), problem.classes], FLOOR**2))
    return losses


def _excess(problem: Problem, probs: Numbers) -> Numbers:
    excess = probs.copy()
    excess[np.arange(len(probs)), problem.classes] -= 1
    return excess


def _penalty(n_classes: int, strength: float) -> Numbers:
    """The matrix `(2C, 2C)` of the penalty on (slopes - 1, biases); the biases are only kept from drifting together."""
    mean = np.full((n_classes, n_classes), 1 / n_classes)
    matrix = np.zeros((2 * n_classes, 2 * n_classes))
    matrix[:n_classes, :n_classes] = strength * (np.eye(n_classes) - mean) + TOWARDS_ONE * mean
    matrix[n_classes:, n_classes:] = mean
    return matrix
