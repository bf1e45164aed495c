"""What is done to a study while it runs or lies still: workers killed, its storage moved, its files made newer."""

import os
import signal
from pathlib import Path

from benchmarks.faults.harness import truth
from benchmarks.faults.harness.studies import Child, Place, eventually

DAY_S = 86_400
BACK = {"FAULTS_CLOCK": str(-DAY_S)}
"""What sets a driver's clock back by a day."""


def kill_workers(here: Place, child: Child, kills: int) -> None:
    """Kill the process of so many trials, one after another, each once and in its second epoch or later."""
    killed: set[str] = set()
    while len(killed) < kills:
        line = eventually(lambda: _victim(here, killed), "a trial in its second epoch", child=child)
        os.kill(line.pid, signal.SIGKILL)
        killed.add(line.trial)


def _victim(here: Place, killed: set[str]) -> truth.Line | None:
    return next((line for line in truth.running(here.truth()) if line.trial not in killed and line.epoch >= 2), None)


def come_to(here: Place, ended: set[str]) -> tuple[str, bool]:
    """What came of the trials that were begun, and whether all finished with at most one epoch repeated."""
    lines = here.truth()
    trials, finished, repeats = {line.trial for line in lines}, truth.finished(lines) & ended, truth.repeats(lines)
    most = max(repeats, default=0)
    said = f"{len(finished)} of {len(trials)} trials finish; of {len(repeats)} that went on each repeated {most} epochs at most"
    return said, finished == trials and bool(repeats) and max(repeats) <= 1


def move(here: Place) -> Path:
    """Rename the storage; returns its old path."""
    old = here.storage
    here.storage_name = "moved/storage"
    here.storage.parent.mkdir()
    return old.rename(here.storage) and old


def left_behind(here: Place, old: Path) -> list[str]:
    """What still hangs on the old path: the folder made again, or files that name where the place is."""
    names = [path.relative_to(here.storage) for path in here.storage.rglob("*") if path.is_file() and _names(path, here.root)]
    return [f"{old.name} was made again"] * old.exists() + [f"{name} has an absolute path" for name in names]


def _names(path: Path, root: Path) -> bool:
    return str(root).encode() in path.read_bytes()


def make_files_newer(here: Place) -> None:
    """Let every file of the storage be of tomorrow."""
    for path in here.storage.rglob("*"):
        if path.is_file():
            status = path.stat()
            os.utime(path, (status.st_atime + DAY_S, status.st_mtime + DAY_S))
