"""What an export costs in a large ledger: `export_ensemble.py` as a process, on 500 trials x 8 views x 18,900 validation photos.

    python -m benchmarks.export_speed [--repeats 3] [--ledger DIR] [any option of export_ensemble.py]

Makes a ledger of real files: 37,800 labelled photos of 9,450 people and 600 test photos of 150 others, half of the people validating;
three tasks of 3, 2 and 3 classes composed to 18; 500 finished trials of one fold with weights, record and cached predictions (no network
is trained: probabilities are drawn around the labels, photos are noise). As in a real ledger, every trial has its validation
probabilities and features of the identity view; the 40 best of each task have all 8 views, validation and test, so that no forward pass
is left to the export. Then the verb is run, each time anew, in a process of its own. The first run also builds the index of the ledger.
Goal: under 60 s and 6 GiB. Checked: the plans of all runs are byte-equal, no prediction was computed, every test photo has a row.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._sides import spread
from competitions.metrics import METRICS
from competitions.prepare import Prepared, prepare
from ledger.predictions import Photos, predictions_of
from ledger.trials import Record, TrialFolder
from trainables.config import Question, TrialConfig, resolve
from trainables.prediction import FEATURE_WIDTH, FEATURES

ROOT = Path(__file__).parents[1]
NAME, SIDE, PEOPLE, PER_PERSON, TEST_PEOPLE = "bench", 32, 9_450, 4, 150
TRIALS, BEST, EPOCHS = 500, 40, 3
TASKS = {"mask": 3, "gender": 2, "age": 3}
SKILLS = {"mask": 3.0, "gender": 2.5, "age": 1.5}
YAML = f"""
root: {NAME}
reader: npz
table: photos.csv
columns: {{image: photo, path: path, group: person, role: role}}
tasks:
  mask: {{column: mask, classes: [wear, incorrect, normal]}}
  gender: {{column: gender, classes: [male, female]}}
  age: {{column: age, classes: [young, middle, old]}}
label: [mask, gender, age]
image_size: {SIDE}
split: {{name: half, holdout: 0.5, seed: 0}}
views: [identity, hflip, zoom_in, zoom_out, rotate_left, rotate_right, brighten, darken]
submission: {{id_column: photo, answers: {{ans: label}}, values: index}}
"""
Names = Photos
"""N pairs of image id and pixel hash."""


@dataclass(frozen=True)
class Part:
    """Photos that are predicted: their names, and per task their true classes `int64 (N,)`."""

    names: Names
    truth: dict[str, np.ndarray]


def make_ledger(folder: Path, seed: int = 0) -> None:
    """Photos, competition file and trials below `folder`; needs PODIUM_DATA and PODIUM_STORAGE to lead there."""
    from competitions.loading import load_competition
    from competitions.targets import targets
    from system.paths import competition_paths

    truth = draw_photos(folder / "data" / NAME, seed)
    (folder / f"{NAME}.yaml").write_text(YAML)
    competition = load_competition(str(folder / f"{NAME}.yaml"))
    prepared = prepare(competition, competition_paths(competition.name, None))
    prepared.save()
    weights = _network_bytes()
    for number, (task, n_classes) in enumerate(TASKS.items()):
        target = targets(competition)[task]
        question = Question(
            NAME, task, {task: n_classes}, target.metric, prepared.data_fingerprint(target), competition.split.name, 0, 0, SIDE
        )
        validation = _part(prepared, prepared.rows(target, 0)[1], truth)
        test = _part(prepared, prepared.manifest.rows("test"), truth)
        share = TRIALS // len(TASKS) + (number < TRIALS % len(TASKS))
        write_trials(prepared, question, validation, test, share, weights[task], seed=seed + number)
        print(f"made {share} trials of {task}, {len(validation.names)} validation photos", file=sys.stderr, flush=True)


def draw_photos(root: Path, seed: int) -> dict[str, dict[str, int]]:
    """Noise packed in an archive, and its table; returns photo -> task -> true class."""
    from competitions.loading import parse_competition

    rng = np.random.default_rng(seed)
    classes = {task: one.classes for task, one in parse_competition(YAML, NAME, where=NAME).tasks.items()}
    root.mkdir(parents=True)
    n = (PEOPLE + TEST_PEOPLE) * PER_PERSON
    np.savez(root / "images.npz", photos=rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8))
    truth, lines = {}, ["photo,path,person,role,mask,gender,age"]
    for person in range(PEOPLE + TEST_PEOPLE):
        gender, age = int(rng.integers(2)), int(rng.choice(3, p=[0.45, 0.4, 0.15]))
        for photo in range(PER_PERSON):
            name, role = f"p{person:05d}-{photo}", "train" if person < PEOPLE else "test"
            truth[name] = {"mask": int(rng.choice(3, p=[0.7, 0.15, 0.15])), "gender": gender, "age": age}
            words = [classes[task][truth[name][task]] if role == "train" else "" for task in TASKS]
            lines.append(f"{name},images.npz#photos/{len(truth) - 1},p{person},{role},{','.join(words)}")
    (root / "photos.csv").write_text("\n".join(lines) + "\n")
    return truth


def write_trials(
    prepared: Prepared, question: Question, validation: Part, test: Part, n: int, network: dict[str, Any], *, seed: int
) -> None:
    """Write n finished trials of one task; the best of them with all views."""
    drawn = Drawn.of(validation, test, question.target, seed)
    found: list[tuple[float, int, TrialConfig, Record]] = []
    for number in range(n):
        config = resolve(
            {"backbone": "test_byobnet", "epochs": EPOCHS, "lr": 1e-3 * (1 + number), "augmentation": "none"}, question
        )
        probs = drawn.probs("validation", number, 0)
        score = METRICS[question.metric](probs, validation.truth[question.target])
        record = _write_trial(prepared, config, score, network)
        kept = predictions_of(TrialFolder(prepared.paths.trials / config.trial_id).predictions, record.weights or "")
        kept.write("validation", question.target, "identity", validation.names, probs)
        kept.write("validation", FEATURES, "identity", validation.names, drawn.features("validation", number))
        found.append((score, number, config, record))
    for _, number, config, record in sorted(found, key=lambda one: (-one[0], one[2].trial_id))[:BEST]:
        kept = predictions_of(TrialFolder(prepared.paths.trials / config.trial_id).predictions, record.weights or "")
        kept.write("test", FEATURES, "identity", test.names, drawn.features("test", number))
        for part, names in (("validation", validation.names), ("test", test.names)):
            for view, name in enumerate(prepared.competition.views):
                if (part, view) != ("validation", 0):
                    kept.write(part, question.target, name, names, drawn.probs(part, number, view))


@dataclass(frozen=True)
class Drawn:
    """Drawn predictions of one task's trials: mistakes partly shared by all, partly a trial's, partly a view's own."""

    seed: int
    shared: dict[str, np.ndarray]
    seen: dict[str, np.ndarray]

    @classmethod
    def of(cls, validation: Part, test: Part, task: str, seed: int) -> "Drawn":
        rng = np.random.default_rng((seed, TRIALS))
        shared, seen = {}, {}
        for part, photos in (("validation", validation), ("test", test)):
            labels = photos.truth[task]
            sure = SKILLS[task] * np.eye(TASKS[task], dtype=np.float32)[labels]
            shared[part] = sure + rng.standard_normal((len(labels), TASKS[task]), dtype=np.float32)
            seen[part] = rng.standard_normal((len(labels), FEATURE_WIDTH), dtype=np.float32) + labels[:, None] / 2
        return cls(seed, shared, seen)

    def probs(self, part: str, trial: int, view: int) -> np.ndarray:
        """`float32 (N, C)`."""
        own = np.random.default_rng((self.seed, trial, part == "test"))
        shared, noise = self.shared[part], np.random.default_rng((self.seed, trial)).uniform(0.5, 1.5)
        logits = shared + noise * own.standard_normal(shared.shape, dtype=np.float32)
        if view:
            theirs = np.random.default_rng((self.seed, trial, part == "test", view))
            logits = logits + 0.4 * theirs.standard_normal(shared.shape, dtype=np.float32)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probs: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return probs

    def features(self, part: str, trial: int) -> np.ndarray:
        """`float32 (N, D)`: the same for all trials but for the order of columns, which no classifier heeds."""
        return np.roll(self.seen[part], trial, axis=1)


def _part(prepared: Prepared, rows: np.ndarray, truth: dict[str, dict[str, int]]) -> Part:
    ids = [prepared.manifest.image_ids[row] for row in rows]
    names = [(prepared.manifest.image_ids[row], prepared.pixels[row]) for row in rows]
    return Part(names, {task: np.array([truth[image_id][task] for image_id in ids]) for task in TASKS})


def _network_bytes() -> dict[str, dict[str, Any]]:
    """Per task the tensors of a small network with a random start: what `best.safetensors` holds."""
    from trainables import backbones, checkpoint

    return {task: checkpoint.model_tensors(backbones.build("test_byobnet", {task: n}, SIDE)) for task, n in TASKS.items()}


def _write_trial(prepared: Prepared, config: TrialConfig, score: float, network: dict[str, Any]) -> Record:
    from trainables.best_weights import best_header
    from trainables.checkpoint import write_tensors

    folder = TrialFolder(prepared.paths.trials / config.trial_id)
    folder.write_config(config.json())
    digest = write_tensors(folder.best, network, best_header(config, EPOCHS))
    curve = [score - 0.02, score - 0.01, score]
    record = Record(
        config.trial_id,
        config.config_id,
        config.target,
        config.fold,
        config.seed,
        EPOCHS,
        EPOCHS,
        score,
        EPOCHS,
        curve,
        weights=digest,
    )
    folder.write_metrics([{"epoch": at, "score": one, "loss": 1 - one} for at, one in enumerate(curve, start=1)])
    folder.write_record(record)
    return record


@dataclass(frozen=True)
class ExportCost:
    """One export: wall seconds, CPU-seconds of the process and its children, MiB at its peak."""

    wall: float
    cpu: float
    mib: float


def export(folder: Path, to: Path, options: list[str]) -> ExportCost:
    """Run the verb, and measure the process by what the system says of it when it ends."""
    command = [sys.executable, "export_ensemble.py", str(folder / f"{NAME}.yaml"), "--to", str(to), *options]
    started = time.perf_counter()
    pid = os.posix_spawn(sys.executable, command, dict(os.environ))
    _, status, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return ExportCost(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _predictions(folder: Path) -> dict[str, int]:
    """Every file of cached predictions and when it was written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("predictions/*/*.npy")}


def measure(folder: Path, repeats: int, options: list[str]) -> None:
    before, costs, plans = _predictions(folder), [], set()
    with tempfile.TemporaryDirectory(dir=folder) as exported:
        for number in range(repeats):
            to = Path(exported) / str(number)
            costs.append(export(folder, to, options))
            plans.add((to / "bundle" / "plan.json").read_bytes())
            rows = len((to / "submission.csv").read_text().splitlines()) - 1
            if rows != TEST_PEOPLE * PER_PERSON:
                raise SystemExit(f"the submission has {rows} rows for {TEST_PEOPLE * PER_PERSON} test photos")
            one = costs[-1]
            print(f"run {number + 1}: {one.wall:.1f} s, {one.cpu:.1f} CPU-s, {one.mib:.0f} MiB", file=sys.stderr, flush=True)
    cpu, wall, mib = (tuple(getattr(cost, name) for cost in costs) for name in ("cpu", "wall", "mib"))
    print(
        f"export of {TRIALS} trials {' '.join(options)}: {spread(wall)} s, {spread(cpu)} CPU-s, {spread(mib)} MiB (n={repeats})"
    )
    print(f"  goal of 60 s: {statistics.median(wall) < 60}; of 6 GiB: {max(mib) < 6 * 1024}")
    print(f"  equal plans: {len(plans) == 1}; no prediction computed: {_predictions(folder) == before}")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--ledger", metavar="DIR", help="where the ledger is kept for another time (default: nowhere)")
    given, options = made.parse_known_args()
    os.environ.pop("PODIUM_CACHE", None)
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as nowhere:
        folder = Path(given.ledger or nowhere).absolute()
        os.environ |= {"PODIUM_DATA": str(folder / "data"), "PODIUM_STORAGE": str(folder / "runs")}
        if not (folder / "runs" / "made").exists():
            make_ledger(folder)
            (folder / "runs" / "made").touch()
        measure(folder, given.repeats, options)


if __name__ == "__main__":
    main()
