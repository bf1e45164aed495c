"""The manifest: one row per photo, what is known about it, and its labels as class numbers.

It is the one form in which every reader's data reach splits, cache, training and submissions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROLES = ("train", "test", "unlabelled")
LABEL, SEPARATOR = "label", "/"
"""The composed label, and what stands between the classes it is made of."""
RESERVED = ("image_id", "path", "group", "role", "fold", "label", "index", "features", "all")


@dataclass(frozen=True)
class Manifest:
    """N photos in the source's own order.

    Attributes:
        image_ids: N unique texts.
        paths: N places relative to the competition's root, with `/`; a member of an archive reads `images.npz#train/0`.
        groups: N texts; photos of one group must not be split. A photo without a group is its own.
        roles: N of `ROLES`.
        labels: Per task an `int16 (N,)` of class numbers, -1 where the photo has no label.
    """

    image_ids: tuple[str, ...]
    paths: tuple[str, ...]
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    labels: dict[str, NDArray[np.int16]]

    def __len__(self) -> int:
        return len(self.image_ids)

    def rows(self, role: str) -> NDArray[np.int64]:
        """The row numbers `(n,) int64` of the photos with this role, in manifest order."""
        return np.flatnonzero(np.array([r == role for r in self.roles], dtype=bool))
