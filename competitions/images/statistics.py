"""What photos look like before anybody learned anything: `(N, S, S, 3) uint8` -> `(N, 29) float32` of light, colour and sharpness.

No network: a network has learned some of the labelled photos and sees those otherwise than new ones. These numbers are the same for
photos that were learned from, so all labelled photos can be compared with the test photos, not only those of one fold.
"""

import numpy as np
from numpy.typing import NDArray

LEVELS = (5, 25, 50, 75, 95)  # percentiles of each colour
SCALES = (1, 2, 4)  # pixels averaged before neighbours are compared
LARGEST_SIDE = 64
"""Pixels: larger photos show every k-th pixel for light and colour, and their middle for sharpness, so that no photo costs more."""
PHOTOS_AT_ONCE = 512  # photos at a time: the largest array of 512 x 64 x 64 sums takes 34 MB


def looks(images: NDArray[np.uint8], rows: NDArray[np.integer]) -> NDArray[np.float32]:
    """The looks of some photos.

    Args:
        images: `uint8 (M, S, S, 3)`, e.g. the image cache's memory map, S at least 16.
        rows: `int (N,)` row numbers into `images`.

    Returns:
        `float32 (N, 29)`: per colour five percentiles (15) and its mean at the border (3), the saturation's mean, per colour its
        spread (3), the saturation's spread; for three scales the logarithms of the mean and the median difference of neighbouring
        pixels (6). The first 23 are shares of 255.
    """
    chunks = [_looks(images[rows[start : start + PHOTOS_AT_ONCE]]) for start in range(0, len(rows), PHOTOS_AT_ONCE)]
    return np.concatenate(chunks) if chunks else np.zeros((0, 29), dtype=np.float32)


def _looks(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    n, step = len(images), max(1, images.shape[1] // LARGEST_SIDE)
    planes = np.ascontiguousarray(images[:, ::step, ::step].transpose(0, 3, 1, 2)).reshape(n, 3, -1)
    ordered = np.sort(planes, axis=2, kind="stable")  # bytes are counted, not compared: 8 times as fast as np.percentile
    levels = ordered[:, :, [round(level / 100 * (ordered.shape[2] - 1)) for level in LEVELS]].reshape(n, -1)
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    border = np.mean([edge.mean(axis=1, dtype=np.float32) for edge in edges], axis=0)
    saturation = planes.max(axis=1) - planes.min(axis=1)
    spreads = [planes.std(axis=2, dtype=np.float32), saturation.std(axis=1, dtype=np.float32)[:, None]]
    colours = np.hstack([levels, border, saturation.mean(axis=1)[:, None], *spreads]) / 255
    start = (images.shape[1] - min(LARGEST_SIDE, images.shape[1])) // 2
    grey = images[:, start : start + LARGEST_SIDE, start : start + LARGEST_SIDE].sum(axis=3, dtype=np.int32)
    return np.hstack([colours, *(_sharpness(grey, scale) for scale in SCALES)]).astype(np.float32)


def _sharpness(grey: NDArray[np.int32], scale: int) -> NDArray[np.float64]:
    """Logarithms `(N, 2)` of the mean and the median difference of neighbours, in grey `(N, S, S)`, 0 to 765, averaged over `scale`."""
    side = grey.shape[1] // scale
    coarse = grey[:, : side * scale, : side * scale].reshape(len(grey), side, scale, side, scale).sum(axis=(2, 4))
    across, down = np.abs(np.diff(coarse, axis=2)), np.abs(np.diff(coarse, axis=1))
    both = np.hstack([across.reshape(len(grey), -1), down.reshape(len(grey), -1)])
    middle = np.partition(both, both.shape[1] // 2, axis=1)[:, both.shape[1] // 2]
    found: NDArray[np.float64] = np.log(np.stack([both.mean(axis=1), middle], axis=1) / (765 * scale**2) + 1e-3)
    return found
