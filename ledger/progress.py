"""How far a trial is within its epoch: told by the process that trains it, shown by the driver, kept by nobody.

A file that is replaced whole every few seconds while the trial trains, and removed when it stops. No result depends on it.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ledger.trials import TrialFolder

TOLD_EVERY_S = 2.0


@dataclass(frozen=True)
class EpochProgress:
    """A look at a trial in training.

    Attributes:
        epoch: The epoch that is being trained, from 1.
        share: How much of its batches is done, 0 to 1.
        seconds: Since the epoch began.
        memory: Bytes that the process has in memory (its resident set).
    """

    epoch: int
    share: float
    seconds: float
    memory: int


def teller(folder: TrialFolder) -> Callable[[int, int, int], None]:
    """A callback `(epoch, batches done, batches in all)` that keeps the trial's progress up to date.

    It never fails: a disk that is full or away stops no training for the sake of a display.
    """
    began, told = (0, time.monotonic()), -TOLD_EVERY_S

    def tell(epoch: int, done: int, total: int) -> None:
        nonlocal began, told
        now = time.monotonic()
        if epoch != began[0]:
            began = epoch, now
        if now - told < TOLD_EVERY_S and done < total:
            return
        told = now
        value = EpochProgress(epoch, round(done / max(1, total), 4), round(now - began[1], 1), _resident_bytes())
        beside = folder.progress.with_name(f".progress.{os.getpid()}.tmp")
        with suppress(OSError):
            beside.write_text(json.dumps(asdict(value)))
            beside.replace(folder.progress)

    return tell


def progress_of(folder: TrialFolder) -> EpochProgress | None:
    """What the trial's process told last; `None` where nobody trains it, or has told anything yet."""
    try:
        return EpochProgress(**json.loads(folder.progress.read_text()))
    except (OSError, ValueError, TypeError):  # not there, or another version's
        return None


def _resident_bytes() -> int:
    """0 where the system has no `/proc`."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
