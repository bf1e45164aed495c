"""A plan: from a request to everything a study needs, checked as a whole before anything is trained."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from competitions.answered import usual_targets
from competitions.compare_data import DataDifference
from competitions.competition import Competition, with_split
from competitions.loading import load_competition
from competitions.prepare import Prepared, prepare
from competitions.targets import Target, choose_targets, targets
from ledger.reading import readable_record
from ledger.studies import StudyFolder, Suggestion, study_folder
from ledger.trials import ALL_DATA, TrialFolder
from search.facts import told
from search.request import EVERY_FOLD, FLAGS, Request
from search.request_check import check_request
from search.resume_check import before, changes_since, code, refit, settle
from search_spaces import Space
from system.errors import UserError
from system.paths import CompetitionPaths, check_name, check_writable, competition_paths
from system.progress import Counting

log = logging.getLogger("podium.search")
MADE_OF = ("commit", "packages", "python", "author", "host")


@dataclass(frozen=True)
class Plan:
    """Everything a study needs, checked and prepared.

    Attributes:
        members: Target -> configurations to train as they stand, for a study on all data or all folds; else empty.
        former: The plan of a study that goes on, as it was; else empty.
        changes: What is not as the study began, and was accepted or does not matter.
        earlier: Target -> earlier trials that a warm start takes over.
    """

    request: Request
    space: Space
    prepared: Prepared
    questions: dict[str, Any]
    study: StudyFolder
    members: dict[str, list[Any]] = field(default_factory=dict)
    former: dict[str, Any] = field(default_factory=dict)
    changes: tuple[DataDifference, ...] = ()
    earlier: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def paths(self) -> CompetitionPaths:
        return self.prepared.paths

    def compares(self, suggestion: Suggestion) -> bool:
        """Whether a suggestion of this study answers one of today's questions."""
        from search.optuna_trials import answers

        question = self.questions.get(suggestion.target)
        return question is not None and answers(suggestion.settings, question)

    def failed(self) -> set[str]:
        """The trials of today's questions that failed for good, those included whose retry was cut off; a diverged one has a result."""
        failed = self.study.failed()
        return {one.trial_id for one in self.study.suggestions() if one.trial_id in failed and self.compares(one)}


def make_plan(request: Request, storage: str | Path | None) -> Plan:
    """Check the request, prepare the data, draw from the space once, and name the study; nothing is trained.

    Raises:
        UserError: With every fault that can be known before the first trial.
    """
    from trainables.views import check_views

    competition = load_competition(request.competition)
    log.info("%s: checking data, space and code", competition.name)
    paths = competition_paths(competition.name, storage)
    if request.resume:
        request = _recorded(request, study_folder(paths.studies, request.study or ""))
    competition = with_split(competition, request.split)
    base = _base_of(request, paths)
    space, request = _check(request, base, competition)
    check_views(competition.views)
    check_writable(paths.root)
    prepared = prepare(competition, paths, progress=Counting("decoding photos"))
    _tell(prepared)
    former = study_folder(paths.studies, request.study or "").plan() if request.resume else {}
    space = told(space, request, prepared, former)
    if request.targets is None and space.asked is not None and space.facts is not None:
        request = replace(request, targets=space.asked.targets(space.facts) or None)
    if request.targets is None and request.is_refit and request.base is None:
        request = replace(request, targets=tuple(one.name for one in usual_targets(prepared, fold=request.fold)))
    questions = questions_of(request, prepared, prepared.competition)
    members: dict[str, list[Any]] = {}
    if request.is_refit:
        from search.refit import members_of

        members = members_of(request, prepared, questions)
        threads = max(config.threads for configs in members.values() for config in configs)
        request = replace(request, cpus_per_trial=threads, scheduler="fifo")
        fold = ALL_DATA if request.all_data else EVERY_FOLD
        questions = {name: replace(question, fold=fold, threads=threads) for name, question in questions.items()}
    changes = changes_since(former, space, prepared, questions) if former else []
    others = any(one["data"] != questions[name].data for name, one in former.get("questions", {}).items())
    settle(request.study or "", changes, accept=request.accept_change, acceptable=not (request.is_refit and others))
    if base is not None and not request.is_refit:
        space, request = _around(space, base, request, prepared, questions)
    earlier: dict[str, list[Any]] = {}
    if request.warm_start:
        from search.warm_start import taken_over

        earlier = taken_over(former, changes, space, paths, questions)
    if not request.is_refit:
        from search.space_check import StartWeights, check_space

        check_space(space, questions, StartWeights(prepared))
    kind = f"around-{request.base}" if request.vary else space.name
    name = request.study or f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    study = StudyFolder(paths.studies / name)
    if not request.resume:
        check_new(study)
    request = replace(request, study=name, targets=tuple(questions))
    return Plan(request, space, prepared, questions, study, members, former, tuple(changes), earlier)


def check_new(study: StudyFolder) -> None:
    """Refuse a name that a study has.

    Raises:
        UserError: Naming it.
    """
    if study.begun:
        raise UserError(
            f"study names must be new, {study.name!r} is there already; go on with it by --resume {study.name}, "
            "or give another --study"
        )


def dry_run(plan: Plan) -> dict[str, Any]:
    """What would be trained: the plan and the first suggestion of each target, resolved. Nothing is written."""
    import optuna

    from trainables.config import resolve

    drawn = {}
    for name, question in plan.questions.items():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=plan.request.suggestion_seed))
        if plan.request.base:
            study.ask()  # number 0 is the base itself
        config = plan.members[name][0] if plan.members else resolve(plan.space.suggest(study.ask()), question)
        drawn[name] = {"trial_id": config.trial_id, "config": config.json()}
    return {
        "study": plan.study.name,
        "request": {name: value for name, value in json.loads(json.dumps(asdict(plan.request))).items() if name != "dry_run"},
        "for_example": drawn,
        "changes": [asdict(change) for change in plan.changes],
        "members": {
            name: [{"trial_id": one.trial_id, "fold": one.fold, "seed": one.seed} for one in listed]
            for name, listed in plan.members.items()
        },
        "taken_over": {name: len(trials) for name, trials in plan.earlier.items()},
    }


def _tell(prepared: Prepared) -> None:
    """What a person should know about the photos before hours are spent on them; `prepare_data.py` tells it in full."""
    facts = [
        (len(prepared.broken), "photos cannot be read"),
        (len(prepared.folds.pinned), "groups are always in training"),
        (len(prepared.findings), "leaks, near-duplicates or contradictions between photos"),
    ]
    warnings = ", ".join(f"{n} {what}" for n, what in facts if n)
    if warnings:
        log.warning("%s: %s (prepare_data.py %s lists them)", prepared.competition.name, warnings, prepared.competition.name)


def questions_of(request: Request, prepared: Prepared, competition: Competition) -> dict[str, Any]:
    from trainables.config import Question

    chosen = choose_targets(competition, request.targets)
    empty = [f"{head} of {target.name}" for target in chosen for head in prepared.empty_heads(target, request.fold)]
    if empty:
        raise UserError(f"fold {request.fold} has no photos to train or to judge {', '.join(empty)} on; give another --fold")
    undefined = {target.name: prepared.undefined_heads(target, request.fold) for target in chosen}
    faults = [f"{head} of {name}: {why}" for name, whys in undefined.items() for head, why in whys.items()]
    if any(len(undefined[target.name]) == len(target.heads) for target in chosen):
        raise UserError(*faults)
    for fault in faults:
        log.warning("%s; it is left out of the score", fault)
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
            **_start(request, target, prepared),
        )
        for target in chosen
    }


def _start(request: Request, target: Target, prepared: Prepared) -> dict[str, str]:
    """The start that every trial of a target has in common: backbone and weights of the trial it goes on from, if any."""
    from trainables.attach import start_of, weights_store
    from trainables.config import TrialConfig

    if request.resume:
        recorded = study_folder(prepared.paths.studies, request.study or "").plan()["questions"].get(target.name, {})
        return {name: recorded[name] for name in ("start_backbone", "start_weights") if name in recorded}
    source = None if request.base else request.init_from or target.init_from  # a base brings its own start
    if source is None or request.is_refit:
        return {}
    check_name("trial", source)
    folder = TrialFolder(prepared.paths.trials / source)
    backbone, weights = start_of(folder, weights_store(prepared))
    _check_start(TrialConfig.from_json(folder.config()), request.fold, prepared)
    return {"start_backbone": backbone, "start_weights": weights}


def _check_start(source: Any, fold: int, prepared: Prepared) -> None:
    """Refuse a start that has learned photos on which trials that start from it would be judged.

    Raises:
        UserError: It learned from another split's folds, with another fold held out, or from all photos.
    """
    known = targets(prepared.competition).get(source.target)
    same_folds = known is not None and prepared.data_fingerprint(known) == source.data
    if not same_folds or source.fold != fold:
        held_out = "none" if source.fold == ALL_DATA else f"fold {source.fold}"
        raise UserError(
            f"trial {source.trial_id} learned with {held_out} of split {source.split!r} held out"
            f"{'' if same_folds else ', on other photos, labels or folds than today'}; trials judged on fold {fold} of split "
            f"{prepared.competition.split.name!r} must not start from photos they are judged on: give a trial of that fold and split"
        )


def plan_json(plan: Plan, key: str) -> dict[str, Any]:
    from trainables.provenance import provenance

    unrecorded = {flag.name for flag in FLAGS if not flag.recorded}
    request = {name: value for name, value in asdict(plan.request).items() if name not in unrecorded}
    competition = plan.prepared.competition
    request |= {"competition": competition.name, "split": competition.split.name}  # not the path of its file
    request |= {"trials": plan.request.n_trials}
    made_of = {name: value for name, value in provenance().items() if name in MADE_OF}
    return {
        "request": request,
        "space": plan.space.fingerprint,
        "space_files": dict(plan.space.files),
        **({"facts": asdict(plan.space.facts)} if plan.space.facts else {}),
        "code": sorted(code()),
        "prepared": key,
        "members": {target: [config.json() for config in configs] for target, configs in plan.members.items()},
        "questions": {name: asdict(question) for name, question in plan.questions.items()},
        "made_of": made_of,
        "told": {target: [one.json() for one in trials] for target, trials in plan.earlier.items()},
        "before": before(plan.former, plan.changes),
        "refit": refit(plan.former, plan.changes, plan.study),
    }


def _base_of(request: Request, paths: CompetitionPaths) -> Any:
    """The configuration of the request's base; what is wrong with it instead, or `None` where there is none."""
    if request.base is None:
        return None
    from search.variations import base_config

    try:
        return base_config(paths, request.base)
    except UserError as error:
        return error


def _check(request: Request, base: Any, competition: Competition) -> tuple[Space, Request]:
    """The space, and the request with the base's own target.

    Raises:
        UserError: With every fault of the request and of its base.
    """
    faults = list(base.faults) if isinstance(base, UserError) else []
    if base is not None and not faults:
        if request.targets is None:
            request = replace(request, targets=(base.target,))
        if request.targets != (base.target,):
            faults.append(
                f"--targets must be the base's own with --base, {base.target}, got {','.join(request.targets or ())}; leave it out"
            )
    try:
        space = check_request(request, competition)
    except UserError as error:
        faults += error.faults
    if faults:
        raise UserError(*faults)
    return space, request


def _around(space: Space, base: Any, request: Request, prepared: Prepared, questions: Mapping[str, Any]) -> tuple[Space, Request]:
    """The space around the base, and the request with room for the base's partner under another fold or seed."""
    from search.variations import around, check_base

    check_base(base, prepared)
    question = questions[base.target]
    space = around(space, base, request.vary, question, prepared)
    partner = replace(base, fold=question.fold, seed=question.seed, threads=question.threads)
    record = readable_record(TrialFolder(prepared.paths.trials / partner.trial_id))
    if not request.resume and (record is None or not record.ended):
        under = (question.fold, question.seed)
        log.info("the base itself is trained under fold %d and seed %d as well, so that each variation has its partner", *under)
        request = replace(request, trials=request.n_trials + 1)
    return space, request


def _recorded(request: Request, study: StudyFolder) -> Request:
    """The request a study was started with; how many trials, how long and where may be asked anew."""
    recorded = study.plan()["request"]
    recorded["targets"] = tuple(recorded["targets"]) if recorded["targets"] else None
    recorded["vary"] = tuple(recorded.get("vary", ()))
    if request.trials is not None and (recorded.get("all_data") or recorded.get("all_folds")):
        where = "all data" if recorded.get("all_data") else "all folds"
        raise UserError(f"study {study.name!r} trains on {where} what it was started with; start another with --trials N")
    if request.gpus_per_trial and not recorded["gpus_per_trial"]:
        raise UserError(
            f"study {study.name!r} learns on the CPU, and a GPU comes to other bits; leave --gpus-per-trial out, or start a new study"
        )
    anew = {flag.name: getattr(request, flag.name) for flag in FLAGS if flag.when in ("run", "call")}
    changed = {
        flag.name: value for flag in FLAGS if flag.when == "anew" and (value := getattr(request, flag.name)) != flag.default
    }
    again = {"competition": request.competition, "study": study.name}  # a competition may be a file, as it was typed
    return Request(**{**recorded, **anew, **changed, **again})
