"""Checkpoints: everything a trial needs to go on, in one safetensors file that is replaced whole.

Tensors are the network, its averaged copy and the optimizer's state; the header holds the epoch and the metrics lines. Random
states are not kept: every epoch seeds itself from (seed, epoch), so there is none to lose. Nothing is pickled.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from system import sealed_tensors as files
from system.files import replace_bytes


def tensor_bytes(tensors: Mapping[str, Tensor], header: Mapping[str, Any], *, sealed: bool = False) -> bytes:
    """Tensors and a JSON header as one safetensors file; the same content gives the same bytes.

    Args:
        sealed: Add a seal over all of it (`system.sealed_tensors`): for a file whose hash nobody else keeps.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    told = {**header, "seal": files.UNSEALED} if sealed else header
    data = save(whole, metadata={"podium": json.dumps(told, sort_keys=True, allow_nan=False)})
    return files.seal(data) if sealed else data


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any], *, sealed: bool = False) -> str:
    """Replace `path` with tensors and header (see `tensor_bytes`).

    Returns:
        The SHA-256 of its bytes; `""` for a sealed file, which needs none.
    """
    data = tensor_bytes(tensors, header, sealed=sealed)
    replace_bytes(path, data)
    return "" if sealed else hashlib.sha256(data).hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of a file that `write_tensors` wrote.

    Raises:
        ValueError: The file is damaged; the message names it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        files.check(path)
        return load(path.read_bytes()), files.read_header(path)
    except SafetensorError as error:
        raise ValueError(f"{path.parent.name}/{path.name} is damaged ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path.parent.name}/{error}") from error


def read_header(path: Path) -> dict[str, Any] | None:
    """The header of a file that `write_tensors` wrote, without its tensors; `None` for any other file."""
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, "pt") as file:
            written = (file.metadata() or {}).get("podium")
        return None if written is None else dict(json.loads(written))
    except (SafetensorError, ValueError, TypeError):
        return None


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    return dict(model.state_dict())


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's per-parameter state as `<index>.<key>` -> tensor."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, one in state.items()
        for key, value in one.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def below_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
