"""A study that goes on: what is not as it began with -> sentences that name it; it stops there, unless the change is accepted.

Code, space, data, split and the competition's settings decide what trials learn and what is asked next, so they stop a study. Versions
of packages, views and test photos are told and recorded: a study may go on on another machine.

Of the code counts what it does, not how it is written or where it stands: a study keeps a hash of each definition, without comments,
docstrings and the names of our own modules. So a definition, or a file, may move and nobody is stopped.
"""

import ast
import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from competitions.compare_data import DataDifference, differences
from competitions.prepare import Prepared, load_prepared
from ledger.studies import OPEN, StudyFolder
from search_spaces import Space
from system.errors import UserError, listed
from system.files import fingerprint
from trainables.provenance import REPOSITORY, provenance

log = logging.getLogger("podium.search")
DECIDING = (
    "competitions",
    "search",
    "trainables",
    "system/files.py",
    "ledger/studies.py",
    "ledger/trials.py",
    "search_spaces/__init__.py",
)
"""Folders and files that decide what a trial learns or what a study asks next. A space is compared as a text."""
TELLING = (
    *("competitions/compare_data", "competitions/compare_splits", "competitions/demo", "competitions/images/near_duplicates"),
    *("competitions/report", "search/disk_budget", "search/effects", "search/leak", "search/outcome", "search/request_check"),
    *("search/resume_check", "search/trackers", "search/warm_start", "search/tune/callback", "search/tune/disk_stop"),
    *("search/tune/ray_session", "search/tune/worker_log", "trainables/provenance", "trainables/reproduce"),
)
"""Those among them that only tell, compare or connect; all others count, those that are added too."""
MOST_LINES = 24
"""So many lines of a changed space are shown."""
EXPLAINED_BY = {
    "data": ("photos", "pixels", "labels", "groups", "folds", "split", "classes", "target"),
    "heads": ("target", "classes", "label"),
}
"""Field of a question -> kinds of differences that explain another value there; other fields have a kind of their own name."""


def changes_since(
    plan: Mapping[str, Any], space: Space, prepared: Prepared, questions: Mapping[str, Any]
) -> list[DataDifference]:
    """What is not as a study began, or was last accepted.

    Args:
        plan: The study's.
        space: As its file says today.
        prepared: Today's data.
        questions: What the study would ask today.
    """
    return [*_code(plan), *_space(plan, space), *_data(plan, prepared, questions), *_packages(plan, provenance())]


def settle(name: str, changes: Sequence[DataDifference], *, accept: bool, acceptable: bool = True) -> None:
    """Warn of what does not matter to results; stop at the rest unless it is accepted.

    Args:
        name: The study's.
        changes: Of `changes_since`.
        accept: Go on with the changes.
        acceptable: Whether that can be done at all; a study on all data is made of one set of photos.

    Raises:
        UserError: With every change, and the ways out.
    """
    stops = [change for change in changes if change.stops]
    for change in changes:
        if not change.stops:
            log.warning("study %s goes on with other %s", name, change)
    if stops and not (accept and acceptable):
        on = "go on with it as it is now by --accept-change (docs/resume.md), " if acceptable else ""
        raise UserError(
            f"study {name!r} stops: not everything is as it began",
            *map(str, stops),
            f"put it back, {on}or start a new study: it takes over every trial that still fits",
        )
    if accept and not stops:
        log.info("nothing that decides results has changed since study %s began; there is nothing to accept", name)
    for change in stops:
        log.warning("study %s goes on with a changed %s", name, change)


def record(study: StudyFolder, changes: Sequence[DataDifference], answered: Mapping[str, bool]) -> None:
    """Write what was accepted, or only told, into the study's events; what waits to be trained on other data is given up.

    Args:
        study: Of which the caller holds the lease.
        changes: Of `changes_since`, settled.
        answered: Trial id -> whether this suggestion of the study answers one of today's questions.
    """
    for event, stops in (("accepted", True), ("noted", False)):
        texts = [{"kind": change.kind, "text": change.text} for change in changes if change.stops == stops]
        if texts:
            study.log(event, changes=texts)
    reason = "; ".join(str(change) for change in changes if change.stops)
    for trial, status in study.statuses().items():
        if status in OPEN and status != "superseded" and not answered.get(trial, True):
            study.log("superseded", trial, reason=reason or "other photos, labels, folds or metric")


def before(plan: Mapping[str, Any], changes: Sequence[DataDifference]) -> list[dict[str, Any]]:
    """The plans before each accepted change, oldest first; this one among them if something changed."""
    earlier = list(plan.get("before", []))
    last = {name: value for name, value in plan.items() if name not in ("before", "told", "refit")}
    return [*earlier, last] if any(change.stops for change in changes) else earlier


def refit(plan: Mapping[str, Any], changes: Sequence[DataDifference], study: StudyFolder) -> int:
    """The last suggestion that was drawn from another space than today's; 0 where there is none."""
    if another_space(changes):
        return max((suggestion.number for suggestion in study.suggestions()), default=0)
    return int(plan.get("refit", 0))


def another_space(changes: Sequence[DataDifference]) -> bool:
    return any(change.kind == "space" for change in changes)


@lru_cache(1)
def code(root: Path = REPOSITORY) -> dict[str, str]:
    """`<name> <hash>` of each definition that decides -> the file below `root` where it stands (one of them, where several have it)."""
    house = frozenset(path.parent.name for path in root.glob("*/__init__.py"))
    files: dict[str, str] = {}
    for path in sorted(file for place in DECIDING for file in [root / place, *(root / place).rglob("*.py")] if file.is_file()):
        name = path.relative_to(root).as_posix()
        if not name.startswith(TELLING):
            files |= dict.fromkeys(_definitions(path.read_text(encoding="utf-8"), house), name)
    return files


def meaning(text: str) -> str:
    """A hash of a program's syntax tree without docstrings.

    `ast.dump` and `ast.unparse` write one tree differently in different versions of Python, so the tree is written here.

    >>> meaning("x = 1  # one") == meaning("x = (1)"), meaning("x = 1") == meaning("x = 2")
    (True, False)
    """
    return fingerprint(_form(ast.parse(text), frozenset()))


def _definitions(text: str, house: frozenset[str]) -> list[str]:
    """`<name> <hash>` of each statement of a file but imports from the folders `house`."""
    statements = [node for node in ast.parse(text).body if not _is_silent(node, house)]
    return [f"{_name(node)} {fingerprint(_form(node, house))}" for node in statements]


def _name(node: ast.stmt) -> str:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names[0] if names else type(node).__name__.lower()


def _form(node: Any, house: frozenset[str]) -> Any:
    if isinstance(node, ast.AST):
        parts = {name: _form(value, house) for name, value in ast.iter_fields(node) if name not in ("kind", "type_comment")}
        return [type(node).__name__, {name: part for name, part in parts.items() if part not in ("None", [])}]
    if isinstance(node, list):
        return [_form(part, house) for part in node if not _is_silent(part, house)]
    return repr(node)


def _is_silent(node: Any, house: frozenset[str]) -> bool:
    """Whether a statement does nothing: a mere text (a docstring, or what explains a constant), or an import from our own folders."""
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in house
    if isinstance(node, ast.Import):
        return all(alias.name.split(".")[0] in house for alias in node.names)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _code(plan: Mapping[str, Any]) -> list[DataDifference]:
    if "code" not in plan:
        return []  # begun by an earlier version of Podium
    if isinstance(plan["code"], Mapping):
        return [DataDifference("code", "the study began with an earlier version of Podium, whose code was kept file by file")]
    before, now = set(plan["code"]), code()
    gone, new = ({entry.split()[0] for entry in entries} for entries in (before - set(now), set(now) - before))
    files = {entry.split()[0]: file for entry, file in now.items() if entry not in before}
    changed = [f"{name} of {files[name]}{'' if name in gone else ' (new)'}" for name in new]
    changed += [f"{name} (gone)" for name in gone - new]
    return [DataDifference("code", f"{listed(sorted(changed))} changed")] if changed else []


def _space(plan: Mapping[str, Any], space: Space) -> list[DataDifference]:
    if "space_files" not in plan:
        text = f"search_spaces/{space.name}.py is not what the study began with (its text was not kept then)"
        return [DataDifference("space", text)] if plan["space"] != space.fingerprint else []
    before, now = plan["space_files"], space.files
    changed = [name for name in sorted({*before, *now}) if _meaning(before.get(name)) != _meaning(now.get(name))]
    if not changed:
        return []
    lines = [line for name in changed for line in _diff(name, before.get(name, ""), now.get(name, ""))]
    more = [f"... and {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    files = ", ".join(f"search_spaces/{name}" for name in changed)
    return [DataDifference("space", "\n".join([f"{files} changed", *lines[:MOST_LINES], *more]))]


def _meaning(text: str | None) -> str | None:
    return None if text is None else meaning(text)


def _diff(name: str, before: str, now: str) -> list[str]:
    """The lines that differ, with one around them."""
    sides = (f"search_spaces/{name} then", f"search_spaces/{name} now")
    return list(difflib.unified_diff(before.splitlines(), now.splitlines(), *sides, n=1, lineterm=""))


def _data(plan: Mapping[str, Any], prepared: Prepared, questions: Mapping[str, Any]) -> list[DataDifference]:
    before, now = plan["questions"], {name: asdict(question) for name, question in questions.items()}
    kept = _kept(plan, prepared)
    changes = differences(kept, prepared, list(before)) if kept is not None else []
    kinds = {difference.kind for difference in changes if difference.stops}
    changed = {key for name in before for key, value in before[name].items() if now[name].get(key) != value}
    for key in sorted(key for key in changed if not kinds & {key, *EXPLAINED_BY.get(key, ())}):
        changes.append(DataDifference(key, _unexplained(key, before, now)))
    return changes


def _unexplained(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if key == "data":
        return (
            "photos, labels or folds are not those of then; which they were was not kept, so they cannot be compared one by one"
        )
    names = [name for name in before if before[name].get(key) != now[name].get(key)]
    return "; ".join(f"{key} of {name} was {before[name].get(key)}, is {now[name].get(key)}" for name in names)


def _kept(plan: Mapping[str, Any], prepared: Prepared) -> Prepared | None:
    """The preparation that the study began with; `None` where it is today's, or is not there or cannot be read any more."""
    if plan["prepared"] == prepared.key():
        return None
    try:
        return load_prepared(prepared.paths, plan["prepared"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        log.warning("data/prepared/%s.json cannot be compared with: %s", plan["prepared"], str(error).splitlines()[0])
        return None


def _packages(plan: Mapping[str, Any], made_of: Mapping[str, Any]) -> list[DataDifference]:
    """Versions that differ; what one side never recorded is not compared."""
    then, now = (
        {**(one.get("packages") or {}), **({"python": one["python"]} if one.get("python") else {})}
        for one in (plan.get("made_of") or {}, made_of)
    )
    changed = [f"{name} was {then[name]}, is {now[name]}" for name in sorted(then) if name in now and then[name] != now[name]]
    return [DataDifference("versions", "; ".join(changed), stops=False)] if changed else []
