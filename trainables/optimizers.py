"""Optimizers and the learning rate over time."""

import math
from collections.abc import Callable, Container, Iterable
from typing import Any

import torch
from torch import nn

ParameterGroups = Iterable[dict[str, object]]
Optimizer = Callable[..., torch.optim.Optimizer]
"""Parameter groups, and settings of `TrialConfig` as keyword parameters; one with a default belongs to this optimizer alone."""


def adamw(groups: ParameterGroups, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Adam that takes the decay off the weights (Loshchilov & Hutter 2019)."""
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)


def sgd(groups: ParameterGroups, *, lr: float, weight_decay: float, momentum: float = 0.9) -> torch.optim.Optimizer:
    """Gradient descent with Nesterov's momentum; with a momentum of 0 plain gradient descent."""
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=bool(momentum))


def adam(groups: ParameterGroups, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Adam with the decay added to the slope (L2), so that it is scaled like the slope."""
    return torch.optim.Adam(groups, lr=lr, weight_decay=weight_decay)


OPTIMIZERS: dict[str, Optimizer] = {"adamw": adamw, "sgd": sgd, "adam": adam}


def make_optimizer(
    model: nn.Module,
    name: str,
    *,
    head: Container[str] = (),
    head_lr_factor: float = 1.0,
    layer_decay: float = 1.0,
    **settings: float,
) -> torch.optim.Optimizer:
    """The optimizer over all parameters; biases and norms (one axis or none) do not decay.

    A group whose rate is not that of the schedule says its factor as `lr_scale`.

    Args:
        model: The network, of timm where `layer_decay` is not 1.
        name: One of `OPTIMIZERS`.
        head: Names of the last layer's parameters.
        head_lr_factor: Their rate is so many times that of the schedule.
        layer_decay: The rate of each of timm's layer groups is so many times that of the one behind it (Clark et al. 2020, section 3.5).
        settings: Its keyword parameters (`TrialConfig.settings_of`).
    """
    learned = {own: parameter for own, parameter in model.named_parameters() if parameter.requires_grad}
    depths = _depths(model) if layer_decay != 1 else {}
    scales = {own: layer_decay ** depths.get(own, 0) * (head_lr_factor if own in head else 1.0) for own in learned}
    groups: list[dict[str, object]] = []
    for scale in sorted(set(scales.values()), reverse=True):
        alike = [parameter for own, parameter in learned.items() if scales[own] == scale]
        said = {} if scale == 1 else {"lr_scale": scale}
        groups.append({"params": [p for p in alike if p.ndim > 1], **said})
        groups.append({"params": [p for p in alike if p.ndim <= 1], "weight_decay": 0.0, **said})
    return OPTIMIZERS[name]([group for group in groups if group["params"]], **settings)


def _depths(model: Any) -> dict[str, int]:
    """Parameter -> how many of timm's layer groups are behind its own."""
    from timm.models import group_parameters

    groups: dict[str, int] = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    return {name: max(groups.values()) - depth for name, depth in groups.items()}


def set_rates(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let each group learn at its part of this rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def state_copies(name: str, **settings: float) -> int:
    """How many numbers the optimizer remembers per weight, seen on a weight of its own; arguments as for `make_optimizer`."""
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = OPTIMIZERS[name]([{"params": [weight]}], **settings)
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    return sum(isinstance(kept, torch.Tensor) and kept.shape == weight.shape for kept in optimizer.state[weight].values())


def learning_rate(step: int, steps_per_epoch: int, *, lr: float, epochs: int, warmup_epochs: float) -> float:
    """The rate at `step` (from 0): linear from near 0 over the warm-up, then half a cosine to 0 (Loshchilov & Hutter 2017)."""
    total = epochs * steps_per_epoch
    warm = min(warmup_epochs * steps_per_epoch, total / 2)
    if step < warm:
        return lr * (step + 1) / (warm + 1)
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
