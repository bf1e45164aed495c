"""Files from outside as members of a pool: those that answer the photos it is compared on, and the test photos."""

import logging
from collections.abc import Sequence

import numpy as np

from bundle.members import OpenedMember
from bundle.opened import TEST, VALIDATION, Opened
from bundle.pool import fold_rows
from competitions.manifest import LABEL
from competitions.prepare import Prepared
from competitions.targets import Target
from ensemble.label.cascade import Subtask
from ensemble.pool import Member
from ledger.imports import Import
from system.errors import UserError, unknown

log = logging.getLogger("podium.bundle")


def importing(
    opened: Opened, subtask: Subtask, targets: Sequence[Target], folds: Sequence[int], names: Sequence[str] | None
) -> list[OpenedMember]:
    """The imports that are members of a subtask.

    Unasked, an import joins where it answers every photo of the folds that the subtask is asked about; named, it joins with those that it
    answers, and all members are then compared on these photos alone. Either way it must answer every test photo.

    Args:
        opened: The competition's data and imports.
        subtask: What is answered.
        targets: Those that answer it.
        folds: Whose photos members are compared on.
        names: Names of imports; all that can for `None`.

    Raises:
        UserError: A name is unknown, or a named import lacks test photos, or has no photo of the folds.
    """
    known = opened.imports_by_name
    faults = [unknown("import", name, known) for name in names or () if name not in known]
    if faults:
        raise UserError(*faults)
    asked = known if names is None else names
    members, faults = [], []
    for one in (known[name] for name in asked):
        if not _answers(opened.prepared, one, subtask):
            continue
        fault = _fault(opened, one, subtask, targets, folds, whole=names is None)
        if not fault:
            members.append(OpenedMember(Member(one.id, (one.id,), imported=one.name)))
        elif names is None:
            log.warning("import %s does not vote for %s: %s", one.name, subtask, fault)
        else:
            faults.append(f"import {one.name} cannot vote for {subtask}: {fault}")
    if faults:
        raise UserError(*faults)
    return members


def check_unjudged(opened: Opened, subtasks: Sequence[Subtask], names: Sequence[str]) -> None:
    """Refuse files that cannot vote unjudged, before anything is computed.

    Raises:
        UserError: A name is unknown, a file answers none of the subtasks, or not every test photo.
    """
    known = opened.imports_by_name
    faults = [unknown("import", name, known) for name in names if name not in known]
    for one in (known[name] for name in names if name in known):
        own = [subtask for subtask in subtasks if not subtask.where and _answers(opened.prepared, one, subtask)]
        faults += [] if own else [f"import {one.name} answers none of {', '.join(map(str, subtasks))}; leave it out"]
        lacking = [fault for subtask in own if (fault := _test_fault(opened, one, subtask))]
        faults += [f"import {one.name} cannot vote for {own[0]}: {fault}" for fault in lacking[:1]]
    if faults:
        raise UserError(*faults)


def unjudged_of(opened: Opened, subtask: Subtask, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Id and name of those of these files that answer a subtask without having been judged; none where it has a condition."""
    known = opened.imports_by_name
    own = [known[name] for name in names if not subtask.where and _answers(opened.prepared, known[name], subtask)]
    return tuple((one.id, one.name) for one in own)


def _answers(prepared: Prepared, one: Import, subtask: Subtask) -> bool:
    derived = LABEL in one.heads and subtask.task in prepared.competition.composed
    return subtask.task in one.heads or derived


def _fault(
    opened: Opened, one: Import, subtask: Subtask, targets: Sequence[Target], folds: Sequence[int], *, whole: bool
) -> str | None:
    """Why it cannot be a member, in words."""
    ids = opened.prepared.manifest.image_ids
    wanted = {ids[row] for target in targets for fold in folds for row in fold_rows(opened.prepared, target, fold)}
    validation = set(opened.rows_of_import(one.id, VALIDATION, subtask.task)[0])
    if fault := _test_fault(opened, one, subtask):
        return fault
    if not wanted & validation:
        listed = ", ".join(map(str, np.array(folds)))
        return (
            f"it answers no photo of fold {listed}, so nobody can say how good it is; import its out-of-fold answers too, "
            f"or let it vote unjudged: --unjudged {one.name} (docs/outside.md)"
        )
    if whole and wanted - validation:
        return (
            f"{len(wanted - validation)} of {len(wanted)} photos of the fold have no answer; name it with --imports {one.name} to "
            "compare all members on the photos that it answers"
        )
    return None


def _test_fault(opened: Opened, one: Import, subtask: Subtask) -> str | None:
    prepared = opened.prepared
    ids = prepared.manifest.image_ids
    test = {ids[row] for row in prepared.manifest.rows("test")} - set(prepared.broken)
    lacking = sorted(test - set(opened.rows_of_import(one.id, TEST, subtask.task)[0]))
    return f"{len(lacking)} of {len(test)} test photos have no answer, among them {', '.join(lacking[:3])}" if lacking else None
