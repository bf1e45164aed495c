#!/usr/bin/env python3
"""Look at a folder of photos as it was handed out and write its YAML: what was found, how it was decided, and what is left to choose."""

import argparse
import sys
from dataclasses import asdict
from typing import Any

from system import verbs

LINES_EACH = 20


def call(given: argparse.Namespace) -> dict[str, Any]:
    from competitions.draft.write import write_competition
    from competitions.loading import COMPETITION_FOLDER
    from system.paths import expanded

    to = expanded(given.to) if given.to else COMPETITION_FOLDER
    written = write_competition(expanded(given.folder), name=given.name or "", labels=given.label or (), path=to)
    return asdict(written) | {"path": str(written.path)}


def show(written: dict[str, Any]) -> None:
    print(f"{written['name']}: wrote {written['path']}")
    for line in written["found"]:
        print(f"  {line}")
    for kind, what in (("choices", "look at this"), ("notes", "note"), ("faults", "left to mend")):
        for line in written[kind][:LINES_EACH]:
            print(f"  {what}: {line}")
        if len(written[kind]) > LINES_EACH:
            print(f"  {what}: and {len(written[kind]) - LINES_EACH} more, which --json lists")
    again = "once that is mended" if written["faults"] else "next"
    print(f"{again}: python prepare_data.py {written['name']}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python new_competition.py data/leaves")
    made.add_argument("folder", metavar="FOLDER", help="where the files were unpacked, below PODIUM_DATA")
    made.add_argument("--name", metavar="N", help="what the competition is called (default: as the folder)")
    made.add_argument("--label", nargs="+", metavar="COLUMN", help="the columns that are asked for, where nothing says it")
    made.add_argument("--to", metavar="FILE", help="a file or folder to write to (default: competitions/N.yaml)")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
