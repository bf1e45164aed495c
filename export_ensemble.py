#!/usr/bin/env python3
"""Choose the best trials of each task, let their views vote, and export submission and bundle."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ledger import verbs


def call(given: argparse.Namespace) -> dict[str, Any]:
    from bundle.choose import choose
    from bundle.export import check_target, export
    from competitions.competition import load_competition
    from competitions.prepare import prepare
    from ledger.paths import check_writable, competition_paths
    from ledger.progress import Counting

    check_target(Path(given.to))
    competition = load_competition(given.competition, given.split)
    paths = competition_paths(competition.name, given.storage)
    check_writable(paths.root)
    prepared = prepare(competition, paths, progress=Counting("decoding photos"))
    choice = choose(
        prepared,
        top=given.top,
        rule=given.vote,
        targets=given.targets.split(",") if given.targets is not None else None,
        study=given.study,
        fold=given.fold,
        all_data=given.all_data,
        device=given.device,
    )
    return export(prepared, choice, Path(given.to))


def show(value: dict[str, Any]) -> None:
    rows = []
    for task, facts in value["scores"].items():
        honest = facts["honest"]
        interval = f"{honest['mean']:.4f} ({honest['low']:.4f} to {honest['high']:.4f})" if honest else "needs two groups"
        rows.append([task, facts["best_single"]["score"], facts["hard"], facts["soft"], interval])
    print("on the validation photos that also chose:           | on groups left out of the choice:")
    print(verbs.table(rows, ["task", "best single", "hard vote", "soft vote", "honest (90 %)"]))
    voters = ", ".join(f"{task} {n}" for task, n in value["voters"].items())
    print(f"voters: {voters}")
    print(f"submission: {value['submission'] or 'none, there are no test photos'}\nbundle: {value['bundle']}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python export_ensemble.py demo --to exported")
    made.add_argument("competition", help="name of a file in competitions/, without .yaml")
    made.add_argument("--to", required=True, metavar="DIR", help="folder for submission.csv and bundle/")
    made.add_argument("--top", type=int, metavar="K", help="trials per task that vote (default: 1 to 5, as many as vote best)")
    made.add_argument("--vote", default="hard", metavar="RULE", help="hard or soft (default: hard)")
    made.add_argument(
        "--targets", metavar="A,B", help="whose trials vote, together answering the label (default: one target per task)"
    )
    made.add_argument("--study", help="only trials of this study (default: the whole ledger)")
    made.add_argument("--fold", type=int, default=0, help="the validation fold the trials share (default: 0)")
    made.add_argument("--split", metavar="NAME", help="one of the competition's splits (default: its `split`)")
    made.add_argument(
        "--all-data", action="store_true", help="the chosen trials' siblings that learned from all photos vote on the test photos"
    )
    made.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where missing views are computed (default: cpu)")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
