"""Answers `(N,)` or shares `(N, C)` per task, and image ids -> the competition's CSV file: UTF-8, one row per photo, `\\n` at line ends.

What is written is complete and within the classes. `submissions.external` reads such files.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from competitions.answers import ANSWERS, OF_EACH, AnswerColumn, FileForm, id_faults
from system.errors import UserError, listed
from system.files import replace_bytes

ROWS_AT_ONCE = 1000
"""Are made into text at once: a thousand columns of a hundred thousand photos are many texts."""


class AnswerForm(Protocol):
    """Whatever knows the form of the file: a `Competition`, or an exported plan."""

    @property
    def submission(self) -> FileForm:
        """Id column, and the other columns with their tasks and forms."""

    def classes(self, task: str) -> tuple[str, ...]:
        """The ordered class names of a task, or of the composed `label`."""


def write_submission(
    path: Path,
    competition: AnswerForm,
    image_ids: Sequence[str],
    answers: Mapping[str, NDArray[Any]],
    shares: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    units: Sequence[str] | None = None,
) -> None:
    """Write the file that is handed in; it stands whole or not at all.

    Args:
        path: Where to.
        competition: A `Competition`, or an ensemble plan.
        image_ids: N ids in the order of the rows, that of the manifest's test photos.
        answers: Task, or `label` -> class numbers `int (N,)`; those that the file does not ask for are left out.
        shares: Task, or `label` -> class shares `float (N, C)`, where a column holds no decision, or several photos have one row; brought
            to the sum 1.
        units: What the N photos have in common whose shares one row has, where the file has such rows; in the order of their first photos.

    Raises:
        UserError: Naming every fault: an answer missing, too short, not a class, no share; an id empty or twice; no photo at all.
    """
    form, whole = competition.submission, shares or {}
    faults = id_faults(image_ids)
    if form.unit is not None and (units is None or len(units) != len(image_ids) or "" in units):
        faults.append(f"each photo must have a {form.unit.column}: a row of the file is one for all photos that have the same")
    for task, decides in dict.fromkeys((column.task, _decides(form, column)) for column in form.columns):
        classes = competition.classes(task)
        faults += (
            _answer_faults(task, answers.get(task), image_ids, classes)
            if decides
            else _share_faults(task, whole.get(task), image_ids, classes)
        )
    if faults:
        raise UserError(*faults)
    ids, rows_of = list(image_ids), [[row] for row in range(len(image_ids))]
    if form.unit is not None:
        by_unit: dict[str, list[int]] = {}
        for row, unit in enumerate(units or ()):
            by_unit.setdefault(unit, []).append(row)
        ids, rows_of = list(by_unit), list(by_unit.values())
    headers = [column.header for column in form.columns]
    chunks = [_lines([[form.id_column, *(headers if form.rows is None else [form.rows.value])]])]
    for start in range(0, len(ids), ROWS_AT_ONCE):
        some, rows = ids[start : start + ROWS_AT_ONCE], rows_of[start : start + ROWS_AT_ONCE]
        cells = [_cells(column, competition, answers, whole, rows) for column in form.columns]
        pattern = form.rows
        if pattern is None:
            chunks.append(_lines(zip(some, *cells, strict=True)))
        else:
            each = zip(some, zip(*cells, strict=True), strict=True)
            chunks.append(_lines((pattern.row_id(i, h), cell) for i, its in each for h, cell in zip(headers, its, strict=True)))
    replace_bytes(path, b"".join(chunks))


def _decides(form: FileForm, column: AnswerColumn) -> bool:
    """Whether a column is made of the decided labels; several photos are decided together, by their shares."""
    return ANSWERS[column.form].decides and form.unit is None


def _cells(
    column: AnswerColumn,
    competition: AnswerForm,
    answers: Mapping[str, NDArray[Any]],
    shares: Mapping[str, NDArray[np.floating[Any]]],
    rows: Sequence[Sequence[int]],
) -> list[str]:
    """The cells of one column for some rows of the file, each that of one photo or of several."""
    form, file, classes = ANSWERS[column.form], competition.submission, competition.classes(column.task)
    flat = [row for some in rows for row in some]
    if _decides(file, column):
        return form.write(column, classes, answers[column.task][flat])
    whole = shares[column.task][flat].astype(np.float64)
    whole /= whole.sum(axis=1, keepdims=True)
    if file.unit is not None:
        starts = np.cumsum([0, *(len(some) for some in rows[:-1])])
        if file.unit.how == "max":
            whole = np.maximum.reduceat(whole, starts, axis=0)
        else:
            whole = np.add.reduceat(whole, starts, axis=0) / np.array([len(some) for some in rows])[:, None]
        if column.form == OF_EACH:
            whole /= whole.sum(axis=1, keepdims=True)
    return form.write(column, classes, whole.argmax(axis=1) if form.decides else whole)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _answer_faults(task: str, labels: NDArray[Any] | None, image_ids: Sequence[str], classes: Sequence[str]) -> list[str]:
    if labels is None:
        return [f"the answer for {task} is missing; the file asks for it"]
    if labels.shape != (len(image_ids),):
        return [f"{task}: answers must have the shape ({len(image_ids)},), one per photo, got {labels.shape}"]
    if labels.dtype.kind not in "iuf":
        return [f"{task}: answers must be class numbers, got {labels.dtype}"]
    wrong = np.flatnonzero(~((labels >= 0) & (labels < len(classes)) & (labels == np.floor(labels))))
    if not len(wrong):
        return []
    examples = listed(f"{labels[row]} for {image_ids[row]}" for row in wrong.tolist())
    return [f"{task}: class numbers must be 0..{len(classes) - 1}, {len(wrong)} are not: {examples}"]


def _share_faults(task: str, shares: NDArray[Any] | None, image_ids: Sequence[str], classes: Sequence[str]) -> list[str]:
    if shares is None:
        return [f"the class shares of {task} are missing; the file asks for them"]
    if shares.shape != (len(image_ids), len(classes)) or shares.dtype.kind != "f":
        wanted = f"({len(image_ids)}, {len(classes)}), a row per photo and a column per class"
        return [f"{task}: shares must be numbers of the shape {wanted}, got {shares.dtype} of {shares.shape}"]
    sums = shares.sum(axis=1)
    wrong = np.flatnonzero(~(np.isfinite(sums) & (sums > 0) & (shares >= 0).all(axis=1)))
    if not len(wrong):
        return []
    examples = listed(image_ids[row] for row in wrong.tolist())
    return [f"{task}: shares must be at least 0 and not all 0, of {len(wrong)} photos they are not: {examples}"]
