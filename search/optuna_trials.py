"""What came of a trial, as Optuna keeps it: complete with its score, pruned with its curve, failed with neither (diverged ones too)."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from ledger.trials import Record


def state_of(record: Record | None) -> TrialState:
    """What a trial of this record is to Optuna; failed where none was written."""
    if record is None or record.diverged or record.score is None:
        return TrialState.FAIL
    return TrialState.COMPLETE if record.finished else TrialState.PRUNED


def tell(study: optuna.Study, number: int, record: Record | None) -> None:
    """Tell what came of a trial that runs there; `None` for one that failed."""
    state = state_of(record)
    if record is not None and state == TrialState.PRUNED:
        trial = optuna.Trial(study, study.trials[number]._trial_id)
        for epoch, best in intermediate(record.curve).items():
            trial.report(best, epoch)
    study.tell(number, record.score if record is not None and state == TrialState.COMPLETE else None, state=state)


def add_running(study: optuna.Study, params: Mapping[str, Any], held: Mapping[str, BaseDistribution]) -> int:
    """Put a trial back, where it runs until it is told; returns its number."""
    study.add_trial(frozen(TrialState.RUNNING, None, [], params, held))
    return len(study.trials) - 1


def intermediate(curve: Sequence[float]) -> dict[int, float]:
    """What a trial of this curve reported: after each epoch the best score so far."""
    return {epoch: max(curve[:epoch]) for epoch in range(1, len(curve) + 1)}


def frozen(
    state: TrialState,
    score: float | None,
    curve: Sequence[float],
    params: Mapping[str, Any],
    held: Mapping[str, BaseDistribution],
) -> optuna.trial.FrozenTrial:
    """A trial as Optuna keeps it: complete with its score, pruned with its curve, else with neither."""
    complete, pruned = (state == kind for kind in (TrialState.COMPLETE, TrialState.PRUNED))
    return optuna.trial.create_trial(
        state=state,
        value=score if complete else None,
        params=dict(params),
        distributions=dict(held),
        intermediate_values=intermediate(curve) if pruned else None,
    )
