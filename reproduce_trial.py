#!/usr/bin/env python3
"""Train a trial of the ledger again: PASS, or the ingredients that differ, the first cause first."""

import argparse
import json
import sys
from typing import Any

from system import verbs

MOST_CHARACTERS = 300


def call(given: argparse.Namespace) -> dict[str, Any]:
    from competitions.loading import load_competition
    from system.paths import check_name, check_writable, competition_paths
    from system.progress import Counting
    from trainables.reproduce.retrain import reproduce

    competition = load_competition(given.competition)
    check_name("trial", given.trial_id)
    paths = competition_paths(competition.name, given.storage)
    if paths.root.is_dir():
        check_writable(paths.root)
    try:
        return reproduce(
            competition,
            paths,
            given.trial_id,
            check=given.check,
            threads=given.threads,
            restore=given.restore,
            decoding=Counting("decoding photos"),
            training=Counting(f"epochs of {given.trial_id}"),
        ).json()
    except KeyboardInterrupt as interrupt:
        raise verbs.InterruptedWorkError("interrupted; what was trained is gone, the same command starts anew") from interrupt


def show(value: dict[str, Any]) -> None:
    then, now = (_score(value[key]) for key in ("score_then", "score_now"))
    print(f"{value['verdict']}  trial {value['trial_id']} ({value['target']}, {value['epochs']} epochs): {value['reason']}")
    print(f"  score then {then}, now {now}")
    for part in value["ingredients"]:
        if part["ingredient"] == "provenance":
            print(f"  provenance: {part['then']}; {part['now']}")
            continue
        sessions = f" (session {', '.join(map(str, part['sessions']))})" if "sessions" in part else ""
        print(f"  {part['ingredient']}{sessions}: {_short(part['then'])} then, {_short(part['now'])} now")
    if value["restored"]:
        print("  its weights are back in its folder")
    if not value["ingredients"]:
        print("  nothing that is recorded differs: code, packages, data, split, seed, threads, hardware")


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} ... (--json has all)"


def main() -> int:
    verdicts: list[str] = []

    def reproduced(given: argparse.Namespace) -> dict[str, Any]:
        value = call(given)
        verdicts.append(value["verdict"])
        if given.restore and not value["restored"]:
            raise verbs.FailedWorkError(
                f"{value['verdict']}, and not the same bits, so the weights are not restored: {value['reason']}"
            )
        return value

    made = verbs.parser(__doc__ or "", "python reproduce_trial.py demo 0123456789ab")
    made.add_argument("competition", help="name of a file in competitions/, without .yaml")
    made.add_argument("trial_id", metavar="TRIAL_ID", help="a trial that show_trials.py lists")
    made.add_argument("--check", action="store_true", help="compare the ingredients, train nothing: SAME or DIFFERS")
    made.add_argument(
        "--threads", type=int, metavar="N", help="other compute threads than the trial's; the tolerance then applies"
    )
    made.add_argument("--restore", action="store_true", help="put weights that --keep dropped back, where they are the same bits")
    code = verbs.run(made, reproduced, show)
    return verbs.FAILED if code == verbs.DONE and "DIFFERS" in verdicts else code


if __name__ == "__main__":
    sys.exit(main())
