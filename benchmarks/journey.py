"""The whole journey through the verbs, and what it is worth on photos whose truth nobody chose on.

    python -m benchmarks.journey demo
    python -m benchmarks.journey clothing --truth ../shared/data/clothing/eval_labels.csv --trials 8 --seed 0

search -> ensemble -> submission -> bundle -> prediction from the bundle -> pages, then a table: per task and for the composed label the
best single trial, the hard vote and the soft vote, on the validation photos and on the held-out truth. The truth is read here, after
everything was chosen, and nowhere else.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from system import verbs
from system.errors import UserError
from system.progress import clock

REPOSITORY = Path(__file__).parents[1]


def journey(given: argparse.Namespace) -> dict[str, Any]:
    """Run the verbs one after another and score the answers."""
    from competitions.loading import load_competition
    from competitions.prepare import prepare, root_of
    from system.paths import competition_paths

    started = time.monotonic()
    competition = load_competition(given.competition)
    paths = competition_paths(competition.name, given.storage)
    root = root_of(competition, paths)
    drawn = competition.reader == "demo"
    truth_file = Path(given.truth) if given.truth else root / "truth.csv"
    if not drawn and not truth_file.is_file():
        raise UserError(f"--truth must be a CSV with the labels of the test photos, got {truth_file}, which is not there")
    storage = ["--storage", str(paths.root.parent)]
    search = [given.competition, "--space", given.space, "--trials", str(given.trials), "--seed", str(given.seed)]
    searched = run_verb("1/4 search", "run_search.py", [*search, *storage])
    to, top = Path(given.to), ["--top", str(given.top)] if given.top is not None else []
    only = ["--study", searched["study"]] if given.study_only else []
    exported = run_verb("2/4 ensemble", "export_ensemble.py", [given.competition, *top, "--to", str(to), *only, *storage])
    photos = root / "eval" / "images" if drawn else root
    again = to / "from_bundle.csv"
    predicted = run_verb(
        "3/4 bundle", "predict.py", [str(to / "bundle"), str(photos), "--ids", str(truth_file), "--out", str(again), *storage]
    )
    shown = run_verb("4/4 pages", "make_report.py", [given.competition, *storage])
    seconds = time.monotonic() - started
    rows = score(prepare(competition, paths), exported, truth_file)
    return {
        "competition": competition.name,
        "space": given.space,
        "trials": given.trials,
        "seed": given.seed,
        "seconds": round(seconds, 1),
        "search": searched,
        "rows": rows,
        "bundle_equals_cache": _same_answers(again, to / "submission.csv"),
        "predicted": {key: predicted[key] for key in ("rows", "close_calls", "seconds")}
        | {"broken": len(predicted["broken_photos"])},
        "bundle": exported["bundle"],
        "submission": exported["submission"],
        "pages": shown["pages"],
    }


def score(prepared: Any, exported: Mapping[str, Any], truth_file: Path) -> list[dict[str, Any]]:
    """Per task and for the label: validation and truth scores of the best single trial, the plain votes and what was exported."""
    from bundle.answer import answer
    from bundle.opened import Opened
    from competitions.metrics import METRICS
    from ensemble.plan.plan import EnsemblePlan
    from system.files import read_json

    competition = prepared.competition
    ids, truth = read_truth(truth_file, competition)
    beside = read_json(prepared.paths.ensembles / exported["ensemble"] / "beside.json")
    plans = {name: EnsemblePlan.from_json(value) for name, value in {**beside, "exported": exported["plan"]}.items()}
    votes = {name: answer(Opened(prepared), plan, ids) for name, plan in plans.items()}
    rows = []
    for task in [*competition.tasks, *(["label"] if len(competition.tasks) > 1 else [])]:
        labels, said, n = truth[task], exported["scores"][task], len(competition.classes(task))
        true = {name: METRICS[competition.metric](np.eye(n)[vote[task]], labels) for name, vote in votes.items()}
        rows.append(
            {
                "task": task,
                "classes": n,
                "single_validation": said["best_single"]["score"],
                "hard_validation": said["hard"],
                "honest": said["honest"],
                "verdict": said["verdict"],
                "single_truth": true["single"],
                "hard_truth": true["hard"],
                "soft_truth": true["soft"],
                "exported_truth": true["exported"],
            }
        )
    return rows


def read_truth(path: Path, competition: Any) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """The ids of the test photos and their true classes, `int64 (N,)` per task and for the label."""
    from competitions.labels import Composition, compose

    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    id_column = competition.submission.id_column if competition.submission.id_column in rows[0] else competition.columns.image
    ids = tuple(row[id_column] for row in rows)
    truth = {
        name: np.array([task.classes.index(row[task.column]) for row in rows], dtype=np.int64)
        for name, task in competition.tasks.items()
    }
    return ids, truth | {"label": compose(Composition.of(competition), truth)}


def show(result: dict[str, Any]) -> None:
    print(
        f"\n{result['competition']}: space {result['space']}, {result['trials']} trials per target, seed {result['seed']}, "
        f"{clock(result['seconds'])} on this machine"
    )
    header = [
        "",
        "best single, validation",
        "honest (90 %)",
        "best single, truth",
        "hard vote, truth",
        "soft vote, truth",
        "exported, truth",
    ]
    rows = [
        [
            row["task"] if row["task"] != "label" else f"composed label ({row['classes']})",
            row["single_validation"],
            f"{row['honest']['mean']:.4f} ({row['honest']['low']:.3f} to {row['honest']['high']:.3f})",
            row["single_truth"],
            row["hard_truth"],
            row["soft_truth"],
            row["exported_truth"],
        ]
        for row in result["rows"]
    ]
    print(verbs.table(rows, header))
    same = "equal the cached ones" if result["bundle_equals_cache"] else "DIFFER from the cached ones"
    print(f"answers from the bundle {same}: {result['predicted']['rows']} photos, {result['predicted']['broken']} of them broken")
    print(f"submission: {result['submission']}\nbundle: {result['bundle']}")
    for name, path in result["pages"].items():
        print(f"{name} page: {path}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python -m benchmarks.journey demo")
    made.add_argument("competition", help="name of a file in competitions/")
    made.add_argument("--space", default="quick", help="search space (default: quick)")
    made.add_argument("--trials", type=int, default=8, help="trials per target (default: 8)")
    made.add_argument("--seed", type=int, default=0, help="of the search (default: 0)")
    made.add_argument("--top", type=int, help="trials per task that vote (default: 1 to 5, as many as vote best)")
    made.add_argument("--to", default="exported", help="folder for submission and bundle (default: exported)")
    made.add_argument("--truth", help="CSV with the true labels of the test photos (the demo knows its own)")
    made.add_argument("--study-only", action="store_true", help="choose among this study's trials, not the whole ledger")
    return verbs.run(made, journey, show)


def run_verb(title: str, script: str, arguments: Sequence[str]) -> Any:
    print(f"\n[{title}] python {script} {' '.join(arguments)}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / script), *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode == verbs.INTERRUPTED:
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise UserError(f"{script} ended with exit code {done.returncode}; what it said stands above")
    return json.loads(done.stdout)


def _same_answers(one: Path, other: Path) -> bool:
    def read(path: Path) -> list[list[str]]:
        with open(path, newline="") as file:
            return sorted(csv.reader(file))

    return read(one) == read(other)


if __name__ == "__main__":
    sys.exit(main())
