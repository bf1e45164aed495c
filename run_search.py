#!/usr/bin/env python3
"""Search: schedule trials of every target over the GPUs there are, or go on with a study that was stopped."""

import argparse
import json
import shlex
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from system import verbs
from system.disk import bytes_text
from system.errors import UserError

NEW_STUDY = {
    "space": "quick",
    "targets": None,
    "seed": 0,
    "fold": 0,
    "split": None,
    "gpus_per_trial": 0.0,
    "cpus_per_trial": 1,
    "searcher": "tpe",
    "scheduler": "asha",
    "study": None,
    "init_from": None,
    "base": None,
    "vary": None,
    "all_data": False,
    "all_folds": False,
    "warm_start": False,
}
"""What only a new study can be told -> the flag's default; a study around a base takes some of them from it."""
OF_A_RUN = ("storage", "address", "hours", "loader_workers", "track", "retry_failed")
"""What a study does not remember: whoever goes on says it again."""
CHANGES = ("trials", "keep", "gpus_per_trial", "accept_change")
"""What a study that goes on is told anew, and remembers as soon as its plan is written."""
FIXED_FOR_SIBLINGS = ("space", "seed", "cpus_per_trial", "searcher", "scheduler", "init_from")


def call(given: argparse.Namespace) -> dict[str, Any]:
    _check_flags(given)
    if given.resume is not None and not given.dry_run:
        _check_not_driven(given)
    from search.plan import dry_run, make_plan
    from search.request import Request
    from search.tune.run import run_study

    given = _with_defaults(given)
    request = Request(
        competition=given.competition,
        space=given.space,
        trials=given.trials,
        targets=tuple(given.targets.split(",")) if given.targets is not None else None,
        seed=given.seed,
        fold=given.fold,
        split=given.split,
        hours=given.hours,
        gpus_per_trial=given.gpus_per_trial,
        cpus_per_trial=given.cpus_per_trial,
        address=given.address,
        study=given.resume or given.study,
        resume=given.resume is not None,
        searcher=given.searcher,
        scheduler=given.scheduler,
        tracker=given.track,
        loader_workers=given.loader_workers,
        init_from=given.init_from,
        base=given.base,
        vary=tuple(given.vary.split(",")) if given.vary is not None else (),
        all_data=given.all_data,
        all_folds=given.all_folds,
        keep=given.keep,
        warm_start=given.warm_start,
        retry_failed=given.retry_failed,
        accept_change=given.accept_change,
    )
    plan = make_plan(request, given.storage)
    if given.dry_run:
        return dry_run(plan)
    outcome = run_study(plan)
    if outcome.interrupted:
        raise verbs.InterruptedWorkError(f"study {outcome.study} stopped; go on with: {_resume_command(given, plan)}")
    if outcome.full:
        from search.disk_budget import where_bytes_are

        raise verbs.FailedWorkError(
            f"{outcome.full}; study {outcome.study} stopped and lost nothing; {where_bytes_are(plan.paths)}; free some space and go on "
            f"with: {_resume_command(given, plan)}"
        )
    if outcome.failures and not any(facts["trials"].get("finished") for facts in outcome.targets.values()):
        causes = "; ".join(outcome.failures)
        raise verbs.FailedWorkError(f"no trial of study {outcome.study} came to a result: {causes}")
    return {**outcome.json(), **_against(plan)}


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


def _against(plan: Any) -> dict[str, Any]:
    """Whether the variations of a study around a base helped."""
    if not plan.request.vary:
        return {}
    from search.effects import against, base_of

    base = base_of(plan.study, plan.paths, plan.request.base)
    return {"base": base, "against": [change.json() for change in against(plan.paths, base)]}


def _check_not_driven(given: argparse.Namespace) -> None:
    """Refuse a second driver before anything heavy is loaded or prepared; whoever passes still has to get the study's lease."""
    from ledger.studies import study_folder
    from system.paths import competition_paths

    name = Path(given.competition).stem if given.competition.endswith((".yaml", ".yml")) else given.competition
    studies = competition_paths(name, given.storage).studies
    if (studies / given.resume).is_dir():
        study_folder(studies, given.resume).check_not_driven()


def _check_flags(given: argparse.Namespace) -> None:
    """A study goes on as it was started, and a sibling has its trial's settings: flags that say otherwise are refused."""
    told = [name for name in NEW_STUDY if getattr(given, name) is not None]
    stays = [name for name in told if name != "gpus_per_trial" or not given.gpus_per_trial > 0]  # more or fewer GPUs, not none
    faults = []
    if given.resume is not None and stays:
        faults.append(
            f"{_flags(stays)} cannot be changed with --resume: the study goes on as it was started; leave it out, or start a new study"
        )
    if given.retry_failed and (given.resume is None or given.trials is not None):
        faults.append(
            "--retry-failed runs the failed trials of a study and nothing new; give it with --resume STUDY and without --trials"
        )
    if given.accept_change and given.resume is None:
        faults.append("--accept-change goes on with a study that stopped at a change; give it with --resume STUDY")
    fixed = [name for name in told if name in FIXED_FOR_SIBLINGS or (name == "fold" and given.base is not None)]
    siblings = "--all-data" if given.all_data else "--all-folds" if given.all_folds else None
    if siblings and fixed:
        faults.append(
            f"{_flags(fixed)} would have no effect with {siblings}: what is trained has its trial's own settings; leave it out"
        )
    if given.base is not None and given.init_from is not None and not siblings:
        faults.append("--init-from would have no effect with --base: variations start as the base did; leave it out")
    if faults:
        raise UserError(*faults)


def _with_defaults(given: argparse.Namespace) -> argparse.Namespace:
    """What was not said: from the base where there is one, else the defaults of a new study."""
    asked: dict[str, Any] = {}
    if given.base is not None:
        from search.variations import asked_by

        asked = asked_by(given.competition, given.storage, given.base)
    told = {name: value for name, value in vars(given).items() if value is not None}
    return argparse.Namespace(**{**vars(given), **NEW_STUDY, **asked, **told})


def _flags(names: list[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)


def _resume_command(given: argparse.Namespace, plan: Any) -> str:
    """What goes on with this run, as it was asked for: the plan knows the rest, once it is written."""
    names = [*OF_A_RUN, *(CHANGES if given.resume is not None and plan.study.plan() == plan.former else ())]
    told = {name: value for name in names if (value := getattr(given, name)) not in (None, False, 0, "none")}
    flags = [[_flags([name]), *([] if value is True else [str(value)])] for name, value in told.items()]
    return shlex.join([_python(), "run_search.py", given.competition, "--resume", plan.study.name, *chain.from_iterable(flags)])


def _python() -> str:
    """This interpreter as it is typed here: below the working folder it need not be an activated one."""
    own, here = Path(sys.executable), Path.cwd()
    return str(own.relative_to(here)) if own.is_relative_to(here) else "python"


def main() -> int:
    made = verbs.parser(__doc__ or "", "python run_search.py demo --space quick --trials 8")
    made.add_argument("competition", help="name of a file in competitions/, without .yaml")
    made.add_argument("--space", help="name of a file in search_spaces/, without .py (default: quick)")
    made.add_argument(
        "--trials", type=int, metavar="N", help="distinct new trials per target (default: 8, or as the study was started)"
    )
    made.add_argument("--targets", metavar="A,B", help="these targets; all: every one (default: one per task)")
    made.add_argument("--seed", type=int, metavar="K", help="seeds suggestions and trials (default: 0)")
    made.add_argument("--fold", type=int, help="the validation fold (default: 0)")
    made.add_argument("--split", metavar="NAME", help="one of the competition's splits (default: its `split`)")
    made.add_argument("--hours", type=float, metavar="H", help="stop after this time")
    made.add_argument("--gpus-per-trial", type=float, metavar="G", help="0.5: two trials share a GPU (default: 0)")
    made.add_argument("--cpus-per-trial", type=int, metavar="C", help="compute threads of a trial (default: 1)")
    made.add_argument("--loader-workers", type=int, default=0, metavar="W", help="threads that prepare batches (default: 0)")
    made.add_argument("--address", metavar="A", help="a running Ray, e.g. auto or HOST:6379 (default: start one here)")
    made.add_argument("--searcher", help="tpe or random (default: tpe)")
    made.add_argument("--scheduler", help="asha or fifo (default: asha)")
    made.add_argument("--track", default="none", metavar="T", help="mirror ended trials: none or wandb (default: none)")
    made.add_argument("--study", metavar="NAME", help="name of the new study (default: space and time)")
    made.add_argument("--resume", metavar="STUDY", help="go on with this study")
    made.add_argument("--retry-failed", action="store_true", help="with --resume: only the trials that failed for good")
    made.add_argument("--accept-change", action="store_true", help="with --resume: go on with changed code, space, data or split")
    made.add_argument("--warm-start", action="store_true", help="the sampler knows every earlier trial that answers the question")
    made.add_argument("--init-from", metavar="TRIAL_ID", help="every trial starts from this trial's weights and backbone")
    made.add_argument(
        "--keep", metavar="N|SIZE", help="weights to keep: of the N best trials per target, or 20GB of the best (default: all)"
    )
    made.add_argument("--dry-run", action="store_true", help="check everything, train nothing")
    made.add_argument("--base", metavar="TRIAL_ID", help="search around this finished trial, with --vary")
    made.add_argument("--vary", metavar="A,B", help="settings to change one at a time, as the space draws them")
    made.add_argument("--all-data", action="store_true", help="train --base, or the best --trials N (1), on all photos: no score")
    made.add_argument("--all-folds", action="store_true", help="train --base, or the best --trials N (1), on every other fold")
    made.set_defaults(**dict.fromkeys(NEW_STUDY))  # what was not said stays None
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
