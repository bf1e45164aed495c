"""Targets: what one model is asked to learn, as labels per head `(N,)` of the manifest's photos.

A single task, several heads, the composed label and a task on a subset take the same form, so the same code trains them all: a
photo that a target does not ask about simply has no label (-1) for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Competition, TargetSpec
from competitions.labels import compose_numbers
from competitions.manifest import LABEL, Manifest
from system.errors import UserError, unknown

EVERY = "all"
"""Asked for by this name, every target of a competition is meant."""


@dataclass(frozen=True)
class Target:
    """One model's question.

    Attributes:
        name: E.g. `age`, `mask+gender+age`, `age@mask=none`.
        heads: Head name (a task, or `label`) -> number of classes C; one output layer each, in the order of the names.
        metric: The competition's metric, taken per head and averaged.
        where: Task -> class numbers; photos with another one, or none, are not asked about.
        composed: The tasks of the label with their numbers of classes, most significant first: what the head `label` is made of.
        init_from: Id of the trial whose weights the target's trials start from.
    """

    name: str
    heads: dict[str, int]
    metric: str
    where: dict[str, tuple[int, ...]] = field(default_factory=dict)
    composed: tuple[tuple[str, int], ...] = ()
    init_from: str | None = None

    def labels(self, manifest: Manifest) -> dict[str, NDArray[np.int16]]:
        """Per head the class numbers `(N,) int16` of the manifest's photos, -1 where there is nothing to learn."""
        included = np.ones(len(manifest), dtype=bool)
        for task, numbers in self.where.items():
            included &= np.isin(manifest.labels[task], numbers)
        return {head: np.where(included, self._head(manifest, head), -1).astype(np.int16) for head in self.heads}

    def rows(self, manifest: Manifest, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The row numbers `(n,)` of usable photos that have a label for at least one head."""
        labelled = np.any([labels >= 0 for labels in self.labels(manifest).values()], axis=0)
        return np.flatnonzero(labelled & usable)

    def outside(self, manifest: Manifest, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The row numbers `(n,)` of usable photos that only `where` keeps out: what a cascade may ask its models as well."""
        everywhere = Target(self.name, self.heads, self.metric, composed=self.composed)
        return np.setdiff1d(everywhere.rows(manifest, usable), self.rows(manifest, usable))

    def _head(self, manifest: Manifest, head: str) -> NDArray[np.int64]:
        if head != LABEL:
            return manifest.labels[head].astype(np.int64)
        return compose_numbers([manifest.labels[task] for task, _ in self.composed], [size for _, size in self.composed])


def target_names(competition: Competition) -> list[str]:
    """The names of `targets`, which are known before the classes are."""
    return list(dict.fromkeys([*competition.tasks, *competition.targets]))


def targets(competition: Competition) -> dict[str, Target]:
    """Every target of a competition by name: its tasks in their order, then those it declares."""
    declared = dict(competition.targets)
    single = {name: declared.pop(name, TargetSpec(heads=(name,))) for name in competition.tasks}
    return {name: _target(competition, name, spec) for name, spec in (single | declared).items()}


def choose_targets(competition: Competition, names: Sequence[str] | None) -> list[Target]:
    """The targets with these names: one per task for `None`, every target for `all`.

    Raises:
        UserError: A name is unknown, or stands twice.
    """
    known = targets(competition)
    if names is None:
        return [known[task] for task in competition.tasks]
    if list(names) == [EVERY]:
        return list(known.values())
    faults = [unknown("target", name, [*known, EVERY]) for name in names if name not in known and name != EVERY]
    faults += [f"{EVERY} stands for every target, so it must stand alone, got {', '.join(names)}"] if EVERY in names else []
    faults += [f"targets must differ, {name!r} stands twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if faults or not names:
        raise UserError(*(faults or ["targets must name at least one target"]))
    return [known[name] for name in names]


def _target(competition: Competition, name: str, spec: TargetSpec) -> Target:
    return Target(
        name=name,
        heads={head: len(competition.classes(head)) for head in sorted(spec.heads)},
        metric=competition.metric,
        where={task: _numbers(competition.tasks[task].classes, named) for task, named in spec.where.items()},
        composed=tuple((task, len(competition.tasks[task].classes)) for task in competition.composed),
        init_from=spec.init_from,
    )


def _numbers(classes: Sequence[str], named: Sequence[str]) -> tuple[int, ...]:
    return tuple(sorted(classes.index(name) for name in named))
