"""Oddities: what is allowed in a manifest and still deserves a look, as sentences."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from competitions.manifest import Manifest
from system.errors import listed

RARE = 0.02  # a group with two classes of a task is odd where at most this share of all groups is: one person has one age
MOST_MIXED = 0.1  # beyond it a task does not have one class per group, whatever was declared; below it labels may be wrong


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
