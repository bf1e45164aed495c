"""One subtask decided: a pool -> the choice among its members, and what of views, calibration, class shares and offsets won.

Every refinement is fitted on the photos that choose and kept only if it wins on groups that did not, and does not lose on all that are
judged (`ensemble.scoring.gain`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import metric_of
from ensemble.options import BEST, Options, heeding
from ensemble.plan.spec import Spec, mean_of_models
from ensemble.pool import AskedPhotos, CompetitionFacts, Pool, Pools
from ensemble.postprocess.calibration import calibrate
from ensemble.postprocess.label_shift import PriorEstimate, estimate_prior, whole_shares
from ensemble.scoring.gain import Gain, Judge, Step, keep_what_wins
from ensemble.selection.candidates import Candidates
from ensemble.selection.compare import DEFAULT, OF_SHARES, Comparison, Smallest, compare_strategies, smallest_if_equal
from ensemble.selection.refinements import calibrated, corrected, offset, same_for_group, with_quota
from ensemble.selection.selector import Refine, Selector
from ensemble.selection.strategies import STRATEGIES
from ensemble.views.search import own_views, shared_views
from system.errors import UserError

MOST_JUDGED = 6000
"""Labelled photos on which refinements and strategies are judged: of more, whole groups are left out. Noise is small then, time is not."""
SINGLE = "single"
"""The strategy of the best trial alone."""
TRIED = 50
"""Resamples in which a refinement is fitted anew; each group is left out of a third of them."""
JUDGE_SEED = 1
"""Of those resamples; the honest score draws others."""
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """What is known about the class shares of the test photos for one task.

    Attributes:
        new: C shares to decide by; `None` where nothing is known or nothing differs.
        source: `known`, or the estimator.
        estimate: The estimate, where one was made.
        words: For people.
    """

    new: tuple[float, ...] | None = None
    source: str = ""
    estimate: PriorEstimate | None = None
    words: str = "not asked"


@dataclass(frozen=True)
class Decided:
    """The choice for one subtask.

    Attributes:
        pool: Its members.
        plain: Hard vote (or the rule asked for) of the best members, without refinements.
        selector: The same with all that won.
        accounts: Of the refinements that were tried.
        refined: Those that won, in their order.
        shares: What is known of the test photos' class shares.
        tournament: Of all strategies, where it was asked for.
        smallest: The fewest members that lose nothing beyond noise, where the number was free.
    """

    pool: Pool
    plain: Selector
    selector: Selector
    accounts: tuple[Gain, ...] = ()
    refined: tuple[tuple[str, Refine], ...] = ()
    shares: Shares = field(default_factory=Shares)
    tournament: Comparison | None = None
    smallest: Smallest | None = None

    def single(self) -> "Decided":
        """The best single trial in its place, without refinements."""
        return replace(self, selector=self.plain.by(SINGLE), accounts=(), refined=(), smallest=None)

    def judged(self, selector: Selector) -> Selector:
        """The same choice, or the same strategy, on the photos on which refinements are judged."""
        return selector.on_candidates(self.plain.candidates.fewer(MOST_JUDGED))


def decide_subtask(facts: CompetitionFacts, pool: Pool, options: Options, shares: Shares) -> Decided:
    """Choose members, then try the refinements in their order, each on top of those that won before it.

    Raises:
        UserError: Strategies are to be compared, and there is one group.
    """
    candidates, held = pool.candidates.fewer(MOST_JUDGED), None
    by_shares = facts.by_shares(pool.subtask.task)
    default = OF_SHARES if by_shares else DEFAULT
    strategy = default if options.vote in (None, BEST) else options.vote
    if len(np.unique(candidates.groups[candidates.labels >= 0])) < 2:
        if options.thorough or options.vote == BEST:
            raise UserError(
                f"--thorough and --vote best compare ways on groups left out, and the labelled photos of {pool.subtask} are of one "
                "group; leave them out, or give another --fold"
            )
        plain = Selector(pool.candidates, strategy, options.sizes)
        return Decided(pool, plain, plain, shares=shares)
    judge = Judge(
        candidates.labels,
        candidates.groups,
        metric=candidates.metric,
        seed=JUDGE_SEED,
        n_resamples=TRIED,
        class_weights=class_weights(candidates.labels, candidates.n_classes, shares),
    )
    if options.thorough or options.vote == BEST:
        offered = [name for name in heeding(options) if not (by_shares and STRATEGIES[name].ballots)]
        held = compare_strategies(candidates, sizes=options.sizes, judge=judge, strategies=offered, default=default)
        strategy = held.champion if options.vote == BEST else strategy
    plain = Selector(pool.candidates, strategy, options.sizes)
    smallest = _smallest(candidates, options, strategy, judge)
    if options.plain:
        return Decided(pool, plain, plain, shares=shares, tournament=held, smallest=smallest)
    refinements = _refinements(facts, pool, shares)
    steps = [Step(name, methodcaller("then", refine)) for name, refine in refinements.items()]
    judged = plain.on_candidates(plain.candidates.fewer(MOST_JUDGED))
    _, accounts = keep_what_wins(judged, steps, judge)
    refined = tuple((account.step, refinements[account.step]) for account in accounts if account.kept)
    selector = plain
    for _, refine in refined:
        selector = selector.then(refine)
    return Decided(pool, plain, selector, accounts, refined, shares, held, smallest)


def told_shares(facts: CompetitionFacts) -> dict[str, Shares]:
    """Task -> what the competition tells of the test photos' class shares."""
    return {
        task: Shares(whole_shares(list(told)), "known", words="told by the competition")
        for task, told in facts.test_shares.items()
    }


def known_shares(pools: Pools, pool: Pool, *, shift: str | None, method: str) -> Shares:
    """The test photos' class shares: told by the competition, else estimated from the calibrated answers of the best member.

    Args:
        pools: What was gathered.
        pool: Of the task; of one with a condition nothing is known.
        shift: Why an estimate is refused: what announced that test photos come from elsewhere. `None` where nothing did.
        method: How they are estimated, one of `ensemble.postprocess.label_shift.ESTIMATORS`.
    """
    known = known_unestimated(pools.facts, pools.test, pool, shift=shift)
    if known is not None:
        return known
    source, other = _calibrated_sides(pool, pool.best_trained or 0)
    found = estimate_prior(source, pool.candidates.labels, pool.candidates.groups, other, pools.test.groups, method=method)
    if not found.beyond_noise:
        return Shares(None, found.method, found, "no other than those of the labelled photos, beyond noise")
    return Shares(found.believed, found.method, found, "other than those of the labelled photos, beyond noise")


def known_unestimated(facts: CompetitionFacts, test: AskedPhotos, pool: Pool, *, shift: str | None) -> Shares | None:
    """What is known of the test photos' class shares without an estimate; `None` where `known_shares` makes one."""
    if pool.subtask.where:
        return Shares(words="not asked for a subset: shares of all test photos are not those of some of them")
    told = told_shares(facts)
    if pool.subtask.task in told:
        return told[pool.subtask.task]
    classes, labels = facts.classes[pool.subtask.task], pool.candidates.labels
    if pool.best_trained is None or len(test.decoded) < 2:
        return Shares(words="not estimated: that needs test photos, and a trial that sees them")
    if shift is not None:
        return Shares(words=f"not estimated: {shift}, and other looks would be taken for other shares")
    absent = sorted(set(range(len(classes))) - set(np.unique(labels[labels >= 0]).tolist()))
    if absent:
        return Shares(words=f"not estimated: no labelled photo of {', '.join(classes[n] for n in absent)}")
    if min(len(set(test.groups)), len(np.unique(pool.candidates.groups[labels >= 0]))) < 2:
        return Shares(words="not estimated: that needs at least two groups on each side")
    return None


def _refinements(facts: CompetitionFacts, pool: Pool, shares: Shares) -> dict[str, Refine]:
    """Name -> what is tried, in this order; what moves decisions and not shares only where a class is decided."""
    candidates, decides = pool.candidates, not facts.by_shares(pool.subtask.task)
    found: dict[str, Refine] = {}
    if len(candidates.views) > 1:
        found |= {"views": shared_views, "views per member": own_views}
    found["calibration"] = calibrated
    if shares.new is not None:
        found["test shares"] = partial(corrected, new=shares.new, source=shares.source)
    if metric_of(candidates.metric).part is not None and decides:
        found["offsets"] = offset
    if pool.subtask.task in facts.one_per_group:
        found["one answer per group"] = same_for_group
    if shares.source == "known" and shares.new is not None and decides:
        found["quota"] = partial(with_quota, shares=shares.new)
    return found


def _smallest(candidates: Candidates, options: Options, strategy: str, judge: Judge) -> Smallest | None:
    if options.top is not None or not STRATEGIES[strategy].takes_best:
        return None
    return smallest_if_equal(candidates, most=max(options.sizes), judge=judge, strategy=strategy)


def class_weights(labels: NDArray[np.int64], n_classes: int, shares: Shares) -> tuple[float, ...] | None:
    """By how much each class is more frequent in the test than among these labels `(N,)`; `None` where nothing is known."""
    if shares.new is None:
        return None
    here = np.bincount(labels[labels >= 0], minlength=n_classes)
    here = here / here.sum()
    return tuple(float(new / old) if old > 0 else 1.0 for new, old in zip(shares.new, here, strict=True))


def _calibrated_sides(pool: Pool, best: int) -> tuple[Numbers, Numbers]:
    """A member's probabilities of labelled and of test photos, each model calibrated on its own photos: `(N, C)`, `(T, C)`."""
    candidates = pool.candidates
    fitted = calibrated(candidates, candidates.sample(), Spec(((best, 0),), "soft")).calibration[best]
    models = np.zeros(len(candidates.labels), dtype=np.int64) if candidates.models is None else candidates.models
    source = np.empty((len(candidates.labels), candidates.n_classes))
    for number, own in enumerate(fitted):
        source[models == number] = calibrate(own, candidates.probs[best, 0, models == number])
    rows = [calibrate(own, probs) for own, probs in zip(fitted, pool.test_probs, strict=True)]
    return source, mean_of_models(rows).astype(np.float64)


def shares_json(shares: Mapping[str, Shares]) -> dict[str, Any]:
    """What was found about each task's shares, as a JSON value."""
    return {
        task: {
            "shares": None if found.new is None else list(found.new),
            "source": found.source,
            "estimate": None if found.estimate is None else found.estimate.to_json(),
            "words": found.words,
        }
        for task, found in shares.items()
    }
