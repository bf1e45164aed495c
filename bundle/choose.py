"""The choice: pools of all places to a plan, what it scores, and what it answers for the test photos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.budget import within_budget
from bundle.fit_subtask import Decided, Shares, decide_subtask, known_shares, shares_json, told_shares
from bundle.imported import check_unjudged, importing, with_unjudged
from bundle.members import Member, complete, find_members, siblings_on_all_data
from bundle.options import Options, check
from bundle.pool import TEST, Pool, cached_test_probs, load_pool, subtasks_of
from bundle.report import SEED, asking, needed, say, unseen, verdict, weighing
from bundle.shift_check import look_elsewhere
from bundle.soups import with_soups, without_soups
from bundle.to_plan import named
from competitions.labels import Composition
from competitions.manifest import LABEL
from competitions.prepare import Prepared
from competitions.targets import Target, choose_targets
from ensemble.label.cascade import Subtask, subtask_faults
from ensemble.label.choose import WayAccount, choose_way
from ensemble.label.decode import Together, asked_subtasks, asks_joint, default_way, ways
from ensemble.label.joint_prior import fit_joint
from ensemble.metric_sums import vote_score
from ensemble.parallel import in_processes
from ensemble.plan.plan import EnsemblePlan, decide
from ensemble.plan.spec import Spec
from ensemble.shift.adversarial_validation import Shift
from ensemble.views.journal import tta_journal
from ledger.query import count_looks
from ledger.trials import ALL_DATA
from system.errors import UserError

WIDTH, WIDE = 3, 8
"""So many times as many members as are asked for are computed through all views: what could be chosen in a resample; `--thorough`."""
Report = Callable[[str], object]


@dataclass(frozen=True)
class Choice:
    """A plan and what is known about it.

    Attributes:
        scores: Per task, and for the composed `label`, what `bundle.report.say` says.
        answers: Task -> class numbers of the test photos `(N,)`, the composed `label` included.
        image_ids: The N test photos in the manifest's order.
        forecast: Whether to expect the honest score on the test photos, and why (not).
        journal: What was compared on the way: views, refinements, ways, members.
        budget: Cost of members along the front, where it was asked for.
        beside: Plans of what is always shown beside the exported one: `single`, the best trial of each place through one view, and
            the `hard` and the `soft` vote of all views of the members, without refinements. Members vote in them themselves, whoever
            votes for them in the plan.
    """

    plan: EnsemblePlan
    scores: dict[str, dict[str, Any]]
    answers: dict[str, NDArray[np.int64]]
    image_ids: tuple[str, ...]
    forecast: dict[str, Any] = field(default_factory=dict)
    journal: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] | None = None
    beside: dict[str, EnsemblePlan] = field(default_factory=dict)


def choose(prepared: Prepared, options: Options | None = None, *, tell: Report = lambda text: None, processes: int = 1) -> Choice:
    """Let the best members for each place vote, refine what wins, and measure that choice.

    Args:
        prepared: The competition's data.
        options: What is asked for.
        tell: Told what is being done.
        processes: Copies of this process that share the resamples (`ensemble.parallel`); the choice is the same with any number.

    Raises:
        UserError: A number or name is out of range, the targets do not answer everything, one has no finished trial, or a chosen
            one has no sibling that learned from all photos.
    """
    options = Options() if options is None else options
    check(options, prepared)
    targets = choose_targets(prepared.competition, options.targets)
    subtasks = subtasks_of(prepared, targets)
    table = Composition.of(prepared.competition)
    _check_subtasks(prepared, list(subtasks), table, options.together)
    check_unjudged(prepared, list(subtasks), options.unjudged)
    pools = _pools(prepared, options, targets, subtasks, tell)
    tell("comparing labelled and test photos")
    shift = look_elsewhere(prepared, pools, options.device, processes=processes)
    shares = {
        subtask: Shares()
        if options.plain
        else known_shares(prepared, pool, shift=_reason(shift), method=options.estimator, device=options.device)
        for subtask, pool in pools.items()
    }

    def decide() -> dict[Subtask, Decided]:
        decided: dict[Subtask, Decided] = {}
        for subtask, pool in pools.items():
            tell(f"choosing for {subtask}")
            decided[subtask] = decide_subtask(prepared, pool, options, shares[subtask])
        return decided

    decided = in_processes(processes, decide)
    budget = None
    if options.front or options.has_budget:
        tell("measuring what members cost")
        decided, budget = within_budget(prepared, decided, options, processes=processes)

    def score() -> tuple[Together, Together, tuple[WayAccount, ...], dict[str, dict[str, Any]]]:
        tell("comparing ways to the label")
        together, default, accounts = _together(prepared, decided, options, table)
        own = _plan(prepared, subtasks, decided, replace(options, all_data=False, unjudged=()), together, table)
        return together, default, accounts, _say(prepared, decided, own, together, default, table, _told(prepared, options), tell)

    together, default, accounts, scores = in_processes(processes, score)
    plan = _plan(prepared, subtasks, decided, options, together, table)
    ids = _test_ids(prepared)
    tell("answering the test photos")
    return Choice(
        plan=plan,
        scores=scores,
        answers=answer(prepared, plan, ids, options.device),
        image_ids=ids,
        forecast=_forecast(prepared, decided, scores, shift, options, targets),
        journal=_journal(decided, accounts, shift),
        budget=None if budget is None else budget.to_json(),
        beside={
            name: _plan(prepared, subtasks, own, replace(options, all_data=False, unjudged=()), default, table)
            for name, own in _beside(decided).items()
        },
    )


def _say(
    prepared: Prepared,
    decided: Mapping[Subtask, Decided],
    plan: EnsemblePlan,
    together: Together,
    default: Together,
    table: Composition,
    told: Mapping[str, Shares],
    tell: Report,
) -> dict[str, dict[str, Any]]:
    """What is known about each answer."""
    scores = {}
    for task in _answered(plan):
        tell(f"honest score of {task}")
        photos = asking(prepared, decided, needed((together, default), table, list(decided), task), task)
        if len(photos.labels):
            weights = weighing(decided, photos, table, len(plan.known_classes[task]), told)
            how: dict[str, Any] = {"metric": plan.metric, "weights": weights}
            scores[task] = say(decided, photos, together, default, table, plan.known_classes, **how)
            scores[task] |= {"verdict": verdict(scores[task]), "unseen": unseen(prepared, photos)}
    return scores


def answer(prepared: Prepared, plan: EnsemblePlan, ids: tuple[str, ...], device: str = "cpu") -> dict[str, NDArray[np.int64]]:
    """What a plan answers for test photos `ids`: task -> class numbers `(N,)`. What is not cached is computed."""
    if not ids:
        return {}
    views: dict[str, list[str]] = {}
    for trial, _, view in plan.keys:
        if trial not in plan.imports and view not in views.setdefault(trial, []):
            views[trial].append(view)
    complete(prepared, views, (TEST,), device)
    groups = dict(zip(prepared.manifest.image_ids, prepared.manifest.groups, strict=True))
    return decide(plan, cached_test_probs(prepared, plan), ids, [groups[image_id] for image_id in ids])


def _test_ids(prepared: Prepared) -> tuple[str, ...]:
    return tuple(prepared.manifest.image_ids[row] for row in prepared.manifest.rows("test"))


def _check_subtasks(prepared: Prepared, subtasks: Sequence[Subtask], table: Composition, together: str | None) -> None:
    """Refuse targets that do not answer everything the file asks for, or not in the way asked for, or of which one has no say."""
    competition, there = prepared.competition, ways(subtasks, table)
    answered = {subtask.task for subtask in subtasks}
    wanted = {task for task in competition.submission.answers.values() if task != LABEL and task not in table.tasks}
    if not there:
        wanted |= set(table.tasks)
    missing = [task for task in competition.tasks if task in wanted and task not in answered]
    faults = [f"no target answers {', '.join(missing)}"] if missing else []
    classes = {task: one.classes for task, one in competition.tasks.items()}
    faults += subtask_faults([subtask for subtask in subtasks if subtask.where or subtask.task not in _split(subtasks)], classes)
    options = {subtask for way in there for subtask in asked_subtasks(way, subtasks, table)}
    idle = [str(subtask) for subtask in subtasks if subtask not in options] if there else []
    faults += (
        [f"{', '.join(idle)} would have no say: no way to the label asks them; leave them out, or add what is missing"]
        if idle
        else []
    )
    faults = [f"--targets: {fault}" for fault in faults]
    if there and together is not None and together not in there:
        faults.append(f"--together {together}: these targets allow {', '.join(there)}")
    if faults:
        raise UserError(*faults)


def _split(subtasks: Sequence[Subtask]) -> set[str]:
    """Tasks that are answered by subsets: their own ensemble may stand beside those."""
    return {subtask.task for subtask in subtasks if subtask.where}


def _pools(
    prepared: Prepared, options: Options, targets: Sequence[Target], subtasks: Mapping[Subtask, Sequence[Target]], tell: Report
) -> dict[Subtask, Pool]:
    folds = options.folds(prepared.competition.split.n_folds)
    members = find_members(prepared, targets, folds=folds, study=options.study)
    if options.all_data:
        members = without_soups(prepared, members)
    elif options.soup:
        tell("averaging weights")
        members = with_soups(prepared, members, fold=folds[0], device=options.device)
    imported = {subtask: importing(prepared, subtask, own, folds, options.imports) for subtask, own in subtasks.items()}
    told = {member.imported for own in imported.values() for member in own}
    idle = [name for name in dict.fromkeys(options.imports or ()) if name not in told]
    if idle:
        raise UserError(*(f"--imports {name}: it answers none of {', '.join(map(str, subtasks))}; leave it out" for name in idle))
    width = (WIDE if options.thorough else WIDTH) * max(options.sizes)
    pools = {}
    for subtask, own in subtasks.items():
        tell(f"reading the predictions for {subtask}")
        natives = [member for target in own for member in members[target.name]]
        outside = imported[subtask]
        pools[subtask] = load_pool(
            prepared,
            subtask,
            own,
            [*natives, *outside],
            folds=folds,
            views=prepared.competition.views_for(subtask.task),
            n_whole=width,
            device=options.device,
        )
    return pools


def _together(
    prepared: Prepared, decided: Mapping[Subtask, Decided], options: Options, table: Composition
) -> tuple[Together, Together, tuple[WayAccount, ...]]:
    """How the places come to the label, how they would without comparing, and what was compared."""
    subtasks = list(decided)
    default = Together(default_way(subtasks, table))
    classes = {subtask.task: prepared.competition.classes(subtask.task) for subtask in subtasks}
    joint = _joint_prior(prepared, options, table)
    if options.together is not None:
        return Together(options.together, joint if asks_joint(options.together, subtasks, table) else None), default, ()
    photos = asking(prepared, decided, _label_subtasks(subtasks, table), LABEL)
    if options.plain or len(table.tasks) < 2 or len(np.unique(photos.groups)) < 2:
        return default, default, ()
    choices = {subtask: decided[subtask].selector.at(photos.seats[subtask]) for subtask in photos.seats}
    weights = weighing(decided, photos, table, table.n_classes, _told(prepared, options))
    how: dict[str, Any] = {"metric": prepared.competition.metric, "seed": SEED, "joint": joint, "class_weights": weights}
    together, accounts = choose_way(choices, table, classes, photos.labels, photos.groups, **how)
    return together, default, accounts


def _told(prepared: Prepared, options: Options) -> dict[str, Shares]:
    return {} if options.plain else told_shares(prepared)


def _label_subtasks(subtasks: Sequence[Subtask], table: Composition) -> tuple[Subtask, ...]:
    inside = [subtask for subtask in subtasks if subtask.task in (*table.tasks, LABEL)]
    routers = {router for subtask in inside for router, _ in subtask.where}
    return tuple(subtask for subtask in subtasks if subtask in inside or subtask.task in routers)


def _joint_prior(prepared: Prepared, options: Options, table: Composition) -> tuple[float, ...]:
    """Of the photos that the members of the first fold learned from."""
    composed = tuple((name, len(prepared.competition.classes(name))) for name in table.tasks)
    target = Target(LABEL, {LABEL: table.n_classes}, prepared.competition.metric, composed=composed)
    fold = ALL_DATA if options.all_data or options.fold == "all" else int(options.fold)
    taught, _ = prepared.rows(target, fold)
    return fit_joint(table, prepared.labels(target)[LABEL][taught].astype(np.int64))


def _plan(
    prepared: Prepared,
    subtasks: Mapping[Subtask, Sequence[Target]],
    decided: Mapping[Subtask, Decided],
    options: Options,
    together: Together,
    table: Composition,
) -> EnsemblePlan:
    competition = prepared.competition
    decided = {subtask: decided[subtask] for subtask in asked_subtasks(together.way, list(decided), table)}
    chosen = {subtask: [one.pool.members[m] for m in one.selector.on().members] for subtask, one in decided.items()}
    everyone: dict[str, Member] = {member.name: member for own in chosen.values() for member in own}
    siblings = siblings_on_all_data(prepared, everyone.values()) if options.all_data else {}
    whole_fold = ALL_DATA if options.all_data or options.fold == "all" else int(options.fold)
    tasks = []
    for subtask, one in decided.items():
        target = subtasks[subtask][0]
        taught, _ = prepared.rows(target, whole_fold)
        tasks.append(
            named(
                one.pool,
                one.selector.on(),
                classes=competition.classes(subtask.task),
                prior=prepared.priors(target, taught)[subtask.task].tolist(),
                score=_own_score(one),
                accounts=one.accounts,
                siblings=siblings,
                test=_test_ids(prepared),
            )
        )
    imports = {member.name: member.imported for member in everyone.values() if member.imported}
    for at, ensemble in enumerate(tasks):
        tasks[at], joined = with_unjudged(prepared, ensemble, options.unjudged)
        imports |= joined
    kept = None if together.way == default_way(list(decided), table) else together
    return EnsemblePlan(competition.name, competition.metric, tuple(tasks), table, competition.submission, imports, kept)


def _beside(decided: Mapping[Subtask, Decided]) -> dict[str, dict[Subtask, Decided]]:
    """The choices that are shown beside the exported one."""

    def by(rule: str) -> dict[Subtask, Decided]:
        sizes = {subtask: 1 if rule == "single" else len(one.plain.on().members) for subtask, one in decided.items()}
        return {
            subtask: replace(one, selector=one.plain.by(rule, (sizes[subtask],)), accounts=(), refined=())
            for subtask, one in decided.items()
        }

    return {rule: by(rule) for rule in ("single", "hard", "soft")}


def _own_score(one: Decided) -> float:
    """What a place's vote scores on the photos it is asked about."""
    candidates = one.selector.candidates
    known = np.flatnonzero(candidates.labels >= 0)
    return vote_score(candidates.vote(one.selector.on(), known), candidates.labels[known], metric=candidates.metric)


def _answered(plan: EnsemblePlan) -> list[str]:
    """Every task the plan answers, and the label."""
    return list(dict.fromkeys([*plan.composition.tasks, *(e.task for e in plan.tasks if e.task != LABEL), LABEL]))


def _forecast(
    prepared: Prepared,
    decided: Mapping[Subtask, Decided],
    scores: Mapping[str, Mapping[str, Any]],
    shift: Shift,
    options: Options,
    targets: Sequence[Target],
) -> dict[str, Any]:
    """The honest score as a forecast for the test photos, with what it rests on."""
    folds = options.folds(prepared.competition.split.n_folds)
    looked = {
        target.name: count_looks(prepared.paths, target.name, prepared.data_fingerprint(target), folds) for target in targets
    }
    return {
        "scores": {task: found["honest"] for task, found in scores.items()},
        "unseen": {task: found["unseen"] for task, found in scores.items() if found["unseen"]},
        "metric": prepared.competition.metric,
        "holds": not shift.announced and any(found["honest"] for found in scores.values()),
        "words": _expect(shift, scores),
        "shift": shift.to_json(),
        "test_shares": shares_json({str(subtask): one.shares for subtask, one in decided.items()}),
        "validation_looked_at": looked,
    }


def _expect(shift: Shift, scores: Mapping[str, Mapping[str, Any]]) -> str:
    if shift.announced:
        return f"the forecast does not hold: {shift.words}"
    if not any(found["honest"] for found in scores.values()):
        return f"there is no forecast: an honest score needs labelled photos of at least two groups; {shift.words}"
    blind = [f"{task} ({len(found['unseen'])})" for task, found in scores.items() if found["unseen"]]
    weighed = [task for task, found in scores.items() if found["weighed"]]
    how = f" (of {', '.join(weighed)}: at the test photos' class shares)" if weighed else ""
    but = f", but for classes that no photo compared shows: {', '.join(blind)}" if blind else ""
    return f"expect the honest score{how}, give or take{but}; {shift.words}"


def _journal(decided: Mapping[Subtask, Decided], accounts: Sequence[WayAccount], shift: Shift) -> dict[str, Any]:
    subtasks = {}
    for subtask, one in decided.items():
        candidates, spec = one.selector.candidates, one.plain.on()
        grouped = len(np.unique(candidates.groups[candidates.labels >= 0])) > 1
        searched = len(candidates.views) > 1 and spec.stacking is None and grouped
        looking = [m for m in spec.members if not one.pool.members[m].imported] if searched else []
        tta = tta_journal(candidates, candidates.sample(), spec, seed=SEED) if searched else None
        alone = {
            candidates.members[m]: tta_journal(candidates, candidates.sample(), _alone(spec, m), seed=SEED).to_json()
            for m in looking
        }
        subtasks[str(subtask)] = {
            "members_compared": len(one.pool.members),
            "tta": None if tta is None else tta.to_json(),
            "tta_of_members": alone,
            "refinements": [account.to_json() for account in one.accounts],
            "tournament": None if one.tournament is None else one.tournament.to_json(),
        }
    return {"places": subtasks, "together": [account.to_json() for account in accounts], "shift": shift.to_json()}


def _alone(spec: Spec, member: int) -> Spec:
    """One of the members, through all views, without the others."""
    return Spec(tuple(voter for voter in spec.voters if voter[0] == member), spec.rule)


def _reason(shift: Shift) -> str | None:
    return "the test photos come from elsewhere" if shift.announced else None
