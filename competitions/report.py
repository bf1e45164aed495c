"""What `prepare_data.py` says of prepared photos, as JSON values: counts, folds, copies, and what is allowed and still deserves a look."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.answers import ANSWERS
from competitions.competition import Competition
from competitions.images.decode import CONTAINER_BITS
from competitions.images.image_cache import ImageCache
from competitions.images.near_duplicates import standing
from competitions.manifest import Manifest
from competitions.metrics import metric_of
from competitions.prepare import Prepared
from competitions.splits import PINNED, same_pixel_sets
from system.errors import listed

RARE = 0.02  # a group with two classes of a task is odd where at most this share of all groups is: one person has one age
MOST_MIXED = 0.1  # beyond it a task does not have one class per group, whatever was declared; below it labels may be wrong


def report(prepared: Prepared, cache: ImageCache) -> dict[str, Any]:
    """What `prepare_data.py` tells, as JSON values."""
    manifest, competition, folds = prepared.manifest, prepared.competition, prepared.folds
    train = prepared.usable()
    return {
        "competition": competition.name,
        "images": {role: len(manifest.rows(role)) for role in ("train", "test", "unlabelled")},
        "tasks": {task: _counts(competition.classes(task), manifest.labels[task][train]) for task in competition.tasks},
        "groups": len({group for group, kept in zip(manifest.groups, train, strict=True) if kept}),
        "folds": [int((folds.fold == fold).sum()) for fold in range(competition.split.n_folds)],
        "always_in_training": int((folds.fold == PINNED).sum()),
        "pinned_groups": [{"group": group, "reason": reason} for group, reason in zip(folds.pinned, folds.reasons, strict=True)],
        "notes": [*folds.notes, *manifest.notes, *_oddities(prepared)],
        "broken_files": prepared.broken,
        "leaks": [asdict(finding) for finding in prepared.findings if finding.kind in ("group", "pixels")],
        "duplicates": _duplicates(prepared),
        "near_duplicates": _near_duplicates(prepared),
        "cache": {"path": str(cache.path.with_suffix(".u8")), "bytes": int(cache.images.nbytes), "size": cache.size},
    }


def mixed_groups(manifest: Manifest, classes: Mapping[str, Sequence[str]]) -> list[str]:
    """Per task the groups whose training photos have two classes, where nearly every other group has one.

    A person with two ages, or two people under one id. Nothing is said of a task in which groups mix by nature.

    Args:
        manifest: N photos.
        classes: Task -> its class names.
    """
    notes = []
    for task, names in classes.items():
        mixed, several = _mixed(manifest, task)
        if 0 < len(mixed) <= RARE * several:
            said = [f"{group} ({' and '.join(names[k] for k in found)})" for group, found in sorted(mixed.items())]
            notes.append(f"{task}: each of {several - len(mixed)} groups has one class, these have more: {listed(said)}; right?")
    return notes


def disagreeing_groups(manifest: Manifest, declared: Collection[str]) -> list[str]:
    """Per task that is declared to have one class per group, and does not: more than `MOST_MIXED` of the training groups have two.

    Args:
        manifest: N photos.
        declared: The tasks with `same_in_group`.
    """
    notes = []
    for task in declared:
        mixed, several = _mixed(manifest, task)
        if len(mixed) > MOST_MIXED * several:
            notes.append(
                f"{task}: declared same_in_group, and {len(mixed)} of {several} training groups have photos of two classes "
                f"({listed(sorted(mixed))}); take same_in_group out of the YAML, or mend groups or labels"
            )
    return notes


def _oddities(prepared: Prepared) -> list[str]:
    manifest, tasks = prepared.manifest, prepared.competition.tasks
    declared = [name for name, task in tasks.items() if task.same_in_group]
    return [
        *_depth(prepared.bits),
        *judged_otherwise(prepared.competition),
        *mixed_groups(manifest, {name: task.classes for name, task in tasks.items()}),
        *disagreeing_groups(manifest, declared),
    ]


def judged_otherwise(competition: Competition) -> list[str]:
    """Classes that are handed in although the metric judges probabilities."""
    decided = [column.header for column in competition.submission.columns if ANSWERS[column.form].decides]
    if metric_of(competition.metric).judges_labels or not decided:
        return []
    columns = listed(decided)
    return [
        f"{competition.metric} judges probabilities, and {columns} would hold classes; if probabilities or a ranking are asked for, say so "
        "in `submission`, e.g. form: probability"
    ]


def _depth(bits: int) -> list[str]:
    if bits == CONTAINER_BITS:
        return []
    return [f"16-bit grey photos use {bits} of their 16 bits (values up to {2**bits - 1}) and are read so, all by one scale"]


def _duplicates(prepared: Prepared) -> list[dict[str, Any]]:
    """Training photos with identical pixels, and whether their labels contradict one another."""
    odd = {finding.names: finding.text for finding in prepared.findings if finding.kind == "contradiction"}
    ids, roles = prepared.manifest.image_ids, prepared.manifest.roles
    sets = (
        tuple(ids[row] for row in rows if roles[row] == "train") for rows in same_pixel_sets(prepared.manifest, prepared.pixels)
    )
    found = [names for names in sets if len(names) > 1]
    return [
        {
            "photos": list(names),
            "contradict": names in odd,
            "text": odd.get(names, f"photos {', '.join(names)} have the same pixels"),
        }
        for names in found
    ]


def _near_duplicates(prepared: Prepared) -> dict[str, Any]:
    """Every pair that is kept and where its photos stand; `leak` where that is in two parts."""
    near = prepared.near
    if near is None:
        return {}
    places = standing(near, prepared.manifest, prepared.folds)
    pairs = [
        {"photos": list(pair), "stand_in": list(where), "likeness": likeness, "leak": where[0] != where[1]}
        for pair, where, likeness in zip(near.pairs, places, near.likeness, strict=True)
    ]
    warnings = [finding.text for finding in prepared.findings if finding.kind == "near"]
    return {"count": near.count, "complete": near.complete, "pairs": pairs, "warnings": warnings}


def _counts(classes: tuple[str, ...], labels: NDArray[np.int16]) -> dict[str, int]:
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    return dict(zip(classes, counts.tolist(), strict=True))


def _mixed(manifest: Manifest, task: str) -> tuple[dict[str, list[int]], int]:
    """The groups whose labelled training photos have two classes of a task, each with its classes, and of how many that have two photos."""
    seen = defaultdict[str, set[int]](set)
    counts = Counter[str]()
    for row in manifest.rows("train").tolist():
        label = int(manifest.labels[task][row])
        if label >= 0:
            seen[manifest.groups[row]].add(label)
            counts[manifest.groups[row]] += 1
    mixed = {group: sorted(found) for group, found in seen.items() if len(found) > 1}
    return mixed, sum(n > 1 for n in counts.values())
