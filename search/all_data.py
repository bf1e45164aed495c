"""Final members: chosen trials once more, with the same settings and seed, on all labelled photos. Nobody judges them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from competitions.prepare import Prepared
from ledger.errors import UserError
from ledger.mending import readable_config
from ledger.paths import CompetitionPaths
from ledger.query import best_trials
from ledger.studies import StudyFolder, Suggestion, study_folder
from ledger.trials import ALL_DATA, TrialFolder
from search.base import base_config, check_base
from search.request import Request
from trainables.config import Question, TrialConfig

Members = dict[str, list[TrialConfig]]


def members_of(request: Request, prepared: Prepared, questions: Mapping[str, Question]) -> Members:
    """Target -> configurations on all data: the base's, else the best trials'; of a study that goes on, those it began with.

    Args:
        request: `base`, or `trials` and the fold whose scores choose.
        prepared: Today's data.
        questions: Of the targets.

    Raises:
        UserError: Targets without a finished trial, or a base of other data; all are named.
    """
    paths = prepared.paths
    if request.resume:
        recorded = study_folder(paths.studies, request.study or "").plan()["members"]
        return {target: [TrialConfig.from_json(settings) for settings in listed] for target, listed in recorded.items()}
    if request.base:
        config = base_config(paths, request.base)
        check_base(config, prepared)
        return {config.target: [replace(config, fold=ALL_DATA)]}
    best = {name: list(islice(_best_trained(paths, name, question), request.n_trials)) for name, question in questions.items()}
    empty = [name for name, trials in best.items() if not trials]
    if empty:
        raise UserError(
            f"no finished trial of {', '.join(empty)} on fold {request.fold} for these data; run: "
            f"python run_search.py {prepared.competition.name} --targets {','.join(empty)}"
        )
    return {name: [replace(base_config(paths, trial), fold=ALL_DATA) for trial in trials] for name, trials in best.items()}


def _best_trained(paths: CompetitionPaths, target: str, question: Question) -> Iterator[str]:
    """The finished trials of a target, best first, without the soups among them: those are averaged and not trained."""
    found = best_trials(paths, target, question.data, question.fold, question.metric)
    return (trial for trial, _ in found if not (readable_config(TrialFolder(paths.trials / trial)) or {}).get("soup"))


def write_members(study: StudyFolder, members: Members) -> None:
    """Put the members before the study's searcher as suggestions that wait to be trained; those that are there stay."""
    there = {suggestion.trial_id for suggestion in study.suggestions()}
    listed = [(target, config) for target, configs in members.items() for config in configs]
    for number, (target, config) in enumerate(listed, start=1):
        if config.trial_id not in there:
            asked = Suggestion(number, target, config.trial_id, {}, attributes={"params": {}}, settings=config.json())
            study.write_suggestion(asked)
