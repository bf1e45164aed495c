"""Schedulers: a space -> the Ray scheduler that stops trials of one target early. Ray is imported when one is asked for."""

from collections.abc import Callable
from typing import Any

from search_spaces import Space


def asha(space: Space) -> Any:
    """Asynchronous successive halving (Li et al. 2020) on the best score so far, with the space's rungs."""
    from ray.tune.schedulers import AsyncHyperBandScheduler

    return AsyncHyperBandScheduler(
        time_attr="epoch",
        metric="best_score",
        mode="max",
        max_t=space.max_epochs + 1,  # ASHA ends trials at max_t by itself; ours end when their planned epochs are done
        grace_period=space.grace_epochs,
        reduction_factor=space.reduction,
    )


def fifo(space: Space) -> Any:
    """Nobody is stopped."""
    from ray.tune.schedulers import FIFOScheduler

    return FIFOScheduler()


SCHEDULERS: dict[str, Callable[[Space], Any]] = {"asha": asha, "fifo": fifo}
