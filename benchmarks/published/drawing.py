"""Tiny photos and tables, and the truth that only a grader sees: what every fixture of a published competition is drawn with."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

N_TRAIN, N_TEST = 36, 12
SIDE = 40
COLOURS = (
    (200, 60, 60),
    (60, 190, 60),
    (60, 60, 200),
    (200, 180, 40),
    (180, 60, 190),
    (60, 190, 190),
    (120, 120, 120),
    (230, 230, 230),
)


@dataclass(frozen=True)
class Page:
    """Where a fixture is drawn, and its chance.

    Attributes:
        root: The folder.
        rng: Draws photos and labels.
        truth: Test id -> what is true, kept from whoever takes part.
    """

    root: Path
    rng: np.random.Generator
    truth: dict[str, Any] = field(default_factory=dict)

    def photo(self, path: str, kind: int, side: int = SIDE) -> None:
        """A photo of one colour per kind, noisy enough that no two are equal."""
        self._save(path, np.clip(self._noisy(side) + COLOURS[kind % len(COLOURS)], 0, 255).astype(np.uint8))

    def marked(self, path: str, marks: Sequence[bool], side: int = SIDE) -> None:
        """A photo with a bright square for each mark that is true."""
        pixels = self._noisy(side) + 90
        for number, mark in enumerate(marks):
            top, left = divmod(number, 4)
            if mark:
                pixels[top * 9 + 2 : top * 9 + 9, left * 9 + 2 : left * 9 + 9] += 110
        self._save(path, np.clip(pixels, 0, 255).astype(np.uint8))

    def array(self, path: str, numbers: np.ndarray[Any, np.dtype[Any]]) -> None:
        """A `.npy` file."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        np.save(self.root / path, numbers)

    def table(self, path: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table with commas."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        with (self.root / path).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])

    def json(self, path: str, value: Mapping[str, Any]) -> None:
        """A JSON file."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(json.dumps(value), encoding="utf-8")

    def kinds(self, n_photos: int, n_kinds: int) -> list[int]:
        """As many photos of each kind, in any order."""
        return [int(kind) for kind in self.rng.permutation(np.arange(n_photos) % n_kinds)]

    def _noisy(self, side: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return self.rng.integers(-30, 31, (side, side, 3))

    def _save(self, path: str, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        kind = {"jfif": "JPEG", "jpg": "JPEG"}.get(path.rpartition(".")[2], "PNG")
        Image.fromarray(pixels).save(self.root / path, format=kind)


Rows = list[dict[str, str]]
Draw = Callable[[Page], None]
Grade = Callable[[Rows, Mapping[str, Any]], float]


@dataclass(frozen=True)
class Published:
    """One competition.

    Attributes:
        draw: Writes its files.
        grade: The score of a submission's rows against the truth, greater is better.
        lacks: What Podium cannot do yet, in the words of docs/results.md; empty where it can take part.
        by_hand: Settings of the draft -> what somebody has to write in their braces.
        metric: The name of Podium's own metric, which must give the grader's score.
        label: Columns that somebody has to name.
    """

    draw: Draw | None
    grade: Grade | None = None
    lacks: str = ""
    by_hand: Mapping[str, str] = field(default_factory=dict)
    metric: str = ""
    label: tuple[str, ...] = ()
