"""Routes from the subtasks that are answered to the composed label: votes of P subtasks `(N, C_p)` -> one vote `(N, C)` on the label.

A route is one path to the label: every task by itself, tasks as experts of one joint, a task by its subsets (a photo goes where the other
tasks' answers send it, or everywhere at once, weighed by how likely each is), or the model of the label itself. The same subtasks often
allow several; `ensemble.label.decode` lets them vote.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from competitions.labels import Composition, compose, compose_probs, decompose, decompose_probs
from competitions.manifest import LABEL
from ensemble.label.cascade import Subtask, Where, answer_tasks
from ensemble.log_probs import share_logs, softmax
from ensemble.votes import Ints, Vote, hard_outcome

HALF = 0.5
"""Photos added to each class of a task, and on average to each composed class."""
SHARE_UNITS = 2.0**32
"""Shares are multiples of 1 / SHARE_UNITS, at least one: they sum to exactly 1 in any order, and no combination is ruled out."""
Numbers = NDArray[np.float64]
Classes = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class SubtaskVotes:
    """What the subtasks' ensembles answer for N photos, and what else a route may need.

    Attributes:
        table: How tasks and label belong together.
        votes: Subtask -> its vote, labels `(N,)` and shares `(N, C_p)`.
        classes: Task -> class names, of every task that has a subtask.
        joint: C shares of the composed classes among the training photos, or `None` where no route needs them.
    """

    table: Composition
    votes: Mapping[Subtask, Vote]
    classes: Classes
    joint: Sequence[float] | None = None

    @property
    def n_photos(self) -> int:
        """N."""
        return len(next(iter(self.votes.values())).labels)

    def answers(self, subtasks: Sequence[Subtask]) -> dict[str, Vote]:
        """One vote per task, by these subtasks alone; photos go where the routers' labels send them."""
        return answer_tasks(subtasks, [self.votes[subtask] for subtask in subtasks], self.classes)


@dataclass(frozen=True)
class Route:
    """One path to the composed label.

    Attributes:
        text: What it does, in words.
        subtasks: From the table and all subtasks to the ones whose votes this route takes; none where they do not allow it.
        answer: From all votes and those subtasks to the vote on the composed label `(N, C)`.
        keeps: Whether each task keeps its own vote, from which the label follows; else the tasks follow from the label.
    """

    text: str
    subtasks: Callable[[Composition, Sequence[Subtask]], tuple[Subtask, ...]]
    answer: Callable[[SubtaskVotes, Sequence[Subtask]], Vote]
    keeps: bool = False


@dataclass(frozen=True)
class Combination:
    """A label decoder: from the votes of the routes that there are to one vote on the label.

    Attributes:
        text: What it does, in words.
        takes: From the names of the routes there are to those that have a say; none where it cannot be used.
        decide: From their votes `(N, C)`, most senior first, to one.
        counts: Whether it counts their labels, and does not weigh their shares.
    """

    text: str
    takes: Callable[[Sequence[str]], tuple[str, ...]]
    decide: Callable[[Sequence[Vote]], Vote]
    counts: bool = False


def routes(subtasks: Sequence[Subtask], table: Composition) -> tuple[str, ...]:
    """The names in `ROUTES` that these subtasks allow, most senior first."""
    return tuple(name for name, route in ROUTES.items() if route.subtasks(table, subtasks))


def fit_joint(table: Composition, labels: Ints) -> tuple[float, ...]:
    """The composed classes' shares among training photos, smoothed towards tasks that are independent.

    Half a photo is added to each class of each task, and C / 2 photos to the composed classes, spread over them like the product of the
    tasks' shares: a combination nobody has seen is as rare as its parts make it, and the more photos there are the rarer.

    Args:
        table: C composed classes.
        labels: Composed labels `int64 (N,)`; photos with -1 take no part.

    Returns:
        C shares above 0, multiples of 2**-32 that sum to exactly 1, in the order of `label_classes`.
    """
    parts = decompose(table, labels)
    known = labels >= 0
    weights = known.astype(np.float64)
    counts = np.bincount(np.maximum(labels, 0), weights, table.n_classes)
    shares = []
    for task, size in zip(table.tasks, table.sizes, strict=True):
        task_shares = np.bincount(np.maximum(parts[task], 0), weights, size) + HALF
        shares.append(task_shares / task_shares.sum())
    apart = shares[0]
    for task_shares in shares[1:]:
        apart = np.multiply.outer(apart, task_shares).ravel()
    added = HALF * table.n_classes
    return _in_units((counts + added * apart) / (counts.sum() + added))


def _direct(table: Composition, subtasks: Sequence[Subtask]) -> tuple[Subtask, ...]:
    return _if_there([Subtask(task) for task in table.tasks], subtasks)


def _by_subsets(table: Composition, subtasks: Sequence[Subtask]) -> tuple[Subtask, ...]:
    """Subsets of every task that has some, the other tasks by themselves; a task that sends photos is not sent itself."""
    routers = {router for subtask in subtasks if subtask.task in table.tasks for router, _ in subtask.where}
    sent = [subtask for subtask in subtasks if subtask.where and subtask.task in table.tasks and subtask.task not in routers]
    whole = [Subtask(task) for task in table.tasks if task not in {subtask.task for subtask in sent}]
    return _if_there(whole, subtasks, sent) if sent else ()


def _label(_: Composition, subtasks: Sequence[Subtask]) -> tuple[Subtask, ...]:
    return _if_there([Subtask(LABEL)], subtasks)


def _label_by_subsets(_: Composition, subtasks: Sequence[Subtask]) -> tuple[Subtask, ...]:
    sent = [subtask for subtask in subtasks if subtask.where and subtask.task == LABEL]
    return _if_there([], subtasks, sent) if sent else ()


def _if_there(whole: Sequence[Subtask], subtasks: Sequence[Subtask], sent: Sequence[Subtask] = ()) -> tuple[Subtask, ...]:
    """These subtasks, those that are sent photos, and their routers; nothing where one is missing."""
    routers = [Subtask(router) for subtask in sent for router, _ in subtask.where]
    needed = tuple(dict.fromkeys([*whole, *routers, *sent]))
    return needed if set(needed) <= set(subtasks) else ()


def _each_task(inputs: SubtaskVotes, subtasks: Sequence[Subtask]) -> Vote:
    answers, table = inputs.answers(subtasks), inputs.table
    labels = compose(table, {task: answers[task].labels for task in table.tasks})
    return Vote(labels, compose_probs(table, {task: answers[task].shares for task in table.tasks}))


def _experts(inputs: SubtaskVotes, subtasks: Sequence[Subtask]) -> Vote:
    """p(y) ~ prod_t p_t(y_t) * joint(y) / prod_t prior_t(y_t): what each task saw in the photo, and once what goes together at all.

    A product of experts (Hinton 2002) whose common prior is divided out and put back (Kittler et al. 1998, "On combining classifiers",
    the product rule), exact where the tasks' evidence is independent given the label.
    """
    apart, joint = _each_task(inputs, subtasks), np.array([inputs.joint], dtype=np.float64)
    lift = joint / compose_probs(inputs.table, decompose_probs(inputs.table, joint))
    shares = apart.shares * lift
    return decide_joint(shares / shares.sum(axis=1, keepdims=True), [apart.labels])


def _soft_cascade(inputs: SubtaskVotes, subtasks: Sequence[Subtask]) -> Vote:
    """The sum over all answers of the routers, each weighed by its probability: p(m|x) p(a|x, m).

    A router that is part of the label is one of its axes; any other is summed out.
    """
    table = inputs.table
    sent = [subtask for subtask in subtasks if subtask.where]
    whole = {subtask.task: inputs.votes[subtask].shares for subtask in subtasks if not subtask.where}
    total = np.zeros((inputs.n_photos, *table.sizes))
    for cell, weight in _cells(inputs, [router for router in _routers(sent) if router not in table.tasks]):
        cube = weight.reshape(-1, *(1 for _ in table.sizes))
        for task in table.tasks:
            parts = [subtask for subtask in sent if subtask.task == task]
            cube = cube * (_conditional(inputs, task, parts, cell) if parts else _along(table, task, whole[task]))
        total += cube
    return decide_joint(total.reshape(len(total), -1), [_each_task(inputs, subtasks).labels])


def _soft_label_cascade(inputs: SubtaskVotes, subtasks: Sequence[Subtask]) -> Vote:
    """The label's subsets, each weighed by the probability that the routers send a photo there."""
    total = np.zeros((inputs.n_photos, inputs.table.n_classes))
    for subtask in sorted((subtask for subtask in subtasks if subtask.where), key=str):
        total += _weight(inputs, subtask.where)[:, None] * inputs.votes[subtask].shares
    return decide_joint(total, [inputs.answers(subtasks)[LABEL].labels])


def decide_joint(shares: Numbers, seniors: Sequence[Ints]) -> Vote:
    """The most probable composed class; of equal ones what the first of `seniors` `(N,)` names that is among them, else the first."""
    return hard_outcome(shares, lambda tied: np.stack([labels[tied] for labels in seniors]))


def _routers(sent: Sequence[Subtask]) -> list[str]:
    return sorted({router for subtask in sent for router, _ in subtask.where})


def _cells(inputs: SubtaskVotes, routers: Sequence[str]) -> Iterator[tuple[dict[str, str], Numbers]]:
    """Every combination of these routers' classes, and its probability `(N,)`; tasks are independent given the photo."""
    for numbers in product(*(range(len(inputs.classes[router])) for router in routers)):
        weight = np.ones(inputs.n_photos)
        for router, number in zip(routers, numbers, strict=True):
            weight = weight * inputs.votes[Subtask(router)].shares[:, number]
        yield {router: inputs.classes[router][number] for router, number in zip(routers, numbers, strict=True)}, weight


def _weight(inputs: SubtaskVotes, where: Where) -> Numbers:
    """How likely a photo meets every condition, `(N,)`."""
    weight = np.ones(inputs.n_photos)
    for router in sorted({router for router, _ in where}):
        shares = inputs.votes[Subtask(router)].shares
        weight = weight * sum(shares[:, number] for number in _met(where, router, inputs.classes[router]))
    return weight


def _conditional(inputs: SubtaskVotes, task: str, parts: Sequence[Subtask], cell: Mapping[str, str]) -> Numbers:
    """p(task | x, the other tasks): `(N, ...)` along the axes of the table, 1 long where the task does not depend on an axis."""
    table, routers = inputs.table, _routers(parts)
    sizes = [n if name in (*routers, task) else 1 for name, n in zip(table.tasks, table.sizes, strict=True)]
    conditional = np.zeros((inputs.n_photos, *sizes))
    for subtask in parts:
        if all(cell[router] in named for router, named in subtask.where if router in cell):
            axes = [
                _met(subtask.where, name, names) if name in routers else list(range(size))
                for name, names, size in zip(table.tasks, table.classes, sizes, strict=True)
            ]
            conditional[np.ix_(range(inputs.n_photos), *axes)] = _along(table, task, inputs.votes[subtask].shares)
    return conditional


def _met(where: Where, router: str, classes: Sequence[str]) -> list[int]:
    """The router's classes that meet every condition on it."""
    wanted = [named for name, named in where if name == router]
    return [number for number, name in enumerate(classes) if all(name in named for named in wanted)]


def _along(table: Composition, task: str, shares: Numbers) -> Numbers:
    """Shares `(N, C_t)` along their task's axis of the table: `(N, 1, .., C_t, .., 1)`."""
    return shares.reshape(len(shares), *(-1 if name == task else 1 for name in table.tasks))


def _in_units(shares: NDArray[np.float64]) -> tuple[float, ...]:
    units = np.maximum(np.rint(shares * SHARE_UNITS), 1.0)
    units[units.argmax()] += SHARE_UNITS - units.sum()
    return tuple((units / SHARE_UNITS).tolist())


def _one(name: str, there: Sequence[str]) -> tuple[str, ...]:
    return (name,) if name in there else ()


def _at_least(n: int, there: Sequence[str]) -> tuple[str, ...]:
    return tuple(there) if len(there) >= n else ()


def _pool_hard(votes: Sequence[Vote]) -> Vote:
    counts, rows = np.zeros(votes[0].shares.shape), np.arange(len(votes[0].labels))
    for vote in votes:
        counts[rows, vote.labels] += 1
    return hard_outcome(counts / len(votes), lambda tied: np.stack([vote.labels[tied] for vote in votes]))


def _pool_soft(votes: Sequence[Vote]) -> Vote:
    return decide_joint(_sum([vote.shares for vote in votes]) / len(votes), [vote.labels for vote in votes])


def _pool_geometric(votes: Sequence[Vote]) -> Vote:
    logs = _sum([share_logs(vote.shares) for vote in votes]) / len(votes)
    return decide_joint(softmax(logs), [vote.labels for vote in votes])


def _sum(arrays: Sequence[Numbers]) -> Numbers:
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total


ROUTES: dict[str, Route] = {
    "tasks": Route("every task by itself", _direct, _each_task, keeps=True),
    "cascade": Route("tasks by the subset that the others' answers say", _by_subsets, _each_task, keeps=True),
    "label": Route("the model of the label itself", _label, lambda inputs, subtasks: inputs.answers(subtasks)[LABEL]),
    "label-cascade": Route(
        "the label by the subset that a task's answer says",
        _label_by_subsets,
        lambda inputs, subtasks: inputs.answers(subtasks)[LABEL],
    ),
    "soft-cascade": Route("tasks by all subsets, weighed by how likely each is", _by_subsets, _soft_cascade),
    "soft-label-cascade": Route(
        "the label by all subsets, weighed by how likely each is", _label_by_subsets, _soft_label_cascade
    ),
    "experts": Route("tasks as experts of one joint, with the training photos' joint prior", _direct, _experts),
}
LABEL_DECODERS: dict[str, Combination] = {
    name: Combination(route.text, partial(_one, name), lambda votes: votes[0]) for name, route in ROUTES.items()
} | {  # a vote of two always goes to the senior, so it takes three
    "pool-hard": Combination(
        "the label that most routes name; a tie goes to the most senior route", partial(_at_least, 3), _pool_hard, counts=True
    ),
    "pool-soft": Combination("the mean of all routes' joint probabilities", partial(_at_least, 2), _pool_soft),
    "pool-geometric": Combination("the mean of their logarithms", partial(_at_least, 2), _pool_geometric),
}
