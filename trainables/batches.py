"""Batches: from a memory map `(N, S, S, 3) uint8` and the rows of an epoch to augmented batches in a fixed order.

The order depends on (seed, epoch), each photo's augmentation on (seed, epoch, image, how often it was shown before in the epoch);
workers are threads (cv2 and torch release the lock), so 0, 1 or 2 of them give the same bytes and none costs a process start.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.backbones import Preprocessing

AHEAD = 3


@dataclass(frozen=True)
class TrainingRows:
    """The photos one trial learns from.

    Attributes:
        images: `(N, S, S, 3) uint8` of all photos, a memory map.
        rows: `(n,) int64` row numbers into `images`.
        image_ids: n ids.
    """

    images: NDArray[np.uint8]
    rows: NDArray[np.int64]
    image_ids: Sequence[str]


def epoch_order(
    n: int, batch_size: int, seed: int, epoch: int, chances: NDArray[np.float64] | None = None
) -> list[NDArray[np.int64]]:
    """The positions `(B,)` of each batch of one epoch; an incomplete last batch is left out unless it is the only one.

    Without `chances (n,)` a permutation; with them n draws with replacement. Drawn from (seed, epoch) alone.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(n) if chances is None else generator.choice(n, size=n, p=chances)
    if n <= batch_size:
        return [order]
    return [order[start : start + batch_size] for start in range(0, n - batch_size + 1, batch_size)]


def training_batches(
    data: TrainingRows,
    *,
    batch_size: int,
    augmentation: str,
    seed: int,
    epoch: int,
    chances: NDArray[np.float64] | None = None,
    workers: int = 0,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """The batches of one epoch.

    Args:
        data: The photos.
        batch_size: B.
        augmentation: One of `AUGMENTATIONS`.
        seed: The trial's seed.
        epoch: From 1.
        chances: `(n,)` with sum 1, each photo's at every draw (see `samplers`); `None` shows each once.
        workers: Threads that prepare batches ahead; changes nothing but the time.

    Yields:
        Positions `(B,) int64` into `data.rows`, and the photos `(B, S, S, 3) uint8`.
    """
    from trainables.augmentations import augment, compose, image_seed  # a bundle's networks predict without them

    order = epoch_order(len(data.rows), batch_size, seed, epoch, chances)
    own = threading.local()

    def load(positions: NDArray[np.int64], showings: Sequence[int]) -> NDArray[np.uint8]:
        images = data.images[data.rows[positions]]
        if not hasattr(own, "transform"):
            own.transform = compose(augmentation, data.images.shape[1])
        if own.transform is None:
            return images
        seeds = (image_seed(seed, epoch, data.image_ids[p], n) for p, n in zip(positions, showings, strict=True))
        return np.stack([augment(own.transform, image, s) for image, s in zip(images, seeds, strict=True)])

    if workers <= 0:
        yield from ((positions, load(positions, shown)) for positions, shown in zip(order, _showings(order), strict=True))
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[NDArray[np.int64], Future[NDArray[np.uint8]]]] = deque()
        for positions, shown in zip(order, _showings(order), strict=True):
            waiting.append((positions, pool.submit(load, positions, shown)))
            if len(waiting) > AHEAD + workers:
                first, images = waiting.popleft()
                yield first, images.result()
        while waiting:
            first, images = waiting.popleft()
            yield first, images.result()


def _showings(order: Sequence[NDArray[np.int64]]) -> Iterator[list[int]]:
    """For each batch how often each of its photos was shown before in the epoch; without it copies would be augmented alike."""
    shown: Counter[int] = Counter()
    for positions in order:
        before = []
        for position in positions.tolist():
            before.append(shown[position])
            shown[position] += 1
        yield before


def to_unit(images: NDArray[np.uint8], device: torch.device | str) -> Tensor:
    """`(B, S, S, 3) uint8` on the host as `(B, 3, S, S) float32` in [0, 1] on the device."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device, non_blocking=True)
    return tensor.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def normalise(images: Tensor, wanted: Preprocessing) -> Tensor:
    """`(B, 3, S, S)` in [0, 1] to what the network expects: `(x - mean) / std` per channel."""
    mean = torch.tensor(wanted.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(wanted.std, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / std
