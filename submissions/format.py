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

from competitions.answers import ANSWERS, OF_EACH, AnswerColumn, FileForm, Unit, id_faults
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
    ids, photos = _rows_of_the_file(image_ids, units if form.unit is not None else None)
    header = [column.header for column in form.columns] if form.rows is None else [form.rows.value]
    chunks = [_lines([[form.id_column, *header]])]
    for start in range(0, len(ids), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        chunks.append(_lines(_laid_out(form, ids[rows], _cells(competition, answers, whole, photos[rows]))))
    replace_bytes(path, b"".join(chunks))


def _rows_of_the_file(image_ids: Sequence[str], units: Sequence[str] | None) -> tuple[list[str], list[list[int]]]:
    """The rows' ids, and which photos each is for."""
    photos: dict[str, list[int]] = {}
    for row, name in enumerate(image_ids if units is None else units):
        photos.setdefault(name, []).append(row)
    return list(photos), list(photos.values())


def _laid_out(form: FileForm, ids: Sequence[str], cells: Sequence[Sequence[str]]) -> Iterable[Sequence[str]]:
    """Rows of an id and its cells; where a photo has several rows, one for each column."""
    if form.rows is None:
        return zip(ids, *cells, strict=True)
    headers, pattern = [column.header for column in form.columns], form.rows
    each = zip(ids, zip(*cells, strict=True), strict=True)
    return ((pattern.row_id(i, header), cell) for i, its in each for header, cell in zip(headers, its, strict=True))


def _decides(form: FileForm, column: AnswerColumn) -> bool:
    """Whether a column is made of the decided labels; several photos are decided together, by their shares."""
    return ANSWERS[column.form].decides and form.unit is None


def _cells(
    competition: AnswerForm,
    answers: Mapping[str, NDArray[Any]],
    shares: Mapping[str, NDArray[np.floating[Any]]],
    photos: Sequence[Sequence[int]],
) -> list[list[str]]:
    """The cells of every column for some rows of the file, each that of one photo or of several."""
    form, cells = competition.submission, []
    made: dict[tuple[str, bool], NDArray[Any]] = {}  # once for all of a task's columns
    for column in form.columns:
        key = column.task, column.form == OF_EACH
        if _decides(form, column):
            given: NDArray[Any] = answers[column.task][[row for some in photos for row in some]]
        else:
            if key not in made:
                made[key] = _together(form.unit, shares[column.task], photos, whole=key[1])
            given = made[key].argmax(axis=1) if ANSWERS[column.form].decides else made[key]
        cells.append(ANSWERS[column.form].write(column, competition.classes(column.task), given))
    return cells


def _together(
    unit: Unit | None, shares: NDArray[np.floating[Any]], photos: Sequence[Sequence[int]], *, whole: bool
) -> NDArray[np.float64]:
    """The shares of some rows of the file `(n, C)`; with `whole` each row sums to 1, also where it has the greatest of several photos."""
    rows = shares[[row for some in photos for row in some]].astype(np.float64)
    rows /= rows.sum(axis=1, keepdims=True)
    if unit is None:
        return rows
    starts = np.cumsum([0, *(len(some) for some in photos[:-1])])
    if unit.how == "max":
        rows = np.maximum.reduceat(rows, starts, axis=0)
    else:
        rows = np.add.reduceat(rows, starts, axis=0) / np.array([len(some) for some in photos])[:, None]
    return rows / rows.sum(axis=1, keepdims=True) if whole else rows


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
