"""Near-duplicates: decoded photos `uint8 (N, S, S, 3)` to pairs of photos of different groups that show the same picture.

Two photos are near when their thumbnails correlate, each channel around its own mean: grey at 8 x 8 by at least `GREY`, and in colour
at 16 x 16 by at least `COLOUR`, under the best of nine shifts by one pixel of `COMPARED_SIDE`. So another exposure, contrast, compression
or size change little, and photos of like things differ: on 20 drawings of the demo all 120 planted pairs are found, at 0.997 or more,
and no other; the nearest other pair of eight drawings has 0.960, and without shifts the two kinds overlap.

Only pairs with nearly equal perceptual hashes are compared. The hash is the signs of the lowest frequencies of the 8 x 8 thumbnail
(a DCT, after Zauner 2010, "pHash"), in two bands of about log2(N) - 2 bits. A sign that differs between two near photos is that of a
frequency close to 0, so in each band a photo asks for its own code and for those with any of its `WEAKEST_BITS` weakest signs turned.
On the clothing set that finds every pair that comparing each photo with each other one finds. The cost grows with N, and
is bounded: where photos are so alike that more than `BUDGET` pairs would be compared, each asks fewer neighbours, and the result says so.

CPU-seconds: 8.3 for the 70,000 photos of Fashion-MNIST (at least 39,149 pairs: look-alikes), 0.7 for clothing (one pair of two senders
among 5,096 photos), 6.4 for 13,149 photos of cards (look-alikes). So they are looked for once, when the photos are decoded, and kept beside
the cache: attaching reads a small file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import log2

import cv2
import numpy as np
from numpy.typing import NDArray

from competitions.images.image_cache import ImageCache
from competitions.manifest import Manifest
from competitions.splits import Finding, Folds
from system.files import fingerprint, read_json, replace_json

VERSION = 1
GREY, COLOUR = 0.96, 0.98
COMPARED_SIDE = 64  # larger photos are made this small first
BANDS, WEAKEST_BITS = 2, 5
BUDGET = 1 << 24  # pairs compared in grey
MOST_COLOUR = 50_000  # of them, nearest first, compared in colour
KEPT_PAIRS = 200  # more pairs than this are look-alikes: the photos are of one kind, and a list helps nobody
FLAT = 2.0  # grey levels: a thumbnail that varies less is noise, and noise correlates with anything
PAIRS_AT_ONCE = 1 << 16
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class NearDuplicates:
    """Photos of different groups, at least one of them for training, that show the same picture without equal pixels.

    Attributes:
        pairs: Up to `KEPT_PAIRS` pairs of photo ids, the nearest first, each sorted.
        likeness: Their correlations in colour, shifted to the best.
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
        return self.count > KEPT_PAIRS


def open_or_find(cache: ImageCache, manifest: Manifest) -> NearDuplicates:
    """The near-duplicates among the photos of this cache, found once: the result is kept beside the cache.

    Args:
        cache: All photos of `manifest`, decoded.
        manifest: N photos; test photos are compared with training photos only, unlabelled ones with none.
    """
    sides = fingerprint([VERSION, GREY, COLOUR, manifest.groups, manifest.roles])
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
    found, likeness, complete = near_pairs(images, rows, parts)
    names = [(ids[a], ids[b]) for a, b in rows[found].tolist()]
    other = np.array([pixels[a] != pixels[b] for a, b in rows[found].tolist()], dtype=bool)
    kept = np.flatnonzero(other)[:KEPT_PAIRS].tolist()
    return NearDuplicates(
        tuple(names[k] for k in kept), tuple(round(float(likeness[k]), 4) for k in kept), int(other.sum()), complete
    )


def near_pairs(images: NDArray[np.uint8], rows: Ints, parts: Sequence[int]) -> tuple[Ints, NDArray[np.float64], bool]:
    """The pairs of near photos with different `parts`, nearest first.

    Args:
        images: `(N, S, S, 3)`; read row by row, so it may be larger than memory.
        rows: The n rows `(n,)` that are compared.
        parts: n numbers; photos with the same number are not compared.

    Returns:
        Positions in `rows` `(P, 2)`, smaller first; their correlations in colour `(P,)`; whether all pairs with near hashes were
        compared.
    """
    grey = _Thumbnails.of(np.stack([_grey(images[row]) for row in rows]) if len(rows) else np.empty((0, 1, 64), np.uint8))
    pairs, complete = _compared(grey, np.asarray(parts, dtype=np.int64))
    if len(pairs) > MOST_COLOUR:
        pairs, complete = pairs[np.argsort(-correlation(grey, grey, pairs), kind="stable")[:MOST_COLOUR]], False
    likeness = _shifted(images, rows, pairs)
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


@dataclass(frozen=True)
class _Thumbnails:
    """n thumbnails `(n, channels, D) uint8`, their sums per channel, and the norm of what is left without each channel's mean."""

    values: NDArray[np.uint8]
    sums: Ints
    norm: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.uint8]) -> "_Thumbnails":
        sums = values.sum(axis=2, dtype=np.int64)
        squares = np.einsum("ncd,ncd->n", values, values, dtype=np.int64)
        return cls(values, sums, np.sqrt(squares - np.square(sums).sum(axis=1) / values.shape[2]))


def correlation(left: _Thumbnails, right: _Thumbnails, pairs: Ints) -> NDArray[np.float64]:
    """Of `left`'s thumbnail and `right`'s, for `(P, 2)` row numbers `(P,)`. Sums are whole numbers, so exact."""
    found = [np.empty(0)]
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        a, b = pairs[start : start + PAIRS_AT_ONCE].T
        products = np.einsum("pcd,pcd->p", left.values[a].astype(np.int32), right.values[b].astype(np.int32))
        means = (left.sums[a] * right.sums[b]).sum(axis=1) / left.values.shape[2]
        found.append((products - means) / np.maximum(left.norm[a] * right.norm[b], 1e-9))
    return np.concatenate(found)


def _shifted(images: NDArray[np.uint8], rows: Ints, pairs: Ints) -> NDArray[np.float64]:
    """Per pair of positions in `rows` the best correlation in colour among the shifts by up to one pixel, `(P,)`."""
    asked, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(-1, 2)
    corners = list(product((0, 1), repeat=2))
    if not len(asked):
        return np.empty(0)
    cut = np.stack([[_colour(images[row], *corner) for corner in corners] for row in rows[asked]])
    cuts = {corner: _Thumbnails.of(cut[:, number]) for number, corner in enumerate(corners)}
    best = np.full(len(pairs), -1.0)
    for (y, x), (v, u) in product(corners, repeat=2):
        if y * v == 0 == x * u:  # both cut at 1 is the shift of both cut at 0
            best = np.maximum(best, correlation(cuts[y, x], cuts[v, u], place))
    return best


def _resized(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    small: NDArray[np.uint8] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return small


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(1, 64)`."""
    grey: NDArray[np.uint8] = cv2.cvtColor(_resized(image, 16), cv2.COLOR_RGB2GRAY)
    return _resized(grey, 8).reshape(1, 64)


def _colour(image: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8]:
    """`(3, 256)` of all but one row and one column of the photo at `COMPARED_SIDE`."""
    small = _resized(image, COMPARED_SIDE) if len(image) > COMPARED_SIDE else image
    part = small[top : len(small) - 1 + top, left : len(small) - 1 + left]
    return _resized(part, 16).reshape(256, 3).T


def _compared(grey: _Thumbnails, parts: Ints) -> tuple[Ints, bool]:
    """Pairs `(P, 2)` of photos with near hashes, different parts and like grey thumbnails; and whether none was left out."""
    usable = np.flatnonzero(grey.norm > FLAT * grey.values.shape[2] ** 0.5)
    n_bits = int(np.clip(round(log2(max(2, len(usable))) - 2.5), 6, 16))
    hashes = _hashes(grey.values[usable, 0], n_bits)
    lookups = [lookup for codes, strength in hashes for lookup in _lookups(codes, strength)]
    window, complete = _window([stop - start for _, start, stop in lookups])
    kept = []
    for order, start, stop in lookups:
        pairs = usable[_meet(order, start, np.minimum(stop - start, window))]
        pairs = pairs[parts[pairs[:, 0]] != parts[pairs[:, 1]]]
        kept.append(pairs[correlation(grey, grey, pairs) >= GREY])
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
    bits = 1 << np.argsort(strength, axis=1, kind="stable")[:, :WEAKEST_BITS]
    asked = [codes ^ bits @ np.array(turned) for turned in product((0, 1), repeat=WEAKEST_BITS)]
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
