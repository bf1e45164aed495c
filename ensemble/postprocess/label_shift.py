"""The prior of other photos: calibrated probabilities `(N, C)` without labels -> class shares `(C,)` with an interval, and its use.

Both estimators assume label shift: what a class looks like stays, how frequent it is changes. Where photos come from elsewhere
(covariate shift) they would turn the difference in looks into a difference in shares: whoever asks looks for one before.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import half_logs, softmax
from ensemble.postprocess.calibration import Problem, expansion, minimise, pulls
from ensemble.resampling import INTERVAL, Groups, group_draws, group_sums
from ensemble.votes import Floats, Ints, to_half
from system.errors import UserError

Numbers = NDArray[np.float64]

BEYOND = 95.0  # percentile of the largest difference that chance makes: "they differ" is false in 5 % of cases, nominally
CALIBRATED = 1.08
"""So much larger a difference must be, for probabilities were calibrated on the labelled photos and draws do not calibrate them again.
In 1,000 cases without a shift each (tests/ensemble/postprocess/test_label_shift.py: plain, weak, few people, ten classes) 7.9, 6.7, 4.8
and 6.9 % seemed to have one with 1.0; 5.5, 4.3, 3.4 and 3.3 % do with 1.08.
"""
WIDER = {"em": 1.0, "bbse": 1.1}
"""BBSE's estimate is held to the source's shares, and its draws with it: with 1.0 its intervals missed 13.7 % of shares in the world `weak`
and 11.6 % in `plain` (1,000 cases each, nominally 10 %), with 1.1 they miss 10.5 and 8.5 %.
"""
HOLD = 0.5  # of BBSE's estimate to the source's shares: 0 and 1 err more (simulated in tests/ensemble/postprocess/test_label_shift.py)
SUM_TO_ONE = 100.0  # heeded this much more than any other equation
SMALL = 1e-6
EDGE = 1e-3  # of a prior's uniform part at the start of EM, so that a share of 0 in one resample can rise in the next


@dataclass(frozen=True)
class PriorEstimate:
    """Class shares of photos without labels.

    Attributes:
        method: One of `ESTIMATORS`.
        source: C shares of the labelled photos.
        prior: C estimated shares.
        low: Where their 90 % interval over resamples of groups begins. It is one for the shares of those whom the test groups were
            drawn from; the shares of the test photos themselves lie in it rather more often.
        high: Where it ends.
        beyond_noise: Whether the mean probabilities of any class differ more than chance makes those of the most different class
            differ in 95 % of cases.
        n_resamples: How many.
    """

    method: str
    source: tuple[float, ...]
    prior: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    beyond_noise: bool
    n_resamples: int

    @property
    def believed(self) -> tuple[float, ...]:
        """The estimate where it differs from the source beyond noise, else the source: no shift, no change."""
        return self.prior if self.beyond_noise else self.source

    def to_json(self) -> dict[str, Any]:
        """The estimate as a JSON value."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def with_prior(probs: Floats, *, old: Sequence[float], new: Sequence[float]) -> Numbers:
    """Probabilities under another prior: `p_c * new_c / old_c`, rows brought back to the sum 1 (Saerens et al. 2002, equation 2.4).

    Args:
        probs: `float (N, C)`, calibrated under `old`.
        old: C shares of the photos they were calibrated on.
        new: C shares of the photos they are for.

    Returns:
        `float64 (N, C)`; a row in which nothing is left becomes `new`.

    Raises:
        UserError: A class of `new` has no share in `old`.
    """
    before, after = (np.asarray(values, dtype=np.float64) for values in (old, new))
    unseen = np.flatnonzero((before == 0) & (after > 0))
    if len(unseen):
        raise UserError(
            f"classes {unseen.tolist()} have a share in the new prior and none in the old: no factor can bring them back"
        )
    ratio = np.divide(after, before, out=np.zeros_like(before), where=before > 0)
    moved = probs.astype(np.float64) * ratio
    total = moved.sum(axis=1, keepdims=True)
    return np.where(total > 0, np.divide(moved, total, out=np.zeros_like(moved), where=total > 0), after)


def estimate_prior(
    source_probs: Floats,
    source_labels: Ints,
    source_groups: Groups,
    test_probs: Floats,
    test_groups: Groups,
    *,
    method: str = "em",
    seed: int = 0,
    n_resamples: int = 200,
) -> PriorEstimate:
    """Estimate the class shares of test photos; each resample draws the groups of both sides anew.

    Args:
        source_probs: `float (N, C)` in [0, 1], out of fold and calibrated (`ensemble.postprocess.calibration`).
        source_labels: `int64 (N,)`, each of the C classes at least once; photos with -1 take no part.
        source_groups: N group names, at least two.
        test_probs: `float (M, C)` of the same model and calibration.
        test_groups: M group names, at least two; without groups, the photos' ids.
        method: One of `ESTIMATORS`.
        seed: Of the resamples.
        n_resamples: How many.
    """
    known = np.flatnonzero(source_labels >= 0)
    n_classes = source_probs.shape[1]
    source = _side(source_probs[known], np.asarray(source_groups)[known], n_resamples, seed)
    test = _side(test_probs, np.asarray(test_groups), n_resamples, seed + 1)
    labels = source_labels[known]
    shares = source.draws @ group_sums(np.eye(n_classes)[labels], source.group_numbers, source.draws.shape[1])
    shares /= shares.sum(axis=1, keepdims=True)
    estimates = ESTIMATORS[method](source, labels, shares, test)
    wider = _wider(min(source.draws.shape[1], test.draws.shape[1])) * WIDER[method]
    low, high = (estimates[0] + wider * (edge - estimates[0]) for edge in np.percentile(estimates[1:], INTERVAL, axis=0))
    return PriorEstimate(
        method=method,
        source=whole_shares(shares[0]),
        prior=whole_shares(estimates[0]),
        low=_numbers(low),
        high=_numbers(high),
        beyond_noise=_beyond(source, test),
        n_resamples=n_resamples,
    )


@dataclass(frozen=True)
class _Side:
    """Photos of one side: float16 probabilities `(N, C)`, the number of each photo's group `(N,)`, and draws of groups `(1 + R, G)`.

    The first draw is every group once.
    """

    half: NDArray[np.float16]
    group_numbers: NDArray[np.integer]
    draws: Numbers


def _side(probs: Floats, groups: NDArray[Any], n_resamples: int, seed: int) -> _Side:
    names, group_numbers = np.unique(groups, return_inverse=True)
    drawn = group_draws(len(names), n_resamples=n_resamples, seed=seed)
    return _Side(to_half(probs), group_numbers, np.vstack([np.ones(len(names)), drawn]))


def _em(source: _Side, labels: Ints, shares: Numbers, test: _Side) -> Numbers:
    """Saerens, Latinne & Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities", 2.2.

    The calibration is fitted again in each resample, by one Newton step from that of all photos: an estimate is only as sure as
    the probabilities it rests on.
    """
    n_classes = shares.shape[1]
    slope = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])[:, None]
    directions = np.hstack([slope, np.vstack([np.zeros((n_classes, n_classes)), np.eye(n_classes)])])
    problem = Problem(half_logs(source.half), labels, directions)
    best = minimise(problem, 0.0)
    _, _, hessian = expansion(problem, best, 0.0)
    pulled = source.draws @ group_sums(pulls(problem, best), source.group_numbers, source.draws.shape[1])
    steps = np.linalg.lstsq(hessian, (pulled / len(labels)).T, rcond=1e-12)[0].T
    logs, estimates = half_logs(test.half), np.empty_like(shares)
    start = shares[0]
    for row, (step, share, times) in enumerate(zip(steps, shares, test.draws, strict=True)):
        weights = times[test.group_numbers]
        drawn = weights > 0
        slopes, biases = problem.slopes_biases(best - step)
        estimates[row] = _most_likely(softmax(logs[drawn] * slopes + biases), weights[drawn], share, start)
        start = estimates[0]
    return estimates


def _most_likely(probs: Numbers, weights: Numbers, old: Numbers, start: Numbers) -> Numbers:
    """EM's fixed point `(C,)` for probabilities `(N, C)` under the prior `old`, in the long steps of Varadhan & Roland 2008 (SqS3)."""
    factors = probs / np.maximum(old, 1 / (2 * len(probs)))
    total = weights.sum()

    def improved(prior: Numbers) -> Numbers:
        better: Numbers = prior * ((weights / (factors @ prior)) @ factors) / total
        return better

    prior = (1 - EDGE) * start + EDGE / len(start)
    for _ in range(500):
        once = improved(prior)
        twice = improved(once)
        step, bend = once - prior, twice - 2 * once + prior
        if np.abs(step).max() < 1e-7:
            break
        length = max(1.0, float(np.linalg.norm(step)) / max(float(np.linalg.norm(bend)), 1e-300))
        far = np.maximum(prior + 2 * length * step + length**2 * bend, 0)
        prior = improved(far / far.sum()) if length > 1 and ((prior > 0) <= (far > 0)).all() else twice
    return prior


def _bbse(source: _Side, labels: Ints, shares: Numbers, test: _Side) -> Numbers:
    """Lipton, Wang & Smola 2018, "Detecting and correcting for label shift with black box predictors", with mean probabilities.

    The shares at which the classes' mean probabilities on labelled photos mix to the mean on test photos, none negative, held
    to the source's by as much as the groups are few (Azizzadenesheli et al. 2019, "Regularized learning for domain adaptation under
    label shifts"); both distances are chi-squared.
    """
    from scipy.optimize import nnls

    n_classes, n_groups = shares.shape[1], test.draws.shape[1]
    cells = (source.half.astype(np.float64)[:, :, None] * np.eye(n_classes)[labels][:, None, :]).reshape(len(labels), -1)
    joint = (source.draws @ group_sums(cells, source.group_numbers, source.draws.shape[1])).reshape(-1, n_classes, n_classes)
    looks = joint / np.maximum(joint.sum(axis=1, keepdims=True), SMALL)
    estimates = np.empty_like(shares)
    for row, (seen, look, old) in enumerate(zip(_means(test), looks, shares, strict=True)):
        heed, hold = 1 / np.sqrt(np.maximum(seen, SMALL)), HOLD / np.sqrt(n_groups * np.maximum(old, SMALL))
        left = np.vstack([look * heed[:, None], np.diag(hold), np.full(n_classes, SUM_TO_ONE)])
        estimates[row] = nnls(left, np.concatenate([seen * heed, old * hold, [SUM_TO_ONE]]))[0]
    estimates /= estimates.sum(axis=1, keepdims=True)
    return estimates


def _means(side: _Side) -> Numbers:
    """The mean probabilities in each draw, `(1 + R, C)`."""
    sums = side.draws @ group_sums(side.half.astype(np.float64), side.group_numbers, side.draws.shape[1])
    means: Numbers = sums / sums.sum(axis=1, keepdims=True)
    return means


def _beyond(source: _Side, test: _Side) -> bool:
    """Whether mean probabilities differ more than groups by chance make them, in the class that differs most (Lipton 2018, section 6).

    Asked of mean probabilities, not of the estimated shares: those end at 0, where a bootstrap believes too much. With 4 classes, 100
    labelled and 80 test groups of 5, the estimates' own test found a real shift in 73 % of cases, this one in 80 %.
    """
    changes = _means(test) - _means(source)
    wider = _wider(min(source.draws.shape[1], test.draws.shape[1]))
    scale = np.maximum(changes[1:].std(axis=0), SMALL)
    by_chance = np.abs((changes[1:] - changes[0]) / scale).max(axis=1) * wider * CALIBRATED
    return bool(np.abs(changes[0] / scale).max() > np.percentile(by_chance, BEYOND))


def _numbers(shares: Numbers) -> tuple[float, ...]:
    return tuple(map(float, np.round(np.clip(shares, 0, 1), 6)))


def whole_shares(shares: Sequence[float] | Numbers | Ints) -> tuple[float, ...]:
    """Shares `(C,)` with six decimals that sum to 1: the largest takes what rounding left."""
    exact = np.asarray(shares, dtype=np.float64)
    rounded = [round(float(share), 6) for share in np.maximum(exact, 0) / np.maximum(exact, 0).sum()]
    most = max(range(len(rounded)), key=lambda position: rounded[position])
    rounded[most] = 1.0 - sum(share for position, share in enumerate(rounded) if position != most)
    return tuple(rounded)


def _wider(n_groups: int) -> float:
    """How much wider than the bootstrap's spread an interval from few groups must be: Student's t over the normal, in first order."""
    return float((n_groups / (n_groups - 1)) ** 0.5 * (1 + 0.93 / (n_groups - 1)))


ESTIMATORS: dict[str, Callable[[_Side, Ints, Numbers, _Side], Numbers]] = {"em": _em, "bbse": _bbse}
