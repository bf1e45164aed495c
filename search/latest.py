"""A current export while a search runs: `export_ensemble.py` in a process of its own, kept at `ensembles/latest` where it is better.

It begins as soon as every target has an answer, then whenever a trial has ended since, at most every tenth of the time, and once more at
the end. The first looks through the identity view alone, for there is nothing to hand in yet. An export that is no better by its honest
score is thrown away. Nothing that goes wrong in one ends the search.
"""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from competitions.manifest import IDENTITY, LABEL, MEAN_OF_TASKS
from competitions.targets import choose_targets
from ledger.query import best_trials
from ledger.reading import readable_record
from ledger.stopped import is_gone
from ledger.studies import STOPPED, WAITING
from ledger.trials import TrialFolder
from search.deadline import Deadline, spoken
from search.plan import Plan
from system.claims import claim, is_process
from system.files import fingerprint, read_json, replace_json
from trainables.provenance import REPOSITORY

log = logging.getLogger("podium.search")
LATEST, FACTS = "latest", "latest.json"
SHARE, MOST_OF_TIME = 0.1, 0.2
"""Exports begin at most every so large a part of the hours, and while trials run they take at most so large a part of the time."""
FIRST_RESERVE = 0.2
"""The part of the hours that is set aside for the last export while none was measured, within `RESERVE_S`. It is more where this
command itself took long to begin, and never more than half of them."""
RESERVE_S = (20.0, 600.0)
STOPPING_S = 6.0
"""What it takes to end running trials and Ray."""
LONGER = 1.5
"""The last export is given so many times what the longest before it took: by then there are more trials, and none of their views."""
ENDING_S = 5.0
"""How long an export that is told to end is waited for."""
WORKERS_S = 15.0
"""How long processes that trained are waited for, after Ray has ended them."""
LOOK_SHARE = 20
"""At most so small a part of the time, 1 in 20, goes into looking whether every target has an answer."""
QUICK_S = 60.0
"""With less time than this and nothing to hand in yet, the votes stay as they are: to refine them takes longest."""


class LatestExport:
    """The export at `ensembles/latest` during one run: `tick` it often, call `last` when no trial runs any more; ends with its block."""

    def __init__(self, plan: Plan, deadline: Deadline) -> None:
        """Nothing is started yet."""
        self._plan, self._deadline, self._paths = plan, deadline, plan.paths
        self._root = plan.paths.ensembles
        self._ours = f".{LATEST}.{socket.gethostname()}."
        self._beside = self._root / f"{self._ours}{os.getpid()}"
        self._said = self._root / f"{self._ours}{os.getpid()}.json"
        self._to_begin = time.monotonic() - deadline.begun
        self.log = plan.study.path / "export.log"
        self._targets = _targets(plan)
        self._child: subprocess.Popen[bytes] | None = None
        self._started, self._earliest, self._ids = 0.0, 0.0, set[str]()
        self._took: list[float] = []
        self._one_view = False
        self._took_one_view: list[float] = []
        self._news = True
        self._answered = False

    def __enter__(self) -> Self:
        self._clear()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End what still runs."""
        self._kill()
        self._clear()

    @property
    def folder(self) -> Path:
        """Where the export is kept."""
        return self._root / LATEST

    @property
    def facts(self) -> dict[str, Any] | None:
        """What is known of the export that is kept; `None` where there is none."""
        try:
            return dict(read_json(self.folder / FACTS)) if self._is_export else None
        except (OSError, ValueError, TypeError):
            return None

    @property
    def _is_export(self) -> bool:
        return (self.folder / "bundle").is_dir()

    def json(self) -> dict[str, Any] | None:
        """What is kept now, for people; `None` where nothing is."""
        facts = self.facts
        if facts is None:
            return None
        submission = self.folder / "submission.csv"
        told = {name: facts[name] for name in ("ensemble", "score", "voters", "stopped")}
        return {**told, "submission": str(submission) if submission.is_file() else None, "bundle": str(self.folder / "bundle")}

    def reserve(self) -> float:
        """Seconds that ending the trials and the last export are given."""
        low, high = RESERVE_S
        first = min(max(FIRST_RESERVE * self._deadline.total, low, self._to_begin), high)
        expected = LONGER * max(self._took) if self._took else max([first, *(LONGER * took for took in self._took_one_view)])
        return STOPPING_S + min(expected, self._deadline.total / 2)

    def ended(self) -> None:
        """A trial has ended, so another choice may be better."""
        self._news = True

    def answered(self) -> bool:
        """Whether each target has a trial that can vote once what runs is stopped."""
        if not self._answered:
            open_ones = {trial for trial, status in self._plan.study.statuses().items() if status in WAITING}
            suggested = [one for one in self._plan.study.suggestions() if one.trial_id in open_ones]
            running = {one.target for one in suggested if self._can_vote(one.trial_id)}
            self._answered = all(name in running or self._best(name) for name in self._targets)
        return self._answered

    def tick(self) -> None:
        """Take what has ended, and start another export where it is time for one. What goes wrong is told and ends nothing."""
        try:
            self._tick()
        except OSError as error:
            self._kill()
            self._earliest = time.monotonic() + SHARE * self._deadline.total
            log.warning("no export to %s: %s", self.name, error)

    def _tick(self) -> None:
        now = time.monotonic()
        if self._child is not None:
            if self._child.poll() is not None:
                self._take(self._child.returncode)
        elif self._news and now >= self._earliest:
            room = self._deadline.left - self.reserve()
            if room > max(self._took, default=0.0) and all(self._best(name) for name in self._targets):
                self._news = self._one_view = self.facts is None
                self._start(*(["--views", IDENTITY] if self._one_view else []))
            self._earliest = now + max(1.0, LOOK_SHARE * (time.monotonic() - now))

    def last(self) -> None:
        """One more export, of everything that can vote by now. One that runs is awaited first, where nothing else is kept."""
        if self._child is not None and self.facts is None:
            self._take(self._child.wait())
        self._kill()
        self._await_workers()
        missing = [name for name in self._targets if not self._best(name)]
        if missing:
            log.warning("no last export: no trial of %s has finished an epoch", ", ".join(missing))
            return
        cut_off = STOPPED in self._plan.study.statuses().values()
        if self.facts is not None and not self._news and not cut_off:
            return
        quick, self._one_view = self.facts is None and self._deadline.left < QUICK_S, False
        self._start(*(["--plain"] if quick else []))
        assert self._child is not None
        limit = None if self.facts is None else max(1.0, self._deadline.left + self._deadline.slack - ENDING_S)
        try:
            self._take(self._child.wait(limit))
        except subprocess.TimeoutExpired:
            self._kill()
            log.warning("the last export took too long and was ended; %s keeps the one before", self.name)

    def _await_workers(self) -> None:
        """Wait until the processes that trained have let go of what was stopped: it cannot vote before."""
        stopped = [trial for trial, status in self._plan.study.statuses().items() if status == STOPPED]
        claims, end = [TrialFolder(self._paths.trials / trial).claim for trial in stopped], time.monotonic() + WORKERS_S
        while time.monotonic() < end and not all(is_gone(path) for path in claims):
            time.sleep(0.1)

    @property
    def name(self) -> str:
        """Of its folder, as people are told it."""
        return f"{self._root.name}/{LATEST}"

    def _best(self, target: str) -> list[tuple[str, float]]:
        competition, fold = self._plan.prepared.competition, self._plan.request.fold
        own = choose_targets(competition, [target])[0]
        data = self._plan.prepared.data_fingerprint(own)
        return best_trials(self._paths, target, data, fold, own.metric, stopped=True)

    def _can_vote(self, trial: str) -> bool:
        record = readable_record(TrialFolder(self._paths.trials / trial))
        return record is not None and record.can_vote

    def _start(self, *more: str) -> None:
        request, competition = self._plan.request, self._plan.prepared.competition
        asked = {
            "--to": str(self._beside),
            "--storage": str(self._paths.root.parent),
            "--fold": str(request.fold),
            "--split": competition.split.name,
            "--targets": ",".join(self._targets),
            "--device": _device(request.gpus_per_trial),
        }
        words = [word for option, value in asked.items() for word in (option, value)]
        command = [sys.executable, str(REPOSITORY / "export_ensemble.py"), request.competition, *words, "--json", *more]
        self._ids = _names(self._root)
        self._clear()
        self._root.mkdir(parents=True, exist_ok=True)
        with open(self._said, "wb") as said, open(self.log, "ab") as told:
            told.write(f"{' '.join(command)}\n".encode())
            told.flush()
            self._child = subprocess.Popen(command, stdout=said, stderr=told, stdin=subprocess.DEVNULL, process_group=0)
        self._started = time.monotonic()

    def _take(self, code: int) -> None:
        """What came of an export that has ended."""
        self._child = None
        took = time.monotonic() - self._started
        tenth, busy = SHARE * self._deadline.total, took / MOST_OF_TIME
        self._earliest = self._started + max(tenth, busy)
        if code != 0:
            log.warning("an export to %s failed (%s); its log: %s", self.name, self._last_words(), self.log)
        else:
            (self._took_one_view if self._one_view else self._took).append(took)
            try:
                self._keep(read_json(self._said), took)
            except (OSError, ValueError) as error:
                log.warning("an export could not be kept at %s (%s); its log: %s", self.name, error, self.log)
        self._clear()

    def _keep(self, said: Mapping[str, Any], took: float) -> None:
        """Put the export in its place where it is better than the one there, or answers another question."""
        score, before = score_of(said), self.facts
        targets = choose_targets(self._plan.prepared.competition, self._targets)
        data = [self._plan.prepared.data_fingerprint(target) for target in targets]
        question = fingerprint([list(self._targets), data, self._plan.request.fold, said["plan"]["metric"]])
        new = said["ensemble"] not in self._ids
        if before is not None and before["question"] == question and before["score"] >= score:
            log.info(
                "an export of %s is no better (%.4f) than the one at %s (%.4f)", spoken(took), score, self.name, before["score"]
            )
            if new:
                shutil.rmtree(self._root / said["ensemble"], ignore_errors=True)
            return
        facts = {"ensemble": said["ensemble"], "new": new, "score": score, "question": question, "study": self._plan.study.name}
        facts |= {"seconds": round(took, 1), "voters": said["voters"], "stopped": said["stopped"]}
        replace_json(self._beside / FACTS, facts)
        if self.folder.exists() and not self._is_export:
            log.warning("%s is there and is no export, so nothing is kept there; move it away", self.name)
            return
        held = claim(self._root / f".{LATEST}.claim")
        if held is None:
            log.info("another search puts its export to %s at this moment", self.name)
            return
        with held:
            put_in_place(self._beside, self.folder)
        if before is not None and before["new"] and before["ensemble"] != said["ensemble"]:
            shutil.rmtree(self._root / before["ensemble"], ignore_errors=True)
        cut = f", {len(said['stopped'])} of its trials cut off" if said["stopped"] else ""
        log.info("%s: honest score %.4f%s, exported in %s", self.name, score, cut, spoken(took))

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1][:300] if lines else "without a word"

    def _kill(self) -> None:
        """End an export that runs, and what it started."""
        child, self._child = self._child, None
        if child is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(ENDING_S)
                return

    def _clear(self) -> None:
        """Remove what an export left beside, here or of a driver that was killed, and bring back a folder that one took away."""
        for left in self._root.glob(f"{self._ours}*"):
            if not _lives(left.name.removeprefix(self._ours).removesuffix(".json")):
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        if self._child is None:
            shutil.rmtree(self._beside, ignore_errors=True)
            self._said.unlink(missing_ok=True)
        heal(self.folder)


def score_of(said: Mapping[str, Any]) -> float:
    """The honest score of an export: the label's, else the mean over its tasks; of what has none, that of its vote."""
    scores = said["scores"]
    whole = next((name for name in (MEAN_OF_TASKS, LABEL) if name in scores), None)
    asked = [*scores.values()] if whole is None else [scores[whole]]
    own = [one["honest"]["mean"] if one["honest"] else one["vote"] for one in asked]
    return sum(own) / len(own) if own else 0.0


def put_in_place(new: Path, folder: Path) -> None:
    """Let a folder take the place of another, as a whole. Who is killed between the two renames leaves what `heal` brings back."""
    old = _set_aside(folder)
    heal(folder)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def heal(folder: Path) -> None:
    """Bring back a folder that was set aside by somebody who was killed before the new one stood in its place."""
    old = _set_aside(folder)
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _set_aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _targets(plan: Plan) -> tuple[str, ...]:
    """Whose trials are exported: one target per task where the study's are among these, else the study's own."""
    default = tuple(target.name for target in choose_targets(plan.prepared.competition, None))
    return default if set(plan.questions) <= set(default) else tuple(plan.questions)


def _device(gpus_per_trial: float) -> str:
    """Where missing views are computed: where trials are, unless this machine only drives them."""
    if not gpus_per_trial:
        return "cpu"
    from trainables.devices import device_faults

    return "cpu" if device_faults("cuda") else "cuda"


def _names(ensembles: Path) -> set[str]:
    return {path.name for path in ensembles.iterdir()} if ensembles.is_dir() else set()


def _lives(pid: str) -> bool:
    return pid.isdecimal() and is_process(int(pid))
