"""The choice: pools of all tasks to a plan, what it scores, and what it answers for the test photos."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.pool import Pool, cached_test_probs, complete_pool, load_pool
from competitions.metrics import METRICS
from competitions.prepare import Prepared
from competitions.targets import Target, targets
from ensemble.composition import Composition, compose
from ensemble.honest import Choose, best_size, choose_composed, choose_top_k, honest_score, vote_score
from ensemble.plan import EnsemblePlan, TaskEnsemble, decide
from ensemble.voters import Rows, Voter
from ensemble.votes import RULES, Vote
from ledger.errors import UserError, unknown
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
    study: str | None = None,
    fold: int = 0,
    device: str = "cpu",
) -> Choice:
    """Let all views of each task's best trials vote, and measure that choice.

    Args:
        prepared: The competition's data.
        top: Members per task; for `None` as many, from 1 to `MOST`, as vote best on the validation photos.
        rule: One of `ensemble.votes.RULES`.
        study: Only trials that this study asked for; the whole ledger for `None`.
        fold: The validation fold the trials share.
        device: Where missing predictions are computed.

    Raises:
        UserError: A number or name is out of range, or a task has no finished trial.
    """
    faults = [] if top is None or top >= 1 else [f"top must be 1 or more, got {top}; give --top K"]
    faults += [] if rule in RULES else [unknown("voting rule", rule, dict(RULES))]
    folds = prepared.competition.split.n_folds
    faults += [] if 0 <= fold < folds else [f"fold must be 0..{folds - 1}, got {fold}"]
    if faults:
        raise UserError(*faults)
    check_views(prepared.competition.views)
    asked = list(targets(prepared.competition).values())
    trials = complete_pool(prepared, asked, k=top or MOST, fold=fold, study=study, device=device)
    pools = {target.name: load_pool(prepared, target, trials[target.name], fold) for target in asked}
    sizes = [top] if top else range(1, MOST + 1)
    chosen = {name: _size(pool, sizes, rule) for name, pool in pools.items()}
    votes = {name: _scores_of_task(pool, chosen[name], sizes, rule) for name, pool in pools.items()}
    plan = _plan(prepared, pools, chosen, rule, {name: score["vote"] for name, score in votes.items()})
    whole = _scores_of_label(plan.composition, pools, chosen, sizes, rule)
    scores = votes | ({"label": whole} if whole else {})
    ids = tuple(prepared.manifest.image_ids[row] for row in prepared.manifest.rows("test"))
    return Choice(plan, scores, _answers(prepared, plan, asked, ids), ids)


def _plan(
    prepared: Prepared, pools: Mapping[str, Pool], chosen: Mapping[str, int], rule: str, scores: Mapping[str, float]
) -> EnsemblePlan:
    competition = prepared.competition
    tasks = tuple(
        TaskEnsemble(
            task=name,
            classes=competition.tasks[name].classes,
            voters=tuple(Voter(trial, view) for trial in pool.members[: chosen[name]] for view in pool.views),
            prior=tuple(float(share) for share in pool.prior),
            rule=rule,
            tie_rule=RULES[rule].tie_rule,
            score=scores[name],
        )
        for name, pool in pools.items()
    )
    return EnsemblePlan(competition.name, competition.metric, tasks, Composition.of(competition), competition.submission)


def _answers(
    prepared: Prepared, plan: EnsemblePlan, asked: Sequence[Target], ids: tuple[str, ...]
) -> dict[str, NDArray[np.int64]]:
    if not ids:
        return {}
    probs: dict[tuple[str, str], Rows] = {}
    for target, ensemble in zip(asked, plan.tasks, strict=True):
        probs |= dict(cached_test_probs(prepared.paths, [voter.key for voter in ensemble.voters], next(iter(target.heads))))
    return decide(plan, probs, ids)


def _scores_of_task(pool: Pool, k: int, sizes: Sequence[int], rule: str) -> dict[str, Any]:
    metric = pool.target.metric
    known = np.flatnonzero(pool.labels >= 0)
    labels = pool.labels[known]
    by_rule = {
        name: vote_score(_vote(pool, k, name, known), labels, metric=metric) for name in dict.fromkeys((rule, "hard", "soft"))
    }
    return {
        "best_single": {"trial_id": pool.members[0], "score": METRICS[metric](pool.probs[0, 0, known], labels)},
        "vote": by_rule[rule],
        "hard": by_rule["hard"],
        "soft": by_rule["soft"],
        "optimistic": by_rule[rule],
        "honest": _honest(_choice(pool, sizes, rule), pool.labels, pool.groups, metric),
        "members": k,
    }


def _scores_of_label(
    table: Composition, pools: Mapping[str, Pool], chosen: Mapping[str, int], sizes: Sequence[int], rule: str
) -> dict[str, Any]:
    """The composed label, on the validation photos that have all tasks; nothing where no photo has them all."""
    labels, groups, aligned = _shared(table, pools)
    if not len(labels):
        return {}
    metric = next(iter(pools.values())).target.metric
    rows = np.arange(len(labels))

    def composed(size: Mapping[str, int], name: str, views: int | None = None) -> float:
        choices = {task: _choice(pool, [size[task]], name, views) for task, pool in aligned.items()}
        return vote_score(choose_composed(table, choices)(rows)(rows), labels, metric=metric)

    whole = choose_composed(table, {task: _choice(pool, sizes, rule) for task, pool in aligned.items()})
    by_rule = {name: composed(chosen, name) for name in dict.fromkeys((rule, "hard", "soft"))}
    return {
        "best_single": {
            "trial_id": "+".join(aligned[task].members[0] for task in table.tasks),
            "score": composed(dict.fromkeys(table.tasks, 1), rule, views=1),
        },
        "vote": by_rule[rule],
        "hard": by_rule["hard"],
        "soft": by_rule["soft"],
        "optimistic": by_rule[rule],
        "honest": _honest(whole, labels, groups, metric),
    }


def _honest(choice: Choose, labels: NDArray[np.int64], groups: Sequence[str], metric: str) -> dict[str, Any] | None:
    """The honest score, or `None` where the fold has fewer than two groups to choose on and to score."""
    if len({group for group, label in zip(groups, labels, strict=True) if label >= 0}) < 2:
        return None
    return asdict(honest_score(choice, labels, groups, metric=metric, seed=0, n_resamples=RESAMPLES))


def _size(pool: Pool, sizes: Sequence[int], rule: str) -> int:
    there = sorted({min(k, len(pool.members)) for k in sizes})
    return best_size(pool.probs, pool.labels, sizes=there, metric=pool.target.metric, rule=rule)


def _choice(pool: Pool, sizes: Sequence[int], rule: str, views: int | None = None) -> Choose:
    there = sorted({min(k, len(pool.members)) for k in sizes})
    probs = pool.probs[:, :views]
    return choose_top_k(probs, pool.labels, members=pool.members, sizes=there, metric=pool.target.metric, rule=rule)


def _vote(pool: Pool, k: int, rule: str, rows: NDArray[np.int64]) -> Vote:
    voters = pool.probs[:k][:, :, rows]
    return RULES[rule].vote(voters.reshape(-1, *voters.shape[2:]), None)


def _shared(table: Composition, pools: Mapping[str, Pool]) -> tuple[NDArray[np.int64], list[str], dict[str, Pool]]:
    """For the photos that every task of the label has with a label: composed labels, groups, and the pools cut to them by id."""
    places = {task: {image_id: place for place, image_id in enumerate(pools[task].image_ids)} for task in table.tasks}
    first = pools[table.tasks[0]]
    ids = [i for i in first.image_ids if all(i in places[t] and pools[t].labels[places[t][i]] >= 0 for t in table.tasks)]
    aligned = {}
    for task in table.tasks:
        pool, rows = pools[task], np.array([places[task][i] for i in ids], dtype=np.int64)
        aligned[task] = replace(pool, image_ids=tuple(ids), labels=pool.labels[rows], probs=pool.probs[:, :, rows])
    labels = compose(table, {task: pool.labels for task, pool in aligned.items()})
    group_of = dict(zip(first.image_ids, first.groups, strict=True))
    return labels, [group_of[i] for i in ids], aligned
