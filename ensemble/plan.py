"""The plan: which trials vote through which views by which rule, and how tasks become the label. JSON in, JSON out.

A plan and its voters' probabilities `(N, C)` are all that `decide` needs; it knows no ledger and no competition file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from competitions.competition import Submission
from competitions.metrics import METRICS
from ensemble.cascade import Place, Where, answer_tasks, place_faults
from ensemble.composition import Composition, compose, compose_probs, decompose, decompose_probs
from ensemble.plan_schema import SCHEMA, plan_faults
from ensemble.voters import Rows, Voter, stack
from ensemble.votes import RULES, Ints, Vote
from ledger.errors import UserError, unknown
from ledger.files import fingerprint, read_json, replace_json

LABEL = "label"
Probs = Mapping[tuple[str, str, str], Rows]  # (trial_id, head, view) -> image ids and probabilities float (N, C)


@dataclass(frozen=True)
class TaskEnsemble:
    """How one target is decided.

    Attributes:
        task: A task of the competition, or `label` where the voters answer the composed label itself. It is also the name of
            the head that is read of each voter.
        classes: Its C class names in order.
        voters: K different voters, most senior first.
        prior: Class shares of the training photos, C numbers that sum to 1: a photo that cannot be read votes like this.
        rule: One of `votes.RULES`.
        tie_rule: That rule's tie rule in words.
        weights: K numbers, or `None`: one voter, one vote.
        score: What the choice scored on the photos that chose it; greater is better.
        where: Of a cascade: for which answers of other tasks this ensemble is asked.
    """

    task: str
    classes: tuple[str, ...]
    voters: tuple[Voter, ...]
    prior: tuple[float, ...]
    rule: str = "hard"
    tie_rule: str = RULES["hard"].tie_rule
    weights: tuple[float, ...] | None = None
    score: float | None = None
    where: Where = ()

    @property
    def place(self) -> Place:
        """What it answers, and for which photos."""
        return Place(self.task, self.where)

    @property
    def keys(self) -> tuple[tuple[str, str, str], ...]:
        """The K names `(trial_id, head, view)` of its voters' probabilities."""
        return tuple((voter.member, self.task, voter.view) for voter in self.voters)


@dataclass(frozen=True)
class EnsemblePlan:
    """Everything the decision needs; checked as a whole when it is made.

    Attributes:
        competition: Name of the competition.
        metric: One of `competitions.metrics.METRICS`.
        tasks: One ensemble per task of the composed label (and any other task), or one for the `label` itself; of a cascade
            one per class of the task that routes.
        composition: How tasks and composed label belong together.
        submission: The form of the file that is handed in.

    Raises:
        UserError: Naming every mistake.
    """

    competition: str
    metric: str
    tasks: tuple[TaskEnsemble, ...]
    composition: Composition
    submission: Submission

    def __post_init__(self) -> None:
        faults = [fault for ensemble in self.tasks for fault in _task_faults(ensemble)] + _whole_faults(self)
        if faults:
            raise UserError(*faults)

    @property
    def plan_id(self) -> str:
        """The plan's name, 16 hex digits: equal plans have equal names."""
        return fingerprint(self.to_json())

    @property
    def voters(self) -> tuple[Voter, ...]:
        """All voters once, in the plan's order."""
        return tuple(dict.fromkeys(voter for ensemble in self.tasks for voter in ensemble.voters))

    @property
    def views(self) -> tuple[str, ...]:
        """The views that voters look through, sorted."""
        return tuple(sorted({voter.view for voter in self.voters}))

    def classes(self, task: str) -> tuple[str, ...]:
        """The ordered class names of a task, or of the composed `label`."""
        return self.known_classes[task]

    @property
    def known_classes(self) -> dict[str, tuple[str, ...]]:
        """Every task that is answered, and the `label` -> its ordered class names."""
        named = dict(zip(self.composition.tasks, self.composition.classes, strict=True)) | {e.task: e.classes for e in self.tasks}
        return named | {LABEL: self.composition.label_classes}

    def to_json(self) -> dict[str, Any]:
        """The plan as a JSON value; `save_plan` writes equal plans as equal bytes."""
        form = {"id_column": self.submission.id_column, "answers": [list(pair) for pair in self.submission.answers.items()]}
        return {
            "schema": SCHEMA,
            "competition": self.competition,
            "metric": self.metric,
            "tasks": [_task_to_json(ensemble) for ensemble in self.tasks],
            "composition": self.composition.to_json(),
            "submission": form | {"values": self.submission.values},
        }

    @classmethod
    def from_json(cls, value: Any) -> "EnsemblePlan":
        """The plan in a JSON value.

        Raises:
            UserError: Naming every mistake: unknown schema, fields, rules, metrics, numbers that do not fit.
        """
        faults = plan_faults(value)
        if faults:
            raise UserError(*faults)
        table, form = value["composition"], value["submission"]
        return cls(
            competition=value["competition"],
            metric=value["metric"],
            tasks=tuple(_task_from_json(task) for task in value["tasks"]),
            composition=Composition(tuple(table["tasks"]), tuple(map(tuple, table["classes"]))),
            submission=Submission(id_column=form["id_column"], answers=dict(form["answers"]), values=form["values"]),
        )


def save_plan(path: Path, plan: EnsemblePlan) -> None:
    """Write the plan to `path`; the same plan gives the same bytes."""
    replace_json(path, plan.to_json())


def load_plan(path: Path) -> EnsemblePlan:
    """The plan in `path`.

    Raises:
        UserError: There is no such file, it is not JSON, or not a plan.
    """
    try:
        return EnsemblePlan.from_json(read_json(path))
    except FileNotFoundError as error:
        raise UserError(f"there is no plan {path}; export_ensemble.py writes one") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def decide(plan: EnsemblePlan, probs: Probs, image_ids: Sequence[str]) -> dict[str, Ints]:
    """The plan's answer for N photos.

    Args:
        plan: The plan.
        probs: For all `keys` of the plan's ensembles: image ids in any order and probabilities `float (N', C)`. A photo that
            could not be read has the task's prior as its row.
        image_ids: The N photos asked for.

    Returns:
        Class numbers `int64 (N,)` for each task and for the composed `label`, rows like `image_ids`.

    Raises:
        UserError: Naming every voter whose probabilities or photos are missing.
    """
    return {task: vote.labels for task, vote in vote_all(plan, probs, image_ids).items()}


def vote_all(plan: EnsemblePlan, probs: Probs, image_ids: Sequence[str]) -> dict[str, Vote]:
    """Like `decide`, with the class shares `float64 (N, C)` beside the labels.

    Shares that are derived (of the label from tasks taken as independent, of tasks by summing the label's) carry probabilities
    for metrics such as log loss; their labels follow from what was decided, not from their argmax.
    """
    faults: list[str] = []
    votes: list[Vote] = []
    for ensemble in plan.tasks:
        try:
            votes.append(vote_task(ensemble, probs, image_ids))
        except UserError as error:
            faults += error.faults
    if faults:
        raise UserError(*dict.fromkeys(faults))
    return answer_all(plan.composition, [ensemble.place for ensemble in plan.tasks], votes, plan.known_classes)


def answer_all(
    table: Composition, places: Sequence[Place], votes: Sequence[Vote], classes: Mapping[str, Sequence[str]]
) -> dict[str, Vote]:
    """The votes of all ensembles as one vote per task, and for the composed label.

    Args:
        table: How tasks and label belong together.
        places: Of P ensembles.
        votes: Their P votes on the same photos.
        classes: Task -> class names.
    """
    answers = answer_tasks(places, votes, classes)
    return answers | _derived(table, answers)


def vote_task(ensemble: TaskEnsemble, probs: Probs, image_ids: Sequence[str]) -> Vote:
    """The vote of one ensemble: probabilities of its voters, by its `keys` -> labels `(N,)` and shares `(N, C)`."""
    named = list(zip(ensemble.voters, ensemble.keys, strict=True))
    absent = [voter for voter, key in named if key not in probs]
    if absent:
        raise UserError(*(f"task {ensemble.place}: voter {voter} has no predictions" for voter in absent))
    cube = stack(image_ids, {str(voter): probs[key] for voter, key in named})
    if cube.ndim != 3 or cube.shape[2] != len(ensemble.classes):
        raise UserError(f"task {ensemble.place} has {len(ensemble.classes)} classes, its voters' rows the shape {cube.shape[2:]}")
    return RULES[ensemble.rule].vote(cube, ensemble.weights)


def _derived(table: Composition, votes: Mapping[str, Vote]) -> dict[str, Vote]:
    if LABEL in votes:
        whole = votes[LABEL]
        labels, shares = decompose(table, whole.labels), decompose_probs(table, whole.shares)
        return {task: Vote(labels[task], shares[task]) for task in table.tasks}
    label = compose(table, {task: votes[task].labels for task in table.tasks})
    return {LABEL: Vote(label, compose_probs(table, {task: votes[task].shares for task in table.tasks}))}


def _task_to_json(ensemble: TaskEnsemble) -> dict[str, Any]:
    routed = {"where": [[task, list(classes)] for task, classes in ensemble.where]} if ensemble.where else {}
    return routed | {
        "task": ensemble.task,
        "classes": list(ensemble.classes),
        "voters": [list(voter.key) for voter in ensemble.voters],
        "weights": None if ensemble.weights is None else [float(w) for w in ensemble.weights],
        "rule": ensemble.rule,
        "tie_rule": ensemble.tie_rule,
        "prior": [float(p) for p in ensemble.prior],
        "score": None if ensemble.score is None else float(ensemble.score),
    }


def _task_from_json(value: dict[str, Any]) -> TaskEnsemble:
    return TaskEnsemble(
        task=value["task"],
        classes=tuple(value["classes"]),
        voters=tuple(Voter(trial_id, view) for trial_id, view in value["voters"]),
        weights=None if value["weights"] is None else tuple(map(float, value["weights"])),
        rule=value["rule"],
        tie_rule=value["tie_rule"],
        prior=tuple(map(float, value["prior"])),
        score=None if value["score"] is None else float(value["score"]),
        where=tuple((task, tuple(classes)) for task, classes in value.get("where", ())),
    )


def _task_faults(ensemble: TaskEnsemble) -> list[str]:
    where, n_classes, n_voters = f"task {ensemble.place}", len(ensemble.classes), len(ensemble.voters)
    faults = [f"{where} has no voters"] if not n_voters else []
    faults += [f"{where}: voter {v} stands twice; give it a weight" for v in _twice(ensemble.voters)]
    faults += [f"{where}: class {name!r} stands twice" for name in _twice(ensemble.classes)]
    if ensemble.rule not in RULES:
        faults.append(f"{where}: {unknown('voting rule', ensemble.rule, dict(RULES))}")
    elif ensemble.tie_rule != RULES[ensemble.rule].tie_rule:
        faults.append(f"{where}: tie_rule of {ensemble.rule} is {RULES[ensemble.rule].tie_rule!r}, got {ensemble.tie_rule!r}")
    if len(ensemble.prior) != n_classes or min(ensemble.prior, default=-1) < 0 or not abs(sum(ensemble.prior) - 1) < 1e-6:
        faults.append(f"{where}: prior must be {n_classes} shares that sum to 1, got {list(ensemble.prior)}")
    weights = ensemble.weights
    if weights is not None and (len(weights) != n_voters or not all(0 <= w < float("inf") for w in weights) or not any(weights)):
        faults.append(f"{where}: weights must be {n_voters} numbers of at least 0, not all 0, got {list(weights)}")
    if ensemble.score is not None and not isfinite(ensemble.score):
        faults.append(f"{where}: score must be a number, got {ensemble.score}")
    return faults


def _whole_faults(plan: EnsemblePlan) -> list[str]:
    table, answered = plan.composition, [ensemble.task for ensemble in plan.tasks]
    faults = [] if plan.metric in METRICS else [unknown("metric", plan.metric, dict(METRICS))]
    if not table.tasks or len(table.tasks) != len(table.classes) or _twice(table.tasks):
        return [*faults, f"composition must name different tasks and the classes of each, got {table.to_json()}"]
    places = [ensemble.place for ensemble in plan.tasks]
    known_classes = dict(zip(table.tasks, table.classes, strict=True)) | {e.task: e.classes for e in plan.tasks if not e.where}
    faults += place_faults(places, known_classes)
    faults += [f"task {place} stands twice" for place in places if places.count(place) > 1 and place.where]
    needed = set(table.tasks)
    if LABEL in answered:
        faults += [f"task {task} is answered by its own ensemble and by that of the label" for task in answered if task in needed]
    else:
        faults += [f"task {task} of the composed label has no ensemble" for task in table.tasks if task not in answered]
    asked = dict(zip(table.tasks, table.classes, strict=True)) | {LABEL: table.label_classes}
    for ensemble in plan.tasks:
        meant = asked.get(ensemble.task, known_classes.get(ensemble.task, ensemble.classes))
        if meant != ensemble.classes:
            faults.append(f"task {ensemble.task} has the classes {list(ensemble.classes)}, in the composition {list(meant)}")
    known = {*answered, *needed, LABEL}
    return faults + [unknown("answer in submission", a, known) for a in plan.submission.answers.values() if a not in known]


def _twice(values: Sequence[Any]) -> list[Any]:
    ordered = sorted(values)
    return sorted({a for a, b in pairwise(ordered) if a == b})
