"""Label decoders at work: votes of P subtasks `(N, C_p)` -> one vote per task and on the label, by one route or by several that vote.

`tasks` and `cascade` let each task keep its own vote, from which the label follows. All others decide the label by its joint
probabilities `(N, C)`, and the tasks follow from it; either way label and tasks never contradict one another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from competitions.labels import Composition, decompose, decompose_probs
from competitions.manifest import LABEL
from ensemble.label.cascade import Subtask, subtask_faults
from ensemble.label.decoders import LABEL_DECODERS, ROUTES, SubtaskVotes, routes
from ensemble.plan.reader import WRITTEN
from ensemble.votes import Vote
from system.errors import UserError, unknown

EXPERTS = "experts"
OF_ALL_SUBSETS = {"cascade": "soft-cascade", "label-cascade": "soft-label-cascade"}
"""A route that follows one answer of the routers -> the one that weighs all of them."""


@dataclass(frozen=True)
class LabelDecoder:
    """How the votes of several subtasks become one vote per task and on the label.

    Attributes:
        way: Its name in `LABEL_DECODERS`.
        joint: C shares of the composed classes among the training photos, where the route `experts` has a say; `None` elsewhere.
    """

    way: str
    joint: tuple[float, ...] | None = field(default=None, metadata=WRITTEN)

    def to_json(self) -> dict[str, Any]:
        """The decoder as a JSON value."""
        return {"way": self.way, "joint": None if self.joint is None else list(self.joint)}

    def faults(self, subtasks: Sequence[Subtask], table: Composition, classes: Mapping[str, Sequence[str]]) -> list[str]:
        """What keeps it from answering every task and the label with these subtasks, in words; nothing where all is well.

        Args:
            subtasks: Of all ensembles of a plan.
            table: How tasks and label belong together.
            classes: Task -> class names, of every task that is answered.
        """
        if self.way not in LABEL_DECODERS:
            return [unknown("way to answer tasks together", self.way, LABEL_DECODERS)]
        allowed = routes(subtasks, table)
        taken = LABEL_DECODERS[self.way].takes(allowed)
        others = _others(subtasks, table)
        faults = [f"{subtask} stands twice" for subtask in dict.fromkeys(subtasks) if list(subtasks).count(subtask) > 1]
        if not taken:
            named = ", ".join(allowed) or "none"
            faults.append(
                f"tasks together by {self.way} ({LABEL_DECODERS[self.way].text}): the routes there are do not allow it ({named})"
            )
        parts = [ROUTES[name].subtasks(table, subtasks) for name in taken] + [others]
        faults += [fault for part in parts for fault in subtask_faults(part, classes)]
        return list(dict.fromkeys(faults + self._joint_faults(taken, table)))

    def _joint_faults(self, taken: Sequence[str], table: Composition) -> list[str]:
        if EXPERTS not in taken:
            return [] if self.joint is None else [f"tasks together by {self.way} asks for no joint prior; leave it out"]
        shares = self.joint or ()
        if len(shares) != table.n_classes or not min(shares) > 0 or not abs(sum(shares) - 1) < 1e-6:
            return [
                f"tasks together by {self.way} needs a joint prior, {table.n_classes} shares above 0 that sum to 1, got {shares}"
            ]
        return []


def default_decoder(subtasks: Sequence[Subtask], table: Composition, *, shares: bool = False) -> str:
    """The most senior route, which is a hard one: each task's own vote where that is enough.

    Args:
        subtasks: Of all ensembles of a plan.
        table: How tasks and label belong together.
        shares: Shares are handed in: a cascade then weighs the shares of all subsets, in place of those that a decided answer names.

    Raises:
        UserError: These subtasks do not answer the label by any route.
    """
    allowed = routes(subtasks, table)
    if not allowed:
        named = ", ".join(map(str, subtasks))
        raise UserError(
            f"these ensembles do not answer the label by any route: {named}; every task needs one, or the label itself"
        )
    soft = OF_ALL_SUBSETS.get(allowed[0])
    return soft if shares and soft in allowed else allowed[0]


def label_decoders(subtasks: Sequence[Subtask], table: Composition, *, shares: bool = False) -> tuple[str, ...]:
    """The names in `LABEL_DECODERS` that these subtasks allow, the default first; with `shares` those that count no labels."""
    allowed = routes(subtasks, table)
    names = [name for name, one in LABEL_DECODERS.items() if one.takes(allowed) and not (shares and one.counts)]
    first = [default_decoder(subtasks, table, shares=shares)] if names else []
    return tuple(dict.fromkeys([*first, *names]))


def needs_joint(decoder: str, subtasks: Sequence[Subtask], table: Composition) -> bool:
    """Whether this label decoder needs the training photos' joint prior."""
    return EXPERTS in LABEL_DECODERS[decoder].takes(routes(subtasks, table))


def voting_subtasks(decoder: str, subtasks: Sequence[Subtask], table: Composition) -> tuple[Subtask, ...]:
    """The subtasks that have a say in this label decoder, in their order; tasks that are not part of the label keep theirs."""
    voting = {*_others(subtasks, table)}
    for name in LABEL_DECODERS[decoder].takes(routes(subtasks, table)):
        voting |= {*ROUTES[name].subtasks(table, subtasks)}
    return tuple(subtask for subtask in subtasks if subtask in voting)


def decode_votes(
    decoder: LabelDecoder,
    table: Composition,
    subtasks: Sequence[Subtask],
    votes: Sequence[Vote],
    classes: Mapping[str, Sequence[str]],
) -> dict[str, Vote]:
    """The votes of all ensembles as one vote per task, and for the composed `label`.

    Shares of tasks that follow from the label are its marginals: probabilities for metrics such as log loss, whose argmax may be another
    class than the one that stands in the decided label.

    Args:
        decoder: How they become the label.
        table: How tasks and label belong together.
        subtasks: Of P ensembles, in any order.
        votes: Their P votes on the same N photos.
        classes: Task -> class names.

    Raises:
        UserError: These subtasks do not allow the decoder, or it lacks its joint prior.
    """
    faults = decoder.faults(subtasks, table, classes)
    if faults:
        raise UserError(*faults)
    inputs = SubtaskVotes(table, dict(zip(subtasks, votes, strict=True)), classes, decoder.joint)
    taken = LABEL_DECODERS[decoder.way].takes(routes(subtasks, table))
    others = {task: vote for task, vote in inputs.answers(_others(subtasks, table)).items() if task not in (*table.tasks, LABEL)}
    route = ROUTES.get(decoder.way)
    whole = LABEL_DECODERS[decoder.way].decide([*route_votes(inputs, taken).values()])
    if route is not None and route.keeps:
        return others | inputs.answers(route.subtasks(table, subtasks)) | {LABEL: whole}
    labels, shares = decompose(table, whole.labels), decompose_probs(table, whole.shares)
    return others | {task: Vote(labels[task], shares[task]) for task in table.tasks} | {LABEL: whole}


def route_votes(inputs: SubtaskVotes, names: Sequence[str]) -> dict[str, Vote]:
    """Route -> its vote on the composed label, `(N, C)`."""
    subtasks = tuple(inputs.votes)
    return {name: ROUTES[name].answer(inputs, ROUTES[name].subtasks(inputs.table, subtasks)) for name in names}


def _others(subtasks: Sequence[Subtask], table: Composition) -> tuple[Subtask, ...]:
    """The subtasks of tasks that are not part of the label, and of those that send photos to them."""
    apart = [subtask for subtask in subtasks if subtask.task not in (*table.tasks, LABEL)]
    routers = {Subtask(router) for subtask in apart for router, _ in subtask.where}
    return tuple(subtask for subtask in subtasks if subtask in apart or subtask in routers)
