"""A file that is to be handed in -> every way in which it is not what the competition asks for, or what it says in numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from competitions.answers import SUM_SLACK, AnswerColumn, id_faults
from competitions.competition import Competition
from competitions.csv_tables import parse_table, separator_faults
from submissions.external.heads import unknown_columns
from submissions.reading import TaskRead, read_columns, row_for_each
from system.errors import UserError, listed
from system.texts import recognise

EXACT = 1e-6
"""Podium's own rows sum to 1 within this; others are said to be rounded."""


def check_file(path: Path, competition: Competition, image_ids: Sequence[str]) -> dict[str, Any]:
    """Check a file that is to be handed in.

    Args:
        path: A CSV file.
        competition: What is asked; its submission complete (`Prepared.competition`).
        image_ids: What has a row in it, in the order of the file: the test photos, or what several of them have in common.

    Returns:
        JSON values: `rows`, per task what its columns say (`answers`), and `notes` on what is odd and no fault.

    Raises:
        UserError: With every fault of the file.
    """
    form, name = competition.submission, path.name
    table, faults = parse_table(path)
    columns: dict[str, Sequence[str]] = dict(table.columns)
    headers = [column.header for column in form.columns]
    wanted = [form.id_column, *(headers if form.rows is None else [form.rows.value])]
    missing = [header for header in wanted if header not in columns]
    faults += [f"{len(missing)} columns are missing: {listed(missing)}"] if missing else []
    faults += separator_faults(table) if missing else []
    faults += unknown_columns([header for header in columns if header not in wanted], wanted)
    notes = [] if list(columns) == wanted else ["its columns stand in another order than the sample's"]
    columns, wrong = row_for_each(columns, form)
    faults += wrong
    ids = columns.get(form.id_column)
    faults += [] if ids is None else [*id_faults(ids), *_other_ids(ids, image_ids, competition.name)]
    there = [column for column in form.columns if column.header in columns]
    classes = {column.task: competition.classes(column.task) for column in there}
    read, wrong = read_columns(there, columns, classes)
    faults += wrong
    sums = {task: _sums(task, said, ids or ()) for task, said in read.items() if not missing}
    faults += [fault for found, _ in sums.values() for fault in found]
    if faults:
        raise UserError(*(f"{name}: {fault}" for fault in faults))
    notes = [note for _, found in sums.values() for note in found] + notes
    notes += ["its rows stand in another order than the test photos"] if list(ids or ()) != list(image_ids) else []
    return {"file": name, "rows": table.n_rows, "answers": _facts(there, read, classes), "notes": notes}


def _other_ids(ids: Sequence[str], wanted: Sequence[str], name: str) -> list[str]:
    """Test photos without a row, and rows that are none of them."""
    known, there = set(wanted), set(ids)
    strange = [image_id for image_id in there - known if image_id]
    spelled, faults = recognise(wanted), list[str]()
    alike = {image_id: other for image_id in strange if (other := spelled(image_id)) is not None}
    if alike:
        some = listed(f"{image_id!r} for {other!r}" for image_id, other in sorted(alike.items()))
        faults.append(f"ids must be spelled as the competition spells them, {len(alike)} only look so: {some}")
    others = sorted(image_id for image_id in strange if image_id not in alike)
    faults += [f"{len(others)} ids are no test photos of {name}: {listed(map(repr, others))}"] if others else []
    lost = [image_id for image_id in wanted if image_id not in there and image_id not in alike.values()]
    return faults + ([f"{len(lost)} test photos have no row: {listed(map(repr, lost))}"] if lost else [])


def _sums(task: str, said: TaskRead, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Faults and notes of rows that hold a probability for each class."""
    if said.form != "probabilities" or not np.isfinite(said.probs).all():
        return [], []
    off = np.abs(said.probs.sum(axis=1) - 1)
    wrong = [ids[row] for row in np.flatnonzero(off > SUM_SLACK).tolist()] if len(ids) == len(off) else []
    if wrong:
        return [f"{task}: a row's probabilities must sum to 1 within {SUM_SLACK}, {len(wrong)} do not: {listed(wrong)}"], []
    rounded = int((off > EXACT).sum())
    return [], [f"{task}: {rounded} rows sum to 1 only within {off.max():.1g}: their numbers are rounded"] if rounded else []


def _facts(
    columns: Sequence[AnswerColumn], read: Mapping[str, TaskRead], classes: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Task -> its form, and how often each class is named first or how probable it is on average."""
    facts = {}
    for task, said in read.items():
        names = classes[task]
        if said.order is not None:
            count = Counter(said.order[:, 0].tolist())
            facts[task] = {"form": said.form, "first": {name: count[number] for number, name in enumerate(names)}}
        else:
            means = said.probs.mean(axis=0).tolist()
            facts[task] = {
                "form": said.form,
                "mean": {names[number]: mean for number, mean in zip(said.class_numbers, means, strict=True)},
            }
    return facts
