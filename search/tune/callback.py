"""The driver's diary: what Tune decided goes into the study's events, what it means goes onto the status line."""

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from ledger.progress import progress_of
from ledger.studies import StudyFolder
from ledger.trials import TrialFolder
from search.latest import LatestExport
from search.tune.disk_stop import DISK_FULL, DiskStop
from system.progress import Running, StatusLine

log = logging.getLogger("podium.search")


TIDY_SHARE = 20
ERROR_LINE = re.compile(r"^(?:[\w.]+\.)?(\w+(?:Error|Exception|Exit|Interrupt|Died\w*): .*)$", re.MULTILINE)


class StudyCallback(tune.Callback):  # type: ignore[misc]  # ray ships no types
    """Called by Tune's loop after each result and at each end of a trial."""

    def __init__(
        self,
        study: StudyFolder,
        trials: Path,
        status: StatusLine,
        push: Callable[[TrialFolder], None],
        stop: DiskStop,
        tidy: Callable[[], object] = lambda: None,
        latest: LatestExport | None = None,
    ) -> None:
        """Events go to `study`, progress to `status`, ended trials to `push` and `latest`, full disks to `stop`.

        `tidy` is called after each end.
        """
        self._latest = latest
        self._study, self._trials, self._status, self._push, self._stop = study, trials, status, push, stop
        self._tidy, self._tidied = tidy, 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore of its own, which is never used, and a diary has files and threads."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result.get("said"):
            log.warning("%s", result["said"])  # what a worker logs is seen by nobody
        if not (result.get("elsewhere") or DISK_FULL in result):
            share = result["epoch"] / trial.config["epochs"]
            self._status.epoch(trial.config["trial_id"], trial.config["target"], share, result["best_score"])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune's loop turns about ten times a second, whatever the trials do."""
        if self._status.due:
            running = {trial.config["trial_id"]: self._running(trial) for trial in trials if trial.status == "RUNNING"}
            self._status.look({name: one for name, one in running.items() if one is not None})
        if self._latest is not None:
            self._latest.tick()

    def _running(self, trial: Any) -> Running | None:
        now = progress_of(TrialFolder(self._trials / trial.config["trial_id"]))
        if now is None:
            return None
        whole = now.seconds / now.share if now.share > 0 else 0.0
        return Running(now.epoch, trial.config["epochs"], now.share, whole, now.memory)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name, result = trial.config["trial_id"], trial.last_result or {}
        folder = TrialFolder(self._trials / name)
        record = folder.record()
        with self._stop.guard():
            if result.get("elsewhere"):
                self._study.log("elsewhere", name)
            elif record is not None and record.ended:
                self._study.log("diverged" if record.diverged else "finished", name, epoch=record.epochs_done, score=record.score)
        self._status.ended(name)
        self._push(folder)
        if self._latest is not None:
            self._latest.ended()
        self._tidy_now_and_then()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name, reason = trial.config["trial_id"], _reason(trial)
        with self._stop.guard():
            self._study.log("retried", name, failures=trial.num_failures, reason=reason)
        log.warning("trial %s is started again after its process failed: %s", name, reason)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name, reason = trial.config["trial_id"], _reason(trial)
        with self._stop.guard():
            self._study.log("failed", name, reason=reason)
        log.error("trial %s failed: %s", name, reason if reason.startswith("UserError") else _text(trial))
        self._status.ended(name)

    def _tidy_now_and_then(self) -> None:
        """Tidy, at most a twentieth of the time: a look at all trials of a large ledger takes longer than it may hold Tune's loop."""
        started = time.monotonic()
        if started >= self._tidied:
            self._tidy()
            ended = time.monotonic()
            self._tidied = ended + TIDY_SHARE * (ended - started)


def _reason(trial: Any) -> str:
    """The line of the trial's error that names the exception and begins its message."""
    named = ERROR_LINE.findall(_text(trial))
    return named[-1][:300] if named else "the process died without a word"


def _text(trial: Any) -> str:
    try:
        return Path(trial.error_file).read_text() if trial.error_file else str(trial.get_error() or "")
    except OSError:
        return str(trial.get_error() or "")
