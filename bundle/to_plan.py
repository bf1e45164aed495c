"""A design with names put to it: what `TaskEnsemble` says of the voters that a choice came to."""

from collections.abc import Mapping, Sequence

from bundle.pool import IDENTITY, Pool
from ensemble.align import Voter
from ensemble.plan.spec import Spec
from ensemble.plan.task_ensemble import TaskEnsemble, photos_name
from ensemble.scoring.gain import Gain
from ensemble.votes import RULES, Weights

Row = tuple[float, ...]


def named(
    pool: Pool,
    spec: Spec,
    *,
    classes: tuple[str, ...],
    prior: Sequence[float],
    score: float,
    accounts: Sequence[Gain] = (),
    siblings: Mapping[str, str] | None = None,
    test: Sequence[str] = (),
) -> TaskEnsemble:
    """The ensemble that decides as `spec` does.

    An imported file looks through no views, so it votes once, with the weight of all the views it stands in for.

    Args:
        pool: The members that the design's numbers mean.
        spec: What was chosen.
        classes: C class names.
        prior: C class shares of the training photos.
        score: Of the choice on the photos that chose it.
        accounts: Of the refinements that were tried.
        siblings: Member -> the trial that votes in its place, where members hand their votes on.
        test: Ids of the test photos: a quota is theirs.
    """
    voters, weights = _voters(pool, spec)
    member_of = {m: pool.members[m] for m in spec.members}
    handed = {member_of[m].name: (siblings or {}).get(member_of[m].name, member_of[m].name) for m in member_of}
    models = {} if siblings else {name: trials for m in member_of.values() for name, trials in m.models.items()}
    return TaskEnsemble(
        task=pool.subtask.task,
        classes=classes,
        voters=tuple(Voter(handed[voter.member], voter.view) for voter in voters),
        prior=tuple(float(share) for share in prior),
        rule=spec.rule,
        tie_rule=RULES[spec.rule].tie_rule,
        weights=weights,
        score=score,
        where=pool.subtask.where,
        models=models,
        calibration={handed[member_of[m].name]: fitted for m, fitted in spec.calibration.items()},
        correction=spec.correction,
        stacking=spec.stacking,
        offsets=spec.offsets,
        same_group=spec.same_group,
        quota=spec.quota,
        quota_of=None if spec.quota is None else photos_name(test),
        accounts=tuple(account.to_json() for account in accounts),
    )


def _voters(pool: Pool, spec: Spec) -> tuple[list[Voter], tuple[float, ...] | tuple[Row, ...] | None]:
    """The voters by name, and their weights; `None` where all are alike."""
    given: Weights = spec.weights
    rows: dict[Voter, Row] = {}
    for at, (member, view) in enumerate(spec.voters):
        weight = 1.0 if given is None else given[at]
        row = tuple(map(float, weight)) if isinstance(weight, Sequence) else (float(weight),)
        one = pool.members[member]
        voter = Voter(one.name, IDENTITY if one.imported else pool.candidates.views[view])
        rows[voter] = tuple(a + b for a, b in zip(rows[voter], row, strict=True)) if voter in rows else row
    if given is None and len(rows) == len(spec.voters):
        return list(rows), None
    if all(len(row) == 1 for row in rows.values()):
        return list(rows), tuple(row[0] for row in rows.values())
    return list(rows), tuple(rows.values())
