"""The mistakes between settings of a competition's file: a mapping whose single settings may be wrong too -> one sentence each."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import fsum, prod
from numbers import Real
from pathlib import Path
from typing import Any

from competitions.answers import ANSWERS, RANKING, AnswerColumn, ColumnAnswer, RowPattern, column_faults, expanded
from competitions.manifest import IDENTITY, LABEL, RESERVED, SEPARATOR, composed_names
from competitions.metrics import METRICS, OWN_METRIC
from competitions.readers.path_rules import is_rule, rule_faults
from system.errors import unknown

MOST_CLASSES = 32767  # class numbers are int16
SHARES_TOLERANCE = 1e-3
"""By so much shares may miss 1: people round them."""
DEFAULT_ROLES = {"train": "train", "test": "test"}
UNUSED_DEFAULTS: dict[str, Any] = {
    "table": "manifest.csv",
    "test_table": None,
    "join": {},
    "pattern": "",
    "images": "",
    "roles": DEFAULT_ROLES,
}
"""A setting that a reader may have no use for -> what it is where nobody wrote it."""
DEFAULT_SPLIT = "groups"


def setting_faults(raw: Mapping[str, Any]) -> list[str]:
    """All mistakes between settings that do not hang on the reader; what cannot be read is passed over."""
    tasks = _tasks(raw)
    faults = [
        f"task name {t!r} is one of the manifest's own words ({', '.join(RESERVED)}); choose another"
        for t in tasks
        if t in RESERVED
    ]
    faults += _column_faults(tasks)
    faults += _label_faults(tasks, _texts(raw.get("label")))
    for name, target in _mapping(raw.get("targets")).items():
        faults += _target_faults(str(name), _mapping(target), tasks, _texts(raw.get("label")) or list(tasks))
    faults += _submission_faults(_mapping(raw.get("submission")), tasks, _texts(raw.get("label")) or list(tasks))
    faults += _role_faults(raw)
    faults += [
        _outside(key, raw[key]) for key in ("root", "table", "test_table", "images", "test_images") if _leaves(raw.get(key))
    ]
    sample = _mapping(raw.get("submission")).get("sample")
    faults += [_outside("submission.sample", str(sample))] if _leaves(sample) else []
    faults += [_outside("join", str(table)) for table in _mapping(raw.get("join")) if _leaves(table)]
    if raw.get("test_images") is not None and not sample and raw.get("test_table") is None:
        faults.append(
            "test_images has no effect without submission.sample or test_table, which list the test photos; name one or leave it out"
        )
    faults += _path_faults(raw)
    values = _list(raw.get("values"))
    if len(values) == 2 and all(isinstance(v, Real) for v in values) and not values[0] < values[1]:
        faults.append(f"values must be [low, high], the numbers that are black and white, low under high, got {values}")
    faults += _rule_faults(raw, tasks)
    views = _texts(raw.get("views", [IDENTITY]))
    if views is not None and (views[:1] != [IDENTITY] or len(set(views)) < len(views)):
        faults.append(f"views must begin with identity and name each view once, got {views}")
    faults += _forbidden_faults(tasks, views)
    if isinstance(raw.get("metric"), str) and raw["metric"] not in METRICS and not OWN_METRIC.match(raw["metric"]):
        faults.append(
            unknown("metric", raw["metric"], METRICS) + "; a function of a file beside the YAML is written mine.py:score"
        )
    return faults + _mean_faults(raw, tasks) + _split_faults(raw)


def _mean_faults(raw: Mapping[str, Any], tasks: Mapping[str, Any]) -> list[str]:
    """The mistakes of a score that is the mean of the tasks' scores."""
    weights, composed = _mapping(raw.get("metric_weights")), _texts(raw.get("label")) or list(tasks)
    is_mean = raw.get("compose", "label") == "mean"
    faults = (
        ["metric_weights have no effect without `compose: mean`; write it or leave them out"] if weights and not is_mean else []
    )
    faults += [f"metric_weights: {unknown('task of the label', task, composed)}" for task in weights if task not in composed]
    missing = [task for task in composed if task not in weights] if weights else []
    faults += [f"metric_weights must have a weight for each task of the label, {', '.join(missing)} has none"] if missing else []
    if is_mean and len(composed) < 2:
        faults.append(f"compose: mean needs at least two tasks in the label, got {', '.join(composed)}; leave it out")
    return faults


def split_answers(submission: Mapping[str, Any]) -> dict[str, Any]:
    """The settings `answers` and `forms` of a submission whose answers say a task, or a mapping of `task` and how it is written."""
    answers = submission.get("answers")
    if not isinstance(answers, dict):
        return {}
    tasks = {h: given.get("task", "") if isinstance(given, dict) else given for h, given in answers.items()}
    more = {h: {k: v for k, v in given.items() if k != "task"} for h, given in answers.items() if isinstance(given, dict)}
    forms = {**_mapping(submission.get("forms")), **{h: form for h, form in more.items() if form}}
    return {"answers": tasks} | ({"forms": forms} if forms else {})


def reader_faults(raw: Mapping[str, Any], reader: str, *, unused: Collection[str], one_task: bool) -> list[str]:
    """The mistakes between a reader and the other settings: one it needs must be there, one without an effect must not.

    Args:
        raw: The competition's settings.
        reader: The reader's name.
        unused: Settings that mean nothing to it; with `columns` among them it has no table.
        one_task: It knows one class per photo, and no groups.
    """
    faults = [
        _no_effect(name, reader)
        for name, default in UNUSED_DEFAULTS.items()
        if name in unused and raw.get(name, default) != default
    ]
    if "columns" in unused:
        given = [f"columns.{name}" for name, value in _mapping(raw.get("columns")).items() if value != _column_default(name)]
        faults += [_no_effect(", ".join(given), reader)] if given else []
    tasks = _tasks(raw)
    for name, task in tasks.items():
        given = [key for key in ("column", "columns", "cuts") if task.get(key) not in (None, "", ())]
        faults += [
            _no_effect(f"tasks.{name}.{key}", reader) for key in given if ("column" if key == "columns" else key) in unused
        ]
        if (
            "column" not in unused
            and not {"column", "columns"} & set(given)
            and isinstance(_mapping(raw["tasks"]).get(name), dict)
        ):
            faults.append(
                f"tasks.{name}.column is missing; it names the column that holds the task's answers (or `columns`, one per class)"
            )
    if one_task and len(tasks) > 1:
        faults.append(f"the reader {reader} knows one class per photo, so one task, got {', '.join(tasks)}; use a table")
    columns, roles = _mapping(raw.get("columns")), _mapping(raw.get("roles", DEFAULT_ROLES))
    splits = {"split": raw.get("split"), **{f"splits.{name}": split for name, split in _mapping(raw.get("splits")).items()}}
    faults += [
        _no_effect(f"{name}.given", reader) for name, one in splits.items() if "columns" in unused and _mapping(one).get("given")
    ]
    if "columns" not in unused and columns.get("role") is None and roles not in ({}, DEFAULT_ROLES):
        faults.append("roles have no effect without columns.role (every photo is train); name the column or drop `roles`")
    unit = _mapping(raw.get("submission")).get("unit")
    if unit and "columns" in unused:
        faults.append(
            f"submission.unit names a column of a table, and the reader {reader} has none; leave it out, or use a table"
        )
    if one_task or ("columns" not in unused and columns.get("group") is None):
        way_out = f"the reader {reader} knows none" if "columns" in unused else "name the column (columns.group)"
        faults += [
            f"tasks.{name}.same_in_group has no effect without groups; {way_out}, or leave it out"
            for name, task in tasks.items()
            if task.get("same_in_group") is True
        ]
    return faults


def _path_faults(raw: Mapping[str, Any]) -> list[str]:
    """The mistakes of the path rule and of the pattern."""
    path, pattern = _mapping(raw.get("columns")).get("path"), raw.get("pattern")
    faults = [f"columns.path: {fault}" for fault in rule_faults(path)] if isinstance(path, str) and is_rule(path) else []
    if isinstance(pattern, str) and pattern:
        try:
            named = re.compile(pattern).groupindex
        except re.error as error:
            return [*faults, f"pattern must be a regular expression, got {pattern!r} ({error})"]
        if not named:
            faults.append(f"pattern must name what it reads, as in '(?P<kind>cat|dog)\\.', got {pattern!r}")
    return faults


def _no_effect(setting: str, reader: str) -> str:
    return f"{setting} has no effect with the reader {reader}; leave it out"


def _column_default(name: str) -> str | None:
    return "image" if name == "image" else None


def _split_faults(raw: Mapping[str, Any]) -> list[str]:
    splits = _mapping(raw.get("splits"))
    default = _mapping(raw.get("split")).get("name", DEFAULT_SPLIT)
    faults = [f"splits must have other names than `split`, which is called {default!r}; rename one"] if default in splits else []
    names = {key: _mapping(split).get("name", key) for key, split in splits.items()}
    return faults + [
        f"splits.{key}: name must be its key, got {name!r}; leave it out" for key, name in names.items() if name != key
    ]


def _forbidden_faults(tasks: Mapping[str, Mapping[str, Any]], views: list[str] | None) -> list[str]:
    """The mistakes of views that tasks forbid: the identity, one that stands twice, or one that nobody looks through anyway."""
    faults = []
    for name, task in tasks.items():
        forbidden = _texts(task.get("forbids")) or []
        for view in sorted(set(forbidden)):
            if view == IDENTITY:
                faults.append(f"tasks.{name}.forbids must not name identity, the photo as it is; leave it out")
            elif views is not None and view not in views:
                faults.append(
                    f"tasks.{name}.forbids: {unknown('view of the competition', view, views)}; add it to `views` or leave it out"
                )
        if len(set(forbidden)) < len(forbidden):
            faults.append(f"tasks.{name}.forbids must name each view once, got {forbidden}")
    return faults


def _column_faults(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    readers: dict[str, list[str]] = {}
    for name, task in tasks.items():
        several = _texts(task.get("columns")) or []
        for column in dict.fromkeys([task["column"]] if isinstance(task.get("column"), str) else several):
            readers.setdefault(column, []).append(name)
    return [
        f"tasks must read different columns, {' and '.join(t)} read {c!r}; drop one" for c, t in readers.items() if len(t) > 1
    ]


def _label_faults(tasks: Mapping[str, Mapping[str, Any]], label: list[str] | None) -> list[str]:
    """The mistakes of the composed label: unknown or repeated tasks, too many classes, two classes with one name."""
    names = label or list(tasks)
    faults = [unknown("task in label", t, list(tasks)) for t in names if t not in tasks]
    faults += [f"label must name each task once, {t!r} stands twice" for t in sorted({t for t in names if names.count(t) > 1})]
    lists = [_texts(tasks[t].get("classes")) for t in names if t in tasks]
    classes = [c for c in lists if c]
    if faults or len(classes) < len(names):
        return faults
    n_classes = prod(len(c) for c in classes)
    if n_classes > MOST_CLASSES:
        return [
            f"the composed label may have at most {MOST_CLASSES} classes, {' x '.join(names)} has {n_classes}; "
            f"list fewer tasks in `label`"
        ]
    composed = Counter(composed_names(classes))
    twice = [c for c, n in composed.items() if n > 1]
    if twice and all(len(set(c)) == len(c) for c in classes):
        faults.append(
            f"composed classes must have different names, these stand twice: {', '.join(twice[:5])}; "
            f"rename classes that hold {SEPARATOR!r}"
        )
    return faults


def _target_faults(
    name: str, target: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]], label: Sequence[str]
) -> list[str]:
    """The mistakes of one declared target."""
    heads, where = _texts(target.get("heads")) or [], _mapping(target.get("where"))
    faults = ["the name means every target; choose another"] if name == "all" else []
    faults += [unknown("head", head, [*tasks, LABEL]) for head in heads if head not in [*tasks, LABEL]]
    faults += [f"heads must differ, {head!r} stands twice" for head in sorted({h for h in heads if heads.count(h) > 1})]
    if name in tasks and (heads != [name] or where):
        faults.append(f"the name is that of a task, whose target has heads: [{name}] and no `where`; choose another")
    asked = {part for head in heads for part in (label if head == LABEL else [head])}
    for task, given in where.items():
        named = [given] if isinstance(given, str) else _texts(given) or []
        classes = _texts(_mapping(tasks.get(str(task))).get("classes")) or []
        if task not in tasks:
            faults.append(f"where: {unknown('task', task, list(tasks))}")
            continue
        faults += [f"where.{task}: {unknown('class', c, classes)}" for c in named if classes and c not in classes]
        if task in asked:
            faults.append(f"where.{task}: the target's own heads ask for {task}; choose a task that they do not ask for")
        if not named or (classes and set(classes) <= set(named)) or len(set(named)) < len(named):
            faults.append(f"where.{task} must name some of the classes, not none, not all and none twice, got {named}")
    return [f"targets.{name}: {fault}" for fault in faults]


def _submission_faults(given: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]], label: Sequence[str]) -> list[str]:
    """The mistakes of the columns that are handed in; those that hang on a sample's headers are found where it is read."""
    form, k, separator, rows = given.get("form", ""), given.get("k", 0), given.get("separator", " "), given.get("rows")
    split = split_answers(given)
    answers, faults = dict[str, ColumnAnswer](), list[str]()
    if isinstance(rows, dict) and isinstance(rows.get("id"), str):
        faults += RowPattern(rows["id"], str(rows.get("value"))).faults
    for header, task in split.get("answers", {}).items():
        how = _mapping(split.get("forms", {}).get(header))
        if task == "":
            faults.append(f"submission.answers.{header} must say its task, one of {', '.join([*tasks, LABEL])}")
        elif task not in [*tasks, LABEL]:
            faults.append(unknown("answer in submission", task, [*tasks, LABEL]))
        elif all(isinstance(how.get(key, ""), str) for key in ("form", "of")):
            answers[str(header)] = ColumnAnswer(task, how.get("form", ""), how.get("of", ""))
    if isinstance(form, str) and form and form not in ANSWERS:
        return [*faults, unknown("form of answer in submission", form, ANSWERS)]
    known = {name: names for name, task in tasks.items() if (names := _texts(task.get("classes")))}
    if any(answer.task == LABEL for answer in answers.values()) and all(name in known for name in label):
        known[LABEL] = list(composed_names(known[name] for name in label))
    columns, wrong = expanded(answers, form if isinstance(form, str) else "", known)
    faults += [f"submission.answers: {fault}" for fault in wrong]
    if RANKING not in {form, *(answer.form for answer in answers.values())}:
        faults += ["submission.k has no effect without a ranking; say form: ranking, or leave it out"] if k else []
        faults += ["submission.separator has no effect without a ranking; leave it out"] if separator != " " else []
    elif isinstance(k, int) and k and isinstance(separator, str) and separator:
        values = given.get("values", "name")
        for header, answer in columns.items():
            column = AnswerColumn(header, answer.task, answer.form, k=k, separator=separator, values=values)
            faults += column_faults(column, known[answer.task])
    return faults


def _role_faults(raw: Mapping[str, Any]) -> list[str]:
    roles = raw.get("roles", DEFAULT_ROLES)
    if not isinstance(roles, dict):
        return []
    faults = []
    if "train" not in roles:
        faults.append(f"roles must give the table's word for train, got {', '.join(map(str, roles)) or 'none'}")
    words = [str(word) for some in roles.values() for word in (some if isinstance(some, (list, tuple)) else [some])]
    if len(set(words)) < len(words):
        faults.append(f"roles must have different words, got {', '.join(words)}")
    return faults


def _rule_faults(raw: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The mistakes of what the competition's rules allow, and of the class shares that are known."""
    allowed = [rule for rule in _list(raw.get("allows")) if isinstance(rule, str)]
    faults = [
        f"allows must name each rule once, {rule!r} stands twice" for rule in sorted(set(allowed)) if allowed.count(rule) > 1
    ]
    shares = _mapping(raw.get("test_shares"))
    if shares and "test_shares" not in allowed:
        faults.append(
            "test_shares may be used only where the rules say so; add `allows: [test_shares]` if they do, or leave the shares out"
        )
    for name, given in shares.items():
        faults += _share_faults(str(name), _mapping(given), tasks)
    return faults


def _share_faults(name: str, given: Mapping[Any, Any], tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The mistakes of one task's shares: classes that are not its own or are missing, and a sum that is not 1."""
    if name not in tasks:
        return [unknown("task in test_shares", name, list(tasks))]
    classes = [c for c in _list(tasks[name].get("classes")) if isinstance(c, str)] or [str(c) for c in given]
    faults = [f"test_shares.{name}: {unknown('class', str(c), classes)}" for c in given if c not in classes]
    missing = [c for c in classes if c not in given]
    if missing:
        faults.append(
            f"test_shares.{name} must have a share for each class, {', '.join(missing)} has none; write 0 for one that is absent"
        )
    numbers = [share for share in given.values() if isinstance(share, Real) and not isinstance(share, bool)]
    if not faults and len(numbers) == len(given) and not abs(fsum(numbers) - 1) <= SHARES_TOLERANCE:
        faults.append(f"test_shares.{name} must sum to 1 (by at most {SHARES_TOLERANCE:g} more or less), got {fsum(numbers):g}")
    return faults


def _leaves(value: Any) -> bool:
    """Whether a folder or file setting points outside the folder it starts from."""
    if not isinstance(value, str):
        return False
    return value.startswith(("/", "~")) or "\\" in value or value[1:2] == ":" or ".." in Path(value).parts


def _outside(key: str, value: str) -> str:
    base = "PODIUM_DATA; set PODIUM_DATA in the environment or .env" if key == "root" else "root"
    return f"{key} must be relative, with / between folders, and stay below {base}, got {value!r}"


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _tasks(raw: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(name): _mapping(task) for name, task in _mapping(raw.get("tasks")).items()}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _texts(value: Any) -> list[str] | None:
    """A list of texts, or None where `value` is something else."""
    return list(value) if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value) else None
