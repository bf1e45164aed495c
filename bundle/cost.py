"""Costs: trials -> seconds per 1,000 photos and view, measured on this machine, and megabytes of weights.

Trials of one architecture, size and number of threads are timed once, with random weights and random pixels: neither changes the time.
What is timed is what prediction does with decoded photos: to floats, the view, the normalisation, the network, probabilities. Decoding
is not counted: it is the same for every choice, once per photo and size whatever votes. Clocks differ from run to run, so of two
choices whose costs are close another one may be taken the next time; a plan that was written stays what it is.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from competitions.prepare import Prepared
from ensemble.selection.pareto import Cost
from trainables import backbones
from trainables.attach import OpenedTrial
from trainables.backbones import Preprocessing
from trainables.batches import normalise, to_unit
from trainables.config import TrialConfig
from trainables.devices import compute_with
from trainables.losses import split_heads
from trainables.prediction import BATCH
from trainables.views import VIEWS

SECONDS = 0.4
"""Of timing per architecture; a network that needs longer for one batch is timed on fewer photos."""
FEW, REPEATS = 4, 5
Family = tuple[str, int, str, tuple[tuple[str, int], ...], int, int]


def measure_costs(prepared: Prepared, trials: Sequence[OpenedTrial], *, device: str = "cpu") -> dict[str, Cost]:
    """What each trial costs at prediction.

    Args:
        prepared: The competition's data; its views are timed in turn.
        trials: Finished, with their weights.
        device: Where the networks run.

    Returns:
        Trial id -> cost; equal seconds for trials of one architecture. Threads and random states are left as they were.

    Raises:
        FileNotFoundError: A trial has no weights.
    """
    of = {trial.folder.id: _family(trial.config) for trial in trials}
    threads = torch.get_num_threads()
    try:
        seconds = {family: _seconds_per_1000(family, prepared.competition.views, device) for family in sorted(set(of.values()))}
    finally:
        compute_with(threads)
    folders = [trial.folder for trial in trials]
    return {folder.id: Cost(seconds[of[folder.id]], folder.best.stat().st_size / 1e6) for folder in folders}


def _family(config: TrialConfig) -> Family:
    shape = config.backbone, config.stem_stride or 0, config.layout
    return *shape, tuple(config.heads.items()), config.image_size, config.threads


def _seconds_per_1000(family: Family, views: Sequence[str], device: str) -> float:
    """The median over a few batches, each through another view."""
    backbone, stem_stride, layout, heads, image_size, threads = family
    compute_with(threads)
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, image_size, image_size, 3), dtype=np.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = backbones.build(backbone, dict(heads), image_size, stem_stride=stem_stride or None, layout=layout)
        model.to(device).eval()
    wanted = backbones.preprocessing(model, image_size)

    def timed(n: int, view: str) -> float:
        started = time.perf_counter()
        _predict(model, pixels[:n], view, dict(heads), wanted, device)
        return time.perf_counter() - started

    timed(FEW, views[0])  # the first pass prepares what later ones find
    per_photo = timed(FEW, views[0]) / FEW
    n = int(np.clip(SECONDS / REPEATS / max(per_photo, 1e-9), FEW, BATCH))
    taken: list[float] = []
    while len(taken) < REPEATS and (not taken or sum(taken) + taken[-1] <= SECONDS):
        taken.append(timed(n, views[len(taken) % len(views)]))
    return 1000 * statistics.median(taken) / n


def _predict(
    model: Any, pixels: NDArray[np.uint8], view: str, heads: dict[str, int], wanted: Preprocessing, device: str
) -> list[NDArray[np.float16]]:
    """As `trainables.prediction.predict` does it for one view, on a batch of any size."""
    with torch.inference_mode():
        logits = model(normalise(VIEWS[view](to_unit(pixels, device)), wanted))
        parts = split_heads(logits, heads).values()
        return [part.float().softmax(dim=1).to(torch.float16).cpu().numpy() for part in parts]
