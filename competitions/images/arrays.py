"""Photos that were handed out as numbers: `.npy` files, and tables with a column per pixel, become `uint8` pixels.

Numbers other than bytes need a range, which the competition states (`values: [low, high]`): low is black, high is white, what is beyond is
cut off. Bands (an axis that is neither 1 nor 3 long) are laid out below one another as one grey photo, so that any network takes them.
"""

import csv
import io
import re
from collections.abc import Sequence
from itertools import pairwise
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST_PIXELS = 16
_NUMBERED = re.compile(r"(?P<front>.*?)(?P<number>\d+)")
_WHITE = 255


def array_pixels(data: bytes, values: tuple[float, float] | None) -> NDArray[np.uint8]:
    """The pixels of a `.npy` file.

    Args:
        data: The whole file.
        values: The numbers that are black and white; `None` where none are stated.

    Returns:
        `uint8 (H, W)` grey or `(H, W, 3)` RGB.

    Raises:
        ValueError: It is no array, no photo, or its numbers have no stated range.
    """
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not 2 <= array.ndim <= 3 or array.size == 0:
        raise ValueError(f"an array must be (H, W), or have bands as its first or last axis, got {array.dtype} {array.shape}")
    return _laid_out(array if array.dtype == np.uint8 and values is None else _as_bytes(array, values))


def _as_bytes(array: NDArray[Any], values: tuple[float, float] | None) -> NDArray[np.uint8]:
    if values is None:
        raise ValueError(
            f"its numbers are {array.dtype} without a stated range; write `values: [low, high]` in the competition's YAML: "
            f"low becomes black, high white"
        )
    low, high = values
    if array.dtype.kind not in "iufb" or not np.isfinite(wide := array.astype(np.float64)).all():
        raise ValueError(f"its numbers must be finite, got {array.dtype}")
    scaled: NDArray[np.uint8] = np.rint(np.clip((wide - low) / (high - low), 0, 1) * _WHITE).astype(np.uint8)
    return scaled


def _laid_out(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey `(H, W)` or RGB `(H, W, 3)`; the shortest of the outer axes holds the bands."""
    if array.ndim == 2:
        return array
    bands_last = array.shape[2] < array.shape[0]
    bands = np.moveaxis(array, 2, 0) if bands_last else array
    if len(bands) == 3:
        return np.ascontiguousarray(np.moveaxis(bands, 0, 2))
    return np.ascontiguousarray(bands.reshape(-1, bands.shape[2]))


def pixel_columns(header: Sequence[str]) -> list[int]:
    """The places of a table's pixel columns in their order (`pixel0`, `pixel1`, ...), as many as a square has; none where it has none."""
    families: dict[str, list[tuple[int, int]]] = {}
    for place, name in enumerate(header):
        if match := _NUMBERED.fullmatch(name.strip()):
            families.setdefault(match["front"], []).append((int(match["number"]), place))
    ranked = sorted(families.values(), key=len, reverse=True)
    largest = sorted(ranked[0]) if ranked else []
    numbers = [number for number, _ in largest]
    square = isqrt(len(numbers)) ** 2 == len(numbers) >= FEWEST_PIXELS
    return [place for _, place in largest] if square and all(b - a == 1 for a, b in pairwise(numbers)) else []


def pixel_table(path: Path) -> NDArray[np.uint8]:
    """The photos of a table with a column per pixel: `uint8 (N, S, S)`, row by row.

    Raises:
        ValueError: It has no square of pixel columns, or fields that are no bytes.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        columns = pixel_columns(next(csv.reader(file, delimiter=delimiter), []))
        if not columns:
            raise ValueError("it has no pixel columns (pixel0, pixel1, ...) that fill a square")
        numbers = np.loadtxt(file, delimiter=delimiter, usecols=columns, dtype=np.float32, ndmin=2)
    if not ((numbers >= 0) & (numbers <= _WHITE)).all():
        raise ValueError("its pixels must be 0 to 255")
    side = isqrt(len(columns))
    return numbers.astype(np.uint8).reshape(-1, side, side)
