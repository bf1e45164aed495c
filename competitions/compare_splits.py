"""The splits of one competition side by side: from prepared photos to one row of facts per declared split.

What a row is for: a split by group keeps its promises and deals classes less evenly; a random one is even and cuts groups; a holdout
trains one model where folds train several.
"""

from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Split
from competitions.labels import compose_numbers
from competitions.prepare import Prepared, clusters_of, cut_again
from competitions.splits import PINNED, UNUSABLE, Folds
from system.errors import UserError


@dataclass(frozen=True)
class SplitFacts:
    """One declared split.

    Attributes:
        by_group: Whether there are groups and they are kept whole.
        matched: Whether it keeps clusters whole that were found to match the test photos.
        groups: The file of further groups that it keeps whole.
        photos: Validation photos of each fold.
        holdout: Share of the usable training photos that is held out; `None` for folds.
        deviation: The largest difference between a class's share in a fold and among all usable training photos, over every task
            and the composed label; 0 to 1.
        pinned_photos: Photos that are always in training for a reason, so that no fold ever answers them.
        groups_cut: Groups whose photos do not all stand in one part; with a random split these are the leak.
        fault: Why the photos cannot be cut this way; the numbers are then empty.
    """

    name: str
    by_group: bool
    photos: list[int]
    holdout: float | None = None
    deviation: float = 0.0
    pinned_photos: int = 0
    groups_cut: int = 0
    fault: str | None = None
    matched: bool = False
    groups: str | None = None


def compare_splits(prepared: Prepared) -> list[dict[str, Any]]:
    """The facts of every split the competition declares as JSON values, that of the default first."""
    return [
        asdict(replace(_facts(prepared, split), matched=split.matched is not None, groups=split.groups))
        for split in prepared.competition.all_splits.values()
    ]


def has_groups(prepared: Prepared) -> bool:
    """Whether any two usable training photos share a group."""
    groups = [group for group, kept in zip(prepared.manifest.groups, prepared.usable(), strict=True) if kept]
    return len(set(groups)) < len(groups)


def _facts(prepared: Prepared, split: Split) -> SplitFacts:
    by_group = split.by_group and has_groups(prepared)
    if split == prepared.competition.split:
        folds = prepared.folds
    else:
        try:
            folds = cut_again(prepared, split.name).folds
        except UserError as error:
            return SplitFacts(split.name, by_group, [], fault="; ".join(error.faults))
    sizes = [int((folds.fold == fold).sum()) for fold in range(split.n_folds)]
    n_usable = int((folds.fold != UNUSABLE).sum())
    return SplitFacts(
        split.name,
        by_group,
        sizes,
        holdout=None if split.holdout is None else round(sizes[0] / n_usable, 4),
        deviation=round(_deviation(prepared, folds.fold, split.n_folds), 4),
        pinned_photos=_n_pinned(prepared, folds, split),
        groups_cut=_groups_cut(prepared, folds.fold),
    )


def _deviation(prepared: Prepared, fold: NDArray[np.int8], n_folds: int) -> float:
    worst = 0.0
    for labels, n_classes in _columns(prepared):
        known = (fold != UNUSABLE) & (labels >= 0)
        overall = _shares(labels[known], n_classes)
        for number in range(n_folds):
            worst = max(worst, float(np.abs(_shares(labels[known & (fold == number)], n_classes) - overall).max()))
    return worst


def _columns(prepared: Prepared) -> list[tuple[NDArray[np.int64], int]]:
    """Class numbers `(N,)`, -1 where unknown, and their number C: of each task, then of the label composed of two or more."""
    competition, given = prepared.competition, prepared.manifest.labels
    columns = [(given[name].astype(np.int64), len(task.classes)) for name, task in competition.tasks.items()]
    if len(competition.composed) > 1:
        sizes = [len(competition.classes(name)) for name in competition.composed]
        columns.append((compose_numbers([given[name] for name in competition.composed], sizes), prod(sizes)))
    return columns


def _shares(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    return np.bincount(labels, minlength=n_classes) / max(1, len(labels))


def _n_pinned(prepared: Prepared, folds: Folds, split: Split) -> int:
    if split.holdout is None:
        return int((folds.fold == PINNED).sum())
    pinned, manifest = set(folds.pinned), prepared.manifest
    clusters = clusters_of(prepared.competition, split, manifest, prepared.usable(), prepared.paths)
    names = manifest.groups if split.by_group else [f"~{image_id}" for image_id in manifest.image_ids]
    names = names if clusters is None else clusters.names
    return sum(name in pinned for name, fold in zip(names, folds.fold.tolist(), strict=True) if fold != UNUSABLE)


def _groups_cut(prepared: Prepared, fold: NDArray[np.int8]) -> int:
    parts: dict[str, set[int]] = defaultdict(set)
    for group, number in zip(prepared.manifest.groups, fold.tolist(), strict=True):
        if number != UNUSABLE:
            parts[group].add(number)
    return sum(len(found) > 1 for found in parts.values())
