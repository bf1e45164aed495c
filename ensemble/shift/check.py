"""Do the test photos come from elsewhere? What trials see, and how photos look, put to `ensemble.shift.adversarial_validation`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from competitions.manifest import LABEL
from ensemble.pool import Pool, Pools
from ensemble.shift.adversarial_validation import Evidence, Shift, compare_sides, judge
from ensemble.shift.reweight import matched_weights, shares_elsewhere
from ensemble.votes import Ints

Numbers = NDArray[np.float64]
SEEN_BY_TRIALS, LOOKS = "what the trials see", "light, colour and sharpness"
NO_PHOTOS = "the places that answer share no labelled photo"


def look_elsewhere(pools: Pools) -> Shift:
    """Compare labelled photos with test photos by two sources; no test photo has a label here.

    The trials are asked about photos that they did not learn from; looks need no network, so all labelled photos count.
    """
    if pools.seen is None or pools.looks is None:
        return judge({SEEN_BY_TRIALS: Evidence(0, 0, unknown="there are no test photos")})
    seen, looks = pools.seen, pools.looks
    labels, shares = _other_shares([pool for subtask, pool in pools.pools.items() if not subtask.where], seen[0].image_ids)
    seen = replace(seen[0], weights=matched_weights(labels, shares)), seen[1]
    if of_looks := {task: pools.labels_of(looks[0].image_ids, task) for task in shares if task != LABEL}:
        looks = replace(looks[0], weights=matched_weights(of_looks, {task: shares[task] for task in of_looks})), looks[1]
    evidence = {
        SEEN_BY_TRIALS: compare_sides(*seen, seed=0) if len(seen[0].image_ids) else Evidence(0, 0, unknown=NO_PHOTOS),
        LOOKS: compare_sides(*looks, seed=0),
    }
    return judge(evidence)


def shared_ids(pools: Sequence[Pool], without: Sequence[str] = ()) -> tuple[str, ...]:
    """Photos that all of these pools have, of the first fold, but for some."""
    shared = set(pools[0].image_ids) - set(without)
    for pool in pools:
        models = pool.candidates.models
        shared &= {i for at, i in enumerate(pool.image_ids) if models is None or models[at] == 0}
    return tuple(image_id for image_id in pools[0].image_ids if image_id in shared)


def _other_shares(pools: Sequence[Pool], ids: Sequence[str]) -> tuple[dict[str, Ints], dict[str, Numbers]]:
    """Per task the labels of labelled photos, and the class shares that the best trial finds in the test photos."""
    labels, shares = {}, {}
    for pool in pools:
        row_of, task = {image_id: row for row, image_id in enumerate(pool.image_ids)}, pool.subtask.task
        rows = np.array([row_of[image_id] for image_id in ids], dtype=np.int64)
        labels[task] = pool.candidates.labels[rows]
        shares[task] = shares_elsewhere(pool.candidates.probs[pool.best_trained or 0, 0, rows], labels[task], pool.test_probs[0])
    return labels, shares
