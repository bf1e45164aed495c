"""Contact sheets: every photo of a competition small on a page, to look through and to mark; marks leave the page as a CSV."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from competitions.images.image_cache import ImageCache
from competitions.prepare import Prepared
from reports.page import render
from reports.photo_labels import class_words

PER_SHEET = 2000
SIDE = 128
"""Of a photo on a sheet, in pixels."""
QUALITIES = (75, 55, 35, 15)
MOST_JPEG_BYTES = 4600
"""Of one JPEG: 2,000 of them, a third larger as text and with their names, stay under 15 MB."""


@dataclass(frozen=True)
class Sheet:
    """One page, its photos by row of the manifest, and in words what is on it."""

    rows: tuple[int, ...]
    words: str


def sheets_of(prepared: Prepared) -> list[Sheet]:
    """All photos that could be decoded, on sheets of at most `PER_SHEET`.

    Photos to learn from come first, by class and group, so that a wrong one stands among right ones; then test and unlabelled photos by id.
    """
    manifest, words = prepared.manifest, class_words(prepared)
    sheets = []
    for role in ("train", "test", "unlabelled"):
        rows = [row for row in manifest.rows(role).tolist() if prepared.pixels[row]]
        rows.sort(key=lambda row: (words[row], manifest.groups[row], manifest.image_ids[row]))
        for start in range(0, len(rows), PER_SHEET):
            some = rows[start : start + PER_SHEET]
            sheets.append(Sheet(tuple(some), f"{role} photos {start + 1:,} to {start + len(some):,} of {len(rows):,}"))
    return sheets


def sheet_page(prepared: Prepared, cache: ImageCache, sheet: Sheet, number: int, total: int, written: str) -> str:
    """One contact sheet as HTML."""
    words, manifest = class_words(prepared), prepared.manifest
    photos: dict[str, list[dict[str, str]]] = {}
    for row, jpeg in zip(sheet.rows, _jpegs(cache, sheet.rows), strict=True):
        photo = {"id": manifest.image_ids[row], "group": manifest.groups[row], "jpeg": jpeg}
        photos.setdefault(words[row], []).append(photo)
    values = {
        "competition": prepared.competition.name,
        "written": written,
        "words": sheet.words,
        "photos": photos,
        "number": number,
        "total": total,
        "side": SIDE,
    }
    return render("sheet", values, {})


def _jpegs(cache: ImageCache, rows: tuple[int, ...]) -> Iterator[str]:
    """Each photo as base64 of a small JPEG."""
    for row in rows:
        pixels = np.asarray(cache.images[row])
        if pixels.dtype != np.uint8 or pixels.shape[-1] not in (1, 3):
            pixels = _as_colours(pixels)
        photo = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
        yield base64.b64encode(
            _small(photo if photo.width <= SIDE else photo.resize((SIDE, SIDE), Image.Resampling.BOX))
        ).decode()


def _small(photo: Image.Image) -> bytes:
    for quality in QUALITIES:
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= MOST_JPEG_BYTES:
            break
    return buffer.getvalue()


def _as_colours(pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The first bands of an array photo, each spread over 0 to 255."""
    bands = pixels[..., : 3 if pixels.shape[-1] >= 3 else 1].astype(np.float64)
    low, high = bands.min(axis=(0, 1)), bands.max(axis=(0, 1))
    spread: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = ((bands - low) / np.maximum(high - low, 1e-9) * 255).astype(
        np.uint8
    )
    return spread
