"""A start from another trial: its `best.safetensors` into a network of the same backbone, whatever the heads of either.

Everything but the last layer is taken over by name and shape. The last layer's rows are taken head by head, where a head of the
same name has as many classes; the rows of other heads stay as they were drawn. So a model of one head starts one of several, and back.
`load_in_order` reads published weights that have other names.
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from system.errors import UserError, listed
from trainables.checkpoint import read_header, read_tensors


def is_trial_start(path: Path) -> bool:
    """Whether a weights file is the best of a trial, which says its backbone and heads; anybody else's file is timm's to read."""
    return "heads" in (read_header(path) or {})


def load_trial(model: nn.Module, path: Path, backbone: str, heads: Mapping[str, int]) -> None:
    """Put a trial's weights into a fresh network, in place.

    Args:
        model: Maps to one column per class of every head, in order.
        path: The trial's `best.safetensors`.
        backbone: The name the network was built from.
        heads: Head name -> number of classes C of the network.

    Raises:
        UserError: The file is damaged, of another backbone, or a tensor has another shape (another image size, for one).
    """
    try:
        given, header = read_tensors(path)
    except ValueError as error:
        raise UserError(f"start weights {path.name[:12]} cannot be read: {error}") from error
    trial, theirs = header["trial_id"], dict(header["heads"])
    if header["backbone"] != backbone:
        raise UserError(
            f"start weights of trial {trial} belong to backbone {header['backbone']!r}, not to {backbone!r}; set that backbone"
        )
    own = model.state_dict()
    last = last_layer(model, own)
    if not last:
        raise UserError(
            f"timm does not name the last layer of {backbone!r}, so its trials can start from no other; give another backbone"
        )
    faults = [_fault(name, given.get(name), own.get(name)) for name in sorted({*own, *given} - last)]
    if any(faults):
        raise UserError(
            f"start weights of trial {trial} do not fit {backbone!r}: {listed(fault for fault in faults if fault)}; give the "
            "image_size that the trial was trained at"
        )
    taken = dict(given)
    for name in last:
        taken[name] = own[name].clone()
        for ours, rows in _shared_rows(heads, theirs):
            taken[name][ours] = given[name][rows]
    model.load_state_dict(taken)


def load_in_order(model: nn.Module, path: Path, backbone: str) -> None:
    """Put weights with other names, but in the network's order, into a fresh network, in place; its last layer stays as drawn.

    Args:
        model: The network.
        path: A file of `torch.save` with a dict of tensors; nothing in it is run.
        backbone: The name the network was built from.

    Raises:
        UserError: The file holds another number of tensors, or one of another shape.
    """
    given: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    own = model.state_dict()
    last = last_layer(model, own)
    if len(own) != len(given):
        raise UserError(
            f"start weights {path.name[:12]} do not fit {backbone!r}: they are {len(given)} tensors, the network has {len(own)}; "
            "give the backbone they belong to"
        )
    taken = dict(zip(own, given.values(), strict=True)) | {name: own[name] for name in last}
    faults = [_fault(name, taken[name], own[name]) for name in own]
    if any(faults):
        raise UserError(
            f"start weights {path.name[:12]} do not fit {backbone!r}: {listed(fault for fault in faults if fault)}; give the "
            "backbone they belong to"
        )
    model.load_state_dict(taken)


def last_layer(model: Any, tensors: Mapping[str, Tensor]) -> set[str]:
    """The names of the tensors with one row per class; some networks have two such layers."""
    layers = model.pretrained_cfg["classifier"] or ()
    layers = [layers] if isinstance(layers, str) else list(layers)
    return {name for layer in layers for name in (f"{layer}.weight", f"{layer}.bias") if name in tensors}


def _fault(name: str, given: Tensor | None, own: Tensor | None) -> str | None:
    if given is None or own is None:
        return f"{name} is {'missing' if given is None else 'unknown to the network'}"
    return None if given.shape == own.shape else f"{name} is {tuple(given.shape)}, not {tuple(own.shape)}"


def _shared_rows(ours: Mapping[str, int], theirs: Mapping[str, int]) -> Iterator[tuple[slice, slice]]:
    own_rows, their_rows = _rows(ours), _rows(theirs)
    return ((own_rows[head], their_rows[head]) for head, n in ours.items() if theirs.get(head) == n)


def _rows(heads: Mapping[str, int]) -> dict[str, slice]:
    """The rows of the last layer that belong to each head."""
    stops = accumulate(heads.values())
    return {head: slice(stop - n, stop) for (head, n), stop in zip(heads.items(), stops, strict=True)}
