"""A design with names put to it: what `TaskEnsemble` says of the voters that a choice came to."""

from collections.abc import Mapping, Sequence

from bundle.pool import IDENTITY, Pool
from ensemble.align import Voter
from ensemble.plan.spec import Design
from ensemble.plan.task_ensemble import TaskEnsemble, photos_name
from ensemble.scoring.gain import Gain
from ensemble.votes import RULES, Weights

Row = tuple[float, ...]


def named(
    pool: Pool,
    design: Design,
    *,
    classes: tuple[str, ...],
    prior: Sequence[float],
    score: float,
    accounts: Sequence[Gain] = (),
    siblings: Mapping[str, str] | None = None,
    test: Sequence[str] = (),
) -> TaskEnsemble:
    """The ensemble that decides as `design` does.

    An imported file looks through no views, so it votes once, with the weight of all the views it stands in for.

    Args:
        pool: The members that the design's numbers mean.
        design: What was chosen.
        classes: C class names.
        prior: C class shares of the training photos.
        score: Of the choice on the photos that chose it.
        accounts: Of the refinements that were tried.
        siblings: Member -> the trial that votes in its place, where members hand their votes on.
        test: Ids of the test photos: a quota is theirs.
    """
    voters, weights = _voters(pool, design)
    member_of = {m: pool.members[m] for m in design.members}
    handed = {member_of[m].name: (siblings or {}).get(member_of[m].name, member_of[m].name) for m in member_of}
    models = {} if siblings else {name: trials for m in member_of.values() for name, trials in m.models.items()}
    return TaskEnsemble(
        task=pool.place.task,
        classes=classes,
        voters=tuple(Voter(handed[voter.member], voter.view) for voter in voters),
        prior=tuple(float(share) for share in prior),
        rule=design.rule,
        tie_rule=RULES[design.rule].tie_rule,
        weights=weights,
        score=score,
        where=pool.place.where,
        models=models,
        calibration={handed[member_of[m].name]: fitted for m, fitted in design.calibration.items()},
        correction=design.correction,
        stacking=design.stacking,
        offsets=design.offsets,
        same_group=design.same_group,
        quota=design.quota,
        quota_of=None if design.quota is None else photos_name(test),
        accounts=tuple(account.to_json() for account in accounts),
    )


def _voters(pool: Pool, design: Design) -> tuple[list[Voter], tuple[float, ...] | tuple[Row, ...] | None]:
    """The voters by name, and their weights; `None` where all are alike."""
    given: Weights = design.weights
    rows: dict[Voter, Row] = {}
    for at, (member, view) in enumerate(design.voters):
        weight = 1.0 if given is None else given[at]
        row = tuple(map(float, weight)) if isinstance(weight, Sequence) else (float(weight),)
        one = pool.members[member]
        voter = Voter(one.name, IDENTITY if one.imported else pool.arena.views[view])
        rows[voter] = tuple(a + b for a, b in zip(rows[voter], row, strict=True)) if voter in rows else row
    if given is None and len(rows) == len(design.voters):
        return list(rows), None
    if all(len(row) == 1 for row in rows.values()):
        return list(rows), tuple(row[0] for row in rows.values())
    return list(rows), tuple(rows.values())
