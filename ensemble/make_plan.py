"""A choice with names put to it: what was decided for every subtask -> the plan that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from competitions.manifest import IDENTITY
from ensemble.fit_subtask import Decided
from ensemble.label.cascade import Subtask
from ensemble.label.decode import LabelDecoder, voting_subtasks
from ensemble.metric_sums import vote_score
from ensemble.plan.plan import EnsemblePlan
from ensemble.plan.spec import NamedSpec, Spec
from ensemble.plan.task_ensemble import TaskEnsemble, photos_name
from ensemble.pool import AllData, Member, Pool, Pools
from ensemble.scoring.gain import Gain
from ensemble.votes import RULES, Weights
from system.errors import UserError

VoterWeights = tuple[float, ...]


def make_plan(
    pools: Pools,
    decided: Mapping[Subtask, Decided],
    decoder: LabelDecoder,
    *,
    all_data: AllData | None = None,
    unjudged: bool = False,
) -> EnsemblePlan:
    """The plan of what was decided.

    Args:
        pools: What was gathered.
        decided: The choice for each subtask; those that have no say are left out.
        decoder: How the subtasks come to the label.
        all_data: To whom members hand their votes on, if they do.
        unjudged: Whether files vote that nobody judged.

    Raises:
        UserError: Members have no sibling that learned from all photos; all are named.
    """
    facts = pools.facts
    decided = {subtask: decided[subtask] for subtask in voting_subtasks(decoder.way, list(decided), facts.table)}
    chosen = {subtask: [one.pool.members[m] for m in one.selector.on().members] for subtask, one in decided.items()}
    everyone = {member.name: member for members in chosen.values() for member in members}
    if all_data is not None:
        _check_siblings(facts.name, list(everyone.values()), all_data)
    tasks = [
        named(
            one.pool,
            one.selector.on(),
            classes=facts.classes[subtask.task],
            prior=one.pool.prior if all_data is None else all_data.priors[subtask],
            score=_own_score(one),
            accounts=one.accounts,
            siblings={} if all_data is None else all_data.siblings,
            test=pools.test.image_ids,
        )
        for subtask, one in decided.items()
    ]
    imports = {member.name: member.imported for member in everyone.values() if member.imported}
    if unjudged:
        for at, one in enumerate(decided.values()):
            tasks[at], joined = _with_unjudged(tasks[at], one.pool.unjudged)
            imports |= joined
    return EnsemblePlan(facts.name, facts.metric, tuple(tasks), facts.table, facts.submission, imports, decoder)


def beside(decided: Mapping[Subtask, Decided]) -> dict[str, dict[Subtask, Decided]]:
    """The choices that are shown beside the exported one: `single`, `hard` and `soft`, without refinements."""

    def by(rule: str) -> dict[Subtask, Decided]:
        sizes = {subtask: 1 if rule == "single" else len(one.plain.on().members) for subtask, one in decided.items()}
        return {
            subtask: replace(one, selector=one.plain.by(rule, (sizes[subtask],)), accounts=(), refined=())
            for subtask, one in decided.items()
        }

    return {rule: by(rule) for rule in ("single", "hard", "soft")}


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
        pool: The members that the spec's numbers mean.
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
    named_voters = tuple((handed[member], view) for member, view in voters)
    calibration = {handed[member_of[m].name]: fitted for m, fitted in spec.calibration.items()}
    return TaskEnsemble(
        task=pool.subtask.task,
        classes=classes,
        spec=NamedSpec(**{**vars(spec), "voters": named_voters, "weights": weights, "calibration": calibration}),
        prior=tuple(float(share) for share in prior),
        tie_rule=RULES[spec.rule].tie_rule,
        score=score,
        where=pool.subtask.where,
        models=models,
        quota_of=None if spec.quota is None else photos_name(test),
        accounts=tuple(account.to_json() for account in accounts),
    )


def _voters(pool: Pool, spec: Spec) -> tuple[list[tuple[str, str]], tuple[float, ...] | tuple[VoterWeights, ...] | None]:
    """The voters by name, and their weights; `None` where all are alike."""
    given: Weights = spec.weights
    rows: dict[tuple[str, str], VoterWeights] = {}
    for at, (member, view) in enumerate(spec.voters):
        weight = 1.0 if given is None else given[at]
        row = tuple(map(float, weight)) if isinstance(weight, Sequence) else (float(weight),)
        one = pool.members[member]
        voter = one.name, IDENTITY if one.imported else pool.candidates.views[view]
        rows[voter] = tuple(a + b for a, b in zip(rows[voter], row, strict=True)) if voter in rows else row
    if given is None and len(rows) == len(spec.voters):
        return list(rows), None
    if all(len(row) == 1 for row in rows.values()):
        return list(rows), tuple(row[0] for row in rows.values())
    return list(rows), tuple(rows.values())


def _with_unjudged(ensemble: TaskEnsemble, files: Sequence[tuple[str, str]]) -> tuple[TaskEnsemble, dict[str, str]]:
    """The ensemble with these files as its most junior voters, each with the weight of a member, and their names by id.

    Raises:
        UserError: Its votes have no weight per voter.
    """
    joining = [(member, name) for member, name in files if member not in ensemble.members]
    if not joining:
        return ensemble, {}
    spec = ensemble.spec
    weights = (1.0,) * len(spec.voters) if spec.weights is None else spec.weights
    numbers = [weight for weight in weights if isinstance(weight, int | float)]
    if spec.stacking is not None or len(numbers) < len(weights):
        raise UserError("--unjudged files need a vote with one weight per voter; give --vote hard, soft, weighted or greedy-hard")
    each = sum(numbers) / len(ensemble.members)
    voters = (*spec.voters, *((member, IDENTITY) for member, _ in joining))
    return replace(ensemble, spec=replace(spec, voters=voters, weights=(*numbers, *[each] * len(joining)))), dict(joining)


def _check_siblings(competition: str, members: Sequence[Member], all_data: AllData) -> None:
    missing = [member.name for member in members if not member.imported and member.name not in all_data.siblings]
    if missing:
        command = f"python run_search.py {competition} --all-data --base"
        raise UserError(*(f"trial {name} has not been trained on all data; run: {command} {name}" for name in missing))


def _own_score(one: Decided) -> float:
    """What a subtask's vote scores on the photos it is asked about."""
    candidates = one.selector.candidates
    known = np.flatnonzero(candidates.labels >= 0)
    return vote_score(candidates.vote(one.selector.on(), known), candidates.labels[known], metric=candidates.metric)
