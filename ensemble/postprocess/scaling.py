"""The arithmetic of scaling: softmax of `slope_c * log p_c + bias_c`, its log loss, and the parameters at which that is least."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import FLOOR, softmax
from ensemble.votes import Ints

Numbers = NDArray[np.float64]

TOWARDS_ONE = 1e-3  # holds the common slope where a model is never wrong on its photos and the best slope would be infinite
SMALLEST_STEP = 1e-9
LAST_STEP = 1e-5
"""After a whole step of this size the next would be about its square: far below the digits that are kept."""

DIGITS = 6
"""Fitted numbers are rounded to these decimals: neither the order of photos nor the kind of processor reaches the plan."""


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

    def rows(self, rows: NDArray[np.bool_]) -> "Problem":
        """The same of some photos, `bool (N,)`."""
        return Problem(self.logs[rows], self.classes[rows], self.directions)


def losses(problem: Problem, probs: Numbers) -> Numbers:
    """The log loss of each photo, `float64 (N,)`."""
    found: Numbers = -np.log(np.maximum(probs[np.arange(len(probs)), problem.classes], FLOOR**2))
    return found


def minimise(problem: Problem, strength: float, start: Numbers | None = None) -> Numbers:
    """The P parameters of least mean log loss and penalty; both are convex, so halved Newton steps find them.

    Args:
        problem: What is fitted.
        strength: Of the penalty on what slopes differ from their mean: half the sum of squares, times this.
        start: Where to begin, e.g. the parameters at another strength.
    """
    parameters = np.zeros(problem.directions.shape[1]) if start is None else start
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
    value = float(losses(problem, probs).mean() + off @ penalty @ off / 2)
    return value, turn.T @ (gradient / n_photos + penalty @ off), turn.T @ (hessian / n_photos + penalty) @ turn


def pulls(problem: Problem, parameters: Numbers) -> Numbers:
    """The gradient of each photo's log loss, `float64 (N, P)`: what resampled photos pull the parameters by."""
    excess = _excess(problem, problem.probs(parameters))
    found: Numbers = np.hstack([excess * problem.logs, excess]) @ problem.directions
    return found


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
