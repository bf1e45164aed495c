"""The fault bench in its short form: real verbs, real Ray, real kills; every rule holds, or says why it could not be tried."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults.__main__ import SCENARIOS
from benchmarks.faults.harness import truth
from benchmarks.faults.harness.truth import Line

ROOT = Path(__file__).parents[2]


LATER = ("R3", "R6", "R7", "R9", "R10")
"""Rules of two studies that run at once, of damage and of full disks: in `make test` the folders' own tests try these without Ray."""


@pytest.mark.parametrize(
    "rules",
    [[rule for rule in SCENARIOS if rule not in LATER], pytest.param([*LATER], marks=pytest.mark.long)],
    ids=["at once", "later"],
)
def test_every_rule_holds_in_the_short_form(rules: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.faults", *rules, "--short", "--json"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, err = child.communicate(timeout=900)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
    assert child.returncode == 0, out + err
    rows = json.loads(out)
    assert {row["rule"] for row in rows} == set(rules)
    assert [row for row in rows if row["held"] is False] == []
    assert all(row["cases"] > 0 for row in rows if row["held"])
    assert all(row["podium"] for row in rows if row["held"] is None), "what was not tried says why"


def line(at: str, trial: str, epoch: int, pid: int, *, last: bool = False) -> Line:
    return Line(at, trial, epoch, last, pid, 0.0)


def test_an_epoch_that_another_process_begins_again_is_a_repeat() -> None:
    cut = [line("begin", "a", 1, 1), line("end", "a", 1, 1), line("begin", "a", 2, 1)]
    on = [line("begin", "a", epoch, 2) for epoch in (2, 3)]
    assert truth.repeats([*cut, line("begin", "b", 1, 3), *on]) == [1]
    assert truth.repeats([*cut, line("begin", "a", 1, 2), *on]) == [2]
    assert truth.repeats([*cut, line("begin", "a", 3, 2)]) == [0]


def test_a_trial_is_trained_twice_when_its_last_epoch_ends_twice() -> None:
    once = [line("end", "a", 2, 1, last=True), line("end", "b", 1, 1)]
    assert (truth.finished(once), truth.trained_twice(once)) == ({"a"}, set())
    assert truth.trained_twice([*once, line("end", "a", 2, 2, last=True)]) == {"a"}
