"""What a metric is made of: votes and labels -> sums that add up over photos, groups and resamples -> the score.

For metrics of labels the sums are the cells of a confusion matrix, of which only those are kept that something was counted into: a
thousand classes have a million. For a metric of terms they are the sums of these and the number of photos. A score of sums
is that of all photos together: macro-F1 over many small sets is too good on average, for a class that a set does not show is left out of
its mean. Where nothing adds up (`competitions.metrics.Metric.of_times`) photos are kept as they are (`PhotoSums`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import Metric, metric_of
from ensemble.votes import Ints, Vote
from system.errors import UserError

Numbers = NDArray[np.float64]
CountVotes = Callable[[Ints], NDArray[np.int64]]
"""From how often each photo counts to how often each of K votes names each class: where right, and at all, `int64 (2, K, C)`."""

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


def scores_of_counted(metric: Metric, count: CountVotes, labels: Ints, times: Ints, n_classes: int) -> Numbers:
    """The scores of K votes that are counted together, of a metric that judges labels: `float64 (K,)`.

    Where margins are not enough photos are counted class by class: what is named of the photos of a class is a row of the matrix.

    Args:
        metric: What they are judged in.
        count: Counts them.
        labels: `int64 (n,)`; of photos that do not count they may be anything.
        times: `int64 (n,)`, how often each counts.
        n_classes: C.
    """
    if metric.of_margins is not None:
        used = np.flatnonzero(times)
        right, named = count(times)
        truth = tally(labels[used], times[used], n_classes)
        return metric.of_margins(np.stack([right, np.broadcast_to(truth, right.shape), named], axis=1))
    assert metric.of_counts is not None, f"{metric.name} judges shares"
    by_class = [count(np.where(labels == number, times, 0))[1] for number in range(n_classes)]
    return metric.of_counts(np.stack(by_class, axis=1))


def terms_of(metric: Metric, shares: NDArray[np.number], labels: Ints) -> Numbers:
    """What photos add to a score: shares of one vote `(n, C)` -> `float64 (n, X)`."""
    assert metric.terms is not None, f"{metric.name} has no terms"
    return metric.terms.of_photos(shares[:, None], labels)[:, 0]


def defined(scores: Numbers) -> Numbers:
    """Scores to choose by: what is undefined is worse than all else."""
    return np.where(np.isnan(scores), -np.inf, scores)


@dataclass(frozen=True)
class GroupSums:
    """What a metric is made of, for each of G groups.

    Attributes:
        metric: One of `competitions.metrics.METRICS` that has sums.
        n_classes: C.
        n_groups: G.
        keys: `int64 (K,)`, increasing: group * X + cell, of X = C * C cells of a confusion matrix, or X - 1 terms and the photos.
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
        metric, n_classes, width = metric_of(self.metric), self.n_classes, _width(self.metric, self.n_classes)
        groups, cells = np.divmod(self.keys, width)
        if metric.terms is not None:
            sums = _drawn(groups, cells, self.values, draws, (self.n_groups, width))
            return metric.terms.of_sums(sums[:, :-1], sums[:, -1])
        if metric.of_margins is None:
            counts = _drawn(groups, cells, self.values, draws, (self.n_groups, width)).astype(np.int64)
            return _of_counted(metric.of_counts, counts.reshape(len(counts), n_classes, n_classes))
        truth, named = np.divmod(cells, n_classes)
        hit = truth == named
        columns = np.concatenate([truth[hit], truth + n_classes, named + 2 * n_classes])
        rows, values = (np.concatenate([each[hit], each, each]) for each in (groups, self.values))
        counts = _drawn(rows, columns, values, draws, (self.n_groups, 3 * n_classes)).astype(np.int64)
        return _of_counted(metric.of_margins, counts.reshape(len(counts), 3, -1))

    def n_differing(self, other: "Sums") -> int:
        """The number of groups whose sums are not those of the other."""
        assert isinstance(other, GroupSums), "both are of one metric"
        keys = np.union1d(self.keys, other.keys)
        differ = keys[self._at(keys) != other._at(keys)]
        return len(np.unique(differ // _width(self.metric, self.n_classes)))

    def _at(self, keys: Ints) -> Numbers:
        found = np.zeros(len(keys))
        found[np.searchsorted(keys, self.keys)] = self.values
        return found


@dataclass(frozen=True)
class CountedPhotos:
    """Photos of one vote, which are compared with each other.

    Attributes:
        shares: `float64 (n, C)`.
        labels: `int64 (n,)`.
        groups: `int64 (n,)`, 0..G-1.
        weights: `float64 (n,)`, how often each counts.
    """

    shares: Numbers
    labels: Ints
    groups: Ints
    weights: Numbers


@dataclass(frozen=True)
class PhotoSums:
    """The same for a metric whose photos do not add up: votes are kept, and only photos of one vote are compared with each other.

    The score of several votes (each the choice of one resample) is the mean of theirs, each counting as many photos as it has; votes
    of which the metric says nothing are left out.

    Attributes:
        metric: One of `competitions.metrics.METRICS` that has none, or a file's.
        n_classes: C.
        n_groups: G.
        votes: What was counted, in the order in which it came.
    """

    metric: str
    n_classes: int
    n_groups: int
    votes: tuple[CountedPhotos, ...]

    def divided(self, times: Numbers) -> "PhotoSums":
        """As it is: votes are averaged, not groups."""
        return self

    def whole(self) -> "PhotoSums":
        """As it is: nothing was added up."""
        return self

    def scores(self, draws: Numbers | None = None) -> Numbers:
        """As `GroupSums.scores`; NaN where all votes are left out."""
        metric, drawn = metric_of(self.metric), np.ones((1, self.n_groups)) if draws is None else draws
        assert metric.of_times is not None, f"{metric.name} has sums"
        total, counted = np.zeros(len(drawn)), np.zeros(len(drawn))
        for vote in self.votes:
            times = drawn[:, vote.groups] * (vote.weights if metric.weighs else 1.0)
            scores, n_photos = metric.of_times(vote.shares, vote.labels, times), times.sum(axis=1)
            there = np.isfinite(scores)
            total[there] += (scores * n_photos)[there]
            counted[there] += n_photos[there]
        mean: Numbers = np.divide(total, counted, out=np.full(len(drawn), np.nan), where=counted > 0)
        return mean

    def n_differing(self, other: "Sums") -> int:
        """The number of groups with a photo whose shares are not those of the other."""
        assert isinstance(other, PhotoSums), "both are of one metric"
        differing = [one.groups[(one.shares != two.shares).any(axis=1)] for one, two in zip(self.votes, other.votes, strict=True)]
        return len(np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *differing])))


Sums = GroupSums | PhotoSums


class SumsToCome:
    """Collects photos for `Sums`; what is counted into one cell is added up in the order in which it comes.

    Args:
        metric: One of `competitions.metrics.METRICS`, or a file's.
        n_classes: C.
        n_groups: G.
    """

    def __init__(self, metric: str, n_classes: int, n_groups: int = 1) -> None:
        self._of = metric, n_classes, n_groups
        self._keys, self._values, self._votes = list[Ints](), list[Numbers](), list[CountedPhotos]()

    def add(self, vote: Vote, labels: Ints, *, groups: Ints, weights: Numbers) -> None:
        """Count n photos.

        Args:
            vote: Of these photos.
            labels: `int64 (n,)`.
            groups: `int64 (n,)`, 0..G-1.
            weights: `float64 (n,)`, how often each counts.
        """
        name, n_classes, _ = self._of
        metric = metric_of(name)
        if metric.of_times is not None:
            self._votes.append(CountedPhotos(vote.shares, labels, groups, weights))
            return
        start = groups * _width(name, n_classes)
        if metric.terms is None:
            self._keys.append(start + labels * n_classes + vote.labels)
            self._values.append(weights)
            return
        terms = terms_of(metric, vote.shares, labels)
        for number, term in enumerate(terms.T):
            self._keys.append(start + number)
            self._values.append(term * weights)
        self._keys.append(start + terms.shape[1])
        self._values.append(weights)

    def add_sums(self, sums: Sums) -> None:
        """Count what was counted before."""
        if isinstance(sums, PhotoSums):
            self._votes += sums.votes
            return
        self._keys.append(sums.keys)
        self._values.append(sums.values)

    def done(self) -> Sums:
        """All that was counted."""
        if metric_of(self._of[0]).of_times is not None:
            return PhotoSums(*self._of, tuple(self._votes))
        keys, cell = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *self._keys]), return_inverse=True)
        values: Numbers = np.bincount(cell, np.concatenate([np.zeros(0), *self._values]), len(keys)).astype(np.float64)
        return GroupSums(*self._of, keys, values)


def needed_of(vote: Vote, metric: str) -> Vote:
    """A vote with what the metric needs of it: labels alone, or shares as well."""
    return Vote(vote.labels, vote.shares[:0]) if metric_of(metric).judges_labels else vote


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


def score_of_all(sums: Sums) -> float:
    """The metric of all groups together, counts rounded to whole multiples of 1 / FIXED."""
    return float((sums.whole() if metric_of(sums.metric).judges_labels else sums).scores()[0])


def _width(metric: str, n_classes: int) -> int:
    """X: how many sums a metric is made of."""
    terms = metric_of(metric).terms
    return n_classes**2 if terms is None else terms.width(n_classes) + 1


def _drawn(rows: Ints, columns: Ints, values: Numbers, draws: Numbers | None, shape: tuple[int, int]) -> Numbers:
    """The sums over groups `float64 (R, X)` of values in rows and columns of `(G, X)`, each row as often as it was drawn."""
    if draws is None:
        return np.bincount(columns, values, shape[1]).astype(np.float64)[None]
    from scipy.sparse import csr_array

    drawn: Numbers = (csr_array((values, (columns, rows)), shape=shape[::-1]) @ draws.T).T
    return drawn


def _of_counted(score: Callable[[NDArray[np.int64]], Numbers] | None, sums: NDArray[np.int64]) -> Numbers:
    """The scores of counts `(R, ...)`; NaN where nothing was counted."""
    assert score is not None, "metrics of labels have one"
    found, counted = np.full(len(sums), np.nan), sums.reshape(len(sums), -1).any(axis=1)
    found[counted] = score(sums[counted])
    return found
