"""Training from the memory map against the same model fed from tensors in memory, augmentation off, in CPU-seconds.

    python -m benchmarks.training_speed

Goal: the bare loop takes at least 0.90 of our CPU-seconds. Both sides start from the same weights, see the same batches and must end
with equal weights, bit for bit; one thread.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", NO_ALBUMENTATIONS_UPDATE="1")

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks._photos import prepared
from benchmarks._sides import in_turn
from competitions.targets import targets
from trainables import backbones
from trainables.attach import attach
from trainables.batches import epoch_order, normalise, to_unit
from trainables.config import Question, TrialConfig, resolve
from trainables.optimizers import OPTIMIZERS, learning_rate, make_optimizer
from trainables.training import TrialContext, TrialRun, seed_everything

BACKBONES = ("test_efficientnet", "test_vit", "resnet10t")
PHOTOS, SIZE, REPEATS = 800, 64, 7


def bare_epoch(config: TrialConfig, context: TrialContext) -> tuple[float, torch.nn.Module]:
    """One epoch as a notebook would write it: all photos normalised in memory. CPU-seconds of the loop, and the network."""
    seed_everything(config.seed)
    model = backbones.build(config.backbone, config.heads, config.image_size)
    wanted = backbones.preprocessing(model, config.image_size)
    rows = context.training.rows
    photos = normalise(to_unit(context.training.images[rows], "cpu"), wanted)
    labels = torch.from_numpy(context.labels["kind"][rows]).long()
    optimizer = make_optimizer(model, config.optimizer, **config.settings_of(OPTIMIZERS[config.optimizer]))
    model.train()
    order = [torch.from_numpy(chosen) for chosen in epoch_order(len(rows), config.batch_size, config.seed, 1)]
    seed_everything(config.seed, 1)
    started = time.process_time()
    for step, chosen in enumerate(order):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, len(order), lr=config.lr, epochs=config.epochs, warmup_epochs=config.warmup_epochs)
        optimizer.zero_grad(set_to_none=True)
        loss: Any = torch.nn.functional.cross_entropy(model(photos[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
    return time.process_time() - started, model


def our_epoch(config: TrialConfig, context: TrialContext) -> tuple[float, torch.nn.Module]:
    """The same epoch by a `TrialRun`, validation and checkpoint not counted."""
    run = TrialRun(config, context)
    seed_everything(config.seed, 1)
    started = time.process_time()
    run._train(1)
    return time.process_time() - started, run.model


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = prepared(Path(folder), n=PHOTOS, side=96, size=SIZE)
        target = targets(data.competition)["kind"]
        question = Question("bench", "kind", target.heads, target.metric, data.data_fingerprint(target), "groups", 0, 0, SIZE)
        for backbone in BACKBONES:
            config = resolve({"backbone": backbone, "augmentation": "none", "epochs": 2}, question)
            context = attach(data, config)
            ours, bare = our_epoch(config, context)[1], bare_epoch(config, context)[1]
            equal = all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), bare.state_dict().values(), strict=True))
            sides = in_turn(lambda: our_epoch(config, context)[0], lambda: bare_epoch(config, context)[0], repeats=REPEATS)  # noqa: B023 - called at once
            print(sides.line(f"{backbone}, one epoch of {len(context.training.rows)} photos", "tensors in memory", "CPU-s"))
            print(f"  weights after the epoch equal: {equal}", flush=True)


if __name__ == "__main__":
    main()
