"""A design: which voters of one place vote, and how their votes become an answer. What a choice comes to, before names are put to it.

Voters are numbers here, `(member, view)`, most senior first; `ensemble.plan.task_ensemble.TaskEnsemble` is the same with names, as JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import share_logs
from ensemble.postprocess.assignment import assign, counts_of
from ensemble.postprocess.calibration import Calibration, calibrate
from ensemble.postprocess.group_answer import same_in_group
from ensemble.postprocess.label_shift import with_prior
from ensemble.postprocess.offsets import with_offsets
from ensemble.postprocess.stacking import Stacking, stacked_vote
from ensemble.resampling import Groups
from ensemble.votes import RULES, Floats, Vote, Weights, to_half

NONE: Mapping[int, tuple[Calibration, ...]] = MappingProxyType({})


@dataclass(frozen=True)
class Correction:
    """Other class shares: probabilities are brought from `old` to `new` (`ensemble.postprocess.label_shift.with_prior`).

    Attributes:
        old: C shares that the probabilities contain.
        new: C shares of the photos that are answered.
        source: Where `new` is from: `known`, or the estimator.
    """

    old: tuple[float, ...]
    new: tuple[float, ...]
    source: str


class Deciding(Protocol):
    """Whatever turns voters' rows into an answer: a `Spec`, or a plan's `TaskEnsemble`."""

    @property
    def rule(self) -> str:
        """One of `votes.RULES`; not looked at where there is a stacking."""

    @property
    def weights(self) -> Weights:
        """Of the voters."""

    @property
    def stacking(self) -> Stacking | None:
        """What is asked in place of a rule."""

    @property
    def offsets(self) -> Sequence[float] | None:
        """C summands for the logarithms of the shares."""


@dataclass(frozen=True)
class Spec:
    """How one place decides.

    Attributes:
        voters: K pairs of member and view numbers, most senior first; a member's views stand together.
        rule: One of `votes.RULES`.
        weights: K whole numbers, or K rows of C; `None`: one voter, one vote. Whole, so that sums are exact in any order.
        stacking: Asked in place of the rule.
        calibration: Member number -> one calibration per model of the member, all of its views alike.
        correction: Applied to each voter after its calibration.
        offsets: C summands for the logarithms of the shares.
        same_group: One of `group_answer.GROUP_SUMS`: all photos of a group get one answer, where no quota holds.
        quota: C shares of the photos that are answered, which the answers then have exactly.
    """

    voters: tuple[tuple[int, int], ...]
    rule: str = "hard"
    weights: tuple[float, ...] | tuple[tuple[float, ...], ...] | None = None
    stacking: Stacking | None = None
    calibration: Mapping[int, tuple[Calibration, ...]] = field(default_factory=lambda: NONE)
    correction: Correction | None = None
    offsets: tuple[float, ...] | None = None
    same_group: str | None = None
    quota: tuple[float, ...] | None = None

    @property
    def members(self) -> tuple[int, ...]:
        """The member numbers once each, most senior first."""
        return tuple(dict.fromkeys(member for member, _ in self.voters))


def decide_by(deciding: Deciding, cube: Floats) -> Vote:
    """The answer of voters' rows `float (K, N, C)`, calibrated and corrected before, most senior first."""
    stacking = deciding.stacking
    vote = RULES[deciding.rule].vote(cube, deciding.weights) if stacking is None else stacked_vote(stacking, cube)
    return vote if deciding.offsets is None else with_offsets(vote.shares, deciding.offsets)


def decide_together(
    vote: Vote, image_ids: Sequence[str], groups: Groups | None, *, same_group: str | None, quota: Sequence[float] | None
) -> Vote:
    """What can only be decided for all N photos at once: one answer per group, or in its place class counts that are known.

    Args:
        vote: The photos' own answers.
        image_ids: N different ids; they decide ties.
        groups: N group names; without them each photo is its own group.
        same_group: See `Spec`.
        quota: See `Spec`.
    """
    if quota is None or not len(vote.labels):
        return vote if same_group is None or groups is None else same_in_group(vote, groups, by=same_group)
    labels = assign(share_logs(vote.shares), counts_of(quota, len(vote.labels)), image_ids)
    return replace(vote, labels=labels)


def prepare_rows(
    probs: Floats, calibration: Calibration | None, correction: Correction | None
) -> NDArray[np.float16] | NDArray[np.float64]:
    """One model's rows `float (N, C)`, calibrated and brought to other class shares, `float64`; or as float16 where nothing is done."""
    if calibration is None and correction is None:
        return to_half(probs)
    rows = to_half(probs).astype(np.float64) if calibration is None else calibrate(calibration, probs)
    return rows if correction is None else with_prior(rows, old=correction.old, new=correction.new)


def mean_of_models(rows: Sequence[Floats]) -> NDArray[np.float16]:
    """A member's rows `float16 (N, C)`: the mean over its models (of folds, or seeds), each prepared before; one is itself."""
    if len(rows) == 1:
        return to_half(np.minimum(rows[0], 1))
    total = np.zeros(rows[0].shape, dtype=np.float64)
    for one in rows:
        total += one
    return to_half(np.minimum(total / len(rows), 1))
