"""Strategies: candidates, the photos that choose and the numbers of members allowed -> a spec. Each is a line of `STRATEGIES`.

A strategy sees nothing but the sample it is given, and ranks members anew by it, so it can be asked again in every resample;
`ensemble.selection.compare` compares them on groups that did not choose.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ensemble.plan.spec import Spec
from ensemble.postprocess.stacking import fit_stacking
from ensemble.selection.best_subset import best_subset
from ensemble.selection.candidates import Candidates, Sample
from ensemble.selection.greedy import select
from ensemble.votes import Ints

Sizes = Sequence[int]
ROUNDS = 25
"""Greedy selection hardly changes after the members of a handful have joined a few times each."""
PER_UNIT = 100
"""Weights are rounded to hundredths and counted in these, so that they are whole numbers."""
BAGS, BAG_SEED = 10, 0
"""More bags hardly change the sums of weights."""
LARGEST, AMONG = 5, 12
"""At most 5 of the best 12 members are 1,585 subsets, few enough to be compared anew in each resample."""
WALKED = 30
"""Pairs of members are compared among so many of the best."""
GREEDY = ("as many trials as raise the score", 0)
CEILINGS = (1.0, 0.75, 0.5, 0.25)
"""Quantiles of the agreements of pairs; 1 lets everyone pass."""
UNSEEN = 0.5
"""Added to both sides of a count of right and wrong answers (Haldane 1956), so that no weight is infinite."""


@dataclass(frozen=True)
class Strategy:
    """A strategy, which chooses members: a line of `STRATEGIES`.

    Attributes:
        words: What it does, for people.
        spec: From candidates, sample and allowed numbers of members to a spec.
        takes: How many members it takes, where it does not heed every allowed number.
        most: The greatest number that it heeds; `None` for any.
        takes_best: Whether it takes the best k of the members, so that the fewest that are enough can be asked for.
        ballots: Whether it counts what voters name: shares are then k of K, and no probabilities.
    """

    words: str
    spec: Callable[[Candidates, Sample, Sizes], Spec]
    takes: str = ""
    most: int | None = None
    takes_best: bool = False
    ballots: bool = False


def single(candidates: Candidates, sample: Sample, sizes: Sizes) -> Spec:
    """The best member alone, through the first view."""
    return Spec(((candidates.ranked(sample)[0], 0),), "soft")


def top(candidates: Candidates, sample: Sample, sizes: Sizes, *, rule: str) -> Spec:
    """All views of the best k members, k being the number that votes best; the smallest of equals."""
    ranked, allowed = candidates.ranked(sample), _there(candidates, sizes)
    return _best(candidates, sample, [_all_views(candidates, ranked[:k], rule) for k in allowed])


def weighted(candidates: Candidates, sample: Sample, sizes: Sizes) -> Spec:
    """The hard vote of the best k, each weighing the log-odds of being right.

    Nitzan & Paroush 1982, "Optimal decision rules in uncertain dichotomous choice situations": the best weights of voters that err
    independently; with C classes the odds are those against a uniform guess.
    """
    ranked, allowed = candidates.ranked(sample), _there(candidates, sizes)
    weight = {
        member: _log_odds(*_right_wrong(candidates, sample, member), candidates.n_classes) for member in ranked[: max(allowed)]
    }
    specs = []
    for k in allowed:
        plain = _all_views(candidates, ranked[:k], "hard")
        specs.append(Spec(plain.voters, "hard", tuple(weight[member] for member, _ in plain.voters)))
    return _best(candidates, sample, specs)


def weighted_by_class(candidates: Candidates, sample: Sample, sizes: Sizes) -> Spec:
    """The hard vote of the best k, each voter's word for a class weighing the log-odds of that word being right."""
    k = len(top(candidates, sample, sizes, rule="hard").members)
    plain = _all_views(candidates, candidates.ranked(sample)[:k], "hard")
    return Spec(plain.voters, "hard", tuple(_class_weights(candidates, sample, *voter) for voter in plain.voters))


def greedy(candidates: Candidates, sample: Sample, sizes: Sizes, *, rule: str) -> Spec:
    """Greedy selection with replacement on soft sums of all views (`ensemble.selection.greedy`); weights are how often a member joined."""
    if not len(sample.rows):
        return top(candidates, sample, sizes, rule=rule)
    views = tuple(range(len(candidates.views)))
    library, rows = candidates.library(views)
    among = candidates.contenders(sample)
    chosen = select(library, metric=candidates.metric, rounds=ROUNDS, times=_times(rows, sample), among=among).weights
    return _joined(chosen, views, rule)


def bagged(candidates: Candidates, sample: Sample, sizes: Sizes, *, rule: str) -> Spec:
    """Greedy selection among a random half of the members, ten times; weights are summed.

    Caruana et al. 2004, section 2.3: a member that is best by luck is in half of the bags only.
    """
    if not len(sample.rows):
        return top(candidates, sample, sizes, rule=rule)
    views, ranked = tuple(range(len(candidates.views))), candidates.contenders(sample)
    library, rows = candidates.library(views)
    rng, times = np.random.default_rng(BAG_SEED), _times(rows, sample)
    joined = dict.fromkeys(ranked, 0)
    for _ in range(BAGS):
        bag = sorted(ranked[rank] for rank in rng.permutation(len(ranked))[: -(-len(ranked) // 2)])
        chosen = select(library, metric=candidates.metric, rounds=ROUNDS, times=times, among=bag).weights
        for member, weight in chosen.items():
            joined[member] += weight
    return _joined(joined, views, rule)


def subset(candidates: Candidates, sample: Sample, sizes: Sizes) -> Spec:
    """All views of the best subset of at most 5 of the best 12 members, exactly; larger allowed numbers are not looked at.

    Where only larger ones are allowed, or there is nothing to choose on, it is the best k.
    """
    allowed = [k for k in _there(candidates, sizes) if k <= LARGEST]
    if not allowed or not len(sample.rows):
        return top(candidates, sample, sizes, rule="hard")
    return best_subset(candidates, sample, sizes=allowed, among=candidates.contenders(sample)[:AMONG])


def diverse(candidates: Candidates, sample: Sample, sizes: Sizes) -> Spec:
    """The hard vote of the best k of those who differ enough: best first, a member is passed over if it agrees too often with one taken.

    How often is too often is one of the quantiles `CEILINGS` of the agreements of all pairs of the best 30, through their first view;
    the one that votes best, of equals the most permissive. Where too few pass, there are fewer members.
    """
    ranked = candidates.contenders(sample)[: max(WALKED, *_there(candidates, sizes))]
    if len(ranked) < 2 or not len(sample.rows):
        return top(candidates, sample, sizes, rule="hard")
    agreed = _agreements(candidates, sample, ranked)
    pairs = np.sort(agreed[np.triu_indices(len(ranked), 1)])
    specs = []
    for ceiling in (pairs[round(share * (len(pairs) - 1))] for share in CEILINGS):
        taken: list[int] = []
        for rank in range(len(ranked)):
            if all(agreed[rank, other] <= ceiling for other in taken):
                taken.append(rank)
        sizes_there = sorted({min(k, len(taken)) for k in sizes})
        specs += [_all_views(candidates, [ranked[rank] for rank in taken[:k]], "hard") for k in sizes_there]
    return _best(candidates, sample, specs)


def stacked(candidates: Candidates, sample: Sample, sizes: Sizes) -> Spec:
    """A regularised logistic regression on the best members' log-probabilities, first view (`ensemble.postprocess.stacking`).

    A single member has nobody to be weighed against and answers for itself.
    """
    members = candidates.ranked(sample)[: max(_there(candidates, sizes))]
    rows = np.repeat(sample.rows, sample.times)
    groups = candidates.groups[rows]
    if len(members) < 2 or len(np.unique(groups)) < 2 or len(np.unique(candidates.labels[rows])) < 2:
        return top(candidates, sample, sizes, rule="soft")
    fitted = fit_stacking(candidates.probs[members, 0][:, rows], candidates.labels[rows], groups, n_folds=3)
    return Spec(tuple((member, 0) for member in members), "soft", stacking=fitted)


def _best(candidates: Candidates, sample: Sample, specs: Sequence[Spec]) -> Spec:
    """The spec that scores best; the first of equals, and where there is nothing to score on."""
    if len(specs) == 1 or not len(sample.rows):
        return specs[0]
    scores = [candidates.score(vote, sample) for vote in candidates.votes_of(specs, sample.rows)]
    return specs[int(np.argmax(scores))]


def _joined(weights: Mapping[int, int], views: Sequence[int], rule: str) -> Spec:
    """Those who joined, the most frequent first, of equals as they stand; each weighs how often it joined."""
    order = sorted((member for member in weights if weights[member]), key=lambda member: -weights[member])
    voters = tuple((member, view) for member in order for view in views)
    return Spec(voters, rule, tuple(float(weights[member]) for member, _ in voters))


def _all_views(candidates: Candidates, members: Sequence[int], rule: str) -> Spec:
    return Spec(tuple((member, view) for member in members for view in range(len(candidates.views))), rule)


def _there(candidates: Candidates, sizes: Sizes) -> list[int]:
    """The allowed numbers of members, ascending, no more than there are."""
    return sorted({min(k, len(candidates.members)) for k in sizes})


def _times(rows: Ints, sample: Sample) -> Ints:
    """How often each of these rows counts."""
    times = np.zeros(len(rows), dtype=np.int64)
    times[np.searchsorted(rows, sample.rows)] = sample.times
    return times


def _agreements(candidates: Candidates, sample: Sample, members: Sequence[int]) -> Ints:
    """How many photos of the sample each two members name the same class for, through the first view: `int64 (m, m)`."""
    named = candidates.named[list(members), 0][:, sample.rows]
    return np.stack([np.where(one == named, sample.times, 0).sum(axis=1) for one in named])


def _right_wrong(candidates: Candidates, sample: Sample, member: int) -> tuple[float, float]:
    right = candidates.named[member, 0, sample.rows] == candidates.labels[sample.rows]
    return float(sample.times[right].sum()), float(sample.times[~right].sum())


def _class_weights(candidates: Candidates, sample: Sample, member: int, view: int) -> tuple[float, ...]:
    named, labels = candidates.named[member, view, sample.rows], candidates.labels[sample.rows]
    right = np.bincount(labels[named == labels], sample.times[named == labels], candidates.n_classes)
    answers = np.bincount(named, sample.times, candidates.n_classes)
    return tuple(_log_odds(float(r), float(s - r), candidates.n_classes) for r, s in zip(right, answers, strict=True))


def _log_odds(right: float, wrong: float, n_classes: int) -> float:
    """In hundredths, at least one: a voter who is chosen has a say."""
    return float(max(1, round(PER_UNIT * float(np.log((right + UNSEEN) / (wrong + UNSEEN) * (n_classes - 1))))))


STRATEGIES: dict[str, Strategy] = {
    "single": Strategy("the best trial alone", single, "one trial", 1),
    "hard": Strategy("hard vote of all views of the best trials", partial(top, rule="hard"), takes_best=True, ballots=True),
    "soft": Strategy("their mean probabilities", partial(top, rule="soft"), takes_best=True),
    "geometric": Strategy("their mean logarithms", partial(top, rule="geometric"), takes_best=True),
    "rank": Strategy("their mean ranks", partial(top, rule="rank"), takes_best=True, ballots=True),
    "weighted": Strategy("hard vote, trials weighing the log-odds of being right", weighted, ballots=True),
    "class-weighted": Strategy(
        "hard vote, each word weighing the log-odds of being right for its class", weighted_by_class, ballots=True
    ),
    "greedy-soft": Strategy("greedy selection with replacement, mean probabilities", partial(greedy, rule="soft"), *GREEDY),
    "greedy-hard": Strategy("greedy selection with replacement, hard vote", partial(greedy, rule="hard"), *GREEDY, ballots=True),
    "bagged-greedy-soft": Strategy(
        "greedy selection in ten random halves, mean probabilities", partial(bagged, rule="soft"), *GREEDY
    ),
    "bagged-greedy-hard": Strategy(
        "greedy selection in ten random halves, hard vote", partial(bagged, rule="hard"), *GREEDY, ballots=True
    ),
    "subset": Strategy(
        "hard vote of the best subset of the best 12 trials, exactly", subset, f"at most {LARGEST} trials", LARGEST, ballots=True
    ),
    "diverse": Strategy("hard vote of the best trials that agree seldom enough", diverse, ballots=True),
    "stacked": Strategy("logistic regression on log-probabilities", stacked),
}
