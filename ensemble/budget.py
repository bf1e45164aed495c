"""What members cost, and the best choice that a budget allows: every number of members, through one view or all, for each subtask."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ensemble.fit_subtask import JUDGE_SEED, TRIED, Decided, Shares, class_weights
from ensemble.label.cascade import Subtask
from ensemble.options import Options
from ensemble.plan.spec import Spec
from ensemble.scoring.gain import Judge
from ensemble.selection.candidates import Candidates, Sample
from ensemble.selection.pareto import Cost, Option, Point, front, within
from ensemble.selection.selector import Selector
from ensemble.views.search import with_views

VIEW_STEPS = ("views", "views per member")


@dataclass(frozen=True)
class Budget:
    """The front, and what was taken of it.

    Attributes:
        points: Combinations of choices that no other beats in score, seconds and megabytes at once.
        chosen: The one that is exported; `None` without limits: the choice is then the one made without looking at costs.
        current: What the choice without limits costs.
    """

    points: tuple[Point, ...]
    chosen: Point | None
    current: Point

    def to_json(self) -> dict[str, Any]:
        """The front as a JSON value."""
        return {
            "front": [_json(point) for point in self.points],
            "chosen": None if self.chosen is None else _json(self.chosen),
            "unlimited": _json(self.current),
        }


def within_budget(
    costs: Mapping[str, Cost], decided: Mapping[Subtask, Decided], options: Options
) -> tuple[dict[Subtask, Decided], Budget]:
    """The front of score against cost, and with a limit its best point that keeps it.

    The score of an option is judged on groups that did not choose; that of a combination is the mean over its subtasks.

    Raises:
        UserError: Nothing fits: the message names the cheapest point.
    """
    choices = {subtask: _options(one, options) for subtask, one in decided.items()}
    now = [_option(subtask, "as chosen", one, one.selector, one.judged(one.selector)) for subtask, one in decided.items()]
    points = tuple(front([option for of_subtask in choices.values() for option, _ in of_subtask.values()], costs))
    current = front(now, costs)[0]
    if not options.has_budget:
        return dict(decided), Budget(points, None, current)
    chosen = within(points, max_seconds=options.max_seconds, max_megabytes=options.max_megabytes)
    names = dict(chosen.choice)
    taken = {subtask: choices[subtask][names[str(subtask)]][1] for subtask in decided}
    return taken, Budget(points, chosen, current)


def _options(one: Decided, options: Options) -> dict[str, tuple[Option, Decided]]:
    subtask, by_name = one.pool.subtask, {}
    there = sorted({min(k, len(one.pool.members)) for k in options.sizes})
    for k in there:
        members = f"{k} member{'s' if k > 1 else ''}"
        for name, make in ((f"{members}, one view", _through_one), (f"{members}, all views", _of_size)):
            if len(one.pool.candidates.views) > 1 or make is _of_size:
                made = make(one, one.plain, k)
                kept = replace(
                    one, selector=made, plain=made if one.selector is one.plain else one.plain.by(one.plain.strategy, (k,))
                )
                by_name[name] = _option(subtask, name, one, made, make(one, one.judged(one.plain), k)), kept
    return by_name


def _option(subtask: Subtask, name: str, one: Decided, made: Selector, judged: Selector) -> Option:
    pool = one.pool
    seen = [(pool.members[member], pool.candidates.views[view]) for member, view in made.on().voters]
    uses = frozenset((trial, view) for member, view in seen if not member.imported for trial in member.trials)
    return Option(str(subtask), name, _score(judged, one.shares), uses)


def _score(made: Selector, shares: Shares) -> float:
    """On groups that did not choose; on all photos where there is only one group."""
    candidates = made.candidates
    if len(np.unique(candidates.groups[candidates.labels >= 0])) < 2:
        return candidates.score(candidates.vote(made.on(), candidates.sample().rows), candidates.sample())
    weights = class_weights(candidates.labels, candidates.n_classes, shares)
    judge = Judge(
        candidates.labels, candidates.groups, metric=candidates.metric, seed=JUDGE_SEED, n_resamples=TRIED, class_weights=weights
    )
    results = judge.group_results(made)
    return judge.compare("itself", results, results).after


def _of_size(one: Decided, plain: Selector, k: int) -> Selector:
    made = plain.by(plain.strategy, (k,))
    for _, refine in one.refined:
        made = made.then(refine)
    return made


def _through_one(one: Decided, plain: Selector, k: int) -> Selector:
    made = plain.by(plain.strategy, (k,)).then(_first_view)
    for name, refine in one.refined:
        made = made if name in VIEW_STEPS else made.then(refine)
    return made


def _first_view(candidates: Candidates, sample: Sample, spec: Spec) -> Spec:
    return with_views(spec, dict.fromkeys(spec.members, (0,)))


def _json(point: Point) -> dict[str, Any]:
    return {
        "choice": dict(point.choice),
        "score": point.score,
        "seconds_per_1000": point.seconds_per_1000,
        "megabytes": point.megabytes,
    }
