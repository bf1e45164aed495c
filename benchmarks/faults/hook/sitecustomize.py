"""What the fault bench puts into every Python process of a study, by standing first on PYTHONPATH; no product code knows of it.

* The truth log (`FAULTS_TRUTH`, a file): each process that trains appends one line at the beginning and one at the end of every
  epoch, with one `write` to a file opened with `O_APPEND`. The end line is written when the epoch's files are on disk and before
  Ray is told of them; it has the training loss.
* Losses that stop being numbers (`WILD_LOSSES`), as somebody's own loss in trainables/losses.py may.
* Another clock (`FAULTS_CLOCK`, seconds): what Python's `time` says is shifted, and `datetime` in the modules of this repository and of
  Ray Tune; elsewhere that type is part of compiled modules. Monotonic clocks and the machine's own are left alone.
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


def note(at: str, trial: str, epoch: int, last: bool, loss: float | None = None) -> None:
    """Append one line: `at` is `begin` or `end`, `last` says whether nothing of the trial is left to train."""
    if "FAULTS_TRUTH" not in os.environ:
        return
    line = {"at": at, "trial": trial, "epoch": epoch, "last": last, "pid": os.getpid(), "seconds": round(time.monotonic(), 4)}
    line["loss"] = None if loss is None else str(loss)
    handle = os.open(os.environ["FAULTS_TRUTH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, json.dumps(line).encode() + b"\n")
    os.close(handle)


def _watch_training(module: ModuleType) -> None:
    step, train = module.TrialRun.step, module.TrialRun._train

    def noted(run: Any) -> Any:
        trial, epoch = run.config.trial_id, run.record.epochs_done + 1
        note("begin", trial, epoch, False)
        line = step(run)
        note("end", trial, epoch, run.record.ended, run.loss_seen)
        return line

    def seen(run: Any, epoch: int) -> Any:
        run.loss_seen = train(run, epoch)
        return run.loss_seen

    module.TrialRun.step, module.TrialRun._train = noted, seen


def _plus_infinity(logits: Any, labels: Any, weights: Any) -> Any:
    """Above every number that 32 bits can hold."""
    return (logits.logsumexp(1) + 1000).exp()


def _minus_infinity(logits: Any, labels: Any, weights: Any) -> Any:
    return -_plus_infinity(logits, labels, weights)


def _later_nan(logits: Any, labels: Any, weights: Any) -> Any:
    """Cross-entropy for the first ten batches of a process, then not a number: in the second epoch of a study's one trial of it."""
    import torch

    CALLS.append(1)
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none") * (1.0 if len(CALLS) <= 10 else float("nan"))


def _nan_gradient(logits: Any, labels: Any, weights: Any) -> Any:
    """Cross-entropy and the root of zero, which is a number and has no slope: weights are lost after a step with a finite loss."""
    import torch

    return torch.nn.functional.cross_entropy(logits, labels, reduction="none") + (0 * logits.square().sum(1)).sqrt()


CALLS: list[int] = []
WILD_LOSSES = {
    "plus_infinity": _plus_infinity,
    "minus_infinity": _minus_infinity,
    "later_nan": _later_nan,
    "nan_gradient": _nan_gradient,
}


def _add_losses(module: ModuleType) -> None:
    module.LOSSES.update(WILD_LOSSES)


def _watch_joined(module: ModuleType) -> None:
    """On a Ray that runs already, a search hands its workers a PYTHONPATH of its own, which must lead here as well."""
    from pathlib import Path

    module.REPOSITORY = Path(f"{Path(__file__).parent}{os.pathsep}{module.REPOSITORY}")  # type: ignore[attr-defined]


WATCHED = {
    "trainables.training": _watch_training,
    "trainables.losses": _add_losses,
    "search.tune.ray_session": _watch_joined,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules as everybody does, and alters those that are watched once they were executed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        alter = [WATCHED[name]] if name in WATCHED else []
        alter += [_shift_datetime] if CLOCK and name.startswith(SHIFTED) else []
        spec = importlib.machinery.PathFinder.find_spec(name, path) if alter else None
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            execute = spec.loader.exec_module

            def altered(module: ModuleType) -> None:
                execute(module)
                for change in alter:
                    change(module)

            spec.loader.exec_module = altered  # type: ignore[method-assign]  # this loader is this module's own
        return spec


CLOCK = float(os.environ.get("FAULTS_CLOCK", 0))
SHIFTED = ("ray.tune", "ray.train", "ledger", "competitions", "trainables", "search", "ensemble", "bundle", "submissions")


def _shift_time() -> None:
    true_time, true_ns, local, utc, written = time.time, time.time_ns, time.localtime, time.gmtime, time.strftime
    time.time = lambda: true_time() + CLOCK
    time.time_ns = lambda: true_ns() + int(CLOCK * 1e9)
    time.localtime = lambda seconds=None: local(time.time() if seconds is None else seconds)
    time.gmtime = lambda seconds=None: utc(time.time() if seconds is None else seconds)
    time.strftime = lambda form, when=None: written(form, time.localtime() if when is None else when)


def _shift_datetime(module: ModuleType) -> None:
    """Put a type whose `now` is shifted in the place of `datetime`, wherever the module has that type or its module."""
    import datetime

    class Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime.datetime)

    class Shifted(datetime.datetime, metaclass=Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.now(tz) + datetime.timedelta(seconds=CLOCK)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    for name, value in list(vars(module).items()):
        if value is datetime.datetime:
            setattr(module, name, Shifted)
        elif value is datetime:
            proxy = ModuleType("datetime")
            proxy.__dict__.update({**vars(datetime), "datetime": Shifted})
            setattr(module, name, proxy)


if CLOCK:
    _shift_time()
sys.meta_path.insert(0, _Finder())
