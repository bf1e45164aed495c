"""Answers and ids as people wrote them in a table -> class numbers `(N,)`, and one sentence for each thing that is wrong."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from system.errors import EXAMPLES, listed, unknown

Ints = NDArray[np.int64]
_NUMBER = re.compile(r"[0-9]{1,9}")


def class_numbers(cells: Sequence[str], classes: Sequence[str], values: str) -> tuple[Ints, list[str]]:
    """Class numbers `int64 (N,)`, -1 for a cell that is no class, and a sentence for each such text."""
    known = {name: number for number, name in enumerate(classes)} if values == "name" else {}
    last = len(classes) - 1
    for cell in dict.fromkeys(cells) if values == "index" else ():
        if _NUMBER.fullmatch(cell) and int(cell) <= last:
            known[cell] = int(cell)
    if values == "name" and (other := {cell for cell in cells if cell not in known}):
        from system.texts import recognise  # here, so that a bundle opens without it

        spelled = recognise(classes)
        known |= {cell: known[name] for cell in other if (name := spelled(cell)) is not None}
    strange = Counter(cell for cell in cells if cell not in known)
    faults = []
    for cell, count in strange.most_common(EXAMPLES):
        fault = (
            unknown("class", cell, list(classes)) if values == "name" else f"class numbers must be 0..{last}, got {cell[:40]!r}"
        )
        faults.append(f"{fault} ({count} rows)")
    faults += [f"{len(strange) - EXAMPLES} more texts are no class"] if len(strange) > EXAMPLES else []
    return np.array([known.get(cell, -1) for cell in cells], dtype=np.int64), faults


def id_faults(image_ids: Sequence[str]) -> list[str]:
    """What is wrong with the N ids of a file's rows."""
    twice = [image_id for image_id, count in Counter(image_ids).items() if count > 1]
    faults = [] if len(image_ids) else ["there is no photo; a submission has one row for each test photo"]
    faults += [f"{len(twice)} image ids stand more than once, among them {listed(twice)}"] if twice else []
    if any("\ud800" <= sign <= "\udfff" for image_id in image_ids for sign in image_id):
        from system.texts import utf8_faults  # here, so that a bundle opens without it

        faults += utf8_faults(image_ids, "image ids")
    return faults + (["an image id is empty"] if "" in image_ids else [])
