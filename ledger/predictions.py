"""Cached probabilities: per (weights, part, head, view) one float16 array, and per part the photos of its rows.

`predictions/<weights>/validation.photos.tsv` (id, pixel hash), `predictions/<weights>/validation.age.hflip.npy`. No labels inside.
The same forward pass is never run twice, and arrays meet others by their ids alone.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.files import replace_bytes

Photos: TypeAlias = Sequence[tuple[str, str]]
"""N pairs of image id and pixel hash (`""` for a photo that could not be decoded)."""

PARTS, OUTSIDE = ("validation", "test"), "outside"
"""The parts of every trial, and one of those on a subset: the rest of its fold."""
WEIGHTS_LENGTH = 16
PHOTOS_END = ".photos.tsv"


@dataclass(frozen=True)
class Predictions:
    """The probabilities of one set of weights.

    Attributes:
        folder: `<trial>/predictions/<first 16 digits of the weights' hash>`.
    """

    folder: Path

    def write(self, part: str, head: str, view: str, photos: Photos, probs: NDArray[np.floating]) -> None:
        """Keep `probs (N, C)` as float16 under its part, head and view.

        Args:
            part: One of `PARTS`.
            head: The task the columns belong to.
            view: The TTA transform the photos went through.
            photos: N pairs of image id and pixel hash. Where the part was kept for other photos, or other pixels under the
                same ids, all arrays of the part are dropped first: they answer another question.
            probs: `(N, C)`, rows in the order of `photos`.

        Raises:
            ValueError: The numbers of photos and rows differ.
        """
        if probs.shape[0] != len(photos):
            raise ValueError(f"{part} has {len(photos)} photos and {probs.shape[0]} rows")
        if self._photos(part) != _listing(photos):
            for stale in self.folder.glob(f"{part}.*.npy"):
                stale.unlink()
            replace_bytes(self.folder / f"{part}.photos.tsv", _listing(photos), durable=False)
        replace_bytes(self._array(part, head, view), npy_bytes(probs.astype(np.float16)), durable=False)

    def missing(self, part: str, heads: Iterable[str], views: Iterable[str], photos: Photos) -> list[str]:
        """The views that are not there for every head and exactly these photos with these pixels."""
        views = list(views)
        if self._photos(part) != _listing(photos):
            return views
        return [view for view in views if not all(self._array(part, head, view).exists() for head in heads)]

    def ids(self, part: str) -> tuple[str, ...]:
        """The image ids of the part's rows, in order."""
        lines = (self._photos(part) or b"").decode().split("\n")[:-1]
        return tuple(line.rpartition("\t")[0] for line in lines)

    def read(self, part: str, head: str, view: str) -> tuple[tuple[str, ...], NDArray[np.float16]]:
        """The ids (N) and the probabilities `(N, C) float16`.

        Raises:
            ValueError: The array is damaged or does not fit its ids.
        """
        path = self._array(part, head, view)
        probs = read_npy(path)
        ids = self.ids(part)
        if probs.dtype != np.float16 or probs.ndim != 2 or len(probs) != len(ids):
            raise ValueError(f"{path.name} does not fit its {len(ids)} ids; delete it and export again to compute it anew")
        return ids, probs

    def _array(self, part: str, head: str, view: str) -> Path:
        return self.folder / f"{part}.{head}.{view}.npy"

    def _photos(self, part: str) -> bytes | None:
        try:
            return (self.folder / f"{part}.photos.tsv").read_bytes()
        except FileNotFoundError:
            return None


def _listing(photos: Photos) -> bytes:
    return "".join(f"{image_id}\t{pixels}\n" for image_id, pixels in photos).encode()


def predictions_of(folder: Path, weights: str) -> Predictions:
    """The predictions below a trial's `predictions` folder that belong to the weights with this hash."""
    return Predictions(folder / weights[:WEIGHTS_LENGTH])


def npy_bytes(array: NDArray[np.generic]) -> bytes:
    """The array as the bytes of an `.npy` file; the same array gives the same bytes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def read_npy(path: Path) -> NDArray[np.float16]:
    """The array in an `.npy` file.

    Raises:
        ValueError: The file is damaged; the message names it.
    """
    data = path.read_bytes()
    try:
        array: NDArray[np.float16] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, so a flipped byte may raise nearly anything
        raise ValueError(f"{path.name} is damaged ({error}); delete it and export again to compute it anew") from error
    return array
