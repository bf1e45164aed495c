"""A spec: which voters of one subtask vote, and how their votes become an answer. Selection works on it, and a plan holds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import share_logs
from ensemble.plan.reader import WRITTEN
from ensemble.postprocess.assignment import assign, counts_of
from ensemble.postprocess.calibration import Calibration, calibrate
from ensemble.postprocess.group_answer import same_in_group
from ensemble.postprocess.label_shift import with_prior
from ensemble.postprocess.offsets import with_offsets
from ensemble.postprocess.stacking import Stacking, stacked_vote
from ensemble.resampling import Groups
from ensemble.votes import RULES, Floats, Vote, to_half

Name = TypeVar("Name", int, str)


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


@dataclass(frozen=True)
class VotingSpec(Generic[Name]):
    """How one subtask decides. While members are chosen they have numbers (`Spec`), in a plan they have names (`NamedSpec`).

    Attributes:
        voters: K pairs of member and view, most senior first; a member's views stand together while members are chosen.
        rule: One of `votes.RULES`; not looked at where there is a stacking.
        weights: K numbers, or K rows of C; `None`: one voter, one vote. Whole while members are chosen, so that sums are
            exact in any order.
        stacking: Asked in place of the rule.
        calibration: Member -> one calibration per model of the member, all of its views alike, applied before models are averaged.
        correction: Other class shares, applied to each voter after its calibration.
        offsets: C summands for the logarithms of the shares, where the metric pays for naming rare classes.
        same_group: One of `group_answer.GROUP_SUMS`: all photos of a group get one answer, where no quota holds.
        quota: C shares of the photos that are answered, which the answers then have exactly.
    """

    voters: tuple[tuple[Name, Name], ...]
    rule: str = field(default="hard", metadata=WRITTEN)
    weights: tuple[float, ...] | tuple[tuple[float, ...], ...] | None = field(default=None, metadata=WRITTEN)
    stacking: Stacking | None = None
    calibration: Mapping[Name, tuple[Calibration, ...]] = field(default_factory=dict)
    correction: Correction | None = None
    offsets: tuple[float, ...] | None = None
    same_group: str | None = None
    quota: tuple[float, ...] | None = None

    @property
    def members(self) -> tuple[Name, ...]:
        """The members once each, most senior first."""
        return tuple(dict.fromkeys(member for member, _ in self.voters))


Spec = VotingSpec[int]
NamedSpec = VotingSpec[str]


def decide_by(spec: VotingSpec[Any], cube: Floats) -> Vote:
    """The answer of voters' rows `float (K, N, C)`, calibrated and corrected before, most senior first."""
    stacking = spec.stacking
    vote = RULES[spec.rule].vote(cube, spec.weights) if stacking is None else stacked_vote(stacking, cube)
    return vote if spec.offsets is None else with_offsets(vote.shares, spec.offsets)


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
