"""The class of every photo, by number or in words, for a task and for the composed label."""

import numpy as np
from numpy.typing import NDArray

from competitions.labels import Composition, compose
from competitions.manifest import LABEL
from competitions.prepare import Prepared


def class_numbers(prepared: Prepared, task: str) -> NDArray[np.int64]:
    """`int64 (N,)` class numbers of a task or the label, -1 where a photo has none."""
    labels = prepared.manifest.labels
    if task != LABEL or LABEL in labels:
        return labels[task].astype(np.int64)
    table = Composition.of(prepared.competition)
    there = np.all([labels[name] >= 0 for name in table.tasks], axis=0)
    whole = compose(table, {name: np.where(there, labels[name], 0).astype(np.int64) for name in table.tasks})
    return np.where(there, whole, -1)


def class_words(prepared: Prepared) -> list[str]:
    """Per photo its classes in words, task by task; empty where it has none."""
    tasks = prepared.competition.tasks
    named = [[*task.classes, ""] for task in tasks.values()]
    columns = [prepared.manifest.labels[name].tolist() for name in tasks]
    return [
        " · ".join(text for names, number in zip(named, numbers, strict=True) if (text := names[number]))
        for numbers in zip(*columns, strict=True)
    ]
