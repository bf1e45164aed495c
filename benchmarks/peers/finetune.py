"""A competitor's fine-tuning script: EfficientNet-Lite0 with published weights, all heads at once, for as long as there is time.

    python -m benchmarks.peers.finetune clothing --data ../shared/data --seconds 300 --out answers.csv

AdamW with one cycle (a short warm-up, then half a cosine to 0) over as many steps as fit, a last layer that learns ten times as fast,
crops and flips from a cache of 1.15 x the side, label smoothing 0.1, channels_last, all photos; answers from a photo and its mirror image.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.peers.photos import Photos, lite0, read, seconds, write

BATCH, LARGER = 32, 1.15
FOR_TESTS = 0.92
"""The part of the time that is left for training once the test photos are to be answered as well, each as dear as a third of a step."""


def crops(photos: NDArray[np.uint8], size: int, chance: np.random.Generator) -> torch.Tensor:
    """`(B, T, T, 3) uint8` to `(B, 3, S, S) float32` in [-1, 1]: a random window of half the area or more, perhaps mirrored."""
    whole = torch.from_numpy(photos).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    n = len(photos)
    area, ratio = chance.uniform(0.5, 1.0, n), np.exp(chance.uniform(math.log(0.8), math.log(1.25), n))
    width, height = np.minimum(np.sqrt(area * ratio), 1), np.minimum(np.sqrt(area / ratio), 1)
    x, y = chance.uniform(-1, 1, n) * (1 - width), chance.uniform(-1, 1, n) * (1 - height)
    zero, flip = np.zeros(n), chance.choice([-1.0, 1.0], n)
    moves = np.stack([np.stack([width * flip, zero, x], 1), np.stack([zero, height, y], 1)], 1)
    grid = F.affine_grid(torch.from_numpy(moves).float(), [n, 3, size, size], align_corners=False)
    return F.grid_sample(whole, grid, align_corners=False, padding_mode="reflection").to(memory_format=torch.channels_last)


def as_they_are(photos: NDArray[np.uint8], size: int) -> torch.Tensor:
    whole = torch.from_numpy(photos).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return F.interpolate(whole, (size, size), mode="bilinear", antialias=True).to(memory_format=torch.channels_last)


def train(photos: Photos, model: Any, given: argparse.Namespace, begun: float) -> int:
    """As many steps as fit; the first ten say how long one takes. Returns how many there were."""
    chance = np.random.default_rng(given.seed)
    head = list(model.get_classifier().parameters())
    own = {id(one) for one in head}
    body = [one for one in model.parameters() if id(one) not in own]
    optimizer = torch.optim.AdamW(
        [{"params": body, "scale": 1.0}, {"params": head, "scale": 10.0}], lr=given.lr, weight_decay=0.02
    )
    widths = [len(names) for names in photos.classes.values()]
    total, step, began, order = 10**9, 0, seconds(given.clock), np.zeros(0, np.int64)
    while step < total:
        if len(order) < BATCH:
            order = np.concatenate([order, chance.permutation(len(photos.images))])
        rows, order = order[:BATCH], order[BATCH:]
        if step == 10:
            each = (seconds(given.clock) - began) / step
            answering = 2 * len(photos.test) / BATCH * each / 3
            left = given.seconds - (seconds(given.clock) - begun) - answering
            total = step + max(1, int(FOR_TESTS * left / each))
            print(
                f"{BATCH / each:.1f} photos a second; {total} steps, {total * BATCH / len(photos.images):.1f} epochs", flush=True
            )
        warm, share = min(1.0, (step + 1) / 50), min(1.0, step / total)
        for group in optimizer.param_groups:
            group["lr"] = given.lr * group["scale"] * warm * 0.5 * (1 + math.cos(math.pi * share))
        parts = model(crops(photos.images[rows], given.size, chance)).split(widths, dim=1)
        losses = [
            F.cross_entropy(part, torch.from_numpy(photos.labels[task][rows]), label_smoothing=0.1)
            for task, part in zip(photos.classes, parts, strict=True)
        ]
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        step += 1
    return step


def answer(photos: Photos, model: Any, size: int) -> dict[str, NDArray[np.float64]]:
    """Task -> probabilities `(M, C)`, the mean over a photo and its mirror image."""
    model.eval()
    widths, found = [len(names) for names in photos.classes.values()], []
    with torch.inference_mode():
        for start in range(0, len(photos.test), BATCH):
            seen = as_they_are(photos.test[start : start + BATCH], size)
            both = [[part.softmax(1) for part in model(one).split(widths, dim=1)] for one in (seen, seen.flip(3))]
            found.append([(a + b).double().numpy() / 2 for a, b in zip(*both, strict=True)])
    return {task: np.concatenate(parts) for task, parts in zip(photos.classes, zip(*found, strict=True), strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("competition")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    begun = time.monotonic() if given.clock == "wall" else 0.0
    torch.manual_seed(given.seed)
    torch.set_num_threads(1)
    photos = read(given.competition, given.data, round(given.size * LARGER))
    model = lite0(sum(len(names) for names in photos.classes.values())).train()
    print(f"{len(photos.images)} photos read after {seconds(given.clock) - begun:.0f} s", flush=True)
    n_steps = train(photos, model, given, begun)
    write(given.out, photos, answer(photos, model, given.size))
    print(f"{n_steps} steps, {seconds(given.clock) - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
