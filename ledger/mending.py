"""Mending one trial: a folder with damaged files -> one whose files can be read, healed from its checkpoint.

`last.safetensors` says the record, the metrics and the provenance up to its epoch, `previous.safetensors` those of the epoch before.
What is damaged goes to quarantine and is named; what cannot be healed is left away, and the trial is trained on from what is whole.
Only who holds the trial's claim calls `mend_trial`; everybody else reads by the functions `readable_...`, which write nothing.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ledger import tensors
from ledger.files import read_lines, replace_sealed
from ledger.quarantine import quarantine
from ledger.seals import split_lines
from ledger.trials import Record, TrialFolder

log = logging.getLogger("podium.ledger")
DAMAGE = (ValueError, TypeError, KeyError, AttributeError)
"""What reading a damaged file may raise: it is no JSON, no object, or lacks what it should have."""
NameOf = Callable[[Mapping[str, Any]], str]
"""Settings -> the trial they name; raises where they are no configuration. The ledger does not know which settings there are."""


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
    """Whether `mend_trial` has something to do, as far as can be seen without reading checkpoints."""
    try:
        record = folder.record()
        if record is None:
            return folder.last.exists() or folder.previous.exists() or _config_fault(folder, name_of) is not None
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
    healed = f"healed from {source}"
    if fault := _config_fault(folder, name_of):
        known = settings is not None and name_of(settings) == folder.id
        _away(
            folder,
            "config.json",
            fault,
            did="written again from the study's suggestion" if known else "left out until a study asks",
        )
        if known and settings is not None:
            folder.write_config(settings)
    record = _mend_record(folder, state, healed)
    _mend_sessions(folder, state, healed)
    if record is not None and (fault := _metrics_fault(folder, record)):
        _mend_metrics(folder, state, record, fault, healed)


def _mend_record(folder: TrialFolder, state: Mapping[str, Any] | None, healed: str) -> Record | None:
    try:
        record = folder.record()
    except DAMAGE as error:
        _away(folder, "record.json", error, did=healed if state else "the trial is trained again")
        record = None
    if record is None and state is not None:
        record = Record(**state["record"])
        folder.write_record(record)
    return record


def _mend_sessions(folder: TrialFolder, state: Mapping[str, Any] | None, healed: str) -> None:
    try:
        folder.provenance()
    except DAMAGE as error:
        known = (state or {}).get("sessions")
        _away(folder, "provenance.json", error, did=healed if known else "what earlier sessions were made of is not known")
        if known:
            replace_sealed(folder.path / "provenance.json", {"sessions": known})


def _mend_metrics(folder: TrialFolder, state: Mapping[str, Any] | None, record: Record, fault: str, healed: str) -> None:
    """From the checkpoint where it has as many lines, else what can still be read of them."""
    told = list((state or {}).get("metrics", ()))
    path = folder.path / "metrics.jsonl"
    rest = split_lines(path.read_bytes()) if path.exists() else None
    if len(told) >= record.epochs_done:
        _away(folder, path.name, fault, did=healed)
        folder.write_metrics(told[: record.epochs_done])
    elif rest is not None and (rest.damaged or rest.torn):
        _away(folder, path.name, fault, did=f"{len(rest.values)} of its lines stay")
        folder.write_metrics(list(rest.values))


def _config_fault(folder: TrialFolder, name_of: NameOf) -> str | None:
    """What is wrong with `config.json`: its settings have to name this trial."""
    try:
        named = name_of(folder.config())
    except FileNotFoundError:
        begun = (folder.path / "record.json").exists() or folder.last.exists()
        return "it is not there" if begun else None
    except Exception as error:  # whatever is wrong with settings, the caller's own type says it its own way
        return str(error)
    return None if named == folder.id else f"its settings name trial {named}"


def _metrics_fault(folder: TrialFolder, record: Record) -> str | None:
    try:
        lines = read_lines(folder.path / "metrics.jsonl")
    except DAMAGE as error:
        return str(error)
    return None if len(lines) >= record.epochs_done else f"it has {len(lines)} lines of {record.epochs_done}"


def _away(folder: TrialFolder, name: str, why: object, *, did: str) -> None:
    path = folder.path / name
    if path.exists():
        quarantine(folder.root, path, why, did=did)
    else:
        log.warning("trial %s: %s was lost, %s", folder.id, name, did)


def _state(folder: TrialFolder, *, keep_damaged: bool = True) -> tuple[dict[str, Any] | None, str]:
    """The header of the newest checkpoint that is whole, and its file's name; a damaged one is left, or moved to quarantine."""
    for path in (folder.last, folder.previous):
        try:
            tensors.check(path)
            return tensors.read_state(path, folder.id), path.name
        except FileNotFoundError:
            continue
        except tensors.OtherTrialError:
            if not keep_damaged:
                raise
        except ValueError as error:
            if not keep_damaged:
                quarantine(folder.root, path, error, did="the checkpoint before it is used, if it is there")
    return None, "nothing"
