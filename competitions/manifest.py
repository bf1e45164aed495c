"""The manifest: one row per photo, what is known about it, and its labels as class numbers.

It is the one form in which every reader's data reach splits, cache, training and submissions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import PurePosixPath
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

ROLES = ("train", "test", "unlabelled")
LABEL, SEPARATOR = "label", "/"
"""The composed label, and what stands between the classes it is made of."""
MEAN_OF_TASKS = "mean of tasks"
"""Beside the scores of tasks their mean; no task can be called so."""
IDENTITY = "identity"
"""The view that shows a photo as it is."""
RESERVED = ("image_id", "path", "group", "role", "fold", "label", "index", "features", "all")


def composed_names(classes: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The names of the composed classes in order, first task most significant: `masked/female/young`.

    >>> composed_names([["wear", "normal"], ["young", "old"]])
    ('wear/young', 'wear/old', 'normal/young', 'normal/old')
    """
    return tuple(SEPARATOR.join(names) for names in product(*classes))


@dataclass(frozen=True)
class Manifest:
    """N photos in the source's own order.

    Attributes:
        image_ids: N unique texts.
        paths: N places relative to the competition's root, with `/`; a member of an archive reads `images.npz#train/0`.
        groups: N texts; photos of one group must not be split. A photo without a group is its own.
        roles: N of `ROLES`.
        labels: Per task an `int16 (N,)` of class numbers, -1 where the photo has no label.
        given: Column -> N texts, of those that say how the organisers cut; not kept with the photos, whose folds are.
        classes: Task -> its class names, of those whose names were read from the labels.
        notes: What the reader passed over, one sentence each; said once and not kept with the photos.
        units: N texts, what photos that get one answer have in common; none where each photo gets its own.
    """

    image_ids: tuple[str, ...]
    paths: tuple[str, ...]
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    labels: dict[str, NDArray[np.int16]]
    notes: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_ids)

    def rows(self, role: str) -> NDArray[np.int64]:
        """The row numbers `(n,) int64` of the photos with this role, in manifest order."""
        return np.flatnonzero(np.array([r == role for r in self.roles], dtype=bool))

    @property
    def ids_without_endings(self) -> bool:
        """Whether the test photos' ids, or all where none is asked, are their paths from some folder on without the ending."""
        rows = self.rows("test").tolist() or range(len(self))
        pairs = [
            (normalize("NFC", self.image_ids[row]), PurePosixPath(normalize("NFC", self.paths[row].partition("#")[0])))
            for row in rows
        ]
        return all(path.suffix and f"/{path.with_suffix('')}".endswith(f"/{image_id}") for image_id, path in pairs)
