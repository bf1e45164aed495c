#!/usr/bin/env python3
"""Choose the best trials of each task, let their views vote, say what to expect, and export submission and bundle."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from system import verbs
from system.errors import UserError


def call(given: argparse.Namespace) -> dict[str, Any]:
    from bundle.export import check_target, export
    from bundle.gather import gather
    from bundle.opened import Opened
    from competitions.loading import load_competition
    from competitions.prepare import prepare
    from ensemble.choose import choose
    from ensemble.options import ALL_FOLDS, Options
    from system.paths import check_writable, competition_paths
    from system.progress import Counting

    check_target(Path(given.to))
    competition = load_competition(given.competition, given.split)
    paths = competition_paths(competition.name, given.storage)
    check_writable(paths.root)
    prepared = prepare(competition, paths, progress=Counting("decoding photos"))
    options = Options(
        top=given.top,
        vote=given.vote,
        targets=_names(given.targets),
        study=given.study,
        fold=given.fold if given.fold == ALL_FOLDS else _fold(given.fold),
        all_data=given.all_data,
        imports=() if given.imports == "none" else _names(given.imports),
        unjudged=_names(given.unjudged) or (),
        together=given.together,
        views=_names(given.views),
        thorough=given.thorough,
        plain=given.plain,
        soup=given.soup,
        front=given.front,
        estimator=given.estimator,
        max_seconds=given.max_seconds_per_1000,
        max_megabytes=given.max_megabytes,
        device=given.device,
    )
    opened = Opened(prepared)
    with opened.unchanged():
        pools = gather(opened, options, tell=_tell)
        choice = choose(pools, options, tell=_tell, processes=len(os.sched_getaffinity(0)))
        return export(opened, choice, Path(given.to), device=options.device, tell=_tell)


def show(value: dict[str, Any]) -> None:
    rows = []
    for task, facts in value["scores"].items():
        honest = facts["honest"]
        interval = f"{honest['mean']:.4f} ({honest['low']:.4f} to {honest['high']:.4f})" if honest else "needs two groups"
        gap = "" if facts["gap"] is None else f"{facts['gap']:+.4f}"
        rows.append([task, facts["best_single"]["score"], facts["hard"], facts["soft"], facts["vote"], interval, gap])
    print("on the validation photos that also chose:                        | on groups left out of the choice:")
    print(verbs.table(rows, ["task", "best single", "hard vote", "soft vote", "exported", "honest (90 %)", "too good by"]))
    for task, facts in value["scores"].items():
        print(f"{task}: {facts['verdict']}")
        if facts["unseen"]:
            some, more = ", ".join(facts["unseen"][:5]), ", ..." if len(facts["unseen"]) > 5 else ""
            print(
                f"{task}: no photo compared shows {len(facts['unseen'])} of its classes ({some}{more}): no score here knows them"
            )
    _show_compared(value)
    looked = ", ".join(f"{target} {n}" for target, n in value["forecast"]["validation_looked_at"].items())
    print(f"times the validation photos were looked at while training: {looked}")
    for limit in value["forecast"].get("limits", []):
        print(limit)
    print(value["forecast"]["words"])
    voters = ", ".join(f"{task} {n}" for task, n in value["voters"].items())
    print(f"voters: {voters}")
    if value["stopped"]:
        members = {member for task in value["plan"]["tasks"] for member, _ in task["voters"]}
        cut = ", ".join(f"{one['trial_id']} epoch {one['epochs_done']} of {one['epochs_planned']}" for one in value["stopped"])
        print(f"{len(value['stopped'])} of {len(members)} members that vote were cut off before their last epoch ({cut})")
    print(f"submission: {value['submission'] or 'none, there are no test photos'}\nbundle: {value['bundle']}")


def _show_compared(value: dict[str, Any]) -> None:
    for subtask, tried in value["refinements"].items():
        for account in tried:
            what = "kept" if account["kept"] else "not kept"
            lost = account["apparent"] is not None and not account["kept"]
            but = f", but {account['apparent']:+.4f} on all the photos that chose" if lost else ""
            print(f"{subtask}: {account['step']} {what}: {_interval(account)}{but}")
    for subtask, views in value["views_that_hurt"].items():
        if views:
            print(f"{subtask}: these views hurt: {', '.join(views)}")
    for subtask, found in value["tournament"].items():
        print(f"{subtask}, every way to choose:")
        rows = [[one["way"], one["score"], _interval(one["gain"]), len(one["members"])] for one in found["entries"]]
        print(verbs.table(rows, ["way", "honest score", f"gain over {found['default']}", "members"]))
    ways = [[row["way"] + (" (taken)" if row["kept"] else ""), row["score"], row["gain"]] for row in value["together"]]
    if ways:
        print(verbs.table(ways, ["way to the label", "honest score", "gain"]))
    if value["budget"] is not None:
        budget = value["budget"]
        points = [("unlimited", budget["unlimited"]), *(("", point) for point in budget["front"])]
        rows = [
            [
                "chosen" if point == budget["chosen"] else name,
                point["score"],
                point["seconds_per_1000"],
                point["megabytes"],
                "; ".join(f"{subtask}: {option}" for subtask, option in point["choice"].items()),
            ]
            for name, point in points
        ]
        print(verbs.table(rows, ["", "honest score", "seconds per 1,000", "megabytes", "what votes"]))


def _interval(gain: dict[str, Any] | None) -> str:
    return "" if gain is None else f"{gain['gain']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split(","))


def _fold(text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"--fold must be a number of a fold, or all, got {text!r}")
    return int(text)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    made = verbs.parser(__doc__ or "", "python export_ensemble.py demo --to exported")
    made.add_argument("competition", help="name of a file in competitions/, without .yaml")
    made.add_argument("--to", required=True, metavar="DIR", help="folder for submission.csv and bundle/")
    made.add_argument("--top", type=int, metavar="K", help="trials per task that vote (default: 1 to 5, as many as vote best)")
    made.add_argument(
        "--vote",
        metavar="WAY",
        help="hard, soft, another of docs/ensemble.md, or best: the tournament's winner (default: hard, soft where probabilities or "
        "rankings are handed in; the best trial alone where that is better)",
    )
    made.add_argument(
        "--targets", metavar="A,B", help="whose trials vote, together answering the label (default: one target per task)"
    )
    made.add_argument(
        "--together", metavar="WAY", help="how tasks become the label (default: as they are, unless another way wins)"
    )
    made.add_argument(
        "--imports", metavar="A,B", help="files from outside that vote; none (default: those that answer the whole fold)"
    )
    made.add_argument(
        "--unjudged",
        metavar="A,B",
        help="files from outside without out-of-fold answers that vote all the same: no score knows them",
    )
    made.add_argument("--study", help="only trials of this study (default: the whole ledger)")
    made.add_argument("--fold", default="0", metavar="F", help="the validation fold the trials share, or all (default: 0)")
    made.add_argument("--split", metavar="NAME", help="one of the competition's splits (default: its `split`)")
    made.add_argument(
        "--all-data", action="store_true", help="the chosen trials' siblings that learned from all photos vote on the test photos"
    )
    made.add_argument(
        "--views",
        metavar="A,B",
        help="the competition's views that voters may look through (default: all; identity alone is fastest)",
    )
    made.add_argument("--thorough", action="store_true", help="compare every way to choose, over a wider pool: minutes")
    made.add_argument("--plain", action="store_true", help="votes as they are: no views left out, no calibration, no offsets")
    made.add_argument("--soup", action="store_true", help="average the weights of trials that share backbone and start")
    made.add_argument(
        "--estimator",
        default="em",
        metavar="NAME",
        help="of the test photos' class shares, where not told: em or bbse (default: em)",
    )
    made.add_argument("--front", action="store_true", help="measure what members cost and print score against cost")
    made.add_argument("--max-seconds-per-1000", type=float, metavar="S", help="the best choice whose networks take at most this")
    made.add_argument("--max-megabytes", type=float, metavar="MB", help="the best choice whose weights take at most this")
    made.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where missing views are computed (default: cpu)")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
