"""Which head (a task, or the composed label) a file from outside answers, told by the names of its columns or classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Competition
from competitions.manifest import LABEL
from ledger.imports import PROBABILITIES
from submissions.external.probabilities import places_of, rounded
from system.errors import UserError, unknown


@dataclass(frozen=True)
class Outside:
    """What a file says of one head.

    Attributes:
        kind: `labels` or `probabilities`.
        image_ids: N different ids, in the file's order.
        probs: `(N, C) float16`, in the order of the head's classes.
    """

    kind: str
    image_ids: tuple[str, ...]
    probs: NDArray[np.float16]


Found: TypeAlias = tuple[dict[str, Outside], list[str]]
"""Head -> what is said of it, and what is wrong with the file."""


def heads_of(competition: Competition) -> tuple[str, ...]:
    """What files may answer: the tasks, and the label where it is composed of several."""
    return (*competition.tasks, *([LABEL] if len(competition.composed) > 1 else []))


def known_head(competition: Competition, name: str) -> str:
    """The head called `name`; the label of a single task is that task.

    Raises:
        UserError: There is none.
    """
    heads = heads_of(competition)
    if name == LABEL and LABEL not in heads:
        return competition.composed[0]
    if name not in heads:
        raise UserError(unknown("task", name, heads))
    return name


def label_columns(competition: Competition) -> dict[str, str]:
    heads = heads_of(competition)
    own = {name: known_head(competition, task) for name, task in competition.submission.answers.items()}
    return {**{name: name for name in heads}, LABEL: known_head(competition, LABEL), **own}


def head_of(competition: Competition, columns: Sequence[str], head: str | None) -> tuple[str | None, list[int], list[str]]:
    """The one head whose classes all of these columns are, their class numbers, and why there is no such head."""
    heads = heads_of(competition) if head is None else (head,)
    fits = {name: places for name in heads if (places := places_of(columns, competition.classes(name))) is not None}
    if len(fits) == 1:
        ((told, places),) = fits.items()
        return told, places, []
    if fits:
        return None, [], [f"its columns may be classes of {' or of '.join(fits)}; say which with --task"]
    known = {name: set(competition.classes(name)) for name in heads}
    nearest = max(heads, key=lambda name: len(known[name].intersection(columns)))
    strange = [name for name in columns if name not in known[nearest]]
    numbered = [name for name in strange if name.isdecimal()]
    if numbered and len(numbered) == len(columns):
        last = max(len(classes) for classes in known.values()) - 1
        return None, [], [f"columns that are class numbers must be 0..{last}, got {', '.join(numbered)}"]
    return None, [], [unknown_column(name, [*competition.classes(nearest), *label_columns(competition)]) for name in strange]


def unknown_column(name: str, known: Sequence[str] | Mapping[str, str]) -> str:
    if not name:
        return "a column has no name; pandas writes its index so: save with index=False"
    return unknown("column", name, known)


def as_found(
    competition: Competition, head: str, image_ids: tuple[str, ...], numbers: NDArray[np.float64], faults: list[str]
) -> Found:
    probs, wrong = rounded(image_ids, numbers)
    return {head: Outside(PROBABILITIES, image_ids, probs)}, faults or wrong
