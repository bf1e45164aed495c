"""Optimizers and the learning rate over time."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from trainables.config import TrialConfig

OPTIMIZERS: dict[str, Callable[[Iterable[dict[str, object]], TrialConfig], torch.optim.Optimizer]] = {
    "adamw": lambda groups, c: torch.optim.AdamW(groups, lr=c.lr, weight_decay=c.weight_decay),
    "sgd": lambda groups, c: torch.optim.SGD(
        groups, lr=c.lr, momentum=c.momentum or 0.0, weight_decay=c.weight_decay, nesterov=bool(c.momentum)
    ),
    # decay is added to the slope (L2), so it is scaled like it; AdamW takes it off the weights (Loshchilov & Hutter 2019)
    "adam": lambda groups, c: torch.optim.Adam(groups, lr=c.lr, weight_decay=c.weight_decay),
}


def make_optimizer(model: nn.Module, config: TrialConfig) -> torch.optim.Optimizer:
    """The optimizer over all parameters; biases and norms (one axis or none) do not decay."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return OPTIMIZERS[config.optimizer]([{"params": decayed}, {"params": others, "weight_decay": 0.0}], config)


def state_copies(config: TrialConfig) -> int:
    """How many numbers the optimizer remembers per weight, seen on a weight of its own."""
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = OPTIMIZERS[config.optimizer]([{"params": [weight]}], config)
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    return sum(isinstance(kept, torch.Tensor) and kept.shape == weight.shape for kept in optimizer.state[weight].values())


def learning_rate(config: TrialConfig, step: int, steps_per_epoch: int) -> float:
    """The rate at `step` (from 0): linear from near 0 over the warm-up, then half a cosine to 0 (Loshchilov & Hutter 2017)."""
    total = config.epochs * steps_per_epoch
    warm = min(config.warmup_epochs * steps_per_epoch, total / 2)
    if step < warm:
        return config.lr * (step + 1) / (warm + 1)
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
