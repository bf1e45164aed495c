"""Contract of every search space: what it draws resolves, builds and trains, and it holds to its own rungs."""

import json
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from search_spaces import Facts, Space, auto, known_spaces, load_space
from system.errors import UserError
from trainables.backbones import build
from trainables.batches import TrainingRows, to_unit, training_batches
from trainables.config import DEFAULTS, Question, TrialConfig, resolve
from trainables.losses import class_weights, joint_loss
from trainables.optimizers import OPTIMIZERS, make_optimizer
from trainables.samplers import chances
from trainables.sizes import check_size
from trainables.training import loss_for

QUESTION = Question("any", "age", {"age": 3}, "macro_f1", "0123456789abcdef", "groups", 0, 0, 64)
N_DRAWS, SIDE = 200, 16
FACTS = Facts(
    side=200,
    image_size=64,
    n_train=3000,
    n_judged=750,
    n_test=1200,
    metric="macro_f1",
    tasks=("age", "mask"),
    heads={"age": ("age",), "mask": ("mask",), "both": ("age", "mask")},
    n_targets=0,
    hours=None,
    gpu=False,
    at_once=1,
)
MANY = ("baseline",)
"""Spaces of so many networks that building each takes long."""
LABELS = np.repeat(np.array([0, 1, 2], np.int16), (12, 6, 2))
PHOTOS = TrainingRows(
    np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8),
    np.arange(20),
    [f"photo-{n}" for n in range(20)],
)


def loaded(name: str, **others: Any) -> Space:
    """The space of this name, for `FACTS` but what is said otherwise."""
    return load_space(name).with_facts(replace(FACTS, **others))


def asked(name: str, **others: Any) -> list[dict[str, Any]]:
    """What the space tries first and 200 random draws, in order."""
    space = loaded(name, **others)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for parameters in space.first:
        study.enqueue_trial(dict(parameters))
    return [space.suggest(study.ask()) for _ in range(len(space.first) + N_DRAWS)]


@cache
def draws(name: str) -> list[TrialConfig]:
    return [resolve(parameters, QUESTION) for parameters in asked(name)]


@pytest.mark.parametrize("name", known_spaces())
def test_every_draw_resolves(name: str) -> None:
    space = load_space(name)
    assert all(set(parameters) <= set(DEFAULTS) for parameters in asked(name))
    assert all(config.epochs <= space.max_epochs for config in draws(name))
    ids = {config.trial_id for config in draws(name)}
    assert 1 <= space.grace_epochs <= space.max_epochs
    assert space.reduction >= 2
    assert len(ids) > N_DRAWS / 2, "a space that draws the same again and again searches nothing"


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long if name in MANY else ()) for name in known_spaces()])
def test_every_network_that_is_drawn_is_built_and_takes_its_photos(name: str) -> None:
    """On the meta device: shapes alone, no weights are fetched."""
    drawn = draws(name)
    for backbone, size, published in sorted({(c.backbone, c.image_size, c.weights.startswith("timm:")) for c in drawn}):
        check_size(backbone, size, published=published)
    rates = {(c.backbone, c.image_size, c.drop_rate > 0): c.drop_rate for c in drawn}  # how much is dropped changes no shape
    for (backbone, size, _), drop_rate in sorted(rates.items()):
        with torch.device("meta"):
            model = build(backbone, QUESTION.heads, size, drop_rate=drop_rate).train()
            assert model(torch.zeros(2, 3, size, size)).shape == (2, 3), (backbone, size, drop_rate)


@pytest.mark.parametrize("name", known_spaces())
def test_every_way_to_train_that_is_drawn_takes_a_step(name: str) -> None:
    ways = {
        (c.loss, c.optimizer, c.augmentation, c.sampler, c.class_weights, c.label_smoothing is None, c.focal_gamma is None): c
        for c in draws(name)
    }
    for way, config in ways.items():
        torch.manual_seed(0)
        model = torch.nn.Linear(3 * SIDE * SIDE, 3)
        before = model.weight.detach().clone()
        loss = step(model, config)
        assert torch.isfinite(loss), way
        assert torch.isfinite(model.weight).all(), way
        assert not torch.equal(model.weight, before), way


@pytest.mark.parametrize("name", [n for n in known_spaces() if loaded(n).first])
def test_what_is_tried_first_is_tried_as_written(name: str) -> None:
    space = loaded(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for wanted in space.first:
        study.enqueue_trial(dict(wanted))
        trial = study.ask()
        space.suggest(trial)
        assert {key: trial.params.get(key, value) for key, value in wanted.items()} == dict(wanted)
        assert set(wanted) <= set(trial.params) | set(DEFAULTS), "a first guess names a parameter that the space does not draw"


def test_an_unknown_space_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown space 'quikc'; did you mean quick"):
        load_space("quikc")


def step(model: torch.nn.Module, config: TrialConfig) -> torch.Tensor:
    """One batch through what a trial is trained with, at 16 px and with a linear network."""
    batches = training_batches(
        PHOTOS,
        batch_size=16,
        augmentation=config.augmentation,
        seed=0,
        epoch=1,
        chances=chances(config.sampler, {"age": LABELS}),
    )
    positions, images = next(iter(batches))
    optimizer = make_optimizer(model, config.optimizer, **config.settings_of(OPTIMIZERS[config.optimizer]))
    logits = model(to_unit(images, "cpu").flatten(1))
    weights = class_weights(config.class_weights, LABELS, 3)
    labels = torch.from_numpy(LABELS[positions].astype(np.int64))
    loss = joint_loss(logits, {"age": labels}, {"age": weights}, heads=config.heads, loss=loss_for(config))
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.detach()


def test_the_baseline_draws_a_parameter_only_where_it_matters() -> None:
    """Every parameter that Optuna saw is a setting of the trial it was drawn for."""
    space = load_space("baseline")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(N_DRAWS):
        trial = study.ask()
        config = resolve(space.suggest(trial), QUESTION).json()
        for name, value in trial.params.items():
            setting = name.removeprefix(f"{config['optimizer']}_").removeprefix("vit_")
            assert config[setting] == value or (setting == "backbone" and config[setting].startswith(f"{value}."))


@pytest.mark.parametrize("others", [{}, {"side": 28, "image_size": 32}, {"hours": 0.05}, {"hours": 2.0, "gpu": True}], ids=str)
def test_auto_draws_what_resolves_and_the_same_for_the_facts_that_a_plan_keeps(others: dict[str, Any]) -> None:
    drawn = asked("auto", **others)
    assert all(resolve(parameters, QUESTION).epochs <= auto.MAX_EPOCHS for parameters in drawn)
    kept = Facts.from_json(json.loads(json.dumps(asdict(replace(FACTS, **others)))))
    assert kept == replace(FACTS, **others)
    assert asked("auto", **asdict(kept)) == drawn


def test_auto_answers_by_a_probe_first_and_learns_tiny_photos_from_scratch() -> None:
    large, tiny = asked("auto"), asked("auto", side=28, image_size=32)
    assert (large[0]["probe"], large[1]["epochs"]) == ("logistic", auto.USUAL_EPOCHS)
    assert {parameters["pretrained"] for parameters in large} == {True}
    assert {(one["stem_stride"], one["image_size"], one.get("pretrained")) for one in tiny} == {(1, 32, None)}
    assert auto.targets(FACTS) == ("both",)
    assert auto.targets(replace(FACTS, heads={"age": ("age",), "mask": ("mask",)})) == ()


def test_auto_spends_more_hours_on_larger_photos_and_more_epochs_and_less_than_there_are() -> None:
    hours = [0.02, 0.08, 0.15, 0.25, 0.5, 1.0, 2.0, 24.0]
    plans = [auto.size_and_epochs(replace(FACTS, hours=one)) for one in hours]
    work = [size**2 * epochs for size, epochs in plans]
    assert plans[0][1] == 0
    assert all("probe" in parameters for parameters in asked("auto", hours=hours[0]))
    assert work == sorted(work)
    assert plans[-1] == (224, auto.MOST_EPOCHS)
    for one, (size, epochs) in zip(hours, plans, strict=True):
        assert epochs * FACTS.n_train / (auto.RATE_AT_128 * (128 / size) ** 2) < one * 3600
    assert [size for size, epochs in plans if epochs] == sorted(size for size, epochs in plans if epochs)
    assert [size for size, epochs in plans if not epochs] == sorted(size for size, epochs in plans if not epochs)
