"""What a file in the competition's own form says: the cells of its columns -> class numbers `(N, k)` or probabilities `(N, C)` per task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.answers import ANSWERS, RANKING, AnswerColumn, CellsRead, FileForm, Ints, columns_of_rows
from system.errors import EXAMPLES, listed


@dataclass(frozen=True)
class TaskRead:
    """What the columns of one task say of N photos.

    Attributes:
        form: One of `competitions.answers.ANSWERS`.
        order: `int64 (N, k)`, class numbers, the best first, -1 for none; of a form that names classes.
        class_numbers: The c classes of which there are probabilities.
        probs: `float64 (N, c)`, in their order.
    """

    form: str
    order: Ints | None
    class_numbers: tuple[int, ...]
    probs: NDArray[np.float64]


def read_columns(
    columns: Sequence[AnswerColumn], cells: Mapping[str, Sequence[str]], classes: Mapping[str, Sequence[str]]
) -> tuple[dict[str, TaskRead], list[str]]:
    """Task -> what its columns say, and a sentence for each thing that is wrong with their cells.

    Args:
        columns: Those that the file has.
        cells: Header -> N texts.
        classes: Task, or `label` -> its class names.
    """
    by_task: dict[str, list[tuple[AnswerColumn, CellsRead]]] = {}
    faults: list[str] = []
    for column in columns:
        read, wrong = ANSWERS[column.form].read(column, classes[column.task], cells[column.header])
        faults += [f"column {column.header}: {fault}" for fault in wrong]
        by_task.setdefault(column.task, []).append((column, read))
    if len(faults) > EXAMPLES:  # a file of a thousand columns may break one rule in each
        faults = [*faults[:EXAMPLES], f"and {len(faults) - EXAMPLES} more such sentences"]
    found = {}
    for task, parts in by_task.items():
        first, _ = parts[0]
        orders = [read.order for _, read in parts if read.order is not None]
        if any(order.shape != orders[0].shape or (order != orders[0]).any() for order in orders[1:]):
            faults.append(f"column {parts[1][0].header}: it answers {task} differently from another column of the same task")
        said = {number: values for _, read in parts for number, values in read.probs.items()}
        numbers = tuple(sorted(said))
        probs = np.column_stack([said[number] for number in numbers]) if said else np.zeros((0, 0))
        found[task] = TaskRead(first.form, orders[0] if orders else None, numbers, probs)
    return found, faults


def row_for_each(columns: Mapping[str, Sequence[str]], form: FileForm) -> tuple[dict[str, Sequence[str]], list[str]]:
    """A file's columns as those of a file with a row for each photo, and what is wrong; as they are where each photo has one row."""
    rows = form.rows
    if rows is None or form.id_column not in columns or rows.value not in columns:
        return dict(columns), []
    headers = [column.header for column in form.columns]
    ids, cells, faults = columns_of_rows(rows, columns[form.id_column], columns[rows.value], headers)
    return ({} if faults else {form.id_column: ids, **cells}), faults


def why_no_vote(task: str, read: TaskRead, classes: Sequence[str]) -> list[str]:
    """What keeps a file that says this from voting, in words."""
    if read.form == RANKING:
        return [f"{task}: a ranking does not say how probable classes are, so it cannot vote; import probabilities or classes"]
    missing = [name for number, name in enumerate(classes) if number not in read.class_numbers]
    if read.order is None and missing:
        return [f"{task}: probabilities of {listed(missing)} are missing; a file that votes has those of every class"]
    return []
