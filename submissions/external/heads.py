"""Which head (a task, or the composed label) a file from outside answers, told by the names of its columns or classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.answers import ANSWERS
from competitions.competition import Competition
from competitions.manifest import LABEL
from submissions.external.probabilities import class_numbers_of
from system.errors import EXAMPLES, UserError, listed, unknown


@dataclass(frozen=True)
class HeadRows:
    """What a file says of one head.

    Attributes:
        kind: `labels` or `probabilities`.
        image_ids: N different ids, in the file's order.
        probs: `(N, C) float16`, in the order of the head's classes.
    """

    kind: str
    image_ids: tuple[str, ...]
    probs: NDArray[np.float16]


@dataclass(frozen=True)
class FileContent:
    """What a file says, as far as it can be read.

    Attributes:
        heads: Head -> its rows; where there are faults they hold what is readable, and are not to be kept.
        image_ids: The N ids of its rows.
        faults: Everything that is wrong with it, one sentence each.
        complete: Whether all of its rows and heads could be read, so that a photo that is not among them is not answered.
    """

    heads: Mapping[str, HeadRows]
    image_ids: tuple[str, ...]
    faults: tuple[str, ...] = ()
    complete: bool = True


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
    """The columns that hold labels -> the head they answer: named like a head, or as in the competition's own file."""
    handed_in = [column for column in competition.submission.columns if ANSWERS[column.form].decides]
    submitted = {column.header: known_head(competition, column.task) for column in handed_in}
    return {**{name: name for name in heads_of(competition)}, LABEL: known_head(competition, LABEL), **submitted}


def head_of(competition: Competition, columns: Sequence[str], head: str | None) -> tuple[str | None, list[int], list[str]]:
    """The one head whose classes all of these columns are, their class numbers, and why there is no such head."""
    heads = heads_of(competition) if head is None else (head,)
    fits = {
        name: class_numbers
        for name in heads
        if (class_numbers := class_numbers_of(columns, competition.classes(name))) is not None
    }
    if len(fits) == 1:
        ((only, class_numbers),) = fits.items()
        return only, class_numbers, []
    if fits:
        return None, [], [f"its columns may be classes of {' or of '.join(fits)}; say which with --task"]
    known = {name: set(competition.classes(name)) for name in heads}
    nearest = max(heads, key=lambda name: len(known[name].intersection(columns)))
    strange = [name for name in columns if name not in known[nearest]]
    numbered = [name for name in strange if name.isdecimal()]
    if numbered and len(numbered) == len(columns):
        last = max(len(classes) for classes in known.values()) - 1
        return None, [], [f"columns that are class numbers must be 0..{last}, got {listed(numbered)}"]
    return None, [], unknown_columns(strange, [*competition.classes(nearest), *label_columns(competition)])


def unknown_columns(names: Sequence[str], known: Sequence[str] | Mapping[str, str]) -> list[str]:
    """A sentence for each column that is none of the known ones; the first of many."""
    sentences = [
        unknown("column", name, known) if name else "a column has no name; pandas writes its index so: save with index=False"
        for name in names[:EXAMPLES]
    ]
    return sentences + _more(len(names), "unknown columns")


def few(faults: Sequence[str], what: str) -> list[str]:
    """The first `EXAMPLES` faults, and how many more there are: a file of a thousand columns may break one rule in each."""
    return [*faults[:EXAMPLES], *_more(len(faults), what)]


def _more(total: int, what: str) -> list[str]:
    return [f"and {total - EXAMPLES} more {what}"] if total > EXAMPLES else []
