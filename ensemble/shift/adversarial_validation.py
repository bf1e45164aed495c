"""Do the test photos come from elsewhere? Labelled and test photos, as features or looks -> `Shift`: told apart, how well, how surely.

Photos of other groups always look a bit different, so the question is not whether the test photos can be told apart but whether
they can be told apart better than groups drawn in the labelled ones' place. No labels of test photos are used.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import numpy as np

from ensemble.shift.permutation import Side, ask, is_ungrouped, show
from ensemble.shift.two_sample import FOREIGN, TESTS, Numbers
from ensemble.votes import Floats

LEVEL = 0.05
"""Test photos that do not come from elsewhere are announced in 5 % of cases, nominally, over all sources together."""
WEAKEST = 0.55
"""An AUC below this is not announced however sure it is: with many photos the smallest difference is sure, and moves no score."""
PERMUTATIONS = 299
CLEAR = 0.2
"""Sides that are told apart no better than this share of the first draws are asked no further: it can only make announcements rarer."""
FEWEST_DRAWS = 20
"""There must be as many draws of groups to choose from, or no result could be surer than 5 %."""


@dataclass(frozen=True)
class Evidence:
    """What one source of columns says.

    Attributes:
        n_labelled: Groups on the labelled side.
        n_test: Groups on the test side.
        way: Which of `TESTS` told the sides apart most surely.
        auc: How well, 0.5 for not at all; the median over the members.
        usual: Median of the same for groups drawn in the labelled ones' place.
        at_most: Their 95 % percentile.
        p: How often drawn groups were told apart as surely; `None` where it cannot be known.
        n_draws: How many draws.
        unknown: Why it cannot be known, else empty.
    """

    n_labelled: int
    n_test: int
    way: str = ""
    auc: float | None = None
    usual: float | None = None
    at_most: float | None = None
    p: float | None = None
    n_draws: int = 0
    unknown: str = ""

    def words(self) -> str:
        """One sentence for people."""
        if self.unknown:
            return self.unknown
        finding = "unlike any labelled photo" if self.way == FOREIGN else "told apart"
        return (
            f"{finding} with AUC {self.auc:.2f}, held-out groups with {self.at_most:.2f} in all but 5 % of {self.n_draws} draws "
            f"(p {self.p:.3f}; {self.n_labelled} labelled groups, {self.n_test} of test photos)"
        )


@dataclass(frozen=True)
class Shift:
    """The verdict over all sources.

    Attributes:
        announced: The test photos come from elsewhere, so that no score of labelled photos says what to expect.
        known: Whether any source could have told.
        words: The verdict with its strength, for people.
        evidence: Source -> what it says.
    """

    announced: bool
    known: bool
    words: str
    evidence: Mapping[str, Evidence]

    def to_json(self) -> dict[str, Any]:
        """The verdict as a JSON value."""
        return asdict(self)


def blocks_of(features: Floats | None, probs: Mapping[str, Floats]) -> tuple[Numbers, ...]:
    """What a member sees in N photos: its features and the logarithms of its probabilities, each `float64 (N, D)`.

    Args:
        features: `float (N, F)`, or `None` where there are none.
        probs: Head -> `float (N, C)`; logarithms end at 0.001, below which confidence is noise.
    """
    logs = [np.log(np.maximum(probs[head].astype(np.float64), 1e-3)) for head in sorted(probs)]
    return (*([] if features is None else [features.astype(np.float64)]), *logs)


def compare_sides(labelled: Side, test: Side, *, seed: int, n_draws: int = PERMUTATIONS) -> Evidence:
    """Tell labelled from test photos, against groups of both sides drawn in the labelled ones' place.

    If all groups are of one kind, the labelled ones are as good as drawn, so the drawn ones are told apart as well as they in
    all but `p` of cases, whatever groups look like and however few they are (a permutation test with groups as units; the surest
    of the two is compared with the surest in each draw, after Westfall & Young 1993). Three things are ours:

    * A test group with more photos than the largest labelled one is drawn more often, in proportion, and counts as that one
      where it is drawn: the forecast is for the photos as they are, so where two thirds of them are one kind, labelled groups
      should be. Groups of one size make it the plain test.
    * `weights` undo other class shares. They go with their photos into every draw.
    * Test photos whose groups are unknown (one each, while labelled groups have several) would be drawn as what they are not.
      Then halves of the labelled groups stand in for the two sides, and only the first of `TESTS` is asked: the other must leave
      out whole groups on both. Halves differ more than all labelled groups do from many test groups, so it announces rarely.

    Args:
        labelled: Photos with labels, not learned from by the members.
        test: Test photos.
        seed: Of everything drawn.
        n_draws: How many.
    """
    rng = np.random.default_rng(seed)
    sides = show(labelled, rng), show(test, rng)
    numbers = len(sides[0].sizes), len(sides[1].sizes)
    counted = len(set(labelled.groups)), len(set(test.groups))
    ungrouped = is_ungrouped(sides)
    n_choices = comb(numbers[0], numbers[0] // 2) if ungrouped else comb(sum(numbers), numbers[0])
    if numbers[0] < 2 or n_choices < FEWEST_DRAWS:
        return Evidence(*counted, unknown=_too_few(numbers, ungrouped))
    seen = [(labelled.seen[member], test.seen[member]) for member in sorted(labelled.seen)]

    def is_clear(true: Numbers, drawn: Numbers) -> bool:
        return (_evidence(true, drawn, counted).p or 0.0) > CLEAR

    return _evidence(*ask(sides, seen, seed, n_draws, is_clear), counted)


def judge(evidence: Mapping[str, Evidence]) -> Shift:
    """The verdict over sources that know different things, e.g. the trials' features on a fold and the looks of all labelled photos.

    Each of S sources that could have told may be wrong in `LEVEL / S` of cases (Bonferroni).
    """
    able = {source: one for source, one in evidence.items() if one.p is not None}
    sure = {s: e for s, e in able.items() if (e.p or 0.0) <= LEVEL / len(able) and (e.auc or 0.0) >= WEAKEST}
    if sure:
        words = "test photos come from elsewhere: " + "; ".join(f"by {source}, {sure[source].words()}" for source in sorted(sure))
    elif able:
        words = "no sign that test photos come from elsewhere: " + "; ".join(f"by {s}, {able[s].words()}" for s in sorted(able))
    else:
        reasons = "; ".join(f"by {source}, {evidence[source].words()}" for source in sorted(evidence))
        words = f"whether test photos come from elsewhere cannot be known: {reasons or 'nothing was compared'}"
    return Shift(bool(sure), bool(able), words, dict(evidence))


def _evidence(true: Numbers, drawn: Numbers, counted: tuple[int, int]) -> Evidence:
    """The surest test, and how often the surest of a draw is as sure."""
    able = np.flatnonzero(~np.isnan(true) & ~np.isnan(drawn).any(axis=0))
    values = np.vstack([true, drawn])[:, able]
    sureness = np.column_stack([_as_large(column) for column in values.T])
    surest = sureness.min(axis=1)
    best = int(able[sureness[0].argmin()])
    return Evidence(
        *counted,
        way=TESTS[best],
        auc=float(true[best]),
        usual=float(np.median(drawn[:, best])),
        at_most=float(np.percentile(drawn[:, best], 95)),
        p=float(np.mean(surest <= surest[0])),
        n_draws=len(drawn),
    )


def _as_large(values: Numbers) -> Numbers:
    """For each value the share of all that are as large, itself included."""
    ordered = np.sort(values)
    shares: Numbers = 1 - np.searchsorted(ordered, values, "left") / len(values)
    return shares


def _too_few(numbers: tuple[int, int], ungrouped: bool) -> str:
    there = f"{numbers[0]} labelled groups" + ("" if ungrouped else f" and {numbers[1]} of test photos")
    return f"{there} are too few to know how much groups differ without a shift"
