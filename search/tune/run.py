"""A study: a plan becomes one Ray Tune run over all its targets, and its outcome is read back from the ledger.

Before the first trial the plan is on disk; after the last one the missing views of the pool's best are
computed. Whatever ends the driver in between, `--resume` reads the folders and goes on.
"""

import errno
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from ledger.repair.studies import repair_study
from ledger.stopped import mark_stopped
from ledger.studies import LEASE_PATIENCE_S, RETRYING, StudyFolder
from ledger.trials import TrialFolder
from search.deadline import Deadline, TrialsEnd, deadline_of, spoken
from search.disk_budget import Tidy, check_disk_budget
from search.latest import LatestExport
from search.outcome import Outcome, outcome_of
from search.plan import Plan, check_new, plan_json
from search.request import NO_TRACKER, Request
from search.resume_check import record
from system.claims import claim, holder
from system.cores import usable_cores
from system.disk import FullDiskError, is_full, sentence, writing
from system.errors import UserError
from system.progress import StatusLine

log = logging.getLogger("podium.search")
COMPLETED = 5
"""Per target, how many of the best trials get all views as soon as the search ends."""


def run_study(plan: Plan, *, begun: float | None = None) -> Outcome:
    """Run the search to its end, or until time or Ctrl-C ends it.

    Args:
        plan: The study.
        begun: When the command began, of `time.monotonic`, for its deadline; now for `None`.

    Raises:
        UserError: Another driver runs this study, Ray cannot be reached, or has too little for one trial; nothing of a new
            study is then kept.
        FullDiskError: There is no room for a new study; nothing of it is kept.
        KeyboardInterrupt: Before there was a plan to go on with.
    """
    kept: dict[str, Any] | None = None
    started, full, tidy = time.monotonic(), None, Tidy(plan.paths, plan.request.keep)
    if plan.request.retry_failed and not plan.failed():
        log.info("study %s has no failed trial, so there is nothing to retry", plan.study.name)
        return _outcome(plan, started, interrupted=False)
    try:
        if plan.request.resume:
            tidy()  # before the lease: on a full disk there may be no room for one
        deadline = deadline_of(plan.study, plan.request.hours, started if begun is None else begun)
        with _lease(plan.study), _latest(plan, deadline) as latest:
            if not plan.request.resume:
                check_new(plan.study)  # again: it may have begun and ended while this driver started
            check_disk_budget(plan)
            try:
                interrupted = _run(plan, tidy, deadline, latest)
            finally:
                mark_stopped(plan.study, plan.paths.trials)
            if latest is not None and not interrupted:
                latest.last()
                kept = latest.json()
            tidy(last=not interrupted)
    except KeyboardInterrupt:
        if not plan.study.planned:
            raise
        interrupted = True
    except OSError as error:
        if not (is_full(error) and plan.study.planned):
            raise
        interrupted, full = False, sentence(error)
    return _outcome(plan, started, interrupted=interrupted, full=full, freed=tidy.freed, latest=kept)


def _outcome(
    plan: Plan,
    started: float,
    *,
    interrupted: bool,
    full: str | None = None,
    freed: int = 0,
    latest: dict[str, Any] | None = None,
) -> Outcome:
    targets = outcome_of(plan.study, plan.paths, plan.questions)
    if plan.request.all_folds:
        from search.refit import by_fold

        members = by_fold(plan.prepared, plan.members, plan.study.statuses())
        targets = {target: {**facts, "best": None, "members": members[target]} for target, facts in targets.items()}
    return Outcome(plan.study.name, targets, _rounded(started), interrupted, plan.study.failures(), full, freed, latest)


def _run(plan: Plan, tidy: Callable[[], None], deadline: Deadline | None, latest: LatestExport | None) -> bool:
    """The study inside its lease; returns whether Ctrl-C ended it.

    Raises:
        FullDiskError: A full disk ended it.
    """
    from search.tune.ray_session import ray_session
    from trainables.config import name_of

    where = "starting Ray" if plan.request.address is None else "joining the running Ray"
    log.info("study %s over %s: %s", plan.study.name, ", ".join(plan.questions), where)
    with ray_session(plan.request.address), _mirror(plan) as push:
        _check_resources(plan.request)
        repair_study(plan.study, plan.paths.trials, name_of)
        key = plan.prepared.save()
        today = plan_json(plan, key)  # before the changes are recorded: it says what they were
        suggestions = plan.study.suggestions()
        record(plan.study, plan.changes, {suggestion.trial_id: plan.compares(suggestion) for suggestion in suggestions})
        plan.study.write_plan(today)
        if deadline is not None:
            deadline.log(plan.study)
        if plan.members:
            from search.refit import write_members

            write_members(plan.study, plan.members)
        over = _trials_end(deadline, latest)
        interrupted = True
        try:
            interrupted = _search(plan, key, push, tidy, over, latest)
        finally:
            if deadline is not None:
                with suppress(OSError):
                    deadline.log(plan.study, over=not interrupted)
        if not interrupted and not (latest is not None and over()):
            _complete_best(plan, key)
    return interrupted


def _latest(plan: Plan, deadline: Deadline | None) -> AbstractContextManager[LatestExport | None]:
    """What keeps an export while trials run, where there is a deadline and trials that vote."""
    wanted = deadline is not None and not (plan.request.no_export or plan.request.is_refit)
    return LatestExport(plan, deadline) if wanted and deadline is not None else nullcontext(None)


def _trials_end(deadline: Deadline | None, latest: LatestExport | None) -> Callable[[], bool]:
    """Whether the time for trials is over; says once when that will be."""
    if deadline is None:
        return lambda: False
    ends = time.strftime("%H:%M", time.localtime(time.time() + deadline.left))
    used = f" ({spoken(deadline.used)} of its time were used before)" if deadline.used else ""
    if latest is None:
        log.info("ends at %s%s", ends, used)
        return TrialsEnd(deadline, lambda: 0.0, lambda: True)
    reserve = latest.reserve()
    log.info(
        "ends at %s%s: %s of trials, then %s for the last export to %s",
        ends,
        used,
        spoken(deadline.left - reserve),
        spoken(reserve),
        latest.name,
    )
    return TrialsEnd(deadline, latest.reserve, latest.answered)


def _search(
    plan: Plan,
    key: str,
    push: Callable[[TrialFolder], None],
    tidy: Callable[[], None],
    over: Callable[[], bool],
    latest: LatestExport | None,
) -> bool:
    """The Tune run; returns whether Ctrl-C ended it.

    Raises:
        FullDiskError: A full disk ended it.
    """
    from search.tune.callback import StudyCallback
    from search.tune.disk_stop import DiskStop
    from search.tune.feature_watch import watching
    from search.tune.tuner import make_searcher, make_tuner

    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails in a trial is told by the callback, once
    stop, status = DiskStop(), StatusLine(0, list(plan.questions))
    searcher = make_searcher(plan, stop, status, only=_retried(plan), over=over)
    status.expect(searcher.remaining())
    callback = StudyCallback(plan.study, plan.paths.trials, status, push, stop, tidy, latest)
    if not searcher.exhausted:
        watch = watching(plan.paths.features, status.note)
        with watch, _own_interrupt(), stop.last_word(), writing(plan.study.path):  # Tune keeps a state of its own there
            make_tuner(plan, key, searcher, callback, stop, over).fit()
    status.close()
    _drop_ray_state(plan.study)
    if stop.reason:
        raise FullDiskError(errno.ENOSPC, stop.reason)
    return not searcher.exhausted and not over()


def _retried(plan: Plan) -> set[str] | None:
    """The failed trials that alone run again, where that was asked for; each is put on record as waiting."""
    if not plan.request.retry_failed:
        return None
    failed, statuses = plan.failed(), plan.study.statuses()
    for trial in sorted(trial for trial in failed if statuses[trial] == "failed"):
        plan.study.log(RETRYING, trial)
    return failed


@contextmanager
def _own_interrupt() -> Iterator[None]:
    """Put Ctrl-C back in force: Tune leaves a handler of its own behind, which hears the next one and does nothing (2.60)."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _complete_best(plan: Plan, key: str) -> None:
    """All views of the best trials of each target, as Ray tasks, so that an export finds them there."""
    import ray

    from ledger.query import best_trials
    from ledger.retention import has_weights
    from search.tune.actor import complete_remotely
    from search.tune.tuner import RETRIES, device_of
    from trainables.attach import is_complete
    from trainables.config import TrialConfig

    request, views = plan.request, plan.prepared.competition.views
    wanted = [
        trial
        for question in plan.questions.values()
        for trial, _ in best_trials(plan.paths, question.target, question.data, question.fold, question.metric)[:COMPLETED]
    ]
    wanted += [name for name, status in plan.study.statuses().items() if plan.members and status == "finished"]
    folders = [TrialFolder(plan.paths.trials / trial) for trial in wanted]
    settings = {folder.id: TrialConfig.from_json(folder.config()) for folder in folders if has_weights(folder)}
    asked = {name: views[:1] if one.is_probe else views for name, one in settings.items()}  # a probe is there in less time
    missing = [one.id for one in folders if one.id in asked and not is_complete(plan.prepared, one, asked[one.id])]
    if not missing:
        return
    task = ray.remote(num_cpus=request.cpus_per_trial, num_gpus=request.gpus_per_trial, max_retries=RETRIES)(complete_remotely)
    waiting = [task.remote(str(plan.paths.root), key, trial, asked[trial], device_of(request)) for trial in missing]
    total = len(waiting)
    while waiting:
        log.info("computing the views of the best trials: %d/%d", total - len(waiting), total)
        done, waiting = ray.wait(waiting, num_returns=min(len(waiting), 4))
        for full, warnings in ray.get(done):
            for line in warnings:
                log.warning("%s", line)
            if full:
                raise FullDiskError(errno.ENOSPC, full)


def _check_resources(request: Request) -> None:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = {kind: max((node.get(kind, 0.0) for node in nodes), default=0.0) for kind in ("CPU", "GPU")}
    wanted = {"CPU": request.cpus_per_trial, "GPU": request.gpus_per_trial}
    way_out = f"go on with study {request.study} where there is more, or start a new one" if request.resume else "ask for less"
    whose = dict.fromkeys(most, "what the largest machine of this Ray has")
    if request.address is None:
        whose["CPU"] = f"as {usable_cores().why}"
    faults = [
        f"{kind.lower()}s-per-trial must be at most {most[kind]:g}, {whose[kind]}, got {wanted[kind]:g}; {way_out}"
        for kind in most
        if wanted[kind] > most[kind]
    ]
    if not faults and not any(all(node.get(kind, 0) >= wanted[kind] for kind in wanted) for node in nodes):
        faults.append(
            f"no machine of this Ray has {wanted['CPU']:g} CPUs and {wanted['GPU']:g} GPUs together; ask for less per trial"
        )
    if faults:
        raise UserError(*faults)


@contextmanager
def _lease(study: StudyFolder) -> Iterator[None]:
    """The right to drive this study; a folder that got no plan meanwhile is taken away again.

    Raises:
        UserError: Somebody else has it.
    """
    study.path.mkdir(parents=True, exist_ok=True)
    try:
        held = claim(study.lease, patience=LEASE_PATIENCE_S)
        if held is None:
            raise study.driven_by(holder(study.lease))
        with held:
            yield
    finally:
        if not study.planned:
            with suppress(OSError):
                study.path.rmdir()


def _mirror(plan: Plan) -> AbstractContextManager[Callable[[TrialFolder], None]]:
    if plan.request.tracker == NO_TRACKER:
        return nullcontext(lambda folder: None)
    from search.trackers import MirrorQueue

    return MirrorQueue(plan.request.tracker, plan.paths)


def _drop_ray_state(study: StudyFolder) -> None:
    """Ray's own state is a cache of what the ledger has."""
    import shutil

    shutil.rmtree(study.path / "ray", ignore_errors=True)


def _rounded(started: float) -> float:
    return round(time.monotonic() - started, 1)
