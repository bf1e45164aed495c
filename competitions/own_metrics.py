"""A competition's own metric: `metric: mine.py:score`, a function of a file beside the YAML -> a `Metric`.

The function gets `probs float64 (N, C)`, rows of sum 1, and `labels int64 (N,)`, and returns a number: greater is better, NaN where it says
nothing. The metric's name in every record carries the hash of the file (`mine.py:score@0123456789ab`): another text is another metric. The
text goes with the competition's data, so that every process finds it.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from competitions.metrics import MOST_OWN, OWN_METRIC, OWN_METRICS, AnyProbs, Labels, Metric, Scores
from system.errors import UserError


def read_own_metric(name: str, folder: Path) -> tuple[str, str]:
    """The name with the hash of the file, and the file's text.

    Args:
        name: `mine.py:score`.
        folder: Where the YAML is.

    Raises:
        UserError: The file is not there or no UTF-8, cannot be run or has no such function.
    """
    file, function, _ = _parts(name)
    path = folder / file
    if not path.is_file():
        there = ", ".join(sorted(one.name for one in folder.glob("*.py"))[:10]) or "none"
        raise UserError(f"metric {name}: no file {file} beside the YAML (Python files there: {there})")
    try:
        source = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"metric {name}: {file} is not UTF-8; save it as UTF-8") from error
    whole = f"{file}:{function}@{_hash(source)}"
    remember(whole, source)
    return whole, source


def remember(name: str, source: str) -> None:
    """Make the metric of this name, with its hash, known to this process.

    Raises:
        UserError: The text has another hash, cannot be run or has no such function.
    """
    file, function, of = _parts(name)
    if of != _hash(source):
        raise UserError(
            f"metric {name}: the text of {file} has the hash {_hash(source)}; it was changed by hand, prepare the data anew"
        )
    namespace: dict[str, Any] = {"__name__": f"own_metric_{of}", "__file__": file}
    try:
        exec(compile(source, file, "exec"), namespace)  # the team's own file, as a search space is
    except Exception as error:
        raise UserError(f"metric {name}: {file} cannot be run: {_told(error)}") from error
    call = namespace.get(function)
    if not callable(call):
        there = ", ".join(sorted(key for key, value in namespace.items() if callable(value) and key[0] != "_")) or "none"
        raise UserError(f"metric {name}: {file} has no function {function} (functions there: {there})")
    OWN_METRICS[name] = Metric(
        name, of_times=_by_times(name, call), worst=-np.inf, best=np.inf, most_resamples=MOST_OWN, weighs=False
    )


def _by_times(name: str, call: Callable[[Any, Any], Any]) -> Callable[[AnyProbs, Labels, Scores], Scores]:
    def of_times(shares: AnyProbs, labels: Labels, times: Scores) -> Scores:
        wide = shares / shares.sum(axis=1, keepdims=True, dtype=np.float64)
        return np.array([_one(name, call, wide, labels, np.rint(row).astype(np.int64)) for row in times], dtype=np.float64)

    return of_times


def _one(name: str, call: Callable[[Any, Any], Any], probs: Scores, labels: Labels, times: Labels) -> float:
    """The score of photos that count so often, each standing there as often."""
    rows = np.repeat(np.arange(len(labels)), times)
    if not len(rows):
        return float("nan")
    try:
        score = float(call(probs[rows], labels[rows].astype(np.int64)))
    except Exception as error:
        raise UserError(
            f"metric {name} failed on {len(rows)} photos, probs {probs[rows].shape}: {_told(error)}; mend it"
        ) from error
    if np.isinf(score):
        raise UserError(f"metric {name} must return a finite number, or NaN where it says nothing, got {score}; mend it")
    return score


def _parts(name: str) -> tuple[str, str, str]:
    found = OWN_METRIC.match(name)
    if found is None:
        raise UserError(f"unknown metric {name!r}; a file's function is written mine.py:score")
    return found[1], found[2], found[3] or ""


def _hash(source: str) -> str:
    return hashlib.blake2b(source.encode(), digest_size=6).hexdigest()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
