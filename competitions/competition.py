"""A competition as data: frozen models of what `competitions/<name>.yaml` says, checked one by one and together.

Machine-specific roots come from the environment (`PODIUM_DATA`) or `.env`, never from here. `competitions.loading` reads the files.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from competitions.answers import CLASS, AnswerColumn, ColumnAnswer, RowPattern, Unit
from competitions.manifest import LABEL, composed_names
from competitions.own_metrics import remember
from competitions.validation import DEFAULT_SPLIT, setting_faults, split_answers
from system.errors import UserError, listed, unknown
from system.texts import alike, told_alike

FOLDS, MOST_FOLDS = 5, 20
DEFAULT_READER = "csv"
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Weight = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
NAME_PATTERN, TARGET_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", r"^[A-Za-z0-9][A-Za-z0-9_.@=+-]*$"
TRIAL_PATTERN = r"^[0-9a-f]{12}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
TargetName = Annotated[str, Field(pattern=TARGET_PATTERN)]


Allowance = Literal["same_group_at_test", "test_shares"]
"""A question to the competition's rules; what each allows stands in docs/own-competition.md."""


def _words(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, (list, tuple)) and value and all(isinstance(word, str) for word in value)):
        return value
    raise ValueError(f"must be a word or a list of words (quote them), got {value!r}")


RoleWords = Annotated[str | tuple[str, ...], BeforeValidator(_words)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(_Part):
    """One label column.

    Attributes:
        column: Its name in the table; readers without a table have none.
        same_in_group: All photos of a group have the same answer, as all of a person have one age; with `same_group_at_test` allowed a
            group's test photos are then decided together.
        columns: Headers of C columns of which one holds 1 in each row, in place of `column`: the class is the column's, in this order.
        classes: The C class names in order; a class number is a position in this list. Empty where the file leaves them out: then they
            are read from the labels, and complete in `Prepared.competition`.
        cuts: C - 1 increasing numbers, where the column holds a number: the class is how many cuts are at or below it.
        forbids: Views of the competition that change this task's answer: its voters never look through them. Left out of records where
            it is empty, so that it renames no data.
    """

    column: str = ""
    columns: tuple[str, ...] = Field(default=(), min_length=2, exclude_if=lambda columns: not columns)
    same_in_group: bool = Field(default=False, strict=True, exclude_if=lambda same: not same)
    classes: tuple[str, ...] = Field(default=(), min_length=2)
    cuts: tuple[_Number, ...] | None = None
    forbids: tuple[str, ...] = Field(default=(), exclude_if=lambda views: not views)

    @model_validator(mode="before")
    @classmethod
    def _one_class_per_column(cls, value: Any) -> Any:
        return {"classes": value["columns"], **value} if isinstance(value, dict) and value.get("columns") else value

    @field_validator("classes", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        wrong = [v for v in value if not isinstance(v, str)] if isinstance(value, list) else []
        if wrong:
            raise ValueError(f"class names must be quoted texts, got {wrong[:5]} (YAML reads yes, no, 1 and 1.0 as other things)")
        return value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({v for v in value if value.count(v) > 1})
        if twice:
            raise ValueError(f"class names must differ, these stand twice: {', '.join(twice)}")
        same = [told_alike(some) for some in alike(value)]
        if same:
            raise ValueError(f"class names must differ to the eye, these do not: {listed(same)}; keep one of each")
        odd = [v for v in value if not v or v != v.strip() or "\n" in v]
        if odd:
            raise ValueError(
                f"class names must be one line without spaces around them and not empty (empty means no label), got {odd[:5]}"
            )
        return value

    @field_validator("cuts")
    @classmethod
    def _increasing(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and any(low >= high for low, high in pairwise(value)):
            raise ValueError(f"numbers must increase, got {', '.join(f'{v:g}' for v in value)}")
        return value

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if self.columns and (self.column or self.cuts is not None):
            raise ValueError("columns excludes column and cuts; a task's answer stands in one column, or in one per class")
        if self.columns and len(self.columns) != len(self.classes):
            raise ValueError(
                f"classes must be as many as columns, got {len(self.classes)} for {len(self.columns)} columns; leave them out"
            )
        return self

    @model_validator(mode="after")
    def _a_cut_between_classes(self) -> Self:
        if self.cuts is not None and not self.classes:
            raise ValueError("classes must be written where there are cuts: one name for each part, lowest first")
        if self.cuts is not None and len(self.cuts) != len(self.classes) - 1:
            raise ValueError(
                f"cuts must be one fewer than the classes they lie between, got {len(self.cuts)} for {len(self.classes)} classes"
            )
        return self


class TargetSpec(_Part):
    """What one model is asked to learn. Every single task is a target by itself; others are declared.

    Attributes:
        heads: Tasks, or `label` for the composed label; one output layer each.
        where: Task -> class names: only photos that have one of them are learned from and judged on (`age@mask=none`).
        init_from: A trial of the ledger; every trial of the target starts from its best weights.
    """

    heads: tuple[str, ...] = Field(min_length=1)
    where: dict[str, tuple[str, ...]] = {}
    init_from: str | None = Field(default=None, pattern=TRIAL_PATTERN)

    @field_validator("where", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {task: [named] if isinstance(named, str) else named for task, named in value.items()}


class Columns(_Part):
    """The table's names for the manifest's words. `None`: there is no such column.

    `path` may be a rule in place of a name (`competitions.readers.path_rules`).
    """

    image: str = "image"
    path: str | None = None
    group: str | None = None
    role: str | None = None


class Split(_Part):
    """How training photos are cut: into folds, or once into a holdout and the rest. No group spans two parts.

    Attributes:
        folds: Parts that take turns to validate; 5 where neither this nor `holdout` is written.
        holdout: The share of photos that fold 0, the only one, validates; all others stand in training always.
        seed: Shuffles the groups.
        by_group: False deals photos one by one, whatever their groups.
        matched: As many folds, whose photos have as near twins in training as test photos have: clusters that `prepare_data.py
            --propose-split` found (`competitions.twins.matched`) are kept whole.
        given: A column of the table that says how the organisers cut. Photos without a word, or with `train`, stand in training always; the
            others judge, as fold 0, the only one, or with `folds` as so many.
        groups: A CSV below the root: a photo's id, and what must not be split. The groups of the table are kept whole as well.
    """

    name: Name = DEFAULT_SPLIT
    folds: int | None = Field(default=None, ge=2, le=MOST_FOLDS)
    holdout: float | None = Field(default=None, ge=0.05, le=0.5)
    seed: int = Field(default=0, ge=0)
    by_group: bool = True
    matched: int | None = Field(default=None, ge=2, le=MOST_FOLDS, exclude_if=lambda folds: folds is None)
    groups: str | None = Field(default=None, min_length=1, exclude_if=lambda file: file is None)
    given: str | None = Field(default=None, min_length=1, exclude_if=lambda column: column is None)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = {name: getattr(self, name) for name in ("folds", "holdout", "matched") if getattr(self, name) is not None}
        if len(ways) > 1:
            raise ValueError(
                f"{' and '.join(ways)} exclude one another, got {' and '.join(map(str, ways.values()))}; drop one of them"
            )
        if self.given is not None and (self.holdout or self.matched or self.groups or not self.by_group):
            raise ValueError(
                "given says which photos judge, so holdout, matched, groups and by_group have no effect; leave them out"
            )
        if self.matched is not None and self.groups is not None:
            raise ValueError(
                f"matched finds groups itself, so groups has no effect, got {self.groups!r}; write folds, or drop it"
            )
        if not self.by_group and (self.matched is not None or self.groups is not None):
            raise ValueError("matched and groups keep groups whole, so by_group must not be false; drop one of them")
        return self

    @property
    def n_folds(self) -> int:
        """How many folds validate: 1 for a holdout, and for a given part that judges."""
        if self.given is not None:
            return self.folds or 1
        return 1 if self.holdout is not None else self.matched or self.folds or FOLDS


class ColumnForm(_Part):
    """How one column is written, where it says more than whose answer it holds.

    Attributes:
        form: One of `competitions.answers.ANSWERS`; empty where it is the file's.
        of: The class whose probability it holds.
    """

    form: str = ""
    of: str = ""


class Submission(_Part):
    """The file that is handed in. It is complete only in `Prepared.competition`: a sample may give its columns, classes those of a pattern.

    Attributes:
        id_column: The header of the photo's id; empty where it is the first of the sample.
        answers: Header -> task name, or `label` for the composed label; in this order. Empty where the sample's headers say it. In a file
            a task may have its `ColumnForm` beside it: `{task: cactus, form: probability, of: "1"}`.
        values: Whether a class is written as its name or its number.
        sample: The organisers' sample submission, relative to the root; empty where there is none.
        form: One of `competitions.answers.ANSWERS`, of every column that says none; empty for classes, or what the headers say.
        forms: Header -> how that column is written. As the other settings below, left out of records where it says nothing.
        k: How many classes a ranking names; 0 where the sample says it.
        separator: What stands between them.
        rows: How rows are called, where a photo has several.
        unit: What several photos of one row have in common.
    """

    id_column: str = "image_id"
    answers: dict[str, str] = {}
    values: Literal["name", "index"] = "name"
    sample: str = ""
    form: str = Field(default="", exclude_if=lambda form: not form)
    forms: dict[str, ColumnForm] = Field(default={}, exclude_if=lambda forms: not forms)
    k: int = Field(default=0, ge=0, exclude_if=lambda k: not k)
    separator: str = Field(default=" ", min_length=1, exclude_if=lambda text: text == " ")
    rows: RowPattern | None = Field(default=None, exclude_if=lambda rows: rows is None)
    unit: Unit | None = Field(default=None, exclude_if=lambda unit: unit is None)

    @model_validator(mode="before")
    @classmethod
    def _first_column_of_the_sample(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        first = {"id_column": ""} if value.get("sample") else {}
        return first | value | split_answers(value)

    @model_validator(mode="after")
    def _says_its_columns(self) -> Self:
        if not self.sample and not (self.id_column and self.answers):
            raise ValueError("id_column must not be empty, and answers must have at least 1 entry, unless there is a sample")
        return self

    @property
    def asked(self) -> dict[str, ColumnAnswer]:
        """Header, or pattern -> what is asked of its column."""
        forms = {header: one.model_dump() for header, one in self.forms.items()}
        return {header: ColumnAnswer(task, **forms.get(header, {})) for header, task in self.answers.items()}

    @property
    def columns(self) -> tuple[AnswerColumn, ...]:
        """Its columns beside that of the ids; for a submission that is complete."""
        how: dict[str, Any] = {"values": self.values, "k": self.k, "separator": self.separator}
        return tuple(
            AnswerColumn(header, one.task, one.form or self.form or CLASS, one.of, **how) for header, one in self.asked.items()
        )

    def with_columns(self, answers: Mapping[str, ColumnAnswer]) -> Self:
        """The same file with these columns; one that holds a class, as the file does else, says nothing of its form."""
        said = {h: ColumnForm(form="" if one.form == (self.form or CLASS) else one.form, of=one.of) for h, one in answers.items()}
        update = {
            "answers": {h: one.task for h, one in answers.items()},
            "forms": {h: f for h, f in said.items() if f != ColumnForm()},
        }
        return self.model_copy(update=update)


class Competition(_Part):
    """What is asked.

    Attributes:
        name: The file's own name.
        root: Folder below `PODIUM_DATA`.
        reader: One of `competitions.readers.read.READERS`; `competitions.loading` checks what it makes of the settings.
        table: The reader's table, relative to `root`.
        test_table: A table of the test photos, where they stand in one of their own; its columns have the names of `table`'s.
        join: Tables whose columns are added -> the column by whose texts their rows are found.
        values: The numbers that are black and white, where photos are `.npy` arrays of other numbers than bytes.
        pattern: A regular expression whose named groups are columns, read out of the photos' paths below `images`.
        images: Folder relative to `root` that the table's paths start from.
        test_images: Folder relative to `root` that holds the photos of `test_table`, or those of `submission.sample` where no table lists
            them.
        roles: Manifest role -> the table's word for it, or its words.
        tasks: Task name -> task.
        label: The tasks that compose the label, most significant first (mask*6 + gender*3 + age).
        targets: What models may be asked to learn beside the single tasks.
        metric: One of `competitions.metrics.METRICS`, or a function of a file beside the YAML, with the file's hash.
        metric_source: The text of that file, put there when the YAML is read; left out of records where it is empty.
        compose: What the competition's score is: of the composed `label`, or the `mean` of the tasks' scores.
        metric_weights: Task of the label -> its weight in that mean; all alike where it is empty.
        image_size: Side in pixels that searches use unless told otherwise.
        split: How training photos are cut unless told otherwise.
        splits: Name -> another way to cut them; `with_split` takes one.
        views: TTA views that leave the answer unchanged, of `trainables.views.VIEWS`; the identity comes first. Their names are
            checked where they are used: this folder does not import training.
        allows: What the competition's rules allow; everything else of `Allowance` is off. Left out of records where it is empty, as is
            `test_shares`: neither changes what is learned.
        test_shares: Task -> class -> its known share of the test photos; only where `allows` has `test_shares`.
        seed: For drawn competitions, the seed of the drawing.
    """

    name: Name
    title: str = ""
    root: str = ""
    reader: str = DEFAULT_READER
    table: str = "manifest.csv"
    test_table: str | None = Field(default=None, exclude_if=lambda table: table is None)
    join: dict[str, str] = Field(default={}, exclude_if=lambda tables: not tables)
    values: tuple[_Number, _Number] | None = Field(default=None, exclude_if=lambda values: values is None)
    pattern: str = Field(default="", exclude_if=lambda pattern: not pattern)
    images: str = ""
    test_images: str | None = None
    columns: Columns = Columns()
    roles: dict[Literal["train", "test", "unlabelled"], RoleWords] = {"train": "train", "test": "test"}
    tasks: dict[Name, Task] = Field(min_length=1)
    label: tuple[str, ...] = ()
    targets: dict[TargetName, TargetSpec] = {}
    metric: str = "macro_f1"
    metric_source: str = Field(default="", exclude_if=lambda text: not text)
    compose: Literal["label", "mean"] = Field(default="label", exclude_if=lambda way: way == "label")
    metric_weights: dict[str, _Weight] = Field(default={}, exclude_if=lambda weights: not weights)
    image_size: int = Field(default=64, ge=16, le=1024)
    split: Split = Split()
    splits: dict[Name, Split] = {}
    views: tuple[str, ...] = ("identity",)
    submission: Submission
    allows: tuple[Allowance, ...] = Field(default=(), exclude_if=lambda rules: not rules)
    test_shares: dict[str, dict[str, _Share]] = Field(default={}, exclude_if=lambda shares: not shares)
    seed: int = Field(default=0, ge=0)

    @field_validator("splits", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: {"name": key, **split} if isinstance(split, dict) else split for key, split in value.items()}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        faults = setting_faults(self.model_dump(exclude_unset=True))
        if faults:
            raise ValueError("; ".join(faults))
        if self.metric_source:
            remember(self.metric, self.metric_source)
        return self

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """Role -> all of the table's words for it."""
        return {role: (word,) if isinstance(word, str) else word for role, word in self.roles.items()}

    @property
    def composed(self) -> tuple[str, ...]:
        """The names of the tasks that make up the label; all of them where the file does not say."""
        return self.label or tuple(self.tasks)

    @property
    def label_classes(self) -> tuple[str, ...]:
        """The names of the composed classes in order, first task most significant: `masked/female/young`."""
        return composed_names(self.tasks[task].classes for task in self.composed)

    @property
    def all_splits(self) -> dict[str, Split]:
        """Every split by name, the one that is used first."""
        return {self.split.name: self.split, **self.splits}

    @property
    def task_weights(self) -> dict[str, float]:
        """Task -> its part of the score, in sum 1, where that is the mean of the tasks' scores; else empty."""
        weights = {task: self.metric_weights.get(task, 1.0) for task in self.composed} if self.compose == "mean" else {}
        return {task: weight / sum(weights.values()) for task, weight in weights.items()}

    def classes(self, task: str) -> tuple[str, ...]:
        """The ordered class names of a task, or of the composed `label`."""
        return self.label_classes if task == LABEL else self.tasks[task].classes

    def views_for(self, task: str) -> tuple[str, ...]:
        """The views that voters of a task may look through, the identity first; for `label` those that no composed task forbids."""
        forbidden = {view for name in (self.composed if task == LABEL else (task,)) for view in self.tasks[name].forbids}
        return tuple(view for view in self.views if view not in forbidden)


def with_classes(competition: Competition, found: Mapping[str, Sequence[str]]) -> Competition:
    """The same competition with the classes of tasks that the file left to the labels, checked as a whole again.

    Args:
        competition: What is asked.
        found: Task -> its class names in order, of the tasks that have none.

    Raises:
        UserError: With every class name that cannot be one, and every setting that names a class which is not there.
    """
    if not found:
        return competition
    given = competition.model_dump()
    for task, classes in found.items():
        given["tasks"][task]["classes"] = list(classes)
    try:
        return Competition.model_validate(given)
    except ValidationError as error:
        said = (fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise UserError(*(f"{competition.name}, with the classes that its labels name: {fault}" for fault in said)) from error


def with_split(competition: Competition, name: str | None) -> Competition:
    """The same competition, cut by another of its splits; as it is for `None`.

    Raises:
        UserError: It has no split of this name.
    """
    known = competition.all_splits
    if name is None or name == competition.split.name:
        return competition
    if name not in known:
        raise UserError(unknown("split", name, known) + f"; {competition.name}'s YAML names more under `splits`")
    others = {key: split for key, split in known.items() if key != name}
    return competition.model_copy(update={"split": known[name], "splits": others})
