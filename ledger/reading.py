"""Mending one trial: a folder with damaged files -> one whose files can be read, healed from its checkpoint.

`last.safetensors` says the record, the metrics and the provenance up to its epoch, `previous.safetensors` those of the epoch before.
What is damaged goes to quarantine and is named; what cannot be healed is left away, and the trial is trained on from what is whole.
Only who holds the trial's claim calls `mend_trial`; everybody else reads by the functions `readable_...`, which write nothing.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ledger.trials import Record, TrialFolder
from system import sealed_tensors
from system.checksums import has_seal, split_lines
from system.files import read_lines, replace_sealed
from system.quarantine import quarantine, quarantine_copy
from system.sealed_tensors import read_header

log = logging.getLogger("podium.ledger")
DAMAGE = (ValueError, TypeError, KeyError, AttributeError)
"""What reading a damaged file may raise: it is no JSON, no object, or lacks what it should have."""
NameOf = Callable[[Mapping[str, Any]], str]
"""Settings -> the trial they name; raises where they are no configuration. The ledger does not know which settings there are."""


class OtherTrialError(ValueError):
    """A checkpoint is whole and belongs to another trial: somebody put it there."""


def read_state(path: Path, trial_id: str) -> dict[str, Any]:
    """The header of a trial's checkpoint: `record`, `metrics`, `sessions` and `epoch`.

    Raises:
        FileNotFoundError: There is no such file.
        OtherTrialError: It is another trial's.
        ValueError: It is damaged or cut short, or no trial's checkpoint.
    """
    header = read_header(path)
    try:
        Record(**header["record"])
        list(header["metrics"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is damaged ({error})") from error
    if header["record"]["trial_id"] != trial_id:
        raise OtherTrialError(f"{path.name} belongs to trial {header['record']['trial_id']}; move it away")
    return header


def readable_record(folder: TrialFolder) -> Record | None:
    """The trial's record. Where it is damaged, what the checkpoint says; `None` where there is none, or that is damaged too."""
    try:
        return folder.record()
    except DAMAGE as error:
        state, source = _state(folder)
        if state is None:
            log.warning(
                "trial %s is left out: %s, and no checkpoint of it is whole; go on with its study to train it again",
                folder.id,
                error,
            )
            return None
        log.warning("trial %s: %s; its record is read from %s; go on with its study to heal it", folder.id, error, source)
        return Record(**state["record"])


def readable_config(folder: TrialFolder) -> dict[str, Any] | None:
    """The trial's settings; `None`, with a warning, where they are damaged."""
    try:
        return folder.config()
    except (OSError, *DAMAGE) as error:
        log.warning("trial %s is left out: %s; go on with its study to heal it", folder.id, error)
        return None


def readable_sessions(folder: TrialFolder) -> list[dict[str, Any]]:
    """What each session of training was made of; nothing, with a warning, where that is damaged."""
    try:
        return folder.provenance()
    except DAMAGE as error:
        log.warning("trial %s: %s; go on with its study to heal it", folder.id, error)
        return []


def needs_mending(folder: TrialFolder, name_of: NameOf) -> bool:
    """Whether `mend_trial` has something to do, as far as can be seen without reading checkpoints (0.2 ms for a whole trial)."""
    try:
        record = folder.record()
        if record is None:
            return folder.last.exists() or folder.previous.exists() or _config_fault(folder, name_of) is not None
        if not _is_sealed(folder.path / "provenance.json"):
            folder.provenance()
    except DAMAGE:
        return True
    return _config_fault(folder, name_of) is not None or _metrics_fault(folder, record) is not None


def mend_trial(folder: TrialFolder, name_of: NameOf, settings: Mapping[str, Any] | None = None) -> None:
    """Leave a folder in which everything that is there can be read.

    Args:
        folder: The trial; the caller holds its claim.
        name_of: Settings -> trial id.
        settings: The trial's own, where the caller knows them.

    Raises:
        ValueError: Its checkpoint belongs to another trial.
    """
    if not needs_mending(folder, name_of):
        return
    state, source = _state(folder, keep_damaged=False)
    told, healed = state or {}, f"healed from {source}"
    if fault := _config_fault(folder, name_of):
        _mend_config(folder, name_of, settings, fault)
    _mend_record(folder, told.get("record"), healed)
    try:
        folder.provenance()
    except DAMAGE as error:
        sessions = {"sessions": told["sessions"]} if told.get("sessions") else None
        _mend(folder, "provenance.json", error, healed, sessions, did_else="what earlier sessions were made of is not known")
    if (record := folder.record()) is not None and (fault := _metrics_fault(folder, record)):
        _mend_metrics(folder, list(told.get("metrics", ())), record, fault, healed)


def _mend_config(folder: TrialFolder, name_of: NameOf, settings: Mapping[str, Any] | None, fault: str) -> None:
    """From the caller's settings. Without them it stays: it may be of another version of Podium, and a reader leaves it out."""
    try:
        known = settings is not None and name_of(settings) == folder.id
    except Exception:  # as in `_config_fault`
        known = False
    if known:
        _mend(folder, "config.json", fault, "written again from the study's suggestion", settings)


def _mend_record(folder: TrialFolder, told: Mapping[str, Any] | None, healed: str) -> None:
    try:
        if folder.record() is None and told is not None:
            folder.write_record(Record(**told))
    except DAMAGE as error:
        _mend(folder, "record.json", error, healed, told, did_else="the trial is trained again")


def _mend(folder: TrialFolder, name: str, why: object, did: str, value: Mapping[str, Any] | None, *, did_else: str = "") -> None:
    """Put `value` in the place of a damaged or lost file; with none the file goes."""
    path = folder.path / name
    if value is not None:
        if path.exists():
            quarantine_copy(folder.root, path, why, did=did)
        else:
            log.warning("trial %s: %s was lost, %s", folder.id, name, did)
        replace_sealed(path, value)
    elif path.exists():
        quarantine(folder.root, path, why, did=did_else)


def _mend_metrics(folder: TrialFolder, told: list[dict[str, Any]], record: Record, fault: str, healed: str) -> None:
    """From the checkpoint where it has as many lines, else what can still be read of them."""
    path = folder.path / "metrics.jsonl"
    rest = split_lines(path.read_bytes()) if path.exists() else split_lines(b"")
    enough = len(told) >= record.epochs_done
    if not enough and not (rest.damaged or rest.torn):
        return
    better = told[: record.epochs_done] if enough else list(rest.values)
    if path.exists():
        quarantine_copy(folder.root, path, fault, did=healed if enough else f"{len(better)} of its lines stay")
    folder.write_metrics(better)


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


def _state(folder: TrialFolder, *, keep_damaged: bool = True) -> tuple[dict[str, Any] | None, str]:
    """The header of the newest checkpoint that is whole, and its file's name; a damaged one is left, or moved to quarantine."""
    for path in (folder.last, folder.previous):
        try:
            sealed_tensors.check(path)
            return read_state(path, folder.id), path.name
        except FileNotFoundError:
            continue
        except OtherTrialError:
            if not keep_damaged:
                raise
        except ValueError as error:
            if not keep_damaged:
                quarantine(folder.root, path, error, did="the checkpoint before it is used, if it is there")
    return None, "nothing"
