"""A tiny competition on disk, read, split and decoded once per session by the code that does it for everybody."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image, ImageDraw

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from competitions.competition import Competition
from competitions.loading import parse_competition
from competitions.prepare import Prepared, prepare
from system.paths import CompetitionPaths

SLOWEST = tuple(
    f"tests/{name}.py"
    for name in ("benchmarks/test_faults", "verbs/test_journey", "bundle/test_bundle", "trainables/test_training")
)
"""What takes longest goes first, so that no process is left with it alone at the end."""

# Time limits of single examples fail on a busy machine and say nothing about the code.
settings.register_profile("podium", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("podium")

TINY = """
root: tiny
columns: {image: image, path: file, group: group, role: role}
tasks:
  colour: {column: colour, classes: [red, green, blue]}
  shape: {column: shape, classes: [disc, square]}
label: [colour, shape]
targets:
  both: {heads: [shape, colour]}
  label: {heads: [label]}
  shape@red: {heads: [shape], where: {colour: red}}
  shape@rest: {heads: [shape], where: {colour: [green, blue]}}
image_size: 32
split: {name: groups, folds: 4, seed: 0}
views: [identity, hflip, darken]
submission: {id_column: image, answers: {label: label}, values: index}
"""
N_GROUPS, PER_GROUP, N_TEST = 20, 4, 12
BROKEN_TRAIN, BROKEN_TEST = "g07-1", "t03"
PAINT = {"red": (190, 60, 60), "green": (60, 190, 60), "blue": (60, 60, 190)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first (`--dist loadfile --no-loadscope-reorder` keeps a file's tests in one process and this order)."""
    files = {item: item.nodeid.partition("::")[0] for item in items}
    items.sort(key=lambda item: SLOWEST.index(files[item]) if files[item] in SLOWEST else len(SLOWEST))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `PODIUM_DATA` folder that holds `tiny/`: 80 training photos of 20 groups, 12 test photos, one of each cut short."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for group in range(N_GROUPS):
        for photo in range(PER_GROUP):
            rows.append(
                (f"g{group:02}-{photo}", f"g{group:02}", "train", list(PAINT)[group % 3], ("disc", "square")[group // 3 % 2])
            )
    rows += [(f"t{n:02}", f"t{n:02}", "test", list(PAINT)[n % 3], ("disc", "square")[n % 2]) for n in range(N_TEST)]
    (folder / "tiny").mkdir()
    with open(folder / "tiny" / "manifest.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", "file", "group", "role", "colour", "shape"))
        for seed, (name, group, role, colour, shape) in enumerate(rows):
            path = folder / "tiny" / f"{name}.png"
            _draw(colour, shape, np.random.default_rng(seed)).save(path)
            if name in (BROKEN_TRAIN, BROKEN_TEST):
                path.write_bytes(path.read_bytes()[:300])
            labels = (colour, shape) if role == "train" else ("", "")
            table.writerow((name, path.name, group, role, *labels))
    return folder


@pytest.fixture(scope="session")
def tiny_competition() -> Competition:
    """Two tasks, colour (3 classes) and shape (2), at 32 px in 4 folds."""
    return parse_competition(TINY, "tiny", where="tests/conftest.py")


@pytest.fixture(scope="session")
def tiny(tiny_data: Path, tiny_competition: Competition, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The tiny competition, prepared at 32 px. Sizes other than 32, and other processes, need `PODIUM_DATA=tiny_data`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODIUM_DATA", str(tiny_data))
        patch.delenv("PODIUM_CACHE", raising=False)
        prepared = prepare(tiny_competition, CompetitionPaths(tmp_path_factory.mktemp("storage") / "tiny"))
        prepared.cache(32)
    assert set(prepared.broken) == {BROKEN_TRAIN, BROKEN_TEST}
    return prepared


def _draw(colour: str, shape: str, chance: np.random.Generator) -> Image.Image:
    """A disc or square of the colour on a grey ground, 40 px, with noise that makes each photo its own."""
    photo = Image.new("RGB", (40, 40), tuple(int(v) for v in chance.integers(90, 160, 3)))
    left, top = (int(v) for v in chance.integers(4, 14, 2))
    place = (left, top, left + 20, top + 20)
    (ImageDraw.Draw(photo).ellipse if shape == "disc" else ImageDraw.Draw(photo).rectangle)(place, fill=PAINT[colour])
    noisy = np.asarray(photo).astype(np.int16) + chance.integers(-25, 26, (40, 40, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
