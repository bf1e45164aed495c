"""One label, four ways to learn it: a composed model, a model per task, heads at once, a cascade; and what a random split promises.

    python -m benchmarks.targets demo --seeds 0,1,2 --random random

For each seed one trial of every target of the competition is trained (the space's first guess), each way answers the test photos, and
only then is the truth read, nowhere else. One model per task and the composed model are trained again on the split named by
`--random`, which ignores groups, to see what it promises and what it keeps.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.journey import run_verb, score
from competitions.competition import Competition, with_split
from competitions.loading import load_competition
from competitions.manifest import LABEL
from competitions.prepare import prepare, root_of
from competitions.targets import targets
from system import verbs
from system.errors import UserError
from system.paths import competition_paths

COMPOSED, PER_TASK, HEADS, CASCADE = "composed model", "model per task", "heads at once", "cascade"


def ways_of(competition: Competition) -> dict[str, list[str]]:
    """Way -> the targets that answer the label together, of those the competition declares."""
    known, tasks = targets(competition), list(competition.tasks)
    subsets = [target for target in known.values() if target.where]
    routed = {head for target in subsets for head in target.heads}
    ways = {
        COMPOSED: [name for name, target in known.items() if list(target.heads) == [LABEL]],
        PER_TASK: tasks,
        HEADS: [name for name, target in known.items() if len(tasks) > 1 and set(target.heads) == set(tasks)],
        CASCADE: [*(task for task in tasks if task not in routed), *(target.name for target in subsets)] if subsets else [],
    }
    return {way: names for way, names in ways.items() if names}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Every way on the competition's own split, and two of them on the random one, for each seed."""
    competition = load_competition(given.competition)
    ways = ways_of(competition)
    rows = []
    for seed in map(int, given.seeds.split(",")):
        rows += _run(given, seed, ways, [])
        if given.random:
            rows += _run(given, seed, {way: ways[way] for way in (COMPOSED, PER_TASK) if way in ways}, ["--split", given.random])
    return {"competition": competition.name, "space": given.space, "metric": competition.metric, "rows": rows}


def _run(given: argparse.Namespace, seed: int, ways: Mapping[str, Sequence[str]], split: list[str]) -> list[dict[str, Any]]:
    """One search over all targets of these ways, one export per way, and what each scores on the composed label."""
    competition = load_competition(given.competition)
    paths = competition_paths(competition.name, given.storage)
    prepared = prepare(with_split(competition, split[1]) if split else competition, paths)
    truth_file = Path(given.truth) if given.truth else root_of(competition, paths) / "truth.csv"
    if not given.truth and competition.reader != "demo":
        raise UserError("--truth must be a CSV with the labels of the test photos; only the demo knows its own")
    kept = ["--storage", str(paths.root.parent)]
    asked = list(dict.fromkeys(name for names in ways.values() for name in names))
    search = ["--space", given.space, "--trials", "1", "--seed", str(seed), "--scheduler", "fifo", "--targets", ",".join(asked)]
    searched = run_verb(f"seed {seed} {' '.join(split)}", "run_search.py", [given.competition, *search, *split, *kept])
    rows = []
    for way, names in ways.items():
        to = Path(given.to) / competition.name / "-".join([*split[1:], way.replace(" ", "-"), str(seed)])
        arguments = ["--targets", ",".join(names), "--top", "1", "--study", searched["study"], "--to", str(to)]
        exported = run_verb(way, "export_ensemble.py", [given.competition, *arguments, *split, *kept])
        found = next(row for row in score(prepared, exported, truth_file) if row["task"] == LABEL)
        kept_numbers = {key: found[key] for key in ("single_validation", "single_truth", "hard_truth")}
        rows.append({"split": " ".join(split[1:]) or competition.split.name, "way": way, "seed": seed, **kept_numbers})
    return rows


def show(result: dict[str, Any]) -> None:
    keys = dict.fromkeys((row["split"], row["way"]) for row in result["rows"])
    lines = []
    for split, way in keys:
        own = [row for row in result["rows"] if (row["split"], row["way"]) == (split, way)]
        truths = ", ".join(f"{row['single_truth']:.3f}" for row in own)
        lines.append([way, split, *(mean(row[key] for row in own) for key in _SHOWN), truths])
    print(f"{result['competition']}: composed label, {result['metric']}, space {result['space']}, mean over seeds")
    print(verbs.table(lines, ["way", "split", "validation", "truth", "truth, all views", "truth by seed"]))


_SHOWN = ("single_validation", "single_truth", "hard_truth")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python -m benchmarks.targets demo --seeds 0,1,2 --random random")
    made.add_argument("competition", help="name of a file in competitions/")
    made.add_argument("--space", default="quick", help="its first guess is trained (default: quick)")
    made.add_argument("--seeds", default="0,1,2", help="of the trials (default: 0,1,2)")
    made.add_argument("--random", metavar="SPLIT", help="the competition's split that ignores groups")
    made.add_argument("--truth", help="CSV with the true labels of the test photos (the demo knows its own)")
    made.add_argument("--to", default="exported/targets", help="folder for the exports (default: exported/targets)")
    return verbs.run(made, measure, show)


if __name__ == "__main__":
    sys.exit(main())
