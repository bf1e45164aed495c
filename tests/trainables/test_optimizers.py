"""Every optimizer goes downhill; the learning rate rises, then falls; biases and norms do not decay."""

import pytest
import timm
import torch
from torch import nn

from trainables.optimizers import OPTIMIZERS, learning_rate, make_optimizer, set_rates

WARM = {"lr": 0.1, "epochs": 10, "warmup_epochs": 2.0}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_step_lowers_a_quadratic(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = make_optimizer(model, name, lr=0.01, weight_decay=0.01)
    values = []
    for _ in range(4):
        optimizer.zero_grad()
        value = (model.weight**2).sum() + (model.bias**2).sum()
        torch.autograd.backward(value)
        optimizer.step()
        values.append(value.item())
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_decay_and_biases_and_norms_do_not(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer(model, name, lr=0.1, weight_decay=0.5).step()
    decayed = {key: bool((value < 1).all()) for key, value in model.named_parameters()}
    assert decayed == {"0.weight": True, "0.bias": False, "1.weight": False, "1.bias": False}


def test_the_rate_rises_over_the_warm_up_and_falls_to_nearly_nothing() -> None:
    rates = [learning_rate(step, 5, **WARM) for step in range(50)]
    peak = rates.index(max(rates))
    assert peak == 10
    assert rates[peak] == pytest.approx(0.1)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001
    assert 0 < rates[0] < 0.02


def test_without_a_warm_up_the_first_step_has_the_full_rate() -> None:
    assert learning_rate(0, 5, lr=0.1, epochs=2, warmup_epochs=0.0) == 0.1


def test_the_last_layer_learns_faster_and_early_layers_slower() -> None:
    model = timm.create_model("test_resnet", num_classes=3)
    head = {"fc.weight", "fc.bias"}
    optimizer = make_optimizer(model, "sgd", head=head, head_lr_factor=10.0, layer_decay=0.5, lr=0.1, weight_decay=0.0)
    set_rates(optimizer, 0.01)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    named = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert len(named) == len(rates)
    assert [named[name] for name in sorted(head)] == pytest.approx([0.1, 0.1])
    stem = next(iter(named))
    stages = [named[f"layer{stage}.0.conv1.weight"] for stage in (1, 2, 3, 4)]
    assert named[stem] < stages[0] < stages[1] < stages[2] < stages[3] <= 0.01
