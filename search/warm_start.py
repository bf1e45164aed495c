"""A new study that begins from the whole ledger: every ended trial that answers its question is told to its sampler first.

What is told is written into the plan, so that the study goes on in the same way whatever the ledger holds by then. In the rungs of
successive halving stand only those trials whose learning rate falls over as many epochs as the space's longest trials: the curve of a
shorter plan runs ahead at the same epoch, that of a longer one behind, and either would stop the wrong trials.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from competitions.compare_data import DataDifference
from ledger.reading import readable_config, readable_record
from ledger.studies import study_folders
from ledger.trials import Record, TrialFolder, trial_folders
from search.optuna_trials import Known, differing, distributions, fit, frozen, question_of, recorded
from search.resume_check import another_space
from search_spaces import Space
from system.errors import UserError
from system.paths import CompetitionPaths
from trainables.config import Question

log = logging.getLogger("podium.search")
TRIAL_STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.FAIL}
WHY = {
    "data": "other photos, labels or folds",
    "heads": "other heads",
    "split": "another split",
    "fold": "another fold",
    "metric": "another metric",
}


@dataclass(frozen=True)
class EarlierTrial:
    """An earlier trial as it is told to the sampler, as JSON values.

    Attributes:
        parameters: Those that the space knows; never empty.
        distributions: Optuna's own JSON form, per parameter.
        state: `finished`, `pruned` or `diverged`.
        epochs: Planned.
        question: `optuna_trials.question_of` its settings: of a study that went on with other photos it is told no more.
    """

    trial_id: str
    parameters: dict[str, Any]
    distributions: dict[str, str]
    state: str
    score: float | None
    curve: list[float]
    epochs: int
    question: str

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def trial(self) -> FrozenTrial:
        """As Optuna keeps it."""
        held = {name: json_to_distribution(text) for name, text in self.distributions.items()}
        return frozen(TRIAL_STATES[self.state], self.score, self.curve, self.parameters, held)


@dataclass(frozen=True)
class _Recorded:
    """What studies recorded of one trial."""

    parameters: list[dict[str, Any]]
    pruned: bool = False


def taken_over(
    plan: Mapping[str, Any],
    changes: Sequence[DataDifference],
    space: Space,
    paths: CompetitionPaths,
    questions: Mapping[str, Question],
) -> dict[str, list[EarlierTrial]]:
    """Per target what a new study (`plan` is empty) takes over from the ledger; one that goes on has it in its plan."""
    if plan:
        return of_plan(plan, distributions(space) if another_space(changes) else None)
    taken, left = collect(paths, questions, distributions(space))
    tell(taken, left)
    return taken


def comparing(taken: Mapping[str, list[EarlierTrial]], questions: Mapping[str, Question]) -> dict[str, list[EarlierTrial]]:
    """Of what was taken over that which answers today's questions."""
    names = {name: question_of(asdict(question)) for name, question in questions.items()}
    return {name: [one for one in taken.get(name, []) if one.question == asks] for name, asks in names.items()}


def collect(
    paths: CompetitionPaths, questions: Mapping[str, Question], known: Known
) -> tuple[dict[str, list[EarlierTrial]], dict[str, Counter[str]]]:
    """Per target the earlier trials that can be told, by id, and why how many others cannot.

    Args:
        paths: The competition's folders.
        questions: Target -> what the new study asks.
        known: `optuna_trials.distributions` of its space.
    """
    histories = _recorded_trials(paths, questions)
    taken: dict[str, list[EarlierTrial]] = {name: [] for name in questions}
    left: dict[str, Counter[str]] = {name: Counter() for name in questions}
    for folder, settings in _settings(paths, questions):
        trial = _as_told(folder, settings, questions[settings["target"]], histories.get(folder.id), known)
        if isinstance(trial, EarlierTrial):
            taken[settings["target"]].append(trial)
        else:
            left[settings["target"]][trial] += 1
    return taken, left


def of_plan(plan: Mapping[str, Any], known: Known | None) -> dict[str, list[EarlierTrial]]:
    """What a study's plan says was taken over, fitted anew into a space that has changed.

    Args:
        plan: The study's.
        known: `optuna_trials.distributions` of the changed space; `None` where it is as it was.
    """
    taken = {target: [EarlierTrial(**one) for one in listed] for target, listed in plan.get("told", {}).items()}
    if known is None:
        return taken
    again = {target: [_fitted(one, known) for one in listed] for target, listed in taken.items()}
    return {target: [one for one in listed if one.parameters] for target, listed in again.items()}


def _fitted(trial: EarlierTrial, known: Known) -> EarlierTrial:
    params, held = fit(trial.parameters, known)
    return replace(trial, parameters=params, distributions={name: distribution_to_json(one) for name, one in held.items()})


def tell(taken: Mapping[str, list[EarlierTrial]], left: Mapping[str, Counter[str]]) -> None:
    """Say per target how many trials were taken over, and how many were not and why."""
    for name, trials in taken.items():
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(left[name].items()))
        log.info("warm start, %s: %d earlier trials taken over%s", name, len(trials), f"; left out: {why}" if why else "")


def _settings(paths: CompetitionPaths, questions: Mapping[str, Question]) -> Iterator[tuple[TrialFolder, dict[str, Any]]]:
    """The trials of these targets with their settings, by id."""
    for folder in trial_folders(paths.trials):
        settings = readable_config(folder)
        if settings is not None and settings.get("target") in questions:
            yield folder, settings


def _as_told(
    folder: TrialFolder, settings: Mapping[str, Any], question: Question, history: _Recorded | None, known: Known
) -> EarlierTrial | str:
    """The trial as it is told, or why it is not."""
    other = differing(settings, question)
    if other:
        return WHY.get(other[0], f"another {other[0]}")
    record = readable_record(folder)
    state = None if record is None else _state(record, pruned=history is not None and history.pruned)
    if record is None or state is None:
        return "not ended"
    if history is None or not history.parameters:
        return "with parameters that no study here recorded for this start"
    params, held = max((fit(parameters, known) for parameters in history.parameters), key=lambda pair: len(pair[0]))
    if not params:
        return "without a parameter of this space"
    texts = {name: distribution_to_json(distribution) for name, distribution in held.items()}
    return EarlierTrial(folder.id, params, texts, state, record.score, record.curve, record.epochs_planned, question_of(settings))


def _state(record: Record, *, pruned: bool) -> str | None:
    if record.diverged:
        return "diverged"
    if record.finished:
        return "finished" if record.score is not None else None
    return "pruned" if pruned and record.curve else None


def _recorded_trials(paths: CompetitionPaths, questions: Mapping[str, Question]) -> dict[str, _Recorded]:
    """Trial id -> what the studies of the ledger recorded of it, those that began from the same weights as the new one."""
    histories: dict[str, _Recorded] = {}
    for study in study_folders(paths.studies):
        try:
            plan, statuses, suggestions = study.plan(), study.statuses(), study.suggestions()
        except UserError as error:
            log.warning("study %s is left out: %s", study.name, error)
            continue
        for suggestion in suggestions:
            question = questions.get(suggestion.target)
            question_then = plan.get("questions", {}).get(suggestion.target, {})
            if question is None or question_then.get("start_weights", "") != question.start_weights:
                continue
            known = histories.get(suggestion.trial_id, _Recorded([]))
            parameters = recorded(suggestion, of_a_base=bool(plan.get("request", {}).get("vary")))
            pruned = known.pruned or statuses[suggestion.trial_id] == "pruned"
            histories[suggestion.trial_id] = _Recorded([*known.parameters, parameters], pruned)
    return histories
