"""Backbones: from a timm name and a start to a network that maps `(B, 3, S, S)` to `(B, sum of C)` logits."""

import os
import shutil
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ledger.errors import UserError
from ledger.files import file_hash

WEIGHT_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
HUB = ("huggingface.co", 443)
HUB_PATIENCE_S = 0.7


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects: side in pixels, then `(x / 255 - mean) / std` per channel."""

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def build(
    backbone: str,
    heads: Mapping[str, int],
    image_size: int,
    *,
    drop_rate: float = 0.0,
    weights: str = "",
    store: Path | None = None,
) -> nn.Module:
    """A network with one output column per class of every head.

    Args:
        backbone: A timm model name.
        heads: Head name -> number of classes C.
        image_size: Side S in pixels; networks with a fixed grid are built for it.
        drop_rate: Dropout before the last layer.
        weights: `""`, `timm:<tag>` or the SHA-256 of a file in `store` (see `TrialConfig.weights`).
        store: Folder of kept weights files.

    Raises:
        UserError: The backbone cannot take this size, or the weights cannot be had.
    """
    import timm

    extra: dict[str, Any] = {"num_classes": sum(heads.values()), "drop_rate": drop_rate}
    config = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
    if config is not None and config.fixed_input_size:
        extra["img_size"] = image_size
    if weights and not weights.startswith("timm:"):
        extra.update(pretrained=True, pretrained_cfg_overlay={"file": str(kept_weights(store, weights))})
    elif weights:
        extra["pretrained"] = True
    try:
        model: nn.Module = timm.create_model(backbone, **extra)
    except (AssertionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"backbone {backbone!r} cannot be built at image_size {image_size} ({_first_line(error)}); give another size"
        ) from error
    return model


def preprocessing(model: nn.Module, image_size: int) -> Preprocessing:
    """What the network's own configuration asks for, at our size."""
    config: dict[str, Any] = getattr(model, "pretrained_cfg", {}) or {}
    mean, std = (tuple(float(v) for v in config[key]) for key in ("mean", "std"))
    return Preprocessing(image_size, mean, std)  # type: ignore[arg-type]  # timm keeps three channels each


def keep_weights(file: str, store: Path) -> str:
    """Copy a weights file into the storage under its SHA-256, so that every node and every later run finds it.

    Returns:
        The hash, which is `TrialConfig.weights`.

    Raises:
        UserError: The file is missing or of an unknown kind.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"weights_file must be a file of weights, got {file!r}, which is not there")
    if path.suffix not in WEIGHT_ENDINGS:
        raise UserError(f"weights_file must end in {', '.join(WEIGHT_ENDINGS)}, got {path.name!r}")
    name = file_hash(path)
    if not any(store.glob(f"{name}.*")):
        store.mkdir(parents=True, exist_ok=True)
        beside = store / f".{name}.{os.getpid()}"
        shutil.copyfile(path, beside)
        os.replace(beside, store / f"{name}{path.suffix}")
    return name


def kept_weights(store: Path | None, name: str) -> Path:
    """The kept file with this SHA-256.

    Raises:
        UserError: It is not in the storage.
    """
    found = next(store.glob(f"{name}.*"), None) if store else None
    if found is None:
        raise UserError(
            f"the start weights {name[:12]} are not in this storage; search with the same weights_file once, or copy them"
        )
    return found


def check_published(backbone: str) -> None:
    """Make sure that published weights can be had, in under a second.

    Raises:
        UserError: They are neither in the local cache nor reachable.
    """
    import timm
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(backbone, allow_unregistered=False)
    if config is None or not config.hf_hub_id:
        raise UserError(f"no published weights for backbone {backbone!r}; set pretrained to False or give weights_file")
    names = ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(config.hf_hub_id, name), str) for name in names):
        return
    if os.environ.get("HF_HUB_OFFLINE", "0") in ("1", "true", "ON", "YES") or not _reachable():
        raise UserError(
            f"published weights of {backbone!r} are not in the local cache and {HUB[0]} does not answer; download "
            f"{config.hf_hub_id} elsewhere and give weights_file=PATH, or set pretrained to False"
        )


def _reachable() -> bool:
    def connect() -> None:
        socket.create_connection(HUB, timeout=HUB_PATIENCE_S).close()

    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(connect).result(timeout=HUB_PATIENCE_S)
    except (OSError, TooSlow):
        return False
    finally:
        pool.shutdown(wait=False)
    return True


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
