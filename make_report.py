#!/usr/bin/env python3
"""Write pages to look at: each is one HTML file that needs no network."""

import argparse
import sys
from typing import Any

from system import verbs


def call(given: argparse.Namespace) -> dict[str, Any]:
    from reports.write import write_pages

    return write_pages(given.competition, storage=given.storage, study=given.study, ensemble=given.ensemble, to=given.to)


def show(made: dict[str, Any]) -> None:
    for name, path in made["pages"].items():
        print(f"{name}: {path}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python make_report.py demo")
    made.add_argument("competition", help="name of a competition that has been searched")
    made.add_argument("--study", help="only this study on the study page (default: the whole ledger)")
    made.add_argument("--ensemble", metavar="ID", help="the export on the ensemble page (default: the newest)")
    made.add_argument("--to", metavar="DIR", help="where the pages go (default: reports/ in the competition's storage)")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
