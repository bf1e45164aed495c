"""Files from outside as members of a pool: those that answer the photos it is compared on, and the test photos."""

import logging
from collections.abc import Sequence

import numpy as np

from bundle.members import Member
from bundle.pool import TEST, VALIDATION, rows_of_import
from competitions.manifest import LABEL
from competitions.prepare import Prepared
from competitions.targets import Target
from ensemble.cascade import Place
from ledger.errors import UserError, unknown
from ledger.imports import Import, imports_of

log = logging.getLogger("podium.bundle")


def importing(
    prepared: Prepared, place: Place, targets: Sequence[Target], folds: Sequence[int], names: Sequence[str] | None
) -> list[Member]:
    """The imports that are members of a place.

    Unasked, an import joins where it answers every photo of the folds that the place is asked about; named, it joins with those that it
    answers, and all members are then compared on these photos alone. Either way it must answer every test photo.

    Args:
        prepared: The competition's data.
        place: What is answered.
        targets: Those that answer it.
        folds: Whose photos members are compared on.
        names: Names of imports; all that can for `None`.

    Raises:
        UserError: A name is unknown, or a named import lacks test photos, or has no photo of the folds.
    """
    there = imports_of(prepared.paths)
    known = {one.name: one for one in there}
    faults = [unknown("import", name, known) for name in names or () if name not in known]
    if faults:
        raise UserError(*faults)
    asked = there if names is None else [known[name] for name in names]
    members, faults = [], []
    for one in asked:
        if not _answers(prepared, one, place):
            continue
        fault = _fault(prepared, one, place, targets, folds, whole=names is None)
        if not fault:
            members.append(Member(one.id, (one.id,), imported=one.name))
        elif names is None:
            log.warning("import %s does not vote for %s: %s", one.name, place, fault)
        else:
            faults.append(f"import {one.name} cannot vote for {place}: {fault}")
    if faults:
        raise UserError(*faults)
    return members


def _answers(prepared: Prepared, one: Import, place: Place) -> bool:
    derived = LABEL in one.heads and place.task in prepared.competition.composed
    return place.task in one.heads or derived


def _fault(
    prepared: Prepared, one: Import, place: Place, targets: Sequence[Target], folds: Sequence[int], *, whole: bool
) -> str | None:
    """Why it cannot be a member, in words."""
    ids = prepared.manifest.image_ids
    wanted = {ids[row] for target in targets for fold in folds for row in prepared.rows(target, fold)[1]}
    validation = set(rows_of_import(prepared, one.id, VALIDATION, place.task)[0])
    test = {ids[row] for row in prepared.manifest.rows("test")} - set(prepared.broken)
    lacking = sorted(test - set(rows_of_import(prepared, one.id, TEST, place.task)[0]))
    if lacking:
        return f"{len(lacking)} of {len(test)} test photos have no answer, among them {', '.join(lacking[:3])}"
    if not wanted & validation:
        listed = ", ".join(map(str, np.array(folds)))
        return (
            f"it answers no photo of fold {listed}, so nobody can say how good it is; import its out-of-fold answers too "
            "(docs/outside.md)"
        )
    if whole and wanted - validation:
        return (
            f"{len(wanted - validation)} of {len(wanted)} photos of the fold have no answer; name it with --imports {one.name} to "
            "compare all members on the photos that it answers"
        )
    return None
