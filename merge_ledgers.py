#!/usr/bin/env python3
"""Bring a team-mate's trials, predictions, studies and imports into this storage. Nothing is overwritten: conflicts are kept and shown."""

import argparse
import sys
from typing import Any

from system import verbs

SHOWN_TRIALS = 10


def call(given: argparse.Namespace) -> dict[str, Any]:
    from ledger.merge.discovery import find_ledgers
    from ledger.merge.ledgers import merge
    from system.paths import check_writable, named_competition
    from system.progress import Counting

    paths = named_competition(given.competition, given.storage)
    others = find_ledgers(paths, given.others)
    check_writable(paths.root)
    return {"competition": paths.root.name, **merge(paths, others, Counting("merging trials")).json()}


def show(report: dict[str, Any]) -> None:
    new, longer, same = len(report["new_trials"]), len(report["longer"]), report["already_there"]
    print(f"{report['competition']}: {new} new trials, {longer} with more epochs, {same} already there")
    print(f"  came along: {report['predictions']} arrays of predictions, {report['weights']} start weights")
    _list(
        [
            f"{study['what']}: study {study['study']}" + (f" (was {study['was']})" if study["was"] != study["study"] else "")
            for study in report["studies"]
        ]
    )
    _list([f"{told['what']}: import {told['name']} ({told['id']}) by {told['author'] or '?'}" for told in report["imports"]])
    for kind, why in (("conflicts", "conflict"), ("alike", "within what two kinds of machine may differ")):
        _list([f"{why}: {_difference(found)}" for found in report[kind]])
    if report["conflicts"] or report["alike"]:
        print("  all versions are kept: one in trials/<id>, the others in conflicts/<id>/<version>")
    _list([f"left out: {' '.join(f'{key} {found[key]}' for key in ('trial', 'study') if key in found)} {found['why']}"
           for found in report["running"]])  # fmt: skip
    _list([f"damaged, left out: {found['file']} ({found['where']}): {found['why']}" for found in report["damaged"]])


def _difference(found: dict[str, Any]) -> str:
    runs = " and ".join(
        f"{'no score' if one['score'] is None else format(one['score'], '.4f')} by {one['author'] or '?'} on {one['host'] or '?'}"
        for one in found["versions"]
    )
    epoch = found["first_epoch_that_differs"]
    return f"trial {found['trial_id']}: {runs}, " + (f"apart from epoch {epoch} on" if epoch else "the same curve, other weights")


def _list(lines: list[str]) -> None:
    more = len(lines) - SHOWN_TRIALS
    for line in [*lines[:SHOWN_TRIALS], *([f"and {more} more, which --json lists"] if more > 0 else [])]:
        print(f"  {line}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python merge_ledgers.py clothing /mnt/jin/runs")
    made.add_argument("competition", help="name of a competition")
    made.add_argument("others", nargs="+", metavar="OTHER", help="a team-mate's storage, or its folder of the competition")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
