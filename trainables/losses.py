"""Losses: logits `(B, C)` and labels `(B,)` to one number; photos without a label (-1) do not count."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SMALLEST_DOUBT = 1e-8
Loss = Callable[..., Tensor]
"""`(logits (B, C), labels (B,) int64 >= 0, class weights (C,) or None) -> losses (B,)`.

A keyword parameter is a setting that belongs to this loss alone: a field of `TrialConfig` of that name, with its default here.
"""


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """The negative log-likelihood of the label."""
    return F.cross_entropy(logits, labels, weight=weights, reduction="none")


def smoothed(logits: Tensor, labels: Tensor, weights: Tensor | None, *, label_smoothing: float = 0.1) -> Tensor:
    """Cross-entropy against a target that gives `label_smoothing` to all classes evenly (Szegedy et al. 2016, section 7)."""
    return F.cross_entropy(logits, labels, weight=weights, reduction="none", label_smoothing=label_smoothing)


def focal(logits: Tensor, labels: Tensor, weights: Tensor | None, *, focal_gamma: float = 2.0) -> Tensor:
    """Cross-entropy times `(1 - p)^gamma`, so that easy photos count less (Lin et al. 2017, equation 4)."""
    log_p = F.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    # without the clamp, gamma below 1 has an infinite slope at p = 1, which makes the gradient NaN
    scale = (1 - log_p.exp()).clamp(min=SMALLEST_DOUBT) ** focal_gamma
    return -scale * log_p * (1.0 if weights is None else weights[labels])


def f1(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """One minus the soft macro-F1 of the batch: `2 TP / (2 TP + FP + FN)` per class with probabilities as counts, then the mean.

    The mean is over the classes that are in the batch: an absent one has no TP, so its F1 is 0 whatever the network says. A photo's
    loss is `1 - F1` of its class, shared evenly among the photos of that class, so that the mean over photos is the macro mean.
    Weights multiply the classes' terms of that mean, which counts classes evenly already. F1 is a number of the whole batch: small
    batches, and micro-batches (each is judged on its own), make it noisy.
    """
    probs, right = F.softmax(logits, dim=1), F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    counts = right.sum(dim=0)
    missed = 1 - 2 * (probs * right).sum(dim=0) / (probs.sum(dim=0) + counts).clamp(min=SMALLEST_DOUBT)
    share = len(labels) / ((counts > 0).sum() * counts.clamp(min=1)).clamp(min=1)
    each = (missed * share)[labels]
    return each if weights is None else each * weights[labels]


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "label_smoothing": smoothed, "focal": focal, "f1": f1}

CLASS_WEIGHTS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "none": lambda counts: np.ones_like(counts),
    "balanced": lambda counts: 1 / np.maximum(counts, 1),
    "sqrt": lambda counts: 1 / np.sqrt(np.maximum(counts, 1)),
}
"""Class counts `(C,)` -> weights `(C,)` up to a factor; `class_weights` scales them to a mean of 1 over the photos."""


def class_weights(name: str, labels: NDArray[np.int16], n_classes: int) -> Tensor | None:
    """The weight of each class `(C,) float32` with mean 1 over the labelled photos; `None` for `none`."""
    if name == "none":
        return None
    counts = np.bincount(labels[labels >= 0], minlength=n_classes).astype(np.float64)
    weights = np.where(counts > 0, CLASS_WEIGHTS[name](counts), 0.0)  # a class without photos must not be smoothed towards
    return torch.from_numpy((weights * counts.sum() / (weights * counts).sum()).astype(np.float32))


def joint_loss(
    logits: Tensor,
    labels: dict[str, Tensor],
    weights: dict[str, Tensor | None],
    *,
    heads: dict[str, int],
    loss: Loss,
    share: Tensor | None = None,
) -> Tensor:
    """The mean over heads of each head's mean loss over its labelled photos.

    Args:
        logits: `(B, sum of C)`, heads side by side in the order of `heads`.
        labels: Per head `(B,) int64`, -1 where there is none.
        weights: Per head `(C,)` or `None`.
        heads: Head -> number of classes C.
        loss: One of `LOSSES`, its own settings bound.
        share: `(B,)`: how much each photo's loss counts; all alike for `None`.
    """
    losses = []
    for head, part in split_heads(logits, heads).items():
        known = labels[head] >= 0
        each = loss(part[known].float(), labels[head][known], weights[head])
        each = each if share is None else each * share[known]
        losses.append(each.sum() / known.sum().clamp(min=1))
    return torch.stack(losses).mean()


def split_heads(logits: Tensor, heads: dict[str, int]) -> dict[str, Tensor]:
    """`(B, sum of C)` as one `(B, C)` per head, in order."""
    return dict(zip(heads, torch.split(logits, list(heads.values()), dim=1), strict=True))
