"""The mistakes of what the competition's rules allow, and of what is known about groups and test photos: one sentence each."""

from collections.abc import Mapping
from math import fsum
from numbers import Real
from typing import Any

from competitions._settings import ONE_TASK, WITHOUT_TABLE
from system.errors import unknown

TOLERANCE = 1e-3
"""By so much shares may miss 1: people round them."""


def rule_faults(raw: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The mistakes in a mapping whose single settings may be wrong too.

    Args:
        raw: The competition's settings.
        tasks: Its tasks.
    """
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
    return faults + _group_faults(raw, tasks)


def _share_faults(name: str, given: Mapping[Any, Any], tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The mistakes of one task's shares: classes that are not its own or are missing, and a sum that is not 1."""
    if name not in tasks:
        return [unknown("task in test_shares", name, list(tasks))]
    classes = [c for c in _list(tasks[name].get("classes")) if isinstance(c, str)]
    faults = [f"test_shares.{name}: {unknown('class', str(c), classes)}" for c in given if c not in classes]
    missing = [c for c in classes if c not in given]
    if missing:
        faults.append(
            f"test_shares.{name} must have a share for each class, {', '.join(missing)} has none; write 0 for one that is absent"
        )
    numbers = [share for share in given.values() if isinstance(share, Real) and not isinstance(share, bool)]
    if not faults and len(numbers) == len(given) and not abs(fsum(numbers) - 1) <= TOLERANCE:
        faults.append(f"test_shares.{name} must sum to 1 (by at most {TOLERANCE:g} more or less), got {fsum(numbers):g}")
    return faults


def _group_faults(raw: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Tasks with one answer per group where nothing says the groups."""
    reader = raw.get("reader", "csv")
    told = reader in WITHOUT_TABLE if isinstance(reader, str) else True
    known = reader not in ONE_TASK if told else _mapping(raw.get("columns")).get("group") is not None
    declared = [name for name, task in tasks.items() if task.get("same_in_group") is True]
    way_out = f"the reader {reader} knows none" if told else "name the column (columns.group)"
    return (
        []
        if known
        else [f"tasks.{name}.same_in_group has no effect without groups; {way_out}, or leave it out" for name in declared]
    )


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []
