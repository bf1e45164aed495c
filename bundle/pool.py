"""The pool: from trials that may vote to candidates of cached probabilities that a choice can be made on.

Targets of every kind fill it alike: each head of a trial is a candidate for the subtask it answers (a task, the composed label, a task
for some answers of another), and candidates of one subtask are compared on the photos they share. A member is one trial, or with all
folds the trials of one configuration and seed, each judged on the photos of its own fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundle.members import OpenedMember, are_whole, complete
from bundle.opened import VALIDATION, Opened
from competitions.manifest import IDENTITY
from competitions.metrics import metric_of
from competitions.prepare import Prepared
from competitions.targets import Target
from ensemble.align import align, shared_photos
from ensemble.label.cascade import Subtask
from ensemble.pool import Pool
from ensemble.selection.candidates import Candidates
from ledger.predictions import OUTSIDE
from system.errors import UserError

MOST_BYTES = 1 << 30
"""Of the candidates' probabilities: members that only want to be ranked are left out beyond it, the worst first."""


def subtasks_of(prepared: Prepared, targets: Sequence[Target]) -> dict[Subtask, list[Target]]:
    """What the heads of these targets answer, and which of the targets answer it."""
    found: dict[Subtask, list[Target]] = {}
    for target in targets:
        names = {task: prepared.competition.classes(task) for task in target.where}
        where = tuple((task, tuple(names[task][number] for number in numbers)) for task, numbers in sorted(target.where.items()))
        for head in target.heads:
            found.setdefault(Subtask(head, where), []).append(target)
    return found


def load_pool(
    opened: Opened,
    subtask: Subtask,
    targets: Sequence[Target],
    members: Sequence[OpenedMember],
    *,
    folds: Sequence[int],
    views: Sequence[str],
    n_whole: int,
    device: str,
) -> Pool:
    """The candidates of all members that answer one subtask: ranked through the identity, the first `n_whole` then through all views.

    Raises:
        UserError: They share no photo of the folds with a label.
    """
    prepared, named = opened.prepared, [target.name for target in targets]
    photos = _shared_photos(opened, targets, members, folds, subtask)
    labels = prepared.labels(targets[0])[subtask.task][photos.rows].astype(np.int64)
    known, metric = labels >= 0, targets[0].metric
    if not known.any():
        listed = ", ".join(map(str, folds))
        raise UserError(
            f"fold {listed} has no photo with a label for {subtask} that all of its targets share; give another --fold"
        )
    if subtask.where:  # what a fold holds outside of a subset is not cached while training, so not everybody is ranked
        first = [one for name in named for one in [other for other in members if other.member.target == name][:n_whole]]
        members = [*first, *(one for one in members if one.member.imported)]
    identity = _identities(opened, members, subtask, photos, device)
    scores = {name: metric_of(metric)(probs[known], labels[known]) for name, probs in identity.items()}
    ranked = sorted(members, key=lambda member: (-scores[member.name], member.name))
    whole, damaged = are_whole([one for one in ranked if not one.member.imported], n_whole)
    complete(opened, {trial: views for member in whole for trial in member.trials}, (VALIDATION, OUTSIDE), device)
    voting = [one for one in ranked if one in whole or one.member.imported]
    if not whole:
        raise UserError(f"no trial that answers {subtask} has whole weights; the log names them")
    each = len(views) * identity[voting[0].name].nbytes
    others = [member for member in ranked if member not in voting and member not in damaged]
    kept = (*voting, *others[: max(0, MOST_BYTES // each - len(voting))])
    probs = np.empty((len(kept), len(views), *identity[kept[0].name].shape), dtype=np.float16)
    for number, member in enumerate(kept):
        probs[number] = identity.pop(member.name)
        for at, view in enumerate(views if member in whole else ()):
            if view != IDENTITY:
                probs[number, at] = _rows(opened, member, subtask, view, photos)
    candidates = Candidates(
        members=tuple(member.name for member in kept),
        views=tuple(views),
        probs=probs,
        labels=labels,
        groups=np.array([prepared.manifest.groups[row] for row in photos.rows]),
        metric=metric,
        models=photos.models if len(folds) > 1 else None,
        width=len(whole),
        always=frozenset(number for number, member in enumerate(kept) if member.member.imported),
    )
    scores_of = tuple(scores[one.name] for one in kept)
    return Pool(subtask, candidates, tuple(one.member for one in kept), scores_of, photos.ids, len(voting))


@dataclass(frozen=True)
class _Photos:
    """N photos: ids, row numbers in the manifest, and the position of each one's fold."""

    ids: tuple[str, ...]
    rows: NDArray[np.int64]
    models: NDArray[np.int64]


def _shared_photos(
    opened: Opened, targets: Sequence[Target], members: Sequence[OpenedMember], folds: Sequence[int], subtask: Subtask
) -> _Photos:
    """The photos of the folds that all targets ask about and all imports answer."""
    prepared = opened.prepared
    ids = prepared.manifest.image_ids
    asked = {target.name: np.concatenate([fold_rows(prepared, target, fold) for fold in folds]) for target in targets}
    having = {name: [ids[row] for row in rows] for name, rows in asked.items()}
    imports = [one.member for one in members if one.member.imported]
    imported = {one.imported: opened.rows_of_import(one.name, VALIDATION, subtask.task)[0] for one in imports}
    shared = set(shared_photos({**having, **imported}))
    rows = np.array([row for row in np.sort(asked[targets[0].name]) if ids[row] in shared], dtype=np.int64)
    position = {fold: at for at, fold in enumerate(folds)}
    models = np.array([position[int(fold)] for fold in prepared.folds.fold[rows]], dtype=np.int64)
    return _Photos(tuple(ids[row] for row in rows), rows, models)


def _identities(
    opened: Opened, members: Sequence[OpenedMember], subtask: Subtask, photos: _Photos, device: str
) -> dict[str, NDArray[np.float16]]:
    """What members say through the identity; what cannot be read is computed again."""
    found, lost = {}, []
    for member in members:
        try:
            found[member.name] = _rows(opened, member, subtask, IDENTITY, photos)
        except (OSError, ValueError):
            lost.append(member)
    complete(opened, {trial: [IDENTITY] for member in lost for trial in member.trials}, (VALIDATION, OUTSIDE), device)
    return found | {member.name: _rows(opened, member, subtask, IDENTITY, photos) for member in lost}


def fold_rows(prepared: Prepared, target: Target, fold: int) -> NDArray[np.int64]:
    """The photos of a fold that are asked about: of a target on a subset those outside of it too, which may be taken for some of it."""
    _, validation = prepared.rows(target, fold)
    return np.union1d(validation, prepared.outside(target, fold)) if target.where else validation


def _rows(opened: Opened, member: OpenedMember, subtask: Subtask, view: str, photos: _Photos) -> NDArray[np.float16]:
    """A member's probabilities `(N, C)`: of each photo those of the trial that did not learn from its fold."""
    if member.member.imported:
        have, probs = opened.rows_of_import(member.name, VALIDATION, subtask.task)
        return align(photos.ids, have, probs.astype(np.float16), member=member.member.imported)
    parts = []
    for at, trial in enumerate(member.opened):
        have, probs = trial.predictions.read(VALIDATION, subtask.task, view)
        if subtask.where:
            more, outside = trial.predictions.read(OUTSIDE, subtask.task, view)
            have, probs = (*have, *more), np.concatenate([probs, outside])
        here = np.flatnonzero(photos.models == at)
        wanted = photos.ids if len(here) == len(photos.ids) else [photos.ids[n] for n in here]
        parts.append((here, align(wanted, have, probs, member=trial.folder.id)))
    found = np.empty((len(photos.ids), parts[0][1].shape[1]), dtype=np.float16)
    for here, rows in parts:
        found[here] = rows
    return found
