"""What a metric is made of: votes and labels -> sums that add up over photos, groups and resamples -> the score.

For metrics of labels the sums are the cells of a confusion matrix, of which only those are kept that something was counted into: a
thousand classes have a million. For log loss they are the log-probabilities of the true classes and the number of photos. A score of sums
is that of all photos together: macro-F1 over many small sets is too good on average, for a class that a set does not show is left out of
its mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS, SMALLEST_PROB
from ensemble.votes import Ints, Vote
from system.errors import UserError

Numbers = NDArray[np.float64]

LOG_LOSS = "log_loss"
RANGE = {name: (float(np.log(SMALLEST_PROB)), 0.0) if name == LOG_LOSS else (0.0, 1.0) for name in METRICS}
"""From the worst score to the best."""
FIXED = 2.0**16
"""Sums are rounded to multiples of 1 / FIXED: confusion matrices stay whole numbers, and their sums exact."""


def tally(pairs: Ints, counts: Ints, length: int) -> NDArray[np.int64]:
    """How often each number stands in `pairs`, `int64 (length,)`.

    Args:
        pairs: `int64 (n, ...)`, each 0..length-1, e.g. cells of confusion matrices.
        counts: `int64 (n, ...)` or `(n, 1, ...)`: how often a photo counts.
        length: How many numbers there are.
    """
    if (counts == 1).all():
        return np.bincount(pairs.ravel(), minlength=length)
    return np.bincount(pairs.ravel(), np.broadcast_to(counts, pairs.shape).ravel(), length).astype(np.int64)


def margins_of_many(counts: NDArray[np.int64], labels: Ints, times: Ints) -> NDArray[np.int64]:
    """The `competitions.metrics.margins` of K votes on the same photos, `int64 (K, 3, C)`.

    Args:
        counts: `int64 (2, K, C)`, how often each vote names each class: where right, and at all.
        labels: `int64 (n,)`, of all the photos.
        times: `int64 (n,)`, how often each counts.
    """
    right, named = counts
    truth = tally(labels, times, counts.shape[2])
    return np.stack([right, np.broadcast_to(truth, right.shape), named], axis=1)


@dataclass(frozen=True)
class GroupSums:
    """What a metric is made of, for each of G groups.

    Attributes:
        metric: One of `competitions.metrics.METRICS`.
        n_classes: C.
        n_groups: G.
        keys: `int64 (K,)`, increasing: group * X + cell, of X = C * C cells of a confusion matrix, or 2 sums of log loss.
        values: `float64 (K,)`, what was counted there.
    """

    metric: str
    n_classes: int
    n_groups: int
    keys: Ints
    values: Numbers

    def divided(self, times: Numbers) -> "GroupSums":
        """Each group's sums by how often it was counted, `times (G,)`."""
        return replace(self, values=self.values / times[self.keys // _width(self.metric, self.n_classes)])

    def whole(self) -> "GroupSums":
        """The sums as whole multiples of 1 / FIXED: what order they were added in then changes nothing."""
        return replace(self, values=np.rint(self.values * FIXED))

    def scores(self, draws: Numbers | None = None) -> Numbers:
        """The metric `float64 (R,)`, each group counted as often as it was drawn, `(R, G)`; once each, and R = 1, for `None`.

        Counts must be whole numbers. NaN where nothing was counted.
        """
        groups, cells = np.divmod(self.keys, _width(self.metric, self.n_classes))
        if self.metric == LOG_LOSS:
            sums = _drawn(groups, cells, self.values, draws, (self.n_groups, 2))
            mean: Numbers = np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)
            return mean
        truth, named = np.divmod(cells, self.n_classes)
        hit = truth == named
        columns = np.concatenate([truth[hit], truth + self.n_classes, named + 2 * self.n_classes])
        rows, values = (np.concatenate([each[hit], each, each]) for each in (groups, self.values))
        sums = _drawn(rows, columns, values, draws, (self.n_groups, 3 * self.n_classes))
        return _of_margins(sums.astype(np.int64).reshape(len(sums), 3, -1), self.metric)

    def n_differing(self, other: "GroupSums") -> int:
        """The number of groups whose sums are not those of the other."""
        keys = np.union1d(self.keys, other.keys)
        differ = keys[self._at(keys) != other._at(keys)]
        return len(np.unique(differ // _width(self.metric, self.n_classes)))

    def _at(self, keys: Ints) -> Numbers:
        found = np.zeros(len(keys))
        found[np.searchsorted(keys, self.keys)] = self.values
        return found


class SumsToCome:
    """Collects photos for a `GroupSums`; what is counted into one cell is added up in the order in which it comes.

    Args:
        metric: One of `competitions.metrics.METRICS`.
        n_classes: C.
        n_groups: G.
    """

    def __init__(self, metric: str, n_classes: int, n_groups: int = 1) -> None:
        self._of = metric, n_classes, n_groups
        self._keys, self._values = list[Ints](), list[Numbers]()

    def add(self, vote: Vote, labels: Ints, *, groups: Ints, weights: Numbers) -> None:
        """Count n photos.

        Args:
            vote: Of these photos.
            labels: `int64 (n,)`.
            groups: `int64 (n,)`, 0..G-1.
            weights: `float64 (n,)`, how often each counts.
        """
        metric, n_classes, _ = self._of
        start = groups * _width(metric, n_classes)
        if metric == LOG_LOSS:
            self._keys += [start, start + 1]
            self._values += [true_logs(vote.shares, labels) * weights, weights]
        else:
            self._keys.append(start + labels * n_classes + vote.labels)
            self._values.append(weights)

    def add_sums(self, sums: GroupSums) -> None:
        """Count what was counted before."""
        self._keys.append(sums.keys)
        self._values.append(sums.values)

    def done(self) -> GroupSums:
        """All that was counted."""
        keys, cell = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *self._keys]), return_inverse=True)
        values: Numbers = np.bincount(cell, np.concatenate([np.zeros(0), *self._values]), len(keys)).astype(np.float64)
        return GroupSums(*self._of, keys, values)


def true_logs(shares: Numbers, labels: Ints) -> Numbers:
    """The terms of `competitions.metrics.log_loss`, photo by photo: shares `float64 (N, C)`, at least 0 -> `float64 (N,)`."""
    return log_shares(shares[np.arange(len(labels)), labels], shares.sum(axis=1))


def log_shares(true: Numbers, total: Numbers) -> Numbers:
    """The same from the true class's share of a total, arrays of one shape."""
    logs: Numbers = np.log(np.clip(true / total, SMALLEST_PROB, 1.0))
    return logs


def weights_of(labels: Ints, class_weights: Sequence[float] | None) -> Numbers:
    """How often each photo counts, `float64 (n,)`: by its true class, or once.

    Raises:
        UserError: None counts.
    """
    found = np.ones(len(labels)) if class_weights is None else np.array(class_weights, dtype=np.float64)[labels]
    if len(labels) and not found.any():
        raise UserError(
            "no labelled photo counts: the test shares give all weight to classes that none of them shows; mend test_shares in the "
            "YAML, or give another --fold"
        )
    return found


def vote_score(vote: Vote, labels: Ints, *, metric: str, class_weights: Sequence[float] | None = None) -> float:
    """The metric of a vote on photos with `labels int64 (N,)`: of its labels, or of its shares where the metric needs them."""
    counted = SumsToCome(metric, vote.shares.shape[1])
    counted.add(vote, labels, groups=np.zeros(len(labels), dtype=np.int64), weights=weights_of(labels, class_weights))
    return score_of_all(counted.done())


def score_of_all(sums: GroupSums) -> float:
    """The metric of all groups together, counts rounded to whole multiples of 1 / FIXED."""
    return float((sums if sums.metric == LOG_LOSS else sums.whole()).scores()[0])


def _width(metric: str, n_classes: int) -> int:
    """X: how many sums a metric is made of."""
    return 2 if metric == LOG_LOSS else n_classes**2


def _drawn(rows: Ints, columns: Ints, values: Numbers, draws: Numbers | None, shape: tuple[int, int]) -> Numbers:
    """The sums over groups `float64 (R, X)` of values in rows and columns of `(G, X)`, each row as often as it was drawn."""
    if draws is None:
        return np.bincount(columns, values, shape[1]).astype(np.float64)[None]
    from scipy.sparse import csr_array

    drawn: Numbers = (csr_array((values, (columns, rows)), shape=shape[::-1]) @ draws.T).T
    return drawn


def _of_margins(sums: NDArray[np.int64], metric: str) -> Numbers:
    of_margins = METRICS[metric].of_margins
    assert of_margins is not None, "log loss is no metric of labels"
    found, counted = np.full(len(sums), np.nan), sums[:, 1].any(axis=1)
    found[counted] = of_margins(sums[counted])
    return found
