"""Routes from the places that answer something to the composed label: votes of P places `(N, C_p)` -> one vote `(N, C)` on the label.

A route is one full way through: every task by itself, tasks as experts of one joint, a task by its subsets (a photo goes where the other
tasks' answers send it, or everywhere at once, weighed by how likely each is), or the model of the label itself. The same places often allow
several; `ensemble.label.decode` lets them vote.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from competitions.labels import Composition, compose, compose_probs, decompose_probs
from competitions.manifest import LABEL
from ensemble.label.cascade import Place, Where, answer_tasks
from ensemble.votes import Ints, Vote, hard_outcome

Numbers = NDArray[np.float64]
Classes = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Said:
    """What the places said of N photos, and what else a route may need.

    Attributes:
        table: How tasks and label belong together.
        votes: Place -> its vote, labels `(N,)` and shares `(N, C_p)`.
        classes: Task -> class names, of every task that has a place.
        joint: C shares of the composed classes among the training photos, or `None` where no route asks for them.
    """

    table: Composition
    votes: Mapping[Place, Vote]
    classes: Classes
    joint: Sequence[float] | None = None

    @property
    def n_photos(self) -> int:
        """N."""
        return len(next(iter(self.votes.values())).labels)

    def answers(self, places: Sequence[Place]) -> dict[str, Vote]:
        """One vote per task, by these places alone; photos go where the routers' labels send them."""
        return answer_tasks(places, [self.votes[place] for place in places], self.classes)


@dataclass(frozen=True)
class Route:
    """One way to the composed label.

    Attributes:
        text: What it does, in words.
        places: From the table and all places to the ones this route asks; none where they do not allow it.
        answer: From what was said and those places to the vote on the composed label `(N, C)`.
        keeps: Whether each task keeps its own vote, from which the label follows; else the tasks follow from the label.
    """

    text: str
    places: Callable[[Composition, Sequence[Place]], tuple[Place, ...]]
    answer: Callable[[Said, Sequence[Place]], Vote]
    keeps: bool = False


def routes(places: Sequence[Place], table: Composition) -> tuple[str, ...]:
    """The names in `ROUTES` that these places allow, most senior first."""
    return tuple(name for name, route in ROUTES.items() if route.places(table, places))


def _direct(table: Composition, places: Sequence[Place]) -> tuple[Place, ...]:
    return _if_there([Place(task) for task in table.tasks], places)


def _by_subsets(table: Composition, places: Sequence[Place]) -> tuple[Place, ...]:
    """Subsets of every task that has some, the other tasks by themselves; a task that sends photos is not sent itself."""
    routers = {router for place in places if place.task in table.tasks for router, _ in place.where}
    sent = [place for place in places if place.where and place.task in table.tasks and place.task not in routers]
    whole = [Place(task) for task in table.tasks if task not in {place.task for place in sent}]
    return _if_there(whole, places, sent) if sent else ()


def _label(_: Composition, places: Sequence[Place]) -> tuple[Place, ...]:
    return _if_there([Place(LABEL)], places)


def _label_by_subsets(_: Composition, places: Sequence[Place]) -> tuple[Place, ...]:
    sent = [place for place in places if place.where and place.task == LABEL]
    return _if_there([], places, sent) if sent else ()


def _if_there(whole: Sequence[Place], places: Sequence[Place], sent: Sequence[Place] = ()) -> tuple[Place, ...]:
    """These places, those that are sent photos, and their routers; nothing where one is missing."""
    routers = [Place(router) for place in sent for router, _ in place.where]
    asked = tuple(dict.fromkeys([*whole, *routers, *sent]))
    return asked if set(asked) <= set(places) else ()


def _each_task(said: Said, places: Sequence[Place]) -> Vote:
    answers, table = said.answers(places), said.table
    labels = compose(table, {task: answers[task].labels for task in table.tasks})
    return Vote(labels, compose_probs(table, {task: answers[task].shares for task in table.tasks}))


def _experts(said: Said, places: Sequence[Place]) -> Vote:
    """p(y) ~ prod_t p_t(y_t) * joint(y) / prod_t prior_t(y_t): what each task saw in the photo, and once what goes together at all.

    A product of experts (Hinton 2002) whose common prior is divided out and put back (Kittler et al. 1998, "On combining classifiers",
    the product rule), exact where the tasks' evidence is independent given the label.
    """
    apart, joint = _each_task(said, places), np.array([said.joint], dtype=np.float64)
    together = joint / compose_probs(said.table, decompose_probs(said.table, joint))
    shares = apart.shares * together
    return decide_joint(shares / shares.sum(axis=1, keepdims=True), [apart.labels])


def _soft_cascade(said: Said, places: Sequence[Place]) -> Vote:
    """The sum over all answers of the routers, each weighed by its probability: p(m|x) p(a|x, m).

    A router that is part of the label is one of its axes; any other is summed out.
    """
    table = said.table
    sent = [place for place in places if place.where]
    whole = {place.task: said.votes[place].shares for place in places if not place.where}
    total = np.zeros((said.n_photos, *table.sizes))
    for cell, weight in _cells(said, [router for router in _routers(sent) if router not in table.tasks]):
        cube = weight.reshape(-1, *(1 for _ in table.sizes))
        for task in table.tasks:
            own = [place for place in sent if place.task == task]
            cube = cube * (_conditional(said, task, own, cell) if own else _along(table, task, whole[task]))
        total += cube
    return decide_joint(total.reshape(len(total), -1), [_each_task(said, places).labels])


def _soft_label_cascade(said: Said, places: Sequence[Place]) -> Vote:
    """The label's subsets, each weighed by the probability that the routers send a photo there."""
    total = np.zeros((said.n_photos, said.table.n_classes))
    for place in sorted((place for place in places if place.where), key=str):
        total += _weight(said, place.where)[:, None] * said.votes[place].shares
    return decide_joint(total, [said.answers(places)[LABEL].labels])


def decide_joint(shares: Numbers, seniors: Sequence[Ints]) -> Vote:
    """The most probable composed class; of equal ones what the first of `seniors` `(N,)` names that is among them, else the first."""
    return hard_outcome(shares, lambda tied: np.stack([labels[tied] for labels in seniors]))


def _routers(sent: Sequence[Place]) -> list[str]:
    return sorted({router for place in sent for router, _ in place.where})


def _cells(said: Said, routers: Sequence[str]) -> Iterator[tuple[dict[str, str], Numbers]]:
    """Every combination of these routers' classes, and its probability `(N,)`; tasks are independent given the photo."""
    for numbers in product(*(range(len(said.classes[router])) for router in routers)):
        weight = np.ones(said.n_photos)
        for router, number in zip(routers, numbers, strict=True):
            weight = weight * said.votes[Place(router)].shares[:, number]
        yield {router: said.classes[router][number] for router, number in zip(routers, numbers, strict=True)}, weight


def _weight(said: Said, where: Where) -> Numbers:
    """How likely a photo meets every condition, `(N,)`."""
    weight = np.ones(said.n_photos)
    for router in sorted({router for router, _ in where}):
        shares = said.votes[Place(router)].shares
        weight = weight * sum(shares[:, number] for number in _met(where, router, said.classes[router]))
    return weight


def _conditional(said: Said, task: str, own: Sequence[Place], cell: Mapping[str, str]) -> Numbers:
    """p(task | x, the other tasks): `(N, ...)` along the axes of the table, 1 long where the task does not depend on an axis."""
    table, routers = said.table, _routers(own)
    sizes = [n if name in (*routers, task) else 1 for name, n in zip(table.tasks, table.sizes, strict=True)]
    found = np.zeros((said.n_photos, *sizes))
    for place in own:
        if all(cell[router] in named for router, named in place.where if router in cell):
            axes = [
                _met(place.where, name, names) if name in routers else list(range(size))
                for name, names, size in zip(table.tasks, table.classes, sizes, strict=True)
            ]
            found[np.ix_(range(said.n_photos), *axes)] = _along(table, task, said.votes[place].shares)
    return found


def _met(where: Where, router: str, classes: Sequence[str]) -> list[int]:
    """The router's classes that meet every condition on it."""
    wanted = [named for name, named in where if name == router]
    return [number for number, name in enumerate(classes) if all(name in named for named in wanted)]


def _along(table: Composition, task: str, shares: Numbers) -> Numbers:
    """Shares `(N, C_t)` along their task's axis of the table: `(N, 1, .., C_t, .., 1)`."""
    return shares.reshape(len(shares), *(-1 if name == task else 1 for name in table.tasks))


ROUTES: dict[str, Route] = {
    "tasks": Route("every task by itself", _direct, _each_task, keeps=True),
    "cascade": Route("tasks by the subset that the others' answers say", _by_subsets, _each_task, keeps=True),
    "label": Route("the model of the label itself", _label, lambda said, places: said.answers(places)[LABEL]),
    "label-cascade": Route(
        "the label by the subset that a task's answer says", _label_by_subsets, lambda said, places: said.answers(places)[LABEL]
    ),
    "soft-cascade": Route("tasks by all subsets, weighed by how likely each is", _by_subsets, _soft_cascade),
    "soft-label-cascade": Route(
        "the label by all subsets, weighed by how likely each is", _label_by_subsets, _soft_label_cascade
    ),
    "experts": Route("tasks as experts of one joint, with the training photos' joint prior", _direct, _experts),
}
