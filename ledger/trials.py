"""One trial's folder: what was asked (`config.json`), what came of it (`record.json`, `metrics.jsonl`), where from (`provenance.json`).

The worker that trains the trial is the one writer. A result stands here, whole, before anything is told to a scheduler.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from system.files import copy_file, fingerprint, lines_text, read_json, replace_bytes, replace_sealed
from system.paths import NAME

ID_LENGTH = 12
OUTSIDE_MEMBER = ("fold", "seed")
ALL_DATA = -1
"""The fold of a trial that learns from all labelled photos: nobody judges it, so it has no score of its own."""
FROM = "from"
"""The key of a session that says how much of the trial was there when it began: `epochs` and `seconds`."""


def trial_id(config: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """The name of a trial: 12 hex digits over every setting that changes what is learned.

    Args:
        config: All resolved settings.
        before: Settings added after the first release, each with the value that stands for "as it was before". A setting
            that has this value is left out of the hash, so that adding a setting renames no trial.
    """
    return fingerprint(_hashed(config, before), length=ID_LENGTH)


def config_id(config: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """The name of a member: the id of its trials without fold and seed."""
    kept = {key: value for key, value in _hashed(config, before).items() if key not in OUTSIDE_MEMBER}
    return fingerprint(kept, length=ID_LENGTH)


def _hashed(config: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in before or value != before[key]}


@dataclass(frozen=True)
class Record:
    """What came of a trial so far; replaced whole after every epoch.

    Attributes:
        score: The best validation score, greater is better; `None` before the first epoch, for a diverged trial, and for one that
            learned from all photos (`ALL_DATA`).
        best_epoch: The epoch (from 1) it was reached at; its weights are `best.safetensors`. `None` where there is no score: the
            weights of a finished trial are then the last epoch's.
        curve: The validation score after each epoch.
        weights: Hash of `best.safetensors`; predictions are keyed by it.
        seconds: Training time over all sessions.
    """

    trial_id: str
    config_id: str
    target: str
    fold: int
    seed: int
    epochs_planned: int
    epochs_done: int = 0
    score: float | None = None
    best_epoch: int | None = None
    curve: list[float] = field(default_factory=list)
    diverged: bool = False
    weights: str | None = None
    seconds: float = 0.0
    author: str = ""
    host: str = ""

    @property
    def finished(self) -> bool:
        """All planned epochs were trained and none diverged."""
        return not self.diverged and self.epochs_done >= self.epochs_planned

    @property
    def can_vote(self) -> bool:
        """There are best weights to vote with: a finished trial's, or those of one that was cut off before its last epoch."""
        return self.finished or (not self.diverged and self.weights is not None)

    @property
    def ended(self) -> bool:
        """Nothing is left to train: the trial finished or diverged."""
        return self.finished or self.diverged


@dataclass(frozen=True)
class TrialFolder:
    """The files of one trial."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def previous(self) -> Path:
        """The checkpoint before `last`, until the trial ends: what a damaged `last` is replaced by."""
        return self.path / "previous.safetensors"

    @property
    def root(self) -> Path:
        """The competition's folder, of a trial in `<root>/trials/`."""
        return self.path.parents[1]

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def claim(self) -> Path:
        return self.path / "claim.json"

    @property
    def progress(self) -> Path:
        """How far the epoch is that is being trained (`ledger.progress`); left behind it is swept like a write that was killed."""
        return self.path / ".progress.tmp"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved settings once; a folder that has them keeps them."""
        if not (self.path / "config.json").exists():
            replace_sealed(self.path / "config.json", config)

    def config(self) -> dict[str, Any]:
        """The resolved settings of the trial.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged; the message names it.
        """
        value = read_json(self.path / "config.json")
        if not isinstance(value, dict):
            raise ValueError("config.json is damaged (it is no object)")
        return value

    def write_record(self, record: Record) -> None:
        replace_sealed(self.path / "record.json", asdict(record))

    def record(self) -> Record | None:
        """The record, or `None` where no epoch has ended yet."""
        try:
            return Record(**read_json(self.path / "record.json"))
        except FileNotFoundError:
            return None

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Replace `metrics.jsonl` with one line per epoch; `lines` come from `last`, which heals a file that fell behind."""
        replace_bytes(self.path / "metrics.jsonl", lines_text(lines), durable=False)

    def keep_previous(self) -> None:
        """Let `previous` be what `last` is now, just before `last` is replaced. Where a disk has no hard links, it is copied."""
        beside = self.previous.with_name(f".{self.previous.name}.link.tmp")
        beside.unlink(missing_ok=True)
        try:
            os.link(self.last, beside)
        except FileNotFoundError:
            return
        except OSError:
            copy_file(self.last, self.previous)
            return
        os.replace(beside, self.previous)

    def remove_leftovers(self) -> None:
        """Remove what a write that was killed left beside these files. Only the trial's one writer may call this."""
        for beside in self.path.glob(".*.tmp"):
            if not beside.name.startswith(f".{self.claim.name}."):
                beside.unlink(missing_ok=True)

    def add_provenance(self, session: Mapping[str, Any]) -> None:
        """Add what this session of training was made of; a trial that goes on elsewhere keeps what came before.

        A session like the one before, wherever it began (`FROM`), is the same session.
        """
        sessions = self.provenance()
        if not sessions or {**sessions[-1], FROM: None} != {**session, FROM: None}:
            replace_sealed(self.path / "provenance.json", {"sessions": [*sessions, dict(session)]}, durable=False)

    def provenance(self) -> list[dict[str, Any]]:
        """What each session of training was made of, oldest first; none where there is no such file.

        Raises:
            ValueError: The file is damaged; the message names it.
        """
        try:
            value = read_json(self.path / "provenance.json")
        except FileNotFoundError:
            return []
        sessions = value.get("sessions") if isinstance(value, dict) else None
        if not isinstance(sessions, list) or not all(isinstance(session, dict) for session in sessions):
            raise ValueError("provenance.json is damaged (it has no list of sessions)")
        return sessions


def is_trial(trials: Path, name: str) -> bool:
    """Whether there is a trial of this name, which somebody typed: no name leads out of the folder."""
    return NAME.fullmatch(name) is not None and (trials / name / "config.json").is_file()


def trial_folders(trials: Path) -> Iterator[TrialFolder]:
    """Every trial of a competition, by id."""
    if trials.is_dir():
        for path in sorted(trials.iterdir()):
            if (path / "config.json").is_file():
                yield TrialFolder(path)
