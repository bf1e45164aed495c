"""The scheduler: one rung table per target, on the trials' own epochs; every decision is journalled.

Ray's ASHA compares all trials of a run; scores of different targets do not compare, so each target has its own. It is empty after
a restart, so a resumed study puts the curves of its earlier trials back into the rungs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from ledger.studies import OPEN, StudyFolder, Suggestion
from ledger.trials import TrialFolder
from search.tune.disk_stop import DISK_FULL, DiskStop
from search.tune.stopping import SCHEDULERS
from search.warm_start import EarlierTrial
from search_spaces import Space


class TargetScheduler(TrialScheduler):  # type: ignore[misc]  # ray ships no types
    """Hands each call to the scheduler of the trial's own target."""

    def __init__(
        self,
        targets: Iterable[str],
        kind: str,
        space: Space,
        study: StudyFolder,
        trials: Path,
        *,
        stop: DiskStop | None = None,
        past: Iterable[Suggestion] | None = None,
        earlier: Mapping[str, Iterable[EarlierTrial]] | None = None,
    ) -> None:
        """Make one scheduler of this `kind` (see `SCHEDULERS`) per target; decisions go to the study's events.

        Args:
            targets: Their names.
            kind: One of `SCHEDULERS`.
            space: Says where the rungs are.
            study: Its ended trials are put into the rungs as they stood when it let go of them.
            trials: The ledger's trial folders.
            stop: Told when there is no room for a decision; who goes on makes it again.
            past: The study's suggestions whose scores compare with today's; all of them for `None`.
            earlier: Target -> trials of a warm start.
        """
        super().__init__()
        self._metric = "best_score"
        self._of = {target: SCHEDULERS[kind](space) for target in targets}
        self._study, self._trials, self._stop = study, trials, stop or DiskStop()
        for target, trials_before in (earlier or {}).items():
            self._fill(target, trials_before, space)
        self._recall(study.suggestions() if past is None else past)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Metric and mode are the project's own."""
        return True

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        """A trial that goes on reports its last epoch once more; the ones before are put into the rungs here."""
        self._own(trial).on_trial_add(controller, trial)
        for result in _reports(self._curve(trial.config["trial_id"])[:-1]):
            self._own(trial).on_trial_result(controller, trial, result)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self._own(trial).on_trial_error(controller, trial)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or go on; a trial that ended by itself, diverged or is trained elsewhere has no place in the rungs."""
        if result.get("diverged") or result.get("elsewhere"):
            return str(TrialScheduler.STOP)
        decision = str(self._own(trial).on_trial_result(controller, trial, result))
        if decision == TrialScheduler.STOP and not result.get("done"):
            with self._stop.guard():
                self._study.log("pruned", trial.config["trial_id"], epoch=result["epoch"], score=result["best_score"])
        return decision

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if not (result.get("diverged") or result.get("elsewhere") or DISK_FULL in result):
            self._own(trial).on_trial_complete(controller, trial, result)

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        self._own(trial).on_trial_remove(controller, trial)

    def choose_trial_to_run(self, controller: Any) -> Any:
        """The first trial that waits and fits."""
        return FIFOScheduler().choose_trial_to_run(controller)

    def debug_string(self) -> str:
        return "one scheduler per target"

    def _fill(self, target: str, trials: Iterable[EarlierTrial], space: Space) -> None:
        """Put trials of a warm start into the rungs where their curves compare (`search.warm_start` says why not all do)."""
        for one in trials:
            if one.state != "diverged" and one.epochs == space.max_epochs:
                self._put(f"told-{one.trial_id}", target, one.curve)

    def _recall(self, suggestions: Iterable[Suggestion]) -> None:
        statuses, let_go = self._study.statuses(), self._study.started()
        for suggestion in suggestions:
            name = suggestion.trial_id
            if name in let_go and statuses[name] not in OPEN and suggestion.target in self._of:
                self._put(f"past-{name}", suggestion.target, self._curve(name)[: let_go.pop(name)])

    def _put(self, name: str, target: str, curve: list[float]) -> None:
        """Stand a trial in the rungs as if it had just reported this curve."""
        past = _Past(name, {"target": target})
        self._own(past).on_trial_add(None, past)
        for result in _reports(curve):
            self._own(past).on_trial_result(None, past, result)

    def _curve(self, trial_id: str) -> list[float]:
        record = TrialFolder(self._trials / trial_id).record()
        return [] if record is None else record.curve

    def _own(self, trial: Any) -> Any:
        return self._of[trial.config["target"]]


@dataclass(frozen=True)
class _Past:
    """What a scheduler looks at of a trial."""

    trial_id: str
    config: dict[str, str]


def _reports(curve: list[float]) -> list[dict[str, float]]:
    """What the worker told after each epoch of a curve."""
    return [{"epoch": epoch, "best_score": max(curve[:epoch])} for epoch in range(1, len(curve) + 1)]
