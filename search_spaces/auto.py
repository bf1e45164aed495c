"""What a good competitor would try, by the size and number of the photos, the hours and the machine. The default of run_search.py.

    python run_search.py COMPETITION --hours 1

* Photos below 48 px are learned from scratch (`scratch_small`).
* Others start from published EfficientNet-Lite weights: probes answer first, with hours one at 64 px before all. Then one network with
  all heads is fine-tuned where the YAML has such a target, else one per task, and a search around it follows.
* Hours decide how large photos are and how many epochs there are, so that the first fine-tuning ends, its rate gone down to 0. Where
  there is no time for four epochs at 96 px, probes alone are tried, on photos as large as time allows.

Where the rules come from, each on one CPU core. Clothing, a fifth of the senders held out, one seed, macro-F1 of garment (17 classes):
the probe at 96 px 0.422 after 33 s; fine-tuned at 96 px for 1.8 epochs 0.390 after 136 s from a random last layer, and for 1.6 epochs
0.381 after 152 s from the probe's. So fewer than four epochs are not worth it. The speeds are those of the constants below. Nobody has
measured a GPU, or which of the rules is best for larger photos. Scores of whole searches: docs/results.md.
"""

import math
from typing import Any

from search_spaces import Facts, probe, scratch_small

MAX_EPOCHS = 30
GRACE_EPOCHS = 4
REDUCTION = 2
TINY = 48
"""Photos with a shorter side below this are too small for a stem that was trained on 224 px."""
SIZES = (224, 192, 160, 128, 96)
USUAL, USUAL_EPOCHS, MOST_EPOCHS, FEWEST_EPOCHS = 128, 10, 20, 4
"""Without hours the first two; with them the largest of `SIZES` at which there is time for the fewest epochs, then as many as fit."""
RATE_AT_128 = 22.0
"""Photos of 128 px a second that one CPU core trains EfficientNet-Lite0 with; it falls with the area. Three times as many are predicted."""
RATE_OF_SMALL = 400.0
"""Photos of 32 px a second that one CPU core trains `scratch_small` with."""
GPU_GAIN = 40.0
"""How many CPU cores a GPU stands for: an estimate that nobody has measured."""
AT_START_S, DECODED_PER_S, PROBED_PER_S, FOR_EXPORTS = 25.0, 200.0, 72.0, 0.3
"""What is gone before the first fine-tuning, with photos decoded at two sizes, and the part of the hours that exports take."""
QUICK = 64
"""With hours, a probe of photos of this size goes first: it is there in a quarter of the time of 128 px, also where a machine is busy."""
FOR_FEATURES = 0.6
"""The most of the time that the features of probes take where nothing is fine-tuned."""
LARGEST_GAIN = 1.5
"""Photos are not blown up beyond so many times their own side."""
SEVERAL = ((7200.0, 4), (2400.0, 2))
"""From so many seconds on, time is for so many rounds of fine-tuning; below, all of it is for one."""


def targets(facts: Facts) -> tuple[str, ...]:
    """One network with every task as a head, where the YAML has such a target: it learns all of them in the time of one."""
    joint = [name for name, heads in facts.heads.items() if set(heads) == set(facts.tasks)]
    return tuple(joint[:1]) if len(facts.tasks) > 1 else ()


def first(facts: Facts) -> list[dict[str, Any]]:
    """A probe and the plain fine-tuning, then others; probes alone where there is no time; tiny photos have those of `scratch_small`."""
    if facts.side < TINY:
        return scratch_small.FIRST
    size, epochs = size_and_epochs(facts)
    probes = [{"kind": "probe", "probe_size": size, **head} for head in probe.HEADS]
    quick = [] if facts.hours is None else [{**probes[0], "probe_size": QUICK}]
    if not epochs:
        return quick + probes
    plain: dict[str, Any] = {
        "kind": "finetune",
        "head_start": "logistic",
        "head_lr_factor": 1.0,
        "lr": 6e-4,
        "weight_decay": 0.02,
        "drop_rate": 0.2,
    }
    plain |= {"augmentation": "crops", "mix": "none", "loss": "label_smoothing", "label_smoothing": 0.1, "ema_decay": 0.0}
    return [*quick, probes[0], plain, probes[1], {**plain, "lr": 1e-3, "augmentation": "light"}]


def suggest(trial: Any, facts: Facts) -> dict[str, Any]:
    """A probe or a fine-tuning of published weights; in the latter classes are weighted where the metric counts them evenly."""
    if facts.side < TINY:
        return {**scratch_small.drawn(trial), "image_size": _tiny_size(facts), "epochs": small_epochs(facts)}
    size, epochs = size_and_epochs(facts)
    start = {"backbone": "tf_efficientnet_lite0", "pretrained": True, "image_size": size}
    if trial.suggest_categorical("kind", ["finetune", "probe"] if epochs else ["probe"]) == "probe":
        sizes = [size] if facts.hours is None else [QUICK, size]
        return {**start, "image_size": trial.suggest_categorical("probe_size", sizes), **probe.drawn(trial)}
    evenly = "sqrt" if facts.metric in ("macro_f1", "balanced_accuracy") else "none"
    return {**start, "epochs": epochs, "class_weights": evenly, **_finetuning(trial)}


def _finetuning(trial: Any) -> dict[str, Any]:
    loss = trial.suggest_categorical("loss", ["cross_entropy", "label_smoothing"])
    settings: dict[str, Any] = {
        "layout": "auto",
        "batch_size": 32,
        "warmup_epochs": 0.5,
        "optimizer": "adamw",
        "lr": trial.suggest_float("lr", 2e-4, 2e-3, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 1e-1, log=True),
        "head_start": trial.suggest_categorical("head_start", ["logistic", "none"]),
        "head_lr_factor": trial.suggest_categorical("head_lr_factor", [1.0, 10.0]),
        "drop_rate": trial.suggest_categorical("drop_rate", [0.0, 0.2]),
        "loss": loss,
        "augmentation": trial.suggest_categorical("augmentation", ["crops", "light", "strong"]),
        "mix": trial.suggest_categorical("mix", ["none", "mixup", "cutmix"]),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.0, 0.98]),
    }
    if loss == "label_smoothing":
        settings["label_smoothing"] = trial.suggest_float("label_smoothing", 0.02, 0.2)
    return settings


def size_and_epochs(facts: Facts) -> tuple[int, int]:
    """How large photos are, and how many epochs are planned; with 0 there is no time for a fine-tuning, and the size is the probes'."""
    sizes = [size for size in SIZES if size <= LARGEST_GAIN * facts.side] or [SIZES[-1]]
    if facts.hours is None:
        return min(USUAL, sizes[0]), USUAL_EPOCHS
    faster = {size: (USUAL / size) ** 2 for size in sizes}
    n_photos = facts.n_train + facts.n_judged + facts.n_test
    probed = {size: n_photos / (PROBED_PER_S * faster[size] * _cores(facts)) for size in sizes}
    epochs = {size: int(_seconds_each(facts, probed[size]) / _epoch_s(facts, RATE_AT_128 * faster[size])) for size in sizes}
    size = next((size for size in sizes if epochs[size] >= FEWEST_EPOCHS), None)
    if size is not None:
        return size, min(epochs[size], MOST_EPOCHS)
    return next((size for size in sizes if probed[size] <= FOR_FEATURES * _seconds_each(facts, 0.0)), sizes[-1]), 0


def small_epochs(facts: Facts) -> int:
    """How many epochs of tiny photos are planned, at least one."""
    if facts.hours is None:
        return scratch_small.MAX_EPOCHS
    each = _epoch_s(facts, RATE_OF_SMALL * (32 / _tiny_size(facts)) ** 2)
    return max(1, min(int(_seconds_each(facts, 0.0) / each), MAX_EPOCHS))


def _seconds_each(facts: Facts, before: float) -> float:
    """Seconds of one trial of those that are planned, after what takes `before`."""
    assert facts.hours is not None, "there is no limit"
    n_decoded = 0 if facts.side < TINY else facts.n_train + facts.n_judged + facts.n_test
    seconds = facts.hours * 3600 * (1 - FOR_EXPORTS) - AT_START_S - n_decoded / DECODED_PER_S - before
    rounds = next((n for least, n in SEVERAL if seconds >= least), 1)
    n_targets = facts.n_targets or (1 if targets(facts) else len(facts.tasks))
    return max(0.0, seconds) * min(1.0, facts.at_once / n_targets) / rounds


def _epoch_s(facts: Facts, rate: float) -> float:
    """Seconds of an epoch and its judging, three times as fast as training, at `rate` photos a second of a CPU core."""
    return (facts.n_train + facts.n_judged / 3) / (rate * _cores(facts))


def _cores(facts: Facts) -> float:
    """How many CPU cores work on one trial, as far as is known."""
    return GPU_GAIN if facts.gpu else 1.0


def _tiny_size(facts: Facts) -> int:
    """The competition's own size, or that of the photos in whole eights where it is far larger."""
    own = 8 * math.ceil(facts.side / 8)
    return facts.image_size if facts.image_size <= 2 * own else own
