"""Everything that a choice is made on, from the ledger and the photos: options -> `ensemble.pool.Pools`.

This is the one room of an export before `bundle.export` that touches a file or a network: members are opened, their missing views and
test photos computed, weights averaged, costs measured, and what trials and eyes see of labelled and test photos is collected.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bundle.cost import measure_costs
from bundle.imported import check_unjudged, importing, unjudged_of
from bundle.members import OpenedMember, complete, find_members, siblings_on_all_data
from bundle.opened import TEST, VALIDATION, Opened
from bundle.pool import load_pool, subtasks_of
from bundle.soups import with_soups, without_soups
from competitions.answered import usual_targets
from competitions.answers import CLASS
from competitions.competition import Competition
from competitions.images.statistics import looks
from competitions.labels import Composition
from competitions.manifest import IDENTITY, LABEL
from competitions.prepare import Prepared
from competitions.targets import Target, choose_targets
from competitions.twins.gap import TwinGap
from competitions.twins.photos import AskedTwins, groups_dealt
from ensemble.align import align
from ensemble.fit_subtask import known_unestimated
from ensemble.label.cascade import Subtask
from ensemble.label.decoders import fit_joint
from ensemble.options import ALL_FOLDS, Options, check_subtasks, check_vote, option_faults
from ensemble.plan.plan import SubmissionForm, WrittenAs
from ensemble.pool import AllData, AskedPhotos, ClassShares, CompetitionFacts, LabelledPhotos, Pool, Pools
from ensemble.selection.pareto import Cost
from ensemble.shift.adversarial_validation import blocks_of
from ensemble.shift.check import shared_ids
from ensemble.shift.permutation import PHOTOS_COMPARED, Side
from ensemble.votes import Floats, Ints
from ledger.query import count_looks
from ledger.trials import ALL_DATA
from system.errors import UserError, unknown
from trainables.devices import device_faults
from trainables.prediction import FEATURES
from trainables.probes.known import known_features
from trainables.views import check_views

WIDTH, WIDE = 3, 8
"""So many times as many members as are asked for are computed through all views: what could be chosen in a resample; `--thorough`."""
SEEN_BY = 4
"""Trials that are asked how test photos differ, shared among the subtasks, one of each at least; the median decides."""
Report = Callable[[str], object]


@dataclass(frozen=True)
class _Gathering:
    """What all steps of one gathering need."""

    opened: Opened
    options: Options
    targets: Sequence[Target]
    subtasks: Mapping[Subtask, Sequence[Target]]
    facts: CompetitionFacts
    asked: AskedPhotos
    tell: Report

    @property
    def prepared(self) -> Prepared:
        """The competition's data."""
        return self.opened.prepared


def gather(opened: Opened, options: Options | None = None, *, tell: Report = lambda text: None) -> Pools:
    """Open the members for each subtask, and compute what a choice among them needs.

    Args:
        opened: The competition's data. What is opened here stays in it, for `bundle.export`.
        options: What is asked for.
        tell: Told what is being done.

    Raises:
        UserError: A number or name is out of range, the targets do not answer everything, or one has no trial that may vote.
    """
    prepared, options = opened.prepared, Options() if options is None else options
    _check(prepared, options)
    targets = _targets(prepared, options)
    subtasks = subtasks_of(prepared, targets)
    facts = _facts(prepared, subtasks)
    check_subtasks(list(subtasks), list(prepared.competition.submission.answers.values()), facts, options.together)
    check_vote(options, list(subtasks), facts)
    check_unjudged(opened, list(subtasks), options.unjudged)
    own = _Gathering(opened, options, targets, subtasks, facts, _asked_photos(prepared), tell)
    members = _members(own)
    pools = {subtask: _pool(own, subtask, members[subtask]) for subtask in subtasks}
    tell("looking at labelled and test photos")
    seen, looks_of = _seen(own, pools, members), _looks(prepared, own.asked)
    folds = options.folds(prepared.competition.split.n_folds)
    return Pools(
        facts=facts,
        pools=pools,
        labelled=_labelled(prepared, subtasks, facts.table),
        test=own.asked,
        joint=_joint_prior(own),
        seen=seen,
        looks=looks_of,
        looked_at={
            target.name: count_looks(prepared.paths, target.name, prepared.data_fingerprint(target), folds) for target in targets
        },
        costs=_costs(own, pools),
        all_data=_all_data(own, pools) if options.all_data else None,
        twins=_twins(prepared),
    )


def _targets(prepared: Prepared, options: Options) -> list[Target]:
    if options.targets is not None:
        return choose_targets(prepared.competition, options.targets)
    fold, *others = options.folds(prepared.competition.split.n_folds)
    return usual_targets(prepared, fold=fold, study=options.study, stopped=_with_stopped(options, n_folds=1 + len(others)))


def _with_stopped(options: Options, *, n_folds: int) -> bool:
    """Whether trials that were cut off vote: folds, siblings and soups are of finished trials."""
    return n_folds == 1 and not (options.all_data or options.soup)


def _check(prepared: Prepared, options: Options) -> None:
    split = prepared.competition.split
    faults = option_faults(options, n_folds=split.n_folds, split=split.name) + device_faults(options.device)
    faults += _view_faults(options.views, prepared.competition.views)
    if faults:
        raise UserError(*faults)
    check_views(prepared.competition.views)


def _view_faults(asked: Sequence[str] | None, there: Sequence[str]) -> list[str]:
    """What is wrong with the views that voters may look through, in words."""
    if asked is None:
        return []
    faults = [f"--views: {unknown('view of this competition', name, there)}" for name in asked if name not in there]
    faults += [] if IDENTITY in asked else [f"--views must have {IDENTITY}, the photo as it is, got {','.join(asked)}"]
    return faults


def _facts(prepared: Prepared, subtasks: Mapping[Subtask, Sequence[Target]]) -> CompetitionFacts:
    competition = prepared.competition
    alike = "same_group_at_test" in competition.allows
    return CompetitionFacts(
        name=competition.name,
        metric=competition.metric,
        classes={task: competition.classes(task) for task in (*competition.tasks, LABEL)},
        table=Composition.of(competition),
        submission=_form(competition),
        test_shares={
            task: tuple(told[name] for name in competition.classes(task)) for task, told in competition.test_shares.items()
        },
        task_weights=competition.task_weights,
        one_per_group=frozenset(task for task, one in competition.tasks.items() if alike and one.same_in_group),
    )


def _form(competition: Competition) -> SubmissionForm:
    """The form of the file as a plan keeps it."""
    form = competition.submission
    unit = None if form.unit is None else replace(form.unit, image=competition.columns.image)
    forms = {one.header: WrittenAs(one.form, one.of or None) for one in form.columns if one.form != CLASS}
    return SubmissionForm(
        form.id_column, tuple(form.answers.items()), form.values, forms, form.k, form.separator, form.rows, unit
    )


def _asked_photos(prepared: Prepared) -> AskedPhotos:
    manifest = prepared.manifest
    ids = tuple(manifest.image_ids[row] for row in manifest.rows("test"))
    decoded = tuple(image_id for image_id in ids if image_id not in prepared.broken)
    groups = dict(zip(manifest.image_ids, manifest.groups, strict=True))
    return AskedPhotos(ids, decoded, tuple(groups[image_id] for image_id in decoded))


def _labelled(prepared: Prepared, subtasks: Mapping[Subtask, Sequence[Target]], table: Composition) -> LabelledPhotos:
    """The labels of every task that is answered, and of the composed label."""
    tasks = dict.fromkeys([*table.tasks, *(subtask.task for subtask in subtasks), LABEL])
    labels = {task: prepared.labels(_whole(prepared, task))[task].astype(np.int64) for task in tasks}
    return LabelledPhotos(tuple(prepared.manifest.image_ids), labels, prepared.usable())


def _whole(prepared: Prepared, task: str) -> Target:
    """A task, or the label, as a target on all photos."""
    competition = prepared.competition
    composed = tuple((name, len(competition.classes(name))) for name in competition.composed)
    return Target(task, {task: len(competition.classes(task))}, competition.metric, composed=composed)


def _members(own: _Gathering) -> dict[Subtask, list[OpenedMember]]:
    """The members of each subtask: its trials, soups of them where asked for, and files from outside."""
    opened, options = own.opened, own.options
    folds = options.folds(own.prepared.competition.split.n_folds)
    stopped = _with_stopped(options, n_folds=len(folds))
    members = find_members(opened, own.targets, folds=folds, study=options.study, stopped=stopped)
    if options.all_data:
        members = without_soups(members)
    elif options.soup:
        own.tell("averaging weights")
        members = with_soups(opened, members, fold=folds[0], device=options.device)
    imported = {subtask: importing(opened, subtask, its, folds, options.imports) for subtask, its in own.subtasks.items()}
    answering = {one.member.imported for its in imported.values() for one in its}
    idle = [name for name in dict.fromkeys(options.imports or ()) if name not in answering]
    if idle:
        listed = ", ".join(map(str, own.subtasks))
        raise UserError(*(f"--imports {name}: it answers none of {listed}; leave it out" for name in idle))
    return {
        subtask: [*(one for target in its for one in members[target.name]), *imported[subtask]]
        for subtask, its in own.subtasks.items()
    }


def _pool(own: _Gathering, subtask: Subtask, members: Sequence[OpenedMember]) -> Pool:
    prepared, options, targets = own.prepared, own.options, own.subtasks[subtask]
    own.tell(f"reading the predictions for {subtask}")
    pool = load_pool(
        own.opened,
        subtask,
        targets,
        members,
        folds=options.folds(prepared.competition.split.n_folds),
        views=tuple(view for view in prepared.competition.views_for(subtask.task) if view in (options.views or (view,))),
        n_whole=(WIDE if options.thorough else WIDTH) * max(options.sizes),
        device=options.device,
    )
    return replace(
        pool,
        prior=_prior(prepared, targets[0], subtask, _fold(options)),
        test_probs=() if subtask.where else _test_probs(own, pool, members),
        unjudged=unjudged_of(own.opened, subtask, options.unjudged),
    )


def _fold(options: Options) -> int:
    """The fold that members did not learn from; all of them together learned from all photos."""
    return ALL_DATA if options.fold == ALL_FOLDS else int(options.fold)


def _prior(prepared: Prepared, target: Target, subtask: Subtask, fold: int) -> ClassShares:
    taught, _ = prepared.rows(target, fold)
    return tuple(prepared.priors(target, taught)[subtask.task].tolist())


def _test_probs(own: _Gathering, pool: Pool, members: Sequence[OpenedMember]) -> tuple[NDArray[np.float16], ...]:
    """What the models of the best trained member say of decoded test photos; the first alone where no class shares are estimated."""
    if pool.best_trained is None or not own.asked.decoded:
        return ()
    best = next(one for one in members if one.name == pool.members[pool.best_trained].name)
    estimated = not own.options.plain and known_unestimated(own.facts, own.asked, pool, shift=None) is None
    trials = best.opened if estimated else best.opened[:1]
    complete(own.opened, {trial.folder.id: [IDENTITY] for trial in trials}, (TEST,), own.options.device)
    task = pool.subtask.task
    return tuple(
        align(own.asked.decoded, *trial.predictions.read(TEST, task, IDENTITY), member=trial.folder.id) for trial in trials
    )


def _joint_prior(own: _Gathering) -> ClassShares:
    """Of the photos that the members of the first fold learned from."""
    target = _whole(own.prepared, LABEL)
    taught, _ = own.prepared.rows(target, ALL_DATA if own.options.all_data else _fold(own.options))
    return fit_joint(own.facts.table, own.prepared.labels(target)[LABEL][taught].astype(np.int64))


def _seen(
    own: _Gathering, pools: Mapping[Subtask, Pool], members: Mapping[Subtask, Sequence[OpenedMember]]
) -> tuple[Side, Side] | None:
    """What the best trials of each subtask see in photos of the first fold, and in decoded test photos."""
    if not own.asked.decoded:
        return None
    plain = {subtask: pool for subtask, pool in pools.items() if not subtask.where}
    each = max(1, SEEN_BY // len(plain))
    asked: dict[Subtask, list[OpenedMember]] = {}
    for subtask, pool in plain.items():
        by_name = {one.name: one for one in members[subtask]}
        asked[subtask] = [by_name[member.name] for member in pool.members[: pool.n_whole] if not member.imported][:each]
    trials = {one.trials[0] for its in asked.values() for one in its}
    complete(own.opened, {trial: [IDENTITY] for trial in sorted(trials)}, (TEST,), own.options.device)
    ids = shared_ids(list(plain.values()), without=tuple(own.prepared.broken))
    groups = dict(zip(own.prepared.manifest.image_ids, own.prepared.manifest.groups, strict=True))

    def side(part: str, some: Sequence[str]) -> Side:
        blocks = {
            f"{subtask.task}/{one.trials[0]}": _blocks(one, subtask.task, part, some)
            for subtask, its in asked.items()
            for one in its
        }
        return Side(some, [groups[image_id] for image_id in some], blocks)

    return side(VALIDATION, ids), side(TEST, own.asked.decoded)


def _blocks(one: OpenedMember, task: str, part: str, ids: Sequence[str]) -> tuple[Floats, ...]:
    kept = one.opened[0].predictions
    features, probs = (align(ids, *kept.read(part, head, IDENTITY), member=one.trials[0]) for head in (FEATURES, task))
    return blocks_of(features, {task: probs})


def _looks(prepared: Prepared, asked: AskedPhotos) -> tuple[Side, Side] | None:
    """Light, colour and sharpness of labelled and of decoded test photos."""
    if not asked.decoded:
        return None
    manifest, images = prepared.manifest, prepared.cache(prepared.competition.image_size).images
    decoded = set(asked.decoded)
    test = np.array([row for row in manifest.rows("test") if manifest.image_ids[row] in decoded], dtype=np.int64)

    def side(rows: Ints) -> Side:
        return Side(
            [manifest.image_ids[row] for row in rows], [manifest.groups[row] for row in rows], {"looks": (looks(images, rows),)}
        )

    return side(_some(prepared, np.flatnonzero(prepared.usable()))), side(_some(prepared, test))


def _some(prepared: Prepared, rows: Ints) -> Ints:
    """The photos of every k-th group, in the order of names: no more are looked at than `ensemble.shift.permutation` would."""
    names, number = np.unique(np.array([prepared.manifest.groups[row] for row in rows]), return_inverse=True)
    step = max(1, -(-len(names) * 2 // PHOTOS_COMPARED))
    kept: Ints = rows[number % step == 0]
    return kept


def _twins(prepared: Prepared) -> TwinGap | None:
    """The twin gap of the split, where probes have left features of all photos; nothing is computed for it."""
    if not prepared.paths.features.is_dir() or (known := known_features(prepared)) is None:
        return None
    sides = AskedTwins.of(prepared.manifest, prepared.usable(), known.table)
    return None if sides is None else sides.gap(prepared.folds.fold, groups_dealt(prepared.manifest, prepared.competition.split))


def _costs(own: _Gathering, pools: Mapping[Subtask, Pool]) -> dict[str, Cost]:
    """What all members cost that have all views: none else can be chosen."""
    if not (own.options.front or own.options.has_budget):
        return {}
    own.tell("measuring what members cost")
    members = [member for pool in pools.values() for member in pool.members[: pool.n_whole] if not member.imported]
    trials = sorted({trial for member in members for trial in member.trials})
    return measure_costs(own.prepared, [own.opened.trial(trial) for trial in trials], device=own.options.device)


def _all_data(own: _Gathering, pools: Mapping[Subtask, Pool]) -> AllData:
    members = [member for pool in pools.values() for member in pool.members[: pool.n_whole]]
    priors = {subtask: _prior(own.prepared, its[0], subtask, ALL_DATA) for subtask, its in own.subtasks.items()}
    return AllData(siblings_on_all_data(own.prepared.paths, members), priors)
