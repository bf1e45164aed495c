#!/usr/bin/env python3
"""Answer every photo of a folder with a bundle and write the competition's file. Needs no ledger."""

import argparse
import sys
from pathlib import Path
from typing import Any

from system import verbs


def call(given: argparse.Namespace) -> dict[str, Any]:
    from bundle.predict import predict_to_file
    from system.progress import Counting

    return predict_to_file(
        Path(given.bundle),
        Path(given.photos),
        Path(given.out),
        ids=Path(given.ids) if given.ids else None,
        path_column=given.path_column,
        group_column=given.group_column,
        device=given.device,
        progress=Counting("predicting photos"),
    )


def show(value: dict[str, Any]) -> None:
    print(f"{value['rows']} rows in {value['seconds']} s: {value['out']}")
    for text in value["passed_over"]:
        print(f"  {text}")
    if value["without_imports"]:
        print(f"  {value['without_imports']} photos have no answer in an imported file: only trained members voted on them")
    for task in value["without_quota"]:
        print(
            f"  {task}: class shares are known for the test photos, and these ids are others: each was answered for itself (--ids)"
        )
    for task in value["without_groups"]:
        print(f"  {task}: a group gets one answer, and no groups were given: each photo was answered for itself (--group-column)")
    for image_id, reason in value["broken_photos"].items():
        print(f"  broken, answered from the prior: {image_id}: {reason}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python predict.py exported/bundle PHOTOS --out submission.csv")
    made.add_argument("bundle", help="a folder that export_ensemble.py wrote")
    made.add_argument("photos", help="folder of photos; ids are paths below it")
    made.add_argument("--out", required=True, metavar="FILE", help="the file to write")
    made.add_argument("--ids", metavar="CSV", help="a table with the competition's id column: which photos, in which order")
    made.add_argument("--path-column", metavar="NAME", help="that table's column of paths, where the ids are no paths")
    made.add_argument(
        "--group-column", metavar="NAME", help="that table's column of groups, where the plan gives a group one answer"
    )
    made.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="default: cpu")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
