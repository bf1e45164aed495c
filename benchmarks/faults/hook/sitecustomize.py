"""What the fault bench puts into every Python process of a study, by standing first on PYTHONPATH; no product code knows of it.

* The truth log (`FAULTS_TRUTH`, a file): each process that trains appends one line at the beginning and one at the end of every
  epoch, with one `write` to a file opened with `O_APPEND`. The end line is written when the epoch's files are on disk and before
  Ray is told of them.
* Another clock (`FAULTS_CLOCK`, seconds): `time.time`, `time.time_ns` and `datetime` are shifted; monotonic clocks and the machine's
  own are left alone.
"""

import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any


def note(at: str, trial: str, epoch: int, last: bool) -> None:
    """Append one line: `at` is `begin` or `end`, `last` says whether nothing of the trial is left to train."""
    if "FAULTS_TRUTH" not in os.environ:
        return
    line = {"at": at, "trial": trial, "epoch": epoch, "last": last, "pid": os.getpid(), "seconds": round(time.monotonic(), 4)}
    handle = os.open(os.environ["FAULTS_TRUTH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, json.dumps(line).encode() + b"\n")
    os.close(handle)


def _watch_training(module: ModuleType) -> None:
    step = module.TrialRun.step

    def noted(run: Any) -> Any:
        trial, epoch = run.config.trial_id, run.record.epochs_done + 1
        note("begin", trial, epoch, False)
        line = step(run)
        note("end", trial, epoch, run.record.ended)
        return line

    module.TrialRun.step = noted  # type: ignore[attr-defined]  # a module has what its file defines


def _watch_joined(module: ModuleType) -> None:
    """On a Ray that runs already, a search hands its workers a PYTHONPATH of its own, which must lead here as well."""
    from pathlib import Path

    module.REPOSITORY = Path(f"{Path(__file__).parent}{os.pathsep}{module.REPOSITORY}")  # type: ignore[attr-defined]


WATCHED = {"trainables.training": _watch_training, "search.launch": _watch_joined}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds watched modules as everybody does, and alters them once they were executed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in WATCHED else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def altered(module: ModuleType) -> None:
                execute(module)
                WATCHED[name](module)

            spec.loader.exec_module = altered  # type: ignore[method-assign]  # this loader is this module's own
        return spec


def _set_clock(seconds: float) -> None:
    import datetime

    true_time, true_ns, true_datetime = time.time, time.time_ns, datetime.datetime

    class Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, true_datetime)

    class Shifted(true_datetime, metaclass=Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return true_datetime.now(tz) + datetime.timedelta(seconds=seconds)

        @classmethod
        def utcnow(cls) -> Any:
            return true_datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=seconds)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_ns() + int(seconds * 1e9)
    datetime.datetime = Shifted  # type: ignore[misc]  # what asks for the time by this name gets the shifted one


if os.environ.get("FAULTS_CLOCK"):
    _set_clock(float(os.environ["FAULTS_CLOCK"]))
sys.meta_path.insert(0, _Finder())
