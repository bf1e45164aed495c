"""The scheduler: one rung table per target, on the trials' own epochs; every decision is journalled.

Ray's ASHA compares all trials of a run; scores of different targets do not compare, so each target has its own (facts.md).
"""

from collections.abc import Callable, Iterable
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from ledger.studies import StudyFolder
from search_spaces import Space

SCHEDULERS: dict[str, Callable[[Space], Any]] = {
    "asha": lambda space: AsyncHyperBandScheduler(
        time_attr="epoch",
        metric="best_score",
        mode="max",
        max_t=space.max_epochs + 1,  # ASHA ends trials at max_t by itself; ours end when their planned epochs are done
        grace_period=space.grace_epochs,
        reduction_factor=space.reduction,
    ),
    "fifo": lambda space: FIFOScheduler(),
}


class TargetScheduler(TrialScheduler):  # type: ignore[misc]  # ray ships no types
    """Hands each call to the scheduler of the trial's own target."""

    def __init__(self, targets: Iterable[str], kind: str, space: Space, study: StudyFolder) -> None:
        """Make one scheduler of this `kind` (see `SCHEDULERS`) per target; decisions go to the study's events."""
        super().__init__()
        self._metric = "best_score"
        self._of = {target: SCHEDULERS[kind](space) for target in targets}
        self._study = study

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Metric and mode are the project's own."""
        return True

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        self._own(trial).on_trial_add(controller, trial)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self._own(trial).on_trial_error(controller, trial)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or go on; a trial that ended by itself, diverged or is trained elsewhere has no place in the rungs."""
        if result.get("diverged") or result.get("elsewhere"):
            return str(TrialScheduler.STOP)
        decision = str(self._own(trial).on_trial_result(controller, trial, result))
        if decision == TrialScheduler.STOP and not result.get("done"):
            self._study.log("pruned", trial.config["trial_id"], epoch=result["epoch"], score=result["best_score"])
        return decision

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if not (result.get("diverged") or result.get("elsewhere")):
            self._own(trial).on_trial_complete(controller, trial, result)

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        self._own(trial).on_trial_remove(controller, trial)

    def choose_trial_to_run(self, controller: Any) -> Any:
        """The first trial that waits and fits."""
        return FIFOScheduler().choose_trial_to_run(controller)

    def debug_string(self) -> str:
        return "one scheduler per target"

    def _own(self, trial: Any) -> Any:
        return self._of[trial.config["target"]]
