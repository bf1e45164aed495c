"""The last layer of all heads, fitted on features of a trial's training photos: a probe's, or the beginning of one that is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from trainables.config import TrialConfig
from trainables.losses import class_weights
from trainables.probes.features import PhotoFeatures
from trainables.probes.heads import USUAL_SCALING, fit_head

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights `(sum of C, D)` and bias `(sum of C,)`, heads side by side in the order of the configuration's."""


def fit_layer(
    config: TrialConfig,
    features: PhotoFeatures,
    rows: NDArray[np.int64],
    labels: Mapping[str, NDArray[np.int16]],
    deep: NDArray[np.float32],
    *,
    probe: str,
    scaling: str = USUAL_SCALING,
    settings: Mapping[str, Any] | None = None,
) -> Layer:
    """Fit it.

    Args:
        config: The trial's.
        features: Who knows the groups of photos.
        rows: `(n,)`: the training photos among all N.
        labels: Head -> `(N,)`, -1 where there is none.
        deep: `(n, D)`: their features.
        probe: One of `PROBES`.
        scaling: One of `SCALINGS`.
        settings: The probe's keyword parameters; its own defaults for `None`.
    """
    groups: Sequence[str] = [features.groups[row] for row in rows]
    parts = []
    with threadpool_limits(config.threads):
        for head, n_classes in config.heads.items():
            even = class_weights(config.class_weights, labels[head][rows], n_classes)
            parts.append(
                fit_head(
                    probe,
                    deep,
                    labels[head][rows].astype(np.int64),
                    n_classes=n_classes,
                    class_weights=None if even is None else even.numpy(),
                    scaling=scaling,
                    groups=groups,
                    settings=dict(settings or {}),
                )
            )
    return np.concatenate([weights for weights, _ in parts]), np.concatenate([bias for _, bias in parts])
