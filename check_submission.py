#!/usr/bin/env python3
"""Check a file before it is handed in: columns, ids, classes, probabilities, rankings. Every fault is named."""

import argparse
import sys
from pathlib import Path
from typing import Any

from system import verbs


def call(given: argparse.Namespace) -> dict[str, Any]:
    from competitions.loading import load_competition
    from competitions.prepare import prepare
    from submissions.lint import check_file
    from system.errors import UserError
    from system.paths import check_writable, competition_paths
    from system.progress import Counting

    competition = load_competition(given.competition)
    paths = competition_paths(competition.name, given.storage)
    check_writable(paths.root)
    prepared = prepare(competition, paths, progress=Counting("decoding photos"))
    manifest = prepared.manifest
    ids = list(dict.fromkeys((manifest.units or manifest.image_ids)[row] for row in manifest.rows("test")))
    if not ids:
        raise UserError(f"{competition.name} has no test photos, so nothing is handed in; see `roles` and `submission.sample`")
    return {"competition": competition.name, **check_file(Path(given.file), prepared.competition, ids)}


def show(value: dict[str, Any]) -> None:
    print(f"{value['file']}: {value['rows']} rows, as {value['competition']} asks for them")
    for task, facts in value["answers"].items():
        numbers = facts.get("first") or {name: round(mean, 4) for name, mean in facts["mean"].items()}
        some = ", ".join(f"{name} {number}" for name, number in list(numbers.items())[:20])
        more = f", and {len(numbers) - 20} more" if len(numbers) > 20 else ""
        print(f"  {task} ({facts['form']}): {some}{more}")
    for note in value["notes"]:
        print(f"  note: {note}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python check_submission.py demo exported/submission.csv")
    made.add_argument("competition", help="name of a file in competitions/, without .yaml")
    made.add_argument("file", metavar="FILE", help="the file that is to be handed in")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
