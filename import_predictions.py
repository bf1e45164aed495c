#!/usr/bin/env python3
"""Bring in what a notebook or an old submission answers, so that it votes like a trial: submission CSV, probability CSV or .npz."""

import argparse
import sys
from pathlib import Path
from typing import Any

from system import verbs

HONESTY = (
    "Whether these photos were left out of training is the giver's word: a file whose author learned from them looks too good here, "
    "and votes with a weight that it has not earned."
)


def call(given: argparse.Namespace) -> dict[str, Any]:
    from ledger.imports import drop_import, imports_of
    from system.errors import UserError
    from system.paths import named_competition

    faults = _faults(given)
    if faults:
        raise UserError(*faults)
    if not (given.list or given.drop):
        return _bring(given)
    paths = named_competition(given.competition, given.storage)
    if given.drop:
        return {"competition": paths.root.name, "dropped": drop_import(paths, given.drop).json()}
    return {"competition": paths.root.name, "imports": [one.json() for one in imports_of(paths)]}


def _faults(given: argparse.Namespace) -> list[str]:
    """What would have no effect, or is missing."""
    named = {"FILE": given.files, "--name": given.name, "--task": given.task, "--note": given.note, "--replace": given.replace}
    if given.list or given.drop:
        way = "--list" if given.list else "--drop"
        others = named | ({"--drop": given.drop} if given.list else {})
        return [f"{name} would have no effect with {way}; leave it out" for name, value in others.items() if value]
    return [] if given.files else ["FILE is missing: give one or more, or --list, or --drop NAME"]


def _bring(given: argparse.Namespace) -> dict[str, Any]:
    from competitions.loading import load_competition
    from competitions.prepare import prepare
    from ledger.imports import Source
    from submissions.external.beside_trials import beside_trials, warnings
    from submissions.external.importing import import_files
    from system.paths import check_writable, competition_paths
    from system.progress import Counting
    from trainables.provenance import author, host

    competition = load_competition(given.competition)
    paths = competition_paths(competition.name, given.storage)
    check_writable(paths.root)
    prepared = prepare(competition, paths, progress=Counting("decoding photos"))
    imported = import_files(
        prepared,
        [Path(file) for file in given.files],
        Source("", (), note=given.note or "", author=author(), host=host()),
        name=given.name,
        head=given.task,
        replacing=given.replace,
    )
    imports = []
    for one in imported:
        scores = beside_trials(prepared, _validation(prepared, one.kept))
        facts = {"new": one.new, "asked_name": one.wanted_name, "scores": scores, "warnings": warnings(one.kept.name, scores)}
        imports.append({**one.kept.json(), **facts})
    return {"competition": competition.name, "metric": competition.metric, "imports": imports, "honesty": HONESTY}


def _validation(prepared: Any, kept: Any) -> dict[str, Any]:
    """Head -> ids and probabilities of the photos to learn from; of the composed label also its tasks, unless told by themselves."""
    from competitions.labels import Composition, decompose_probs
    from competitions.manifest import LABEL
    from ledger.predictions import PARTS

    found = {head: kept.read(head, PARTS[0]) for head in kept.heads}
    if LABEL not in found:
        return found
    ids, probs = found[LABEL]
    return {task: (ids, share) for task, share in decompose_probs(Composition.of(prepared.competition), probs).items()} | found


def show(value: dict[str, Any]) -> None:
    if "dropped" in value:
        print(f"dropped import {value['dropped']['name']} ({value['dropped']['id']})")
        return
    if not value["imports"]:
        print(f"{value['competition']} has no imports")
    for one in value["imports"]:
        _show(one)
    if any(one.get("scores") for one in value["imports"]):
        print(value["honesty"])


def _show(one: dict[str, Any]) -> None:
    said = {None: "", True: ": new", False: ": these answers were there already"}[one.get("new")]
    print(f"{one['name']} ({one['id']}){said}")
    files = ", ".join(file["name"] for file in one["files"])
    print(f"  from {files} by {one['author'] or '?'}, {one['imported']}" + (f": {one['note']}" if one["note"] else ""))
    for head, facts in one["heads"].items():
        photos = ", ".join(f"{n} {part} photos" for part, n in facts["photos"].items())
        print(f"  {head}: {facts['kind']}, {photos}")
    rows = []
    for head, facts in one.get("scores", {}).items():
        best = facts["best_trial"] or {"trial_id": None, "score": None, "same_photos": None}
        rows.append([head, facts["photos"], facts["score"], best["trial_id"], best["score"], best["same_photos"]])
    if rows:
        header = ["on training photos", "photos", "score", "best trial", "its score", "this file on its fold"]
        print("  " + verbs.table(rows, header).replace("\n", "\n  "))
    for warning in one.get("warnings", []):
        print(f"  beware: {warning}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python import_predictions.py mask val.csv test.csv --name notebook-efficientnet")
    made.add_argument("competition", help="name of a file in competitions/, without .yaml")
    made.add_argument(
        "files", nargs="*", metavar="FILE", help="each an import of its own, called like the file, unless --name is given"
    )
    made.add_argument(
        "--name", help="join the files to one import of this name (photos to learn from and test photos, or task by task)"
    )
    made.add_argument(
        "--task", metavar="TASK", help="what the files answer, a task or `label`, where their columns do not say it"
    )
    made.add_argument("--note", metavar="TEXT", help="what team-mates should know of it")
    made.add_argument("--replace", action="store_true", help="take the name from an import that has it, which is dropped")
    made.add_argument("--list", action="store_true", help="show the imports that are there")
    made.add_argument("--drop", metavar="NAME", help="remove an import, by name or id")
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
