"""Planted scenes: how often a twin gap is announced that is not there, and is missed that is. Features are drawn, not photos.

    python -m benchmarks.twin_simulation --cases 1000 --seed 0
    python -m benchmarks.twin_simulation --cases 100 --promise
    python -m benchmarks.twin_simulation --photos 20000

A photo's features are its class, its scene and noise. Photos of a scene come in bursts; some share of the test photos is of scenes that
training photos show too. With share 1 random folds ask as the test photos do. With share 0 and groups known, folds by group do. With
`--promise` a nearest neighbour is scored as well: by random folds, by matched ones, and in truth.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from system import verbs

CLASSES, WIDTH = 6, 24
YAML = """
tasks: {kind: {column: kind, classes: [a, b, c, d, e, f]}}
columns: {image: image, group: scene, role: role}
submission: {answers: {kind: kind}}
"""


@dataclass(frozen=True)
class Scenes:
    """A drawn competition.

    Attributes:
        prepared: Photos without files; the truth of the test photos is not in it.
        features: `(N, D)`.
        truth: `(m,)` classes of the test photos, in the order of their rows.
    """

    prepared: Any
    features: NDArray[np.float32]
    truth: NDArray[np.int64]


def draw_scenes(
    seed: int,
    *,
    burst: int,
    known: float,
    groups: str,
    scene: float = 1.0,
    n_train: int = 300,
    n_test: int = 200,
    width: int = WIDTH,
) -> Scenes:
    """Draw a case.

    Args:
        seed: Of everything.
        burst: Photos of a scene, on average; each scene has 1 to 2 x burst - 1.
        known: Share of the test photos whose scenes training photos may show.
        groups: Whose groups the table tells: `none`, `train` or `both`.
        scene: How far apart scenes of a class are, in the unit of the noise between photos of a scene.
        n_train: Training photos.
        n_test: Test photos.
        width: Features.
    """
    from competitions.loading import parse_competition
    from competitions.manifest import Manifest
    from competitions.prepare import Prepared, cut
    from system.paths import CompetitionPaths

    rng = np.random.default_rng(seed)
    n_known = round(known * n_test)
    old, new = _scenes(rng, n_train + n_known, burst), _scenes(rng, n_test - n_known, burst)
    old = rng.permutation(old)
    of = np.concatenate([old, new + old.max() + 1])
    n_scenes = int(of.max()) + 1
    kind_of = np.arange(n_scenes) % CLASSES
    centres = rng.normal(size=(CLASSES, width))
    places = centres[kind_of] + scene * rng.normal(size=(n_scenes, width))
    features = (places[of] + rng.normal(size=(len(of), width)) + 1.0).astype(np.float32)
    roles = ("train",) * n_train + ("test",) * n_test
    ids = tuple(f"i{number:04d}" for number in rng.permutation(len(of)))
    told = {"none": (), "train": ("train",), "both": ("train", "test")}[groups]
    names = tuple(f"s{of[row]}" if role in told else f"~{ids[row]}" for row, role in enumerate(roles))
    labels = kind_of[of].astype(np.int16)
    shown = np.where(np.arange(len(of)) < n_train, labels, -1).astype(np.int16)
    manifest = Manifest(ids, ids, names, roles, {"kind": shown})
    competition = parse_competition(YAML, "scenes", where="scenes.yaml")
    paths = CompetitionPaths(Path("nowhere"))
    usable = np.arange(len(of)) < n_train
    folds = cut(competition, competition.split, manifest, usable, ids, paths)
    return Scenes(Prepared(competition, manifest, folds, ids, {}, (), paths), features, labels[n_train:].astype(np.int64))


def _scenes(rng: np.random.Generator, n_photos: int, burst: int) -> NDArray[np.int64]:
    """The scene of each photo, `(n,)`."""
    sizes = rng.integers(1, 2 * burst, n_photos + 1)
    found: NDArray[np.int64] = np.repeat(np.arange(len(sizes)), sizes)[:n_photos].astype(np.int64)
    return found


def verdict(case: Scenes) -> str:
    """What is said of the case's own split."""
    from competitions.twins.photos import AskedTwins

    sides = AskedTwins.of(case.prepared.manifest, case.prepared.usable(), case.features)
    assert sides is not None, "there are photos of both sides"
    gap = sides.gap(case.prepared.folds.fold, case.prepared.manifest.groups)
    assert gap is not None, "photos are held out"
    return gap.verdict


def announced(seeds: Sequence[int], **how: Any) -> float:
    """The share of cases in which the score is said to be too good."""
    return float(np.mean([verdict(draw_scenes(seed, **how)) == "too good" for seed in seeds]))


def call(given: argparse.Namespace) -> list[dict[str, Any]]:
    seeds = range(given.seed, given.seed + given.cases)
    if given.photos:
        return [_speed(given.photos)]
    if given.promise:
        return [_promise(burst, known, seeds) for burst in (3, 8) for known in (0.0, 0.5, 1.0)]
    cases = [
        *({"groups": "none", "burst": burst, "known": 1.0} for burst in (2, 5, 10)),
        *({"groups": groups, "burst": burst, "known": 0.0} for groups in ("both", "train") for burst in (2, 5, 10)),
        *({"groups": "none", "burst": burst, "known": known} for burst in (2, 5, 10) for known in (0.75, 0.5, 0.25, 0.0)),
    ]
    rows = []
    for case in cases:
        rows.append({**case, "announced": announced(seeds, **case), "cases": given.cases})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _speed(n: int) -> dict[str, Any]:
    """What a gap and a proposal cost, features aside, with as many training photos and a third as many test photos."""
    from competitions.twins.matched import propose

    case = draw_scenes(0, burst=5, known=0.0, groups="none", n_train=n, n_test=n // 3, width=1280)
    print("drawn", file=sys.stderr, flush=True)
    before = time.monotonic(), time.process_time()
    verdict(case)
    between = time.monotonic(), time.process_time()
    found = propose(case.prepared, case.features, 5, tell=lambda text: print(text, file=sys.stderr, flush=True))
    after = time.monotonic(), time.process_time()
    print(found.words, file=sys.stderr)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    row: dict[str, Any] = {"photos": n, "gap, s": between[0] - before[0], "gap, CPU-s": between[1] - before[1]}
    return row | {"proposal, s": after[0] - between[0], "proposal, CPU-s": after[1] - between[1], "GiB at most": memory}


def _promise(burst: int, known: float, seeds: Sequence[int]) -> dict[str, Any]:
    from competitions.twins.matched import deal, propose

    random, matched = [], []
    for seed in seeds:
        case = draw_scenes(seed, burst=burst, known=known, groups="none")
        found = propose(case.prepared, case.features, 5)
        folds = deal(case.prepared, found.clusters, 5, 0)
        assert folds is not None, "it was dealt before"
        truth = _accuracy(case, case.prepared.usable(), None)
        random.append(_held_out(case, case.prepared.folds.fold) - truth)
        matched.append(_held_out(case, folds.fold) - truth)
    row = {"groups": "none", "burst": burst, "known": known, "cases": len(random)}
    for name, errors in (("random", random), ("matched", matched)):
        row |= {f"{name}, mean": float(np.mean(errors)), f"{name}, mean of sizes": float(np.mean(np.abs(errors)))}
    print(row, file=sys.stderr, flush=True)
    return row


def _held_out(case: Scenes, fold: NDArray[np.int8]) -> float:
    scores = [_accuracy(case, (fold != number) & (fold >= -1), fold == number) for number in range(5)]
    return float(np.average(scores, weights=[(fold == number).sum() for number in range(5)]))


def _accuracy(case: Scenes, taught: NDArray[np.bool_], asked: NDArray[np.bool_] | None) -> float:
    """Of the nearest training photo, asked on held-out photos, or for `None` on the test photos."""
    from competitions.twins.similarity import normalised

    labels, seen = case.prepared.manifest.labels["kind"], normalised(case.features)
    rows = case.prepared.manifest.rows("test") if asked is None else np.flatnonzero(asked)
    nearest = (seen[rows] @ seen[taught].T).argmax(axis=1)
    return float(np.mean(labels[taught][nearest] == (case.truth if asked is None else labels[rows])))


def show(rows: list[dict[str, Any]]) -> None:
    print(verbs.table([list(row.values()) for row in rows], list(rows[0])))


def main() -> int:
    made = verbs.parser(__doc__ or "", "python -m benchmarks.twin_simulation --cases 100")
    made.add_argument("--cases", type=int, default=1000, help="of each kind (default: 1000)")
    made.add_argument("--seed", type=int, default=0, help="of the first case (default: 0)")
    made.add_argument("--photos", type=int, metavar="N", help="what it costs with so many training photos, and nothing else")
    made.add_argument("--promise", action="store_true", help="what random and matched folds promise of a nearest neighbour")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
