"""The pool: from the ledger's finished trials to arrays of cached probabilities that a choice can be made on."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competitions.prepare import Prepared
from competitions.targets import Target
from ensemble.plan import Probs
from ensemble.voters import align
from ledger.errors import UserError
from ledger.paths import CompetitionPaths
from ledger.predictions import PARTS
from ledger.progress import Counting
from ledger.query import best_trials
from ledger.trials import TrialFolder
from trainables.attach import complete_trial, is_complete
from trainables.training import best_predictions

WIDTH = 3
"""The pool holds this many times as many members as are asked for: what could be chosen in a resample."""


@dataclass(frozen=True)
class Pool:
    """The best finished trials of one target with their cached validation probabilities.

    Attributes:
        target: What they answer.
        members: M trial ids, best first.
        scores: Their M validation scores.
        views: V view names, the identity first.
        image_ids: The N validation photos, in manifest order.
        labels: `int64 (N,)`, -1 where the target has no label.
        groups: N group names.
        probs: `float16 (M, V, N, C)`.
        prior: `(C,)` class shares of the training photos.
    """

    target: Target
    members: tuple[str, ...]
    scores: tuple[float, ...]
    views: tuple[str, ...]
    image_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    probs: NDArray[np.float16]
    prior: NDArray[np.float64]


def complete_pool(
    prepared: Prepared, targets: Sequence[Target], *, k: int, fold: int, study: str | None, device: str = "cpu"
) -> dict[str, list[tuple[str, float]]]:
    """Per target its best finished trials (id, score), with every missing prediction computed: test for the first k, validation for all.

    Raises:
        UserError: Targets without a finished trial; all are named.
    """
    chosen = {
        target.name: best_trials(
            prepared.paths, target.name, prepared.data_fingerprint(target), fold, target.metric, study=study
        )[: WIDTH * k]
        for target in targets
    }
    empty = [name for name, trials in chosen.items() if not trials]
    if empty:
        split = prepared.competition.split.name
        where = f" in study {study!r}" if study else ""
        raise UserError(
            f"no finished trial of {', '.join(empty)} on fold {fold} of split {split!r}{where} for these data; run: "
            f"python run_search.py {prepared.competition.name} --split {split} --targets {','.join(empty)}"
        )
    jobs = [(trial, PARTS if place < k else PARTS[:1]) for trials in chosen.values() for place, (trial, _) in enumerate(trials)]
    _complete(prepared, jobs, device)
    return chosen


def load_pool(prepared: Prepared, target: Target, trials: Sequence[tuple[str, float]], fold: int) -> Pool:
    """The arrays of one target's trials, aligned by ids."""
    views = prepared.competition.views
    training, validation = prepared.rows(target, fold)
    manifest, (head,) = prepared.manifest, target.heads
    ids = tuple(manifest.image_ids[row] for row in validation)
    probs = [[_read(prepared, trial, "validation", head, view, ids) for view in views] for trial, _ in trials]
    return Pool(
        target=target,
        members=tuple(trial for trial, _ in trials),
        scores=tuple(score for _, score in trials),
        views=views,
        image_ids=ids,
        labels=manifest.labels[head][validation].astype(np.int64),
        groups=tuple(manifest.groups[row] for row in validation),
        probs=np.array(probs, dtype=np.float16),
        prior=prepared.priors(target.heads, training)[head],
    )


def cached_test_probs(paths: CompetitionPaths, voters: Sequence[tuple[str, str]], head: str) -> Probs:
    """(trial_id, view) -> ids and cached test probabilities `(N, C)` of these voters."""
    found = {}
    for trial, view in voters:
        folder = TrialFolder(paths.trials / trial)
        record = folder.record()
        assert record is not None, "a voter's trial has a record: the pool was read from it"
        found[trial, view] = best_predictions(folder, record).read("test", head, view)
    return found


def _read(prepared: Prepared, trial: str, part: str, head: str, view: str, ids: tuple[str, ...]) -> NDArray[np.float16]:
    folder = TrialFolder(prepared.paths.trials / trial)
    record = folder.record()
    assert record is not None, "a pool's trial has a record: the pool was read from it"
    have, probs = best_predictions(folder, record).read(part, head, view)
    aligned: NDArray[np.float16] = align(ids, have, probs, member=trial)
    return aligned


def _complete(prepared: Prepared, jobs: Sequence[tuple[str, Sequence[str]]], device: str) -> None:
    """Compute what is missing, one trial per core: each trial's own thread count is part of its bits."""
    views, trials = prepared.competition.views, prepared.paths.trials
    missing = [(trial, parts) for trial, parts in jobs if not is_complete(prepared, _folder(trials, trial), views, parts=parts)]
    if not missing:
        return
    import os

    show = Counting("computing views of trials")
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if device == "cpu" else 1) as pool:
        tasks = [
            pool.submit(complete_trial, prepared, _folder(trials, trial), views, parts=parts, device=device)
            for trial, parts in missing
        ]
        for done, task in enumerate(tasks, start=1):
            task.result()
            show(done, len(tasks))


def _folder(trials: Path, trial: str) -> TrialFolder:
    return TrialFolder(trials / trial)
