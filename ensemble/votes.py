"""Voters' probabilities `(K, N, C)` -> labels `(N,)` and class shares `(N, C)`, with a written rule for ties.

Voters stand most senior first on axis 0. Probabilities are rounded to float16 before they decide, so that a vote of
fresh outputs equals the vote of cached ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import FEW_ROWS, half_logs, softmax
from system.errors import UserError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Weights = Sequence[float] | Sequence[Sequence[float]] | NDArray[np.float64] | None
"""K numbers of at least 0, or K rows of C of them: how much a voter's word counts for each class; `None`: one voter, one vote."""

SENIOR_DECIDES = "the most senior voter among those who voted for a tied class"
FIRST_CLASS = "the first of the tied classes in the competition's order"
SENIOR_PREFERS = "of the tied classes the one that the most senior voter finds most probable, the first of equally probable ones"
TIE_EDGE = 1e-6  # of all votes: what the class that wins a tie is given more, so that argmax of the shares is the decision
EQUAL = 1e-9  # of all votes: sums of weights nearer than this are a tie (0.1 + 0.2 against 0.3)
_ONE_BITS = np.float16(1).view(
    np.uint16
)  # non-negative float16 sort like their bits; NaN, infinite, negative and > 1 stand above


@dataclass(frozen=True)
class Vote:
    """The outcome of N decisions.

    Attributes:
        labels: `int64 (N,)`, the decided class.
        shares: `float64 (N, C)`, at least 0, each row sums to 1 (within float16 rounding); the decided class is its argmax.
    """

    labels: Ints
    shares: NDArray[np.float64]


Decide = Callable[[Ints], Vote]  # rows int64 (n,) -> the vote on those photos, labels (n,)
Choose = Callable[[Ints], Decide]  # in-bag rows int64 (n,), a photo as often as it was drawn -> the decision chosen on them


@dataclass(frozen=True)
class Rule:
    """A voting rule.

    Attributes:
        vote: Called with probabilities `float (K, N, C)` in [0, 1] and weights `(K,)`, `(K, C)` or `None`; most senior voter first.
        tie_rule: Which class wins where several are equal, in words; it is written into the plan.
        counts: Whether shares are counts of what voters say, and not sums of probabilities.
    """

    vote: Callable[[Floats, Weights], Vote]
    tie_rule: str
    counts: bool = False


def soft_vote(probs: Floats, weights: Weights = None) -> NDArray[np.float64]:
    """The (weighted) arithmetic mean over the voters: `float (K, N, C)` in [0, 1] -> `float64 (N, C)`.

    With weights `(K, C)` each class has its own mean, and rows are brought back to the sum 1.
    """
    voices = _voices(weights, *probs.shape[::2])
    mean = _mean(probs, voices, lambda half: half)
    if voices.ndim == 2:
        total = mean.sum(axis=1, keepdims=True)
        np.divide(mean, total, out=mean, where=total > 0)
    return mean


def ballots(probs: Floats) -> Ints:
    """What each voter names: `float (K, N, C)` in [0, 1] -> `int64 (K, N)`, the first of equally probable classes."""
    named = np.empty(probs.shape[:2], dtype=np.int64)
    for voter, rows in enumerate(probs):
        named[voter] = first_largest(to_half(rows))
    return named


def first_largest(half: NDArray[np.float16]) -> Ints:
    """The most probable class, the first of equally probable ones: checked probabilities `float16 (N, C)` -> `int64 (N,)`."""
    bits = half.view(np.uint16)
    named = np.zeros(len(bits), dtype=np.int64)
    if bits.shape[1] > FEW_ROWS:
        return bits.argmax(axis=1, out=named)
    most = bits[:, 0].copy()
    for number in range(1, bits.shape[1]):
        column = bits[:, number]
        named[column > most] = number
        np.maximum(most, column, out=most)
    return named


def hard_outcome(shares: NDArray[np.float64], named: Callable[[Ints], NDArray[np.integer[Any]]]) -> Vote:
    """Decide by each class's share of the votes; a tie goes to the most senior voter among those who voted for a tied class.

    Args:
        shares: `float64 (N, C)`, each row sums to 1.
        named: From t photos with a tie, `int64 (t,)`, to what each voter names there, `int (K, t)`, most senior first; -1 for one
            who has no say.
    """
    columns = np.ascontiguousarray(shares.T)
    at_top = columns >= columns.max(axis=0) - EQUAL
    labels = at_top.argmax(axis=0)
    tied = np.flatnonzero(at_top.sum(axis=0) > 1)
    for choice in named(tied)[::-1]:  # the most senior speaks last
        labels[tied] = np.where((choice >= 0) & at_top[choice, tied], choice, labels[tied])
    return _tipped(labels, shares, tied)


def to_half(probs: Floats) -> NDArray[np.float16]:
    """Probabilities of any shape as float16, -0.0 as 0.0.

    Raises:
        UserError: A value is not a probability.
    """
    with np.errstate(over="ignore"):
        half = probs.astype(np.float16, copy=False)
    if half.size and half.view(np.uint16).max() > _ONE_BITS:
        half = half + np.float16(0)
        wrong = int((half.view(np.uint16) > _ONE_BITS).sum())
        if wrong:
            raise UserError(f"probabilities must lie in 0..1, {wrong} of {half.size} values do not; a diverged trial cannot vote")
    return half


def hard_by_ballots(named: NDArray[np.integer[Any]], n_classes: int, weights: Weights = None) -> Vote:
    """The hard vote of what K voters name: `int (K, N)`, most senior first, to the decided classes and their shares."""
    voices = _voices(weights, len(named), n_classes)
    voters, rows = _speaking(voices), np.arange(named.shape[1])
    spoken = named[voters]
    counts = np.broadcast_to(voices[voters, None], spoken.shape) if voices.ndim == 1 else _counts(voices, voters, spoken)
    shares = np.zeros((len(rows), n_classes), dtype=np.float64)
    if voices.ndim == 1 and (voices == 1).all():
        for number in range(n_classes):
            shares[:, number] = np.count_nonzero(spoken == number, axis=0)
    else:
        for choice, count in zip(spoken, counts, strict=True):
            shares[rows, choice] += count
    shares /= voices.sum() if voices.ndim == 1 else shares.sum(axis=1, keepdims=True)
    return hard_outcome(shares, lambda tied: np.where(counts[:, tied] > 0, spoken[:, tied], -1))


def _hard(probs: Floats, weights: Weights) -> Vote:
    """The class that most voters name; each names its most probable class, the first of equally probable ones.

    A voter whose vote counts 0 has no say in ties either. Where all votes on a photo count 0, each counts 1.
    """
    return hard_by_ballots(ballots(probs), probs.shape[2], weights)


def _counts(voices: NDArray[np.float64], voters: Ints, spoken: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """What each vote counts with weights per class, `(voters, N)`; all count 1 where none would count."""
    counts = voices[voters[:, None], spoken]
    return np.where(counts.any(axis=0), counts, 1.0)


def _soft(probs: Floats, weights: Weights) -> Vote:
    shares = soft_vote(probs, weights)
    return Vote(shares.argmax(axis=1), shares)


def _geometric(probs: Floats, weights: Weights) -> Vote:
    """The mean of logarithms, which heeds a voter who rules a class out; 0 counts as 2**-25, the most that float16 writes as 0."""
    shares = softmax(_mean(probs, _voices(weights, *probs.shape[::2]), half_logs))
    return Vote(shares.argmax(axis=1), shares)


def _rank(probs: Floats, weights: Weights) -> Vote:
    """Borda's count (1781), photo by photo: a class has as many points against it as the voter finds classes more probable.

    The mean of ranks over the photos, class by class, would answer for a photo by what the other photos are, and give one voter
    another answer than its own. Counting only classes that are strictly more probable, a class nobody believes in moves no other.
    Shares are points; they are no probabilities.
    """
    voices, n_classes = _voices(weights, *probs.shape[::2]), probs.shape[2]
    points = n_classes + _mean(probs, voices, lambda half: -_ranks(half))
    shares = points / points.sum(axis=1, keepdims=True)
    at_top = points >= points.max(axis=1, keepdims=True) - EQUAL
    senior = to_half(probs[_speaking(voices)[0]]).astype(np.float64)
    labels = np.where(at_top, senior, -1.0).argmax(axis=1)
    return _tipped(labels, shares, np.flatnonzero(at_top.sum(axis=1) > 1))


def _ranks(half: NDArray[np.float16]) -> NDArray[np.float64]:
    """`(N, C)`: how many classes of its row are more probable."""
    bits = half.view(np.uint16)
    ranks = np.zeros(half.shape, dtype=np.float64)
    for other in range(half.shape[1]):
        ranks += bits[:, other : other + 1] > bits
    return ranks


def _mean(
    probs: Floats, voices: NDArray[np.float64], of: Callable[[NDArray[np.float16]], NDArray[np.floating[Any]]]
) -> NDArray[np.float64]:
    """The weighted mean `(N, C)` of a function of each voter's rows."""
    total = np.zeros(probs.shape[1:], dtype=np.float64)
    for voter in _speaking(voices):
        total += voices[voter] * of(to_half(probs[voter]))
    total /= voices.sum(axis=0)
    return total


def _tipped(labels: Ints, shares: NDArray[np.float64], tied: Ints) -> Vote:
    """The vote in which the class that wins a tie has the greatest share."""
    shares[tied, labels[tied]] += TIE_EDGE
    shares[tied] /= 1 + TIE_EDGE
    return Vote(labels, shares)


def _voices(weights: Weights, n_voters: int, n_classes: int) -> NDArray[np.float64]:
    """Weights `(K,)` or `(K, C)`; equal weights are no weights, to the last bit, and equal columns are one."""
    values = np.ones(n_voters) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.ndim == 2 and (values == values[:, :1]).all():
        values = values[:, 0]
    return np.ones(n_voters) if values.ndim == 1 and (values == values[0]).all() else values


def _speaking(voices: NDArray[np.float64]) -> Ints:
    """The voters whose weight is not 0, most senior first."""
    return np.flatnonzero(voices.reshape(len(voices), -1).any(axis=1))


RULES: dict[str, Rule] = {
    "hard": Rule(_hard, SENIOR_DECIDES, counts=True),
    "soft": Rule(_soft, FIRST_CLASS),
    "geometric": Rule(_geometric, FIRST_CLASS),
    "rank": Rule(_rank, SENIOR_PREFERS, counts=True),
}
