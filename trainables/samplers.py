"""Samplers: from the labels of the photos a trial learns from to how likely each is drawn.

`none` shows every photo once per epoch, in a new order. The others draw as many photos as there are, with replacement, so an epoch
has the same number of steps and a rare class is shown more often than it has photos.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Sampler = Callable[[Mapping[str, NDArray[np.int16]]], NDArray[np.float64] | None]
"""Head -> labels `(n,)`, -1 where unknown, to the chances `(n,)` up to a factor; `None` shows every photo once."""


def by_frequency(labels: Mapping[str, NDArray[np.int16]], power: float) -> NDArray[np.float64]:
    """The mean over heads of `1 / frequency^power` of the photo's class, each head scaled to a mean of 1 over its labelled photos.

    A photo without a label in a head counts 1 there. The mean, not the product: two rare labels on one photo do not multiply. With
    one head and power 1 every class is drawn equally often; with several heads that holds for none of them exactly.
    """
    mean: NDArray[np.float64] = np.mean([_of_one_head(head, power) for head in labels.values()], axis=0)
    return mean


SAMPLERS: dict[str, Sampler] = {
    "none": lambda labels: None,
    "balanced": lambda labels: by_frequency(labels, 1.0),
    "sqrt": lambda labels: by_frequency(labels, 0.5),
}


def chances(name: str, labels: Mapping[str, NDArray[np.int16]]) -> NDArray[np.float64] | None:
    """The chance `(n,) float64` of each training photo at every draw, summing to 1; `None` where each is shown once per epoch."""
    drawn = SAMPLERS[name](labels)
    return None if drawn is None else drawn / drawn.sum()


def _of_one_head(labels: NDArray[np.int16], power: float) -> NDArray[np.float64]:
    known = labels >= 0
    weights = np.ones(len(labels))
    if known.any():
        weights[known] = (np.bincount(labels[known]) + 0.0)[labels[known]] ** -power
        weights[known] /= weights[known].mean()
    return weights
