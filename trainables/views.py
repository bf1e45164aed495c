"""Views: test-time transforms of a batch `(B, 3, S, S) float32` in [0, 1] to one of the same shape and range.

Plain torch operations, so that the trial that caches predictions and the bundle that is handed to a stranger share every bit.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

View = Callable[[Tensor], Tensor]


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn counter-clockwise about the centre; the border reflects."""
    return _affine(images, scale=1.0, degrees=degrees)


def zoom(images: Tensor, factor: float) -> Tensor:
    """Show the middle `1 / factor` of the photo at full size; a factor below 1 shows more, the border reflects."""
    return _affine(images, scale=1 / factor, degrees=0.0)


def shift(images: Tensor, share: float) -> Tensor:
    """Move the content sideways by a share of the width, to the right where it is positive; the border repeats."""
    pixels = max(1, round(abs(share) * images.shape[-1]))
    padded = F.pad(images, (pixels, pixels, 0, 0), mode="replicate")
    start = 0 if share > 0 else 2 * pixels
    return padded[..., start : start + images.shape[-1]]


def light(images: Tensor, factor: float) -> Tensor:
    """Multiply all channels and cut at 1."""
    return (images * factor).clamp(0, 1)


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
}


def _affine(images: Tensor, *, scale: float, degrees: float) -> Tensor:
    angle = math.radians(degrees)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], dtype=images.dtype, device=images.device)
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
