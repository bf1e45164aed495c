"""From a prepared competition and a configuration to what one trial needs: its photos, labels and folder on this machine."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from competitions.prepare import Prepared
from competitions.targets import Target
from ledger.predictions import PARTS
from ledger.trials import ALL_DATA, TrialFolder
from trainables.batches import TrainingRows
from trainables.config import TrialConfig
from trainables.prediction import Photos, complete, missing_views
from trainables.training import TrialContext, best_predictions


def attach(
    prepared: Prepared, config: TrialConfig, *, trials: Path | None = None, device: str = "cpu", loader_workers: int = 0
) -> TrialContext:
    """The context in which `run_trial` trains this configuration.

    Args:
        prepared: The competition's data, with the split the configuration names.
        config: The resolved configuration.
        trials: Folder of all trials; the competition's own unless told otherwise.
        device: `cpu` or `cuda`.
        loader_workers: Threads that prepare batches.

    Raises:
        ValueError: The data are not those the configuration was made for.
    """
    target = target_of(config, prepared)
    if prepared.data_fingerprint(target) != config.data:
        raise ValueError(f"trial {config.trial_id} was made for data {config.data}, this is {prepared.data_fingerprint(target)}")
    cache = prepared.cache(config.image_size)
    training, _ = prepared.rows(target, config.fold)
    ids = prepared.manifest.image_ids
    by_id = sorted(training, key=lambda row: ids[row])  # so that a table in another order teaches the same
    training = np.array(by_id, dtype=np.int64)
    return TrialContext(
        folder=TrialFolder((trials or prepared.paths.trials) / config.trial_id),
        training=TrainingRows(cache.images, training, [ids[row] for row in training]),
        validation=photos(prepared, config, "validation"),
        labels={head: prepared.manifest.labels[head] for head in config.heads},
        weights=weights_store(prepared),
        device=device,
        loader_workers=loader_workers,
    )


def photos(prepared: Prepared, config: TrialConfig, part: str) -> Photos:
    """The photos of one part, `validation` or `test`, in manifest order; those that cannot be read get the training prior."""
    target = target_of(config, prepared)
    training, validation = prepared.rows(target, config.fold)
    rows = validation if part == "validation" else prepared.manifest.rows("test")
    names = [(prepared.manifest.image_ids[row], prepared.pixels[row]) for row in rows]
    broken = [position for position, (image_id, _) in enumerate(names) if image_id in prepared.broken]
    images = prepared.cache(config.image_size).images
    return Photos(images, rows, names, np.array(broken, dtype=np.int64), prepared.priors(config.heads, training))


def complete_trial(
    prepared: Prepared, folder: TrialFolder, views: Sequence[str], *, parts: Sequence[str] = PARTS, device: str = "cpu"
) -> None:
    """Compute and keep what is missing of a finished trial's predictions, for these views and parts."""
    config, record = TrialConfig.from_json(folder.config()), folder.record()
    if record is None or not record.finished:
        raise ValueError(f"trial {folder.id} is not finished, so it has no predictions to complete")
    torch.set_num_threads(config.threads)
    asked = {part: photos(prepared, config, part) for part in _parts(config, parts)}
    complete(config, folder.best, best_predictions(folder, record), asked, views, device)


def is_complete(prepared: Prepared, folder: TrialFolder, views: Sequence[str], *, parts: Sequence[str] = PARTS) -> bool:
    """Whether nothing is missing of a finished trial's predictions for these views and parts."""
    config, record = TrialConfig.from_json(folder.config()), folder.record()
    if record is None or not record.finished:
        return False
    kept = best_predictions(folder, record)
    return not any(missing_views(kept, config, part, views, photos(prepared, config, part)) for part in _parts(config, parts))


def _parts(config: TrialConfig, parts: Sequence[str]) -> list[str]:
    """The parts that have photos: a trial that learned from all of them has none to be judged on."""
    return [part for part in parts if part != "validation" or config.fold != ALL_DATA]


def target_of(config: TrialConfig, prepared: Prepared) -> Target:
    """The target a configuration was made for."""
    return Target(config.target, config.heads, config.metric)


def weights_store(prepared: Prepared) -> Path:
    """Where start weights are kept by their hash."""
    return prepared.paths.data / "weights"
