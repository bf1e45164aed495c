"""Prediction: photos `(N, S, S, 3) uint8` and a network to float16 probabilities per head and view.

Batches are always `BATCH` photos, the last one filled up, so that a photo's bits do not depend on how many others there are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ledger.predictions import Predictions
from trainables import backbones
from trainables.backbones import Preprocessing
from trainables.batches import normalise, to_unit
from trainables.checkpoint import read_tensors
from trainables.config import TrialConfig
from trainables.losses import split_heads
from trainables.views import VIEWS

BATCH = 64
Probs = dict[tuple[str, str], NDArray[np.float16]]
"""(head, view) -> `(N, C)`."""


@dataclass(frozen=True)
class Photos:
    """What is predicted.

    Attributes:
        images: `(M, S, S, 3) uint8` of all photos, a memory map.
        rows: `(N,) int64` row numbers into `images`.
        names: N pairs of image id and pixel hash.
        broken: Positions into `rows` that could not be decoded; they get the prior.
        priors: Head -> class shares `(C,)` of the training photos.
    """

    images: NDArray[np.uint8]
    rows: NDArray[np.int64]
    names: Sequence[tuple[str, str]]
    broken: NDArray[np.int64]
    priors: Mapping[str, NDArray[np.float64]]


def predict(
    model: nn.Module,
    load: Callable[[int, int], NDArray[np.uint8]],
    n: int,
    *,
    heads: dict[str, int],
    views: Iterable[str],
    wanted: Preprocessing,
    precision: str,
    device: torch.device | str = "cpu",
) -> Probs:
    """Probabilities of N photos for every head and view.

    Args:
        model: Maps `(B, 3, S, S)` to `(B, sum of C)` logits; left in evaluation mode.
        load: `(start, stop)` -> photos `(stop - start, S, S, 3) uint8`.
        n: N.
        heads: Head name -> C.
        views: Names from `VIEWS`.
        wanted: The network's preprocessing.
        precision: `fp32`, or `bf16` / `fp16` on a GPU.
        device: Where the network is.
    """
    views = list(views)
    model.eval()
    parts: dict[tuple[str, str], list[NDArray[np.float16]]] = {(head, view): [] for head in heads for view in views}
    with torch.inference_mode():
        for start in range(0, n, BATCH):
            stop = min(start + BATCH, n)
            unit = to_unit(_filled(load(start, stop)), device)
            for view in views:
                with autocast(precision, device):
                    logits = model(normalise(VIEWS[view](unit), wanted))
                for head, part in split_heads(logits, heads).items():
                    probs = part.float().softmax(dim=1)[: stop - start]
                    parts[head, view].append(probs.to(torch.float16).cpu().numpy())
    return {key: np.concatenate(arrays) for key, arrays in parts.items()}


def predict_photos(
    model: nn.Module, photos: Photos, config: TrialConfig, views: Iterable[str], wanted: Preprocessing, device: torch.device | str
) -> Probs:
    """Like `predict`, from the image cache; photos that could not be decoded get the prior."""

    def load(start: int, stop: int) -> NDArray[np.uint8]:
        return photos.images[photos.rows[start:stop]]

    found = predict(
        model, load, len(photos.rows), heads=config.heads, views=views, wanted=wanted, precision=config.precision, device=device
    )
    for (head, _), probs in found.items():
        probs[photos.broken] = photos.priors[head].astype(np.float16)
    return found


def load_network(config: TrialConfig, best: Path, device: torch.device | str = "cpu") -> tuple[nn.Module, Preprocessing]:
    """The network of a trial's best epoch and what it expects; needs nothing but the file and the configuration.

    Raises:
        ValueError: The file is damaged or belongs to another configuration.
    """
    tensors, header = read_tensors(best)
    if header["trial_id"] != config.trial_id:
        raise ValueError(f"{best.name} belongs to trial {header['trial_id']}, not to {config.trial_id}")
    model = backbones.build(config.backbone, config.heads, config.image_size)
    model.load_state_dict(tensors)
    return model.to(device), backbones.preprocessing(model, config.image_size)


def complete(
    config: TrialConfig,
    best: Path,
    kept: Predictions,
    parts: Mapping[str, Photos],
    views: Sequence[str],
    device: torch.device | str,
) -> None:
    """Compute and keep the views that are missing, for each part; what is there is not computed again."""
    missing = {part: kept.missing(part, config.heads, views, photos.names) for part, photos in parts.items()}
    if not any(missing.values()):
        return
    model, wanted = load_network(config, best, device)
    for part, names in missing.items():
        for (head, view), probs in predict_photos(model, parts[part], config, names, wanted, device).items() if names else ():
            kept.write(part, head, view, parts[part].names, probs)


def autocast(precision: str, device: torch.device | str) -> torch.autocast:
    """Mixed precision where the configuration asks for it; a no-op for `fp32`."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.float16 if precision == "fp16" else torch.bfloat16, enabled=precision != "fp32")


def _filled(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if len(images) == BATCH:
        return images
    return np.concatenate([images, np.zeros((BATCH - len(images), *images.shape[1:]), np.uint8)])
