"""What a space that looks at the data is told of them, and of the search: `search_spaces.Facts`."""

import statistics
from typing import Any

import numpy as np

from competitions.images.decode import BrokenImage, read_image
from competitions.prepare import Prepared, root_of
from competitions.targets import choose_targets, targets
from search.request import Request
from search_spaces import Facts, Space
from system.cores import usable_cores

LOOKED_AT = 48
"""So many training photos, evenly spaced by their ids, say how large photos are; decoding them takes a tenth of a second."""


def told(space: Space, request: Request, prepared: Prepared, former: dict[str, Any]) -> Space:
    """The space for these data: by the facts that the study's plan keeps, else by those of today. Others are as they were."""
    if space.asked is None:
        return space
    return space.with_facts(Facts.from_json(former["facts"]) if former.get("facts") else facts_of(request, prepared))


def facts_of(request: Request, prepared: Prepared) -> Facts:
    """What is known before anything is trained; the machine's cores are those that this process may use."""
    competition = prepared.competition
    asked = choose_targets(competition, request.targets)
    sides = [tuple(len(side) for side in prepared.rows(target, request.fold)) for target in asked]
    cores = max(1, usable_cores().n // request.cpus_per_trial)
    gpus = max(1, int(1 / request.gpus_per_trial)) if request.gpus_per_trial else 0
    return Facts(
        side=_side(prepared),
        image_size=competition.image_size,
        n_train=max(train for train, _ in sides),
        n_judged=max(judged for _, judged in sides),
        n_test=len(prepared.manifest.rows("test")),
        metric=competition.metric,
        tasks=tuple(competition.tasks),
        heads={name: tuple(one.heads) for name, one in targets(competition).items() if not one.where},
        n_targets=len(asked) if request.targets else 0,
        hours=request.hours,
        gpu=request.gpus_per_trial > 0,
        at_once=gpus or cores,
    )


def _side(prepared: Prepared) -> int:
    """The median of the shorter side of some training photos; the competition's own size where none can be read."""
    manifest, root = prepared.manifest, root_of(prepared.competition, prepared.paths)
    rows = sorted(manifest.rows("train").tolist(), key=lambda row: manifest.image_ids[row])
    found = []
    for place in np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).astype(int):
        try:
            found.append(min(read_image(root, manifest.paths[rows[place]], prepared.bits).shape[:2]))
        except BrokenImage:
            continue
    return int(statistics.median_low(found)) if found else prepared.competition.image_size
