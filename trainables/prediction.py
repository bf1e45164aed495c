"""Prediction: photos `(N, S, S, 3) uint8` and a network to float16 probabilities per head and view.

Batches are always `BATCH` photos, the last one filled up, so that a photo's bits do not depend on how many others there are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ledger.predictions import Predictions
from trainables import backbones
from trainables.backbones import Preprocessing
from trainables.batches import normalise, to_unit
from trainables.checkpoint import read_tensors
from trainables.config import TrialConfig
from trainables.losses import split_heads
from trainables.views import VIEWS

BATCH = 64
FEATURES, FEATURE_WIDTH = "features", 64
ViewProbs = dict[tuple[str, str], NDArray[np.float16]]
"""(head, view) -> `(N, C)`."""


@dataclass(frozen=True)
class PhotoBatches:
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
    device: torch.device | str = "cpu",
    features: bool = False,
) -> ViewProbs:
    """Probabilities of N photos for every head and view, in fp32 whatever the training precision, so that every device agrees.

    Args:
        model: Maps `(B, 3, S, S)` to `(B, sum of C)` logits; left in evaluation mode.
        load: `(start, stop)` -> photos `(stop - start, S, S, 3) uint8`.
        n: N.
        heads: Head name -> C.
        views: Names from `VIEWS`.
        wanted: The network's preprocessing.
        device: Where the network is.
        features: Add (`features`, `identity`): what the last layer sees, brought down to `(N, <=64)` (see `project`).
    """
    views = list(views)
    model.eval()
    names = [*((head, view) for head in heads for view in views), *([(FEATURES, "identity")] if features else [])]
    widths = {**heads, FEATURES: 0}
    parts = {name: [np.zeros((0, widths[name[0]]), np.float16)] if n == 0 else [] for name in names}
    with torch.inference_mode():
        for start in range(0, n, BATCH):
            stop = min(start + BATCH, n)
            unit = to_unit(filled(load(start, stop)), device)
            for view in views:
                seen = normalise(VIEWS[view](unit), wanted)
                if features and view == "identity":
                    logits, deep = _with_features(model, seen)
                    parts[FEATURES, view].append(project(deep)[: stop - start].to(torch.float16).cpu().numpy())
                else:
                    logits = model(seen)
                for head, part in split_heads(logits, heads).items():
                    probs = part.float().softmax(dim=1)[: stop - start]
                    parts[head, view].append(probs.to(torch.float16).cpu().numpy())
    return {key: np.concatenate(arrays) for key, arrays in parts.items()}


def predict_photos(
    model: nn.Module,
    photos: PhotoBatches,
    config: TrialConfig,
    views: Iterable[str],
    wanted: Preprocessing,
    device: torch.device | str,
    *,
    features: bool = False,
) -> ViewProbs:
    """Like `predict`, from the image cache; photos that could not be decoded get the prior, and features of 0."""

    def load(start: int, stop: int) -> NDArray[np.uint8]:
        return photos.images[photos.rows[start:stop]]

    found = predict(
        model, load, len(photos.rows), heads=config.heads, views=views, wanted=wanted, device=device, features=features
    )
    for (head, _), probs in found.items():
        probs[photos.broken] = 0 if head == FEATURES else photos.priors[head].astype(np.float16)
    return found


def load_network(config: TrialConfig, best: Path, device: torch.device | str = "cpu") -> tuple[nn.Module, Preprocessing]:
    """The network of a trial's best epoch and what it expects; needs nothing but the file and the configuration.

    Raises:
        ValueError: The file is damaged or belongs to another configuration.
    """
    tensors, header = read_tensors(best)
    if header["trial_id"] != config.trial_id:
        raise ValueError(f"{best.name} belongs to trial {header['trial_id']}, not to {config.trial_id}")
    model = backbones.build(
        config.backbone, config.heads, config.image_size, stem_stride=config.stem_stride, layout=config.layout
    )
    model.load_state_dict(tensors)
    return model.to(device), backbones.preprocessing(model, config.image_size)


def complete(
    config: TrialConfig,
    best: Path,
    kept: Predictions,
    parts: Mapping[str, PhotoBatches],
    views: Sequence[str],
    device: torch.device | str,
) -> None:
    """Compute and keep the views that are missing, for each part; what is there is not computed again."""
    missing = {part: missing_views(kept, config, part, views, photos) for part, photos in parts.items()}
    if not any(missing.values()):
        return
    model, wanted = load_network(config, best, device)
    for part, names in missing.items():
        if names:
            found = predict_photos(model, parts[part], config, names, wanted, device, features="identity" in names)
            for (head, view), array in found.items():
                kept.write(part, head, view, parts[part].names, array)


def missing_views(kept: Predictions, config: TrialConfig, part: str, views: Sequence[str], photos: PhotoBatches) -> list[str]:
    """The views of a part that are not kept for these photos; the identity counts as missing without its features."""
    missing = set(kept.missing(part, config.heads, views, photos.names))
    missing |= set(kept.missing(part, [FEATURES], ["identity"], photos.names)) & set(views)
    return [view for view in views if view in missing]


def project(deep: Tensor) -> Tensor:
    """`(B, D)` features as `(B, min(D, 64))`: a fixed Gaussian projection keeps distances (Johnson & Lindenstrauss 1984).

    Scaled by the square root of the width, so that values stay within float16.
    """
    deep = deep.float()
    if deep.shape[1] <= FEATURE_WIDTH:
        return deep
    drawn = np.random.default_rng(0).standard_normal((deep.shape[1], FEATURE_WIDTH)).astype(np.float32)
    return deep @ torch.from_numpy(drawn / np.float32(FEATURE_WIDTH**0.5)).to(deep.device)


def deep_features(model: Any, seen: Tensor) -> Tensor:
    """What the last layer sees of a batch, `(B, D)`."""
    deep: Tensor = model.forward_head(model.forward_features(seen), pre_logits=True)
    return deep.flatten(1)


def _with_features(model: Any, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Logits `(B, C)` and what the last layer sees `(B, D)`, from one pass: timm's own two halves of `forward`."""
    maps = model.forward_features(seen)
    deep = model.forward_head(maps, pre_logits=True)
    return model.forward_head(maps), deep.flatten(1)


def autocast(precision: str, device: torch.device | str) -> torch.autocast:
    """Mixed precision where the configuration asks for it; a no-op for `fp32`."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.float16 if precision == "fp16" else torch.bfloat16, enabled=precision != "fp32")


def filled(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Up to `BATCH` photos as exactly so many, black ones behind them."""
    if len(images) == BATCH:
        return images
    return np.concatenate([images, np.zeros((BATCH - len(images), *images.shape[1:]), np.uint8)])
