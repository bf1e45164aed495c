"""A plan: from a request to everything a study needs, checked as a whole before anything is trained."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from competitions.competition import Competition, load_competition, with_split
from competitions.prepare import Prepared, prepare
from competitions.targets import choose_targets
from ledger.errors import UserError
from ledger.paths import CompetitionPaths, check_writable, competition_paths
from ledger.progress import Counting
from ledger.studies import StudyFolder, study_folder
from search.request import Request, check_request
from search_spaces import Space
from trainables.catalog import check_views

log = logging.getLogger("podium.search")


@dataclass(frozen=True)
class Plan:
    """Everything a study needs, checked and prepared."""

    request: Request
    space: Space
    prepared: Prepared
    questions: dict[str, Any]
    study: StudyFolder

    @property
    def paths(self) -> CompetitionPaths:
        return self.prepared.paths


def make_plan(request: Request, storage: str | Path | None) -> Plan:
    """Check the request, prepare the data, draw from the space once, and name the study; nothing is trained.

    Raises:
        UserError: With every fault that can be known before the first trial.
    """
    competition = load_competition(request.competition)
    paths = competition_paths(competition.name, storage)
    if request.resume:
        request = _recorded(request, study_folder(paths.studies, request.study or ""))
    competition = with_split(competition, request.split)
    space = check_request(request, competition)
    check_views(competition.views)
    check_writable(paths.root)
    prepared = prepare(competition, paths, progress=Counting("decoding photos"))
    _tell(prepared)
    questions = questions_of(request, prepared, competition)
    if request.resume:
        _check_unchanged(study_folder(paths.studies, request.study or ""), questions, space)
    from search.space_check import StartWeights, check_space

    check_space(space, questions, StartWeights(prepared))
    name = request.study or f"{space.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    study = StudyFolder(paths.studies / name)
    if not request.resume and study.path.exists():
        raise UserError(
            f"study names must be new, {name!r} is there already; go on with it by --resume {name}, or give another --study"
        )
    return Plan(replace(request, study=name), space, prepared, questions, study)


def dry_run(plan: Plan) -> dict[str, Any]:
    """What would be trained: the plan and the first suggestion of each target, resolved. Nothing is written."""
    import optuna

    from trainables.config import resolve

    drawn = {}
    for name, question in plan.questions.items():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=plan.request.seed))
        config = resolve(plan.space.suggest(study.ask()), question)
        drawn[name] = {"trial_id": config.trial_id, "config": config.json()}
    return {"study": plan.study.name, "request": json.loads(json.dumps(asdict(plan.request))), "for_example": drawn}


def _tell(prepared: Prepared) -> None:
    """What a person should know about the photos before hours are spent on them; `prepare_data.py` tells it in full."""
    facts = [
        (len(prepared.broken), "photos cannot be read"),
        (len(prepared.folds.pinned), "groups are always in training"),
        (len(prepared.findings), "leaks, near-duplicates or contradictions between photos"),
    ]
    told = ", ".join(f"{n} {what}" for n, what in facts if n)
    if told:
        log.warning("%s: %s (prepare_data.py %s lists them)", prepared.competition.name, told, prepared.competition.name)


def questions_of(request: Request, prepared: Prepared, competition: Competition) -> dict[str, Any]:
    from trainables.config import Question

    targets = choose_targets(competition, request.targets)
    empty = [target.name for target in targets if not all(map(len, prepared.rows(target, request.fold)))]
    if empty:
        raise UserError(f"fold {request.fold} has no photos to train or to judge {', '.join(empty)} on; give another --fold")
    return {
        target.name: Question(
            competition=competition.name,
            target=target.name,
            heads=target.heads,
            metric=target.metric,
            data=prepared.data_fingerprint(target),
            split=competition.split.name,
            fold=request.fold,
            seed=request.seed,
            image_size=competition.image_size,
            threads=request.cpus_per_trial,
            gpu=request.gpus_per_trial > 0,
        )
        for target in targets
    }


def plan_json(plan: Plan, key: str) -> dict[str, Any]:
    from trainables.provenance import provenance

    asked = {name: value for name, value in asdict(plan.request).items() if name not in ("resume", "address")}
    competition = plan.prepared.competition
    asked |= {"competition": competition.name, "split": competition.split.name}  # not the path of its file
    asked |= {"trials": plan.request.n_trials}
    made_of = {name: value for name, value in provenance().items() if name in ("commit", "packages", "author", "host")}
    return {
        "request": asked,
        "space": plan.space.fingerprint,
        "prepared": key,
        "questions": _asked(plan.questions),
        "made_of": made_of,
    }


def _asked(questions: Mapping[str, Any]) -> dict[str, Any]:
    """What a study decides about its trials, as JSON values."""
    return {name: asdict(question) for name, question in questions.items()}


def _check_unchanged(study: StudyFolder, questions: Mapping[str, Any], space: Space) -> None:
    """Scores on other photos do not compare, so a study goes on only with the data it began with.

    Raises:
        UserError: Naming what is different now.
    """
    before, now = study.plan()["questions"], _asked(questions)
    changed = {key for name in before for key, value in before[name].items() if now.get(name, {}).get(key) != value}
    if study.plan()["space"] != space.fingerprint:
        raise UserError(
            f"search_spaces/{space.name}.py is not what study {study.name!r} began with; put it back, or start a new study: it takes "
            "over every trial that still fits"
        )
    if changed:
        raise UserError(
            f"study {study.name!r} began with other settings of the competition or other photos (changed: "
            f"{', '.join(sorted(changed))}); put them back, or start a new study: it takes over every trial that still fits"
        )


def _recorded(request: Request, study: StudyFolder) -> Request:
    """The request a study was started with; how many trials, how long and where may be asked anew."""
    asked = study.plan()["request"]
    asked["targets"] = tuple(asked["targets"]) if asked["targets"] else None
    anew = {name: getattr(request, name) for name in ("address", "hours", "loader_workers", "tracker")}
    if request.trials is not None:
        anew["trials"] = request.trials
    return Request(**{**asked, **anew, "study": study.name, "resume": True})
