"""Reading a trial whose files may be damaged: what can be believed of them, and one warning that names what cannot.

`last.safetensors` says the record, the metrics and the provenance up to its epoch, `previous.safetensors` those of the epoch before.
Nothing here writes; the holder of a trial's claim repairs it (`ledger.repair.trials`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.trials import Record, TrialFolder
from system import sealed_tensors
from system.files import read_lines

log = logging.getLogger("podium.ledger")
DAMAGE = (ValueError, TypeError, KeyError, AttributeError)
"""What reading a damaged file may raise: it is no JSON, no object, or lacks what it should have."""


class OtherTrialError(ValueError):
    """A checkpoint is whole and belongs to another trial: somebody put it there."""


def read_state(path: Path, trial_id: str) -> dict[str, Any]:
    """The header of a trial's checkpoint: `record`, `metrics`, `sessions` and `epoch`.

    Raises:
        FileNotFoundError: There is no such file.
        OtherTrialError: It is another trial's.
        ValueError: It is damaged or cut short, or no trial's checkpoint.
    """
    header = sealed_tensors.read_header(path)
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
        state, source = newest_checkpoint(folder)
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


@dataclass(frozen=True)
class Sessions:
    """What each session of a trial's training was made of, as far as it can be read.

    Attributes:
        sessions: Oldest first.
        fault: What is wrong with `provenance.json`; `None` where nothing is.
        source: The file they were read from; `nothing` where neither the file nor a checkpoint has them.
    """

    sessions: list[dict[str, Any]]
    fault: str | None
    source: str


def read_sessions(folder: TrialFolder) -> Sessions:
    """The sessions of a trial. Where `provenance.json` is damaged or missing, what the checkpoint says."""
    try:
        sessions = folder.provenance()
        if sessions:
            return Sessions(sessions, None, "provenance.json")
        fault = "provenance.json is missing or empty"
    except DAMAGE as error:
        fault = str(error)
    state, source = newest_checkpoint(folder)
    sessions = list((state or {}).get("sessions") or [])
    return Sessions(sessions, fault, source if sessions else "nothing")


def readable_sessions(folder: TrialFolder) -> list[dict[str, Any]]:
    """The sessions of `read_sessions`, with a warning where `provenance.json` is damaged."""
    read = read_sessions(folder)
    if read.fault is not None and (folder.path / "provenance.json").exists():
        log.warning("trial %s: %s; read from %s; go on with its study to heal it", folder.id, read.fault, read.source)
    return read.sessions


def readable_losses(folder: TrialFolder, n_epochs: int) -> tuple[list[Any], str | None]:
    """The training losses of a trial's first epochs. Where `metrics.jsonl` is damaged or short, those of the checkpoint.

    Returns:
        One loss per epoch, and `None`; or none, and what is wrong with the file.
    """
    try:
        losses = [line["loss"] for line in read_lines(folder.path / "metrics.jsonl")[:n_epochs]]
        fault = None if len(losses) == n_epochs else f"metrics.jsonl has {len(losses)} lines of {n_epochs}"
    except DAMAGE as error:
        losses, fault = [], f"metrics.jsonl is damaged ({error})"
    if fault is None:
        return losses, None
    state, _ = newest_checkpoint(folder)
    lines = list(state["metrics"])[:n_epochs] if state is not None else []
    return ([line.get("loss") for line in lines], None) if len(lines) == n_epochs else ([], fault)


def newest_checkpoint(
    folder: TrialFolder, on_damage: Callable[[Path, ValueError], object] = lambda path, error: None
) -> tuple[dict[str, Any] | None, str]:
    """The header of the newest checkpoint that is whole, tensors too, and its file's name; `None` where there is none.

    Args:
        folder: The trial.
        on_damage: Told each checkpoint that is damaged, or of another trial (`OtherTrialError`), and why.
    """
    for path in (folder.last, folder.previous):
        try:
            sealed_tensors.check(path)
            return read_state(path, folder.id), path.name
        except FileNotFoundError:
            continue
        except ValueError as error:
            on_damage(path, error)
    return None, "nothing"
