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
    progress = Counting("decoding photos")
    proposal = None if given.propose_split is None else _propose(competition, paths, given.propose_split, progress)
    prepared = prepare(competition, paths, progress=progress)
    found = report(prepared, prepared.cache(competition.image_size))
    found["splits"] = compare_splits(prepared)
    found |= _twins(prepared, found["splits"], compute=given.features) | ({} if proposal is None else {"proposal": proposal})
    prepared.save()
    if given.show_leak:
        from search.leak import show_leak

        found["leak"] = show_leak(prepared, Counting("leak check, epochs"))
    return found


def _propose(competition: Any, paths: Any, given: str, progress: Any) -> dict[str, Any]:
    """Look for clusters that match the test photos, and keep them where none are kept; nothing uses them until the YAML says so."""
    from competitions.prepare import prepare
    from competitions.twins.cluster_file import keep_clusters, unmatched
    from competitions.twins.matched import folds_asked, propose
    from system.progress import Counting
    from trainables.probes.known import compute_features

    n_folds = folds_asked(given, competition.split)
    prepared = prepare(unmatched(competition, n_folds), paths, progress=progress)
    features = compute_features(prepared, Counting("features, photos"))
    proposal = propose(prepared, features.table, n_folds, seed=competition.split.seed, tell=_tell)
    return {**proposal.to_json(), **keep_clusters(paths, n_folds, proposal.clusters), "features": features.made_of}


def _twins(prepared: Any, splits: list[dict[str, Any]], *, compute: bool) -> dict[str, Any]:
    """Put its twin gap to each split, where features are known or are to be computed; where neither is so, no network is loaded."""
    for split in splits:
        split["twin_gap"] = None
    if not (compute or prepared.paths.features.is_dir()):
        return {"twin_features": None}
    from competitions.twins.photos import gaps_of_splits, keep_gaps
    from system.progress import Counting
    from trainables.probes.known import compute_features, known_features

    features = compute_features(prepared, Counting("features, photos")) if compute else known_features(prepared)
    if features is None:
        return {"twin_features": None}
    gaps = gaps_of_splits(prepared, features.table)
    for split in splits:
        split["twin_gap"] = gaps[split["name"]].to_json() if split["name"] in gaps else None
    keep_gaps(prepared.paths, gaps, features.made_of)
    return {"twin_features": features.made_of}


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(found: dict[str, Any]) -> None:
    images = ", ".join(f"{n} {role}" for role, n in found["images"].items() if n)
    print(f"{found['competition']}: {images}; {found['groups']} groups")
    for split in found["splits"]:
        print(f"  {_split_line(split)}")
        if split["twin_gap"]:
            print(f"    {split['twin_gap']['words']}")
    for line in _twin_lines(found):
        print(f"  {line}")
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


def _twin_lines(found: dict[str, Any]) -> list[str]:
    if (proposal := found.get("proposal")) is not None:
        return [
            f"proposed split: {proposal['words']}",
            f"  {proposal['kept']}; to take it, write in the YAML: split: {{name: matched, matched: {proposal['folds']}}}",
        ]
    if found["twin_features"] is None and found["images"]["test"]:
        return [
            "whether held-out photos have nearer twins in training than test photos: not asked, --features computes what it takes"
        ]
    return []


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
    if split["matched"] or split["groups"]:
        how = f"by groups of {split['groups']}" if split["groups"] else "matched to the test photos"
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
    made.add_argument(
        "--features",
        action="store_true",
        help="compute features of all photos, and say for each split whether it promises too much; a minute per 4,000 photos on a core",
    )
    made.add_argument(
        "--propose-split",
        nargs="?",
        const="",
        metavar="K",
        help="look for K folds whose photos are as far from training as the test photos are (default: as many as the split has)",
    )
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
