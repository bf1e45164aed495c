"""Mixing: photos of a batch are blended with one another, and each is asked for both labels by the share that it has of them.

Drawn from (seed, epoch, first photo of the batch), so loader workers and a resume change nothing. The last epochs see photos as they are,
as networks that end on blended ones are judged on photos that they never see (timm's `mixup_off_epoch`; He et al. 2019, section 4).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LAST_AS_THEY_ARE = 0.15
"""The share of the epochs, rounded, at whose end nothing is mixed."""


@dataclass(frozen=True)
class Mixed:
    """B photos of which each is blended with another of the batch.

    Attributes:
        images: `(B, 3, S, S)`, as those that were given.
        partner: `(B,) int64`: the position of the other one.
        share: `(B,) float32` in [0, 1]: how much of a photo is its own; the rest is its partner's.
    """

    images: Tensor
    partner: Tensor
    share: Tensor


Mix = Callable[..., Mixed]
"""`(images (B, 3, S, S), generator) -> Mixed`; a keyword parameter is a setting that belongs to this mix alone."""


def mixup(images: Tensor, chance: np.random.Generator, *, mix_alpha: float = 0.2) -> Mixed:
    """The weighted mean of two photos, the first weighted by Beta(alpha, alpha) (Zhang et al. 2018)."""
    partner, drawn = _partners(images, chance, mix_alpha)
    share = torch.from_numpy(drawn.astype(np.float32)).to(images.device)
    own = share.view(-1, 1, 1, 1)
    return Mixed(images * own + images[partner] * (1 - own), partner, share)


def cutmix(images: Tensor, chance: np.random.Generator, *, mix_alpha: float = 1.0) -> Mixed:
    """A rectangle of another photo in the same place; its area is 1 - Beta(alpha, alpha) before the borders cut it (Yun et al. 2019)."""
    partner, drawn = _partners(images, chance, mix_alpha)
    mixed, side, given = images.clone(), images.shape[-1], images[partner]
    centres = chance.integers(0, side, (len(images), 2))
    half = np.sqrt(1 - drawn) * side / 2
    low = np.clip(np.rint(centres - half[:, None]), 0, side).astype(int)
    high = np.clip(np.rint(centres + half[:, None]), 0, side).astype(int)
    for row, ((top, left), (bottom, right)) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        mixed[row, :, top:bottom, left:right] = given[row, :, top:bottom, left:right]
    share = 1 - np.prod(high - low, axis=1) / side**2
    return Mixed(mixed, partner, torch.from_numpy(share.astype(np.float32)).to(images.device))


def none(images: Tensor, chance: np.random.Generator) -> Mixed:
    """Every photo as it is."""
    own = torch.arange(len(images), device=images.device)
    return Mixed(images, own, torch.ones(len(images), device=images.device))


MIXES: dict[str, Mix] = {"none": none, "mixup": mixup, "cutmix": cutmix}


def is_mixed(epoch: int, epochs: int) -> bool:
    """Whether photos are mixed in this epoch, from 1, of so many.

    >>> [is_mixed(epoch, 6) for epoch in range(1, 7)]
    [True, True, True, True, True, False]
    """
    return epoch <= epochs - round(LAST_AS_THEY_ARE * epochs)


def chance_of(seed: int, epoch: int, image_id: str) -> np.random.Generator:
    """The generator for the batch that begins with this photo."""
    digest = hashlib.blake2b(f"mix/{seed}/{epoch}/{image_id}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def _partners(
    images: Tensor, chance: np.random.Generator, alpha: float
) -> tuple[Tensor, "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
    """Positions `(B,)` of a permutation, on the device of the photos, and shares `(B,)`."""
    partner = torch.from_numpy(chance.permutation(len(images))).to(images.device)
    return partner, chance.beta(alpha, alpha, len(images))
