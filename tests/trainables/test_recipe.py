"""What training means is frozen per RECIPE: three steps of a tiny network, for each name a configuration may use."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ledger.predictions import Predictions
from ledger.trials import TrialFolder
from trainables.batches import TrainingRows
from trainables.config import RECIPE, Question, named, resolve
from trainables.prediction import PhotoBatches
from trainables.training import TrialContext, run_trial

N, SIZE = 80, 32
RTOL = 5e-4
"""Processors add in another order: without vector instructions one case moved by 1.6e-4; cases differ by 7e-3 and more."""
BASE = {
    "backbone": "test_vit",
    "epochs": 3,
    "batch_size": 16,
    "warmup_epochs": 1.0,
    "lr": 0.005,
    "weight_decay": 0.5,
    "augmentation": "none",
}
ELSEWHERE = ("precision", "probe", "probe_scaling", "layout", "head_start")
"""Settings without steps of their own: what probes learn is frozen in probes/test_heads.py."""
CASES: dict[str, dict[str, Any]] = {
    "base": {},
    **{f"{setting} {name}": {setting: name} for setting, names in named().items() for name in names if setting not in ELSEWHERE},
    "optimizer sgd": {"optimizer": "sgd", "lr": 0.1},
    "ema": {"ema_decay": 0.9},
    "dropout": {"drop_rate": 0.5},
    "micro_batch": {"micro_batch": 5},
    "seed": {"seed": 1},
    "batch norm": {"backbone": "test_byobnet"},
    "layout": {"backbone": "test_byobnet", "layout": "channels_last"},
    "stem_stride": {"backbone": "test_byobnet", "stem_stride": 1},
    "drop_path": {"drop_path": 0.5},
    "head_lr_factor": {"head_lr_factor": 5.0},
    "layer_decay": {"layer_decay": 0.5},
    "frozen_epochs": {"frozen_epochs": 1},
    "clip_norm": {"clip_norm": 0.5},
}
GOLDEN: dict[int, dict[str, list[float]]] = {
    1: {
        "base": [0.947028, 0.7314633, 0.597084, 1.227062],
        "loss cross_entropy": [0.947028, 0.7314633, 0.597084, 1.227062],
        "loss label_smoothing": [0.9427823, 0.7550176, 0.6592125, 1.205575],
        "loss focal": [0.3797454, 0.2412216, 0.3242006, 1.200443],
        "loss f1": [0.6164861, 0.5520993, 0.3899274, 1.192231],
        "class_weights none": [0.947028, 0.7314633, 0.597084, 1.227062],
        "class_weights balanced": [0.9214827, 0.8209784, 0.6077522, 1.414336],
        "class_weights sqrt": [0.9348233, 0.7824304, 0.5522637, 1.18958],
        "sampler none": [0.947028, 0.7314633, 0.597084, 1.227062],
        "sampler balanced": [0.9179217, 0.8406726, 0.6482262, 1.145638],
        "sampler sqrt": [0.9155163, 0.7860477, 0.9257674, 1.314313],
        "optimizer adamw": [0.947028, 0.7314633, 0.597084, 1.227062],
        "optimizer sgd": [0.947028, 0.7694367, 0.7588153, 1.287176],
        "optimizer adam": [0.947028, 0.757996, 0.6779655, 1.131341],
        "augmentation none": [0.947028, 0.7314633, 0.597084, 1.227062],
        "augmentation light": [0.9437588, 0.8129056, 0.8676748, 1.25657],
        "augmentation strong": [0.9226284, 0.8267866, 0.8107758, 1.272239],
        "ema": [0.947028, 0.7314633, 0.597084, 1.218113],
        "dropout": [0.9677421, 0.7385625, 0.5225061, 1.278146],
        "micro_batch": [0.9473504, 0.7319097, 0.563377, 1.231966],
        "seed": [0.9594253, 0.7205646, 0.5737537, 1.403308],
        "batch norm": [0.9029192, 0.6672763, 0.3959587, 1.092783],
        "augmentation crops": [0.9392337, 0.7762867, 0.826907, 1.253303],
        "augmentation shifts": [0.9385064, 0.8173487, 0.8419367, 1.247188],
        "mix none": [0.947028, 0.7314633, 0.597084, 1.227062],
        "mix mixup": [1.030244, 0.7590926, 0.6376293, 1.205],
        "mix cutmix": [0.922727, 0.7196553, 0.6475577, 1.263474],
        "layout": [0.9029192, 0.6672763, 0.3959587, 1.092783],
        "stem_stride": [0.8946065, 0.7584696, 0.5926759, 1.093767],
        "drop_path": [0.9770811, 0.757652, 0.5266032, 1.338856],
        "head_lr_factor": [0.947028, 0.7402449, 0.4857905, 1.852697],
        "layer_decay": [0.947028, 0.7520945, 0.5829686, 1.244245],
        "frozen_epochs": [0.947028, 0.8951294, 0.6788124, 1.251424],
        "clip_norm": [0.947028, 0.7314663, 0.5807827, 1.200329],
    },
}
"""RECIPE -> case -> the losses of the three steps, and the validation loss after them."""


def three_steps(settings: dict[str, Any], folder: Path) -> list[float]:
    """The losses of three steps (one batch each, learning rate 0.5, 1 and 0.5 of `lr`) and the validation loss at their end."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (N, SIZE, SIZE, 3), dtype=np.uint8)
    labels = {"age": chance.integers(0, 3, N).astype(np.int16), "mask": chance.integers(-1, 2, N).astype(np.int16)}
    ids = [f"photo-{number}" for number in range(N)]
    rest = dict(settings)
    question = Question("golden", "both", {"age": 3, "mask": 2}, "macro_f1", "drawn", "groups", 0, rest.pop("seed", 0), SIZE)
    config = resolve({**BASE, **rest}, question)
    rows = np.arange(N)
    priors = {"age": np.full(3, 1 / 3), "mask": np.full(2, 1 / 2)}
    context = TrialContext(
        folder=TrialFolder(folder / config.trial_id),
        training=TrainingRows(images, rows[:16], ids[:16]),
        validation=PhotoBatches(images, rows[16:], [(name, name) for name in ids[16:]], np.array([], np.int64), priors),
        labels=labels,
    )
    lines: list[dict[str, Any]] = []
    run_trial(config, context, lines.append)
    probs = Predictions(context.folder.predictions / "epochs").read("validation", "age", "epoch0003")[1].astype(np.float64)
    judged = -np.log(probs[np.arange(N - 16), labels["age"][16:]]).mean()
    return [line["loss"] for line in lines] + [float(judged)]


@pytest.mark.parametrize("case", CASES)
def test_losses_move_only_with_the_recipe(case: str, tmp_path: Path) -> None:
    found = three_steps(CASES[case], tmp_path)
    assert RECIPE in GOLDEN, f"RECIPE is {RECIPE} and has no golden numbers here; add them"
    stored = GOLDEN[RECIPE].get(case)
    assert stored is not None, f"new case {case!r}; store {[float(f'{value:.7g}') for value in found]}"
    np.testing.assert_allclose(
        found,
        stored,
        rtol=RTOL,
        err_msg=(
            f"training with {CASES[case] or 'the defaults'} no longer learns what RECIPE {RECIPE} learned. If that was not meant, "
            "mend it. If the meaning of training changed on purpose, raise RECIPE in trainables/config.py by one and store the "
            f"new numbers under it: {[float(f'{value:.7g}') for value in found]}"
        ),
    )


def test_every_case_learns_something_else() -> None:
    none = {f"{setting} none" for setting in ("class_weights", "sampler", "augmentation", "mix")}
    same_as_base = {"base", "loss cross_entropy", "optimizer adamw", *none}
    only_faster = {"layout"}
    different = {tuple(GOLDEN[RECIPE][case]) for case in CASES if case not in same_as_base | only_faster}
    assert len(different) == len(CASES) - len(same_as_base | only_faster)
    assert len({tuple(GOLDEN[RECIPE][case]) for case in same_as_base}) == 1
