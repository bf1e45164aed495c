"""Trials of the ledger as Optuna keeps them: what came of them, and what an earlier one says about a space.

Complete ones have their score, pruned ones their curve, failed ones neither (diverged ones too). Of an earlier trial count the parameters
that the space draws too, by name and value: Optuna refuses two kinds of distribution under one name, so what is kept gets the
distribution of the space it is told to.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from ledger.studies import Suggestion
from ledger.trials import Record
from search.request import EVERY_FOLD
from search.space_check import drawn
from search_spaces import Space
from system.files import fingerprint
from trainables.config import Question

Known = Mapping[str, Sequence[BaseDistribution]]
QUESTION = ("competition", "target", "heads", "metric", "data", "split", "fold")
"""Scores compare where all of these are equal."""


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


def question_of(settings: Mapping[str, Any]) -> str:
    """The name of the question that trials of these settings answer."""
    return fingerprint([settings.get(name) for name in QUESTION])


def differing(settings: Mapping[str, Any], question: Question) -> list[str]:
    """What keeps a trial of these settings from answering this question; one of every fold is answered by trials of any."""
    compared = [name for name in QUESTION if name != "fold" or question.fold != EVERY_FOLD]
    return [name for name in compared if settings.get(name) != getattr(question, name)]


def answers(settings: Mapping[str, Any], question: Question) -> bool:
    """Whether scores of trials of these settings compare with those of this question."""
    return not differing(settings, question)


def distributions(space: Space) -> dict[str, list[BaseDistribution]]:
    """Name -> the distributions that a number of draws from the space had under it, in the order they came."""
    seen: dict[str, list[BaseDistribution]] = {}
    for trial, _ in drawn(space.suggest, space.first):
        for name, distribution in trial.distributions.items():
            if distribution not in seen.setdefault(name, []):
                seen[name].append(distribution)
    return seen


def recorded(suggestion: Suggestion, *, of_a_base: bool) -> dict[str, Any]:
    """All that is known by name: the settings that were asked for, and under their own names the values that were drawn.

    Around a base most of what is drawn is thrown away, so there the settings alone count.
    """
    return dict(suggestion.parameters) if of_a_base else {**suggestion.parameters, **suggestion.attributes.get("params", {})}


def fit(parameters: Mapping[str, Any], known: Known) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """The parameters whose name and value the space knows, and the distributions that hold them.

    Args:
        parameters: Of an earlier trial.
        known: `distributions` of the space.
    """
    held = {
        name: distribution
        for name, value in parameters.items()
        for distribution in [next((one for one in known.get(name, ()) if _holds(one, value)), None)]
        if distribution is not None
    }
    return {name: parameters[name] for name in held}, held


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if not isinstance(distribution, CategoricalDistribution) and (isinstance(value, bool) or not isinstance(value, int | float)):
        return False
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))  # what `create_trial` asks as well
    except ValueError:
        return False
