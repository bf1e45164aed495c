"""The truth log read back: which epochs were begun and ended, by which process, and what was trained more than once."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One line of the log, as `hook/sitecustomize.py` writes it; `seconds` are of the machine's monotonic clock."""

    at: str
    trial: str
    epoch: int
    last: bool
    pid: int
    seconds: float
    loss: str | None = None


def read(path: Path) -> list[Line]:
    """All lines, oldest first."""
    text = path.read_text() if path.exists() else ""
    return [Line(**json.loads(line)) for line in text.splitlines()]


def begun(lines: Iterable[Line]) -> set[tuple[str, int]]:
    """The (trial, epoch) that were begun."""
    return {(line.trial, line.epoch) for line in lines if line.at == "begin"}


def finished(lines: Iterable[Line]) -> set[str]:
    """The trials whose last epoch was trained to its end."""
    return {line.trial for line in lines if line.at == "end" and line.last}


def trained_twice(lines: Iterable[Line]) -> set[str]:
    """The trials whose last epoch was trained to its end more than once."""
    ends = [line.trial for line in lines if line.at == "end" and line.last]
    return {trial for trial in ends if ends.count(trial) > 1}


def running(lines: Sequence[Line]) -> list[Line]:
    """The epochs that living processes are in: their begin lines."""
    latest = {line.pid: line for line in lines}
    return [line for line in latest.values() if line.at == "begin" and Path(f"/proc/{line.pid}").exists()]


def lives(lines: Iterable[Line], trial: str) -> list[list[int]]:
    """Per process that trained the trial, oldest first: the epochs it began."""
    found: dict[int, list[int]] = {}
    for line in lines:
        if line.trial == trial and line.at == "begin":
            found.setdefault(line.pid, []).append(line.epoch)
    return list(found.values())


def repeats(lines: Sequence[Line]) -> list[int]:
    """For every time that a trial went on in another process: how many epochs it began that had been begun before."""
    found = []
    for trial in dict.fromkeys(line.trial for line in lines):
        first, *later = lives(lines, trial)
        seen = set(first)
        for epochs in later:
            found.append(len(seen.intersection(epochs)))
            seen.update(epochs)
    return found
