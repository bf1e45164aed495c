"""What a split that ignores groups promises, beside the split by group and the truth: the same networks, trained on both.

    python -m benchmarks.leak demo --seeds 0,1,2

Per task: the best validation score and the score on held-out truth, by group and at random. The networks are those of
`prepare_data.py --show-leak`, with more seeds.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", NO_ALBUMENTATIONS_UPDATE="1")

import numpy as np

from benchmarks._sides import spread
from benchmarks.journey import read_truth
from system import verbs


def call(given: argparse.Namespace) -> list[dict[str, Any]]:
    from competitions.competition import with_split
    from competitions.loading import load_competition
    from competitions.prepare import prepare, root_of
    from search.leak import leak_splits, single_tasks
    from system.paths import competition_paths

    competition = load_competition(given.competition)
    paths = competition_paths(competition.name, given.storage)
    rows = []
    for split in reversed(leak_splits(prepare(competition, paths))):
        prepared = prepare(with_split(competition, split), paths)
        truth_file = Path(given.truth) if given.truth else root_of(competition, paths) / "truth.csv"
        ids, truth = read_truth(truth_file, competition)
        for target in single_tasks(competition):
            scores = [_train(prepared, target, int(seed), ids, truth[target.name]) for seed in given.seeds.split(",")]
            rows.append(
                {
                    "task": target.name,
                    "split": split,
                    "validation": [validation for validation, _ in scores],
                    "truth": [true for _, true in scores],
                }
            )
            print(f"{target.name} {split}: validation {scores}", file=sys.stderr, flush=True)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    lines = [[row["task"], row["split"], spread(row["validation"]), spread(row["truth"])] for row in rows]
    print(verbs.table(lines, ["task", "split", "validation", "truth"]))


def _train(prepared: Any, target: Any, seed: int, ids: tuple[str, ...], truth: Any) -> tuple[float, float]:
    from competitions.metrics import METRICS
    from ensemble.align import align
    from search.leak import leak_config
    from trainables.attach import attach, photos
    from trainables.prediction import load_network, predict_photos
    from trainables.training import run_trial

    config = leak_config(prepared, target, seed)
    with tempfile.TemporaryDirectory() as folder:
        context = attach(prepared, config, trials=Path(folder))
        record = run_trial(config, context)
        model, wanted = load_network(config, context.folder.best)
        test = photos(prepared, config, "test")
        probs = predict_photos(model, test, config, ["identity"], wanted, "cpu")[target.name, "identity"]
    aligned = align(ids, [image_id for image_id, _ in test.names], probs, member=config.trial_id)
    return float(record.score or np.nan), METRICS[target.metric](aligned, truth)


def main() -> int:
    made = verbs.parser(__doc__ or "", "python -m benchmarks.leak demo --seeds 0,1,2")
    made.add_argument("competition", help="name of a file in competitions/")
    made.add_argument("--seeds", default="0,1,2", help="of the trainings (default: 0,1,2)")
    made.add_argument("--truth", help="CSV with the true labels of the test photos (the demo knows its own)")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
