"""A file from outside Podium -> per head that it answers N image ids and float16 probabilities `(N, C)`.

    submission CSV    id column, and the competition's own headers, or tasks' names, with a class in each cell   -> one-hot rows
    probability CSV   id column, and a column per class, by name or number                                       -> rows as they are
    .npz              image_ids (N) text, probs (N, C), perhaps classes (C) text                                 -> rows as they are

Rows and columns may stand in any order, a class without a column has probability 0, a byte-order mark and CRLF are tolerated. What a file
says of the composed label is kept as that: whoever loads it sums it to its tasks (`competitions.labels.decompose_probs`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Competition
from ledger.imports import LABELS
from submissions.external.heads import Found, Outside, as_found, head_of, heads_of, known_head, label_columns, unknown_column
from submissions.external.npz_file import read_npz
from submissions.external.probabilities import placed, places_of
from submissions.tables import class_numbers, id_faults, read_table
from system.errors import UserError, unknown

ID_COLUMN = "image_id"
"""Known beside the id column of the competition's own file."""


def read_outside(path: Path, competition: Competition, head: str | None = None) -> dict[str, Outside]:
    """Read a file that may vote.

    Args:
        path: A `.csv` or `.npz` file.
        competition: What is asked; its submission complete (`Prepared.competition`).
        head: The task, or `label`, that the file answers; where it is `None` the columns must say it.

    Raises:
        UserError: Naming every fault, each beginning with the file's name.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path.name}: {unknown('kind of file', path.suffix, READERS)}")
    found, faults = reader(path, competition, None if head is None else known_head(competition, head))
    if faults:
        raise UserError(*(f"{path.name}: {fault}" for fault in faults))
    return found


def _read_csv(path: Path, competition: Competition, head: str | None) -> Found:
    header, rows, faults = read_table(path)
    columns = dict(zip(header, zip(*rows, strict=True) if rows else ((),) * len(header), strict=False))
    wanted = dict.fromkeys((competition.submission.id_column, ID_COLUMN))
    id_column = next((name for name in wanted if name in columns), None)
    if id_column is None:
        faults.insert(0, f"the column of the photos' ids is missing; it must be called {' or '.join(wanted)}")
    image_ids = columns.pop(id_column or next(iter(columns), ""), ())
    faults += id_faults(image_ids) if id_column else []
    if not columns:
        return {}, [*faults, "it answers nothing: there is no column beside that of the ids"]
    answering = _answering(competition, list(columns), head)
    read = _labels if answering is not None else _probabilities
    found, wrong = read(competition, image_ids, columns, answering or {}, head)
    return found, faults + wrong


def _answering(competition: Competition, columns: Sequence[str], head: str | None) -> dict[str, str] | None:
    """Column of labels -> the head it answers; `None` where the columns are classes with their probabilities."""
    if head is not None:
        one = len(columns) == 1 and places_of(columns, competition.classes(head)) is None
        return {columns[0]: head} if one else None
    known = label_columns(competition)
    answering = {name: known[name] for name in columns if name in known}
    some_heads_classes = any(places_of(columns, competition.classes(one)) for one in heads_of(competition))
    return answering if answering and (len(answering) == len(columns) or not some_heads_classes) else None


def _labels(
    competition: Competition,
    image_ids: tuple[str, ...],
    columns: Mapping[str, Sequence[str]],
    answering: Mapping[str, str],
    head: str | None,
) -> Found:
    known = label_columns(competition)
    faults = [unknown_column(name, known) for name in columns if name not in answering]
    if head is not None and (other := next(iter(answering))) in competition.tasks and other != head:
        faults.append(f"column {other} answers {other}, and --task says {head}; leave --task out")
    found: dict[str, Outside] = {}
    for name, task in answering.items():
        own = head is None and name in competition.submission.answers
        numbers, wrong = _numbers(columns[name], competition.classes(task), competition.submission.values if own else None)
        faults += [f"column {name}: {fault}" for fault in wrong]
        probs = np.eye(len(competition.classes(task)), dtype=np.float16)[numbers]
        if task in found and not np.array_equal(found[task].probs, probs):
            faults.append(f"column {name}: it answers {task} differently from another column of the same task")
        found[task] = Outside(LABELS, image_ids, probs)
    return found, faults


def _numbers(cells: Sequence[str], classes: Sequence[str], values: str | None) -> tuple[NDArray[np.int64], list[str]]:
    """Class numbers of cells that are written as the competition says; all as names or all as numbers where it says nothing."""
    if values is not None:
        return class_numbers(cells, classes, values)
    ways = [class_numbers(cells, classes, way) for way in ("name", "index")]
    return min(ways, key=lambda way: int((way[0] < 0).sum()))


def _probabilities(
    competition: Competition,
    image_ids: tuple[str, ...],
    columns: Mapping[str, Sequence[str]],
    answering: Mapping[str, str],
    head: str | None,
) -> Found:
    told, places, faults = head_of(competition, list(columns), head)
    if told is None:
        return {}, faults
    numbers = np.full((len(image_ids), len(columns)), np.nan)
    for place, (name, cells) in enumerate(columns.items()):
        numbers[:, place], wrong = _floats(cells)
        faults += [f"column {name}: probabilities must be numbers, got {wrong[0][:40]!r} ({len(wrong)} rows)"] if wrong else []
    return as_found(competition, told, image_ids, placed(numbers, places, len(competition.classes(told))), faults)


def _floats(cells: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
    """Numbers `(N,)`, and the texts that are none; those count as 0, so that they are told of once."""
    found, wrong = np.zeros(len(cells)), []
    for row, cell in enumerate(cells):
        try:
            found[row] = float(cell)
        except ValueError:
            wrong.append(cell)
    return found, wrong


READERS: dict[str, Callable[[Path, Competition, str | None], Found]] = {".csv": _read_csv, ".npz": read_npz}
