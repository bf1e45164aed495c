"""Voters' probabilities `(K, N, C)` -> labels `(N,)` and class shares `(N, C)`, with a written rule for ties.

Voters stand most senior first on axis 0. Probabilities are rounded to float16 before they decide, so that a vote of
fresh outputs equals the vote of cached ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.errors import UserError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Weights = Sequence[float] | NDArray[np.float64] | None

SENIOR_DECIDES = "the most senior voter among those who voted for a tied class"
FIRST_CLASS = "the first of the tied classes in the competition's order"
TIE_EDGE = 1e-6  # of all votes: what the class that wins a tie is given more, so that argmax of the shares is the decision
EQUAL = 1e-9  # of all votes: sums of weights nearer than this are a tie (0.1 + 0.2 against 0.3)
_ONE = np.float16(1).view(np.uint16)  # non-negative float16 sort like their bits; NaN, infinite, negative and > 1 stand above


@dataclass(frozen=True)
class Vote:
    """The outcome of N decisions.

    Attributes:
        labels: `int64 (N,)`, the decided class.
        shares: `float64 (N, C)`, at least 0, each row sums to 1 (within float16 rounding); the decided class is its argmax.
    """

    labels: Ints
    shares: NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """A way to vote.

    Attributes:
        vote: Called with probabilities `float (K, N, C)` in [0, 1] and K weights or `None`; most senior voter first.
        tie_rule: Which class wins where several are equal, in words; it is written into the plan.
    """

    vote: Callable[[Floats, Weights], Vote]
    tie_rule: str


def hard_vote(probs: Floats, weights: Weights = None) -> Ints:
    """The class that most voters name; each names its most probable class, the first of equally probable ones.

    A tie goes to the most senior voter among those who voted for a tied class.

    Args:
        probs: `float (K, N, C)` in [0, 1], most senior voter first.
        weights: K numbers of at least 0, the votes of each voter; a voter of weight 0 has no say in ties either.

    Returns:
        Labels `int64 (N,)`.
    """
    return _hard(probs, weights).labels


def soft_vote(probs: Floats, weights: Weights = None) -> NDArray[np.float64]:
    """The (weighted) arithmetic mean over the voters: `float (K, N, C)` in [0, 1] -> `float64 (N, C)`."""
    shares = _shares(weights, _cube(probs))
    total = np.zeros(probs.shape[1:], dtype=np.float64)
    for voter in np.flatnonzero(shares):
        total += shares[voter] * to_half(probs[voter])
    total /= shares.sum()
    return total


def ballots(probs: Floats) -> Ints:
    """What each voter names: `float (K, N, C)` in [0, 1] -> `int64 (K, N)`, the first of equally probable classes."""
    named = np.empty(probs.shape[:2], dtype=np.int64)
    for voter, rows in enumerate(_cube(probs)):
        named[voter] = to_half(rows).view(np.uint16).argmax(axis=1)
    return named


def hard_outcome(shares: NDArray[np.float64], named: Callable[[Ints], NDArray[np.integer[Any]]]) -> Vote:
    """Decide by each class's share of the votes; a tie goes to the most senior voter among those who voted for a tied class.

    Args:
        shares: `float64 (N, C)`, each row sums to 1.
        named: From t photos with a tie, `int64 (t,)`, to what each voter names there, `int (K, t)`, most senior first.
    """
    at_top = shares >= shares.max(axis=1, keepdims=True) - EQUAL
    labels = at_top.argmax(axis=1)
    tied = np.flatnonzero(at_top.sum(axis=1) > 1)
    for choice in named(tied)[::-1]:  # the most senior speaks last
        labels[tied] = np.where(at_top[tied, choice], choice, labels[tied])
    shares[tied, labels[tied]] += TIE_EDGE
    shares[tied] /= 1 + TIE_EDGE
    return Vote(labels, shares)


def to_half(probs: Floats) -> NDArray[np.float16]:
    """Probabilities of any shape as float16, -0.0 as 0.0.

    Raises:
        UserError: A value is not a probability.
    """
    with np.errstate(over="ignore"):
        half = probs.astype(np.float16, copy=False)
    if half.size and half.view(np.uint16).max() > _ONE:
        half = half + np.float16(0)
        wrong = int((half.view(np.uint16) > _ONE).sum())
        if wrong:
            raise UserError(f"probabilities must lie in 0..1, {wrong} of {half.size} values do not; a diverged trial cannot vote")
    return half


def _hard(probs: Floats, weights: Weights) -> Vote:
    voices = _shares(weights, _cube(probs))
    voters = np.flatnonzero(voices)
    named, rows = ballots(probs), np.arange(probs.shape[1])
    shares = np.zeros(probs.shape[1:], dtype=np.float64)
    for voter in voters:
        shares[rows, named[voter]] += voices[voter]
    return hard_outcome(shares / voices.sum(), lambda tied: named[voters][:, tied])


def _soft(probs: Floats, weights: Weights) -> Vote:
    shares = soft_vote(probs, weights)
    return Vote(shares.argmax(axis=1), shares)


def _cube(probs: Floats) -> Floats:
    if probs.ndim != 3 or 0 in (probs.shape[0], probs.shape[2]):
        raise UserError(f"probabilities must have the shape (voters >= 1, photos, classes >= 1), got {probs.shape}")
    return probs


def _shares(weights: Weights, probs: Floats) -> NDArray[np.float64]:
    values = np.ones(len(probs)) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.shape != (len(probs),):
        raise UserError(f"weights must be one per voter, got {values.size} for {len(probs)} voters")
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise UserError(f"weights must be numbers of at least 0 and not all 0, got {values.tolist()}")
    return np.ones(len(values)) if (values == values[0]).all() else values  # equal weights are no weights, to the last bit


RULES: dict[str, Rule] = {
    "hard": Rule(_hard, SENIOR_DECIDES),
    "soft": Rule(_soft, FIRST_CLASS),
}
