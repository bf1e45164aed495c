"""Cached probabilities: per (weights, part, head, view) one float16 array, and per part the photos of its rows.

`predictions/<weights>/validation.photos.tsv` (id, pixel hash), `predictions/<weights>/validation.age.hflip.npy`. No labels inside.
The same forward pass is never run twice, and arrays meet others by their ids alone.

Behind an array stands its seal, where `np.load` does not look: 8 bytes that say so, a hash of the array and a hash of the list of photos
its rows belong to. A file that ends with its array was written before there were seals.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.trials import Record, TrialFolder
from system.files import replace_bytes, sweep
from system.quarantine import quarantine

Photos: TypeAlias = Sequence[tuple[str, str]]
"""N pairs of image id and pixel hash (`""` for a photo that could not be decoded)."""

PARTS, OUTSIDE = ("validation", "test"), "outside"
"""The parts of every trial, and one of those on a subset: the rest of its fold."""
EPOCHS = "epochs"
"""The folder of a trial's validation probabilities after each epoch."""
WEIGHTS_LENGTH = 16
PHOTOS_END = ".photos.tsv"
SEAL_MARK, SEAL_BYTES = b"\x93PODSEAL", 16
TRAILER_BYTES = len(SEAL_MARK) + 2 * SEAL_BYTES


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
        listing = photo_list(photos)
        if self._photos(part) != listing:
            self._drop_others(part, listing)
            replace_bytes(self._listing_path(part), listing, durable=False)
        path = self._array(part, head, view)
        if path.exists() and (fault := self.fault(part, head, view)):
            quarantine(self._root, path, fault, did="computed again")
        replace_bytes(path, sealed_npy(probs.astype(np.float16), listing), durable=False)

    def missing(self, part: str, heads: Iterable[str], views: Iterable[str], photos: Photos) -> list[str]:
        """The views that are not there, whole, for every head and exactly these photos with these pixels. Reads what it finds."""
        views, heads = list(views), list(heads)
        if self._photos(part) != photo_list(photos):
            return views
        return [view for view in views if any(self.fault(part, head, view) for head in heads)]

    def fault(self, part: str, head: str, view: str) -> str | None:
        """What is wrong with an array, in words; `None` where it is whole."""
        try:
            self.read(part, head, view)
        except (OSError, ValueError) as error:
            return str(error)
        return None

    def sweep(self) -> None:
        """Remove what killed writers left beside these files."""
        sweep(self.folder)

    def ids(self, part: str) -> tuple[str, ...]:
        """The image ids of the part's rows, in order."""
        return _ids(self._photos(part) or b"")

    def photos(self, part: str) -> tuple[tuple[str, str], ...]:
        """Image id and pixel hash of the part's rows, in order."""
        return _pairs(self._photos(part) or b"")

    def read(self, part: str, head: str, view: str) -> tuple[tuple[str, ...], NDArray[np.float16]]:
        """The ids (N) and the probabilities `(N, C) float16`.

        Raises:
            ValueError: The array is damaged or does not fit its ids.
        """
        path, listing = self._array(part, head, view), self._photos(part) or b""
        probs, rows_of = _opened(path)
        ids = _ids(listing)
        if rows_of not in (None, _digest_of(listing)):
            raise ValueError(f"{part}{PHOTOS_END} is not the list that the rows of {path.name} belong to; export again")
        if probs.dtype != np.float16 or probs.ndim != 2 or len(probs) != len(ids):
            raise ValueError(f"{path.name} does not fit its {len(ids)} ids; delete it and export again to compute it anew")
        return ids, probs

    def _drop_others(self, part: str, listing: bytes) -> None:
        """Drop the arrays of other photos. Where some are of these, it is the list that was damaged, and they stay."""
        ours = {path for path in self.folder.glob(f"{part}.*.npy") if _made_for(path, listing)}
        for stale in set(self.folder.glob(f"{part}.*.npy")) - ours:
            stale.unlink(missing_ok=True)
        if ours and self._listing_path(part).exists():
            quarantine(self._root, self._listing_path(part), "it does not fit its arrays", did="written again")

    @property
    def _root(self) -> Path:
        """The competition's folder: these stand in `<root>/trials/<id>/predictions/<weights>`."""
        return self.folder.parents[3]

    def _listing_path(self, part: str) -> Path:
        return self.folder / f"{part}{PHOTOS_END}"

    def _array(self, part: str, head: str, view: str) -> Path:
        return self.folder / f"{part}.{head}.{view}.npy"

    def _photos(self, part: str) -> bytes | None:
        try:
            return self._listing_path(part).read_bytes()
        except FileNotFoundError:
            return None


@dataclass(frozen=True)
class ReadOnce(Predictions):
    """As `Predictions`, but a whole array and a list of photos are read once, until they are written here.

    What is missing or damaged is looked at again each time: somebody may have computed it meanwhile.
    """

    arrays: dict[tuple[str, str, str], tuple[tuple[str, ...], NDArray[np.float16]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    listings: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def read(self, part: str, head: str, view: str) -> tuple[tuple[str, ...], NDArray[np.float16]]:
        """See `Predictions.read`; the array is to be read only."""
        if (part, head, view) not in self.arrays:
            self.arrays[part, head, view] = super().read(part, head, view)
        return self.arrays[part, head, view]

    def write(self, part: str, head: str, view: str, photos: Photos, probs: NDArray[np.floating]) -> None:
        """See `Predictions.write`."""
        self.arrays.pop((part, head, view), None)
        super().write(part, head, view, photos, probs)

    def _drop_others(self, part: str, listing: bytes) -> None:
        self.listings.pop(part, None)
        for key in [key for key in self.arrays if key[0] == part]:
            del self.arrays[key]
        super()._drop_others(part, listing)

    def _photos(self, part: str) -> bytes | None:
        listing = self.listings.get(part)
        if listing is None and (listing := super()._photos(part)) is not None:
            self.listings[part] = listing
        return listing


def photo_list(photos: Photos) -> bytes:
    """The bytes that a list of photos is kept as, and that seals are made over."""
    return _listed(tuple(photos))


@lru_cache(maxsize=8)  # hundreds of trials list the same photos: to parse and write them anew took half of an export's reading
def _listed(photos: tuple[tuple[str, str], ...]) -> bytes:
    return "".join(f"{image_id}\t{pixels}\n" for image_id, pixels in photos).encode()


@lru_cache(maxsize=8)
def _digest_of(listing: bytes) -> bytes:
    return _digest(listing)


@lru_cache(maxsize=8)
def _pairs(listing: bytes) -> tuple[tuple[str, str], ...]:
    lines = (line.rpartition("\t") for line in listing.decode().split("\n")[:-1])
    return tuple((image_id, pixels) for image_id, _, pixels in lines)


@lru_cache(maxsize=8)
def _ids(listing: bytes) -> tuple[str, ...]:
    return tuple(image_id for image_id, _ in _pairs(listing))


def predictions_of(folder: Path, weights: str) -> Predictions:
    """The predictions below a trial's `predictions` folder that belong to the weights with this hash."""
    return Predictions(folder / weights[:WEIGHTS_LENGTH])


def best_predictions(folder: TrialFolder, record: Record) -> Predictions:
    """The cached predictions of the weights that the trial kept: its best epoch's, or the last one's of a trial on all data.

    Raises:
        ValueError: The trial has kept no weights.
    """
    if record.weights is None:
        raise ValueError(f"trial {record.trial_id} has kept no weights, so no predictions")
    return predictions_of(folder.predictions, record.weights)


def npy_bytes(array: NDArray[np.generic]) -> bytes:
    """The array as the bytes of an `.npy` file; the same array gives the same bytes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def sealed_npy(array: NDArray[np.generic], listing: bytes) -> bytes:
    """As `npy_bytes`, with a seal behind it.

    Args:
        array: N rows.
        listing: The bytes of the part's list of N photos.
    """
    data = npy_bytes(array)
    return data + SEAL_MARK + _digest(data) + _digest(listing)


def read_sealed_npy(path: Path, listing: bytes) -> NDArray[Any]:
    """The array that `sealed_npy` wrote for these rows.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or its rows are of other photos.
    """
    array, rows_of = _opened(path)
    if rows_of != _digest_of(listing):
        raise ValueError(f"the rows of {path.name} are of other photos")
    return array


def _opened(path: Path) -> tuple[NDArray[Any], bytes | None]:
    """The array in a file, and the hash of the list of photos that its rows belong to, where the file says so."""
    data, rows_of = path.read_bytes(), None
    try:
        if data[-TRAILER_BYTES:].startswith(SEAL_MARK):
            data, seal = data[:-TRAILER_BYTES], data[-TRAILER_BYTES + len(SEAL_MARK) :]
            if seal[:SEAL_BYTES] != _digest(data):
                raise ValueError("it is not what was sealed")
            rows_of = seal[SEAL_BYTES:]
        file = io.BytesIO(data)
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        if file.tell() != len(data):
            raise ValueError("something stands behind the array")
    except Exception as error:  # numpy parses the header as Python, so a flipped byte may raise nearly anything
        raise ValueError(f"{path.name} is damaged ({error}); delete it and export again to compute it anew") from error
    return array, rows_of


def _made_for(path: Path, listing: bytes) -> bool:
    try:
        return _opened(path)[1] == _digest(listing)
    except (OSError, ValueError):
        return False


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=SEAL_BYTES).digest()
