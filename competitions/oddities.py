"""Oddities: what is allowed in a manifest and still deserves a look, as sentences."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from competitions.manifest import Manifest
from ledger.errors import listed

RARE = 0.02  # a group with two classes of a task is odd where at most this share of all groups is: one person has one age


def mixed_groups(manifest: Manifest, classes: Mapping[str, Sequence[str]]) -> list[str]:
    """Per task the groups whose training photos have two classes, where nearly every other group has one.

    A person with two ages, or two people under one id. Nothing is said of a task in which groups mix by nature.

    Args:
        manifest: N photos.
        classes: Task -> its class names.
    """
    notes = []
    for task, names in classes.items():
        seen = defaultdict[str, set[int]](set)
        counts = Counter[str]()
        for row in manifest.rows("train").tolist():
            label = int(manifest.labels[task][row])
            if label >= 0:
                seen[manifest.groups[row]].add(label)
                counts[manifest.groups[row]] += 1
        mixed = {group: sorted(found) for group, found in seen.items() if len(found) > 1}
        several = sum(n > 1 for n in counts.values())
        if 0 < len(mixed) <= RARE * several:
            said = [f"{group} ({' and '.join(names[k] for k in found)})" for group, found in sorted(mixed.items())]
            notes.append(f"{task}: each of {several - len(mixed)} groups has one class, these have more: {listed(said)}; right?")
    return notes
