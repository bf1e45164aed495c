"""Siblings: chosen trials once more, with the same settings and seed, on all labelled photos or on every other fold of the split.

On all photos nobody judges them. On the other folds each is judged on its own, so that, with the trial they were made from, every photo
is judged once.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from competitions.prepare import Prepared
from competitions.targets import targets
from ledger.query import best_trials
from ledger.reading import readable_record
from ledger.studies import StudyFolder, Suggestion, study_folder
from ledger.trials import ALL_DATA, TrialFolder
from search.request import Request
from search.variations import base_config, check_base
from system.errors import UserError, listed
from trainables.attach import weights_store
from trainables.backbones import kept_weights
from trainables.config import RECIPE, Question, TrialConfig
from trainables.start.initial_weights import is_trial_start

log = logging.getLogger("podium.search")
Members = dict[str, list[TrialConfig]]


def members_of(request: Request, prepared: Prepared, questions: Mapping[str, Question]) -> Members:
    """Target -> the configurations to train: siblings of the base, else of the best trials; of a study that goes on, those it began with.

    Args:
        request: Which siblings, of `base`, or of how many trials and the fold whose scores choose them.
        prepared: Today's data.
        questions: Of the targets.

    Raises:
        UserError: Targets without a trial that can have siblings, or a base that cannot, or is of other data; all are named.
    """
    paths = prepared.paths
    if request.resume:
        recorded = study_folder(paths.studies, request.study or "").plan()["members"]
        return {target: [TrialConfig.from_json(settings) for settings in listed] for target, listed in recorded.items()}
    chosen = _base(request, prepared) if request.base else _best(request, prepared, questions)
    return {
        target: [replace(config, fold=fold) for config in configs for fold in _folds(config, request, prepared)]
        for target, configs in chosen.items()
    }


def write_members(study: StudyFolder, members: Members) -> None:
    """Put the members before the study's searcher as suggestions that wait to be trained; those that are there stay."""
    there = {suggestion.trial_id for suggestion in study.suggestions()}
    listed = [(target, config) for target, configs in members.items() for config in configs]
    for number, (target, config) in enumerate(listed, start=1):
        if config.trial_id not in there:
            suggestion = Suggestion(number, target, config.trial_id, {}, attributes={"params": {}}, settings=config.json())
            study.write_suggestion(suggestion)


def by_fold(prepared: Prepared, members: Members, statuses: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Per target what there is of each member on each fold, the trial included that it was made from.

    Args:
        prepared: The data of the members.
        members: Siblings on folds.
        statuses: What the study says of its trials.

    Returns:
        In the order of `members`, for each `config_id` and `seed`: `folds`, each with `fold`, `trial_id`, `status` and `score`, in
        order, and the mean `score` of those that have one; `None` where none has.
    """
    each = {target: {(one.config_id, one.seed): one for one in configs} for target, configs in members.items()}
    return {target: [_member_json(prepared, one, statuses) for one in configs.values()] for target, configs in each.items()}


def _member_json(prepared: Prepared, member: TrialConfig, statuses: Mapping[str, str]) -> dict[str, Any]:
    trials = {fold: replace(member, fold=fold).trial_id for fold in range(prepared.competition.split.n_folds)}
    scores = {fold: score for fold, trial in trials.items() if (score := _score(prepared, trial)) is not None}
    folds = [
        {"fold": fold, "trial_id": trial, "status": statuses.get(trial, "finished"), "score": scores.get(fold)}
        for fold, trial in trials.items()
        if trial in statuses or fold in scores
    ]
    mean = sum(scores.values()) / len(scores) if scores else None
    return {"config_id": member.config_id, "seed": member.seed, "folds": folds, "score": mean}


def _score(prepared: Prepared, trial: str) -> float | None:
    record = readable_record(TrialFolder(prepared.paths.trials / trial))
    return record.score if record is not None and record.finished else None


def _base(request: Request, prepared: Prepared) -> Members:
    config = _config(request.base or "", request, prepared)
    check_base(config, prepared)
    return {config.target: [config]}


def _best(request: Request, prepared: Prepared, questions: Mapping[str, Question]) -> Members:
    """Per target the best trials that can have siblings; what is better and cannot is named."""
    members, faults = {}, []
    for name, question in questions.items():
        ranked = best_trials(prepared.paths, name, question.data, question.fold, question.metric)
        members[name], left = _first_fit([trial for trial, _ in ranked], request, prepared)
        if left and members[name]:
            log.warning("%s: left out are %d better trials: %s", name, len(left), listed(left))
        elif left:
            faults.append(f"none of the {len(ranked)} finished trials of {name} on fold {request.fold} will do: {listed(left)}")
    empty = [name for name, question in questions.items() if not members[name] and not faults]
    if empty:
        faults.append(
            f"no finished trial of {', '.join(empty)} on fold {request.fold} for these data; run: "
            f"python run_search.py {prepared.competition.name} --targets {','.join(empty)}"
        )
    if faults:
        raise UserError(*faults)
    return members


def _first_fit(ranked: list[str], request: Request, prepared: Prepared) -> tuple[list[TrialConfig], list[str]]:
    """As many of the first as are asked for, and why others before them are not among them."""
    fit: list[TrialConfig] = []
    left: list[str] = []
    for trial in ranked:
        if len(fit) == request.n_trials:
            break
        try:
            fit.append(_config(trial, request, prepared))
        except UserError as error:
            left += error.faults
    return fit, left


def _config(trial: str, request: Request, prepared: Prepared) -> TrialConfig:
    """The configuration of a finished trial that can be trained once more on other photos.

    Raises:
        UserError: Its score is none, this version trains otherwise, its start is not there, or knows the photos it would be judged on.
    """
    config = base_config(prepared.paths, trial)
    if config.recipe != RECIPE:
        raise UserError(
            f"trial {trial} was trained by recipe {config.recipe}, and this Podium trains by recipe {RECIPE}; give another trial"
        )
    if not config.weights or config.weights.startswith("timm:"):
        return config
    try:
        file = kept_weights(weights_store(prepared), config.weights)
    except UserError as error:
        raise UserError(f"trial {trial}: {error}") from error
    if request.all_folds and is_trial_start(file):
        raise UserError(
            f"trial {trial} started from a trial that learned photos of the other folds, on which it could not be judged; give another "
            "trial"
        )
    return config


def _folds(config: TrialConfig, request: Request, prepared: Prepared) -> list[int]:
    """The folds that a trial's siblings hold out.

    Raises:
        UserError: Only its own has photos to judge it on.
    """
    if request.all_data:
        return [ALL_DATA]
    target, split = targets(prepared.competition)[config.target], prepared.competition.split
    others = [fold for fold in range(split.n_folds) if fold != config.fold]
    empty = [fold for fold in others if prepared.empty_heads(target, fold)]
    if empty == others:
        raise UserError(
            f"fold {config.fold} of split {split.name!r} alone has photos to judge {target.name} on; give another --split"
        )
    if empty:
        log.warning("%s: folds %s have no photos to train or to judge it on", target.name, ", ".join(map(str, empty)))
    return [fold for fold in others if fold not in empty]
