"""The choice: pools of all subtasks, as arrays with their ids -> a plan, and what is known of it. No file is read and no network runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from competitions.labels import Composition
from competitions.manifest import LABEL, MEAN_OF_TASKS
from competitions.metrics import metric_of
from competitions.twins.gap import SCORE_TOO_GOOD, TwinGap
from ensemble.budget import Budget, within_budget
from ensemble.fit_subtask import SINGLE, Decided, Shares, decide_subtask, known_shares, shares_json, told_shares
from ensemble.label.cascade import Subtask
from ensemble.label.choose import DecoderAccount, choose_decoder
from ensemble.label.decode import LabelDecoder, default_decoder, needs_joint
from ensemble.make_plan import beside, make_plan
from ensemble.options import Options
from ensemble.parallel import in_processes
from ensemble.plan.plan import EnsemblePlan
from ensemble.plan.spec import Spec
from ensemble.pool import Pools
from ensemble.report import (
    HONEST_SEED,
    answer_report,
    is_worse,
    judged_photos,
    mean_report,
    needed,
    set_aside,
    unseen,
    verdict,
    weighing,
)
from ensemble.shift.adversarial_validation import Shift
from ensemble.shift.check import look_elsewhere
from ensemble.views.journal import tta_journal

Report = Callable[[str], object]


@dataclass(frozen=True)
class Choice:
    """A plan and what is known about it.

    Attributes:
        plan: Who votes, and how.
        scores: Per task, and for the composed `label`, what `ensemble.report.answer_report` says.
        image_ids: The N test photos that are to be answered, in the manifest's order.
        forecast: Whether to expect the honest score on the test photos, and why (not).
        journal: What was compared on the way: views, refinements, label decoders, members.
        budget: Cost of members along the front, where it was asked for.
        beside: Plans of what is always shown beside the exported one: `single`, the best trial of each subtask through one view, and
            the `hard` and the `soft` vote of all views of the members, without refinements. Members vote in them themselves, whoever
            votes for them in the plan.
    """

    plan: EnsemblePlan
    scores: dict[str, dict[str, Any]]
    image_ids: tuple[str, ...]
    forecast: dict[str, Any] = field(default_factory=dict)
    journal: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] | None = None
    beside: dict[str, EnsemblePlan] = field(default_factory=dict)


def choose(pools: Pools, options: Options | None = None, *, tell: Report = lambda text: None, processes: int = 1) -> Choice:
    """Let the best members for each subtask vote, refine what wins, and measure that choice.

    Args:
        pools: What was gathered for these options.
        options: What is asked for.
        tell: Told what is being done.
        processes: Copies of this process that share the resamples (`ensemble.parallel`); the choice is the same with any number.

    Raises:
        UserError: Nothing keeps the budget, strategies cannot be compared, or a chosen member has no sibling that learned from all
            photos.
    """
    settings = Options() if options is None else options
    tell("comparing labelled and test photos")
    shift = in_processes(processes, lambda: look_elsewhere(pools))
    shares = {subtask: _shares(pools, subtask, shift, settings) for subtask in pools.pools}
    decided, budget = in_processes(processes, lambda: _decide(pools, shares, settings, tell))
    scored = in_processes(processes, lambda: _score(pools, decided, settings, tell))
    if settings.may_follow_verdict:
        decided, scored = in_processes(processes, lambda: _follow_verdicts(pools, decided, scored, settings, tell))
    decoder, default, accounts, scores = scored
    return Choice(
        plan=make_plan(pools, decided, decoder, all_data=pools.all_data, unjudged=True),
        scores=scores,
        image_ids=pools.test.image_ids,
        forecast=_forecast(pools, decided, scores, shift),
        journal=_journal(decided, accounts, shift),
        budget=None if budget is None else budget.to_json(),
        beside={name: make_plan(pools, others, default) for name, others in beside(decided).items()},
    )


def _decide(
    pools: Pools, shares: Mapping[Subtask, Shares], options: Options, tell: Report
) -> tuple[dict[Subtask, Decided], Budget | None]:
    """The choice for each subtask, within the budget where there is one."""
    decided: dict[Subtask, Decided] = {}
    for subtask, pool in pools.pools.items():
        tell(f"choosing for {subtask}")
        decided[subtask] = decide_subtask(pools.facts, pool, options, shares[subtask])
    if not (options.front or options.has_budget):
        return decided, None
    return within_budget(pools.costs, decided, options)


def _score(
    pools: Pools, decided: Mapping[Subtask, Decided], options: Options, tell: Report
) -> tuple[LabelDecoder, LabelDecoder, tuple[DecoderAccount, ...], dict[str, dict[str, Any]]]:
    """The label decoder, the one that needs no comparing, what was compared, and what is known about each answer."""
    tell("comparing ways to the label")
    decoder, default, accounts = _choose_decoder(pools, decided, options)
    plan = make_plan(pools, decided, decoder)
    return (
        decoder,
        default,
        accounts,
        _answer_reports(pools, decided, plan, decoder, default, _given_shares(pools, options), tell),
    )


Scored = tuple[LabelDecoder, LabelDecoder, tuple[DecoderAccount, ...], dict[str, dict[str, Any]]]


def _follow_verdicts(
    pools: Pools, decided: Mapping[Subtask, Decided], scored: Scored, options: Options, tell: Report
) -> tuple[dict[Subtask, Decided], Scored]:
    """The choice in which the best single trial answers wherever the vote was worse than it beyond noise, and what is known of that.

    Tasks come first; where only the label is worse, all of its subtasks and the way to it give way. The scores are then those of what is
    exported; what was set aside stands beside them.
    """
    decided, aside = dict(decided), dict[str, dict[str, Any]]()
    while True:
        decoder, default, _, scores = scored
        worse = {task: facts for task, facts in scores.items() if is_worse(facts)}
        first = {task: facts for task, facts in worse.items() if task != LABEL} or worse
        deciding = {one for task in first for one in needed((default, decoder), pools.facts.table, list(decided), task)}
        giving_way = [subtask for subtask in decided if subtask in deciding and decided[subtask].selector.strategy != SINGLE]
        if not giving_way:
            break
        aside |= {task: facts["against_best_single"] for task, facts in first.items()}
        decided |= {subtask: decided[subtask].single() for subtask in giving_way}
        plain = replace(options, plain=True) if LABEL in first else options
        scored = _score(pools, decided, plain, tell)
    decoder, default, _, scores = scored
    for task, facts in scores.items() if aside else ():
        its = needed((decoder, default), pools.facts.table, list(decided), task)
        if task in aside:
            facts |= {"set_aside": aside[task], "verdict": set_aside(aside[task])}
        elif all(decided[subtask].selector.strategy == SINGLE for subtask in its):
            facts["verdict"] = "the best single trials answer it"
    return decided, scored


def _shares(pools: Pools, subtask: Subtask, shift: Shift, options: Options) -> Shares:
    """What is known of the test photos' class shares for a subtask."""
    if options.plain:
        return Shares()
    why = "the test photos come from elsewhere" if shift.announced else None
    return known_shares(pools, pools.pools[subtask], shift=why, method=options.estimator)


def _answer_reports(
    pools: Pools,
    decided: Mapping[Subtask, Decided],
    plan: EnsemblePlan,
    decoder: LabelDecoder,
    default: LabelDecoder,
    given: Mapping[str, Shares],
    tell: Report,
) -> dict[str, dict[str, Any]]:
    """What is known about each answer."""
    scores, table = {}, pools.facts.table
    parts = pools.facts.task_weights
    for task in _answered(plan, label=not parts):
        tell(f"honest score of {task}")
        photos = judged_photos(pools, decided, needed((decoder, default), table, list(decided), task), task)
        if len(photos.labels):
            weights = weighing(decided, photos, table, len(plan.known_classes[task]), given)
            weights = weights if metric_of(plan.metric).weighs else None
            how: dict[str, Any] = {"metric": plan.metric, "weights": weights}
            scores[task] = answer_report(decided, photos, decoder, default, table, plan.known_classes, **how)
            scores[task] |= {"verdict": verdict(scores[task]), "unseen": unseen(pools, photos)}
    if parts and set(parts) <= set(scores):
        mean = mean_report(scores, parts)
        scores[MEAN_OF_TASKS] = mean | {"verdict": verdict(mean), "unseen": []}
    return scores


def _choose_decoder(
    pools: Pools, decided: Mapping[Subtask, Decided], options: Options
) -> tuple[LabelDecoder, LabelDecoder, tuple[DecoderAccount, ...]]:
    """How the subtasks come to the label, how they would without comparing, and what was compared."""
    subtasks, table = list(decided), pools.facts.table
    by_shares = pools.facts.by_shares(LABEL)
    first = default_decoder(subtasks, table, shares=by_shares)
    default = LabelDecoder(first, pools.joint if needs_joint(first, subtasks, table) else None)
    classes = {subtask.task: pools.facts.classes[subtask.task] for subtask in subtasks}
    joint = pools.joint
    if options.together is not None:
        return LabelDecoder(options.together, joint if needs_joint(options.together, subtasks, table) else None), default, ()
    photos = judged_photos(pools, decided, _label_subtasks(subtasks, table), LABEL)
    if options.plain or pools.facts.task_weights or len(table.tasks) < 2 or len(np.unique(photos.groups)) < 2:
        return default, default, ()
    choices = {subtask: decided[subtask].selector.at(photos.positions[subtask]) for subtask in photos.positions}
    weights = weighing(decided, photos, table, table.n_classes, _given_shares(pools, options))
    how: dict[str, Any] = {
        "metric": pools.facts.metric,
        "seed": HONEST_SEED,
        "joint": joint,
        "class_weights": weights,
        "shares": by_shares,
    }
    decoder, accounts = choose_decoder(choices, table, classes, photos.labels, photos.groups, **how)
    return decoder, default, accounts


def _given_shares(pools: Pools, options: Options) -> dict[str, Shares]:
    return {} if options.plain else told_shares(pools.facts)


def _label_subtasks(subtasks: Sequence[Subtask], table: Composition) -> tuple[Subtask, ...]:
    inside = [subtask for subtask in subtasks if subtask.task in (*table.tasks, LABEL)]
    routers = {router for subtask in inside for router, _ in subtask.where}
    return tuple(subtask for subtask in subtasks if subtask in inside or subtask.task in routers)


def _answered(plan: EnsemblePlan, label: bool) -> list[str]:
    """Every task the plan answers, and the label where it is asked for."""
    tasks = [*plan.composition.tasks, *(e.task for e in plan.tasks if e.task != LABEL)]
    return list(dict.fromkeys([*tasks, LABEL] if label else tasks))


def _forecast(
    pools: Pools, decided: Mapping[Subtask, Decided], scores: Mapping[str, Mapping[str, Any]], shift: Shift
) -> dict[str, Any]:
    """The honest score as a forecast for the test photos, with what it rests on."""
    twins = pools.twins
    return {
        **({} if twins is None else {"twin_gap": twins.to_json()}),
        "scores": {task: found["honest"] for task, found in scores.items()},
        "unseen": {task: found["unseen"] for task, found in scores.items() if found["unseen"]},
        "metric": pools.facts.metric,
        "holds": not shift.announced
        and (twins is None or twins.verdict != SCORE_TOO_GOOD)
        and any(found["honest"] for found in scores.values()),
        "words": "; ".join([_expect(shift, scores, twins), *([] if twins is None else [twins.words])]),
        "shift": shift.to_json(),
        "test_shares": shares_json({str(subtask): one.shares for subtask, one in decided.items()}),
        "validation_looked_at": dict(pools.looked_at),
        **({"limits": list(limits)} if (limits := metric_of(pools.facts.metric).limits) else {}),
    }


def _expect(shift: Shift, scores: Mapping[str, Mapping[str, Any]], twins: TwinGap | None) -> str:
    if twins is not None and twins.verdict == SCORE_TOO_GOOD and not shift.announced:
        return f"the forecast does not hold, the split does not ask as the test photos will; {shift.words}"
    if shift.announced:
        return f"the forecast does not hold: {shift.words}"
    if not any(found["honest"] for found in scores.values()):
        return f"there is no forecast: an honest score needs labelled photos of at least two groups; {shift.words}"
    blind = [f"{task} ({len(found['unseen'])})" for task, found in scores.items() if found["unseen"]]
    weighed = [task for task, found in scores.items() if found["weighed"]]
    how = f" (of {', '.join(weighed)}: at the test photos' class shares)" if weighed else ""
    but = f", but for classes that no photo compared shows: {', '.join(blind)}" if blind else ""
    return f"expect the honest score{how}, give or take{but}; {shift.words}"


def _journal(decided: Mapping[Subtask, Decided], accounts: Sequence[DecoderAccount], shift: Shift) -> dict[str, Any]:
    subtasks = {}
    for subtask, one in decided.items():
        candidates, spec = one.selector.candidates, one.plain.on()
        grouped = len(np.unique(candidates.groups[candidates.labels >= 0])) > 1
        searched = len(candidates.views) > 1 and spec.stacking is None and grouped
        looking = [m for m in spec.members if not one.pool.members[m].imported] if searched else []
        tta = tta_journal(candidates, candidates.sample(), spec, seed=HONEST_SEED) if searched else None
        alone = {
            candidates.members[m]: tta_journal(candidates, candidates.sample(), _alone(spec, m), seed=HONEST_SEED).to_json()
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
