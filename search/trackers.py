"""Trials on a tracker's pages: a trial's folder becomes one run there, whose id is the trial's id.

A tracker mirrors what the ledger has. Only the driver of a search calls it, on a thread of its own (`MirrorQueue`), and whatever
goes wrong with it is one line in the log. What was not mirrored is mirrored by the next search.
"""

import itertools
import logging
import os
import queue
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from ledger.trials import Record, TrialFolder, trial_folders
from system.claims import gone, holder
from system.errors import UserError
from system.files import read_json, read_lines, replace_json
from system.paths import CompetitionPaths, check_writable, setting

log = logging.getLogger("podium.trackers")

Mode = Literal["offline", "online"]
MirrorOutcome = Literal["mirrored", "unchanged", "unreadable", "off", "failed"]
"""`unreadable` is the folder's fault, so the next trial may do better; after `off` and `failed` no trial will."""

DRAIN_S = 20.0
"""How long the end of a search waits for its tracker."""
TRACKER_PATIENCE_S = 10.0
"""How long one run may take to open, and to close."""


@dataclass(frozen=True)
class Tracker:
    """A place that shows trials.

    Attributes:
        mirror: Called with an ended trial, as often as one likes, always from the same thread; never raises.
        close: Called once, on that thread, when no more trials come; leaves no process behind; never raises.
    """

    mirror: Callable[[TrialFolder, CompetitionPaths], MirrorOutcome]
    close: Callable[[], None]


@dataclass(frozen=True)
class TrialPage:
    """What is shown of a trial."""

    config: dict[str, Any]
    lines: list[dict[str, Any]]
    record: Record


class MirrorQueue:
    """Mirrors trials in the background for the time of a `with` block, whose value is the function that takes them.

    It begins with the ended trials that earlier searches left over. At the end of the block it goes on for at most `drain_s`
    seconds and then says how many are left.

    Args:
        tracker: A name in `TRACKERS`.
        paths: The competition's folders.
        drain_s: Seconds the end of the block may take.
    """

    def __init__(self, tracker: str, paths: CompetitionPaths, *, drain_s: float = DRAIN_S) -> None:
        self._name, self._tracker, self._paths, self._drain_s = tracker, TRACKERS[tracker], paths, drain_s
        self._waiting: queue.SimpleQueue[TrialFolder | None] = queue.SimpleQueue()
        self._left: set[str] = set()
        self._late, self._off = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name=f"mirror {tracker}", daemon=True)

    def __enter__(self) -> Callable[[TrialFolder], None]:
        self._thread.start()
        return self.push

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._waiting.put(None)
        self._thread.join(self._drain_s)
        self._late.set()
        if self._left and not self._off:
            log.warning(
                "%d trials are not on %s yet; the next search with this tracker mirrors them", len(self._left), self._name
            )

    def push(self, folder: TrialFolder) -> None:
        """Have this trial mirrored; returns at once."""
        self._left.add(folder.id)
        self._waiting.put(folder)

    def _work(self) -> None:
        try:
            older = list(_ended_trials(self._paths))
            self._left.update(folder.id for folder in older)
            unreadable: set[str] = set()  # each is named once
            for folder in itertools.chain(older, iter(self._waiting.get, None)):
                if self._late.is_set():
                    return
                outcome = "unreadable" if folder.id in unreadable else self._tracker.mirror(folder, self._paths)
                self._off = outcome == "off"
                if outcome in ("off", "failed"):
                    return
                if outcome == "unreadable":
                    unreadable.add(folder.id)
                self._left.discard(folder.id)
        finally:
            self._tracker.close()


def mirror_wandb(folder: TrialFolder, paths: CompetitionPaths, *, mode: Mode | None = None) -> MirrorOutcome:
    """Write one trial as a Weights & Biases run: id, name, configuration, one step per epoch, summary, group and tags.

    Its files stand in `<root>/wandb/`, and `<root>/wandb/mirrored/<trial_id>.json` says what was written, so that a second call
    changes nothing and a trial that has grown replaces its run. Neither code, paths, host, user nor hardware is recorded.

    Args:
        folder: The trial; one without a record is left for later.
        paths: The competition's folders; the project is the competition.
        mode: `offline` for files only (send them with `wandb sync`), `online` to upload as well; else `WANDB_MODE`, else offline.
            `WANDB_MODE=disabled` turns all of this off.
    """
    wanted = setting("WANDB_MODE") or "offline"
    if wanted == "disabled":
        return "off"
    mode = mode or ("online" if wanted == "online" else "offline")
    try:
        page = _read_page(folder)
    except (OSError, ValueError, TypeError) as error:
        log.warning("trial %s is not mirrored, its folder cannot be read (%s); merge a whole copy of it", folder.id, error)
        return "unreadable"
    marker = paths.root / "wandb" / "mirrored" / f"{folder.id}.json"
    if page is None or _is_mirrored(marker, page, mode):
        return "unchanged"
    try:
        check_writable(marker.parent)
        _write_run(folder.id, page, paths.root, mode)
        replace_json(marker, {"lines": len(page.lines), "weights": page.record.weights, "mode": mode}, durable=False)
    except (Exception, SystemExit) as error:  # whatever ails a tracker must not end a search
        log.warning("wandb: trial %s is not mirrored (%s); training goes on. %s", folder.id, _first_line(error), _way_out(error))
        return "failed"
    return "mirrored"


def close_wandb() -> None:
    """End the service process of Weights & Biases, if one was started."""
    wandb = sys.modules.get("wandb")
    if wandb is None:
        return
    try:
        wandb.teardown()
    except (Exception, SystemExit) as error:  # as above
        log.info("wandb did not end cleanly (%s); its files are whole up to the last mirrored trial", _first_line(error))


TRACKERS: dict[str, Tracker] = {"wandb": Tracker(mirror_wandb, close_wandb)}


def _ended_trials(paths: CompetitionPaths) -> Iterator[TrialFolder]:
    """Trials that nobody trains at the moment, by id; broken ones too, so that they are named."""
    for folder in trial_folders(paths.trials):
        try:
            record = folder.record()
            claim = holder(folder.claim)
        except (OSError, ValueError, TypeError):
            yield folder
            continue
        if record is not None and (record.ended or claim is None or gone(claim)):
            yield folder


def _read_page(folder: TrialFolder) -> TrialPage | None:
    record = folder.record()
    return None if record is None else TrialPage(folder.config(), read_lines(folder.path / "metrics.jsonl"), record)


def _is_mirrored(marker: Path, page: TrialPage, mode: Mode) -> bool:
    try:
        seen = read_json(marker)
    except (OSError, ValueError):
        return False
    same = (seen.get("lines"), seen.get("weights")) == (len(page.lines), page.record.weights)
    return same and seen.get("mode") in (mode, "online")


def _write_run(trial_id: str, page: TrialPage, root: Path, mode: Mode) -> None:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    settings = _wandb_settings(root, mode)
    record = page.record
    older = _run_folders(root, trial_id)
    try:
        wandb.setup(wandb.Settings(**settings))
        run = wandb.init(
            id=trial_id,
            name=f"{record.target} fold {record.fold} seed {record.seed} {trial_id[:6]}",
            project=root.name,
            group=record.config_id,
            tags=[f"target={record.target}"[:64], f"fold={record.fold}", f"seed={record.seed}"],
            config=page.config,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(**settings),
        )
        for line in page.lines:
            known = {key: value for key, value in line.items() if value is not None}
            run.log(known, step=line["epoch"], commit=True)  # a step left open would be written after the summary and win over it
        best = {"score": record.score, "best_epoch": record.best_epoch, "diverged": record.diverged, "seconds": record.seconds}
        run.summary.update({key: value for key, value in best.items() if value is not None})
        run.finish()
    finally:
        for path in _run_folders(root, trial_id):
            _drop_logs(path)  # they hold this machine's paths
    if set(_run_folders(root, trial_id)) - set(older):
        for path in older:
            shutil.rmtree(path, ignore_errors=True)


def _wandb_settings(root: Path, mode: Mode) -> dict[str, Any]:
    return {
        "mode": mode,
        "root_dir": str(root),
        "use_dot_wandb": False,
        "api_key": setting("WANDB_API_KEY") if mode == "online" else None,
        "silent": True,  # with it, a missing key is an error and not a question
        "console": "off",
        "init_timeout": TRACKER_PATIENCE_S,
        "finish_timeout": TRACKER_PATIENCE_S,
        "finish_timeout_raises": True,
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "disable_job_creation": True,
        "label_disable": True,
        "sagemaker_disable": True,
        "symlink": False,
        "program": "podium",
        "host": "",
        "username": "",
        "email": "",
        "x_executable": "",
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_disable_stats": True,
        "x_save_requirements": False,
    }


def _run_folders(root: Path, trial_id: str) -> list[Path]:
    """The folders of the trial's runs: `[offline-]run-<time>-<id>`, and `-<n>` where one second saw two."""
    return sorted(path for path in (root / "wandb").glob(f"*run-*-{trial_id}*") if path.is_dir())


def _drop_logs(run: Path) -> None:
    for name in ("logs", "tmp"):
        shutil.rmtree(run / name, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _way_out(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return "Install it with `pip install -c constraints.txt wandb`, or search without a tracker."
    if isinstance(error, OSError | UserError):
        return "Make <storage>/<competition>/wandb a folder that can be written, or set WANDB_MODE=disabled."
    return "Set WANDB_MODE=offline and send the files later with `wandb sync`, or `wandb login`, or WANDB_MODE=disabled."
