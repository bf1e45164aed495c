#!/usr/bin/env python3
"""The leaderboard of the ledger: every trial with its score, as its study sees it."""

import argparse
import sys
from typing import Any

from ledger.query import SORT_KEYS, Row, leaderboard, scores_by_split
from ledger.retention import has_weights
from ledger.trials import ALL_DATA, TrialFolder
from system import verbs
from system.errors import UserError
from system.files import read_json
from system.paths import CompetitionPaths, named_competition

NOTHING = "nothing there yet; run_search.py trains trials, and with --base ID --vary SETTING those that differ in one setting"
LIMIT = 50
"""Rows that people are shown unless they ask for more: 10,000 lines help nobody."""
SHOWN_SETTINGS = ("split", "backbone", "loss", "optimizer", "lr", "augmentation")


class ShownRows(list[dict[str, Any]]):
    """The rows to show, and how many `--limit` left out."""

    more = 0


def call(given: argparse.Namespace) -> list[dict[str, Any]]:
    if given.limit is not None and given.limit < 0:
        raise UserError(f"limit must be 0 (all) or more, got {given.limit}; give --limit N")
    paths = named_competition(given.competition, given.storage)
    if not paths.root.is_dir():
        from system.errors import unknown

        there = sorted(path.name for path in paths.root.parent.iterdir()) if paths.root.parent.is_dir() else []
        raise UserError(unknown("competition in this storage", paths.root.name, there) + "; run_search.py starts one")
    if given.against is not None:
        _check_alone(given)
        from search.effects import effects_of

        return [change.json() for change in effects_of(paths, given.against)]
    if given.effects:
        _check_effects(given)
        from reports.ledger_effects import ledger_effects

        return ledger_effects(paths, given.target, given.study)
    if given.splits:
        _check_alone(given)
        return _with_gaps(scores_by_split(paths), paths)
    limit = given.limit if given.limit is not None or given.json else LIMIT
    board = leaderboard(paths, study=given.study, target=given.target, sort=given.sort, limit=limit or None)
    rows = ShownRows(row.json() | {"weights": _weights(paths, row)} for row in board.rows)
    rows.more = board.total - len(rows)
    return rows


def _weights(paths: CompetitionPaths, row: Row) -> str | None:
    """`kept` or `dropped`; `None` where there were none yet."""
    if row.weights is None:
        return None
    return "kept" if has_weights(TrialFolder(paths.trials / row.trial_id)) else "dropped"


def _with_gaps(rows: list[dict[str, Any]], paths: CompetitionPaths) -> list[dict[str, Any]]:
    """Put to each split what `prepare_data.py` last found of its twin gap; `None` where it has not looked."""
    gaps = read_json(paths.twin_gaps)["splits"] if paths.twin_gaps.is_file() else {}
    for row in rows:
        for name, split in row["splits"].items():
            split["twin_gap"] = gaps.get(name, {}).get("verdict")
            split["words"] = gaps.get(name, {}).get("words")
    return rows


def _check_alone(given: argparse.Namespace) -> None:
    idle = [flag for flag, told in (("--study", given.study), ("--target", given.target)) if told is not None]
    idle += ["--sort"] if given.sort != "score" else []
    idle += ["--limit"] if given.limit is not None else []
    idle += ["--splits"] if given.splits and given.against is not None else []
    idle += ["--effects"] if given.effects else []
    if idle:
        raise UserError(f"{', '.join(idle)} would have no effect here: the whole ledger is looked at; leave it out")


def _check_effects(given: argparse.Namespace) -> None:
    idle = [
        flag
        for flag, told in (("--splits", given.splits), ("--sort", given.sort != "score"), ("--limit", given.limit is not None))
        if told
    ]
    if idle:
        raise UserError(f"{', '.join(idle)} would have no effect with --effects, which has its own order; leave it out")


def show(rows: list[dict[str, Any]]) -> None:
    if any("reference" in row for row in rows):
        _show_effects(rows)
        return
    if any("change" in row for row in rows):
        from search.effects import table

        print(table(rows))
        return
    if any("splits" in row for row in rows):
        _show_splits(rows)
        return
    told_first = ("trial_id", "target", "fold", "status", "score", "best_epoch", "epochs", "seconds")
    keys = (*told_first, "weights", "study", "host", "author")
    told = [row | {"fold": "all" if row["fold"] == ALL_DATA else str(row["fold"])} for row in rows]
    lines = [[*(row[key] for key in keys), *(row["config"].get(key) for key in SHOWN_SETTINGS)] for row in told]
    print(verbs.table(lines, [*keys, *SHOWN_SETTINGS]) if lines else NOTHING)
    if more := getattr(rows, "more", 0):
        print(f"and {more:,} more; --limit 0 shows all")


def _show_effects(rows: list[dict[str, Any]]) -> None:
    for target in dict.fromkeys(row["target"] for row in rows):
        own = [row for row in rows if row["target"] == target]
        when = "" if own[0]["after_epoch"] is None else f" after epoch {own[0]['after_epoch']}, so that pruned ones count"
        print(f"{target}: what each level did to the score, {own[0]['of']} trials compared{when}")
        lines = [
            [
                f"{row['setting']} {row['level']}",
                row["reference"],
                "-" if row["effect"] is None else f"{row['effect']:+.4f}",
                "-" if row["effect"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}",
                row["trials"],
                row["pairs"],
                row["verdict"] + (f": {row['why']}" if row["why"] else ""),
            ]
            for row in own
        ]
        print(verbs.table(lines, ["level", "against", "effect", "90 % interval", "trials", "pairs", "verdict"]))
        asked = next((row["next"] for row in sorted(own, key=_cost) if row["next"]), None)
        if asked:
            print(f"cheapest to settle next: {asked}")


def _cost(row: dict[str, Any]) -> float:
    return float("inf") if row["seconds"] is None else float(row["seconds"])


def _show_splits(rows: list[dict[str, Any]]) -> None:
    names = sorted({name for row in rows for name in row["splits"]})
    cells = [[_split_cell(row["splits"].get(name)) for name in names] for row in rows]
    told = [
        [row["target"], *own, *(row["config"].get(key) for key in SHOWN_SETTINGS[1:])]
        for row, own in zip(rows, cells, strict=True)
    ]
    print("the same settings under several splits: mean score (trials)")
    print(verbs.table(told, ["target", *names, *SHOWN_SETTINGS[1:]]))
    words = {name: split["words"] for row in rows for name, split in row["splits"].items() if split["words"]}
    for name in sorted(words):
        print(f"{name}: {words[name]}")


def _split_cell(found: dict[str, Any] | None) -> str | None:
    return None if found is None else f"{found['score']:.4f} ({found['n']})"


def main() -> int:
    made = verbs.parser(__doc__ or "", "python show_trials.py demo --target age")
    made.add_argument("competition", help="name of a competition that has been searched")
    made.add_argument("--study", help="only this study")
    made.add_argument("--target", help="only this target")
    made.add_argument("--sort", default="score", metavar="KEY", help=f"one of {', '.join(SORT_KEYS)} (default: score)")
    made.add_argument(
        "--limit", type=int, metavar="N", help=f"only the first N rows, 0 for all (default: {LIMIT}; with --json all)"
    )
    made.add_argument("--splits", action="store_true", help="what the same settings scored under several splits, side by side")
    made.add_argument(
        "--effects", action="store_true", help="what every setting did to the score, and what would settle the rest"
    )
    made.add_argument("--against", metavar="TRIAL_ID", help="did it help? trials that differ from this one in one setting")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
