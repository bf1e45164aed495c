"""The plan: which trials vote through which views by which rule, and how tasks become the label. JSON in, JSON out.

A plan and its voters' probabilities `(N, C)` are all that `decide` needs; it knows no ledger and no competition file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from competitions.answers import ANSWERS, CLASS, AnswerColumn, RowPattern, Unit, column_faults
from competitions.labels import Composition
from competitions.manifest import LABEL
from competitions.metrics import METRICS, OWN_METRIC
from ensemble.align import Voter
from ensemble.label.cascade import Subtask, subtask_faults
from ensemble.label.decode import LabelDecoder, decode_votes
from ensemble.label.decoders import ROUTES, routes
from ensemble.plan.reader import SHOWN, read
from ensemble.plan.task_ensemble import Probs, TaskEnsemble, is_name, task_faults, task_to_json, twice, vote_task
from ensemble.resampling import Groups
from ensemble.votes import Ints, Vote
from system.errors import UserError, unknown
from system.files import fingerprint

PLAN_SCHEMA = 1  # raised when a plan written before can no longer be read as it is


@dataclass(frozen=True)
class WrittenAs:
    """How one column is written.

    Attributes:
        form: One of `competitions.answers.ANSWERS`.
        of: The class whose probability it holds; `None` where it holds none.
    """

    form: str = CLASS
    of: str | None = None


@dataclass(frozen=True)
class SubmissionForm:
    """The form of the file that is handed in.

    Attributes:
        id_column: The header of the photo's id.
        answers: Pairs of a header and a task, or `label`, in the order of the columns.
        values: Whether a class is written as its name or its number.
        forms: Header -> form and class of a column that holds no decided class. As those below, left out where it says nothing.
        k: How many classes a ranking names.
        separator: What stands between them.
        rows: How rows are called, where a photo has several.
        unit: What several photos of one row have in common.
    """

    id_column: str
    answers: tuple[tuple[str, str], ...]
    values: Literal["name", "index"]
    forms: Mapping[str, WrittenAs] = field(default_factory=dict)
    k: int = 0
    separator: str = " "
    rows: RowPattern | None = None
    unit: Unit | None = None

    @property
    def columns(self) -> tuple[AnswerColumn, ...]:
        """Its columns beside that of the ids."""
        how: dict[str, Any] = {"values": self.values, "k": self.k, "separator": self.separator}
        plain = WrittenAs()
        return tuple(
            AnswerColumn(header, task, (form := self.forms.get(header, plain)).form, form.of or "", **how)
            for header, task in self.answers
        )

    @property
    def by_shares(self) -> frozenset[str]:
        """The tasks of which shares are handed in, and not a decided class."""
        return frozenset(column.task for column in self.columns if not ANSWERS[column.form].decides)

    @property
    def written_by_shares(self) -> frozenset[str]:
        """The tasks whose shares are needed to write the file: also those of several photos that are decided together."""
        return self.by_shares if self.unit is None else frozenset(column.task for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """The form as a JSON value."""
        forms = {h: {"form": one.form} | ({"of": one.of} if one.of else {}) for h, one in self.forms.items()}
        more = {"forms": forms, "k": self.k, "separator": self.separator if self.k else ""}
        more |= {"rows": self.rows and asdict(self.rows), "unit": self.unit and asdict(self.unit)}
        written = {"id_column": self.id_column, "answers": [list(pair) for pair in self.answers], "values": self.values}
        return written | {name: value for name, value in more.items() if value}


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
        imports: Member -> name, of those that are files from outside: they have answers for the test photos and no weights.
        decoder: How votes become the label. Left out, here and in the file, it is the most senior one that the subtasks allow.

    Raises:
        UserError: Naming every mistake.
    """

    competition: str
    metric: str
    tasks: tuple[TaskEnsemble, ...]
    composition: Composition
    submission: SubmissionForm
    imports: Mapping[str, str] = field(default_factory=dict)
    decoder: LabelDecoder = field(default=LabelDecoder(""), metadata={"key": "together"})

    def __post_init__(self) -> None:
        if not self.decoder.way:
            object.__setattr__(self, "decoder", LabelDecoder(self._default_way))
        faults = [fault for ensemble in self.tasks for fault in task_faults(ensemble)] + _whole_faults(self)
        if faults:
            raise UserError(*faults)

    @property
    def subtasks(self) -> tuple[Subtask, ...]:
        """What its ensembles answer, in its order."""
        return tuple(ensemble.subtask for ensemble in self.tasks)

    @property
    def decodes_by_default(self) -> bool:
        """Whether its label decoder is the one that needs no word: each task's own decision, or that of the label itself."""
        return self.decoder.way == self._default_way

    @property
    def _default_way(self) -> str:
        return next(iter((*routes(self.subtasks, self.composition), *ROUTES)))

    @property
    def plan_id(self) -> str:
        """The plan's name, 16 hex digits: equal plans have equal names."""
        return fingerprint(self.to_json())

    @property
    def voters(self) -> tuple[Voter, ...]:
        """All voters once, in the plan's order."""
        return tuple(dict.fromkeys(voter for ensemble in self.tasks for voter in ensemble.voters))

    @property
    def keys(self) -> tuple[tuple[str, str, str], ...]:
        """Names `(trial_id, head, view)` of all probabilities it needs, once each."""
        return tuple(dict.fromkeys(key for ensemble in self.tasks for key in ensemble.keys))

    @property
    def trials(self) -> tuple[str, ...]:
        """All trials whose weights it needs, in the plan's order; imports have none."""
        return tuple(dict.fromkeys(trial for trial, _, _ in self.keys if trial not in self.imports))

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
        """The plan as a JSON value, the same for equal plans."""
        named: dict[str, Any] = {"imports": dict(self.imports)} if self.imports else {}
        named |= {} if self.decodes_by_default else {"together": self.decoder.to_json()}
        return named | {
            "schema": PLAN_SCHEMA,
            "competition": self.competition,
            "metric": self.metric,
            "tasks": [task_to_json(ensemble) for ensemble in self.tasks],
            "composition": self.composition.to_json(),
            "submission": self.submission.to_json(),
        }

    @classmethod
    def from_json(cls, value: Any) -> "EnsemblePlan":
        """The plan in a JSON value.

        Raises:
            UserError: Naming every mistake: unknown schema, fields, rules, metrics, numbers that do not fit.
        """
        if isinstance(value, dict) and "schema" not in value:
            raise UserError("plan lacks the field 'schema'")
        if isinstance(value, dict) and (value["schema"] != PLAN_SCHEMA or isinstance(value["schema"], bool)):
            found = str(value["schema"])[:SHOWN]
            raise UserError(
                f"plan: schema must be {PLAN_SCHEMA}, got {found}; another version of Podium wrote it, export it again"
            )
        return read(
            cls, {key: part for key, part in value.items() if key != "schema"} if isinstance(value, dict) else value, "plan"
        )


def decide(plan: EnsemblePlan, probs: Probs, image_ids: Sequence[str], groups: Groups | None = None) -> dict[str, Ints]:
    """The plan's answer for N photos.

    Args:
        plan: The plan.
        probs: For all `keys` of the plan's ensembles: image ids in any order and probabilities `float (N', C)`. A photo that
            could not be read has the task's prior as its row.
        image_ids: The N photos asked for.
        groups: N group names, for ensembles that give a group one answer; without them each photo is its own group.

    Returns:
        Class numbers `int64 (N,)` for each task and for the composed `label`, rows like `image_ids`.

    Raises:
        UserError: Naming every voter whose probabilities or photos are missing.
    """
    return {task: vote.labels for task, vote in vote_all(plan, probs, image_ids, groups).items()}


def vote_all(plan: EnsemblePlan, probs: Probs, image_ids: Sequence[str], groups: Groups | None = None) -> dict[str, Vote]:
    """Like `decide`, with the class shares `float64 (N, C)` beside the labels.

    Shares that are derived (of the label from tasks taken as independent, of tasks by summing the label's) carry probabilities
    for metrics such as log loss; their labels follow from what was decided, not from their argmax.
    """
    faults: list[str] = []
    votes: list[Vote] = []
    for ensemble in plan.tasks:
        try:
            votes.append(vote_task(ensemble, probs, image_ids, groups))
        except UserError as error:
            faults += error.faults
    if faults:
        raise UserError(*dict.fromkeys(faults))
    return answer_subtasks(plan, votes)


def answer_subtasks(plan: EnsemblePlan, votes: Sequence[Vote]) -> dict[str, Vote]:
    """The votes of the plan's ensembles, in its order, as one vote per task and for the composed label."""
    return decode_votes(plan.decoder, plan.composition, plan.subtasks, votes, plan.known_classes)


def _whole_faults(plan: EnsemblePlan) -> list[str]:
    table, answered = plan.composition, [ensemble.task for ensemble in plan.tasks]
    faults = [] if plan.metric in METRICS or OWN_METRIC.match(plan.metric) else [unknown("metric", plan.metric, dict(METRICS))]
    if not table.tasks or len(table.tasks) != len(table.classes) or twice(table.tasks):
        return [*faults, f"composition must name different tasks and the classes of each, got {table.to_json()}"]
    known_classes = dict(zip(table.tasks, table.classes, strict=True)) | {e.task: e.classes for e in plan.tasks if not e.where}
    faults += _decoder_faults(plan, known_classes)
    asked = dict(zip(table.tasks, table.classes, strict=True)) | {LABEL: table.label_classes}
    for ensemble in plan.tasks:
        meant = asked.get(ensemble.task, known_classes.get(ensemble.task, ensemble.classes))
        if meant != ensemble.classes:
            faults.append(f"task {ensemble.task} has the classes {list(ensemble.classes)}, in the composition {list(meant)}")
    members = {voter.member for voter in plan.voters}
    faults += [unknown("imported member", member, members) for member in plan.imports if member not in members]
    known = {*answered, *table.tasks, LABEL}
    headers = [header for header, _ in plan.submission.answers]
    faults += ["submission: answers must be [header, task], headers different"] if twice(headers) else []
    faults += (
        [] if is_name(plan.competition) else [f"competition must be a name without a slash, got {plan.competition[:SHOWN]!r}"]
    )
    faults += [unknown("answer in submission", task, known) for _, task in plan.submission.answers if task not in known]
    return faults + _form_faults(plan)


def _form_faults(plan: EnsemblePlan) -> list[str]:
    """What keeps the columns of the file from being written."""
    form, faults = plan.submission, list[str]()
    headers = {header for header, _ in form.answers}
    faults += [f"submission: {unknown('header of a form', header, headers)}" for header in form.forms if header not in headers]
    faults += [
        f"submission: {unknown('form of answer', one.form, ANSWERS)}" for one in form.forms.values() if one.form not in ANSWERS
    ]
    if faults:
        return faults
    known = plan.known_classes
    faults += form.rows.faults if form.rows is not None else []
    for column in form.columns:
        if column.task in known:
            faults += column_faults(column, known[column.task])
            if ANSWERS[column.form].of_class and column.of not in known[column.task]:
                faults.append(f"submission: {column.header}: {unknown('class', column.of, known[column.task])}")
    return faults


def _decoder_faults(plan: EnsemblePlan, classes: Mapping[str, Sequence[str]]) -> list[str]:
    """What keeps the subtasks from answering the label and each task once."""
    table, subtasks = plan.composition, plan.subtasks
    answered = {subtask.task for subtask in subtasks}
    if not plan.decodes_by_default:
        return plan.decoder.faults(subtasks, table, classes)
    faults = subtask_faults(subtasks, classes)
    faults += [f"task {subtask} stands twice" for subtask in subtasks if subtasks.count(subtask) > 1 and subtask.where]
    if LABEL in answered:
        both = [subtask.task for subtask in subtasks if subtask.task in table.tasks]
        return faults + [f"task {task} is answered by its own ensemble and by that of the label" for task in both]
    return faults + [f"task {task} of the composed label has no ensemble" for task in table.tasks if task not in answered]
