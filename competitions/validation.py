"""The mistakes between settings of a competition's file: a mapping whose single settings may be wrong too -> one sentence each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from competitions._rules import rule_faults
from competitions._settings import WITHOUT_TABLE, reader_faults
from competitions.manifest import LABEL, RESERVED, SEPARATOR
from system.errors import unknown

MOST_CLASSES = 32767  # class numbers are int16
DEFAULT_ROLES = {"train": "train", "test": "test"}
DEFAULT_SPLIT = "groups"
IDENTITY = "identity"


def cross_faults(raw: Mapping[str, Any]) -> list[str]:
    """All mistakes between settings; what cannot be read is passed over."""
    tasks = {str(name): _mapping(task) for name, task in _mapping(raw.get("tasks")).items()}
    faults = [
        f"task name {t!r} is one of the manifest's own words ({', '.join(RESERVED)}); choose another"
        for t in tasks
        if t in RESERVED
    ]
    faults += _column_faults(tasks)
    faults += _label_faults(tasks, _texts(raw.get("label"))) + rule_faults(raw, tasks)
    for name, target in _mapping(raw.get("targets")).items():
        faults += _target_faults(str(name), _mapping(target), tasks, _texts(raw.get("label")) or list(tasks))
    answers = _mapping(_mapping(raw.get("submission")).get("answers")).values()
    faults += [unknown("answer in submission", a, [*tasks, LABEL]) for a in answers if a not in [*tasks, LABEL]]
    faults += _role_faults(raw)
    faults += [_outside(key, raw[key]) for key in ("root", "table", "images", "test_images") if _leaves(raw.get(key))]
    sample = _mapping(raw.get("submission")).get("sample")
    faults += [_outside("submission.sample", str(sample))] if _leaves(sample) else []
    faults += rule_faults(raw, tasks) + reader_faults(raw)
    views = _texts(raw.get("views", [IDENTITY]))
    if views is not None and (views[:1] != [IDENTITY] or len(set(views)) < len(views)):
        faults.append(f"views must begin with identity and name each view once, got {views}")
    faults += _forbidden_faults(tasks, views)
    return faults + _split_faults(raw) + _plugin_faults(raw)


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
        if isinstance(task.get("column"), str):
            readers.setdefault(task["column"], []).append(name)
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
    composed = Counter(SEPARATOR.join(c) for c in product(*classes))
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
        faults += [f"where.{task}: {unknown('class', c, classes)}" for c in named if c not in classes]
        if task in asked:
            faults.append(f"where.{task}: the target's own heads ask for {task}; choose a task that they do not ask for")
        if not named or set(classes) <= set(named) or len(set(named)) < len(named):
            faults.append(f"where.{task} must name some of the classes, not none, not all and none twice, got {named}")
    return [f"targets.{name}: {fault}" for fault in faults]


def _role_faults(raw: Mapping[str, Any]) -> list[str]:
    roles = raw.get("roles", DEFAULT_ROLES)
    if not isinstance(roles, dict):
        return []
    faults = []
    told = str(raw.get("reader")) in WITHOUT_TABLE or _mapping(raw.get("columns")).get("role") is not None
    if not told and roles != DEFAULT_ROLES:
        faults.append("roles have no effect without columns.role (every photo is train); name the column or drop `roles`")
    if "train" not in roles:
        faults.append(f"roles must give the table's word for train, got {', '.join(map(str, roles)) or 'none'}")
    words = [str(word) for word in roles.values()]
    if len(set(words)) < len(words):
        faults.append(f"roles must have different words, got {', '.join(words)}")
    return faults


def _plugin_faults(raw: Mapping[str, Any]) -> list[str]:
    from competitions.metrics import METRICS
    from competitions.readers.read import READERS

    faults = []
    if isinstance(raw.get("reader"), str) and raw["reader"] not in READERS:
        faults.append(unknown("reader", raw["reader"], dict(READERS)))
    if isinstance(raw.get("metric"), str) and raw["metric"] not in METRICS:
        faults.append(unknown("metric", raw["metric"], dict(METRICS)))
    return faults


def _leaves(value: Any) -> bool:
    """Whether a folder or file setting points outside the folder it starts from."""
    if not isinstance(value, str):
        return False
    return value.startswith(("/", "~")) or "\\" in value or value[1:2] == ":" or ".." in Path(value).parts


def _outside(key: str, value: str) -> str:
    base = "PODIUM_DATA; set PODIUM_DATA in the environment or .env" if key == "root" else "root"
    return f"{key} must be relative, with / between folders, and stay below {base}, got {value!r}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str] | None:
    """A list of texts, or None where `value` is something else."""
    return list(value) if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value) else None
