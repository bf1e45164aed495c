"""Augmentation policies: one photo `(S, S, 3) uint8` to another, drawn from (seed, epoch, image) and from nothing else.

So the number of loader workers, their order and a resume change nothing. Albumentations without a seed would replay one stream.
"""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations asks the network for its version at import otherwise

import hashlib
import warnings
from collections.abc import Callable
from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

cv2.setNumThreads(0)

Policy = Callable[[int], list[Any]]
"""Side in pixels -> albumentations transforms that keep `(S, S, 3) uint8`."""


def light(size: int) -> list[Any]:
    """Flip, a mild crop, a little light: what leaves nearly every competition's label alone."""
    return [
        A.HorizontalFlip(p=0.5),
        A.RandomResizedCrop(size=(size, size), scale=(0.75, 1.0), ratio=(0.9, 1.1), p=0.8),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    ]


def strong(size: int) -> list[Any]:
    """Harder crops, rotation, colour, blur and an erased patch (random erasing, Zhong et al. 2020)."""
    hole = (0.1, 0.3)
    return [
        A.HorizontalFlip(p=0.5),
        A.RandomResizedCrop(size=(size, size), scale=(0.5, 1.0), ratio=(0.8, 1.25), p=0.9),
        A.Rotate(limit=15, border_mode=cv2.BORDER_REFLECT_101, p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.3, contrast_limit=0.3, p=0.7),
        A.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=25, val_shift_limit=15, p=0.5),
        A.GaussianBlur(blur_limit=(3, 3), p=0.15),
        A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=hole, hole_width_range=hole, fill="random_uniform", p=0.5),
    ]


def crops(size: int) -> list[Any]:
    """Flip and a crop of half the photo or more: what fine-tuning published weights is mostly done with (Szegedy et al. 2015)."""
    return [A.HorizontalFlip(p=0.5), A.RandomResizedCrop(size=(size, size), scale=(0.5, 1.0), ratio=(0.8, 1.25))]


def shifts(size: int) -> list[Any]:
    """Flip and a shift by an eighth of the side, the border mirrored: for photos too small to be cut (He et al. 2016, section 4.2)."""
    padded = size + 2 * max(1, size // 8)
    return [
        A.HorizontalFlip(p=0.5),
        A.PadIfNeeded(min_height=padded, min_width=padded, border_mode=cv2.BORDER_REFLECT_101),
        A.RandomCrop(height=size, width=size),
    ]


AUGMENTATIONS: dict[str, Policy] = {"none": lambda size: [], "light": light, "strong": strong, "crops": crops, "shifts": shifts}


def compose(policy: str, size: int) -> A.Compose | None:
    """The policy as one callable, or `None` where it changes nothing.

    Raises:
        ValueError: A transform was given an argument it does not know (albumentations itself only warns).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            transforms = AUGMENTATIONS[policy](size)
        except UserWarning as warning:
            raise ValueError(f"augmentation {policy!r}: {warning}") from warning
    return A.Compose(transforms) if transforms else None


def image_seed(seed: int, epoch: int, image_id: str, showing: int = 0) -> int:
    """The 32-bit seed of one photo in one epoch; `showing` counts from 0 how often a sampler drew it before in this epoch."""
    salt = showing.to_bytes(hashlib.blake2b.SALT_SIZE, "little")
    digest = hashlib.blake2b(f"{seed}/{epoch}/{image_id}".encode(), digest_size=4, salt=salt).digest()
    return int.from_bytes(digest, "little")


def augment(transform: A.Compose, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """`image (S, S, 3) uint8` through the policy, drawn from `seed` alone."""
    transform.set_random_seed(seed)
    changed: NDArray[np.uint8] = transform(image=image)["image"]
    return changed
