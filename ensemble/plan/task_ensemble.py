"""How one place is decided: which voters vote, and how their votes become an answer. JSON in, JSON out.

`ensemble.plan.spec.Spec` is the same with numbers in place of names, before it is written down.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.align import Rows, Voter, stack
from ensemble.label.cascade import Subtask, Where
from ensemble.plan.spec import Correction, decide_by, decide_together, mean_of_models, prepare_rows
from ensemble.postprocess.calibration import Calibration
from ensemble.postprocess.group_answer import GROUP_SUMS
from ensemble.postprocess.stacking import Stacking
from ensemble.resampling import Groups
from ensemble.votes import RULES, Floats, Vote
from system.errors import UserError, unknown
from system.files import fingerprint

Probs = Mapping[tuple[str, str, str], Rows]  # (trial_id, head, view) -> image ids and probabilities float (N, C)


@dataclass(frozen=True)
class TaskEnsemble:
    """How one target is decided.

    Attributes:
        task: A task of the competition, or `label` where the voters answer the composed label itself. It is also the name of
            the head that is read of each voter.
        classes: Its C class names in order.
        voters: K different voters, most senior first.
        prior: Class shares of the training photos, C numbers that sum to 1: what a file from outside says of a photo that cannot be
            read, and has no answer for. A trial says the shares of the photos that it learned from itself.
        rule: One of `votes.RULES`.
        tie_rule: That rule's tie rule in words.
        weights: K numbers, or K rows of C, one for each class; `None`: one voter, one vote.
        score: What the choice scored on the photos that chose it; greater is better.
        where: Of a cascade: for which answers of other tasks this ensemble is asked.
        models: Member -> the trials it is the mean of, one per fold, where it is more than one; a member is else its own trial.
        calibration: Member -> the calibration of each of its models, applied before they are averaged.
        correction: Other class shares, applied after it.
        stacking: Asked in place of the rule.
        offsets: C summands for the logarithms of the shares, where the metric pays for naming rare classes.
        same_group: One of `group_answer.GROUP_SUMS`: all photos of a group get one answer.
        quota: C shares that the answers then have exactly, where they are about the photos that are known to have these shares.
        quota_of: Those photos (`photos_name`); of a plan that does not say so the quota is not used.
        accounts: What each refinement that was tried won on groups it was not fitted on, kept or not (`ensemble.scoring.gain.Gain`).
    """

    task: str
    classes: tuple[str, ...]
    voters: tuple[Voter, ...]
    prior: tuple[float, ...]
    rule: str = "hard"
    tie_rule: str = RULES["hard"].tie_rule
    weights: tuple[float, ...] | tuple[tuple[float, ...], ...] | None = None
    score: float | None = None
    where: Where = ()
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    calibration: Mapping[str, tuple[Calibration, ...]] = field(default_factory=dict)
    correction: Correction | None = None
    stacking: Stacking | None = None
    offsets: tuple[float, ...] | None = None
    same_group: str | None = None
    quota: tuple[float, ...] | None = None
    quota_of: str | None = None
    accounts: tuple[Mapping[str, Any], ...] = ()

    @property
    def subtask(self) -> Subtask:
        """What it answers, and for which photos."""
        return Subtask(self.task, self.where)

    @property
    def keys(self) -> tuple[tuple[str, str, str], ...]:
        """The names `(trial_id, head, view)` of the probabilities its voters need, all models of each."""
        return tuple((trial, self.task, voter.view) for voter in self.voters for trial in self.trials_of(voter.member))

    @property
    def members(self) -> tuple[str, ...]:
        """Its members, most senior first."""
        return tuple(dict.fromkeys(voter.member for voter in self.voters))

    @property
    def decides_together(self) -> bool:
        """Whether a photo's answer depends on the other photos."""
        return self.same_group is not None or self.quota is not None

    def quota_for(self, image_ids: Sequence[str]) -> tuple[float, ...] | None:
        """The quota, if it is known for exactly these photos."""
        return self.quota if self.quota is not None and self.quota_of == photos_name(image_ids) else None

    def trials_of(self, member: str) -> tuple[str, ...]:
        """The trials whose mean a member is."""
        return self.models.get(member, (member,))


def photos_name(image_ids: Sequence[str]) -> str:
    """A name for a set of photos, in any order."""
    return fingerprint(sorted(image_ids))


def vote_task(ensemble: TaskEnsemble, probs: Probs, image_ids: Sequence[str], groups: Groups | None = None) -> Vote:
    """The vote of one ensemble: probabilities of its voters, by its `keys` -> labels `(N,)` and shares `(N, C)`."""
    vote = vote_alone(ensemble, probs, image_ids)
    return decide_together(vote, image_ids, groups, same_group=ensemble.same_group, quota=ensemble.quota_for(image_ids))


def vote_alone(ensemble: TaskEnsemble, probs: Probs, image_ids: Sequence[str]) -> Vote:
    """As `vote_task`, before what is decided for photos together: each photo's answer depends on that photo alone."""
    return decide_by(ensemble, voter_rows(ensemble, probs, image_ids))


def voter_rows(ensemble: TaskEnsemble, probs: Probs, image_ids: Sequence[str]) -> Floats:
    """What its voters say, `(K, N, C)`: calibrated, corrected, and the mean where a member is several models."""
    absent = [key for key in ensemble.keys if key not in probs]
    if absent:
        raise UserError(*(f"task {ensemble.subtask}: voter {Voter(trial, view)} has no predictions" for trial, _, view in absent))
    return stack(image_ids, {str(voter): (image_ids, _rows(ensemble, voter, probs, image_ids)) for voter in ensemble.voters})


def _rows(ensemble: TaskEnsemble, voter: Voter, probs: Probs, image_ids: Sequence[str]) -> Floats:
    """One voter's rows `(N, C)`: its models' probabilities, calibrated and corrected, and their mean."""
    trials = ensemble.trials_of(voter.member)
    own = stack(image_ids, {str(Voter(trial, voter.view)): probs[trial, ensemble.task, voter.view] for trial in trials})
    if own.ndim != 3 or own.shape[2] != len(ensemble.classes):
        raise UserError(
            f"{voter}: rows have the shape {own.shape[2:]}, task {ensemble.subtask} has {len(ensemble.classes)} classes"
        )
    calibration = ensemble.calibration.get(voter.member, (None,) * len(trials))
    prepared = [prepare_rows(rows, fitted, ensemble.correction) for rows, fitted in zip(own, calibration, strict=True)]
    return mean_of_models(prepared)


def without(ensemble: TaskEnsemble, members: Container[str]) -> TaskEnsemble:
    """The ensemble in which these members do not vote; itself where none of them does.

    Raises:
        UserError: Nobody is left, or its stacking needs one of them.
    """
    kept = [at for at, voter in enumerate(ensemble.voters) if voter.member not in members]
    if len(kept) == len(ensemble.voters):
        return ensemble
    if not kept or ensemble.stacking is not None:
        why = "its stacking asks all of its voters" if kept else "no other member can answer for them"
        raise UserError(
            f"task {ensemble.subtask} can only be answered for photos that its imported files have answers for: {why}; export without "
            "them (--imports none)"
        )
    there = {ensemble.voters[at].member for at in kept}
    return replace(
        ensemble,
        voters=tuple(ensemble.voters[at] for at in kept),
        weights=None if ensemble.weights is None else tuple(ensemble.weights[at] for at in kept),  # type: ignore[arg-type]  # K numbers, or K rows
        calibration={member: fitted for member, fitted in ensemble.calibration.items() if member in there},
        models={member: trials for member, trials in ensemble.models.items() if member in there},
    )


def task_to_json(ensemble: TaskEnsemble) -> dict[str, Any]:
    """The ensemble as a JSON value; what it does not use is left out."""
    value = {
        "task": ensemble.task,
        "classes": list(ensemble.classes),
        "voters": [list(voter.key) for voter in ensemble.voters],
        "weights": None if ensemble.weights is None else [_plain(weight) for weight in ensemble.weights],
        "rule": ensemble.rule,
        "tie_rule": ensemble.tie_rule,
        "prior": [float(p) for p in ensemble.prior],
        "score": None if ensemble.score is None else float(ensemble.score),
    }
    used = {
        "where": [[task, list(classes)] for task, classes in ensemble.where],
        "models": {member: list(trials) for member, trials in sorted(ensemble.models.items())},
        "calibration": {member: [one.to_json() for one in fitted] for member, fitted in sorted(ensemble.calibration.items())},
        "correction": None if ensemble.correction is None else _plain(asdict(ensemble.correction)),
        "stacking": None if ensemble.stacking is None else ensemble.stacking.to_json(),
        "offsets": None if ensemble.offsets is None else _plain(ensemble.offsets),
        "same_group": ensemble.same_group,
        "quota": None if ensemble.quota is None else _plain(ensemble.quota),
        "quota_of": ensemble.quota_of,
        "accounts": [dict(account) for account in ensemble.accounts],
    }
    return value | {name: part for name, part in used.items() if part}


def task_from_json(value: dict[str, Any]) -> TaskEnsemble:
    """The ensemble in a JSON value whose form was checked (`plan_schema`)."""
    correction, stacking, weights = value.get("correction"), value.get("stacking"), value["weights"]
    return TaskEnsemble(
        task=value["task"],
        classes=tuple(value["classes"]),
        voters=tuple(Voter(trial_id, view) for trial_id, view in value["voters"]),
        weights=None if weights is None else _frozen(weights),
        rule=value["rule"],
        tie_rule=value["tie_rule"],
        prior=tuple(map(float, value["prior"])),
        score=None if value["score"] is None else float(value["score"]),
        where=tuple((task, tuple(classes)) for task, classes in value.get("where", ())),
        models={member: tuple(trials) for member, trials in value.get("models", {}).items()},
        calibration={
            member: tuple(map(Calibration.from_json, fitted)) for member, fitted in value.get("calibration", {}).items()
        },
        correction=None
        if correction is None
        else Correction(_frozen(correction["old"]), _frozen(correction["new"]), correction["source"]),
        stacking=None if stacking is None else Stacking.from_json(stacking),
        offsets=None if value.get("offsets") is None else _frozen(value["offsets"]),
        same_group=value.get("same_group"),
        quota=None if value.get("quota") is None else _frozen(value["quota"]),
        quota_of=value.get("quota_of"),
        accounts=tuple(value.get("accounts", ())),
    )


def task_faults(ensemble: TaskEnsemble) -> list[str]:
    """What is wrong between the parts of one ensemble, in words."""
    where, n_classes, n_voters = f"task {ensemble.subtask}", len(ensemble.classes), len(ensemble.voters)
    faults = [f"{where} has no voters"] if not n_voters else []
    faults += [f"{where}: voter {v} stands twice; give it a weight" for v in twice(ensemble.voters)]
    faults += [f"{where}: class {name!r} stands twice" for name in twice(ensemble.classes)]
    if ensemble.rule not in RULES:
        faults.append(f"{where}: {unknown('voting rule', ensemble.rule, dict(RULES))}")
    elif ensemble.tie_rule != RULES[ensemble.rule].tie_rule:
        faults.append(f"{where}: tie_rule of {ensemble.rule} is {RULES[ensemble.rule].tie_rule!r}, got {ensemble.tie_rule!r}")
    faults += _share_faults(f"{where}: prior", ensemble.prior, n_classes)
    weights = None if ensemble.weights is None else np.array(ensemble.weights, dtype=np.float64)
    if weights is not None and not _are_weights(weights, n_voters, n_classes):
        faults.append(f"{where}: weights must be {n_voters} numbers of at least 0, not all 0, got {list(ensemble.weights or ())}")
    if ensemble.score is not None and not isfinite(ensemble.score):
        faults.append(f"{where}: score must be a number, got {ensemble.score}")
    return faults + _refinement_faults(ensemble, where)


def _refinement_faults(ensemble: TaskEnsemble, where: str) -> list[str]:
    n_classes, members = len(ensemble.classes), ensemble.members
    faults = [f"{where}: {unknown('member with models', m, members)}" for m in ensemble.models if m not in members]
    for member, fitted in ensemble.calibration.items():
        if member not in members:
            faults.append(f"{where}: {unknown('calibrated member', member, members)}")
        elif len(fitted) != len(ensemble.trials_of(member)) or any(len(one.slopes) != n_classes for one in fitted):
            faults.append(
                f"{where}: {member} needs a calibration of {n_classes} classes for each of its models, got {len(fitted)}"
            )
    if ensemble.correction is not None:
        faults += _share_faults(f"{where}: correction's old shares", ensemble.correction.old, n_classes)
        faults += _share_faults(f"{where}: correction's new shares", ensemble.correction.new, n_classes)
    stacking = ensemble.stacking
    if stacking is not None and (
        stacking.n_classes != n_classes
        or len(stacking.coefficients) != len(ensemble.voters) * n_classes
        or {len(row) for row in stacking.coefficients} != {len(stacking.present)}
        or len(stacking.intercepts) != len(stacking.present)
        or not set(stacking.present) <= set(range(n_classes))
    ):
        faults.append(f"{where}: the stacking must be one of {len(ensemble.voters)} voters and {n_classes} classes")
    if ensemble.offsets is not None and len(ensemble.offsets) != n_classes:
        faults.append(f"{where}: offsets must be {n_classes} numbers, got {list(ensemble.offsets)}")
    if ensemble.same_group is not None and ensemble.same_group not in GROUP_SUMS:
        faults.append(f"{where}: {unknown('way to decide for a group', ensemble.same_group, dict(GROUP_SUMS))}")
    if ensemble.quota is None and ensemble.quota_of is not None:
        faults.append(f"{where}: quota_of names the photos of a quota, and there is none")
    return faults + ([] if ensemble.quota is None else _share_faults(f"{where}: quota", ensemble.quota, n_classes))


def _share_faults(name: str, shares: Sequence[float], n_classes: int) -> list[str]:
    fits = len(shares) == n_classes and min(shares, default=-1) >= 0 and abs(sum(shares) - 1) < 1e-6
    return [] if fits else [f"{name} must be {n_classes} shares that sum to 1, got {list(shares)}"]


def _are_weights(weights: NDArray[np.float64], n_voters: int, n_classes: int) -> bool:
    fits = weights.shape in ((n_voters,), (n_voters, n_classes))
    return bool(fits and np.isfinite(weights).all() and (weights >= 0).all() and weights.any(axis=0).all())


def _plain(value: Any) -> Any:
    """Tuples as lists, numbers as Python's."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value if isinstance(value, str) else float(value)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else float(value)


def twice(values: Sequence[Any]) -> list[Any]:
    """The values that stand more than once, sorted."""
    ordered = sorted(values)
    return sorted({a for a, b in pairwise(ordered) if a == b})
