"""What voters name once they are calibrated, mostly without computing probabilities: `float16 (V, N, C)` -> `int64 (V, N)`.

A hard vote asks for each voter's most probable class alone, and a softmax keeps the order of its scores. Only where two classes are so
near that rounding to float16 may make them equal are the probabilities themselves computed.
"""

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import FLOOR, half_logs
from ensemble.plan.spec import Correction, mean_of_models, prepare_rows
from ensemble.postprocess.calibration import Calibration
from ensemble.votes import Ints, first_largest

NEAR = 1 / 256
"""Two probabilities whose logarithms differ by more stay different as float16 (its steps are 1/1024 of a value, or less), though the
logarithms were added up in float32."""
WIDEST = 500.0
"""Scores beyond this would come near what float64 writes as 0; then nothing is left out."""


def calibrated_ballots(probs: NDArray[np.float16], calibration: Calibration | None, correction: Correction | None) -> Ints:
    """As `votes.ballots` of rows that were calibrated and corrected, equal in every case.

    Args:
        probs: `float16 (V, N, C)` in 0..1, checked, all of one model.
        calibration: The model's.
        correction: Of class shares.
    """
    n_views, n, n_classes = probs.shape
    flat = probs.reshape(-1, n_classes)
    scale = _scale(n_classes, calibration, correction)
    named, near = np.zeros(len(flat), dtype=np.int64), np.arange(len(flat))
    if scale is not None:
        named, near = _leading(flat, *scale, ruled_out=calibration is None)
    if len(near):
        named[near] = first_largest(mean_of_models([prepare_rows(flat[near], calibration, correction)]))
    return named.reshape(n_views, n)


def _scale(
    n_classes: int, calibration: Calibration | None, correction: Correction | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Factors and summands `(C,)` of the logarithms; `None` where scores would be too wide apart."""
    factors, summands = np.ones(n_classes), np.zeros(n_classes)
    if calibration is not None:
        factors, summands = np.array(calibration.slopes), np.array(calibration.biases)
    if correction is not None:
        old, new = np.array(correction.old), np.array(correction.new)
        if (old <= 0).any() or (new <= 0).any():
            return None
        summands = summands + np.log(new) - np.log(old)
    widest = np.abs(factors).max() * -np.log(FLOOR) + np.abs(summands).max()
    return (factors.astype(np.float32), summands.astype(np.float32)) if widest < WIDEST else None


def _leading(
    flat: NDArray[np.float16], factors: NDArray[np.float32], summands: NDArray[np.float32], *, ruled_out: bool
) -> tuple[Ints, Ints]:
    """The class of the largest score in each row of `(n, C)`, and the rows in which another one is near it.

    A probability of 0 counts as 2^-25 where it is calibrated, and as 0 where only shares are corrected: it is then `ruled_out`.
    """
    named = np.zeros(len(flat), dtype=np.int64)
    most = second = np.full(len(flat), -np.inf, dtype=np.float32)
    for number in range(flat.shape[1]):
        own = half_logs(flat[:, number]).astype(np.float32) * factors[number] + summands[number]
        if ruled_out:
            own[flat[:, number] == 0] = -np.inf
        named[own > most] = number
        second = np.maximum(second, np.minimum(own, most))
        most = np.maximum(most, own)
    with np.errstate(invalid="ignore"):  # where all are ruled out there is no difference
        return named, np.flatnonzero(~(most - second >= NEAR))
