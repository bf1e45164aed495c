"""A search with a deadline ends in time with something to hand in, whatever the hours, and after a kill with the same clock."""

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bundle.predict import open_bundle
from search.deadline import SLACK, SLACK_S
from tests.verbs.conftest import TEST_PHOTOS, Desk, Done, eventually

pytestmark = pytest.mark.long

SPACE = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 30, 2, 2
def suggest(trial):
    lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    return {"backbone": "test_efficientnet", "epochs": MAX_EPOCHS, "batch_size": 16, "lr": lr}
"""
SEARCH = ("--space", "brief", "--trials", 500, "--study", "s", "--json", "--hours")
SEED = 14
HOURS = (0.01, 0.03)


@pytest.fixture(scope="module")
def unhurried(new_desk: Callable[[], Desk]) -> float:
    """How many times longer than on two free cores the verb takes to begin here, at least 1: hours that are meant for these are longer."""
    desk = new_desk()
    began = time.monotonic()
    desk.run("run_search.py", desk.yaml, "--space", "smoke", "--trials", 1, "--targets", "colour", timeout=600)
    return max(1.0, (time.monotonic() - began) / 22.0)


def brief(new_desk: Callable[[], Desk]) -> Desk:
    desk = new_desk()
    desk.space("brief", SPACE)
    return desk


def check_latest(desk: Desk, done: Done, *, alone: bool = True) -> dict[str, Any]:
    """Refuse anything but a whole submission with its bundle, and nothing half beside it."""
    latest = desk.kept / "ensembles/latest"
    assert (latest / "submission.csv").is_file(), done.err
    lines = (latest / "submission.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == ("photo,answer", TEST_PHOTOS + 1)
    assert open_bundle(latest / "bundle").plan.competition == "tiny"
    facts: dict[str, Any] = desk.json_of("ensembles/latest/latest.json")
    kept = {path.name for path in (desk.kept / "ensembles").iterdir()}
    assert {facts["ensemble"], "latest"} <= kept
    assert len(kept) == 2 or not alone, "exports that were not taken leave nothing"
    return facts


def running_with(word: str) -> list[int]:
    """The processes of this machine whose command line has this in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def check_in_time(took: float, hours: float) -> None:
    limit = hours * 3600 * (1 + SLACK) + SLACK_S
    assert took <= limit, f"{took:.0f} s of {hours * 3600:.0f} s, at most {limit:.0f} s"


@pytest.mark.parametrize("number", range(3))
def test_any_hours_end_in_time_with_a_submission(new_desk: Callable[[], Desk], unhurried: float, number: int) -> None:
    desk, hours = brief(new_desk), unhurried * random.Random(SEED + number).uniform(*HOURS)
    began = time.monotonic()
    done = desk.run("run_search.py", desk.yaml, *SEARCH, hours, timeout=900)
    check_in_time(time.monotonic() - began, hours)
    facts, said = check_latest(desk, done), done.json["latest"]
    assert (said["score"], said["ensemble"]) == (facts["score"], facts["ensemble"])
    assert Path(said["submission"]).is_file()
    assert "for the last export to ensembles/latest" in done.err
    assert "Traceback" not in done.err


def test_killed_at_a_random_moment_and_resumed_it_ends_in_time_alive(new_desk: Callable[[], Desk], unhurried: float) -> None:
    desk, chance = brief(new_desk), random.Random(SEED)
    hours = unhurried * HOURS[1]
    began = time.monotonic()
    first = desk.start("run_search.py", desk.yaml, *SEARCH, hours)
    eventually(lambda: (desk.kept / "studies/s/events.jsonl").exists(), timeout=300, what="the study")
    time.sleep(chance.uniform(0.0, 0.5) * hours * 3600)
    desk.signal(first, signal.SIGKILL)
    first.communicate()
    alive = time.monotonic() - began
    time.sleep(10.0)  # dead time does not count
    began = time.monotonic()
    done = desk.run("run_search.py", desk.yaml, "--resume", "s", "--json", "--hours", hours, timeout=900)
    check_in_time(alive + time.monotonic() - began, hours)
    check_latest(desk, done, alone=False)  # the export of the killed driver may have ended by itself
    assert "of its time were used before" in done.err


def test_ctrl_c_ends_the_export_too(new_desk: Callable[[], Desk]) -> None:
    desk = brief(new_desk)
    child = desk.start("run_search.py", desk.yaml, *SEARCH, 1)
    ensembles = desk.kept / "ensembles"
    eventually(lambda: list(ensembles.glob(".latest.*.json")), timeout=600, what="an export")
    log = (desk.kept / "studies/s/export.log").read_text()
    desk.signal(child, signal.SIGINT)
    told = desk.wait(child, code=130)
    assert "Traceback" not in told.err
    assert not list(ensembles.glob(".latest.*"))
    assert f".{child.pid} " in log
    assert not running_with(str(ensembles)), "no export runs on"


def test_an_export_that_fails_is_told_in_one_line_and_ends_nothing(new_desk: Callable[[], Desk], unhurried: float) -> None:
    desk = brief(new_desk)
    done = desk.run("run_search.py", desk.yaml, *SEARCH, unhurried * HOURS[0], "--targets", "shape@red", timeout=900)
    assert done.json["latest"] is None
    assert done.json["targets"]["shape@red"]["trials"]
    lines = [line for line in done.err.splitlines() if "an export to ensembles/latest failed" in line]
    assert lines
    assert all(str(desk.kept / "studies/s/export.log") in line for line in lines)
