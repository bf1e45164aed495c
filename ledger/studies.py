"""One search's folder: its plan, one numbered file per suggestion, and what a scheduler decided.

The driver alone writes here. A decision ("stopped at rung 3") is a fact of the study, never of the trial: another study may ask
the same trial for more epochs. What is damaged is left out by whoever reads, with a warning, until the study's next driver mends it
(`ledger.repair.studies`).
"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from system.checksums import Lines, split_lines
from system.claims import Holder, living
from system.errors import UserError, unknown
from system.files import append_line, read_json, replace_sealed
from system.paths import check_name

log = logging.getLogger("podium.ledger")
END_EVENTS = {
    "finished": "finished",
    "pruned": "pruned",
    "diverged": "diverged",
    "failed": "failed",
    "answered": "finished",
    "superseded": "superseded",
}
STOPPED = "stopped"
"""The event after which a trial that time or Ctrl-C cut off votes with its best weights, until it goes on."""
WAITING = ("running", STOPPED)
"""What a trial is to its study that is to be trained on by it."""
OPEN = (*WAITING, "elsewhere", "superseded")
"""What a trial without an end is to its study: `elsewhere` while another study trains it, `superseded` when the data have changed."""
RETRYING = "retrying"
"""The event after which a trial that failed for good is one that waits."""
LEASE_PATIENCE_S = 3.0


@dataclass(frozen=True)
class Suggestion:
    """What the searcher asked for, written before the trial starts.

    Attributes:
        number: Counts over the whole study from 1.
        parameters: What the space drew.
        settings: The resolved configuration that `trial_id` names: what goes on after a kill.
        distributions: Optuna's own JSON form of each parameter's distribution.
        attributes: What the sampler keeps on its trial.
    """

    number: int
    target: str
    trial_id: str
    parameters: dict[str, Any]
    distributions: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyFolder:
    """The files of one study."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def lease(self) -> Path:
        return self.path / "lease.json"

    @property
    def root(self) -> Path:
        """The competition's folder."""
        return self.path.parents[1]

    @property
    def plan_files(self) -> tuple[Path, Path]:
        """The plan and its copy: nothing else says what a study set out to do."""
        return self.path / "plan.json", self.path / "plan.copy.json"

    @property
    def planned(self) -> bool:
        """Whether there is something to go on with."""
        return any(path.is_file() for path in self.plan_files)

    @property
    def begun(self) -> bool:
        """Whether anything of a study stands here. A driver that was killed before its plan leaves nothing but its lease."""
        names = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
        return any(not name.startswith((self.lease.name, ".")) for name in names)

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        for path in reversed(self.plan_files):
            replace_sealed(path, plan)

    def plan(self) -> dict[str, Any]:
        """What the study set out to do.

        Raises:
            UserError: Neither the plan nor its copy can be read.
        """
        faults = []
        for path in self.plan_files:
            try:
                return dict(read_json(path))
            except (FileNotFoundError, ValueError, TypeError) as error:
                faults.append(f"{path.name}: {error}" if isinstance(error, TypeError) else str(error))
        raise UserError(
            f"study {self.name!r} cannot say what it set out to do ({'; '.join(faults)}); its trials are whole: start a new study, it "
            "takes over every trial that still fits"
        )

    def write_suggestion(self, suggestion: Suggestion) -> None:
        replace_sealed(self.path / "suggestions" / f"{suggestion.number:06d}.json", asdict(suggestion))

    def suggestion_files(self) -> list[Path]:
        """The files of all suggestions, oldest first."""
        return sorted((self.path / "suggestions").glob("[0-9]*.json"))

    def suggestions(self) -> list[Suggestion]:
        """All suggestions that can be read, oldest first; one without a trial (`""`) only holds its number."""
        return [found for file in self.suggestion_files() if (found := self.suggestion(file)) is not None]

    def suggestion(self, file: Path) -> Suggestion | None:
        """The suggestion in one of `suggestion_files`; `None`, with a warning, where it is damaged."""
        try:
            return Suggestion(**read_json(file))
        except (ValueError, TypeError) as error:
            log.warning("study %s: a suggestion is left out (%s); --resume %s heals it", self.name, error, self.name)
            return None

    def log(self, event: str, trial_id: str | None = None, **facts: Any) -> None:
        """Append one event with the time in UTC seconds."""
        line = {"event": event, "time": round(time.time(), 3), **({"trial_id": trial_id} if trial_id else {}), **facts}
        append_line(self.path / "events.jsonl", line)

    def events(self) -> list[dict[str, Any]]:
        """All events that can be read, oldest first."""
        return self.readable(self.journal())

    def readable(self, lines: Lines) -> list[dict[str, Any]]:
        """The events of a journal that can be read; the others are warned about."""
        if lines.damaged:
            log.warning(
                "study %s: %d damaged events are left out; --resume %s mends them", self.name, len(lines.damaged), self.name
            )
        return [*lines.values]

    def journal(self) -> Lines:
        """The lines of `events.jsonl`, damaged ones too."""
        path = self.path / "events.jsonl"
        return split_lines(path.read_bytes() if path.exists() else b"")

    def started(self) -> dict[str, int | None]:
        """Per trial id that this study trained, or is to train: the epoch at which the study let go of it; `None`: not yet."""
        epochs: dict[str, int | None] = {}
        for event in self.events():
            if event["event"] == "started":
                epochs[event["trial_id"]] = None
            elif event["event"] == "elsewhere":
                epochs.pop(event["trial_id"], None)
            elif event.get("trial_id") in epochs and event["event"] in END_EVENTS:
                epochs[event["trial_id"]] = event.get("epoch")
        return epochs

    def failed(self) -> set[str]:
        """The trials that failed for good, and those that were to be run again since and have not ended."""
        last = {e["trial_id"]: e["event"] for e in self.events() if e["event"] == RETRYING or e["event"] in END_EVENTS}
        return {trial for trial, event in last.items() if event in (RETRYING, "failed")}

    def failures(self) -> tuple[str, ...]:
        """Why trials failed for good and have not been retried since, each reason once, oldest first."""
        failed = {trial for trial, status in self.statuses().items() if status == "failed"}
        reasons = {event["trial_id"]: event["reason"] for event in self.events() if event["event"] == "failed"}
        return tuple(dict.fromkeys(reason for trial, reason in reasons.items() if trial in failed))

    def statuses(self) -> dict[str, str]:
        """Per trial id what the study last decided: running, stopped, elsewhere, finished, pruned, diverged, failed or superseded."""
        return statuses_of((suggestion.trial_id for suggestion in self.suggestions()), self.events())

    def check_not_driven(self) -> None:
        """Refuse a study that somebody drives now; looks at its lease and leaves it alone.

        Raises:
            UserError: Naming who, where and since when.
        """
        driver = living(self.lease, patience=LEASE_PATIENCE_S)
        if driver is not None:
            raise self.driven_by(driver)

    def driven_by(self, driver: Holder | None) -> UserError:
        """What a second driver is told."""
        return UserError(f"study {self.name!r} is being run by {driver or 'another driver'}; wait for it or stop it first")


def study_folder(studies: Path, name: str) -> StudyFolder:
    """The study called `name`.

    Raises:
        UserError: There is none.
    """
    check_name("study", name)
    folder = StudyFolder(studies / name)
    if not folder.planned:
        known = [path.name for path in studies.iterdir()] if studies.is_dir() else []
        raise UserError(
            unknown("study", name, known) if known else f"unknown study {name!r}; there is no study yet, start one first"
        )
    return folder


def study_folders(studies: Path) -> list[StudyFolder]:
    """All studies of a competition, by name."""
    paths = sorted(studies.iterdir()) if studies.is_dir() else []
    return [folder for folder in map(StudyFolder, paths) if folder.planned]


def statuses_of(suggested: Iterable[str], events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Per trial id what a study last decided.

    Args:
        suggested: The trial ids of its suggestions; `""` for one that only holds its number.
        events: Its events, oldest first.
    """
    status = {trial: "running" for trial in suggested if trial}
    for event in events:
        if "trial_id" in event:
            still_open = event["event"] if event["event"] in ("elsewhere", STOPPED) else "running"
            status[event["trial_id"]] = END_EVENTS.get(event["event"], still_open)
    return status
