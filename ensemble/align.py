"""Who votes, and their rows brought together by ids: `(ids, array)` per voter -> one array in the wanted order.

This is the border: behind it rows mean the same photo everywhere, and nothing is joined by position before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.votes import Floats
from system.errors import UserError

DAMAGED = "the predictions are damaged, compute them again"
Rows = tuple[Sequence[str], Floats]  # image ids and their probabilities (N, C)


@dataclass(frozen=True, order=True)
class Voter:
    """One voice: the trial `member` looking through `view`."""

    member: str
    view: str = "identity"

    @property
    def key(self) -> tuple[str, str]:
        """`(trial_id, view)`, the name its probabilities go by."""
        return self.member, self.view

    def __str__(self) -> str:
        return f"{self.member} ({self.view})"


def align(ids_wanted: Sequence[str], ids_have: Sequence[str], array: NDArray[Any], *, member: str) -> NDArray[Any]:
    """The rows of `array` for `ids_wanted`, in their order.

    Args:
        ids_wanted: n image ids.
        ids_have: N different image ids, one per row.
        array: `(N, ...)` of any dtype.
        member: Whose rows they are, for messages.

    Returns:
        `(n, ...)`; `array` itself, not a copy, where the ids agree already.

    Raises:
        UserError: Photos are missing, an id stands twice, or ids and rows differ in number.
    """
    if len(ids_have) != len(array):
        raise UserError(f"{member}: {len(ids_have)} image ids for {len(array)} rows; {DAMAGED}")
    taken = _positions(tuple(ids_wanted), tuple(ids_have))
    if taken is None:
        return array
    if isinstance(taken, str):
        raise UserError(f"{member}: {taken}")
    rows: NDArray[Any] = array[taken]
    return rows


@lru_cache(maxsize=16)  # most trials have the same photos
def _positions(wanted: tuple[str, ...], have: tuple[str, ...]) -> NDArray[np.int64] | str | None:
    """Where the wanted ids stand, `int64 (n,)`; `None` where both are the same, or in words why they cannot be brought together."""
    row_of = {image_id: row for row, image_id in enumerate(have)}
    if len(row_of) != len(have):
        return f"{len(have) - len(row_of)} image ids stand twice; {DAMAGED}"
    if wanted == have:
        return None
    missing = [image_id for image_id in wanted if image_id not in row_of]
    if missing:
        return f"{len(missing)} of {len(wanted)} photos have no prediction, among them {', '.join(missing[:3])}"
    taken = np.array([row_of[image_id] for image_id in wanted], dtype=np.int64)
    taken.flags.writeable = False
    return taken


def stack(ids_wanted: Sequence[str], predictions: Mapping[str, Rows]) -> Floats:
    """All voters' probabilities in one array, voters in the mapping's order.

    Args:
        ids_wanted: N image ids.
        predictions: Voter's name -> image ids and probabilities `float (N', C)`, at least one voter.

    Returns:
        `float (K, N, C)` of the voters' dtype.

    Raises:
        UserError: Naming every voter whose photos are missing or whose number of classes is not the first one's.
    """
    aligned: list[Floats] = []
    faults: list[str] = []
    for name, (ids, array) in predictions.items():
        try:
            aligned.append(align(ids_wanted, ids, array, member=name))
        except UserError as error:
            faults += error.faults
    widths = {name: array.shape[1:] for name, (_, array) in predictions.items()}
    first = next(iter(widths.values()))
    others = [(name, width) for name, width in widths.items() if width != first]
    faults += [f"{name}: rows have the shape {width}, those of the first member {first}" for name, width in others]
    if faults:
        raise UserError(*faults)
    return np.stack(aligned)


def shared_photos(ids_by_member: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The photos that every member has, sorted: the only ones on which members may be compared.

    Raises:
        UserError: Naming the member with which nothing is left to compare on.
    """
    shared: set[str] | None = None
    for member, ids in sorted(ids_by_member.items()):
        shared = set(ids) if shared is None else shared & set(ids)
        if not shared:
            raise UserError(f"{member} shares no photo with the other members; compare only members of the same fold or split")
    return tuple(sorted(shared or ()))
