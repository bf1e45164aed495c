"""From a prepared competition and a configuration to what one trial needs: its photos, labels and folder on this machine."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.prepare import Prepared
from competitions.targets import Target, targets
from ledger.predictions import OUTSIDE, PARTS, ReadOnce, best_predictions
from ledger.reading import DAMAGE, readable_config, readable_record
from ledger.trials import ALL_DATA, Record, TrialFolder
from system.errors import UserError
from system.files import file_hash
from trainables.backbones import keep_weights
from trainables.batches import TrainingRows
from trainables.best_weights import best_is_whole, fault_of_best, lost_weights, went_on
from trainables.config import TrialConfig
from trainables.devices import compute_with
from trainables.prediction import PhotoBatches, complete, missing_views
from trainables.probes.features import FrozenSettings, PhotoFeatures
from trainables.probes.run import complete_probe
from trainables.start.initial_weights import is_trial_start
from trainables.training import TrialContext


def attach(
    prepared: Prepared,
    config: TrialConfig,
    *,
    trials: Path | None = None,
    device: str = "cpu",
    loader_workers: int = 0,
    study: str = "",
) -> TrialContext:
    """The context in which `run_trial` trains this configuration.

    Args:
        prepared: The competition's data, with the split the configuration names.
        config: The resolved configuration.
        trials: Folder of all trials; the competition's own unless told otherwise.
        device: `cpu` or `cuda`.
        loader_workers: Threads that prepare batches.
        study: The name of the study that trains it, if one does.

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
        labels=prepared.labels(target),
        weights=weights_store(prepared),
        device=device,
        loader_workers=loader_workers,
        study=study,
        features=features_of(prepared, config, place=trials, device=device) if config.needs_features else None,
    )


def features_of(
    prepared: Prepared, frozen: FrozenSettings | TrialConfig, *, place: Path | None = None, device: str = "cpu"
) -> PhotoFeatures:
    """The features that a last layer is fitted on: the competition's own, or with a `place` those of a storage apart."""
    return PhotoFeatures(
        folder=(place or prepared.paths.data) / "features",
        store=weights_store(prepared),
        images=prepared.cache(frozen.image_size).images,
        names=prepared.once("names", lambda: tuple(zip(prepared.manifest.image_ids, prepared.pixels, strict=True))),
        groups=prepared.manifest.groups,
        order=np.lexsort((prepared.folds.fold, np.array(prepared.manifest.roles))),
        backbone=frozen.backbone,
        weights=frozen.weights,
        image_size=frozen.image_size,
        threads=frozen.threads,
        device=device,
    )


def photos(prepared: Prepared, config: TrialConfig, part: str) -> PhotoBatches:
    """The photos of one part in manifest order; those that cannot be read get the training prior.

    Args:
        prepared: The competition's data.
        config: The trial's configuration.
        part: One of `parts_of(config, prepared)`.
    """
    target = target_of(config, prepared)
    asked = (part, target.name, config.fold, config.image_size)
    return prepared.once(asked, lambda: _photos(prepared, config, part, target))


def priors(prepared: Prepared, config: TrialConfig) -> dict[str, NDArray[np.float64]]:
    """Head -> class shares `(C,)` of the photos that a trial learns from: how it votes on one that cannot be read."""
    target = target_of(config, prepared)
    training, _ = prepared.rows(target, config.fold)
    return prepared.priors(target, training)


def _photos(prepared: Prepared, config: TrialConfig, part: str, target: Target) -> PhotoBatches:
    _, validation = prepared.rows(target, config.fold)
    rows = validation if part == "validation" else prepared.manifest.rows("test")
    if part == OUTSIDE:
        rows = prepared.outside(target, config.fold)
    names = tuple((prepared.manifest.image_ids[row], prepared.pixels[row]) for row in rows)
    broken = [position for position, (image_id, _) in enumerate(names) if image_id in prepared.broken]
    images = prepared.cache(config.image_size).images
    return PhotoBatches(images, rows, names, np.array(broken, dtype=np.int64), priors(prepared, config))


@dataclass(frozen=True)
class OpenedTrial:
    """A trial's folder, and what its files say: each is read once, when it is first asked for."""

    folder: TrialFolder

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What `config.json` says."""
        return self.folder.config()

    @cached_property
    def config(self) -> TrialConfig:
        """Its settings as a configuration."""
        return TrialConfig.from_json(self.settings)

    @cached_property
    def record(self) -> Record | None:
        """What came of it."""
        return readable_record(self.folder)

    @cached_property
    def predictions(self) -> ReadOnce:
        """The cached predictions of its best weights; only a trial with a record has some."""
        assert self.record is not None, f"trial {self.folder.id} has no record"
        return ReadOnce(best_predictions(self.folder, self.record).folder)

    def has_whole_best(self) -> bool:
        """As `best_is_whole`; record and settings are read again only where something is wrong, for the trial may have gone on."""
        try:
            opened = self.record if self.settings else None
        except (OSError, *DAMAGE):
            opened = None  # `best_is_whole` names it
        if opened is not None and opened.weights is not None and fault_of_best(self.folder, opened) is None:
            return True
        return best_is_whole(self.folder)


def complete_trial(
    prepared: Prepared, folder: TrialFolder, views: Sequence[str], *, parts: Sequence[str] | None = None, device: str = "cpu"
) -> None:
    """As `complete_opened`, of a trial that nobody has opened."""
    complete_opened(prepared, OpenedTrial(folder), views, parts=parts, device=device)


def complete_opened(
    prepared: Prepared, trial: OpenedTrial, views: Sequence[str], *, parts: Sequence[str] | None = None, device: str = "cpu"
) -> None:
    """Compute and keep what is missing of a trial's predictions, for these views and parts (`parts_of` for `None`).

    What is damaged is missing: it goes to quarantine and is computed again.

    Raises:
        FullDiskError: There is no room for them.
        UserError: Some are missing, and the trial's best weights are lost, or others by now because it went on.
        ValueError: The trial has no weights to vote with.
    """
    folder, config = trial.folder, trial.config
    if trial.record is None or not trial.record.can_vote:
        raise ValueError(f"trial {folder.id} has no best weights, so it has no predictions to complete")
    if has_all(prepared, trial, views, parts=parts):
        return
    if not trial.has_whole_best():
        raise UserError(lost_weights(folder))
    trial.predictions.sweep()
    compute_with(config.threads)
    asked = {part: photos(prepared, config, part) for part in parts_of(config, prepared, parts)}
    try:
        if config.is_probe:
            complete_probe(config, folder.best, trial.predictions, asked, views, features_of(prepared, config, device=device))
        else:
            complete(config, folder.best, trial.predictions, asked, views, device)
    except FileNotFoundError as error:
        if folder.best.is_file():
            raise
        raise UserError(lost_weights(folder)) from error  # dropped by somebody's quota a moment ago
    if not trial.record.finished and file_hash(folder.best) != trial.record.weights:  # so may be what was computed
        shutil.rmtree(trial.predictions.folder, ignore_errors=True)
        raise UserError(went_on([folder.id]))


def is_complete(prepared: Prepared, folder: TrialFolder, views: Sequence[str], *, parts: Sequence[str] | None = None) -> bool:
    """As `has_all`, of a trial that nobody has opened."""
    return has_all(prepared, OpenedTrial(folder), views, parts=parts)


def has_all(prepared: Prepared, trial: OpenedTrial, views: Sequence[str], *, parts: Sequence[str] | None = None) -> bool:
    """Whether nothing is missing of a trial's predictions for these views and parts (`parts_of` for `None`)."""
    if trial.record is None or not trial.record.can_vote:
        return False
    return not any(
        missing_views(trial.predictions, trial.config, part, views, photos(prepared, trial.config, part))
        for part in parts_of(trial.config, prepared, parts)
    )


def parts_of(config: TrialConfig, prepared: Prepared, parts: Sequence[str] | None = None) -> tuple[str, ...]:
    """The parts that a trial has photos of, among `parts`, or all for `None`.

    A trial on a subset has what its fold holds outside of it, for a cascade; one that learned from all photos has none to be judged on.
    """
    has = [*PARTS, OUTSIDE] if target_of(config, prepared).where else [*PARTS]
    if config.fold == ALL_DATA:
        has = ["test"]
    return tuple(part for part in has if parts is None or part in parts)


def start_of(folder: TrialFolder, store: Path) -> tuple[str, str]:
    """Keep a trial's best weights as the start of others.

    Returns:
        The backbone, and the SHA-256 under which the weights are kept in `store`: `TrialConfig.backbone` and `.weights`.

    Raises:
        FullDiskError: There is no room for the copy.
        UserError: There is no such trial, it has no best weights, or they do not say their heads.
    """
    if not (folder.path / "config.json").is_file():
        raise UserError(f"there is no trial {folder.id!r} to start from (show_trials.py lists them)")
    record, settings = readable_record(folder), readable_config(folder)
    if record is not None and settings is not None and record.weights and not record.diverged and not folder.best.is_file():
        if any(store.glob(f"{record.weights}.*")):  # somebody started from it before its weights were dropped
            return TrialConfig.from_json(settings).backbone, record.weights
        raise UserError(lost_weights(folder))
    if record is None or settings is None or record.diverged or not folder.best.is_file():
        why = "diverged" if record and record.diverged else "has no best weights"
        raise UserError(f"trial {folder.id} {why}, so nothing can start from it; give another trial (show_trials.py lists them)")
    if record.ended and not best_is_whole(folder):
        raise UserError(f"{lost_weights(folder)}; give another trial to start from")
    if not is_trial_start(folder.best):
        raise UserError(f"{folder.id}/{folder.best.name} is damaged or of an earlier version of Podium; train it again")
    return TrialConfig.from_json(settings).backbone, keep_weights(str(folder.best), store)


def target_of(config: TrialConfig, prepared: Prepared) -> Target:
    """The target a configuration was made for.

    Raises:
        ValueError: The competition no longer has it.
    """
    target = targets(prepared.competition).get(config.target)
    if target is None or target.heads != config.heads:
        raise ValueError(f"trial {config.trial_id} was made for target {config.target} with heads {config.heads}, got {target}")
    return target


def weights_store(prepared: Prepared) -> Path:
    """Where start weights are kept by their hash."""
    return prepared.paths.data / "weights"
