"""What an earlier trial says about a space: of its parameters those that the space draws too, by name and value.

Optuna refuses two kinds of distribution under one name, so what is kept gets the distribution of the space it is told to.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from ledger.studies import Suggestion
from search.request import EVERY_FOLD
from search.space_check import drawn
from search_spaces import Space
from system.files import fingerprint
from trainables.config import Question

log = logging.getLogger("podium.search")
Known = Mapping[str, Sequence[BaseDistribution]]
QUESTION = ("competition", "target", "heads", "metric", "data", "split", "fold")
"""Scores compare where all of these are equal."""


def question_of(settings: Mapping[str, Any]) -> str:
    """The name of the question that trials of these settings answer."""
    return fingerprint([settings.get(name) for name in QUESTION])


def differing(settings: Mapping[str, Any], question: Question) -> list[str]:
    """What keeps a trial of these settings from answering this question; one of every fold is answered by trials of any."""
    asked = [name for name in QUESTION if name != "fold" or question.fold != EVERY_FOLD]
    return [name for name in asked if settings.get(name) != getattr(question, name)]


def answers(settings: Mapping[str, Any], question: Question) -> bool:
    """Whether scores of trials of these settings compare with those of this question."""
    return not differing(settings, question)


def distributions(space: Space) -> dict[str, list[BaseDistribution]]:
    """Name -> the distributions that a number of draws from the space had under it, in the order they came."""
    found: dict[str, list[BaseDistribution]] = {}
    for trial, _ in drawn(space.suggest, space.first):
        for name, distribution in trial.distributions.items():
            if distribution not in found.setdefault(name, []):
                found[name].append(distribution)
    return found


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
