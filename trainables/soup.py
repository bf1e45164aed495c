"""Soup: the best weights of trials that share start and architecture -> one trial whose weights are their mean, where that is better.

Greedy soup after Wortsman et al. 2022, "Model soups" (https://arxiv.org/abs/2203.05482), recipe 1: the trials of a family in the order of
their validation scores; each joins the mean unless the score of the mean falls. That is one forward pass per trial tried, over the fold's
photos as they are (view `identity`), for a network that costs at prediction what one trial costs.

Plain means of parameters and buffers: the statistics of a batch norm are averaged as they are and not counted anew on training photos.
The score is one on the photos that chose the ingredients, so it is optimistic, as that of the best trial is.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from competitions.prepare import Prepared
from ledger.predictions import predictions_of
from ledger.repair.trials import repair_trial
from ledger.trials import Record, TrialFolder, is_trial
from system.claims import claim
from system.errors import UserError
from system.quarantine import quarantine_copy
from trainables import backbones, checkpoint
from trainables.attach import attach, photos
from trainables.best_weights import best_header, best_is_whole, lost_weights
from trainables.config import TrialConfig, name_of
from trainables.devices import compute_with
from trainables.families import Relative, TriedFamily, families, ingredient_faults, ranked, relative
from trainables.prediction import predict_photos
from trainables.provenance import author, host, provenance
from trainables.training import score_of

log = logging.getLogger("podium.trial")
MOST_TRIALS = 10
"""Of a family this many trials, the best, are tried: each costs a forward pass, and worse ones rarely join."""
EPOCH = 1
"""A soup is made in one step, so its record has one epoch."""
WAIT_S = 0.2


@dataclass(frozen=True)
class Mean:
    """The mean of some trials' weights.

    Attributes:
        tensors: Parameters and buffers by name.
        score: On the validation photos; below all others where it predicts what is no number.
        probs: Head -> `(N, C) float16` of the validation photos; `features` -> `(N, <=64)`.
    """

    tensors: dict[str, Tensor]
    score: float
    probs: dict[str, NDArray[np.float16]]


def soups(
    prepared: Prepared, trials: Mapping[str, Sequence[str]], *, fold: int, device: str = "cpu"
) -> dict[str, tuple[str, ...]]:
    """The soups of all families among these trials, made where they are not there yet.

    Args:
        prepared: The competition's data.
        trials: Target -> ids of finished trials with their weights; those that belong to no family are passed over.
        fold: Of the trials.
        device: Where forward passes run.

    Returns:
        Target -> ids of its soups, sorted: finished trials like all others. A target without one is left out.

    Raises:
        FullDiskError: There is no room for one.
        UserError: The weights of a trial are gone.
    """
    found = {}
    for target, ids in sorted(trials.items()):
        tried = [family[:MOST_TRIALS] for family in families(prepared.paths, ids, fold)]
        made = [folder.id for family in tried if (folder := make_soup(prepared, family, device=device)) is not None]
        if made:
            found[target] = tuple(sorted(made))
    return found


def make_soup(prepared: Prepared, family: Sequence[Relative], *, device: str = "cpu") -> TrialFolder | None:
    """The greedy soup of a family, as a finished trial of the ledger.

    What came of it is kept beside the data (`data/soups/`), so that the same trials with the same weights are tried once.

    Args:
        prepared: The competition's data.
        family: Two trials or more that share a start (`families.SHARED`), best first.
        device: Where forward passes run.

    Returns:
        The folder of the soup; `None` where its score is not greater than that of the best trial.

    Raises:
        FullDiskError: There is no room for it.
        UserError: Some have lost their weights; all are named.
    """
    if lost := [lost_weights(one.folder) for one in family if not best_is_whole(one.folder)]:
        raise UserError(*lost)
    tried, mean = TriedFamily.of(prepared.paths, family), None
    chosen = tried.chosen()
    if chosen is None:
        chosen, mean = greedy(prepared, family, device)
        tried.keep(chosen)
    if not chosen:
        return None
    config = replace(family[0].config, soup=chosen)
    folder = TrialFolder(prepared.paths.trials / config.trial_id)
    if _is_there(folder):
        return folder
    joined = [one for one in family if one.folder.id in chosen]
    mean = mean or mean_of(prepared, joined, device)
    with _claimed(folder):
        if not _is_there(folder):
            repair_trial(folder, name_of, config.json())
            _write(folder, config, mean, prepared, joined, device)
            log.info("soup %s of %s: %.4f, the best alone %.4f", folder.id, ", ".join(chosen), mean.score, family[0].score)
    return folder


def greedy(prepared: Prepared, family: Sequence[Relative], device: str) -> tuple[tuple[str, ...], Mean | None]:
    """Recipe 1: the ids of the ingredients, sorted, and their mean; nothing where the best alone is as good.

    Args:
        family: Best first.
    """
    joined, score, kept = [family[0]], family[0].score, None
    for one in family[1:]:
        mean = mean_of(prepared, [*joined, one], device)
        if mean.score >= score:
            joined, score, kept = [*joined, one], mean.score, mean
    if kept is None or score <= family[0].score:
        return (), None
    return tuple(sorted(one.folder.id for one in joined)), kept


def mean_of(prepared: Prepared, trials: Sequence[Relative], device: str, threads: int | None = None) -> Mean:
    """The mean of these trials' best weights, and what it predicts and scores on the fold's photos."""
    config = ranked(trials)[0].config
    context = attach(prepared, config, device=device)
    compute_with(threads or config.threads)
    with torch.random.fork_rng(devices=[]):
        model = backbones.build(
            config.backbone, config.heads, config.image_size, stem_stride=config.stem_stride, layout=config.layout
        )
    tensors = average(sorted((one.folder.best for one in trials), key=lambda path: path.parent.name))
    model.load_state_dict(tensors)
    wanted = backbones.preprocessing(model, config.image_size)
    found = predict_photos(model.to(device), context.validation, config, ["identity"], wanted, device, features=True)
    probs = {head: array for (head, _), array in found.items()}
    finite = all(np.isfinite(array).all() for array in probs.values())
    return Mean(tensors, score_of(config, context, probs) if finite else -math.inf, probs)


def average(files: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of K weights files, name by name: summed in float64 in their order, rounded to the first one's types.

    Whole numbers (how many batches a batch norm has seen) are the first file's. The mean of K equal files is that file, bit for bit.

    Raises:
        ValueError: A file is damaged.
    """
    first, _ = checkpoint.read_tensors(files[0])
    sums = {name: tensor.double() for name, tensor in first.items() if tensor.is_floating_point()}
    for file in files[1:]:
        more, _ = checkpoint.read_tensors(file)
        for name in sums:
            sums[name] += more[name].double()
    return {name: (sums[name] / len(files)).to(tensor.dtype) if name in sums else tensor for name, tensor in first.items()}


def average_again(prepared: Prepared, config: TrialConfig, place: Path, device: str = "cpu") -> Record:
    """Make a soup anew from its ingredients, in another place.

    Args:
        prepared: The competition's data; the ingredients stand in its storage.
        config: The soup's.
        place: Where the soup's folder is made; nobody else writes there.
        device: Where the forward pass runs.

    Raises:
        UserError: Weights of an ingredient are gone.
    """
    faults = ingredient_faults(prepared.paths, config)
    if faults:
        raise UserError(*faults)
    joined = [one for trial in config.soup if (one := relative(prepared.paths, trial)) is not None]
    mean = mean_of(prepared, joined, device, config.threads)
    return _write(TrialFolder(place / config.trial_id), config, mean, prepared, joined, device)


def _write(
    folder: TrialFolder, config: TrialConfig, mean: Mean, prepared: Prepared, joined: Sequence[Relative], device: str
) -> Record:
    """All files of the soup, the record last. A record of the same weights stays, with its author and host."""
    if folder.best.is_file():
        quarantine_copy(folder.root, folder.best, "its bytes are not those of the record's weights", did="averaged again")
    weights = checkpoint.write_tensors(folder.best, mean.tensors, best_header(config, EPOCH))
    names = photos(prepared, config, "validation").names
    for name, array in mean.probs.items():
        predictions_of(folder.predictions, weights).write("validation", name, "identity", names, array)
    told = [{"trial_id": one.folder.id, "weights": one.record.weights} for one in sorted(joined, key=lambda one: one.folder.id)]
    folder.add_provenance({**provenance(), "device": device, "threads": config.threads, "soup": told})
    line: dict[str, Any] = {"epoch": EPOCH, "loss": None, "score": mean.score, "best_score": mean.score, "lr": None}
    folder.write_metrics([line | {"seconds": 0.0, "diverged": False}])
    folder.write_config(config.json())
    before = folder.record()
    if before is not None and before.weights == weights:
        return before
    record = Record(config.trial_id, config.config_id, config.target, config.fold, config.seed, epochs_planned=EPOCH)
    record = replace(record, epochs_done=EPOCH, score=mean.score, best_epoch=EPOCH, curve=[mean.score], weights=weights)
    record = replace(record, author=author(), host=host())
    folder.write_record(record)
    return record


def _is_there(folder: TrialFolder) -> bool:
    return is_trial(folder.path.parent, folder.id) and best_is_whole(folder)


@contextmanager
def _claimed(folder: TrialFolder) -> Iterator[None]:
    """The right to write a soup; whoever else holds it makes the same, so it is waited for."""
    while (held := claim(folder.claim)) is None:
        time.sleep(WAIT_S)
    with held:
        yield
