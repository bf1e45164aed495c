"""The tasks' labels `(N,)` each <-> the composed label `(N,)`, row-major, first task most significant.

mask (3) x gender (2) x age (3): label = mask * 6 + gender * 3 + age.
A photo without one of the labels (-1) has no composed label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from competitions.manifest import composed_names

if TYPE_CHECKING:  # whoever opens a bundle reads no competition
    from competitions.competition import Competition

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Composition:
    """The composition table.

    Attributes:
        tasks: Names of the tasks that make up the label, most significant first.
        classes: Per task its ordered class names.
    """

    tasks: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, competition: "Competition") -> "Composition":
        """The table a competition asks for."""
        return cls(competition.composed, tuple(competition.classes(task) for task in competition.composed))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each task."""
        return tuple(len(names) for names in self.classes)

    @property
    def n_classes(self) -> int:
        """Number of composed classes."""
        return prod(self.sizes)

    @property
    def label_classes(self) -> tuple[str, ...]:
        """The composed class names in order: `masked/female/young`."""
        return composed_names(self.classes)

    def to_json(self) -> dict[str, Any]:
        """The table as a JSON value."""
        return {"tasks": list(self.tasks), "classes": [list(names) for names in self.classes]}


def compose(table: Composition, answers: Mapping[str, NDArray[np.integer[Any]]]) -> Ints:
    """The composed label `int64 (N,)` of the tasks' labels `int (N,)`; -1 where a task's label is -1."""
    return compose_numbers([answers[name] for name in table.tasks], table.sizes)


def compose_numbers(columns: Sequence[NDArray[np.integer[Any]]], sizes: Sequence[int]) -> Ints:
    """The composed label `int64 (N,)` of T columns `int (N,)` of class numbers, first most significant; -1 where one of them is -1.

    Args:
        columns: One per task, each within its task's classes.
        sizes: Per task its number of classes.
    """
    known = np.all([column >= 0 for column in columns], axis=0)
    label = np.ravel_multi_index([np.where(known, column, 0).astype(np.int64) for column in columns], tuple(sizes))
    return np.where(known, label, -1)


def decompose(table: Composition, labels: NDArray[np.integer[Any]]) -> dict[str, Ints]:
    """The tasks' labels `int64 (N,)` of composed labels `int (N,)`; -1 for -1."""
    parts = np.unravel_index(np.maximum(labels, 0), table.sizes)
    return {task: np.where(labels >= 0, part, -1) for task, part in zip(table.tasks, parts, strict=True)}


def compose_probs(table: Composition, probs: Mapping[str, Floats]) -> NDArray[np.float64]:
    """The composed classes' probabilities, tasks taken as independent: their outer product.

    Args:
        table: T tasks.
        probs: Per task `float (N, C_t)`.

    Returns:
        `float64 (N, C_1 * ... * C_T)`, in the order of `label_classes`.
    """
    joint = np.ones((len(probs[table.tasks[0]]), 1), dtype=np.float64)
    for task in table.tasks:
        joint = (joint[:, :, None] * probs[task][:, None, :]).reshape(len(joint), -1)
    return joint


def decompose_probs(table: Composition, probs: Floats) -> dict[str, NDArray[np.float64]]:
    """Each task's share `float64 (N, C_t)` of composed probabilities `float (N, C)`: the sum over the other tasks."""
    cube = probs.astype(np.float64).reshape(len(probs), *table.sizes)
    axes = range(1, cube.ndim)
    return {task: cube.sum(axis=tuple(a for a in axes if a != axis)) for axis, task in zip(axes, table.tasks, strict=True)}
