"""Sets of TTA views that were tried: what a vote through each of T sets says about n photos -> its scores, on any sample of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ensemble.resampling import group_sums
from ensemble.selection.candidates import Sample
from ensemble.views.subsets import SubsetVotes
from ensemble.votes import Ints

Views = tuple[int, ...]
"""View numbers, ascending."""


@dataclass(frozen=True)
class SetLogs:
    """The logarithms of the true class's share through T sets of views, `float64 (n, T)`: what log-loss is the mean of."""

    logs: NDArray[np.float64]

    def scores(self, labels: Ints, *, metric: str, times: Ints) -> NDArray[np.float64]:
        """The log-loss of each set, `float64 (T,)`, each photo counted `times int64 (n,)`."""
        mean: NDArray[np.float64] = times.astype(np.float64) @ self.logs / times.sum()
        return mean

    def resampled(
        self, labels: Ints, place: Ints, draws: NDArray[np.float64], *, metric: str, times: Ints
    ) -> NDArray[np.float64]:
        """Log-losses `float64 (R, T)` where each group, `place int64 (n,)`, counts as often as it was drawn, `draws (R, G)`."""
        counted = times.astype(np.float64)[:, None]
        sums = group_sums(np.hstack([self.logs * counted, counted]), place, draws.shape[1])
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
    results: SubsetVotes | SetLogs

    def scores(self, times: Ints) -> NDArray[np.float64]:
        """What each set scores where each photo counts `times int64 (n,)`: `float64 (T,)`."""
        return self.results.scores(self.labels, metric=self.metric, times=times)

    def resampled(self, times: Ints, place: Ints, draws: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scores in resamples of groups, `float64 (R, T)`.

        Args:
            times: `int64 (n,)`, how often each photo counts in its group.
            place: `int64 (n,)`, the photos' groups, 0..G-1.
            draws: `float64 (R, G)`, how often each group was drawn.
        """
        return self.results.resampled(self.labels, place, draws, metric=self.metric, times=times)

    def times(self, sample: Sample) -> Ints:
        """How often the sample counts each of the photos, `int64 (n,)`."""
        times = np.zeros(int(self.rows.max()) + 1, dtype=np.int64)
        times[sample.rows] = sample.times
        found: Ints = times[self.rows]
        return found

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
