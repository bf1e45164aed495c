"""A probe as a trial: one step that fits the last layer on features of the frozen backbone, and the same files as any trial's.

`best.safetensors` is the whole network, backbone and fitted layer, so whatever predicts, averages, exports or goes on from a trial takes a
probe as it is. There is no `last`: what a kill cuts off is fitted again, from features that are there. Cached predictions come from cached
features, through the same layer in batches of the same size as the network's own.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ledger.predictions import EPOCHS, Predictions, predictions_of
from ledger.repair.trials import repair_trial
from ledger.trials import ALL_DATA, Record
from system.files import file_hash, read_lines
from trainables import checkpoint
from trainables.best_weights import best_header
from trainables.config import TrialConfig, name_of
from trainables.losses import split_heads
from trainables.prediction import BATCH, FEATURES, PhotoBatches, ViewProbs, missing_views, project
from trainables.probes.features import PhotoFeatures
from trainables.probes.heads import PROBES
from trainables.probes.layer import Layer, fit_layer
from trainables.provenance import provenance
from trainables.training import TrialContext, TrialRun, new_record, score_of

log = logging.getLogger("podium.trial")
ONLY_STEP = 1


class ProbeRun:
    """As `TrialRun`: lives from `__init__`, through one `step`, until `record.ended`."""

    def __init__(self, config: TrialConfig, context: TrialContext) -> None:
        assert context.features is not None, "a probe needs the features that `attach` gives"
        self.config, self.context, self.folder, self.features = config, context, context.folder, context.features
        repair_trial(self.folder, name_of, config.json())
        before = self.folder.record()
        kept = before is not None and before.ended and self._has_weights(before)
        self.record = before if before is not None and kept else new_record(config)
        self.metrics: list[dict[str, Any]] = read_lines(self.folder.path / "metrics.jsonl") if kept else []
        self.folder.remove_leftovers()
        for left in self.folder.predictions.glob("*/"):
            Predictions(left).sweep()
        self.folder.write_config(config.json())
        made_of = {**provenance(), "device": context.device, "threads": config.threads}
        self.folder.add_provenance({**made_of, "study": context.study} if context.study else made_of)

    def step(self) -> dict[str, Any]:
        """Fit, validate, put everything on disk, and return the metrics line (see `TrialRun.step`)."""
        started, rows = time.monotonic(), self.context.training.rows
        deep = self.features.of(rows)
        layer = self._fit(deep) if np.isfinite(deep).all() else None
        loss, score, weights = math.nan, None, None
        if layer is not None and all(np.isfinite(part).all() for part in layer):
            loss = self._loss(layer, deep)
            probs = self._validate(layer)
            score = None if probs is None else score_of(self.config, self.context, probs)
            weights = self._write_weights(layer)
            if probs is not None:
                self._keep(probs, weights)
        seconds = round(time.monotonic() - started, 3)
        curve, best = ([], None) if score is None else ([score], ONLY_STEP)
        self.record = replace(self.record, epochs_done=ONLY_STEP, seconds=seconds, score=score, curve=curve, best_epoch=best)
        self.record = replace(self.record, diverged=weights is None, weights=weights)
        line = {"epoch": ONLY_STEP, "loss": None if math.isnan(loss) else loss, "score": score, "best_score": score, "lr": None}
        self.metrics = [line | {"seconds": seconds, "diverged": self.record.diverged}]
        self.folder.write_metrics(self.metrics)
        self.folder.write_record(self.record)
        log.info("trial %s probe %s score %s", self.folder.id, self.config.probe, score)
        return self.metrics[0]

    def _has_weights(self, record: Record) -> bool:
        best = self.folder.best
        return record.weights is None or (best.is_file() and file_hash(best) == record.weights)

    def _fit(self, deep: NDArray[np.float32]) -> Layer:
        """The last layer of all heads; features `(n, D)` of the training photos."""
        config, rows, labels = self.config, self.context.training.rows, self.context.labels
        settings = config.settings_of(PROBES[config.probe])
        scaling = config.probe_scaling or ""
        return fit_layer(config, self.features, rows, labels, deep, probe=config.probe, scaling=scaling, settings=settings)

    def _loss(self, layer: Layer, deep: NDArray[np.float32]) -> float:
        """The mean over heads of the mean log-loss on labelled training photos."""
        probs = apply(layer, deep, self.config)
        losses = []
        for head in self.config.heads:
            labels = self.context.labels[head][self.context.training.rows]
            known = np.flatnonzero(labels >= 0)
            each = probs[head][known, labels[known]].astype(np.float64)
            losses.append(-np.log(np.maximum(each, np.finfo(np.float16).tiny)).mean())
        return float(np.mean(losses))

    def _validate(self, layer: Layer) -> dict[str, NDArray[np.float16]] | None:
        if self.config.fold == ALL_DATA:
            return None
        found = view_probs(layer, self.context.validation, self.config, ["identity"], self.features)
        return {head: found[head, "identity"] for head in self.config.heads}

    def _write_weights(self, layer: Layer) -> str:
        return checkpoint.write_tensors(
            self.folder.best, self.features.frozen().tensors(*layer), best_header(self.config, ONLY_STEP)
        )

    def _keep(self, probs: Mapping[str, NDArray[np.float16]], weights: str) -> None:
        names = self.context.validation.names
        for head, array in probs.items():
            Predictions(self.folder.predictions / EPOCHS).write("validation", head, f"epoch{ONLY_STEP:04d}", names, array)
            predictions_of(self.folder.predictions, weights).write("validation", head, "identity", names, array)


def open_run(config: TrialConfig, context: TrialContext) -> TrialRun | ProbeRun:
    """What trains a configuration, or fits it where it is a probe."""
    return ProbeRun(config, context) if config.is_probe else TrialRun(config, context)


def complete_probe(
    config: TrialConfig,
    best: Path,
    kept: Predictions,
    parts: Mapping[str, PhotoBatches],
    views: Sequence[str],
    features: PhotoFeatures,
) -> None:
    """As `prediction.complete`: from cached features, which all probes on this backbone share."""
    tensors, _ = checkpoint.read_tensors(best)
    head = features.frozen().head
    layer = tensors[f"{head}.weight"].numpy(), tensors[f"{head}.bias"].numpy()
    for part, photos in parts.items():
        for view in missing_views(kept, config, part, views, photos):
            for (name, _), array in view_probs(layer, photos, config, [view], features, projected=True).items():
                kept.write(part, name, view, photos.names, array)


def view_probs(
    layer: Layer,
    photos: PhotoBatches,
    config: TrialConfig,
    views: Sequence[str],
    features: PhotoFeatures,
    *,
    projected: bool = False,
) -> ViewProbs:
    """As `prediction.predict_photos`; `projected` adds what the last layer sees of the identity view, brought down."""
    found: ViewProbs = {}
    for view in views:
        deep = features.of(photos.rows, view)
        found |= {(head, view): probs for head, probs in apply(layer, deep, config).items()}
        if projected and view == "identity":
            found[FEATURES, view] = project(torch.from_numpy(deep)).to(torch.float16).numpy()
    for (head, _), probs in found.items():
        probs[photos.broken] = 0 if head == FEATURES else photos.priors[head].astype(np.float16)
    return found


def apply(layer: Layer, deep: NDArray[np.float32], config: TrialConfig) -> dict[str, NDArray[np.float16]]:
    """Features `(N, D)` through the last layer and a softmax: head -> `(N, C)`."""
    weights, bias = (torch.from_numpy(part) for part in layer)
    parts: dict[str, list[NDArray[np.float16]]] = {head: [np.zeros((0, n), np.float16)] for head, n in config.heads.items()}
    with torch.inference_mode():
        for start in range(0, len(deep), BATCH):
            some = torch.zeros(BATCH, deep.shape[1])
            n = len(deep[start : start + BATCH])
            some[:n] = torch.from_numpy(deep[start : start + BATCH])
            for head, logits in split_heads(F.linear(some, weights, bias), config.heads).items():
                parts[head].append(logits.softmax(dim=1)[:n].to(torch.float16).numpy())
    return {head: np.concatenate(arrays) for head, arrays in parts.items()}
