"""Versions of a trial: two folders of one trial id -> equal, one the beginning of the other, or two versions that both stay.

A version is what was learned: the trial's scores or losses, epoch by epoch (`ledger.reproducibility.trace`), and the hash of its best
weights. Where a ledger holds several versions of a trial, one stands in `trials/<id>`, the others in `conflicts/<id>/<key>`. Which one is
decided by their content alone, so every team-mate's ledger comes to the same: more epochs first, then the smaller key. Never the score,
which would favour luck.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ledger.predictions import WEIGHTS_LENGTH
from ledger.reading import read_state
from ledger.reproducibility import promise, tolerance, trace
from ledger.trials import ALL_DATA, Record, TrialFolder, trial_folders
from system.files import fingerprint, read_lines
from system.paths import CompetitionPaths


class DamagedError(Exception):
    """A folder that cannot be read as a trial; the message says which file and why."""


@dataclass(frozen=True)
class Version:
    """One trial folder, as far as its files can be believed.

    Attributes:
        config: `config.json`.
        record: `record.json`, or what `last` says where that is further or the only one that can be read; `None` before the first epoch.
        metrics: One line per epoch.
        sessions: `provenance.json`.
        last: Header of a `last.safetensors` that is as long as it says and fits the record, else `None`; its tensors are not looked at.
        faults: What was left out, one sentence each.
    """

    folder: TrialFolder
    config: dict[str, Any]
    record: Record | None
    metrics: tuple[dict[str, Any], ...]
    sessions: tuple[dict[str, Any], ...]
    last: dict[str, Any] | None
    faults: tuple[str, ...]

    @property
    def id(self) -> str:
        return str(self.record.trial_id) if self.record else self.folder.id

    @cached_property
    def trace(self) -> tuple[float | str | None, ...]:
        """One entry per epoch."""
        return () if self.record is None else _trace(self.record, self.metrics)

    @cached_property
    def key(self) -> str:
        """The name of what was learned."""
        return fingerprint([self.trace, self.record.weights if self.record else None])

    @cached_property
    def rank(self) -> tuple[int, str]:
        """The smallest stands in `trials/`."""
        return -len(self.trace), self.key

    @cached_property
    def unit(self) -> str:
        """The name of what people read of it: of equal versions the one with the smallest stays, with its author and host."""
        record = asdict(self.record) if self.record else None
        return fingerprint([self.config, record, list(self.metrics), list(self.sessions)])

    @property
    def best(self) -> Path | None:
        """The best weights, where they are there; not checked."""
        return self.folder.best if self.record and self.record.weights and self.folder.best.is_file() else None

    def begins(self, other: "Version") -> bool:
        """Whether `other` goes on from this one."""
        return len(self.trace) < len(other.trace) and other.trace[: len(self.trace)] == self.trace

    def n_validation(self) -> int | None:
        """How many photos its scores are of; `None` where no prediction says so."""
        weights = (self.record.weights or "")[:WEIGHTS_LENGTH] if self.record else ""
        for name in (weights, "epochs"):
            listing = self.folder.predictions / name / "validation.photos.tsv"
            if name and listing.is_file():
                return listing.read_bytes().count(b"\n")
        return None


def read_version(path: Path, trial_id: str) -> Version:
    """The version in a folder; what is damaged in it is left out and named.

    Raises:
        DamagedError: Its configuration cannot be read, neither `record.json` nor `last` can, or they belong to another trial.
        OSError: The folder cannot be read.
    """
    folder, faults = TrialFolder(path), list[str]()
    try:
        config = folder.config()
    except (ValueError, TypeError) as error:
        raise DamagedError(str(error)) from error
    written = _readable(folder.record, faults)
    last = _readable(lambda: read_state(folder.last, trial_id), faults)
    sessions = _readable(folder.provenance, faults) or []
    metrics = _readable(lambda: read_lines(folder.path / "metrics.jsonl"), faults) or []
    record = written
    if last is not None:
        in_last = Record(**last["record"])
        if written is None or in_last.epochs_done > written.epochs_done:
            record, metrics = in_last, last["metrics"]
        elif _trace(in_last, last["metrics"]) != _trace(written, metrics or last["metrics"]):
            faults.append(
                f"last.safetensors has {in_last.epochs_done} epochs and does not fit its record's {written.epochs_done}"
            )
            last = None
    if record is not None:
        metrics = last["metrics"] if last is not None and len(metrics) < record.epochs_done else metrics[: record.epochs_done]
    if record is None and faults:
        raise DamagedError("; ".join(faults))
    if record is not None and (record.trial_id != trial_id or config.get("target") != record.target):
        raise DamagedError(f"its record is of trial {record.trial_id} and target {record.target}")
    version = Version(folder, config, record, tuple(metrics), tuple(sessions), last, tuple(faults))
    try:
        fingerprint([version.unit, version.key])
    except ValueError as error:
        raise DamagedError(f"it holds what is no number ({error})") from error
    if record is not None and len(version.trace) < record.epochs_done:
        raise DamagedError(f"its record has {record.epochs_done} epochs and its curve {len(version.trace)}")
    return version


def versions_of(paths: CompetitionPaths, trial_id: str) -> Iterator[tuple[Path, Version | DamagedError]]:
    """Every version of a trial in a ledger: the one in `trials/`, then those beside."""
    places = [paths.trials / trial_id]
    beside = conflicts(paths) / trial_id
    places += sorted(beside.iterdir()) if beside.is_dir() else []
    for place in places:
        if (place / "config.json").is_file():
            try:
                yield place, read_version(place, trial_id)
            except DamagedError as error:
                yield place, error


def conflicts(paths: CompetitionPaths) -> Path:
    """The folder of the versions that are not in `trials/`."""
    return paths.root / "conflicts"


def trial_ids(paths: CompetitionPaths) -> list[str]:
    """The ids of all trials of which a version is there."""
    beside = conflicts(paths)
    ids = {folder.id for folder in trial_folders(paths.trials)}
    ids |= {path.name for path in beside.iterdir()} if beside.is_dir() else set()
    return sorted(name for name in ids if not name.startswith("."))


def longest(versions: Mapping[str, Any]) -> list[str]:
    """The keys of those versions that are the beginning of no other, the one for `trials/` first.

    Args:
        versions: Key -> something that has `rank` and `begins`.
    """
    kept = [one for one in versions.values() if not any(one.begins(other) for other in versions.values())]
    return [one.key for one in sorted(kept, key=lambda one: one.rank)]


def difference(first: Version, other: Version) -> dict[str, Any]:
    """What differs between two versions of a trial, and whether it is more than may be expected."""
    precision = str(first.config.get("precision", "fp32"))
    expected = promise(first.sessions, other.sessions, precision)
    n_photos = first.n_validation() or other.n_validation()
    allowed = 0.0 if expected == "bits" else tolerance(n_photos)
    parts = next((n for n, (a, b) in enumerate(zip(first.trace, other.trace, strict=False), start=1) if a != b), None)
    return {
        "promise": expected,
        "tolerance": allowed,
        "beyond": expected == "bits" or not _within(first, other, allowed),
        "first_epoch_that_differs": parts,
        "versions": [_facts(first), _facts(other)],
    }


def _within(first: Version, other: Version, allowed: float) -> bool:
    one, two = first.record, other.record
    if one is None or two is None or one.diverged != two.diverged:
        return False
    if one.score is None or two.score is None:
        return False
    return abs(one.score - two.score) <= allowed


def _facts(version: Version) -> dict[str, Any]:
    record = version.record
    assert record is not None, "only what was trained can differ"
    facts = {name: getattr(record, name) for name in ("score", "best_epoch", "epochs_done", "diverged", "author", "host")}
    return {"version": version.key, **facts, "weights": (record.weights or "")[:WEIGHTS_LENGTH] or None}


def _trace(record: Record, metrics: Any) -> tuple[float | str | None, ...]:
    losses = [line.get("loss") for line in metrics][: record.epochs_done - record.diverged]
    return trace(record.curve, losses, diverged=record.diverged, judged=record.fold != ALL_DATA)


def _readable(read: Any, faults: list[str]) -> Any:
    """What `read` returns; a file that is damaged adds its fault, one that is missing gives `None`."""
    try:
        return read()
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        faults.append(str(error))
        return None
