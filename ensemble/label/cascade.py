"""Cascades in hard form: votes of several ensembles for one task `(N,)` each -> one, a photo going where other tasks' answers send it.

`age` from models of each mask state: the predicted mask of a photo says whose age is taken. An ensemble's *subtask* is the
task it answers and the photos it answers it for; subtasks without a condition are ordinary tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ensemble.votes import Ints, Vote
from system.errors import unknown

Where = tuple[tuple[str, tuple[str, ...]], ...]
"""Pairs of a task and those of its class names that send a photo here; all of them have to hold. Empty: every photo."""


@dataclass(frozen=True)
class Subtask:
    """What one ensemble answers.

    Attributes:
        task: A task of the competition, or `label` for the composed label.
        where: For which answers of other tasks.
    """

    task: str
    where: Where = ()

    def __str__(self) -> str:
        conditions = ",".join(f"{task}={'|'.join(classes)}" for task, classes in self.where)
        return f"{self.task}@{conditions}" if conditions else self.task


def subtask_faults(subtasks: Sequence[Subtask], classes: Mapping[str, Sequence[str]]) -> list[str]:
    """What keeps these subtasks from answering each of their tasks for every photo exactly once.

    Args:
        subtasks: Of all ensembles of a plan.
        classes: Task -> its class names, of every task that is answered.
    """
    faults = []
    for task in dict.fromkeys(subtask.task for subtask in subtasks):
        same_task = [subtask for subtask in subtasks if subtask.task == task]
        if len(same_task) > 1 and not all(subtask.where for subtask in same_task):
            faults.append(f"task {task} stands twice: {', '.join(map(str, same_task))}")
        elif same_task[0].where:
            faults += _route_faults(task, same_task, subtasks, classes)
    return faults


def answer_tasks(subtasks: Sequence[Subtask], votes: Sequence[Vote], classes: Mapping[str, Sequence[str]]) -> dict[str, Vote]:
    """One vote per task.

    Args:
        subtasks: Of P ensembles; together without `subtask_faults`.
        votes: Their P votes on the same N photos.
        classes: Task -> its class names.

    Returns:
        Task -> labels `(N,)` and shares `(N, C)`; a photo has those of the ensemble that the other tasks' labels send it to.
    """
    answers = {subtask.task: vote for subtask, vote in zip(subtasks, votes, strict=True) if not subtask.where}
    routed = [(subtask, vote) for subtask, vote in zip(subtasks, votes, strict=True) if subtask.where]
    for task in dict.fromkeys(subtask.task for subtask, _ in routed):
        parts = [(_sent(subtask.where, answers, classes), vote) for subtask, vote in routed if subtask.task == task]
        labels, shares = parts[0][1].labels.copy(), parts[0][1].shares.copy()
        for here, vote in parts[1:]:
            labels[here], shares[here] = vote.labels[here], vote.shares[here]
        answers[task] = Vote(labels, shares)
    return answers


def _route_faults(
    task: str, parts: Sequence[Subtask], subtasks: Sequence[Subtask], classes: Mapping[str, Sequence[str]]
) -> list[str]:
    routers = list(dict.fromkeys(router for subtask in parts for router, _ in subtask.where))
    direct = {subtask.task for subtask in subtasks if not subtask.where}
    faults = [
        f"task {task} is chosen by the answer for {router}, which no ensemble of its own gives; add the target {router}"
        for router in routers
        if router not in direct or router not in classes
    ]
    faults += [
        f"task {subtask}: {unknown('class', name, classes[router])}"
        for subtask in parts
        for router, named in subtask.where
        for name in named
        if name not in classes.get(router, named)
    ]
    if faults:
        return faults
    for cell in product(*(classes[router] for router in routers)):
        answered = dict(zip(routers, cell, strict=True))
        matching = [subtask for subtask in parts if all(answered[router] in named for router, named in subtask.where)]
        if len(matching) != 1:
            where = ", ".join(f"{router}={name}" for router, name in answered.items())
            faults.append(f"task {task} needs one ensemble for {where}, got {', '.join(map(str, matching)) or 'none'}")
    return faults


def _sent(where: Where, answers: Mapping[str, Vote], classes: Mapping[str, Sequence[str]]) -> NDArray[np.bool_]:
    """`(N,) bool`: the photos whose answers meet every condition."""
    conditions = [np.isin(answers[task].labels, _numbers(classes[task], named)) for task, named in where]
    met: NDArray[np.bool_] = np.all(conditions, axis=0)
    return met


def _numbers(classes: Sequence[str], named: Sequence[str]) -> Ints:
    return np.array([list(classes).index(name) for name in named], dtype=np.int64)
