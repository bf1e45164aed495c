"""The choice: pools of all places to a plan, what it scores, and what it answers for the test photos."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.pool import TEST, VALIDATION, Pool, cached_test_probs, complete, find_trials, load_pool, places_of
from competitions.manifest import LABEL
from competitions.prepare import Prepared
from competitions.targets import Target, choose_targets
from ensemble.cascade import Place, answer_tasks, needed_places, place_faults
from ensemble.composition import Composition
from ensemble.honest import Choose, best_size, choose_together, choose_top_k, honest_score, vote_score
from ensemble.plan import EnsemblePlan, TaskEnsemble, answer_all, decide
from ensemble.voters import Voter
from ensemble.votes import RULES, Vote
from ledger.errors import UserError, unknown
from ledger.predictions import OUTSIDE
from ledger.query import all_data_sibling
from ledger.trials import ALL_DATA
from trainables.catalog import check_views

RESAMPLES = 200
MOST = 5
"""Without a number of its own, an ensemble takes as many of its best members, up to this, as vote best."""


@dataclass(frozen=True)
class Choice:
    """A plan and what is known about it.

    Attributes:
        scores: Per task, and for the composed `label`, validation scores: the best single trial, the vote, the soft vote beside
            it, and the honest score of the whole choice (`ensemble.honest` says what it leaves out).
        answers: Task -> class numbers of the test photos `(N,)`, the composed `label` included.
        image_ids: The N test photos in the manifest's order.
    """

    plan: EnsemblePlan
    scores: dict[str, dict[str, Any]]
    answers: dict[str, NDArray[np.int64]]
    image_ids: tuple[str, ...]


def choose(
    prepared: Prepared,
    *,
    top: int | None = None,
    rule: str = "hard",
    targets: Sequence[str] | None = None,
    study: str | None = None,
    fold: int = 0,
    all_data: bool = False,
    device: str = "cpu",
) -> Choice:
    """Let all views of the best trials for each place vote, and measure that choice.

    Args:
        prepared: The competition's data.
        top: Members per place; for `None` as many, from 1 to `MOST`, as vote best on the validation photos.
        rule: One of `ensemble.votes.RULES`.
        targets: Whose trials vote; one per task for `None`. Together they answer the label: tasks, several heads, the label
            itself, or a task by its subsets, which makes a cascade. Several targets that answer one task share a pool.
        study: Only trials that this study asked for; the whole ledger for `None`.
        fold: The validation fold the trials share.
        all_data: Let each chosen trial hand its vote on the test photos to the one that learned with its settings from all
            labelled photos. The scores stay those of the chosen trials: their siblings have none.
        device: Where missing predictions are computed.

    Raises:
        UserError: A number or name is out of range, the targets do not answer everything once, one has no finished trial, or a
            chosen one has no sibling that learned from all photos.
    """
    faults = [] if top is None or top >= 1 else [f"top must be 1 or more, got {top}; give --top K"]
    faults += [] if rule in RULES else [unknown("voting rule", rule, dict(RULES))]
    folds = prepared.competition.split.n_folds
    faults += [] if 0 <= fold < folds else [f"fold must be 0..{folds - 1}, got {fold}"]
    if faults:
        raise UserError(*faults)
    check_views(prepared.competition.views)
    asked = choose_targets(prepared.competition, targets)
    places = places_of(prepared, asked)
    _check_places(prepared, list(places))
    trials = find_trials(prepared, asked, k=top or MOST, fold=fold, study=study)
    complete(prepared, [trial for found in trials.values() for trial in found], (VALIDATION, OUTSIDE), device)
    pools = {place: load_pool(prepared, place, own, trials, fold) for place, own in places.items()}
    sizes = [top] if top else range(1, MOST + 1)
    chosen = {place: _size(pool, sizes, rule) for place, pool in pools.items()}
    members = {place: pool.members[: chosen[place]] for place, pool in pools.items()}
    if all_data:
        members = _siblings(prepared, members)
    taught = {place: prepared.rows(own[0], ALL_DATA if all_data else fold)[0] for place, own in places.items()}
    priors = {place: prepared.priors(own[0], taught[place])[place.task] for place, own in places.items()}
    plan = _plan(prepared, pools, chosen, members, priors, rule)
    scores = {task: found for task in _answered(plan) if (found := _scores(prepared, plan, pools, chosen, sizes, rule, task))}
    ids = tuple(prepared.manifest.image_ids[row] for row in prepared.manifest.rows("test"))
    return Choice(plan, scores, _answers(prepared, plan, ids, device), ids)


def _check_places(prepared: Prepared, places: Sequence[Place]) -> None:
    """Refuse targets that do not answer everything the file asks for, each thing once."""
    competition = prepared.competition
    answered = {place.task for place in places}
    faults = place_faults(places, {task: task_of.classes for task, task_of in competition.tasks.items()})
    if LABEL in answered:
        both = sorted(answered & set(competition.composed))
        faults += [f"{', '.join(both)} and the label itself are both answered; choose one way"] if both else []
        answered |= set(competition.composed)
    wanted = {task for task in competition.submission.answers.values() if task != LABEL} | set(competition.composed)
    missing = [task for task in competition.tasks if task in wanted and task not in answered]
    faults += [f"no target answers {', '.join(missing)}"] if missing else []
    if faults:
        raise UserError(*(f"--targets: {fault}" for fault in faults))


def _siblings(prepared: Prepared, members: Mapping[Place, tuple[str, ...]]) -> dict[Place, tuple[str, ...]]:
    """The members' siblings that learned from all data, seniority unchanged."""
    trials = dict.fromkeys(trial for own in members.values() for trial in own)
    of = {trial: all_data_sibling(prepared.paths, trial) for trial in trials}
    missing = [trial for trial, sibling in of.items() if sibling is None]
    if missing:
        command = f"python run_search.py {prepared.competition.name} --all-data --base"
        raise UserError(*(f"trial {trial} has not been trained on all data; run: {command} {trial}" for trial in missing))
    return {place: tuple(of[trial] or trial for trial in own) for place, own in members.items()}


def _plan(
    prepared: Prepared,
    pools: Mapping[Place, Pool],
    chosen: Mapping[Place, int],
    members: Mapping[Place, tuple[str, ...]],
    priors: Mapping[Place, NDArray[np.float64]],
    rule: str,
) -> EnsemblePlan:
    competition = prepared.competition
    tasks = tuple(
        TaskEnsemble(
            task=place.task,
            classes=competition.classes(place.task),
            voters=tuple(Voter(trial, view) for trial in members[place] for view in pool.views),
            prior=tuple(float(share) for share in priors[place]),
            rule=rule,
            tie_rule=RULES[rule].tie_rule,
            score=_own_score(pool, chosen[place], rule),
            where=place.where,
        )
        for place, pool in pools.items()
    )
    return EnsemblePlan(competition.name, competition.metric, tasks, Composition.of(competition), competition.submission)


def _own_score(pool: Pool, k: int, rule: str) -> float:
    """What a place's vote scores on the photos it is asked about."""
    known = np.flatnonzero(pool.labels >= 0)
    return vote_score(_fixed(pool, k, rule)(known)(known), pool.labels[known], metric=pool.metric)


def _answers(prepared: Prepared, plan: EnsemblePlan, ids: tuple[str, ...], device: str) -> dict[str, NDArray[np.int64]]:
    if not ids:
        return {}
    complete(prepared, [voter.member for voter in plan.voters], (TEST,), device)
    probs = cached_test_probs(prepared.paths, [key for ensemble in plan.tasks for key in ensemble.keys])
    return decide(plan, probs, ids)


def _answered(plan: EnsemblePlan) -> list[str]:
    """Every task the plan answers, and the label."""
    return list(dict.fromkeys([*plan.composition.tasks, *(e.task for e in plan.tasks if e.task != LABEL), LABEL]))


def _scores(
    prepared: Prepared,
    plan: EnsemblePlan,
    pools: Mapping[Place, Pool],
    chosen: Mapping[Place, int],
    sizes: Sequence[int],
    rule: str,
    task: str,
) -> dict[str, Any]:
    """What is known about one answer, on the photos that all places it depends on have; nothing where none has a label for it."""
    needed = _needed(plan, task)
    labels, groups, aligned = _shared(prepared, {place: pools[place] for place in needed}, task)
    if not len(labels):
        return {}
    metric, rows = plan.metric, np.arange(len(labels))

    def answer(places: Sequence[Place], votes: Sequence[Vote]) -> Vote:
        derived = task == LABEL or any(place.task == LABEL for place in places)
        whole = answer_all(plan.composition, places, votes, plan.known_classes) if derived else {}
        return (whole or answer_tasks(places, votes, plan.known_classes))[task]

    def score(choices: Mapping[Place, Choose]) -> float:
        return vote_score(choose_together(choices, answer)(rows)(rows), labels, metric=metric)

    by_rule = {
        name: score({place: _fixed(pool, chosen[place], name) for place, pool in aligned.items()})
        for name in dict.fromkeys((rule, "hard", "soft"))
    }
    single = score({place: _fixed(pool, 1, "soft", views=1) for place, pool in aligned.items()})
    whole = choose_together({place: _choice(pool, sizes, rule) for place, pool in aligned.items()}, answer)
    return {
        "best_single": {
            "trial_id": "+".join(dict.fromkeys(pool.members[0] for pool in aligned.values())),
            "score": single,
        },
        "vote": by_rule[rule],
        "hard": by_rule["hard"],
        "soft": by_rule["soft"],
        "optimistic": by_rule[rule],
        "honest": _honest(whole, labels, groups, metric),
        "members": {str(place): chosen[place] for place in needed},
    }


def _needed(plan: EnsemblePlan, task: str) -> list[Place]:
    """The places that decide a task, or the label."""
    places = [ensemble.place for ensemble in plan.tasks]
    whole = [place for place in places if place.task == LABEL]
    if whole and (task == LABEL or task in plan.composition.tasks):
        return list(needed_places(LABEL, places))
    tasks = plan.composition.tasks if task == LABEL else (task,)
    return list(dict.fromkeys(place for one in tasks for place in needed_places(one, places)))


def _honest(choice: Choose, labels: NDArray[np.int64], groups: Sequence[str], metric: str) -> dict[str, Any] | None:
    """The honest score, or `None` where the fold has fewer than two groups to choose on and to score."""
    if len(set(groups)) < 2:
        return None
    return asdict(honest_score(choice, labels, groups, metric=metric, seed=0, n_resamples=RESAMPLES))


def _size(pool: Pool, sizes: Sequence[int], rule: str) -> int:
    there = sorted({min(k, len(pool.members)) for k in sizes})
    return best_size(pool.probs, pool.labels, sizes=there, metric=pool.metric, rule=rule)


def _choice(pool: Pool, sizes: Sequence[int], rule: str) -> Choose:
    there = sorted({min(k, len(pool.members)) for k in sizes})
    return choose_top_k(pool.probs, pool.labels, members=pool.members, sizes=there, metric=pool.metric, rule=rule)


def _fixed(pool: Pool, k: int, rule: str, views: int | None = None) -> Choose:
    """No choice at all: the pool's first `k` members, whatever the rows."""
    probs = pool.probs[:k, :views]

    def decide_rows(rows: NDArray[np.int64]) -> Vote:
        voters = probs[:, :, rows]
        return RULES[rule].vote(voters.reshape(-1, *voters.shape[2:]), None)

    return lambda rows: decide_rows


def _shared(prepared: Prepared, pools: Mapping[Place, Pool], task: str) -> tuple[NDArray[np.int64], list[str], dict[Place, Pool]]:
    """For the photos that every pool has and that have a label for `task`: labels, groups, and the pools cut to them by id."""
    manifest, competition = prepared.manifest, prepared.competition
    composed = tuple((name, len(competition.classes(name))) for name in competition.composed)
    asked = Target(task, {task: len(competition.classes(task))}, competition.metric, composed=composed)
    label_of = dict(zip(manifest.image_ids, prepared.labels(asked)[task].tolist(), strict=True))
    seats = {place: {image_id: seat for seat, image_id in enumerate(pool.image_ids)} for place, pool in pools.items()}
    first = next(iter(pools.values()))
    ids = [i for i in first.image_ids if label_of[i] >= 0 and all(i in seat for seat in seats.values())]
    aligned = {}
    for place, pool in pools.items():
        rows = np.array([seats[place][i] for i in ids], dtype=np.int64)
        aligned[place] = replace(pool, image_ids=tuple(ids), labels=pool.labels[rows], probs=pool.probs[:, :, rows])
    group_of = dict(zip(first.image_ids, first.groups, strict=True))
    return np.array([label_of[i] for i in ids], dtype=np.int64), [group_of[i] for i in ids], aligned
