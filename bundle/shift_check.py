"""Do the test photos come from elsewhere? What trials see, and how photos look, put to `ensemble.shift.adversarial_validation`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bundle.members import complete, kept_predictions
from bundle.pool import IDENTITY, TEST, VALIDATION, Pool
from competitions.images.statistics import looks
from competitions.prepare import Prepared
from ensemble.align import align
from ensemble.label.cascade import Subtask
from ensemble.parallel import in_processes
from ensemble.shift.adversarial_validation import Evidence, Shift, blocks_of, compare_sides, judge
from ensemble.shift.permutation import MOST_PHOTOS, Side
from ensemble.shift.reweight import matched_weights, shares_elsewhere
from ensemble.votes import Floats, Ints
from trainables.prediction import FEATURES

Numbers = NDArray[np.float64]
TRIALS, LOOKS = "what the trials see", "light, colour and sharpness"
NO_PHOTOS = "the places that answer share no labelled photo"
SEEN_BY = 4
"""Trials that are asked, shared among the places, one of each at least; the median decides."""


def look_elsewhere(prepared: Prepared, pools: Mapping[Subtask, Pool], device: str, seed: int = 0, *, processes: int = 1) -> Shift:
    """Compare labelled photos with test photos by two sources; no test photo has a label here.

    The trials are asked about photos of the fold that they did not learn from (of several folds the first); looks need no network, so
    all labelled photos count.
    """
    test = _decoded(prepared, prepared.manifest.rows("test"))
    if not len(test):
        return judge({TRIALS: Evidence(0, 0, unknown="there are no test photos")})
    plain = [pool for subtask, pool in pools.items() if not subtask.where]
    each = max(1, SEEN_BY // len(plain))
    options = {pool.subtask.task: [m.trials[0] for m in pool.members[: pool.n_whole] if not m.imported][:each] for pool in plain}
    complete(prepared, {trial: [IDENTITY] for trials in options.values() for trial in trials}, (TEST,), device)
    ids = _shared_ids(prepared, plain)
    test_ids = [prepared.manifest.image_ids[row] for row in test]
    labels, shares = _other_shares(prepared, plain, ids, test_ids)
    seen = {
        part: {
            f"{task}/{trial}": _blocks(prepared, trial, task, part, some) for task, trials in options.items() for trial in trials
        }
        for part, some in ((VALIDATION, ids), (TEST, test_ids))
    }
    groups = dict(zip(prepared.manifest.image_ids, prepared.manifest.groups, strict=True))
    sides = [
        Side(some, [groups[i] for i in some], seen[part], weights)
        for part, some, weights in ((VALIDATION, ids, matched_weights(labels, shares)), (TEST, test_ids, None))
    ]
    seem = _looks(prepared, shares, test)

    def compare() -> dict[str, Evidence]:
        return {
            TRIALS: compare_sides(sides[0], sides[1], seed=seed) if ids else Evidence(0, 0, unknown=NO_PHOTOS),
            LOOKS: compare_sides(*seem, seed=seed),
        }

    return judge(in_processes(processes, compare))


def _shared_ids(prepared: Prepared, pools: Sequence[Pool]) -> list[str]:
    """Photos that all places have, of the first fold, decoded."""
    first: set[str] = set(pools[0].image_ids) - set(prepared.broken)
    for pool in pools:
        models = pool.candidates.models
        first &= {i for at, i in enumerate(pool.image_ids) if models is None or models[at] == 0}
    return [image_id for image_id in pools[0].image_ids if image_id in first]


def _other_shares(
    prepared: Prepared, pools: Sequence[Pool], ids: Sequence[str], test_ids: Sequence[str]
) -> tuple[dict[str, Ints], dict[str, Numbers]]:
    """Per task the labels of labelled photos, and the class shares that the best trial finds in the test photos."""
    labels, shares = {}, {}
    for pool in pools:
        seat, task = {image_id: at for at, image_id in enumerate(pool.image_ids)}, pool.subtask.task
        rows = np.array([seat[image_id] for image_id in ids], dtype=np.int64)
        at, trial = next((n, m.trials[0]) for n, m in enumerate(pool.members) if not m.imported)
        there = align(test_ids, *kept_predictions(prepared.paths, trial).read(TEST, task, IDENTITY), member=trial)
        labels[task] = pool.candidates.labels[rows]
        shares[task] = shares_elsewhere(pool.candidates.probs[at, 0, rows], labels[task], there)
    return labels, shares


def _looks(prepared: Prepared, shares: Mapping[str, Numbers], test: Ints) -> tuple[Side, Side]:
    manifest, images = prepared.manifest, prepared.cache(prepared.competition.image_size).images
    labelled, test = (_some(prepared, rows) for rows in (np.flatnonzero(prepared.usable()), test))
    sides = [
        Side(
            [manifest.image_ids[row] for row in rows],
            [manifest.groups[row] for row in rows],
            {"looks": (looks(images, rows),)},
        )
        for rows in (labelled, test)
    ]
    labels = {task: manifest.labels[task][labelled].astype(np.int64) for task in shares if task in manifest.labels}
    weights = matched_weights(labels, {task: shares[task] for task in labels}) if labels else None
    return replace(sides[0], weights=weights), sides[1]


def _some(prepared: Prepared, rows: Ints) -> Ints:
    """The photos of every k-th group, in the order of names: no more are looked at than `ensemble.shift.permutation` would."""
    names, subtask = np.unique(np.array([prepared.manifest.groups[row] for row in rows]), return_inverse=True)
    step = max(1, -(-len(names) * 2 // MOST_PHOTOS))
    kept: Ints = rows[subtask % step == 0]
    return kept


def _blocks(prepared: Prepared, trial: str, task: str, part: str, ids: Sequence[str]) -> tuple[Floats, ...]:
    kept = kept_predictions(prepared.paths, trial)
    features, probs = (align(ids, *kept.read(part, head, IDENTITY), member=trial) for head in (FEATURES, task))
    return blocks_of(features, {task: probs})


def _decoded(prepared: Prepared, rows: NDArray[np.integer]) -> Ints:
    ids = prepared.manifest.image_ids
    return np.array([row for row in rows if ids[row] not in prepared.broken], dtype=np.int64)
