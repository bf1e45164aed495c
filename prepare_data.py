#!/usr/bin/env python3
"""Read a competition's photos, check them, split them by group and decode them once; say what was found."""

import argparse
import sys
from typing import Any

from system import verbs


def call(given: argparse.Namespace) -> dict[str, Any]:
    from competitions.compare_splits import compare_splits
    from competitions.loading import load_competition
    from competitions.prepare import prepare
    from competitions.report import report
    from system.paths import check_writable, competition_paths
    from system.progress import Counting

    competition = load_competition(given.competition, given.split)
    paths = competition_paths(competition.name, given.storage)
    check_writable(paths.root)
    prepared = prepare(competition, paths, progress=Counting("decoding photos"))
    found = report(prepared, prepared.cache(competition.image_size))
    found["splits"] = compare_splits(prepared)
    prepared.save()
    if given.show_leak:
        from search.leak import show_leak

        found["leak"] = show_leak(prepared, Counting("leak check, epochs"))
    return found


def show(found: dict[str, Any]) -> None:
    images = ", ".join(f"{n} {role}" for role, n in found["images"].items() if n)
    print(f"{found['competition']}: {images}; {found['groups']} groups")
    for split in found["splits"]:
        print(f"  {_split_line(split)}")
    for task, counts in found["tasks"].items():
        print(f"  {task}: {_counts_line(counts)}")
    for text in _first([f"always in training: {pinned['reason']}" for pinned in found["pinned_groups"]]):
        print(f"  {text}")
    for text in _first([f"note: {note}" for note in found["notes"]]):
        print(f"  {text}")
    for text in _first([f"broken: {image_id}: {reason}" for image_id, reason in found["broken_files"].items()]):
        print(f"  {text}")
    for text in _first([finding["text"] for finding in (*found["leaks"], *found["duplicates"])]):
        print(f"  look at: {text}")
    for text in _first(found["near_duplicates"]["warnings"]):
        print(f"  look at: {text}")
    for line in _leak_lines(found.get("leak")):
        print(f"  {line}")
    print(f"  decoded: {found['cache']['bytes'] / 1e6:.1f} MB at {found['cache']['size']} px ({found['cache']['path']})")


def _counts_line(counts: dict[str, int], most: int = 40) -> str:
    """Every class with its photos; of very many classes the most and the least frequent."""
    if len(counts) <= most:
        return ", ".join(f"{name} {n}" for name, n in counts.items())
    ranked = [f"{name} {n}" for name, n in sorted(counts.items(), key=lambda item: -item[1])]
    return f"{len(counts)} classes: {', '.join(ranked[:10])} ... {', '.join(ranked[-10:])} (--json has all)"


def _leak_lines(leak: dict[str, Any] | None) -> list[str]:
    if leak is None:
        return []
    rows = [[task["task"], task["random"], task["by_group"], task["difference"]] for task in leak["tasks"]]
    head = ["leak", f"random promises ({leak['random']})", f"by group ({leak['by_group']})", "difference"]
    return verbs.table(rows, head).splitlines()


def _first(texts: list[str], most: int = 20) -> list[str]:
    return texts[:most] + ([f"and {len(texts) - most} more, which --json lists"] if len(texts) > most else [])


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
    made.add_argument(
        "--show-leak", action="store_true", help="train a small network on a random split and on that by group; takes minutes"
    )
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
