#!/usr/bin/env python3
"""Write pages to look at: the photos, what was tried, and the ensemble. Each is one HTML file that needs no network."""

import argparse
import sys
from typing import Any

from system import verbs


def call(given: argparse.Namespace) -> dict[str, Any]:
    from reports.write import write_pages

    return write_pages(
        given.competition,
        storage=given.storage,
        study=given.study,
        ensemble=given.ensemble,
        sheets=given.sheets,
        to=given.to,
        tell=lambda text: print(text, file=sys.stderr, flush=True),
    )


def show(made: dict[str, Any]) -> None:
    for name, path in made["pages"].items():
        print(f"{name}: {path}")
    if made["sheets"]:
        print(
            f"contact sheets: {made['sheets'][0]}" + (f" and {len(made['sheets']) - 1} more" if len(made["sheets"]) > 1 else "")
        )
    for name, why in made["left_out"].items():
        print(f"{name}: left out: {why}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python make_report.py demo")
    made.add_argument("competition", help="name of a competition, or the path of its YAML")
    made.add_argument("--study", help="only this study on the study page (default: the whole ledger)")
    made.add_argument("--ensemble", metavar="ID", help="the export on the ensemble page (default: the newest)")
    made.add_argument("--sheets", action="store_true", help="contact sheets too: every photo small, to look through and to mark")
    made.add_argument("--to", metavar="DIR", help="where the pages go (default: reports/ in the competition's storage)")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
