#!/usr/bin/env python3
"""Search: schedule trials of every target over the GPUs there are, or go on with a study that was stopped."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from search.request import FLAGS, Request, check_flags
from system import verbs
from system.disk import bytes_text

BEGUN = time.monotonic()
"""When this command began: its hours are counted from here."""


def call(given: argparse.Namespace) -> dict[str, Any]:
    said = {flag.name: value for flag in FLAGS if (value := getattr(given, flag.name)) is not None}
    check_flags(said)
    if "resume" in said and "dry_run" not in said:
        _check_not_driven(given)
    request = _request(given, said)
    from search.plan import dry_run, make_plan
    from search.tune.run import run_study

    plan = make_plan(request, given.storage)
    if request.dry_run:
        return dry_run(plan)
    outcome = run_study(plan, begun=BEGUN)
    if outcome.interrupted:
        raise verbs.InterruptedWorkError(f"study {outcome.study} stopped; go on with: {_resume_command(given, plan)}")
    if outcome.full:
        from search.disk_budget import where_bytes_are

        raise verbs.FailedWorkError(
            f"{outcome.full}; study {outcome.study} stopped and lost nothing; {where_bytes_are(plan.paths)}; free some space and go on "
            f"with: {_resume_command(given, plan)}"
        )
    if outcome.failures and not any({"finished", "stopped"} & facts["trials"].keys() for facts in outcome.targets.values()):
        causes = "; ".join(outcome.failures)
        raise verbs.FailedWorkError(f"no trial of study {outcome.study} came to a result: {causes}")
    return {**outcome.json(), **_effects(plan)}


def show(value: dict[str, Any]) -> None:
    if "for_example" in value:
        for target, members in value["members"].items():
            told = ", ".join(f"{one['trial_id']} (fold {_fold(one['fold'])})" for one in members)
            print(f"{target}: {len(members)} trials with settings that are known: {told}")
        print(f"study {value['study']} would train, for example:")
        for target, drawn in value["for_example"].items():
            print(f"  {target}: {drawn['trial_id']} {json.dumps(drawn['config'], sort_keys=True)}")
        return
    print(f"study {value['study']}: {value['seconds']:.0f} s")
    for target, facts in value["targets"].items():
        best = facts["best"]
        trials = ", ".join(f"{n} {status}" for status, n in sorted(facts["trials"].items())) or "none"
        score = f"best {best['score']:.4f} ({best['trial_id']})" if best else "no finished trial"
        score = "trained on all data, no score" if facts["on_all_data"] else score
        score = f"{len(facts['members'])} over all folds:" if "members" in facts else score
        print(f"  {target}: {trials}; {facts['epochs']} epochs; {score}")
        for member in facts.get("members", ()):
            print(f"    {_over_folds(member)}")
    if latest := value["latest"]:
        print(
            f"latest export: {latest['submission'] or latest['bundle']} (score {latest['score']:.4f}, honest where that can be measured)"
        )
    if value["freed_bytes"]:
        print(f"  --keep dropped weights of {bytes_text(value['freed_bytes'])}")
    for reason in value["failures"]:
        print(f"  failed: {reason}")
    if "against" in value:
        from search.effects import table

        print(f"against {value['base']}:\n{table(value['against'])}")


def _over_folds(member: dict[str, Any]) -> str:
    """A member's trials by fold, and what they come to together."""
    scores = {one["trial_id"]: one["status"] if one["score"] is None else f"{one['score']:.4f}" for one in member["folds"]}
    told = ", ".join(f"fold {one['fold']} {scores[one['trial_id']]} ({one['trial_id']})" for one in member["folds"])
    mean = "" if member["score"] is None else f"; mean {member['score']:.4f}"
    return f"{member['config_id']} seed {member['seed']}: {told}{mean}"


def _fold(fold: int) -> str:
    from ledger.trials import ALL_DATA

    return "all" if fold == ALL_DATA else str(fold)


def _effects(plan: Any) -> dict[str, Any]:
    """Whether the variations of a study around a base helped."""
    if not plan.request.vary:
        return {}
    from search.effects import base_of, effects_of

    base = base_of(plan.study, plan.paths, plan.request.base)
    return {"base": base, "against": [change.json() for change in effects_of(plan.paths, base)]}


def _check_not_driven(given: argparse.Namespace) -> None:
    """Refuse a second driver before anything heavy is loaded or prepared; whoever passes still has to get the study's lease."""
    from ledger.studies import study_folder
    from system.paths import competition_paths

    name = Path(given.competition).stem if given.competition.endswith((".yaml", ".yml")) else given.competition
    studies = competition_paths(name, given.storage).studies
    if (studies / given.resume).is_dir():
        study_folder(studies, given.resume).check_not_driven()


def _request(given: argparse.Namespace, said: Mapping[str, Any]) -> Request:
    """What was said; what was not comes from the base where there is one, else it is the flag's default."""
    from_base: dict[str, Any] = {}
    if "base" in said:
        from search.variations import request_around

        from_base = request_around(given.competition, given.storage, said["base"])
    goes_on = {"resume": True, "study": said["resume"]} if "resume" in said else {}
    return Request(**{"competition": given.competition, **from_base, **said, **goes_on})


def _resume_command(given: argparse.Namespace, plan: Any) -> str:
    """What goes on with this run, as it was asked for: the plan knows the rest, once it is written."""
    repeated = ("run", "anew") if given.resume is not None and plan.study.plan() == plan.former else ("run",)
    said = [(flag, getattr(given, flag.name)) for flag in FLAGS if flag.when in repeated]
    words = chain.from_iterable(flag.words(value) for flag, value in said if value not in (None, flag.default))
    storage = ["--storage", given.storage] if given.storage is not None else []
    return shlex.join([_python(), "run_search.py", given.competition, "--resume", plan.study.name, *storage, *words])


def _python() -> str:
    """This interpreter as it is typed here: below the working folder it need not be an activated one."""
    own, here = Path(sys.executable), Path.cwd()
    return str(own.relative_to(here)) if own.is_relative_to(here) else "python"


def main() -> int:
    made = verbs.parser(__doc__ or "", "python run_search.py demo --space quick --trials 8")
    made.add_argument("competition", help="name of a file in competitions/, without .yaml")
    for flag in FLAGS:
        made.add_argument(flag.option, **flag.parser_arguments())
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
