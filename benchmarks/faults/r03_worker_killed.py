"""R3: the process that trains a trial is killed in the middle of an epoch, each trial once; the driver is left alone."""

import os
import signal

from benchmarks.faults.harness import short_form, truth
from benchmarks.faults.harness.equal import decisions
from benchmarks.faults.harness.rows import Row
from benchmarks.faults.harness.studies import EPOCHS, Child, Place, eventually, place

KILLS = 6


def run(seed: int, short: bool) -> list[Row]:
    if short:
        return [short_form.worker_row(seed)]
    fixed = ("--trials", KILLS, "--seed", seed, "--scheduler", "fifo")
    with place(cpus=2) as here:
        child = here.search(*fixed)
        kill_workers(here, child, KILLS)
        child.wait()
        ended = {event["trial_id"] for event in decisions(here) if event["event"] == "finished"}
        podium, held = told(here, ended)
    with place(cpus=2) as here:
        child = here.control(*fixed, "--epochs", EPOCHS, "--max-failures", -1)
        kill_workers(here, child, KILLS)
        results = child.results()["results"]
        control, _ = told(here, {result["trial"] for result in results if result["epoch"] == EPOCHS})
    return [Row("R3", "a trial's process killed in the middle of an epoch", KILLS, podium, control, held)]


def kill_workers(here: Place, child: Child, kills: int) -> None:
    """Kill the process of so many trials, one after another, each once and in its second epoch or later."""
    killed: set[str] = set()
    while len(killed) < kills:
        line = eventually(lambda: _victim(here, killed), "a trial in its second epoch", child=child)
        os.kill(line.pid, signal.SIGKILL)
        killed.add(line.trial)


def _victim(here: Place, killed: set[str]) -> truth.Line | None:
    return next((line for line in truth.running(here.truth()) if line.trial not in killed and line.epoch >= 2), None)


def told(here: Place, ended: set[str]) -> tuple[str, bool]:
    """What came of the trials that were begun, and whether all finished with at most one epoch repeated."""
    lines = here.truth()
    trials, finished, repeats = {line.trial for line in lines}, truth.finished(lines) & ended, truth.repeats(lines)
    most = max(repeats, default=0)
    said = f"{len(finished)} of {len(trials)} trials finish; of {len(repeats)} that went on each repeated {most} epochs at most"
    return said, finished == trials and bool(repeats) and max(repeats) <= 1
