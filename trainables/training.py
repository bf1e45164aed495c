"""One trial: a configuration, photos and a folder to a finished record.

`TrialRun` trains one epoch per `step`, so that a scheduler may stop between epochs; `run_trial` is the loop. Order on disk at the
end of an epoch (docs/architecture.md): validation probabilities, best weights, `last`, metrics, record; only then is anybody told. Whatever
`last` acknowledges is there, and an epoch that was cut off is trained again to the same bits.

The checkpoint before `last` stays beside it until the trial ends. A `last` that is damaged goes to quarantine and the trial goes on from
`previous`; where that is damaged too it begins anew. Meanwhile the record on disk, which was acknowledged, stays as it is until the
trial has come as far again: its curve and score are those that will be reached.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from competitions.metrics import UndefinedScoreError, metric_of
from ledger.predictions import EPOCHS, WEIGHTS_LENGTH, Predictions, predictions_of
from ledger.repair.trials import repair_trial
from ledger.trials import ALL_DATA, FROM, Record, TrialFolder
from system.errors import UserError
from system.files import file_hash, read_lines
from system.quarantine import quarantine
from trainables import backbones, checkpoint
from trainables.batches import TrainingRows, normalise, to_unit, training_batches
from trainables.best_weights import best_header
from trainables.config import TrialConfig, name_of
from trainables.devices import compute_with
from trainables.losses import LOSSES, Loss, class_weights, joint_loss
from trainables.mixing import MIXES, chance_of, is_mixed
from trainables.optimizers import OPTIMIZERS, learning_rate, make_optimizer, set_rates
from trainables.prediction import PhotoBatches, autocast, predict_photos
from trainables.probes.features import PhotoFeatures
from trainables.provenance import author, host, provenance
from trainables.samplers import chances
from trainables.start.initial_weights import last_layer

log = logging.getLogger("podium.trial")


@dataclass(frozen=True)
class TrialContext:
    """What a trial needs and what does not change what it learns, given the fingerprints in its configuration.

    Attributes:
        folder: Where everything is written.
        training: The photos to learn from.
        validation: The photos to be judged on.
        labels: Head -> `(N,) int16` of all photos in the cache, -1 where unknown.
        weights: Folder of kept start weights.
        device: `cpu` or `cuda`.
        loader_workers: Threads that prepare batches.
        study: The name of the study that trains it, for the record of who trained which epochs; `""` outside of one.
        on_batch: Told the epoch, how many of its batches are done, and how many it has.
        features: What a probe, or a last layer before the first epoch, is fitted on; `None` where nothing is.
    """

    folder: TrialFolder
    training: TrainingRows
    validation: PhotoBatches
    labels: dict[str, NDArray[np.int16]]
    weights: Path | None = None
    device: str = "cpu"
    loader_workers: int = 0
    study: str = ""
    on_batch: Callable[[int, int, int], object] = lambda epoch, done, total: None
    features: PhotoFeatures | None = None


def run_trial(
    config: TrialConfig, context: TrialContext, on_epoch: Callable[[dict[str, Any]], object] = lambda line: None
) -> Record:
    """Train until all planned epochs are done or the loss diverges, going on from `last` where there is one.

    Args:
        config: The resolved configuration.
        context: PhotoBatches, folder and machine.
        on_epoch: Told each metrics line after it is on disk.

    Returns:
        The record, as it stands in the folder.
    """
    run = TrialRun(config, context)
    while not run.record.ended:
        on_epoch(run.step())
    return run.record


def seed_everything(*parts: int) -> None:
    """Seed torch from whole numbers, the same on every machine."""
    torch.manual_seed(int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1))


def micro_batches(n: int, size: int) -> list[slice]:
    """`n` photos in parts of `size`; a last photo on its own joins the part before, for batch norm cannot learn from one.

    >>> micro_batches(9, 4)
    [slice(0, 4, None), slice(4, 9, None)]
    """
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] == 1 and size > 1:
        starts.pop()
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], n], strict=True)]


def loss_for(config: TrialConfig) -> Loss:
    """The loss that a configuration names, its own settings bound."""
    return partial(LOSSES[config.loss], **config.settings_of(LOSSES[config.loss]))


class TrialRun:
    """The state of one trial between epochs: lives from `__init__`, through `step` once per epoch, until `record.ended`."""

    def __init__(self, config: TrialConfig, context: TrialContext) -> None:
        if config.soup:
            raise UserError(
                f"trial {config.trial_id} is the mean of the weights of {', '.join(config.soup)} and is not trained; reproduce_trial.py "
                "averages them again"
            )
        compute_with(config.threads)
        torch.use_deterministic_algorithms(True, warn_only=context.device != "cpu")
        self.config, self.context, self.folder = config, context, context.folder
        repair_trial(self.folder, name_of, config.json())
        self._acknowledged = self.folder.record()
        restored = self._read_back()
        seed_everything(config.seed)
        self.model = backbones.build(
            config.backbone,
            config.heads,
            config.image_size,
            drop_rate=config.drop_rate,
            drop_path=config.drop_path,
            stem_stride=config.stem_stride,
            layout=config.layout,
            weights="" if restored else config.weights,  # the checkpoint has them, and the file may be gone
            store=context.weights,
        ).to(context.device)
        self.wanted = backbones.preprocessing(self.model, config.image_size)
        self._head = last_layer(self.model, self.model.state_dict())
        if config.head_start != "none" and not restored:
            self._fit_head()
        self.averaged = _average(self.model, config.ema_decay)
        self.optimizer = make_optimizer(
            self.model,
            config.optimizer,
            head=self._head,
            head_lr_factor=config.head_lr_factor,
            layer_decay=config.layer_decay,
            **config.settings_of(OPTIMIZERS[config.optimizer]),
        )
        self.loss = loss_for(config)
        self.scaler = torch.amp.GradScaler(context.device, enabled=config.precision == "fp16")
        self.loss_weights = {
            head: _on(class_weights(config.class_weights, context.labels[head][context.training.rows], n), context.device)
            for head, n in config.heads.items()
        }
        self.chances = chances(config.sampler, {head: context.labels[head][context.training.rows] for head in config.heads})
        self.metrics: list[dict[str, Any]] = []
        self.record = self._restore(*restored) if restored else new_record(config)
        self._stay_ended()
        self.folder.remove_leftovers()
        for kept in self.folder.predictions.glob("*/"):
            Predictions(kept).sweep()
        self.folder.write_config(config.json())
        self.folder.add_provenance(self._session())
        self._sessions = self.folder.provenance()
        if restored:
            self._acknowledge()

    def step(self) -> dict[str, Any]:
        """Train and validate one epoch, put everything on disk, and return its metrics line.

        The line has `epoch`, `loss`, `score` (`None` when the trial diverged or is not judged), `best_score`, `lr`, `seconds`,
        `diverged`.
        """
        started = time.monotonic()
        epoch = self.record.epochs_done + 1
        seed_everything(self.config.seed, epoch)
        loss = self._train(epoch)
        probs = self._validate() if math.isfinite(loss) and self._is_judged else None
        score = score_of(self.config, self.context, probs) if probs is not None else None
        if probs is not None and score is not None:
            self._keep_epoch(epoch, probs)
            self._advance(epoch, score, probs, time.monotonic() - started)
        elif math.isfinite(loss) and not self._is_judged and _all_finite(self._judged()):
            self._advance_unjudged(epoch, time.monotonic() - started)
        else:
            self.record = replace(self.record, epochs_done=epoch, diverged=True, score=None)
        line = self._line(epoch, loss, score, time.monotonic() - started)
        self.metrics.append(line)
        self._write_epoch(epoch)
        log.info("trial %s epoch %d/%d score %s", self.folder.id, epoch, self.config.epochs, line["score"])
        return line

    def _fit_head(self) -> None:
        """Let the last layer begin as a probe on the backbone as it begins."""
        from trainables.probes.layer import fit_layer

        config, context, features = self.config, self.context, self.context.features
        assert features is not None, "head_start needs the features that `attach` gives"
        rows = context.training.rows
        weights, bias = fit_layer(config, features, rows, context.labels, features.of(rows), probe=config.head_start)
        layer = self.model.get_submodule(features.frozen().head)
        layer.load_state_dict({"weight": torch.from_numpy(weights), "bias": torch.from_numpy(bias)})

    def _session(self) -> dict[str, Any]:
        """What this session of training is made of, who asked for it, and how much of the trial there was before."""
        made_of = {**provenance(), "device": self.context.device, "threads": self.config.threads}
        if not self.context.study:
            return made_of
        before = {"epochs": self.record.epochs_done, "seconds": self.record.seconds}
        return {**made_of, "study": self.context.study, FROM: before}

    def _train(self, epoch: int) -> float:
        config, context = self.config, self.context
        total, count = torch.zeros((), device=context.device), 0
        self._freeze(epoch <= config.frozen_epochs)
        batches = training_batches(
            context.training,
            batch_size=config.batch_size,
            augmentation=config.augmentation,
            seed=config.seed,
            epoch=epoch,
            chances=self.chances,
            workers=context.loader_workers,
        )
        n = len(context.training.rows)
        steps = max(1, n // config.batch_size)
        for position, (chosen, images) in enumerate(batches):
            number = (epoch - 1) * steps + position
            rate = learning_rate(number, steps, lr=config.lr, epochs=config.epochs, warmup_epochs=config.warmup_epochs)
            set_rates(self.optimizer, rate)
            total += self._step(chosen, images, epoch)
            count += 1
            context.on_batch(epoch, count, steps)
            if self.averaged is not None:
                self.averaged.update(self.model, step=number)
        return float(total) / max(1, count)

    def _freeze(self, frozen: bool) -> None:
        """Let the last layer alone learn, on features as they would be predicted, or everything."""
        self.model.train(not frozen)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not frozen or name in self._head)

    def _step(self, chosen: NDArray[np.int64], images: NDArray[np.uint8], epoch: int) -> torch.Tensor:
        config, device = self.config, self.context.device
        self.optimizer.zero_grad(set_to_none=True)
        whole = torch.zeros((), device=device)
        for part in micro_batches(len(chosen), config.micro_batch):
            loss = self._loss_of(chosen[part], images[part], epoch) * (len(chosen[part]) / len(chosen))
            torch.autograd.backward(self.scaler.scale(loss))
            whole += loss.detach()
        if config.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return whole

    def _loss_of(self, chosen: NDArray[np.int64], images: NDArray[np.uint8], epoch: int) -> torch.Tensor:
        """The loss of the photos at these positions of the training rows."""
        config, device, training = self.config, self.context.device, self.context.training
        rows = training.rows[chosen]
        labels = {head: torch.from_numpy(self.context.labels[head][rows].astype(np.int64)).to(device) for head in config.heads}
        seen = normalise(to_unit(images, device), self.wanted)
        judge = partial(joint_loss, weights=self.loss_weights, heads=config.heads, loss=self.loss)
        if config.mix == "none" or not is_mixed(epoch, config.epochs):
            with autocast(config.precision, device):
                logits = self.model(seen)
            return judge(logits, labels)
        mix = MIXES[config.mix]
        mixed = mix(seen, chance_of(config.seed, epoch, training.image_ids[chosen[0]]), **config.settings_of(mix))
        with autocast(config.precision, device):
            logits = self.model(mixed.images)
        theirs = {head: one[mixed.partner] for head, one in labels.items()}
        return judge(logits, labels, share=mixed.share) + judge(logits, theirs, share=1 - mixed.share)

    @property
    def _is_judged(self) -> bool:
        return self.config.fold != ALL_DATA

    def _judged(self) -> nn.Module:
        return self.averaged.module if self.averaged is not None else self.model

    def _validate(self) -> dict[str, NDArray[np.float16]] | None:
        found = predict_photos(
            self._judged(), self.context.validation, self.config, ["identity"], self.wanted, self.context.device, features=True
        )
        probs = {head: array for (head, _), array in found.items()}
        return probs if all(np.isfinite(array).all() for array in probs.values()) else None

    def _keep_epoch(self, epoch: int, probs: dict[str, NDArray[np.float16]]) -> None:
        kept = Predictions(self.folder.predictions / EPOCHS)
        for head in self.config.heads:
            kept.write("validation", head, f"epoch{epoch:04d}", self.context.validation.names, probs[head])

    def _advance(self, epoch: int, score: float, probs: dict[str, NDArray[np.float16]], seconds: float) -> None:
        curve = [*self.record.curve, score]
        record = replace(self.record, epochs_done=epoch, curve=curve, seconds=round(self.record.seconds + seconds, 3))
        if record.score is None or score > record.score:
            weights = self._write_weights(epoch)
            self._keep_best(weights, probs)
            record = replace(record, score=score, best_epoch=epoch, weights=weights)
        self.record = record

    def _advance_unjudged(self, epoch: int, seconds: float) -> None:
        """Without validation no epoch is the best: the weights of the last planned one are kept, where its schedule ends."""
        self.record = replace(self.record, epochs_done=epoch, seconds=round(self.record.seconds + seconds, 3))
        if self.record.finished:
            self.record = replace(self.record, weights=self._write_weights(epoch))

    def _write_weights(self, epoch: int) -> str:
        """Keep what is judged as `best.safetensors`; returns its hash."""
        return checkpoint.write_tensors(
            self.folder.best, checkpoint.model_tensors(self._judged()), best_header(self.config, epoch)
        )

    def _keep_best(self, weights: str, probs: dict[str, NDArray[np.float16]]) -> None:
        """Keep the identity view and the features of the new best weights; those of the ones before are of no more use."""
        kept = predictions_of(self.folder.predictions, weights)
        for name, array in probs.items():
            kept.write("validation", name, "identity", self.context.validation.names, array)
        acknowledged = ((self._acknowledged.weights if self._acknowledged else None) or "")[:WEIGHTS_LENGTH]
        for other in self.folder.predictions.iterdir():
            if other.name not in (kept.folder.name, EPOCHS, acknowledged):
                shutil.rmtree(other)

    def _line(self, epoch: int, loss: float, score: float | None, seconds: float) -> dict[str, Any]:
        group = self.optimizer.param_groups[0]
        return {
            "epoch": epoch,
            "loss": loss if math.isfinite(loss) else None,
            "score": score,
            "best_score": self.record.score,
            "lr": group["lr"] / group.get("lr_scale", 1.0),
            "seconds": round(seconds, 3),
            "diverged": self.record.diverged,
        }

    def _write_epoch(self, epoch: int) -> None:
        tensors = checkpoint.with_prefix("model.", checkpoint.model_tensors(self.model))
        if self.averaged is not None:
            tensors |= checkpoint.with_prefix("averaged.", checkpoint.model_tensors(self.averaged.module))
        tensors |= checkpoint.with_prefix("optimizer.", checkpoint.optimizer_tensors(self.optimizer))
        header = {"trial_id": self.folder.id, "epoch": epoch, "metrics": self.metrics, "record": asdict(self.record)}
        header |= {"scaler": self.scaler.state_dict(), "sessions": self._sessions}
        if not self.record.ended:
            self.folder.keep_previous()
        checkpoint.write_tensors(self.folder.last, tensors, header, sealed=True)
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Put metrics and record on disk, unless those there are of a later epoch; at the end one checkpoint is enough."""
        before = self._acknowledged
        if before is None or before.epochs_done <= self.record.epochs_done:
            self.folder.write_metrics(self.metrics)
            self.folder.write_record(self.record)
            self._acknowledged = None
        if self.record.ended:
            self.folder.previous.unlink(missing_ok=True)

    def _read_back(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The newest checkpoint that is whole: its tensors and header.

        Raises:
            ValueError: It belongs to another trial.
        """
        for path, otherwise in (
            (self.folder.last, "it goes on from the checkpoint before"),
            (self.folder.previous, "it begins anew"),
        ):
            if not path.exists():
                continue
            try:
                tensors, header = checkpoint.read_tensors(path)
            except ValueError as error:
                quarantine(
                    self.folder.root, path, error, did=otherwise if self.folder.previous.exists() else "the trial begins anew"
                )
                continue
            if header["trial_id"] != self.config.trial_id:
                raise ValueError(f"{self.folder.id}/{path.name} belongs to trial {header['trial_id']}; move it away")
            return tensors, header
        return None

    def _restore(self, tensors: dict[str, torch.Tensor], header: dict[str, Any]) -> Record:
        """Go on from a checkpoint."""
        self.model.load_state_dict(checkpoint.below_prefix("model.", tensors))
        if self.averaged is not None:
            self.averaged.module.load_state_dict(checkpoint.below_prefix("averaged.", tensors))
        checkpoint.restore_optimizer(self.optimizer, checkpoint.below_prefix("optimizer.", tensors))
        if header["scaler"]:
            self.scaler.load_state_dict(header["scaler"])
        self.metrics = header["metrics"]
        return Record(**header["record"])

    def _stay_ended(self) -> None:
        """A trial whose record says that it ended is not trained again for a lost checkpoint, as long as its best weights are there."""
        before = self._acknowledged
        if before is None or not before.ended or self.record.ended:
            return
        if before.weights is None or (self.folder.best.is_file() and file_hash(self.folder.best) == before.weights):
            self.record, self.metrics = before, read_lines(self.folder.path / "metrics.jsonl")


def score_of(config: TrialConfig, context: TrialContext, probs: Mapping[str, NDArray[np.float16]]) -> float:
    """The validation score: the metric of each head on the photos that have a label for it, averaged over the heads.

    A head of whose photos the metric says nothing, as ROC-AUC of those of one class, is left out of the mean.

    Args:
        config: The trial's.
        context: Its validation photos, N of them, and the labels.
        probs: Head -> `(N, C)`.

    Raises:
        UndefinedScoreError: The metric says nothing about any of the heads.
    """
    scores, faults = [], list[str]()
    for head in config.heads:
        labels = context.labels[head][context.validation.rows]
        known = labels >= 0
        try:
            scores.append(metric_of(config.metric)(probs[head][known], labels[known]))
        except UndefinedScoreError as error:
            faults += error.faults
    if not scores:
        raise UndefinedScoreError(*faults)
    return float(np.mean(scores))


def new_record(config: TrialConfig) -> Record:
    """The record of a trial of which nothing is done yet."""
    return Record(
        config.trial_id, config.config_id, config.target, config.fold, config.seed, config.epochs, author=author(), host=host()
    )


def _average(model: nn.Module, decay: float) -> Any:
    """Averaged weights after timm, warmed up so that the first steps do not weigh on them; `None` for decay 0."""
    if not decay:
        return None
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(model, decay=decay, use_warmup=True)


def _all_finite(model: nn.Module) -> bool:
    """Whether every weight is a number: what validation shows of a trial that has one."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())


def _on(tensor: torch.Tensor | None, device: str) -> torch.Tensor | None:
    return None if tensor is None else tensor.to(device)
