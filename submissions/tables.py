"""CSV text that people wrote -> header, rows and class numbers `(N,)`, and one sentence for each thing that is wrong."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from system.errors import UserError, unknown

Ints = NDArray[np.int64]
SHOWN = 5
"""Examples per fault."""
_NUMBER = re.compile(r"[0-9]{1,9}")


def read_table(path: Path) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, rows, and what is wrong with their form; rows of another length than the header are left out.

    A byte-order mark, CRLF and empty lines are tolerated.

    Raises:
        UserError: There is no such file, or it is no CSV file in UTF-8.
    """
    try:
        lines = list(_lines(path.read_bytes().decode("utf-8-sig")))
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8 text ({error.reason} at byte {error.start}); save it as CSV UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path.name} is not a CSV file: {error}") from error
    header = lines[0][1] if lines else []
    faults = [f"column {name!r} stands {count} times" for name, count in Counter(header).items() if count > 1]
    torn = [str(line) for line, cells in lines[1:] if len(cells) != len(header)]
    faults += [f"{len(torn)} rows do not have {len(header)} cells, among them lines {some(torn)}"] if torn else []
    return header, [cells for _, cells in lines[1:] if len(cells) == len(header)], faults


def class_numbers(cells: Sequence[str], classes: Sequence[str], values: str) -> tuple[Ints, list[str]]:
    """Class numbers `int64 (N,)`, -1 for a cell that is no class, and a sentence for each such text."""
    known = {name: number for number, name in enumerate(classes)} if values == "name" else {}
    last = len(classes) - 1
    for cell in dict.fromkeys(cells) if values == "index" else ():
        if _NUMBER.fullmatch(cell) and int(cell) <= last:
            known[cell] = int(cell)
    strange = Counter(cell for cell in cells if cell not in known)
    faults = []
    for cell, count in strange.most_common(SHOWN):
        fault = (
            unknown("class", cell, list(classes)) if values == "name" else f"class numbers must be 0..{last}, got {cell[:40]!r}"
        )
        faults.append(f"{fault} ({count} rows)")
    faults += [f"{len(strange) - SHOWN} more texts are no class"] if len(strange) > SHOWN else []
    return np.array([known.get(cell, -1) for cell in cells], dtype=np.int64), faults


def id_faults(image_ids: Sequence[str]) -> list[str]:
    """What is wrong with the N ids of a file's rows."""
    twice = [image_id for image_id, count in Counter(image_ids).items() if count > 1]
    faults = [] if len(image_ids) else ["there is no photo; a submission has one row for each test photo"]
    faults += [f"{len(twice)} image ids stand more than once, among them {some(twice)}"] if twice else []
    strange = [repr(image_id) for image_id in image_ids if any("\ud800" <= sign <= "\udfff" for sign in image_id)]
    faults += [f"image ids must be UTF-8 text, {len(strange)} are not: {some(strange)}; rename these photos"] if strange else []
    return faults + (["an image id is empty"] if "" in image_ids else [])


def some(examples: Sequence[str], total: int | None = None) -> str:
    """Up to `SHOWN` examples, and how many more there are."""
    total = len(examples) if total is None else total
    return ", ".join(examples[:SHOWN]) + (f" and {total - SHOWN} more" if total > SHOWN else "")


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    return ((reader.line_num, cells) for cells in reader if cells)
