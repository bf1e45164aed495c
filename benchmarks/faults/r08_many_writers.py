"""R8: seven processes write one ledger, each its own study, and some trials are wanted by all of them; they are killed at random.

A writer says in a log of its own what it wrote, after the write returned. In the end every record that was acknowledged is there and whole,
every event too, and no id stands for two trials. Who holds a claim puts a mark in its place exclusively: a mark of another living process
is a claim that two held at once.
"""

import os
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.harness.rows import RuleRow
from ledger.query import leaderboard
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import Record, TrialFolder
from system.claims import Claim, claim, is_process
from system.files import fingerprint, read_lines
from system.paths import CompetitionPaths

WRITERS, RECORDS, SHORT_RECORDS = 7, 2000, 60
SHARED_EVERY = 10
"""Every so manieth trial is one that all writers want."""
KILLS = 60
SHORT_KILLS = 8


@dataclass(frozen=True)
class LedgerWriter:
    """One process's part.

    Attributes:
        number: From 0.
        paths: The ledger all of them share.
        logs: The folder of truth logs and marks.
        records: How many trials its study asks for.
    """

    number: int
    paths: CompetitionPaths
    logs: Path
    records: int

    @property
    def study(self) -> StudyFolder:
        return StudyFolder(self.paths.studies / f"s{self.number}")

    @property
    def log(self) -> Path:
        return self.logs / f"{self.number}.log"

    def run(self) -> None:
        """Write all that is still missing, as a resumed driver does."""
        with claim(self.study.lease) or _refused(self.study.lease):
            self.study.write_plan({"writer": self.number})
            asked = self.study.suggestions()
            statuses = self.study.statuses()
            for suggestion in asked:
                if statuses[suggestion.trial_id] == "running":
                    self._write(suggestion)
            for number in range(len(asked) + 1, self.records + 1):
                suggestion = suggestion_of(self.number, number)
                self.study.write_suggestion(suggestion)
                self._write(suggestion)

    def _write(self, suggestion: Suggestion) -> None:
        folder, trial = TrialFolder(self.paths.trials / suggestion.trial_id), suggestion.trial_id
        record = folder.record()
        if record is not None:
            self.study.log("answered", trial, score=record.score)
            return
        folder.path.mkdir(parents=True, exist_ok=True)
        held = claim(folder.claim)
        if held is None:
            self.study.log("failed", trial, reason="another process has it")
            return
        with held:
            self._mark(trial)
            folder.remove_leftovers()
            folder.write_config(suggestion.settings)
            folder.write_record(record_of(trial))
            (self.logs / f"{trial}.mark").unlink()
        self.study.log("finished", trial, epoch=1, score=record_of(trial).score)
        self._acknowledge(trial)

    def _mark(self, trial: str) -> None:
        """Say that this process holds the claim; a mark of a living one is the fault that is looked for."""
        path = self.logs / f"{trial}.mark"
        while True:
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                owner = path.read_text()
                if owner and is_process(int(owner)):
                    (self.logs / f"{trial}.both").write_text(f"{owner} and {os.getpid()}")
                path.unlink(missing_ok=True)
                continue
            os.write(handle, str(os.getpid()).encode())
            os.close(handle)
            return

    def _acknowledge(self, trial: str) -> None:
        handle = os.open(self.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(handle, f"{trial}\n".encode())
        os.close(handle)

    def acknowledged(self) -> list[str]:
        """What it said it had written."""
        return self.log.read_text().split("\n")[:-1] if self.log.exists() else []


def suggestion_of(writer: int, number: int) -> Suggestion:
    """The n-th suggestion of a writer's study."""
    shared = number % SHARED_EVERY == 0
    settings = {"target": "age", "fold": 0, "seed": 0, "epochs": 1, "number": number, "of": "all" if shared else writer}
    return Suggestion(number, "age", fingerprint(settings, length=12), {}, settings=settings)


def record_of(trial: str) -> Record:
    """What comes of a trial, whoever trains it."""
    score = int(trial, 16) / 16**12
    return Record(trial, "c" * 12, "age", 0, 0, 1, epochs_done=1, score=score, best_epoch=1, curve=[score], weights="f" * 64)


def run(seed: int, short: bool) -> list[RuleRow]:
    """All writers at once, killed and started again until each is done."""
    records, kills = (SHORT_RECORDS, SHORT_KILLS) if short else (RECORDS, KILLS)
    with tempfile.TemporaryDirectory(prefix="pf-") as folder:
        root = Path(folder)
        (root / "logs").mkdir()
        writers = [LedgerWriter(n, CompetitionPaths(root / "bench"), root / "logs", records) for n in range(WRITERS)]
        killed = _write_all(writers, random.Random(seed), kills)
        faults = _faults(writers)
        written = sum(len(writer.acknowledged()) for writer in writers)
    held = "; ".join(faults[:3]) or "0 lost, 0 ids twice, 0 claims held by two"
    what = f"{WRITERS} processes write one ledger, {records} trials each, killed at random"
    return [RuleRow("R8", what, killed, f"{written} acknowledged: {held}", "-", not faults)]


def _write_all(writers: list[LedgerWriter], chance: random.Random, kills: int) -> int:
    """Run them all to their end; returns how many were killed."""
    running = {_start(writer): writer for writer in writers}
    killed = 0
    while running:
        end = time.monotonic() + chance.uniform(0.02, 0.4)
        while time.monotonic() < end:
            for child in list(running):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended and status != 0:
                    raise RuntimeError(f"writer {running[child].number} failed by itself")
                if ended:
                    del running[child]
            time.sleep(0.005)
        if running and killed < kills:
            child = chance.choice(sorted(running))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            writer = running.pop(child)
            running[_start(writer)] = writer
            killed += 1
    return killed


def _start(writer: LedgerWriter) -> int:
    child = os.fork()
    if child:
        return child
    try:
        writer.run()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def _faults(writers: list[LedgerWriter]) -> list[str]:
    paths, faults = writers[0].paths, list[str]()
    said = [trial for writer in writers for trial in writer.acknowledged()]
    faults += [f"{trial} was acknowledged twice" for trial, n in Counter(said).items() if n > 1]
    faults += [f"{trial} was lost" for trial in said if TrialFolder(paths.trials / trial).record() != record_of(trial)]
    wanted = {suggestion_of(writer.number, n).trial_id for writer in writers for n in range(1, writer.records + 1)}
    faults += [f"{trial} was never written" for trial in wanted if TrialFolder(paths.trials / trial).record() != record_of(trial)]
    for writer in writers:
        told = {event["trial_id"] for event in read_lines(writer.study.path / "events.jsonl") if event["event"] == "finished"}
        faults += [f"the event of {trial} was lost" for trial in writer.acknowledged() if trial not in told]
        asked = writer.study.suggestions()
        faults += (
            [f"study {writer.number} has {len(asked)} suggestions"]
            if len({one.trial_id for one in asked}) != writer.records
            else []
        )
    listed = Counter((row.trial_id, row.study) for row in leaderboard(paths).rows)
    faults += [f"{trial} is listed twice" for (trial, _), n in listed.items() if n > 1]
    strange = {trial for trial, _ in listed} ^ wanted
    faults += [f"{len(strange)} ids are listed and were not asked for, or the other way round"] if strange else []
    return faults + [f"the claim on {path.stem} was held by {path.read_text()}" for path in writers[0].logs.glob("*.both")]


def _refused(path: Path) -> Claim:
    raise RuntimeError(f"{path.parent.name} is held by somebody else")
