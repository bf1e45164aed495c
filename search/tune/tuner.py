"""A plan -> the parts that Tune runs it with: the searcher that asks, the scheduler that stops, the processes that train."""

import signal
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.stopper import CombinedStopper

from search.optuna_trials import distributions
from search.plan import Plan
from search.request import Request
from search.resume_check import refit
from search.space_check import StartWeights
from search.tune.actor import TrialActor
from search.tune.callback import StudyCallback
from search.tune.disk_stop import DiskStop
from search.tune.ray_session import at_once
from search.tune.scheduler import TargetScheduler
from search.tune.searcher import LedgerSearcher
from search.warm_start import comparing
from system.progress import StatusLine

RETRIES = 2
"""How often a trial whose process died is started again; it goes on from its last whole epoch."""


class TimeIsUp:
    """Whether the time is over or Ctrl-C was pressed: Tune's own handler is in force until it hears one (2.60)."""

    def __init__(self, over: Callable[[], bool]) -> None:
        self._over = over
        self._handler_of_tune: Any = None

    def __call__(self) -> bool:
        now = signal.getsignal(signal.SIGINT)
        self._handler_of_tune = self._handler_of_tune or now
        return now is not self._handler_of_tune or self._over()


class TimeStop(tune.Stopper):  # type: ignore[misc]  # ray ships no types
    """Tune's stopper contract: all trials end when the time that is theirs is over."""

    def __init__(self, over: Callable[[], bool]) -> None:
        self._over = over

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles it for a restore of its own, which is never used."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._over()


def make_searcher(
    plan: Plan, stop: DiskStop, status: StatusLine, *, only: set[str] | None, over: Callable[[], bool]
) -> LedgerSearcher:
    """The study's searcher, rebuilt from its folder.

    Args:
        plan: The study.
        stop: Told when the disk is full.
        status: Says what is waited for.
        only: The trials that alone run; all for `None`.
        over: Whether the time for trials is over.
    """
    request = plan.request
    last = refit(plan.former, plan.changes, plan.study)
    return LedgerSearcher(
        plan.questions,
        suggest=plan.space.suggest,
        first=plan.space.first,
        n_trials=0 if plan.members else request.n_trials,  # members are suggested already
        seed=request.suggestion_seed,
        searcher=request.searcher,
        study=plan.study,
        trials=plan.paths.trials,
        prepare=StartWeights(plan.prepared),
        stop=stop,
        earlier=comparing(plan.earlier, plan.questions),
        refit=last,
        known=distributions(plan.space) if last else None,
        only=only,
        one_at_a_time=request.address is None and at_once(request.cpus_per_trial, request.gpus_per_trial) == 1,
        note=status.note,
        give_up=TimeIsUp(over),
    )


def make_tuner(
    plan: Plan, key: str, searcher: LedgerSearcher, callback: StudyCallback, stop: DiskStop, over: Callable[[], bool]
) -> tune.Tuner:
    """Tune with the study's own parts in it.

    Args:
        plan: The study.
        key: Of the prepared data.
        searcher: Of `make_searcher`.
        callback: Writes the study's events.
        stop: Ends the run on a full disk.
        over: Whether the time for trials is over.
    """
    request = plan.request
    trainable = tune.with_parameters(
        TrialActor,
        root=str(plan.paths.root),
        prepared=key,
        study=plan.study.name,
        device=device_of(request),
        loader_workers=request.loader_workers,
    )
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": request.cpus_per_trial, "gpu": request.gpus_per_trial}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=_scheduler(plan, stop),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(plan.study.path / "ray"),
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            callbacks=[callback],
            stop=CombinedStopper(stop, TimeStop(over)),
            verbose=0,
        ),
    )


def device_of(request: Request) -> str:
    """Where the trials of a request are trained."""
    return "cuda" if request.gpus_per_trial > 0 else "cpu"


def _scheduler(plan: Plan, stop: DiskStop) -> TargetScheduler:
    past = [suggestion for suggestion in plan.study.suggestions() if plan.compares(suggestion)]
    earlier = comparing(plan.earlier, plan.questions)
    return TargetScheduler(
        plan.questions, plan.request.scheduler, plan.space, plan.study, plan.paths.trials, stop=stop, past=past, earlier=earlier
    )
