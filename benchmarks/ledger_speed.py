"""What questions to a ledger of 10,000 trials cost: from the index, and by reading every folder.

    python -m benchmarks.ledger_speed [--trials 1000,10000] [--repeats 5] [--json]

Makes a ledger of real files (20 epochs a trial, five studies, two targets), then asks each question in turn A B A B ...: of the index
as it is (warm), and of the folders (`benchmarks._walk`, as it was before there was an index); answers are compared. Then of an index
that is not there (cold), after 1 and after 100 changed records, and `python show_trials.py` as a whole process. Every question
includes its sweep of all folders for changes. CPU time stands beside wall time, for machines that are shared. Goals: the
leaderboard under 50 ms warm, a record written in under 20 ms.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import _walk
from ledger.index.signatures import YOUNG_NS, trial_signatures
from ledger.index.sqlite import index_file
from ledger.query import best_trials, count_finished, leaderboard
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import Record, TrialFolder, config_id, trial_id
from system import verbs
from system.paths import CompetitionPaths

ROOT = Path(__file__).parents[1]
EPOCHS, STUDIES, TARGETS, TOP = 20, 5, ("age", "mask"), 20
DATA = {target: f"{number:016x}" for number, target in enumerate(TARGETS)}
LEDGER_SETTINGS = {
    "competition": "bench", "metric": "macro_f1", "split": "persons", "epochs": EPOCHS, "recipe": 1, "weights": "", "image_size": 64,
    "batch_size": 32, "micro_batch": 32, "momentum": None, "weight_decay": 0.01, "warmup_epochs": 1.0, "label_smoothing": None,
    "focal_gamma": None, "sampler": "none", "class_weights": "none", "ema_decay": 0.0, "precision": "fp32", "engine": "albumentations",
    "threads": 1, "dropout": 0.0, "clip_norm": 1.0, "freeze_epochs": 0, "mixup_alpha": 0.0, "cutmix_alpha": 0.0, "tta": False,
}  # fmt: skip


@dataclass(frozen=True)
class ReadingCost:
    """One question, one way, asked several times; milliseconds."""

    trials: int
    question: str
    way: str
    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def cells(self) -> list[object]:
        return [self.trials, self.question, self.way, len(self.wall), _spread(self.wall), _spread(self.cpu)]

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "median_wall": statistics.median(self.wall), "median_cpu": statistics.median(self.cpu)}


def make_ledger(paths: CompetitionPaths, n: int, seed: int) -> tuple[list[float], list[float]]:
    """Write n finished trials and the studies that asked for them.

    Returns:
        Milliseconds, wall and CPU, that each record took to be written, forced to the disk.
    """
    rng = random.Random(seed)
    studies = [StudyFolder(paths.studies / f"study-{number}") for number in range(STUDIES)]
    for study in studies:
        study.write_plan({"request": {}, "seed": seed})
    wall, cpu = [], []
    events: list[list[str]] = [[] for _ in studies]
    for number in range(n):
        target = TARGETS[number % len(TARGETS)]
        config = LEDGER_SETTINGS | {
            "target": target, "heads": {target: 3}, "data": DATA[target], "fold": 0, "seed": number, "lr": rng.random(),
            "backbone": rng.choice(("resnet18", "vit_small", "convnext_tiny")), "loss": rng.choice(("focal", "cross_entropy")),
            "optimizer": "adamw", "augmentation": rng.choice(("light", "strong")),
        }  # fmt: skip
        name = trial_id(config, {})
        curve = [round(rng.random(), 4) for _ in range(EPOCHS)]
        record = Record(name, config_id(config, {}), target, 0, number, EPOCHS, EPOCHS, max(curve), curve.index(max(curve)) + 1, curve,
                        weights=f"{number:064x}", seconds=rng.random() * 100, author="jin", host=f"node-{number % 4}")  # fmt: skip
        folder, which = TrialFolder(paths.trials / name), number % STUDIES
        folder.write_config(config)
        folder.write_metrics([{"epoch": epoch, "score": score, "loss": 1 - score} for epoch, score in enumerate(curve, start=1)])
        begun = time.perf_counter(), time.process_time()
        folder.write_record(record)
        wall.append(1e3 * (time.perf_counter() - begun[0]))
        cpu.append(1e3 * (time.process_time() - begun[1]))
        studies[which].write_suggestion(Suggestion(number // STUDIES + 1, target, name, {"lr": config["lr"]}, settings=config))
        events[which] += [_event("started", name, number), _event("finished", name, number, epoch=EPOCHS)]
    for study, lines in zip(studies, events, strict=True):
        _log(study, lines)
    return wall, cpu


def _event(event: str, trial: str, number: int, **facts: Any) -> str:
    return json.dumps({"event": event, "trial_id": trial, "time": float(number), **facts}, sort_keys=True)


def _log(study: StudyFolder, lines: Sequence[str]) -> None:
    """The journal by `StudyFolder.log` for its first line, which makes the file, and the rest at once: 10,000 fsyncs say nothing here."""
    study.log("study_started")
    with open(study.path / "events.jsonl", "a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def questions(paths: CompetitionPaths) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """What is asked -> of the index, of the folders."""

    def board(limit: int | None = None, **which: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
        return lambda: leaderboard(paths, limit=limit, **which).rows, lambda: _walk.list_trials(paths, **which)[:limit]

    target = TARGETS[0]
    asked = (paths, target, DATA[target], 0, "macro_f1")
    return {
        f"leaderboard, top {TOP}": board(TOP),
        f"leaderboard of one target, top {TOP}": board(TOP, target=target),
        f"leaderboard of one study, top {TOP}": board(TOP, study="study-1"),
        "leaderboard, all rows": board(),
        "best_trials of one target": (lambda: best_trials(*asked), lambda: _walk.best_trials(*asked)),
        "count_finished": (lambda: count_finished(paths), lambda: _walk.count_finished(paths)),
    }


def plain(answer: Any) -> Any:
    """An answer in a form that compares; this is where configurations are parsed."""
    if isinstance(answer, list):
        return [row.json() if hasattr(row, "json") else row for row in answer]
    return answer


def _parsed(rows: Sequence[Any]) -> list[Any]:
    return [row.json() for row in rows]


def timed(work: Callable[[], Any], times: list[tuple[float, float]]) -> Any:
    begun = time.perf_counter(), time.process_time()
    answer = work()
    times.append((1e3 * (time.perf_counter() - begun[0]), 1e3 * (time.process_time() - begun[1])))
    return answer


def measure(paths: CompetitionPaths, n: int, repeats: int) -> list[ReadingCost]:
    """Every question both ways, then the index's other states."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    leaderboard(paths)  # builds the index
    for _ in range(repeats):
        for name, (index, folders) in questions(paths).items():
            ours = timed(index, found.setdefault((name, "index, warm"), []))
            theirs = timed(folders, found.setdefault((name, "folders"), []))
            assert plain(ours) == plain(theirs), f"{name}: the two ways must agree"
        timed(lambda: trial_signatures(paths.trials), found.setdefault(("the sweep for changes alone", "index, warm"), []))
        parse = partial(_parsed, leaderboard(paths).rows)
        timed(parse, found.setdefault(("parsing the configurations of all rows", "both"), []))
    top = f"leaderboard, top {TOP}"
    index, folders = questions(paths)[top]
    for changed in (1, 100):
        for repeat in range(repeats):
            touch(paths, changed, repeat)
            ours = timed(index, found.setdefault((top, f"index, {changed} records changed"), []))
            assert plain(ours) == plain(folders())
    for _ in range(repeats):
        index_file(paths).unlink()
        ours = timed(index, found.setdefault((top, "index, cold"), []))
        assert plain(ours) == plain(folders())
    return [
        ReadingCost(n, name, way, tuple(wall for wall, _ in times), tuple(cpu for _, cpu in times))
        for (name, way), times in found.items()
    ]


def touch(paths: CompetitionPaths, n: int, repeat: int) -> None:
    """Write n records anew, each with another score; then let them grow old enough for the index to keep them."""
    folders = sorted(paths.trials.iterdir())[repeat :: max(1, len(list(paths.trials.iterdir())) // n)][:n]
    for folder in map(TrialFolder, folders):
        record = folder.record()
        assert record is not None
        folder.write_record(replace(record, score=random.Random(f"{folder.id}{repeat}").random()))
    time.sleep(1.1 * YOUNG_NS / 1e9)


def verb(paths: CompetitionPaths, n: int, repeats: int) -> list[ReadingCost]:
    """`show_trials.py` as a whole process, and one that imports nothing but argparse and json."""
    environment = os.environ | {"PODIUM_STORAGE": str(paths.root.parent)}
    name = paths.root.name
    commands = {
        "show_trials.py": ["show_trials.py", name],
        "show_trials.py --limit 0": ["show_trials.py", name, "--limit", "0"],
        "show_trials.py --json": ["show_trials.py", name, "--json"],
        "a script that only imports argparse and json": ["-c", "import argparse, json"],
    }
    found: dict[str, list[tuple[float, float]]] = {command: [] for command in commands}
    for _ in range(repeats):
        for command, arguments in commands.items():
            begun, used = time.perf_counter(), _children()
            subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
            found[command].append((1e3 * (time.perf_counter() - begun), 1e3 * (_children() - used)))
    return [
        ReadingCost(n, name, "process", tuple(w for w, _ in times), tuple(c for _, c in times)) for name, times in found.items()
    ]


def _children() -> float:
    used = os.times()
    return used.children_user + used.children_system


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def _writing(wall: Sequence[float], cpu: Sequence[float]) -> str:
    p99 = statistics.quantiles(wall, n=100)[98]
    return (
        f"writing one record, forced to the disk: median {statistics.median(wall):.3g} ms, p99 {p99:.3g} ms, most {max(wall):.3g} ms; "
        f"CPU {statistics.median(cpu):.3g} ms (n={len(wall)})"
    )


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--trials", default="1000,10000", help="ledgers of how many trials, e.g. 1000,10000")
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--json", action="store_true", help="one JSON document on stdout")
    given = made.parse_args()
    os.environ.pop("PODIUM_CACHE", None)
    costs, writing = [], {}
    for n in map(int, given.trials.split(",")):
        with tempfile.TemporaryDirectory() as storage:
            paths = CompetitionPaths(Path(storage) / "bench")
            writing[n] = make_ledger(paths, n, seed=0)
            print(f"made {n} trials", file=sys.stderr, flush=True)
            time.sleep(1.1 * YOUNG_NS / 1e9)
            costs += measure(paths, n, given.repeats) + verb(paths, n, given.repeats)
            print(f"index of {n} trials: {index_file(paths).stat().st_size / 1e6:.1f} MB", file=sys.stderr, flush=True)
    if given.json:
        print(
            json.dumps({"costs": [cost.json() for cost in costs], "writing": {n: _writing(*one) for n, one in writing.items()}})
        )
        return
    print(verbs.table([cost.cells() for cost in costs], ["trials", "question", "asked of", "n", "wall ms", "CPU ms"]))
    for n, one in writing.items():
        print(f"{n} trials: {_writing(*one)}")


if __name__ == "__main__":
    main()
