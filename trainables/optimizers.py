"""Optimizers and the learning rate over time."""

import math
from collections.abc import Callable, Iterable

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


def make_optimizer(model: nn.Module, name: str, **settings: float) -> torch.optim.Optimizer:
    """The optimizer over all parameters; biases and norms (one axis or none) do not decay.

    Args:
        model: The network.
        name: One of `OPTIMIZERS`.
        settings: Its keyword parameters (`TrialConfig.settings_of`).
    """
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return OPTIMIZERS[name]([{"params": decayed}, {"params": others, "weight_decay": 0.0}], **settings)


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
