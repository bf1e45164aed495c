"""A drawn competition for benchmarks: any number of JPEG photos of coloured noise, written once into a temporary folder."""

from pathlib import Path

import numpy as np

from competitions.competition import Competition
from competitions.loading import parse_competition
from competitions.prepare import Prepared, prepare
from system.paths import CompetitionPaths

YAML = """
root: bench
tasks: {kind: {column: kind, classes: [a, b, c]}}
columns: {image: image, group: person, role: role}
metric: accuracy
image_size: SIZE
submission: {answers: {kind: kind}}
"""


def draw(folder: Path, *, n: int, side: int, size: int, seed: int = 0, test: int = 0) -> Competition:
    """Write n labelled photos of `side` pixels and some test photos below `folder/bench`; they are decoded at `size`.

    Needs PODIUM_DATA=folder.
    """
    from PIL import Image

    rng = np.random.default_rng(seed)
    root = folder / "bench"
    (root / "photos").mkdir(parents=True)
    lines = ["image,person,role,kind"]
    for number in range(n + test):
        coarse = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        kind = number % 3
        coarse[..., kind] |= 128
        name = f"photos/{number:05d}.jpg"
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(root / name, quality=90)
        lines.append(f"{name},p{number // 4},train,{'abc'[kind]}" if number < n else f"{name},,test,")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return parse_competition(YAML.replace("SIZE", str(size)), "bench", where="bench.yaml")


def prepared(folder: Path, *, n: int, side: int, size: int) -> Prepared:
    """The drawn competition, read, split and decoded below `folder`."""
    import os

    os.environ["PODIUM_DATA"] = str(folder)
    return prepare(draw(folder, n=n, side=side, size=size), CompetitionPaths(folder / "runs" / "bench"))
