"""A file from outside Podium -> per head that it answers N image ids and float16 probabilities `(N, C)`.

    submission CSV    id column, and the competition's own headers, or tasks' names, with a class in each cell   -> one-hot rows
    probability CSV   id column, and a column per class, by name or number, or as the competition asks for them  -> rows as they are
    .npz              image_ids (N) text, probs (N, C), perhaps classes (C) text                                 -> rows as they are

Rows and columns may stand in any order, a class without a column has probability 0, a byte-order mark and CRLF are tolerated. What a file
says of the composed label is kept as that: whoever loads it sums it to its tasks (`competitions.labels.decompose_probs`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competitions.answers import ANSWERS, class_numbers, floats, id_faults
from competitions.competition import Competition
from competitions.csv_tables import parse_table, separator_faults
from ledger.imports import LABELS, PROBABILITIES
from submissions.external.heads import FileContent, HeadRows, few, head_of, heads_of, known_head, label_columns, unknown_columns
from submissions.external.npz_file import read_npz
from submissions.external.probabilities import class_numbers_of, placed, rounded
from submissions.reading import read_columns, row_for_each, why_no_vote
from system.errors import UserError, unknown

ID_COLUMN = "image_id"
"""Known beside the id column of the competition's own file."""


def read_file(path: Path, competition: Competition, head: str | None = None) -> FileContent:
    """Read a file that may vote.

    Args:
        path: A `.csv` or `.npz` file.
        competition: What is asked; its submission complete (`Prepared.competition`).
        head: The task, or `label`, that the file answers; where it is `None` the columns must say it.

    Returns:
        What it says, and all that is wrong with it.

    Raises:
        UserError: It is not there or cannot be read at all, or no head is called so.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    kind = FILE_KINDS.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path.name}: {unknown('kind of file', path.suffix, FILE_KINDS)}")
    return kind(path, competition, None if head is None else known_head(competition, head))


def _read_csv(path: Path, competition: Competition, head: str | None) -> FileContent:
    table, torn = parse_table(path)
    faults = list(torn)
    columns, wrong = row_for_each(table.columns, competition.submission)
    if wrong:
        return FileContent({}, (), (*faults, *wrong), complete=False)
    wanted = dict.fromkeys((competition.submission.id_column, ID_COLUMN))
    id_column = next((name for name in wanted if name in columns), None)
    if id_column is None:
        faults.insert(0, f"the column of the photos' ids is missing; it must be called {' or '.join(wanted)}")
        faults += separator_faults(table)
    image_ids = tuple(columns.pop(id_column or next(iter(columns), ""), ()))
    faults += id_faults(image_ids) if id_column else []
    if not columns:
        faults.append("it answers nothing: there is no column beside that of the ids")
        return FileContent({}, image_ids if id_column else (), tuple(faults), complete=False)
    answering = _answering(competition, list(columns), head)
    if head is None and _is_own_form(competition, list(columns)):
        heads, wrong = _in_own_form(competition, image_ids, columns)
    elif answering is not None:
        heads, wrong = _labels(competition, image_ids, columns, answering, head)
    else:
        heads, wrong = _probabilities(competition, image_ids, columns, head)
    if id_column is None:
        return FileContent({}, (), (*faults, *wrong), complete=False)
    return FileContent(heads, image_ids, (*faults, *wrong), complete=bool(heads) and not torn)


def _is_own_form(competition: Competition, columns: Sequence[str]) -> bool:
    """Whether these are columns of the file handed in that hold no classes, and not simply the classes of one head."""
    written = {column.header: column.form for column in competition.submission.columns}
    shares = [name for name in columns if name in written and not ANSWERS[written[name]].decides]
    return bool(shares) and head_of(competition, columns, None)[0] is None


def _in_own_form(
    competition: Competition, image_ids: tuple[str, ...], columns: Mapping[str, Sequence[str]]
) -> tuple[dict[str, HeadRows], list[str]]:
    """What a file says that is written as the one to hand in, and what is wrong with it."""
    own = {column.header: column for column in competition.submission.columns}
    faults = unknown_columns([name for name in columns if name not in own], list(own))
    classes = {column.task: competition.classes(column.task) for column in own.values()}
    read, wrong = read_columns([own[name] for name in columns if name in own], columns, classes)
    faults += wrong
    heads: dict[str, HeadRows] = {}
    for task, said in read.items():
        cannot = why_no_vote(task, said, classes[task])
        faults += cannot
        if cannot or wrong:
            continue
        if said.order is not None:
            one_hot = np.eye(len(classes[task]), dtype=np.float16)[said.order[:, 0]]
            heads[known_head(competition, task)] = HeadRows(LABELS, image_ids, one_hot)
            continue
        probs, broken = rounded(image_ids, placed(said.probs, said.class_numbers, len(classes[task])))
        faults += [f"{task}: {fault}" for fault in broken]
        heads[known_head(competition, task)] = HeadRows(PROBABILITIES, image_ids, probs)
    return heads, faults


def _answering(competition: Competition, columns: Sequence[str], head: str | None) -> dict[str, str] | None:
    """Column of labels -> the head it answers; `None` where the columns are classes with their probabilities."""
    if head is not None:
        one = len(columns) == 1 and class_numbers_of(columns, competition.classes(head)) is None
        return {columns[0]: head} if one else None
    known = label_columns(competition)
    answering = {name: known[name] for name in columns if name in known}
    some_heads_classes = any(class_numbers_of(columns, competition.classes(one)) for one in heads_of(competition))
    return answering if answering and (len(answering) == len(columns) or not some_heads_classes) else None


def _labels(
    competition: Competition,
    image_ids: tuple[str, ...],
    columns: Mapping[str, Sequence[str]],
    answering: Mapping[str, str],
    head: str | None,
) -> tuple[dict[str, HeadRows], list[str]]:
    """What columns of labels say, as one-hot rows, and what is wrong with them."""
    faults = unknown_columns([name for name in columns if name not in answering], label_columns(competition))
    if head is not None and (other := next(iter(answering))) in competition.tasks and other != head:
        faults.append(f"column {other} answers {other}, and --task says {head}; leave --task out")
    heads: dict[str, HeadRows] = {}
    for name, task in answering.items():
        submitted = head is None and name in competition.submission.answers
        numbers, wrong = _numbers(columns[name], competition.classes(task), competition.submission.values if submitted else None)
        faults += [f"column {name}: {fault}" for fault in wrong]
        probs = np.eye(len(competition.classes(task)), dtype=np.float16)[numbers]
        if task in heads and not np.array_equal(heads[task].probs, probs):
            faults.append(f"column {name}: it answers {task} differently from another column of the same task")
        heads[task] = HeadRows(LABELS, image_ids, probs)
    return heads, faults


def _numbers(cells: Sequence[str], classes: Sequence[str], values: str | None) -> tuple[NDArray[np.int64], list[str]]:
    """Class numbers of cells that are written as the competition says; all as names or all as numbers where it says nothing."""
    if values is not None:
        return class_numbers(cells, classes, values)
    readings = [class_numbers(cells, classes, written) for written in ("name", "index")]
    return min(readings, key=lambda reading: int((reading[0] < 0).sum()))


def _probabilities(
    competition: Competition, image_ids: tuple[str, ...], columns: Mapping[str, Sequence[str]], head: str | None
) -> tuple[dict[str, HeadRows], list[str]]:
    """What columns of probabilities say, and what is wrong with them; a row with an unreadable cell is told of once."""
    answered, class_numbers, faults = head_of(competition, list(columns), head)
    if answered is None:
        return {}, faults
    numbers, readable = np.zeros((len(image_ids), len(columns))), np.ones(len(image_ids), dtype=bool)
    for position, (name, cells) in enumerate(columns.items()):
        numbers[:, position], wrong = floats(cells)
        readable[wrong] = False
        if wrong:
            faults.append(f"column {name}: probabilities must be numbers, got {cells[wrong[0]][:40]!r} ({len(wrong)} rows)")
    probs, broken = rounded(image_ids, placed(numbers, class_numbers, len(competition.classes(answered))), readable)
    return {answered: HeadRows(PROBABILITIES, image_ids, probs)}, few(faults, "columns with texts that are no numbers") + broken


FILE_KINDS: dict[str, Callable[[Path, Competition, str | None], FileContent]] = {".csv": _read_csv, ".npz": read_npz}
