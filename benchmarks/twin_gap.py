"""What random folds, known groups and matched folds promise, beside the truth: probes on frozen features, group columns hidden and known.

    python -m benchmarks.twin_gap clothing --truth ../shared/data/clothing/eval_labels.csv --sizes 64,96,128 --keep FOLDER

Per size of photo: the twin gap of each split, what a logistic probe is promised out of fold (mean over the tasks, in the competition's
metric), and what the same probe, fitted on all training photos, reaches on the test photos. Their labels are read for that column only.
With `--choice` also: twelve probes, the one each split picks, and the truth of the two picks. Features are kept in FOLDER.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from benchmarks.journey import read_truth
from system import verbs

SPLITS = ("random", "matched, groups hidden", "groups", "matched, groups known")
PROBES_COMPARED: tuple[tuple[str, dict[str, float], str | None], ...] = (
    *(("logistic", {"probe_c": c}, w) for c in (1e-3, 1e-2, 1e-1) for w in (None, "balanced")),
    *(("ridge", {"probe_c": c}, w) for c in (1e-4, 1e-3) for w in (None, "balanced")),
    *(("lda", {}, w) for w in (None, "balanced")),
)
FIRST_PROBE = ("logistic", {"probe_c": 1e-2}, "sqrt")


@dataclass(frozen=True)
class Studied:
    """A competition with some of its photos, and their features."""

    prepared: Any
    features: NDArray[np.float32]
    truth: Mapping[str, NDArray[np.int64]]
    tested: NDArray[np.int64]


def call(given: argparse.Namespace) -> list[dict[str, Any]]:
    from competitions.loading import load_competition
    from competitions.prepare import prepare, root_of
    from system.paths import competition_paths

    competition = load_competition(given.competition)
    paths = competition_paths(competition.name, given.storage)
    whole = _some_of(prepare(competition, paths), given.most)
    truth = Path(given.truth) if given.truth else root_of(competition, paths) / "truth.csv"
    return [_measure(_setting(whole, int(size), Path(given.keep), truth), int(size), given) for size in given.sizes.split(",")]


def _some_of(prepared: Any, most: tuple[int, int]) -> Any:
    """At most so many training and test photos, drawn by whole groups of training photos."""
    from competitions.prepare import cut

    manifest, rng = prepared.manifest, np.random.default_rng(0)
    names = np.array(manifest.groups)
    usable = np.flatnonzero(prepared.usable())
    groups = rng.permutation(np.unique(names[usable]))
    sizes = dict(zip(*np.unique(names[usable], return_counts=True), strict=True))
    taken = set(groups[np.cumsum([sizes[group] for group in groups]) <= most[0]].tolist())
    train = [row for row in usable.tolist() if names[row] in taken]
    test = rng.permutation([row for row in manifest.rows("test").tolist() if prepared.pixels[row]])[: most[1]]
    rows = np.sort(np.array([*train, *test.tolist()], dtype=np.int64))
    some = {name: tuple(getattr(manifest, name)[row] for row in rows) for name in ("image_ids", "paths", "groups", "roles")}
    fewer = replace(manifest, **some, labels={task: labels[rows] for task, labels in manifest.labels.items()})
    pixels, labelled = tuple(prepared.pixels[row] for row in rows), np.array([role == "train" for role in some["roles"]])
    folds = cut(prepared.competition, prepared.competition.split, fewer, labelled, pixels, prepared.paths)
    made = replace(prepared, manifest=fewer, pixels=pixels, folds=folds, broken={})
    made.once("rows", lambda: (prepared, rows))
    return made


def _setting(prepared: Any, size: int, keep: Path, truth_file: Path) -> Studied:
    from trainables.attach import features_of
    from trainables.probes.features import FrozenSettings
    from trainables.probes.known import FIRST_BACKBONE
    from trainables.start.published import WEIGHT_PACKAGES

    whole, rows = prepared.once("rows", lambda: None)
    frozen = FrozenSettings(FIRST_BACKBONE, WEIGHT_PACKAGES[FIRST_BACKBONE].sha256, size)
    source = features_of(whole, frozen)
    own = replace(
        source,
        folder=keep / "features",
        images=source.images[rows],
        names=tuple(zip(prepared.manifest.image_ids, prepared.pixels, strict=True)),
        groups=prepared.manifest.groups,
        order=np.arange(len(rows)),
    )
    ids, truth = read_truth(truth_file, prepared.competition)
    at = {image_id: row for row, image_id in enumerate(ids)}
    tested = np.array([row for row in prepared.manifest.rows("test") if prepared.manifest.image_ids[row] in at], dtype=np.int64)
    asked = np.array([at[prepared.manifest.image_ids[row]] for row in tested])
    return Studied(prepared, own.of(np.arange(len(rows))), {task: labels[asked] for task, labels in truth.items()}, tested)


def _measure(setting: Studied, size: int, given: argparse.Namespace) -> dict[str, Any]:
    folds = _foldings(setting, given.seed)
    from competitions.twins.photos import AskedTwins

    prepared = setting.prepared
    sides = AskedTwins.of(prepared.manifest, prepared.usable(), setting.features)
    assert sides is not None, "there are photos of both sides"
    alone = tuple(f"~{image_id}" for image_id in prepared.manifest.image_ids)
    hidden = SPLITS[:2]
    gaps = {name: sides.gap(fold, alone if name in hidden else prepared.manifest.groups) for name, fold in folds.items()}
    probes = PROBES_COMPARED if given.choice else ()
    truth = [_truth(setting, probe) for probe in (FIRST_PROBE, *probes)]
    rows = []
    for name, fold in folds.items():
        promised = [_promised(setting, fold, probe) for probe in (FIRST_PROBE, *probes)]
        gap = gaps[name]
        rows.append({"split": name, "gap": None if gap is None else gap.to_json(), "promised": promised[0]})
        rows[-1]["picks"] = None if not probes else truth[1 + int(np.argmax(promised[1:]))]
        print(f"{prepared.competition.name} {size} {name}: {promised[0]:.3f}, truth {truth[0]:.3f}", file=sys.stderr, flush=True)
    return {
        "competition": prepared.competition.name,
        "size": size,
        "truth": truth[0],
        "best": max(truth[1:], default=None),
        "splits": rows,
    }


def _foldings(setting: Studied, seed: int) -> dict[str, NDArray[np.int8]]:
    from competitions.compare_splits import has_groups
    from competitions.competition import Split
    from competitions.images.near_duplicates import find
    from competitions.prepare import cut
    from competitions.twins.matched import propose

    prepared = setting.prepared
    n_folds = prepared.competition.split.n_folds
    whole, rows = prepared.once("rows", lambda: None)
    images = whole.cache(prepared.competition.image_size).images[rows]

    def by(split: Split) -> NDArray[np.int8]:
        manifest, usable = prepared.manifest, prepared.usable()
        fold: NDArray[np.int8] = cut(prepared.competition, split, manifest, usable, prepared.pixels, prepared.paths).fold
        return fold

    def matched(one: Any) -> NDArray[np.int8]:
        from competitions.twins.matched import deal

        found = propose(one, setting.features, n_folds, seed=seed)
        print(found.words, file=sys.stderr, flush=True)
        folds = deal(one, found.clusters, n_folds, seed)
        assert folds is not None, "it was dealt before"
        return folds.fold

    alone = tuple(f"~{image_id}" for image_id in prepared.manifest.image_ids)
    manifest = replace(prepared.manifest, groups=alone)
    hidden = replace(prepared, manifest=manifest, near=find(images, manifest, prepared.pixels))
    found = {SPLITS[0]: by(Split(folds=n_folds, by_group=False, seed=seed)), SPLITS[1]: matched(hidden)}
    if has_groups(prepared):
        found |= {SPLITS[2]: by(Split(folds=n_folds, seed=seed)), SPLITS[3]: matched(prepared)}
    return found


def _promised(setting: Studied, fold: NDArray[np.int8], probe: Any) -> float:
    scores = []
    for task in setting.prepared.competition.tasks:
        n_classes = len(setting.prepared.competition.classes(task))
        labels = setting.prepared.manifest.labels[task].astype(np.int64)
        probs = np.zeros((len(fold), n_classes))
        judged = (fold >= 0) & (labels >= 0)
        for number in range(int(fold.max()) + 1):
            taught = np.flatnonzero((fold != number) & (fold >= -1))
            here = np.flatnonzero(judged & (fold == number))
            probs[here] = _fit(setting, probe, taught, labels, n_classes, here)
        scores.append(_score(setting, probs[judged], labels[judged]))
    return float(np.mean(scores))


def _truth(setting: Studied, probe: Any) -> float:
    scores, taught = [], np.flatnonzero(setting.prepared.usable())
    for task in setting.prepared.competition.tasks:
        labels = setting.prepared.manifest.labels[task].astype(np.int64)
        probs = _fit(setting, probe, taught, labels, len(setting.prepared.competition.classes(task)), setting.tested)
        scores.append(_score(setting, probs, setting.truth[task]))
    return float(np.mean(scores))


def _score(setting: Studied, probs: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    from competitions.metrics import METRICS

    return float(METRICS[setting.prepared.competition.metric](probs, labels))


def _fit(
    setting: Studied, probe: Any, taught: NDArray[np.int64], labels: NDArray[np.int64], n_classes: int, asked: NDArray[np.int64]
) -> NDArray[np.float64]:
    from scipy.special import softmax

    from trainables.losses import class_weights
    from trainables.probes.heads import fit_head

    name, settings, weighting = probe
    even = None if weighting is None else class_weights(weighting, labels[taught].astype(np.int16), n_classes)
    groups = [setting.prepared.manifest.groups[row] for row in taught]
    how: dict[str, Any] = {"n_classes": n_classes, "scaling": "standard", "groups": groups, "settings": settings}
    weights, bias = fit_head(
        name, setting.features[taught], labels[taught], class_weights=None if even is None else even.numpy(), **how
    )
    found: NDArray[np.float64] = softmax(setting.features[asked] @ weights.T + bias, axis=1)
    return found


def show(found: list[dict[str, Any]]) -> None:
    rows = [
        [
            one["competition"],
            one["size"],
            row["split"],
            *_gap(row["gap"]),
            row["promised"],
            one["truth"],
            row["promised"] - one["truth"],
        ]
        + ([] if one["best"] is None else [row["picks"]])
        for one in found
        for row in one["splits"]
    ]
    header = ["set", "px", "split", "held-out", "test", "distance", "verdict", "promised", "truth", "promised - truth"]
    print(verbs.table(rows, header + (["truth of its pick"] if found[0]["best"] is not None else [])))


def _gap(gap: dict[str, Any] | None) -> list[Any]:
    return [None] * 4 if gap is None else [gap["held_out"], gap["test"], gap["distance"], gap["verdict"]]


def main() -> int:
    made = verbs.parser(__doc__ or "", "python -m benchmarks.twin_gap demo --keep features")
    made.add_argument("competition", help="name of a file in competitions/")
    made.add_argument("--truth", help="CSV with the true labels of the test photos (the demo knows its own)")
    made.add_argument("--sizes", default="96", metavar="A,B", help="sides of photos in pixels (default: 96)")
    made.add_argument("--keep", required=True, metavar="FOLDER", help="where features are kept")
    made.add_argument(
        "--most", type=int, nargs=2, default=(8000, 3000), metavar="N", help="training and test photos (default: 8000 3000)"
    )
    made.add_argument("--seed", type=int, default=0, help="of the splits (default: 0)")
    made.add_argument("--choice", action="store_true", help="which of twelve probes each split picks, and what that is worth")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
