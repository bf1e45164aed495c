"""Answers `(N,)` per task and their image ids -> the competition's CSV file: UTF-8, one row per photo, `\\n` at line ends.

What is written is complete and within the classes. `submissions.external` reads such files.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from submissions.answers import id_faults
from system.errors import UserError, listed
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
