"""A matched split: folds whose photos have as near twins in training as test photos have. Features and groups -> `Proposal`.

Photos are clustered by their features, from as many clusters as there are units (groups, identical and near-duplicate photos are one
unit) down to few, by several linkages. Each clustering is dealt to folds as any split is, and the one is taken whose held-out
photos have the distribution of nearest similarities that test photos have: the Wasserstein-1 distance is least (kNNDM, Linnenbrink et al.
2024, Geoscientific Model Development 17). Where the units as they are show no gap beyond noise, they stay as they are. The test side has
no labels here, and the labels of training photos only balance folds.

Clusterings that make uneven folds are passed over: a fold above `LARGEST_FOLD` of an even share, or more than `MOST_PINNED_MORE` pinned
that the units as they are do not pin, leave the models of other folds with less to learn from than the test photos will find.

Up to `MOST_LINKED` units are linked one by one. More are first gathered around `CENTRES` centres (mini-batch k-means).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.competition import FOLDS, MOST_FOLDS, Split
from competitions.images.near_duplicates import NearDuplicates
from competitions.manifest import Manifest
from competitions.prepare import Prepared
from competitions.splits import PINNED, Folds, make_folds
from competitions.twins.gap import NO_GAP, TwinGap
from competitions.twins.photos import AskedTwins
from competitions.twins.similarity import Floats, normalised
from system.errors import UserError

AS_THEY_ARE, LINKAGES = "units", ("average", "ward")
SHARES = (0.8, 0.65, 0.5, 0.4, 0.33, 0.26, 0.2, 0.16, 0.12, 0.09, 0.06, 0.04, 0.025)
"""Clusters per unit that are tried."""
LEAST_PER_FOLD = 4
"""Clusters per fold below which folds could not be balanced."""
LARGEST_FOLD, MOST_PINNED_MORE = 1.5, 0.05
MOST_LINKED, CENTRES = 5000, 4000
Ints = NDArray[np.int64]
Way = tuple[str, int, dict[str, str]]
"""Linkage, number of clusters, and photo id -> cluster."""
Report = Callable[[str], object]


@dataclass(frozen=True)
class Candidate:
    """One way to cut.

    Attributes:
        linkage: One of `LINKAGES`, or `units` for the units as they are.
        n_clusters: How many are kept whole.
        distance: Between the similarities of held-out and of test photos, Wasserstein-1.
    """

    linkage: str
    n_clusters: int
    distance: float


@dataclass(frozen=True)
class Proposal:
    """The clusters whose split matches the test photos best.

    Attributes:
        clusters: Photo id -> name of its cluster, of all usable training photos.
        chosen: Which clustering that is.
        gap: Its twin gap.
        tried: All of them, the units as they are first.
        n_units: What may not be cut in any case.
        n_folds: Folds that the clusters were dealt to.
        reduced: Whether units were first gathered around centres.
    """

    clusters: dict[str, str]
    chosen: Candidate
    gap: TwinGap
    tried: tuple[Candidate, ...]
    n_units: int
    n_folds: int
    reduced: bool

    @property
    def words(self) -> str:
        """What came of it, in a sentence or two for people."""
        how = "the units as they are" if self.chosen.linkage == AS_THEY_ARE else f"{self.chosen.linkage} linkage"
        first = (
            f"of {len(self.tried)} ways to cut {self.n_units} units into {self.n_folds} folds, {self.chosen.n_clusters} clusters "
            f"({how}) match the test photos best: distance {self.chosen.distance:.3f}, {self.tried[0].distance:.3f} for the units"
        )
        more = "; units were first gathered around centres, because there are many" if self.reduced else ""
        left = "" if self.gap.verdict == NO_GAP else f"; a gap is left: {self.gap.words}"
        return first + more + left

    def to_json(self) -> dict[str, Any]:
        """All but the clusters themselves."""
        told = {"n_units": self.n_units, "folds": self.n_folds, "reduced": self.reduced, "words": self.words}
        return {**told, "chosen": asdict(self.chosen), "gap": self.gap.to_json(), "tried": [asdict(one) for one in self.tried]}


def propose(prepared: Prepared, features: Floats, n_folds: int, *, seed: int = 0, tell: Report = lambda text: None) -> Proposal:
    """Look for the clusters whose folds match the test photos.

    Args:
        prepared: The competition's data; its own split does not matter.
        features: `(N, D)` by rows of the manifest.
        n_folds: As the matched split is to have.
        seed: Of the split and of everything drawn.
        tell: Told what is being done.

    Raises:
        UserError: There are too few photos to compare, or none of the clusterings can be dealt to so many folds.
    """
    manifest, usable = prepared.manifest, prepared.usable()
    sides = AskedTwins.of(manifest, usable, features, seed=seed)
    if sides is None:
        raise UserError("a matched split needs at least 5 training photos and 5 test photos, decoded; give folds instead")
    unit = units_of(manifest, sides.rows, prepared.pixels, prepared.near)
    centres = _unit_means(sides.training, unit)
    item, means = _gathered(centres, seed)
    tell(f"linking {len(means)} clusters of {len(sides.rows)} photos")
    ways: list[tuple[str, int, Ints]] = [(AS_THEY_ARE, len(centres), unit)]
    ways += [(name, n, labels[item][unit]) for name, n, labels in _linked(means, n_folds)]
    tell(f"dealing {len(ways)} ways to cut")
    ids = [manifest.image_ids[row] for row in sides.rows]
    named = [(name, n, dict(zip(ids, _names(labels), strict=True))) for name, n, labels in ways]
    named[0] = (AS_THEY_ARE, len(centres), dict(zip(ids, _own_names(manifest, sides.rows, unit), strict=True)))
    dealt = _even([(way, folds) for way in named if (folds := deal(prepared, way[2], n_folds, seed)) is not None], n_folds)
    tell("comparing them with the test photos")
    if not dealt:
        raise UserError(f"no clusters of the training photos can be dealt to {n_folds} folds; give fewer")
    whole = [(way[0] == AS_THEY_ARE, folds.fold) for way, folds in dealt]  # the linked ones cut no item, the first no unit
    distances = sides.distances([fold for is_units, fold in whole if is_units], unit)
    distances += sides.distances([fold for is_units, fold in whole if not is_units], item[unit])
    tried = [Candidate(name, n, round(distance, 9)) for ((name, n, _), _), distance in zip(dealt, distances, strict=True)]
    units = sides.gap(dealt[0][1].fold, manifest.groups) if tried[0].linkage == AS_THEY_ARE else None
    best = 0
    if units is None or units.verdict != NO_GAP:
        best = min(range(len(tried)), key=lambda number: (tried[number].distance, -tried[number].n_clusters))
    (_, _, clusters), folds = dealt[best]
    gap = units if best == 0 and units is not None else sides.gap(folds.fold, manifest.groups)
    if gap is None:
        raise UserError("a matched split needs at least 5 training photos that are held out; add photos, or give folds instead")
    return Proposal(clusters, tried[best], gap, tuple(tried), len(centres), n_folds, len(means) < len(centres))


def folds_asked(given: str, split: Split) -> int:
    """How many folds `--propose-split` asks for: those of the split where it is silent, `FOLDS` for a holdout.

    Raises:
        UserError: It is no number of folds.
    """
    if not given:
        return split.n_folds if split.holdout is None else FOLDS
    if not given.isdecimal() or not 2 <= int(given) <= MOST_FOLDS:
        raise UserError(f"--propose-split must be a number of folds from 2 to {MOST_FOLDS}, got {given!r}")
    return int(given)


def units_of(manifest: Manifest, rows: Ints, pixels: Sequence[str], near: NearDuplicates | None) -> Ints:
    """What no split may cut, as numbers `(n,)` in the order of first photos: groups, equal pixels, near-duplicates.

    Where many photos look alike without being copies (`NearDuplicates.are_kinds`), they stay apart.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place = {manifest.image_ids[row]: position for position, row in enumerate(rows)}
    keys: tuple[dict[str, int], dict[str, int]] = ({}, {})
    edges = []
    for position, row in enumerate(rows):
        for known, key in zip(keys, (manifest.groups[row], pixels[row]), strict=True):
            edges.append((known.setdefault(key, position), position))
    if near is not None and not near.are_kinds:
        edges += [(place[a], place[b]) for a, b in near.pairs if a in place and b in place]
    first, second = np.array(edges).T
    graph = coo_array((np.ones(len(edges), bool), (first, second)), shape=(len(rows), len(rows)))
    found: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return _in_order(found)


def _in_order(labels: NDArray[np.integer]) -> Ints:
    """The same parts, numbered in the order of their first members."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    numbered: Ints = rank[inverse]
    return numbered


def _unit_means(features: Floats, unit: Ints) -> Floats:
    """The mean of each unit's photos, `(U, D)`, normalised."""
    order = np.argsort(unit, kind="stable")
    starts = np.searchsorted(unit[order], np.arange(unit.max() + 1))
    return normalised(np.add.reduceat(features[order], starts, axis=0))


def _gathered(means: Floats, seed: int) -> tuple[Ints, Floats]:
    """Unit `(U,)` -> item, and the items' features: the units themselves, or of too many their centres."""
    if len(means) <= MOST_LINKED:
        return np.arange(len(means)), means
    from sklearn.cluster import MiniBatchKMeans

    start = np.sort(np.random.default_rng(seed).permutation(len(means))[:CENTRES])
    model = MiniBatchKMeans(
        CENTRES, init=means[start], n_init=1, batch_size=4096, max_iter=2, reassignment_ratio=0.0, random_state=seed
    )
    item = _in_order(model.fit_predict(means))
    return item, _unit_means(means, item)


def _linked(means: Floats, n_folds: int) -> Iterator[tuple[str, int, Ints]]:
    """Linkage, number of clusters, and the cluster of each item `(n,)`."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    n = len(means)
    numbers = sorted({m for share in SHARES if LEAST_PER_FOLD * n_folds <= (m := round(share * n)) < n}, reverse=True)
    if not numbers:
        return
    squares = np.maximum(2 - 2 * squareform(means @ means.T, checks=False).astype(np.float64), 0)
    for name in LINKAGES:
        tree = linkage(np.sqrt(squares) if name == "ward" else squares / 2, name)
        for number in numbers:
            yield name, number, _in_order(fcluster(tree, number, "maxclust"))


def _even(dealt: Sequence[tuple[Way, Folds]], n_folds: int) -> list[tuple[Way, Folds]]:
    """Those with folds of like sizes and few pinned photos; the first, of the units as they are, sets what cannot be helped."""
    facts = [_unevenness(folds, n_folds) for _, folds in dealt]
    if not facts:
        return []
    largest, pinned = facts[0]
    most = max(LARGEST_FOLD, largest), pinned + MOST_PINNED_MORE
    return [one for one, its in zip(dealt, facts, strict=True) if its[0] <= most[0] and its[1] <= most[1]]


def _unevenness(folds: Folds, n_folds: int) -> tuple[float, float]:
    """The largest fold as a multiple of an even share, and the share of pinned photos."""
    sizes = np.bincount(folds.fold[folds.fold >= 0], minlength=n_folds)
    n_pinned = int((folds.fold == PINNED).sum())
    return float(sizes.max() / max(1, sizes.sum()) * n_folds), n_pinned / max(1, n_pinned + int(sizes.sum()))


def deal(prepared: Prepared, clusters: Mapping[str, str], n_folds: int, seed: int) -> Folds | None:
    """The folds of clusters, photo id -> name; `None` where they cannot be made."""
    competition, manifest = prepared.competition, prepared.manifest
    try:
        return make_folds(
            manifest,
            prepared.usable(),
            n_folds=n_folds,
            seed=seed,
            tasks={name: task.classes for name, task in competition.tasks.items()},
            composed=competition.composed,
            same_pixels=prepared.pixels,
            clusters=[clusters.get(image_id, "") for image_id in manifest.image_ids],
        )
    except UserError:
        return None


def _own_names(manifest: Manifest, rows: Ints, unit: Ints) -> list[str]:
    """The smallest group name of each photo's unit, so that groups that stay as they are, are dealt as by any other split."""
    names: dict[int, str] = {}
    for row, number in zip(rows.tolist(), unit.tolist(), strict=True):
        names[number] = min(names.get(number, manifest.groups[row]), manifest.groups[row])
    return [names[number] for number in unit.tolist()]


def _names(labels: Ints) -> list[str]:
    width = len(str(int(labels.max())))
    return [f"c{label:0{width}d}" for label in labels.tolist()]
