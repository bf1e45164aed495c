"""The twin gap of each split of a competition, from prepared photos and a table of their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Split
from competitions.manifest import Manifest
from competitions.prepare import Prepared, by_each_split
from competitions.twins.gap import TwinGap, twin_gap, wasserstein
from competitions.twins.similarity import Floats, nearest_by_fold, normalised, to_training, two_nearest
from system.files import replace_json
from system.paths import CompetitionPaths

MOST_ASKED = 4000
"""Photos of each side that are asked for their nearest one; of more, some are drawn. All training photos are looked at."""
LEAST_PHOTOS = 5
"""Photos of a side below which nothing is said."""


@dataclass(frozen=True)
class AskedTwins:
    """The photos of both sides, ready to be asked by any split.

    Attributes:
        training: `(N', D)`, normalised: all usable training photos, in the order of their ids.
        rows: `(N',)` their rows in the manifest.
        asked: `(n,)` positions among `rows`: those that are asked when they are held out.
        test: `(m, D)`, normalised.
        test_groups: m names.
    """

    training: Floats
    rows: NDArray[np.int64]
    asked: NDArray[np.int64]
    test: Floats
    test_groups: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest, usable: NDArray[np.bool_], features: Floats, *, seed: int = 0) -> "AskedTwins | None":
        """The two sides; `None` where one has fewer than `LEAST_PHOTOS` photos with features.

        Args:
            manifest: N photos; their labels are not looked at.
            usable: `(N,) bool`: training photos that could be decoded.
            features: `(N, D)`; NaN in the first column for a photo without.
            seed: Draws the photos that are asked.
        """
        known = ~np.isnan(features[:, 0])
        by_id = np.argsort(np.array(manifest.image_ids), kind="stable")
        training = by_id[(usable & known)[by_id]]
        is_test = np.array([role == "test" for role in manifest.roles], dtype=bool)
        test = by_id[(is_test & known)[by_id]]
        if min(len(training), len(test)) < LEAST_PHOTOS:
            return None
        rng = np.random.default_rng(seed)
        asked = np.sort(rng.permutation(len(training))[:MOST_ASKED])
        test = test[np.sort(rng.permutation(len(test))[:MOST_ASKED])]
        groups = tuple(manifest.groups[row] for row in test)
        return cls(normalised(features[training]), training, asked, normalised(features[test]), groups)

    def gap(self, fold: NDArray[np.int8], groups: Sequence[str]) -> TwinGap | None:
        """The twin gap by a way to cut; `None` where fewer than `LEAST_PHOTOS` of the asked photos are held out.

        Args:
            fold: `(N,)` by rows of the manifest, as `Folds.fold`.
            groups: N names by rows of the manifest.
        """
        cut = fold[self.rows]
        held = self.asked[cut[self.asked] >= 0]
        if len(held) < LEAST_PHOTOS:
            return None
        names, numbers = np.unique(np.array([groups[row] for row in self.rows]), return_inverse=True)
        n_folds = int(cut.max()) + 1
        each = np.tile(np.arange(n_folds, dtype=np.int8), (len(self.test), 1))
        mine = two_nearest(self.training[held], self.training, cut[held, None], cut, numbers)
        theirs = two_nearest(self.test, self.training, each, cut, numbers)
        weights = np.bincount(cut[held], minlength=n_folds).astype(np.float64)
        return twin_gap(mine, numbers[held], theirs, self.test_groups, weights.tolist(), len(names))

    def distances(self, foldings: Sequence[NDArray[np.int8]], together: NDArray[np.int64]) -> list[float]:
        """By each way to cut the distance between the similarities of the two sides, Wasserstein-1; photos are compared once for all.

        Args:
            foldings: Each `(N,)` by rows of the manifest, as `Folds.fold`.
            together: `(N',)` numbers of parts that none of them cuts, each of 0 to G - 1.
        """
        cuts = [fold[self.rows] for fold in foldings]
        both = np.concatenate([self.training[self.asked], self.test])
        found = nearest_by_fold(both, self.training, cuts, together)
        return [self._distance(near, cut[self.asked]) for near, cut in zip(found, cuts, strict=True)]

    def _distance(self, near: Floats, of: NDArray[np.int8]) -> float:
        held, n_folds = np.flatnonzero(of >= 0), near.shape[1] - 1
        mine, theirs = near[: len(self.asked)][held], near[len(self.asked) :]
        sides = [to_training(theirs, np.full(len(theirs), fold, np.int8)) for fold in range(n_folds)]
        weights = np.repeat(np.bincount(of[held], minlength=n_folds).astype(np.float64), len(theirs))
        return wasserstein(to_training(mine, of[held]).astype(np.float64), np.concatenate(sides).astype(np.float64), weights)


def gaps_of_splits(prepared: Prepared, features: Floats) -> dict[str, TwinGap]:
    """Split -> its twin gap, of each split of the competition that can be made.

    Args:
        prepared: The competition's data.
        features: `(N, D)` by rows of the manifest.
    """
    sides = AskedTwins.of(prepared.manifest, prepared.usable(), features)
    if sides is None:
        return {}
    found = {
        name: sides.gap(one.folds.fold, groups_dealt(one.manifest, one.competition.split))
        for name, one in by_each_split(prepared).items()
    }
    return {name: gap for name, gap in found.items() if gap is not None}


def groups_dealt(manifest: Manifest, split: Split) -> tuple[str, ...]:
    """N names of what the split deals: groups, or single photos where it ignores them. The interval of a gap is over these."""
    return manifest.groups if split.by_group else tuple(f"~{image_id}" for image_id in manifest.image_ids)


def keep_gaps(paths: CompetitionPaths, gaps: Mapping[str, TwinGap], features: str) -> None:
    """Keep what was found for whoever lists scores by split (`show_trials.py --splits`), who loads no features."""
    value = {"features": features, "splits": {name: gap.to_json() for name, gap in gaps.items()}}
    replace_json(paths.twin_gaps, value, durable=False)
