"""Sets of TTA views that were tried: what a vote through each of T sets says about n photos -> its scores, on any sample of them.

For metrics of labels that is what each set answers (`SetVotes`), for others what photos add up to (`SetTerms`) or shares (`SetShares`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import label_margins, metric_of
from ensemble.metric_sums import scores_of_counted, tally
from ensemble.resampling import group_sums
from ensemble.selection.candidates import Sample
from ensemble.selection.kernels import count_named
from ensemble.votes import Ints

Views = tuple[int, ...]
"""View numbers, ascending."""
AT_ONCE = 4_000_000
"""Numbers in the groups' confusion matrices that are made at once."""
CELLS_PER_PHOTO = 60
"""With more of them, groups x classes x classes for each photo that is not constant, resamples are counted one by one: a product with
matrices that are mostly 0 takes longer (200 resamples, 255 sets, 18 classes, 2,700 groups, 18,900 photos: 8.5 s against 4)."""


@dataclass(frozen=True)
class SetVotes:
    """What a vote through each of T sets of views answers for N photos.

    Attributes:
        constant: `int64 (N,)`: the answer of all sets, for photos on which they agree; elsewhere that of the last one.
        rows: `int64 (n,)`: photos on which they may not.
        named: `int16 (n, T)`: the answers there.
        n_classes: C.
    """

    constant: Ints
    rows: Ints
    named: NDArray[np.int16]
    n_classes: int

    def scores(self, labels: Ints, *, metric: str, times: Ints | None = None) -> NDArray[np.float64]:
        """The score of each set, `float64 (T,)`.

        Args:
            labels: `int64 (N,)`; photos with -1 take no part.
            metric: One of `competitions.metrics.METRICS` that judges labels.
            times: `int64 (N,)`, how often each photo counts; once each for `None`.
        """
        counts = np.where(labels >= 0, 1 if times is None else times, 0)
        return scores_of_counted(metric_of(metric), lambda own: self._named(labels, own), labels, counts, self.n_classes)

    def counts(self, labels: Ints, group_numbers: Ints, times: Ints) -> NDArray[np.float32]:
        """Each group's confusion matrices of all sets: `float32 (G, T, C, C)`, whole numbers.

        Args:
            labels: `int64 (N,)`, each 0..C-1.
            group_numbers: `int64 (N,)`, the photos' groups, 0..G-1.
            times: `int64 (N,)`, how often each photo counts.
        """
        n_groups, n_sets, cells = int(group_numbers.max()) + 1, self.named.shape[1], self.n_classes**2
        agreed = times.copy()
        agreed[self.rows] = 0
        fixed = tally(group_numbers * cells + labels * self.n_classes + self.constant, agreed, n_groups * cells)
        starts = (group_numbers[self.rows, None] * n_sets + np.arange(n_sets)) * cells
        pairs = starts + labels[self.rows, None] * self.n_classes + self.named
        split = tally(pairs, times[self.rows, None], n_groups * n_sets * cells)
        total = split.reshape(n_groups, n_sets, cells) + fixed.reshape(n_groups, 1, cells)
        return total.astype(np.float32).reshape(n_groups, n_sets, self.n_classes, self.n_classes)

    def resampled(
        self, labels: Ints, group_numbers: Ints, draws: NDArray[np.float64], *, metric: str, times: Ints
    ) -> NDArray[np.float64]:
        """Scores `float64 (R, T)` where each group counts as often as it was drawn, `draws (R, G)`; other arguments as for `counts`."""
        of_counts, cells = metric_of(metric).of_counts, self.n_classes**2
        assert of_counts is not None, "SetTerms and SetShares know the others"
        if draws.shape[1] * cells > CELLS_PER_PHOTO * len(self.rows):
            return np.array(
                [self.scores(labels, metric=metric, times=times * draw[group_numbers]) for draw in draws.astype(np.int64)]
            )
        size = max(1, AT_ONCE // (draws.shape[1] * cells))
        scores = np.empty((len(draws), self.named.shape[1]))
        for start in range(0, scores.shape[1], size):
            columns = np.arange(start, min(start + size, scores.shape[1]))
            counts = self.of(columns).counts(labels, group_numbers, times).reshape(draws.shape[1], -1)
            drawn = np.rint(draws.astype(np.float32) @ counts).astype(np.int64)  # whole numbers below 2^24: exact
            scores[:, columns] = of_counts(drawn.reshape(-1, self.n_classes, self.n_classes)).reshape(len(draws), -1)
        return scores

    def of(self, columns: Ints) -> "SetVotes":
        """Some of the sets, by their columns `int64 (T,)` in `named`."""
        return replace(self, named=np.ascontiguousarray(self.named[:, columns]))

    def differing(self, column: int) -> tuple[Ints, NDArray[np.bool_]]:
        """The photos `(n,)` on which sets may differ, and where each answers otherwise than one of them: `bool (n, T)`."""
        return self.rows, self.named != self.named[:, column : column + 1]

    def _named(self, labels: Ints, times: Ints) -> NDArray[np.int64]:
        """How often each set names each class, where right and at all: `int64 (2, T, C)`."""
        named = np.zeros((2, self.named.shape[1], self.n_classes), dtype=np.int64)
        count_named(self.named, labels[self.rows], times[self.rows], named)
        agreed = times.copy()
        agreed[self.rows] = 0
        rows = np.flatnonzero(agreed)
        return named + label_margins(self.constant[rows], labels[rows], self.n_classes, agreed[rows])[[0, 2], None]


@dataclass(frozen=True)
class SetTerms:
    """What photos add to a metric of terms through T sets of views, `float64 (n, T, X)`."""

    terms: NDArray[np.float64]

    def scores(self, labels: Ints, *, metric: str, times: Ints) -> NDArray[np.float64]:
        """The score of each set, `float64 (T,)`, each photo counted `times int64 (n,)`."""
        sums = np.tensordot(times.astype(np.float64), self.terms, 1)
        return _of_sums(metric, sums, np.full(len(sums), float(times.sum())))

    def resampled(
        self, labels: Ints, group_numbers: Ints, draws: NDArray[np.float64], *, metric: str, times: Ints
    ) -> NDArray[np.float64]:
        """Scores `float64 (R, T)` where each group, `group_numbers int64 (n,)`, counts as often as it was drawn, `draws (R, G)`."""
        counted = times.astype(np.float64)[:, None]
        sums = group_sums(np.hstack([self.terms.reshape(len(times), -1) * counted, counted]), group_numbers, draws.shape[1])
        drawn = draws @ sums
        by_set = drawn[:, :-1].reshape(len(draws), *self.terms.shape[1:])
        return _of_sums(metric, by_set, np.broadcast_to(drawn[:, -1:], by_set.shape[:2]))

    def of(self, columns: Ints) -> "SetTerms":
        """Some of the sets."""
        return SetTerms(self.terms[:, columns])

    def differing(self, column: int) -> tuple[Ints, NDArray[np.bool_]]:
        """All photos `(n,)`, and where each set says otherwise than one of them: `bool (n, T)`."""
        return np.arange(len(self.terms)), (self.terms != self.terms[:, column : column + 1]).any(axis=2)


@dataclass(frozen=True)
class SetShares:
    """The shares of votes through T sets of views, `float64 (n, T, C)`, for a metric whose photos do not add up."""

    shares: NDArray[np.float64]

    def scores(self, labels: Ints, *, metric: str, times: Ints) -> NDArray[np.float64]:
        """The score of each set, `float64 (T,)`, each photo counted `times int64 (n,)`."""
        once: NDArray[np.float64] = self._scores(labels, metric, times.astype(np.float64)[None])[0]
        return once

    def resampled(
        self, labels: Ints, group_numbers: Ints, draws: NDArray[np.float64], *, metric: str, times: Ints
    ) -> NDArray[np.float64]:
        """Scores `float64 (R, T)`, arguments as for `SetTerms.resampled`."""
        return self._scores(labels, metric, draws[:, group_numbers] * times)

    def of(self, columns: Ints) -> "SetShares":
        """Some of the sets."""
        return SetShares(self.shares[:, columns])

    def differing(self, column: int) -> tuple[Ints, NDArray[np.bool_]]:
        """All photos `(n,)`, and where each set says otherwise than one of them: `bool (n, T)`."""
        return np.arange(len(self.shares)), (self.shares != self.shares[:, column : column + 1]).any(axis=2)

    def _scores(self, labels: Ints, metric: str, times: NDArray[np.float64]) -> NDArray[np.float64]:
        of_times = metric_of(metric).of_times
        assert of_times is not None, "SetTerms knows the others"
        return np.stack([of_times(self.shares[:, number], labels, times) for number in range(self.shares.shape[1])], axis=1)


def _of_sums(metric: str, sums: NDArray[np.float64], n_photos: NDArray[np.float64]) -> NDArray[np.float64]:
    terms = metric_of(metric).terms
    assert terms is not None, "SetShares knows the others"
    return terms.of_sums(sums, n_photos)


@dataclass(frozen=True)
class Tried:
    """Sets of views and what a vote through each of them says.

    Attributes:
        sets: T sets, fewer views first, of equally many the more senior ones: of sets that score equally the first is taken.
        rows: `int64 (n,)`, labelled photos.
        labels: `int64 (n,)`.
        metric: One of `competitions.metrics.METRICS`.
        results: Of the T sets on the n photos.
    """

    sets: tuple[Views, ...]
    rows: Ints
    labels: Ints
    metric: str
    results: SetVotes | SetTerms | SetShares

    def scores(self, times: Ints) -> NDArray[np.float64]:
        """What each set scores where each photo counts `times int64 (n,)`: `float64 (T,)`."""
        return self.results.scores(self.labels, metric=self.metric, times=times)

    def resampled(self, times: Ints, group_numbers: Ints, draws: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scores in resamples of groups, `float64 (R, T)`.

        Args:
            times: `int64 (n,)`, how often each photo counts in its group.
            group_numbers: `int64 (n,)`, the photos' groups, 0..G-1.
            draws: `float64 (R, G)`, how often each group was drawn.
        """
        return self.results.resampled(self.labels, group_numbers, draws, metric=self.metric, times=times)

    def times(self, sample: Sample) -> Ints:
        """How often the sample counts each of the photos, `int64 (n,)`."""
        times = np.zeros(int(self.rows.max()) + 1, dtype=np.int64)
        times[sample.rows] = sample.times
        counts: Ints = times[self.rows]
        return counts

    def of(self, columns: Ints) -> "Tried":
        """Some of the sets, by their numbers `int64`."""
        return replace(self, sets=tuple(self.sets[column] for column in columns), results=self.results.of(columns))


def all_sets(n_views: int) -> tuple[Views, ...]:
    """All sets of views but the empty one, in the order of `sorted_sets`.

    >>> all_sets(2)
    ((0,), (1,), (0, 1))
    """
    return tuple(views for size in range(1, n_views + 1) for views in combinations(range(n_views), size))


def sorted_sets(sets: Iterable[Views]) -> tuple[Views, ...]:
    """Sets of views, once each: fewer views first, of equally many the more senior ones."""
    return tuple(sorted(set(sets), key=lambda views: (len(views), views)))
