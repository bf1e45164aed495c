"""A space drawn from a few times, so that its mistakes show before the first trial. Imports no ray: Ray reads its token at import."""

from collections.abc import Callable, Mapping
from typing import Any

import optuna

from ledger.errors import UserError
from trainables.config import Question, resolve


def check_space(suggest: Callable[[Any], dict[str, Any]], questions: Mapping[str, Question], draws: int = 20) -> None:
    """Resolve some draws of a space, so that its mistakes show before the first trial.

    Raises:
        UserError: With every distinct fault.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    faults: dict[str, None] = {}
    for _ in range(draws):
        parameters = suggest(study.ask())
        for question in questions.values():
            try:
                resolve(parameters, question)
            except UserError as error:
                faults |= dict.fromkeys(error.faults)
    if faults:
        raise UserError(*faults)
