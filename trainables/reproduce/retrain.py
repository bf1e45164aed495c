"""Reproducing: a trial of the ledger is trained again from its folder alone -> PASS, or the ingredients that differ. A soup is averaged
again from the weights of its ingredients.

PASS means bit-equal (curve, best epoch, weights) where that is promised: same versions, threads and kind of CPU. Elsewhere it means
within the tolerance of `ledger.reproducibility`. What was trained stands in a folder of its own in the storage and is gone afterwards.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from competitions.competition import Competition, with_split
from competitions.prepare import prepare
from competitions.targets import target_names, targets
from ledger.reading import DAMAGE, newest_checkpoint, read_sessions, readable_losses
from ledger.reproducibility import device_of, promise
from ledger.trials import ALL_DATA, Record, TrialFolder, is_trial, trial_folders
from system.claims import claim, claim_or_refuse, gone, holder
from system.errors import UserError, unknown
from system.files import copy_file, file_hash
from system.paths import NAME, CompetitionPaths
from trainables.backbones import check_published, kept_weights
from trainables.best_weights import best_is_whole
from trainables.config import TrialConfig
from trainables.families import ingredient_faults
from trainables.provenance import provenance
from trainables.reproduce.ingredients import Ingredient, of_data, of_provenance, of_sessions, of_settings, of_soup
from trainables.reproduce.verdict import Verdict, judged, untrained

Progress = Callable[[int, int], None]


def reproduce(
    competition: Competition,
    paths: CompetitionPaths,
    trial_id: str,
    *,
    check: bool = False,
    threads: int | None = None,
    restore: bool = False,
    decoding: Progress = lambda done, total: None,
    training: Progress = lambda done, total: None,
) -> Verdict:
    """Train a trial again, as far as it got, and compare.

    Args:
        competition: As its file says today.
        paths: Its folders.
        trial_id: The trial.
        check: Compare the ingredients and train nothing.
        threads: Compute threads, where they are not to be the trial's own.
        restore: Put the weights back into the trial's folder where they are gone and these are the same bits.
        decoding: Told (done, total) photos.
        training: Told (done, total) epochs.

    Raises:
        FullDiskError: There is no room to train it.
        UserError: There is no such trial, it has no record, its target is gone, or data or start weights are not there; or its
            weights are to be restored and nothing is missing.
    """
    folder, record, config = _recorded(paths, trial_id)
    faults = _start_faults(paths, config)
    if config.target not in target_names(competition):
        faults.append(
            f"trial {trial_id} needs a target that is there: {unknown('target', config.target, target_names(competition))}"
        )
    if threads is not None and threads < 1:
        faults.append(f"threads must be 1 or more, got {threads}")
    if restore and check:
        faults.append("--check trains nothing, so nothing can be restored; leave one of the two out")
    elif restore and (best_is_whole(folder) or not record.weights):
        why = "has its weights" if record.weights else "never had a best epoch"
        faults.append(f"--restore brings weights back, and trial {trial_id} {why}; leave it out")
    if faults:
        raise UserError(*faults)
    known = read_sessions(folder)
    sessions = [{"threads": config.threads, **session} for session in known.sessions]
    device = _device(sessions, config)
    today = {**provenance(), "device": device, "threads": threads or config.threads}
    compared = of_sessions(sessions, today, config)
    parts = [*of_provenance(known, config), *(part for several in compared.values() for part in several)]
    parts += [*of_settings(paths, trial_id, record, config), *of_soup(paths, sessions)]
    promised = promise(sessions, [today], config.precision)
    if config.split not in competition.all_splits:
        gone_split = Ingredient("split", config.split, sorted(competition.all_splits))
        return untrained(record, promised, [*parts, gone_split], check=check)
    prepared = prepare(with_split(competition, config.split), paths, progress=decoding)
    data = of_data(paths, prepared, config)
    if check or data:
        return untrained(record, promised, [*parts, *data], check=check)
    again = replace(config, threads=threads or config.threads)
    with _own_folder(paths, trial_id) as place:
        now = _train(prepared, again, place, record.epochs_done, device, training)
        run = TrialFolder(place / again.trial_id)
        losses = readable_losses(folder, record.epochs_done), readable_losses(run, now.epochs_done)
        restored = restore and _restore(folder, record, run)
    n_photos = len(prepared.rows(targets(prepared.competition)[config.target], config.fold)[1])
    verdict = judged(record, now, losses, promised=promised, known=bool(sessions), n_photos=n_photos, parts=parts)
    return replace(verdict, restored=restored)


def _recorded(paths: CompetitionPaths, trial_id: str) -> tuple[TrialFolder, Record, TrialConfig]:
    folder, name = TrialFolder(paths.trials / trial_id), paths.root.name
    if not is_trial(paths.trials, trial_id) and not (NAME.fullmatch(trial_id) and folder.path.is_dir()):
        known = [found.id for found in trial_folders(paths.trials)]
        hint = unknown("trial", trial_id, known) if known else f"unknown trial {trial_id!r}; there is none in this storage"
        raise UserError(f"{hint}; show_trials.py {name} lists them")
    config = TrialConfig.from_json(_read(trial_id, "config.json", folder.config))
    record = _read(trial_id, "record.json", folder.record)
    if record is not None and record.trial_id != trial_id:
        raise _unreadable(trial_id, f"record.json is damaged: it is of trial {record.trial_id}")
    if record is None or not record.epochs_done:
        state, source = newest_checkpoint(folder)
        n_epochs = state["record"]["epochs_done"] if state is not None else 0
        why = f"though {source} tells of {n_epochs} epochs: record.json was lost" if n_epochs else "no epoch of it ended"
        raise UserError(
            f"trial {trial_id} has no record{',' if n_epochs else ':'} {why}; go on with its study (run_search.py {name} --resume)"
        )
    if config.fold == ALL_DATA and not record.weights:
        losses, fault = readable_losses(folder, record.epochs_done)
        why = f"its losses cannot be read ({fault})" if fault else "it has no losses"
        if not losses:
            raise UserError(f"trial {trial_id} learned from all photos, has no weights yet, and {why}; nothing can be compared")
    return folder, record, config


def _read(trial_id: str, file: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError as error:
        raise _unreadable(trial_id, f"{file} is missing") from error
    except DAMAGE as error:
        raise _unreadable(trial_id, str(error) if str(error).startswith(file) else f"{file} is damaged ({error})") from error


def _unreadable(trial_id: str, why: str) -> UserError:
    return UserError(
        f"trial {trial_id} cannot be read: {why}; go on with its study to heal it, copy its folder again, or merge it from a team-mate"
    )


def _start_faults(paths: CompetitionPaths, config: TrialConfig) -> list[str]:
    """What is wrong with the weights that the trial started from, or was averaged from."""
    if config.soup:
        return ingredient_faults(paths, config)
    try:
        if config.weights.startswith("timm:"):
            check_published(config.backbone)
        elif config.weights and file_hash(kept := kept_weights(paths.data / "weights", config.weights)) != config.weights:
            return [f"start weights {kept.name[:12]} are damaged; copy them again from a team-mate's data/weights"]
    except UserError as error:
        return list(error.faults)
    return []


def _device(sessions: list[dict[str, Any]], config: TrialConfig) -> str:
    """Where the trial was trained last, as far as this machine has it."""
    import torch

    then = device_of(sessions[-1], config.precision) if sessions else "cpu"
    return then if then == "cpu" or torch.cuda.is_available() else "cpu"


def _train(prepared: Any, config: TrialConfig, place: Path, epochs: int, device: str, progress: Progress) -> Record:
    from trainables.attach import attach
    from trainables.probes.run import open_run
    from trainables.soup import average_again

    if config.soup:
        return average_again(prepared, config, place, device)
    run = open_run(config, attach(prepared, config, trials=place, device=device))
    while run.record.epochs_done < epochs and not run.record.ended:
        run.step()
        progress(run.record.epochs_done, epochs)
    return run.record


def _restore(folder: TrialFolder, then: Record, again: TrialFolder) -> bool:
    """Put back the weights that the record names, and none but these: the cached predictions are theirs.

    Raises:
        UserError: Somebody trains this trial.
    """
    with claim_or_refuse(folder.claim, lambda who: f"trial {folder.id} is being trained; it gets its weights from that"):
        return again.best.is_file() and file_hash(again.best) == then.weights == copy_file(again.best, folder.best)


@contextmanager
def _own_folder(paths: CompetitionPaths, trial_id: str) -> Iterator[Path]:
    """A folder in the storage that is gone afterwards; those of killed runs are cleared away first."""
    parent = paths.root / "reproduced"
    _clear(parent)
    place = parent / f"{trial_id}-{secrets.token_hex(4)}"
    held = claim(parent / f"{place.name}.claim")
    assert held is not None, "the name was drawn for this run"
    try:
        with held:
            place.mkdir()
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def _clear(parent: Path) -> None:
    for path in sorted(parent.iterdir()) if parent.is_dir() else []:
        owner = holder(parent / f"{path.name.removesuffix('.claim')}.claim")
        if owner is None or gone(owner):
            shutil.rmtree(path) if path.is_dir() else os.unlink(path)  # noqa: PTH108
