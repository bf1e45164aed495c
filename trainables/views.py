"""Views: test-time transforms of a batch `(B, 3, S, S) float32` in [0, 1] to one of the same shape and range.

Plain torch operations, so that the trial that caches predictions and the bundle that is handed to a stranger share every bit. The two that
need a histogram, `clahe` and `equalize`, are OpenCV's, on 8-bit copies on the CPU, so that every device gives the same bits as well.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from system.errors import UserError, unknown

Pixels = NDArray[np.uint8]
View = Callable[[Tensor], Tensor]


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn counter-clockwise about the centre; the border reflects."""
    return _affine(images, scale=1.0, degrees=degrees)


def zoom(images: Tensor, factor: float) -> Tensor:
    """Show the middle `1 / factor` of the photo at full size; a factor below 1 shows more, the border reflects."""
    return _affine(images, scale=1 / factor, degrees=0.0)


def crop(images: Tensor, share: float, *, side: float) -> Tensor:
    """Show a share of width and height at full size: at the left where `side` is -1, in the middle at 0, at the right at 1."""
    return _affine(images, scale=share, degrees=0.0, right=side * (1 - share))


def shift(images: Tensor, share: float) -> Tensor:
    """Move the content sideways by a share of the width, to the right where it is positive; the border repeats."""
    pixels = max(1, round(abs(share) * images.shape[-1]))
    padded = F.pad(images, (pixels, pixels, 0, 0), mode="replicate")
    start = 0 if share > 0 else 2 * pixels
    return padded[..., start : start + images.shape[-1]]


def light(images: Tensor, factor: float) -> Tensor:
    """Multiply all channels and cut at 1."""
    return (images * factor).clamp(0, 1)


def clahe(images: Tensor) -> Tensor:
    """Contrast evened out tile by tile, on the lightness of Lab.

    Zuiderveld 1994, "Contrast limited adaptive histogram equalization"; clip limit 2, 8 x 8 tiles, fewer where a tile would be
    smaller than 16 pixels: a histogram of 64 pixels is noise.
    """
    import cv2

    tiles = max(1, min(8, images.shape[-1] // 16))
    even = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(tiles, tiles))
    return _each(images, lambda photo: _in_first_channel(photo, cv2.COLOR_RGB2LAB, even.apply, cv2.COLOR_LAB2RGB))


def equalize(images: Tensor) -> Tensor:
    """Luminance (Y of YCrCb) spread so that all brightnesses are equally frequent."""
    import cv2

    return _each(images, lambda photo: _in_first_channel(photo, cv2.COLOR_RGB2YCrCb, cv2.equalizeHist, cv2.COLOR_YCrCb2RGB))


VIEWS: dict[str, View] = {
    "identity": lambda images: images,
    "hflip": lambda images: images.flip(-1),
    "zoom_in": lambda images: zoom(images, 1.08),
    "zoom_out": lambda images: zoom(images, 0.95),
    "rotate_left": lambda images: rotate(images, 5.0),
    "rotate_right": lambda images: rotate(images, -5.0),
    "brighten": lambda images: light(images, 1.08),
    "darken": lambda images: light(images, 0.93),
    "shift_left": lambda images: shift(images, -0.04),
    "shift_right": lambda images: shift(images, 0.04),
    "vflip": lambda images: images.flip(-2),
    "crop_centre": lambda images: crop(images, 0.8, side=0),
    "crop_left": lambda images: crop(images, 0.85, side=-1),
    "crop_right": lambda images: crop(images, 0.85, side=1),
    "clahe": clahe,
    "equalize": equalize,
}


def check_views(views: Sequence[str]) -> None:
    """Refuse view names that nobody has written.

    Raises:
        UserError: With every unknown name.
    """
    wrong = [unknown("view", name, VIEWS) for name in views if name not in VIEWS]
    if wrong:
        raise UserError(*wrong)


def _affine(images: Tensor, *, scale: float, degrees: float, right: float = 0.0) -> Tensor:
    angle = math.radians(degrees)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    matrix = torch.tensor([[cos, -sin, right], [sin, cos, 0.0]], dtype=images.dtype, device=images.device)
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _each(images: Tensor, change: Callable[[Pixels], Pixels]) -> Tensor:
    """Photos as `(S, S, 3) uint8` on the CPU, each changed by itself, back in [0, 1] on the device they came from."""
    bytes_of = (images.cpu() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    changed = torch.from_numpy(np.stack([change(photo) for photo in bytes_of]))
    return (changed.permute(0, 3, 1, 2).to(images.dtype) / 255).contiguous().to(images.device)


def _in_first_channel(photo: Pixels, there: int, change: Callable[[Any], Any], back: int) -> Pixels:
    """A photo whose first channel in another colour space is changed."""
    import cv2

    channels: Any = cv2.cvtColor(photo, there)
    channels[..., 0] = change(np.ascontiguousarray(channels[..., 0]))
    found: Pixels = cv2.cvtColor(channels, back)
    return found
