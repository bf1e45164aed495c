"""Repairing one trial: a folder with damaged files -> one whose files can all be read, healed from its checkpoint.

What is damaged goes to quarantine and is named. What cannot be healed is left away, and the trial is trained on from what is whole.
Only the holder of the trial's claim calls `repair_trial`; everybody else reads by `ledger.reading`, which writes nothing.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ledger.reading import DAMAGE, OtherTrialError, newest_checkpoint
from ledger.trials import Record, TrialFolder
from system.checksums import has_seal, split_lines
from system.files import read_lines, replace_sealed
from system.quarantine import quarantine, quarantine_copy

log = logging.getLogger("podium.ledger")
NameOf = Callable[[Mapping[str, Any]], str]
"""Settings -> the trial they name; raises where they are no configuration. The ledger does not know which settings there are."""


def needs_repair(folder: TrialFolder, name_of: NameOf) -> bool:
    """Whether `repair_trial` has something to do, as far as can be seen without reading checkpoints (0.2 ms for a whole trial)."""
    try:
        record = folder.record()
        if record is None:
            return folder.last.exists() or folder.previous.exists() or _config_fault(folder, name_of) is not None
        if not _is_sealed(folder.path / "provenance.json"):
            folder.provenance()
    except DAMAGE:
        return True
    return _config_fault(folder, name_of) is not None or _metrics_fault(folder, record) is not None


def repair_trial(folder: TrialFolder, name_of: NameOf, settings: Mapping[str, Any] | None = None) -> None:
    """Leave a folder in which everything that is there can be read.

    Args:
        folder: The trial; the caller holds its claim.
        name_of: Settings -> trial id.
        settings: The trial's own, where the caller knows them.

    Raises:
        ValueError: Its checkpoint belongs to another trial.
    """
    if not needs_repair(folder, name_of):
        return

    def set_aside(checkpoint: Path, error: ValueError) -> None:
        if isinstance(error, OtherTrialError):
            raise error
        quarantine(folder.root, checkpoint, error, did="the checkpoint before it is used, if it is there")

    header, source = newest_checkpoint(folder, set_aside)
    state, healed = header or {}, f"healed from {source}"
    if fault := _config_fault(folder, name_of):
        _repair_config(folder, name_of, settings, fault)
    _repair_record(folder, state.get("record"), healed)
    _repair_provenance(folder, state.get("sessions"), healed)
    if (record := folder.record()) is not None and (fault := _metrics_fault(folder, record)):
        _repair_metrics(folder, list(state.get("metrics", ())), record, fault, healed)


def _repair_config(folder: TrialFolder, name_of: NameOf, settings: Mapping[str, Any] | None, fault: str) -> None:
    """From the caller's settings. Without them it stays: it may be of another version of Podium, and a reader leaves it out."""
    try:
        known = settings is not None and name_of(settings) == folder.id
    except Exception:  # as in `_config_fault`
        known = False
    if known:
        _replace(folder, "config.json", settings, why=fault, did="written again from the study's suggestion")


def _repair_record(folder: TrialFolder, record: Mapping[str, Any] | None, healed: str) -> None:
    try:
        if folder.record() is None and record is not None:
            folder.write_record(Record(**record))
    except DAMAGE as error:
        _replace(folder, "record.json", record, why=error, did=healed if record else "the trial is trained again")


def _repair_provenance(folder: TrialFolder, sessions: list[Any] | None, healed: str) -> None:
    try:
        folder.provenance()
    except DAMAGE as error:
        value = {"sessions": sessions} if sessions else None
        did = healed if value else "what earlier sessions were made of is not known"
        _replace(folder, "provenance.json", value, why=error, did=did)


def _repair_metrics(folder: TrialFolder, lines: list[dict[str, Any]], record: Record, fault: str, healed: str) -> None:
    """From the checkpoint where it has as many lines, else what can still be read of them."""
    path = folder.path / "metrics.jsonl"
    rest = split_lines(path.read_bytes()) if path.exists() else split_lines(b"")
    enough = len(lines) >= record.epochs_done
    if not enough and not (rest.damaged or rest.torn):
        return
    better = lines[: record.epochs_done] if enough else list(rest.values)
    if path.exists():
        quarantine_copy(folder.root, path, fault, did=healed if enough else f"{len(better)} of its lines stay")
    folder.write_metrics(better)


def _replace(folder: TrialFolder, name: str, value: Mapping[str, Any] | None, *, why: object, did: str) -> None:
    """Put `value` in the place of a damaged or lost file; without one the file goes."""
    path = folder.path / name
    if value is not None:
        if path.exists():
            quarantine_copy(folder.root, path, why, did=did)
        else:
            log.warning("trial %s: %s was lost, %s", folder.id, name, did)
        replace_sealed(path, value)
    elif path.exists():
        quarantine(folder.root, path, why, did=did)


def _config_fault(folder: TrialFolder, name_of: NameOf) -> str | None:
    """What is wrong with `config.json`: its settings have to name this trial, where no seal says that they are what was written."""
    try:
        if _is_sealed(folder.path / "config.json"):
            return None
        named = name_of(folder.config())
    except FileNotFoundError:
        begun = (folder.path / "record.json").exists() or folder.last.exists()
        return "it is not there" if begun else None
    except Exception as error:  # whatever is wrong with settings, the caller's own type says it its own way
        return str(error)
    return None if named == folder.id else f"its settings name trial {named}"


def _metrics_fault(folder: TrialFolder, record: Record) -> str | None:
    path = folder.path / "metrics.jsonl"
    try:
        written = path.read_bytes().split(b"\n") if path.exists() else []
        n_lines = len(written) - 1 if written and all(has_seal(line) for line in written[:-1]) else len(read_lines(path))
    except DAMAGE as error:
        return str(error)
    return None if n_lines >= record.epochs_done else f"it has {n_lines} lines of {record.epochs_done}"


def _is_sealed(path: Path) -> bool:
    """Whether the file has a seal, which fits.

    Raises:
        ValueError: It does not fit.
    """
    return path.exists() and has_seal(path.read_bytes())
