"""Near-duplicates: decoded photos `uint8 (N, S, S, 3)` to pairs of photos of different groups that show the same picture.

Two photos are near when their thumbnails correlate, each channel around its own mean: grey at 8 x 8 by at least `GREY` and in colour
at 16 x 16 by at least `COLOUR`. So another exposure, contrast, compression or size, and a shift by a pixel change little, and two
photos of like things differ: on the demo, five drawings, planted pairs reach 0.974 to 1.000 in colour and any other pair at most 0.942.

Only pairs with nearly equal perceptual hashes are compared. The hash is the signs of the lowest frequencies of the 8 x 8 thumbnail
(a DCT, after Zauner 2010, "pHash"), in two bands of about log2(N) - 2 bits. A sign that differs between two near photos is that of a
frequency close to 0, so in each band a photo asks for its own code and for those with any of its `WEAKEST` weakest signs turned.
On the demo and the clothing set that finds every pair that comparing each photo with each other one finds. The cost grows with N, and
is bounded: where photos are so alike that more than `BUDGET` pairs would be compared, each asks fewer neighbours, and the result says so.

2 cores: 6.6 s for the 70,000 photos of Fashion-MNIST (at least 171,438 pairs: look-alikes), 1 s for 5,756 of clothing (62 pairs, 61 of
them of one sender). So it is done once, when the photos are decoded, and the result is kept beside the cache: attaching reads a small file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import log2

import cv2
import numpy as np
from numpy.typing import NDArray

from competitions.image_cache import ImageCache
from competitions.manifest import Manifest
from competitions.splits import Finding, Folds
from ledger.files import fingerprint, read_json, replace_json

VERSION = 1
GREY, COLOUR = 0.97, 0.96
BANDS, WEAKEST = 2, 5
BUDGET = 1 << 24  # pairs compared in grey
MOST_COLOUR = 200_000  # of them, nearest first, compared in colour
KEPT = 200  # more pairs than this are look-alikes: the photos are of one kind, and a list helps nobody
FLAT = 2.0  # grey levels: a thumbnail that varies less is noise, and noise correlates with anything
CHUNK = 1 << 16
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class NearDuplicates:
    """Photos of different groups, at least one of them for training, that show the same picture without equal pixels.

    Attributes:
        pairs: Up to `KEPT` pairs of photo ids, the nearest first, each sorted.
        likeness: Their correlations in colour.
        count: How many pairs were found.
        complete: False where the photos are so alike that not all could be compared; `count` is then less than there are.
    """

    pairs: tuple[tuple[str, str], ...]
    likeness: tuple[float, ...]
    count: int
    complete: bool

    @property
    def are_kinds(self) -> bool:
        """Whether there are so many that they are not copies but photos of like things."""
        return self.count > KEPT


def open_or_find(cache: ImageCache, manifest: Manifest) -> NearDuplicates:
    """The near-duplicates among the photos of this cache, found once: the result is kept beside the cache.

    Args:
        cache: All photos of `manifest`, decoded.
        manifest: N photos; test photos are compared with training photos only, unlabelled ones with none.
    """
    sides = fingerprint([VERSION, manifest.groups, manifest.roles])
    path = cache.path.with_name(f"{cache.path.stem}.near-{sides}.json")
    try:
        kept = read_json(path)
        pairs = tuple((a, b) for a, b in kept["pairs"])
        return NearDuplicates(pairs, tuple(kept["likeness"]), kept["count"], kept["complete"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        found = find(cache.images, manifest, cache.hashes)
    value = {"pairs": found.pairs, "likeness": found.likeness, "count": found.count, "complete": found.complete}
    replace_json(path, value, durable=False)
    return found


def find(images: NDArray[np.uint8], manifest: Manifest, pixels: Sequence[str]) -> NearDuplicates:
    """The near-duplicates among N photos `(N, S, S, 3)` with these pixel hashes, empty for a broken photo; in any order of rows."""
    ids = manifest.image_ids
    asked = [row for row in range(len(ids)) if pixels[row] and manifest.roles[row] != "unlabelled"]
    rows = np.array(sorted(asked, key=lambda row: ids[row]), dtype=np.int64)
    number = {group: n for n, group in enumerate(dict.fromkeys(manifest.groups))}
    parts = [number[manifest.groups[row]] if manifest.roles[row] == "train" else -1 for row in rows]
    found, likeness, complete = near_pairs(images[rows], parts)
    names = [(ids[a], ids[b]) for a, b in rows[found].tolist()]
    other = np.array([pixels[a] != pixels[b] for a, b in rows[found].tolist()], dtype=bool)
    kept = np.flatnonzero(other)[:KEPT].tolist()
    return NearDuplicates(
        tuple(names[k] for k in kept), tuple(round(float(likeness[k]), 4) for k in kept), int(other.sum()), complete
    )


def near_pairs(images: NDArray[np.uint8], parts: Sequence[int]) -> tuple[Ints, NDArray[np.float64], bool]:
    """The pairs of near photos with different `parts`, nearest first.

    Args:
        images: `(N, S, S, 3)`.
        parts: N numbers; photos with the same number are not compared.

    Returns:
        Row numbers `(P, 2)`, smaller first; their correlations in colour `(P,)`; whether all pairs with near hashes were compared.
    """
    grey, colour = _thumbnails(images)
    in_grey, in_colour = _Correlation(grey, 1), _Correlation(colour, 3)
    usable = np.flatnonzero(in_grey.norm > FLAT * grey.shape[1] ** 0.5)
    pairs, complete = _compared(usable, grey[usable], np.asarray(parts, dtype=np.int64), in_grey)
    if len(pairs) > MOST_COLOUR:
        pairs, complete = pairs[np.argsort(-in_grey.of(pairs), kind="stable")[:MOST_COLOUR]], False
    likeness = in_colour.of(pairs)
    pairs, likeness = pairs[likeness >= COLOUR], likeness[likeness >= COLOUR]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -likeness))
    return pairs[order], likeness[order], complete


def near_findings(near: NearDuplicates, manifest: Manifest, folds: Folds) -> list[Finding]:
    """One warning per pair that stands in two folds, or in train and test; a single one for a set of look-alikes."""
    if near.are_kinds:
        first, at_least = near.pairs[0], "" if near.complete else "at least "
        text = (
            f"{at_least}{near.count} pairs of photos look alike without being of one group, e.g. {first[0]} and {first[1]}: these "
            "photos are of one kind, so copies among them cannot be told"
        )
        return [Finding("near", first, False, text)]
    return [
        Finding("near", pair, False, f"photos {pair[0]} and {pair[1]} are nearly the same and stand in {here} and {there}")
        for pair, (here, there) in zip(near.pairs, standing(near, manifest, folds), strict=True)
        if here != there
    ]


def standing(near: NearDuplicates, manifest: Manifest, folds: Folds) -> list[tuple[str, str]]:
    """Where the two photos of each pair stand: `fold 0`, `training` for those in every fold's training, or `test`."""
    asked = {image_id for pair in near.pairs for image_id in pair}
    rows = {image_id: row for row, image_id in enumerate(manifest.image_ids) if image_id in asked}

    def place(image_id: str) -> str:
        row = rows[image_id]
        if manifest.roles[row] != "train":
            return manifest.roles[row]
        return f"fold {folds.fold[row]}" if folds.fold[row] >= 0 else "training"

    return [(place(a), place(b)) for a, b in near.pairs]


def _thumbnails(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Grey `(N, 64)` and colour `(N, 768)`, channel by channel."""
    grey, colour = np.empty((len(images), 64), np.uint8), np.empty((len(images), 3, 256), np.uint8)
    for row, image in enumerate(images):
        small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
        colour[row] = small.reshape(256, 3).T
        grey[row] = cv2.resize(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (8, 8), interpolation=cv2.INTER_AREA).ravel()
    return grey, colour.reshape(len(images), -1)


class _Correlation:
    """Of thumbnails `(N, D) uint8` that are `channels` channels, around each channel's mean. Sums are whole numbers, so exact."""

    def __init__(self, values: NDArray[np.uint8], channels: int) -> None:
        self._values, self._channels = values, channels
        per = values.reshape(len(values), channels, values.shape[1] // channels)
        self._sums = per.sum(axis=2, dtype=np.int64)
        squares = np.einsum("nd,nd->n", values, values, dtype=np.int64)
        self.norm = np.sqrt(squares - np.square(self._sums).sum(axis=1) / per.shape[2])

    def of(self, pairs: Ints) -> NDArray[np.float64]:
        """For `(P, 2)` row numbers `(P,)`."""
        found = [self._some(pairs[start : start + CHUNK]) for start in range(0, len(pairs), CHUNK)]
        return np.concatenate(found) if found else np.empty(0)

    def _some(self, pairs: Ints) -> NDArray[np.float64]:
        a, b = pairs.T
        products = np.einsum("pd,pd->p", self._values[a].astype(np.int32), self._values[b].astype(np.int32))
        means = (self._sums[a] * self._sums[b]).sum(axis=1) / (self._values.shape[1] // self._channels)
        correlation: NDArray[np.float64] = (products - means) / np.maximum(self.norm[a] * self.norm[b], 1e-9)
        return correlation


def _compared(usable: Ints, grey: NDArray[np.uint8], parts: Ints, correlation: _Correlation) -> tuple[Ints, bool]:
    """Pairs `(P, 2)` of usable rows with near hashes, different parts and like grey thumbnails; and whether none was left out."""
    n_bits = int(np.clip(round(log2(max(2, len(usable))) - 2.5), 6, 16))
    lookups = [lookup for codes, strength in _hashes(grey, n_bits) for lookup in _lookups(codes, strength)]
    window, complete = _window([stop - start for _, start, stop in lookups])
    kept = []
    for order, start, stop in lookups:
        pairs = usable[_meet(order, start, np.minimum(stop - start, window))]
        pairs = pairs[parts[pairs[:, 0]] != parts[pairs[:, 1]]]
        kept.append(pairs[correlation.of(pairs) >= GREY])
    found = np.concatenate(kept)
    key = np.unique(found.min(axis=1) * len(parts) + found.max(axis=1))
    return np.stack([key // len(parts), key % len(parts)], axis=1), complete


def _hashes(grey: NDArray[np.uint8], n_bits: int) -> list[tuple[Ints, NDArray[np.float64]]]:
    """Per band the codes `(N,)` and how far each of their bits is from turning `(N, n_bits)`."""
    by_frequency = sorted(product(range(8), range(8)), key=lambda at: (sum(at), at))[1 : 1 + BANDS * n_bits]
    wave = np.cos(np.pi * (np.arange(8) + 0.5)[None] * np.arange(8)[:, None] / 8)
    basis = np.stack([np.outer(wave[y], wave[x]).ravel() for y, x in by_frequency])
    values = grey.astype(np.float64) @ basis.T
    bands = [values[:, band::BANDS] for band in range(BANDS)]  # both get low and high ones
    return [(((band > 0) << np.arange(n_bits)).sum(axis=1), np.abs(band)) for band in bands]


def _lookups(codes: Ints, strength: NDArray[np.float64]) -> list[tuple[Ints, Ints, Ints]]:
    """For each choice of turned bits: rows sorted by code, and from where to where in them each row's neighbours stand."""
    order = np.argsort(codes, kind="stable")
    known = codes[order]
    bits = 1 << np.argsort(strength, axis=1, kind="stable")[:, :WEAKEST]
    asked = [codes ^ bits @ np.array(turned) for turned in product((0, 1), repeat=WEAKEST)]
    return [(order, np.searchsorted(known, code, "left"), np.searchsorted(known, code, "right")) for code in asked]


def _window(counts: Sequence[Ints]) -> tuple[int, bool]:
    """How many neighbours each look-up may ask so that all together ask at most `BUDGET`, and whether that is all of them."""
    histogram = np.bincount(np.concatenate(counts))
    more = histogram[::-1].cumsum()[::-1][1:]  # look-ups with more than 0, 1, 2, ... neighbours
    total = more.cumsum()
    if not len(total) or total[-1] <= BUDGET:
        return len(total), True
    return max(1, int(np.searchsorted(total, BUDGET, "right"))), False


def _meet(order: Ints, start: Ints, count: Ints) -> Ints:
    """Each row with the `count` rows from `start` on in `order`, as pairs `(P, 2)` of different rows."""
    row = np.repeat(np.arange(len(order)), count)
    place = np.arange(len(row)) + np.repeat(start - np.cumsum(count) + count, count)
    pairs: Ints = np.stack([row, order[place]], axis=1)[row != order[place]]
    return pairs
