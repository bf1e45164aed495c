"""Targets: what one model is asked to learn. Today every single task is one; heads and subsets take the same form."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Competition
from competitions.manifest import Manifest
from ledger.errors import UserError, unknown


@dataclass(frozen=True)
class Target:
    """One model's question.

    Attributes:
        name: E.g. `age`.
        heads: Head name -> number of classes C; one output layer each, in this order.
        metric: The competition's metric, taken per head and averaged.
    """

    name: str
    heads: dict[str, int]
    metric: str

    def rows(self, manifest: Manifest, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The row numbers `(n,)` of usable photos that have a label for at least one head."""
        labelled = np.zeros(len(manifest), dtype=bool)
        for head in self.heads:
            labelled |= manifest.labels[head] >= 0
        return np.flatnonzero(labelled & usable)


def targets(competition: Competition) -> dict[str, Target]:
    """Every target of a competition by name, in the order of its tasks."""
    return {name: Target(name, {name: len(task.classes)}, competition.metric) for name, task in competition.tasks.items()}


def choose_targets(competition: Competition, names: Sequence[str] | None) -> list[Target]:
    """The targets with these names, all of them for `None`.

    Raises:
        UserError: A name is unknown, or stands twice.
    """
    known = targets(competition)
    if names is None:
        return list(known.values())
    faults = [unknown("target", name, dict(known)) for name in names if name not in known]
    faults += [f"targets must differ, {name!r} stands twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if faults or not names:
        raise UserError(*(faults or ["targets must name at least one target"]))
    return [known[name] for name in names]
