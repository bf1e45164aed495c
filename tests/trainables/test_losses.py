"""Every loss and every class weighting keeps its contract; a new line in the dicts is tested at once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from competitions.metrics import METRICS
from trainables.config import TrialConfig
from trainables.losses import CLASS_WEIGHTS, LOSSES, class_weights, joint_loss
from trainables.training import loss_for

Configure = Callable[..., TrialConfig]
C = 3
SETTINGS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in LOSSES]
SETTINGS += [("focal", {"focal_gamma": gamma}) for gamma in (0.0, 0.5, 5.0)] + [("label_smoothing", {"label_smoothing": 0.0})]


@pytest.fixture(params=SETTINGS, ids=str)
def config(request: pytest.FixtureRequest, configure: Configure) -> TrialConfig:
    name, settings = request.param
    return configure(loss=name, **settings)


def loss_of(config: TrialConfig, logits: Tensor, labels: list[int], weights: list[float] | None = None) -> Tensor:
    heavy = {"colour": None if weights is None else torch.tensor(weights)}
    return joint_loss(logits, {"colour": torch.tensor(labels)}, heavy, heads={"colour": C}, loss=loss_for(config))


@pytest.mark.parametrize("size", [0.0, 1.0, 30.0, 1e4])
def test_the_gradient_is_finite_however_sure_the_network_is(config: TrialConfig, size: float) -> None:
    logits = (size * torch.tensor([[1.0, -1, 0], [-1, 1, 0], [0, 0, 1], [0, 0, -1]])).requires_grad_()
    loss = loss_of(config, logits, [0, 0, 2, 2], [1.0, 2.0, 0.5])
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_photos_without_a_label_do_not_count(config: TrialConfig) -> None:
    logits = torch.randn(6, C, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = [0, -1, 2, 1, -1, 0]
    known = [i for i, label in enumerate(labels) if label >= 0]
    loss = loss_of(config, logits, labels)
    torch.testing.assert_close(loss, loss_of(config, logits[known], [labels[i] for i in known]))
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert (logits.grad.abs().sum(1) > 0).tolist() == [label >= 0 for label in labels]


def test_a_batch_without_any_label_costs_nothing_and_moves_nothing(config: TrialConfig) -> None:
    logits = torch.ones(4, C, requires_grad=True)
    loss = loss_of(config, logits, [-1] * 4, [1.0, 2.0, 3.0])
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_descent_ends_at_the_right_class(config: TrialConfig) -> None:
    logits, labels = torch.zeros(C, C, requires_grad=True), list(range(C))
    before = loss_of(config, logits, labels)
    for _ in range(50):
        (slope,) = torch.autograd.grad(loss_of(config, logits, labels), logits)
        logits = (logits - slope).detach().requires_grad_()
    assert loss_of(config, logits, labels) < before
    assert logits.argmax(1).tolist() == labels


def test_weights_scale_the_loss_and_a_heavier_class_costs_more(config: TrialConfig) -> None:
    logits, labels = torch.zeros(4, C), [0, 0, 1, 2]
    once = loss_of(config, logits, labels, [1.0, 1.0, 1.0])
    torch.testing.assert_close(once, loss_of(config, logits, labels))
    torch.testing.assert_close(loss_of(config, logits, labels, [3.0, 3.0, 3.0]), 3 * once)
    assert loss_of(config, logits, labels, [5.0, 1.0, 1.0]) > once


def test_two_heads_count_the_same_and_read_their_own_columns() -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    labels = {"age": torch.tensor([0, 1, 2, -1, 0]), "mask": torch.tensor([1, -1, -1, -1, 0])}
    whole = joint_loss(logits, labels, {"age": None, "mask": None}, heads={"age": 3, "mask": 2}, loss=LOSSES["cross_entropy"])
    age = torch.nn.functional.cross_entropy(logits[:, :3], labels["age"], ignore_index=-1)
    mask = torch.nn.functional.cross_entropy(logits[:, 3:], labels["mask"], ignore_index=-1)
    torch.testing.assert_close(whole, (age + mask) / 2)


def test_focal_and_smoothing_without_effect_are_cross_entropy(configure: Configure) -> None:
    logits, labels = torch.randn(8, C, generator=torch.Generator().manual_seed(2)), [0, 1, 2, 0, 1, 2, 0, -1]
    plain = loss_of(configure(), logits, labels, [1.0, 2.0, 3.0])
    for name, loss in (("focal_gamma", "focal"), ("label_smoothing", "label_smoothing")):
        torch.testing.assert_close(loss_of(configure(loss=loss, **{name: 0.0}), logits, labels, [1.0, 2.0, 3.0]), plain)


def test_soft_f1_is_that_of_the_counts_where_the_network_is_sure(configure: Configure) -> None:
    labels, predicted = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 2, 2])
    logits = torch.nn.functional.one_hot(torch.from_numpy(predicted), C) * 1e3
    loss = loss_of(configure(loss="f1"), logits, labels.tolist())
    assert loss.item() == pytest.approx(1 - METRICS["macro_f1"](np.eye(C)[predicted], labels), abs=1e-6)


def test_soft_f1_counts_classes_evenly_and_leaves_out_those_that_are_absent(configure: Configure) -> None:
    config = configure(loss="f1")
    logits = torch.zeros(4, C)  # each class has probability 1/3, so per class F1 = 2 n/3 / (4/3 + n)
    assert loss_of(config, logits, [0, 0, 0, 1]).item() == pytest.approx(1 - (6 / 13 + 2 / 7) / 2)
    weighted = loss_of(config, logits, [0, 0, 0, 1], [1.0, 5.0, 100.0])
    assert weighted.item() == pytest.approx(((1 - 6 / 13) + 5 * (1 - 2 / 7)) / 2), "a weight multiplies its class's term"


@pytest.mark.parametrize("name", CLASS_WEIGHTS)
def test_class_weights_have_a_mean_of_one_over_the_labelled_photos(name: str) -> None:
    labels = np.repeat(np.array([0, 1, 2, -1], np.int16), (90, 9, 1, 50))
    weights = class_weights(name, labels, 4)  # nobody has class 3
    if name == "none":
        assert weights is None
        return
    assert weights is not None
    assert weights.dtype == torch.float32
    assert torch.isfinite(weights).all()
    assert weights[labels[labels >= 0].astype(np.int64)].mean().item() == pytest.approx(1, abs=1e-5)
    assert weights[0] < weights[1] < weights[2], "a rarer class weighs more"


def test_balanced_weights_give_every_class_the_same_total() -> None:
    weights = class_weights("balanced", np.repeat(np.array([0, 1, 2], np.int16), (90, 9, 1)), 3)
    assert weights is not None
    torch.testing.assert_close(weights * torch.tensor([90.0, 9, 1]), torch.full((3,), 100 / 3))
