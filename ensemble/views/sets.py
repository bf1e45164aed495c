"""Sets of TTA views that were tried: what a vote through each of T sets says about n photos -> its scores, on any sample of them.

For metrics of labels that is what each set answers (`SetVotes`), for log loss the logarithm of the true class's share (`SetLogs`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS, label_margins
from ensemble.metric_sums import margins_of_many, tally
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
        of_margins = METRICS[metric].of_margins
        assert of_margins is not None, "of other metrics SetLogs knows"
        counts = np.where(labels >= 0, 1 if times is None else times, 0)
        agreed = counts.copy()
        agreed[self.rows] = 0
        rows = np.flatnonzero(agreed)
        fixed = label_margins(self.constant[rows], labels[rows], self.n_classes, agreed[rows])
        named = np.zeros((2, self.named.shape[1], self.n_classes), dtype=np.int64)
        count_named(self.named, labels[self.rows], counts[self.rows], named)
        here = np.flatnonzero(counts[self.rows])
        return of_margins(fixed + margins_of_many(named, labels[self.rows][here], counts[self.rows][here]))

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
        of_many, cells = METRICS[metric].of_many, self.n_classes**2
        assert of_many is not None, "of other metrics SetLogs knows"
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
            scores[:, columns] = of_many(drawn.reshape(-1, self.n_classes, self.n_classes)).reshape(len(draws), -1)
        return scores

    def of(self, columns: Ints) -> "SetVotes":
        """Some of the sets, by their columns `int64 (T,)` in `named`."""
        return replace(self, named=np.ascontiguousarray(self.named[:, columns]))

    def differing(self, column: int) -> tuple[Ints, NDArray[np.bool_]]:
        """The photos `(n,)` on which sets may differ, and where each answers otherwise than one of them: `bool (n, T)`."""
        return self.rows, self.named != self.named[:, column : column + 1]


@dataclass(frozen=True)
class SetLogs:
    """The logarithms of the true class's share through T sets of views, `float64 (n, T)`: what log-loss is the mean of."""

    logs: NDArray[np.float64]

    def scores(self, labels: Ints, *, metric: str, times: Ints) -> NDArray[np.float64]:
        """The log-loss of each set, `float64 (T,)`, each photo counted `times int64 (n,)`."""
        mean: NDArray[np.float64] = times.astype(np.float64) @ self.logs / times.sum()
        return mean

    def resampled(
        self, labels: Ints, group_numbers: Ints, draws: NDArray[np.float64], *, metric: str, times: Ints
    ) -> NDArray[np.float64]:
        """Log-losses `float64 (R, T)` where each group, `group_numbers int64 (n,)`, counts as often as it was drawn, `draws (R, G)`."""
        counted = times.astype(np.float64)[:, None]
        sums = group_sums(np.hstack([self.logs * counted, counted]), group_numbers, draws.shape[1])
        drawn = draws @ sums
        mean: NDArray[np.float64] = drawn[:, :-1] / drawn[:, -1:]
        return mean

    def of(self, columns: Ints) -> "SetLogs":
        """Some of the sets."""
        return SetLogs(self.logs[:, columns])

    def differing(self, column: int) -> tuple[Ints, NDArray[np.bool_]]:
        """All photos `(n,)`, and where each set says otherwise than one of them: `bool (n, T)`."""
        return np.arange(len(self.logs)), self.logs != self.logs[:, column : column + 1]


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
    results: SetVotes | SetLogs

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
