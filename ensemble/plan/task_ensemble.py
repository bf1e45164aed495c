"""How one subtask is decided: a spec with names in it, and what a plan has to know beside it. JSON out; `ensemble.plan.reader` reads it."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np

from ensemble.align import Rows, Voter, stack
from ensemble.label.cascade import Subtask, Where
from ensemble.plan.reader import INLINE, SHOWN, WRITTEN
from ensemble.plan.spec import NamedSpec, decide_by, decide_together, mean_of_models, prepare_rows
from ensemble.postprocess.group_answer import GROUP_SUMS
from ensemble.resampling import Groups
from ensemble.votes import RULES, Floats, Vote, Weights
from system.errors import UserError, unknown
from system.files import fingerprint

Probs = Mapping[tuple[str, str, str], Rows]  # (trial_id, head, view) -> image ids and probabilities float (N, C)


@dataclass(frozen=True)
class TaskEnsemble:
    """How one subtask is decided.

    Attributes:
        task: A task of the competition, or `label` where the voters answer the composed label itself. It is also the name of
            the head that is read of each voter.
        classes: Its C class names in order.
        spec: Who votes, and how votes become an answer.
        prior: Class shares of the training photos, C numbers that sum to 1: what a file from outside says of a photo that cannot be
            read, and has no answer for. A trial says the shares of the photos that it learned from itself.
        tie_rule: The tie rule of its voting rule, in words.
        score: What the choice scored on the photos that chose it; greater is better.
        where: Of a cascade: for which answers of other tasks this ensemble is asked.
        models: Member -> the trials it is the mean of, one per fold, where it is more than one; a member is else its own trial.
        quota_of: The photos whose quota is known (`photos_name`); of a plan that does not say so the quota is not used.
        accounts: What each refinement that was tried won on groups it was not fitted on, kept or not (`ensemble.scoring.gain.Gain`).
    """

    task: str
    classes: tuple[str, ...]
    spec: NamedSpec = field(metadata=INLINE)
    prior: tuple[float, ...]
    tie_rule: str = field(default=RULES["hard"].tie_rule, metadata=WRITTEN)
    score: float | None = field(default=None, metadata=WRITTEN)
    where: Where = ()
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
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
    def voters(self) -> tuple[Voter, ...]:
        """Its voters, most senior first."""
        return tuple(Voter(member, view) for member, view in self.spec.voters)

    @property
    def members(self) -> tuple[str, ...]:
        """Its members, most senior first."""
        return self.spec.members

    @property
    def decides_together(self) -> bool:
        """Whether a photo's answer depends on the other photos."""
        return self.spec.same_group is not None or self.spec.quota is not None

    def quota_for(self, image_ids: Sequence[str]) -> tuple[float, ...] | None:
        """The quota, if it is known for exactly these photos."""
        quota = self.spec.quota
        return quota if quota is not None and self.quota_of == photos_name(image_ids) else None

    def trials_of(self, member: str) -> tuple[str, ...]:
        """The trials whose mean a member is."""
        return self.models.get(member, (member,))


def photos_name(image_ids: Sequence[str]) -> str:
    """A name for a set of photos, in any order."""
    return fingerprint(sorted(image_ids))


def vote_task(ensemble: TaskEnsemble, probs: Probs, image_ids: Sequence[str], groups: Groups | None = None) -> Vote:
    """The vote of one ensemble: probabilities of its voters, by its `keys` -> labels `(N,)` and shares `(N, C)`."""
    vote = vote_alone(ensemble, probs, image_ids)
    return decide_together(vote, image_ids, groups, same_group=ensemble.spec.same_group, quota=ensemble.quota_for(image_ids))


def vote_alone(ensemble: TaskEnsemble, probs: Probs, image_ids: Sequence[str]) -> Vote:
    """As `vote_task`, before what is decided for photos together: each photo's answer depends on that photo alone."""
    return decide_by(ensemble.spec, voter_rows(ensemble, probs, image_ids))


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
    calibration = ensemble.spec.calibration.get(voter.member, (None,) * len(trials))
    prepared = [prepare_rows(rows, fitted, ensemble.spec.correction) for rows, fitted in zip(own, calibration, strict=True)]
    return mean_of_models(prepared)


def without(ensemble: TaskEnsemble, members: Container[str]) -> TaskEnsemble:
    """The ensemble in which these members do not vote; itself where none of them does.

    Raises:
        UserError: Nobody is left, or its stacking needs one of them.
    """
    spec = ensemble.spec
    kept = [at for at, (member, _) in enumerate(spec.voters) if member not in members]
    if len(kept) == len(spec.voters):
        return ensemble
    if not kept or spec.stacking is not None:
        why = "its stacking asks all of its voters" if kept else "no other member can answer for them"
        raise UserError(
            f"task {ensemble.subtask} can only be answered for photos that its imported files have answers for: {why}; export without "
            "them (--imports none)"
        )
    there = {spec.voters[at][0] for at in kept}
    fewer = replace(
        spec,
        voters=tuple(spec.voters[at] for at in kept),
        weights=None if spec.weights is None else tuple(spec.weights[at] for at in kept),  # type: ignore[arg-type]  # K numbers, or K rows
        calibration={member: fitted for member, fitted in spec.calibration.items() if member in there},
    )
    return replace(ensemble, spec=fewer, models={m: trials for m, trials in ensemble.models.items() if m in there})


def task_to_json(ensemble: TaskEnsemble) -> dict[str, Any]:
    """The ensemble as a JSON value; what it does not use is left out."""
    spec = ensemble.spec
    value = {
        "task": ensemble.task,
        "classes": list(ensemble.classes),
        "voters": [list(voter) for voter in spec.voters],
        "weights": None if spec.weights is None else _plain(spec.weights),
        "rule": spec.rule,
        "tie_rule": ensemble.tie_rule,
        "prior": _plain(ensemble.prior),
        "score": None if ensemble.score is None else float(ensemble.score),
    }
    used = {
        "where": [[task, list(classes)] for task, classes in ensemble.where],
        "models": {member: list(trials) for member, trials in ensemble.models.items()},
        "calibration": {member: [one.to_json() for one in fitted] for member, fitted in spec.calibration.items()},
        "correction": None if spec.correction is None else _plain(asdict(spec.correction)),
        "stacking": None if spec.stacking is None else spec.stacking.to_json(),
        "offsets": None if spec.offsets is None else _plain(spec.offsets),
        "same_group": spec.same_group,
        "quota": None if spec.quota is None else _plain(spec.quota),
        "quota_of": ensemble.quota_of,
        "accounts": [dict(account) for account in ensemble.accounts],
    }
    return value | {name: part for name, part in used.items() if part}


def task_faults(ensemble: TaskEnsemble) -> list[str]:
    """What is wrong between the parts of one ensemble, in words."""
    spec, where, n_classes = ensemble.spec, f"task {ensemble.subtask}", len(ensemble.classes)
    faults = [] if spec.voters else [f"{where} has no voters"]
    names = [*(name for voter in spec.voters for name in voter), *(trial for own in ensemble.models.values() for trial in own)]
    faults += [
        f"{where}: voters must be names without a slash or a dot before, got {n[:SHOWN]!r}" for n in names if not is_name(n)
    ]
    faults += [f"{where}: voter {voter} stands twice; give it a weight" for voter in twice(ensemble.voters)]
    faults += [f"{where}: class {name!r} stands twice" for name in twice(ensemble.classes)]
    if spec.rule not in RULES:
        faults.append(f"{where}: {unknown('voting rule', spec.rule, dict(RULES))}")
    elif ensemble.tie_rule != RULES[spec.rule].tie_rule:
        faults.append(f"{where}: tie_rule of {spec.rule} is {RULES[spec.rule].tie_rule!r}, got {ensemble.tie_rule!r}")
    faults += _share_faults(f"{where}: prior", ensemble.prior, n_classes)
    if not _are_weights(spec.weights, len(spec.voters), n_classes):
        wanted = f"{len(spec.voters)} numbers of at least 0, not all 0"
        faults.append(f"{where}: weights must be {wanted}, got {str(list(spec.weights or ()))[:SHOWN]}")
    if ensemble.score is not None and not isfinite(ensemble.score):
        faults.append(f"{where}: score must be a number, got {ensemble.score}")
    return faults + _refinement_faults(ensemble, where)


def is_name(text: str) -> bool:
    """Whether a text may become part of a file's name."""
    return bool(text) and text[0] != "." and not set(text) & set("/\\\0")


def _refinement_faults(ensemble: TaskEnsemble, where: str) -> list[str]:
    spec, n_classes, members = ensemble.spec, len(ensemble.classes), ensemble.members
    faults = [f"{where}: {unknown('member with models', m, members)}" for m in ensemble.models if m not in members]
    for member, fitted in spec.calibration.items():
        if member not in members:
            faults.append(f"{where}: {unknown('calibrated member', member, members)}")
        elif len(fitted) != len(ensemble.trials_of(member)) or any(len(one.slopes) != n_classes for one in fitted):
            faults.append(
                f"{where}: {member} needs a calibration of {n_classes} classes for each of its models, got {len(fitted)}"
            )
    if spec.correction is not None:
        faults += _share_faults(f"{where}: correction's old shares", spec.correction.old, n_classes)
        faults += _share_faults(f"{where}: correction's new shares", spec.correction.new, n_classes)
    stacking = spec.stacking
    if stacking is not None and (
        stacking.n_classes != n_classes
        or len(stacking.coefficients) != len(spec.voters) * n_classes
        or {len(row) for row in stacking.coefficients} != {len(stacking.present)}
        or len(stacking.intercepts) != len(stacking.present)
        or not set(stacking.present) <= set(range(n_classes))
    ):
        faults.append(f"{where}: the stacking must be one of {len(spec.voters)} voters and {n_classes} classes")
    if spec.offsets is not None and len(spec.offsets) != n_classes:
        faults.append(f"{where}: offsets must be {n_classes} numbers, got {len(spec.offsets)}")
    if spec.same_group is not None and spec.same_group not in GROUP_SUMS:
        faults.append(f"{where}: {unknown('way to decide for a group', spec.same_group, dict(GROUP_SUMS))}")
    if spec.quota is None and ensemble.quota_of is not None:
        faults.append(f"{where}: quota_of names the photos of a quota, and there is none")
    return faults + ([] if spec.quota is None else _share_faults(f"{where}: quota", spec.quota, n_classes))


def _share_faults(name: str, shares: Sequence[float], n_classes: int) -> list[str]:
    fits = len(shares) == n_classes and min(shares, default=-1) >= 0 and abs(sum(shares) - 1) < 1e-6
    return [] if fits else [f"{name} must be {n_classes} shares that sum to 1, got {str(list(shares))[:SHOWN]}"]


def _are_weights(given: Weights, n_voters: int, n_classes: int) -> bool:
    if given is None:
        return True
    if len({np.size(row) for row in given}) > 1:
        return False
    weights = np.array(given, dtype=np.float64)
    fits = weights.shape in ((n_voters,), (n_voters, n_classes))
    return bool(fits and np.isfinite(weights).all() and (weights >= 0).all() and weights.any(axis=0).all())


def _plain(value: Any) -> Any:
    """Tuples as lists, numbers as Python's."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value if isinstance(value, str) else float(value)


def twice(values: Sequence[Any]) -> list[Any]:
    """The values that stand more than once, sorted."""
    ordered = sorted(values)
    return sorted({a for a, b in pairwise(ordered) if a == b})
