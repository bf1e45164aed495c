"""The twin gap: do held-out photos have nearer twins in training than test photos have? Similarities and groups -> `TwinGap`.

A model answers a photo more easily that it has nearly learned from. Where held-out photos have such twins and test photos do not, the
score of the fold is too good. Both sides are asked about the same training photos, those of each fold's model, so with photos drawn
from one place there is no gap, however few there are. No label is used.

After Linnenbrink et al. 2024, "kNNDM CV" (Geoscientific Model Development 17), who compare distances on maps.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.twins.similarity import Nearest

Numbers = NDArray[np.float64]
Ints = NDArray[np.int64]
NOMINAL = 0.90
"""Of the interval; one end lies on the wrong side of 0 in 5 % of cases without a gap."""
MOSTLY_ALONE = 0.75
"""With fewer groups than this share of the photos, labelled photos come in groups."""
WEAKEST_GAP = 0.55
"""A gap is not announced where a held-out photo has the nearer twin in fewer than this share of pairs: with many photos the smallest
difference is sure, and moves no score."""
WIDEST_GAP = 2.0
"""No difference of cosine similarities is larger; the interval of a single group."""
SCORE_TOO_GOOD, SCORE_TOO_BAD, NO_GAP = "too good", "too bad", "none"


@dataclass(frozen=True)
class TwinGap:
    """Similarity to the nearest training photo, of held-out and of test photos.

    Attributes:
        held_out: Median over held-out photos.
        test: Median over test photos.
        distance: Wasserstein-1 distance of the two distributions.
        gap: Mean over held-out photos less mean over test photos.
        low: Where the interval of `gap` begins, 90 %, over groups.
        high: Where it ends.
        nearer: In which share of pairs the held-out photo has the nearer twin.
        n_held_out: Photos compared.
        n_test: Photos compared.
        n_groups: Groups among the held-out ones.
        verdict: What to expect of the score: `too good`, `too bad` or `none` for no gap beyond noise.
    """

    held_out: float
    test: float
    distance: float
    gap: float
    low: float
    high: float
    nearer: float
    n_held_out: int
    n_test: int
    n_groups: int
    verdict: str

    @property
    def words(self) -> str:
        """One sentence for people."""
        facts = (
            f"similarity {self.held_out:.3f} against {self.test:.3f}, gap {self.gap:+.3f} ({self.low:+.3f} to {self.high:+.3f})"
        )
        if self.verdict == SCORE_TOO_GOOD:
            return f"held-out photos have nearer twins in training than test photos: expect the score to be too good ({facts})"
        if self.verdict == SCORE_TOO_BAD:
            return f"test photos have nearer twins in training than held-out photos: the score may be too low ({facts})"
        return f"held-out photos have twins in training about as near as test photos have ({facts})"

    def to_json(self) -> dict[str, Any]:
        """All numbers, and the sentence."""
        return {**{k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(self).items()}, "words": self.words}


def twin_gap(
    held_out: Nearest, groups: Ints, test: Nearest, test_groups: Sequence[str], fold_weights: Sequence[float], n_groups: int
) -> TwinGap:
    """Compare the two sides.

    The interval comes from leaving out each group of labelled photos once (the jackknife), among those that are asked and among those
    that are looked at: two groups that are one another's nearest are no two independent facts. It is rather too wide than too narrow
    (Efron & Stein 1981). Test photos add the error of their mean, by their groups. Where those are unknown (one photo each, while labelled
    ones have several) it is taken to be as much larger than that of single photos as held-out photos' is (the design effect, Kish 1965).

    Args:
        held_out: Of n held-out photos, `(n, 1)`, in the training of their fold's model.
        groups: `(n,)` numbers of their groups, 0 to G - 1.
        test: Of m test photos, `(m, F)`, in the training of each of F models.
        test_groups: m group names.
        fold_weights: F shares of the held-out photos.
        n_groups: G, of all training photos.
    """
    mine, theirs = held_out.first[:, 0].astype(np.float64), test.first.astype(np.float64)
    shares = np.asarray(fold_weights, dtype=np.float64) / np.sum(fold_weights)
    all_theirs, weights = theirs.ravel(), np.tile(shares / len(theirs), len(theirs))
    each = theirs @ shares
    gap = float(mine.mean() - each.mean())
    sizes = np.bincount(groups).astype(np.float64)
    n_effective = float(sizes.sum() ** 2 / np.square(sizes).sum())
    error = float(
        np.hypot(_left_out_error(held_out, groups, test, weights, n_groups), _test_error(mine, groups, each, test_groups))
    )
    margin = _student(n_effective - 1) * error if np.isfinite(error) else 2 * WIDEST_GAP
    nearer = _nearer(mine, all_theirs, weights)
    verdict = NO_GAP
    if gap - margin > 0 and nearer >= WEAKEST_GAP:
        verdict = SCORE_TOO_GOOD
    elif gap + margin < 0 and nearer <= 1 - WEAKEST_GAP:
        verdict = SCORE_TOO_BAD
    return TwinGap(
        held_out=float(np.median(mine)),
        test=_weighted_median(all_theirs, weights),
        distance=wasserstein(mine, all_theirs, weights),
        gap=gap,
        low=max(gap - margin, -WIDEST_GAP),
        high=min(gap + margin, WIDEST_GAP),
        nearer=nearer,
        n_held_out=len(mine),
        n_test=len(theirs),
        n_groups=int((sizes > 0).sum()),
        verdict=verdict,
    )


def wasserstein(mine: Numbers, theirs: Numbers, weights: Numbers | None = None) -> float:
    """The Wasserstein-1 distance of two sets of numbers, the second with weights: the area between their distributions."""
    weights = np.full(len(theirs), 1 / len(theirs)) if weights is None else weights / weights.sum()
    values = np.concatenate([mine, theirs])
    steps = np.concatenate([np.full(len(mine), 1 / len(mine)), -weights])
    order = np.argsort(values, kind="stable")
    return float(np.abs(np.cumsum(steps[order])[:-1]) @ np.diff(values[order]))


def _left_out_error(held_out: Nearest, groups: Ints, test: Nearest, weights: Numbers, n_groups: int) -> float:
    """The standard error of the gap over groups of labelled photos: each is left out once, as asked and as looked at."""
    mine = held_out.first[:, 0].astype(np.float64)
    near, lost = held_out.group[:, 0], mine - held_out.second[:, 0]
    own = np.bincount(groups, minlength=n_groups).astype(np.float64)
    if (own > 0).sum() < 2:
        return float("inf")
    left = len(mine) - own
    sums = mine.sum() - np.bincount(groups, mine, n_groups) - np.bincount(near, lost, n_groups)
    theirs = test.first.astype(np.float64).ravel()
    means = weights @ theirs - np.bincount(test.group.ravel(), weights * (theirs - test.second.ravel()), n_groups)
    gaps = sums / left - means
    return float(np.sqrt((n_groups - 1) / n_groups * np.square(gaps - gaps.mean()).sum()))


def _test_error(mine: Numbers, groups: Ints, each: Numbers, test_groups: Sequence[str]) -> float:
    """The standard error of the test photos' mean, over their groups or as if they came in groups like the labelled ones'."""
    names, numbers = np.unique(np.asarray(test_groups), return_inverse=True)
    ungrouped = len(names) == len(each) and len(np.unique(groups)) < MOSTLY_ALONE * len(groups)
    effect = max(1.0, _mean_error(mine, groups) / _mean_error(mine, np.arange(len(mine)))) if ungrouped else 1.0
    return effect * _mean_error(each, numbers)


def _mean_error(values: Numbers, groups: Ints) -> float:
    """The standard error of a mean whose values come in groups; a tiny number for equal values."""
    sums = np.bincount(groups, values - values.mean())
    n = int(np.count_nonzero(np.bincount(groups)))
    return float("inf") if n < 2 else float(np.sqrt(n / (n - 1) * np.square(sums).sum()) / len(values)) + 1e-12


def _student(freedom: float) -> float:
    """How many standard errors an interval reaches to each side, with so many degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf((1 + NOMINAL) / 2, max(1.0, freedom)))


def _nearer(mine: Numbers, theirs: Numbers, weights: Numbers) -> float:
    """The share of pairs, by weight, in which a value of `mine` is greater; equal values count half."""
    order = np.argsort(theirs, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    left, right = (np.searchsorted(theirs[order], mine, side) for side in ("left", "right"))
    return float((below[left] + below[right]).mean() / (2 * below[-1]))


def _weighted_median(values: Numbers, weights: Numbers) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
