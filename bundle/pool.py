"""The pool: from the ledger's finished trials to arrays of cached probabilities that a choice can be made on.

Targets of every kind fill it alike: each head of a trial is a candidate for the place it answers (a task, the composed label, a task
for some answers of another), and candidates of one place are compared on the photos they share.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS
from competitions.prepare import Prepared
from competitions.targets import Target
from ensemble.cascade import Place
from ensemble.plan import Probs
from ensemble.voters import Rows, align, shared_photos
from ledger.errors import UserError
from ledger.mending import readable_record
from ledger.paths import CompetitionPaths
from ledger.predictions import OUTSIDE, PARTS, Predictions
from ledger.progress import Counting
from ledger.query import best_trials, count_finished
from ledger.quota import weights_of
from ledger.trials import TrialFolder
from trainables.attach import complete_trial, is_complete
from trainables.best_weights import best_is_whole, lost_weights
from trainables.training import best_predictions

log = logging.getLogger("podium.bundle")
WIDTH = 3
"""The pool holds this many times as many members as are asked for: what could be chosen in a resample."""
VALIDATION, TEST = PARTS

Trials = Mapping[str, Sequence[str]]
"""Target name -> ids of its best finished trials."""


@dataclass(frozen=True)
class Pool:
    """The best trials that answer one place, with their cached probabilities on the fold's photos.

    Attributes:
        place: What they answer.
        metric: What they are judged in.
        members: M trial ids, best first.
        scores: Their M validation scores for this place.
        views: V view names, the identity first.
        image_ids: N photos of the fold, in manifest order; for a place with a condition those outside of it as well.
        labels: `int64 (N,)`, -1 where there is none, or the condition does not hold.
        groups: N group names.
        probs: `float16 (M, V, N, C)`.
    """

    place: Place
    metric: str
    members: tuple[str, ...]
    scores: tuple[float, ...]
    views: tuple[str, ...]
    image_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    probs: NDArray[np.float16]


def places_of(prepared: Prepared, targets: Sequence[Target]) -> dict[Place, list[Target]]:
    """What the heads of these targets answer, and which of the targets answer it."""
    found: dict[Place, list[Target]] = {}
    for target in targets:
        names = {task: prepared.competition.classes(task) for task in target.where}
        where = tuple((task, tuple(names[task][number] for number in numbers)) for task, numbers in sorted(target.where.items()))
        for head in target.heads:
            found.setdefault(Place(head, where), []).append(target)
    return found


def find_trials(prepared: Prepared, targets: Sequence[Target], *, k: int, fold: int, study: str | None) -> dict[str, list[str]]:
    """Per target the ids of its best finished trials that have their weights, `WIDTH` times `k` of them.

    What votes has to be exported, so a trial whose weights were dropped does not vote, however complete its cached predictions are.

    Raises:
        UserError: Targets without a finished trial; all are named.
    """
    chosen = {
        target.name: _whole(
            prepared,
            best_trials(prepared.paths, target.name, prepared.data_fingerprint(target), fold, target.metric, study=study),
            WIDTH * k,
        )
        for target in targets
    }
    empty = [name for name, trials in chosen.items() if not trials]
    if empty:
        split = prepared.competition.split.name
        where = f" in study {study!r}" if study else ""
        there = ", ".join(f"{name} ({n})" for name, n in sorted(count_finished(prepared.paths).items()))
        raise UserError(
            f"no finished trial of {', '.join(empty)} on fold {fold} of split {split!r}{where} for these data (finished trials "
            f"there: {there or 'none'}; --targets chooses among them); run: "
            f"python run_search.py {prepared.competition.name} --split {split} --targets {','.join(empty)}"
        )
    return chosen


def complete(prepared: Prepared, trials: Sequence[str], parts: Sequence[str], device: str) -> None:
    """Compute what is missing of these parts, one trial per core: each trial's own thread count is part of its bits."""
    views = prepared.competition.views
    folders = [_folder(prepared.paths, trial) for trial in dict.fromkeys(trials)]
    missing = [folder for folder in folders if not is_complete(prepared, folder, views, parts=parts)]
    if not missing:
        return
    show = Counting("computing views of trials")
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if device == "cpu" else 1) as pool:
        tasks = [pool.submit(complete_trial, prepared, folder, views, parts=parts, device=device) for folder in missing]
        for done, task in enumerate(tasks, start=1):
            task.result()
            show(done, len(tasks))


def _whole(prepared: Prepared, found: Sequence[tuple[str, float]], most: int) -> list[str]:
    """The first `most` of (trial, score) whose weights are whole; damaged ones are named, dropped ones told in one line.

    Raises:
        UserError: There are trials, and not one has its weights.
    """
    kept: list[str] = []
    bare = [trial for trial, _ in found if not any(path.exists() for path in weights_of(_folder(prepared.paths, trial)))]
    waiting = [trial for trial, _ in found if trial not in set(bare)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        while waiting and len(kept) < most:
            some, waiting = waiting[: most - len(kept)], waiting[most - len(kept) :]
            for folder, whole in zip(
                some, pool.map(lambda trial: best_is_whole(_folder(prepared.paths, trial)), some), strict=True
            ):
                if whole:
                    kept.append(folder)
                else:
                    log.warning("%s", lost_weights(_folder(prepared.paths, folder)))
    if bare and not kept:
        raise UserError(lost_weights(_folder(prepared.paths, bare[0])))
    if left_out := [trial for trial, _ in found[:most] if trial in set(bare)]:
        first = lost_weights(_folder(prepared.paths, left_out[0]))
        log.warning("%d trials have no weights and are left out of the choice: %s", len(left_out), first)
    return kept


def load_pool(prepared: Prepared, place: Place, targets: Sequence[Target], trials: Trials, fold: int) -> Pool:
    """The arrays of all trials that answer one place, brought together by ids, best first.

    Raises:
        UserError: The targets share no photo of the fold with a label.
    """
    manifest, views = prepared.manifest, prepared.competition.views
    rows = {image_id: row for row, image_id in enumerate(manifest.image_ids)}
    asked = {target.name: _fold_rows(prepared, target, fold) for target in targets}
    shared = set(shared_photos({name: [manifest.image_ids[r] for r in found] for name, found in asked.items()}))
    ids = tuple(manifest.image_ids[row] for row in asked[targets[0].name] if manifest.image_ids[row] in shared)
    taken = np.array([rows[image_id] for image_id in ids], dtype=np.int64)
    labels = prepared.labels(targets[0])[place.task][taken].astype(np.int64)
    found = {
        trial: np.stack([_read(prepared, target, trial, place.task, view, ids) for view in views])
        for target in targets
        for trial in trials[target.name]
    }
    metric, known = targets[0].metric, labels >= 0
    if not known.any():
        raise UserError(f"fold {fold} has no photo with a label for {place} that all of its targets share; give another --fold")
    scores = {trial: METRICS[metric](probs[0][known], labels[known]) for trial, probs in found.items()}
    order = sorted(found, key=lambda trial: (-scores[trial], trial))
    return Pool(
        place=place,
        metric=metric,
        members=tuple(order),
        scores=tuple(scores[trial] for trial in order),
        views=views,
        image_ids=ids,
        labels=labels,
        groups=tuple(manifest.groups[row] for row in taken),
        probs=np.stack([found[trial] for trial in order]),
    )


def cached_test_probs(paths: CompetitionPaths, keys: Sequence[tuple[str, str, str]]) -> Probs:
    """(trial_id, head, view) -> ids and cached test probabilities `(N, C)` of these voters."""
    return {(trial, head, view): _kept(paths, trial).read(TEST, head, view) for trial, head, view in keys}


def _fold_rows(prepared: Prepared, target: Target, fold: int) -> NDArray[np.int64]:
    _, validation = prepared.rows(target, fold)
    return np.union1d(validation, prepared.outside(target, fold)) if target.where else validation


def _read(prepared: Prepared, target: Target, trial: str, head: str, view: str, ids: tuple[str, ...]) -> NDArray[np.float16]:
    kept = _kept(prepared.paths, trial)
    have, probs = kept.read(VALIDATION, head, view)
    if target.where:
        have, probs = _joined((have, probs), kept.read(OUTSIDE, head, view))
    aligned: NDArray[np.float16] = align(ids, have, probs, member=trial)
    return aligned


def _joined(inside: tuple[tuple[str, ...], NDArray[np.float16]], outside: Rows) -> tuple[tuple[str, ...], NDArray[np.float16]]:
    return (*inside[0], *outside[0]), np.concatenate([inside[1], outside[1]]).astype(np.float16)


def _kept(paths: CompetitionPaths, trial: str) -> Predictions:
    folder = _folder(paths, trial)
    record = readable_record(folder)
    assert record is not None, "a pool's trial has a record: the pool was read from it"
    return best_predictions(folder, record)


def _folder(paths: CompetitionPaths, trial: str) -> TrialFolder:
    return TrialFolder(paths.trials / trial)
