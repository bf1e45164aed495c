"""Two studies compared: what each suggested, decided, learned, chose and handed in, as bytes, without times, hosts and processes."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.faults.harness.studies import TARGET, Place

ENDS = ("finished", "pruned", "diverged", "failed", "answered")
Trials = dict[str, dict[str, Any]]
"""Trial id -> its curve, and the hashes of its best weights and of each predictions file."""


@dataclass(frozen=True)
class Picture:
    """What must be equal of study `s`.

    Attributes:
        suggestions: File name -> hash.
        decisions: The events that end a trial, in their order, without their times.
        trials: What each came to.
        plan: Hash of the ensemble's plan; `None` where nothing was exported.
        submission: Hash of the submission.
    """

    suggestions: dict[str, str]
    decisions: list[dict[str, Any]]
    trials: Trials
    plan: str | None = None
    submission: str | None = None

    def differences(self, other: "Picture") -> list[str]:
        """In words what is not equal; empty where nothing is."""
        return [f"{field.name}: {_told(getattr(self, field.name), getattr(other, field.name))}" for field in fields(self)
                if getattr(self, field.name) != getattr(other, field.name)]  # fmt: skip


def epochs_that_differ(whole: Trials, part: Trials) -> list[str]:
    """What differs of trials of which some were stopped early from the same trials trained to their end.

    Every epoch's score and validation probabilities are compared, and the best weights where both have them of the same epoch.
    """
    differ = []
    for trial, ours in part.items():
        full = whole[trial]
        for epoch in range(1, ours["epochs_done"] + 1):
            file = f"predictions/epochs/validation.{TARGET}.epoch{epoch:04d}.npy"
            if ours["curve"][epoch - 1] != full["curve"][epoch - 1] or ours[file] != full[file]:
                differ.append(f"{trial} epoch {epoch}")
        if ours["best_epoch"] == full["best_epoch"] and ours["best"] != full["best"]:
            differ.append(f"{trial} best weights")
    return differ


def picture(place: Place, *, export: bool = True) -> Picture:
    """The picture of a place's study `s`; with `export` its two best trials vote and are handed in."""
    study = place.kept / "studies/s"
    plan = submission = None
    if export:
        to = place.root / "exported"
        place.verb("export_ensemble.py", place.yaml, "--top", 2, "--to", to)
        plan, submission = _hash(to / "bundle/plan.json"), _hash(to / "submission.csv")
    return Picture(
        {path.name: _hash(path) for path in sorted((study / "suggestions").glob("[0-9]*.json"))},
        decisions(place),
        trials(place),
        plan,
        submission,
    )


def trials(place: Place) -> Trials:
    """What every trial in a place's ledger came to."""
    return {path.name: _trial(path) for path in sorted((place.kept / "trials").iterdir())}


def decisions(place: Place) -> list[dict[str, Any]]:
    """The events of study `s` that end a trial, without their times and seals."""
    path = place.kept / "studies/s/events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{key: event[key] for key in event if key not in ("time", "seal")} for event in events if event["event"] in ENDS]


def _trial(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / "record.json").read_text())
    kept = ("curve", "score", "best_epoch", "epochs_done", "diverged", "weights")
    files = sorted((folder / "predictions").rglob("[!.]*.npy"))
    best = folder / "best.safetensors"
    return {
        **{name: record[name] for name in kept},
        "best": _hash(best) if best.exists() else None,
        **{str(path.relative_to(folder)): _hash(path) for path in files},
    }


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _told(ours: Any, other: Any) -> str:
    if isinstance(ours, dict):
        names = [name for name in {**ours, **other} if ours.get(name) != other.get(name)]
        inner = {name: _told(ours.get(name), other.get(name)) for name in names[:3]}
        return f"{len(names)} differ: {inner}"
    return f"{ours} is not {other}"
