"""Answers `(N,)` per task and their image ids <-> the competition's CSV file: UTF-8, one row per photo, `\\n` at line ends.

What is written is complete and within the classes; what is read is told all of its faults at once.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from competitions.csv_tables import parse_table, separator_faults
from submissions.answers import Ints, class_numbers, id_faults
from system.errors import UserError, listed, unknown
from system.files import replace_bytes


class FileForm(Protocol):
    """The form of the file: of a competition that is read, or of an exported plan."""

    @property
    def id_column(self) -> str:
        """The header of the photo's id."""

    @property
    def answers(self) -> Mapping[str, str] | tuple[tuple[str, str], ...]:
        """Header -> task, or `label`, in the order of the columns."""

    @property
    def values(self) -> Literal["name", "index"]:
        """Whether a class is written as its name or its number."""


class AnswerForm(Protocol):
    """Whatever knows the form of the file: a `Competition`, or an exported plan."""

    @property
    def submission(self) -> FileForm:
        """Id column, headers with their task, and how classes are written."""

    def classes(self, task: str) -> tuple[str, ...]:
        """The ordered class names of a task, or of the composed `label`."""


def write_submission(path: Path, competition: AnswerForm, image_ids: Sequence[str], answers: Mapping[str, NDArray[Any]]) -> None:
    """Write the file that is handed in; it stands whole or not at all.

    Args:
        path: Where to.
        competition: A `Competition`, or an ensemble plan.
        image_ids: N ids in the order of the rows, that of the manifest's test photos.
        answers: Task, or `label` -> class numbers `int (N,)`; those that the file does not ask for are left out.

    Raises:
        UserError: Naming every fault: an answer missing, too short, not a class; an id empty or twice; no photo at all.
    """
    form, wanted = competition.submission, dict(competition.submission.answers)
    faults = id_faults(image_ids)
    for task in dict.fromkeys(wanted.values()):
        faults += _answer_faults(task, answers.get(task), image_ids, competition.classes(task))
    if faults:
        raise UserError(*faults)
    columns = [_written(answers[task], competition.classes(task), form.values) for task in wanted.values()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([form.id_column, *wanted])
    writer.writerows(zip(image_ids, *columns, strict=True))
    replace_bytes(path, text.getvalue().encode())


def read_submission(path: Path, competition: AnswerForm) -> tuple[tuple[str, ...], dict[str, Ints]]:
    """Read a file that somebody wants to hand in.

    A byte-order mark, CRLF, empty lines at the end and another order of the columns are tolerated.

    Returns:
        The N image ids in the file's order, and per task asked for (or `label`) the class numbers `int64 (N,)`.

    Raises:
        UserError: Naming every fault: columns missing or unknown, cells missing, ids twice, classes that do not exist.
    """
    form, tasks = competition.submission, dict(competition.submission.answers)
    wanted = [form.id_column, *tasks]
    table, torn = parse_table(path)
    columns = table.columns
    absent = [name for name in wanted if name not in columns]
    faults = [f"column {name!r} is missing (asked for: {', '.join(wanted)})" for name in absent]
    faults += separator_faults(table) if absent else []
    faults += [unknown("column", name, wanted) for name in columns if name not in wanted]
    faults += torn
    image_ids = columns.get(form.id_column, ())
    if form.id_column in columns:
        faults += id_faults(image_ids)
    answers: dict[str, Ints] = {}
    for name, task in tasks.items():
        if name not in columns:
            continue
        numbers, wrong = class_numbers(columns[name], competition.classes(task), form.values)
        faults += [f"column {name}: {fault}" for fault in wrong]
        if task in answers and not np.array_equal(answers[task], numbers):
            faults.append(f"column {name}: it answers {task} differently from another column of the same task")
        answers[task] = numbers
    if faults:
        raise UserError(*(f"{path.name}: {fault}" for fault in faults))
    return image_ids, answers


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


def _written(labels: NDArray[Any], classes: Sequence[str], values: str) -> list[str]:
    cells = classes if values == "name" else [str(number) for number in range(len(classes))]
    return [cells[number] for number in labels.astype(np.int64).tolist()]
