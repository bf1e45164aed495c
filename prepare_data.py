#!/usr/bin/env python3
"""Read a competition's photos, check them, split them by group and decode them once; say what was found."""

import argparse
import sys
from typing import Any

from ledger import verbs

MOST_BROKEN = 20
"""Lines for broken files: one file of many photos that broke off would fill the screen with the same sentence."""


def call(given: argparse.Namespace) -> dict[str, Any]:
    from competitions.compare_splits import compare_splits
    from competitions.competition import load_competition
    from competitions.prepare import prepare, report
    from ledger.paths import check_writable, competition_paths
    from ledger.progress import Counting

    competition = load_competition(given.competition, given.split)
    paths = competition_paths(competition.name, given.storage)
    check_writable(paths.root)
    prepared = prepare(competition, paths, progress=Counting("decoding photos"))
    found = report(prepared, prepared.cache(competition.image_size))
    found["splits"] = compare_splits(prepared)
    prepared.save()
    return found


def show(found: dict[str, Any]) -> None:
    images = ", ".join(f"{n} {role}" for role, n in found["images"].items() if n)
    print(f"{found['competition']}: {images}; {found['groups']} groups")
    for split in found["splits"]:
        print(f"  {_split_line(split)}")
    for task, counts in found["tasks"].items():
        print(f"  {task}: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    for pinned in found["pinned_groups"]:
        print(f"  always in training: {pinned['reason']}")
    for note in found["notes"]:
        print(f"  note: {note}")
    broken = list(found["broken_files"].items())
    for image_id, reason in broken[:MOST_BROKEN]:
        print(f"  broken: {image_id}: {reason}")
    if len(broken) > MOST_BROKEN:
        print(f"  broken: and {len(broken) - MOST_BROKEN} more, {len(broken)} in all; --json lists each")
    for finding in (*found["leaks"], *found["duplicates"]):
        print(f"  look at: {finding['text']}")
    print(f"  decoded: {found['cache']['bytes'] / 1e6:.1f} MB at {found['cache']['size']} px ({found['cache']['path']})")


def _split_line(split: dict[str, Any]) -> str:
    how = "by group" if split["by_group"] else "random"
    if split["fault"]:
        return f"split {split['name']}, {how}: {split['fault']}"
    share = split["holdout"]
    parts = (
        f"folds of {', '.join(map(str, split['photos']))}" if share is None else f"holdout of {split['photos'][0]} ({share:.1%})"
    )
    return (
        f"split {split['name']}, {how}: {parts} photos; class shares differ by up to {split['deviation']:.3f}; "
        f"{split['pinned_photos']} photos always in training; {split['groups_cut']} groups cut apart"
    )


def main() -> int:
    made = verbs.parser(__doc__ or "", "python prepare_data.py clothing")
    made.add_argument("competition", help="name of a file in competitions/, without .yaml")
    made.add_argument("--split", metavar="NAME", help="one of the competition's splits (default: its `split`)")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
