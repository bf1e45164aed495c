"""What resume promises: workers killed, drivers killed, Ctrl-C, a second driver; and a trial that diverges.

One study runs undisturbed, one through all of this, one trial at a time; in the end both must be the same study.
"""

import json
import os
import re
import shlex
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults.harness.studies import session as in_session
from tests.verbs.conftest import Desk, Done, eventually

pytestmark = pytest.mark.long

RUNGS = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 24, 2, 2
def suggest(trial):
    return {
        "backbone": trial.suggest_categorical("backbone", ["test_efficientnet", "test_byobnet"]),
        "epochs": MAX_EPOCHS,
        "batch_size": 16,
        "lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.0, 0.9]),
        "augmentation": "light",
    }
"""
DIVERGING = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 2, 1, 2
def suggest(trial):
    wild = trial.suggest_categorical("wild", [True, False])
    settings = {"backbone": "test_efficientnet", "epochs": 2, "batch_size": 16}
    if wild:
        return settings | {"optimizer": "sgd", "momentum": 0.99, "lr": 100.0, "weight_decay": trial.suggest_float("decay", 5.0, 9.0)}
    return settings | {"lr": trial.suggest_float("lr", 1e-3, 1e-2, log=True)}
"""
SEARCH = ("--space", "rungs", "--trials", 6, "--targets", "colour", "--seed", 1, "--cpus-per-trial", 2, "--study", "s")


@dataclass(frozen=True)
class Seen:
    """What was seen while a study was disturbed.

    Attributes:
        second: What a second driver was told, and after how many seconds.
        stopped: What Ctrl-C printed.
        finished: Trial id -> time of its record when the driver was killed, for trials that had ended.
        cut: The trial that was running then, and the epochs it had.
        final: What the last driver printed.
    """

    desk: Desk
    second: Done
    second_s: float
    stopped: Done
    finished: dict[str, int]
    cut: tuple[str, int]
    final: Any


def running(desk: Desk) -> tuple[str, int]:
    """The trial that a worker holds, and its epochs on disk."""
    for path in sorted((desk.kept / "trials").glob("*/claim.json")):
        record = desk.record(path.parent.name)
        if record is not None and record["epochs_done"] < record["epochs_planned"]:
            return path.parent.name, record["epochs_done"]
    return "", 0


def reached(desk: Desk, epochs: int, trial: str | None = None) -> str:
    """The running trial (or this one) when it has so many epochs, else an empty text."""
    name, done = running(desk)
    return name if done >= epochs and trial in (None, name) else ""


def record_time(desk: Desk, trial: str) -> int:
    return (desk.kept / "trials" / trial / "record.json").stat().st_mtime_ns


@pytest.fixture(scope="module")
def calm(new_desk: Callable[[], Desk]) -> Desk:
    """The study that nobody disturbs."""
    desk = new_desk()
    desk.space("rungs", RUNGS)
    desk.run("run_search.py", desk.yaml, *SEARCH)
    return desk


@pytest.fixture(scope="module")
def shaken(new_desk: Callable[[], Desk]) -> Seen:
    """The same study with everything that can happen to it, begun with one trial and extended to six.

    While it is one, nothing else waits: a trial whose worker is killed goes on after the one that waits.
    """
    desk = new_desk()
    desk.space("rungs", RUNGS)
    first = desk.start("run_search.py", desk.yaml, *SEARCH, "--trials", 1)
    trial = eventually(lambda: reached(desk, 2), what="the first trial")
    os.kill(json.loads((desk.kept / "trials" / trial / "claim.json").read_text())["pid"], signal.SIGKILL)
    began = time.monotonic()
    second = desk.run("run_search.py", desk.yaml, "--resume", "s", code=2, timeout=30)
    second_s = time.monotonic() - began
    eventually(lambda: reached(desk, 5, trial), what="going on after the worker was killed")
    desk.signal(first, signal.SIGINT)
    stopped = desk.wait(first, code=130, timeout=60)
    command = shlex.split(re.search(r"go on with: (.*)", stopped.err)[1])  # type: ignore[index]
    assert command[0] == "python"
    third = desk.start(*command[1:], "--trials", 6)
    eventually(lambda: len(_ended(desk)) >= 2 and reached(desk, 1), what="the third trial", timeout=120)
    os.kill(third.pid, signal.SIGKILL)  # the driver alone, as the kernel does when memory runs out
    third.wait()
    finished = {name: record_time(desk, name) for name in _ended(desk)}
    cut = running(desk)
    final = desk.run("run_search.py", desk.yaml, "--resume", "s", "--json").json
    return Seen(desk, second, second_s, stopped, finished, cut, final)


def _ended(desk: Desk) -> list[str]:
    return [event["trial_id"] for event in desk.events("s") if event["event"] in ("finished", "pruned")]


def test_a_killed_worker_is_retried_and_the_event_says_so(shaken: Seen) -> None:
    retried = [event for event in shaken.desk.events("s") if event["event"] == "retried"]
    assert [event["trial_id"] for event in retried] == [shaken.desk.suggestions("s")[0]["trial_id"]]
    assert retried[0]["reason"]
    assert str(shaken.desk.root) not in retried[0]["reason"]


def test_a_second_driver_is_refused_at_once_and_told_who_drives(shaken: Seen) -> None:
    assert re.search(r"study 's' is being run by process \d+ on \S+ since", shaken.second.err)
    assert "Traceback" not in shaken.second.err
    assert shaken.second.out == ""
    assert shaken.second_s < 5  # nothing heavy is imported before


def test_ctrl_c_says_how_to_go_on_and_the_command_works(shaken: Seen) -> None:
    assert f"python run_search.py {shaken.desk.yaml} --resume s" in shaken.stopped.err
    assert "Traceback" not in shaken.stopped.err
    assert shaken.stopped.out == ""
    assert not (shaken.desk.kept / "studies/s/lease.json").exists()


def test_after_a_killed_driver_nothing_finished_is_trained_again(shaken: Seen) -> None:
    assert len(shaken.finished) >= 2
    assert {name: record_time(shaken.desk, name) for name in shaken.finished} == shaken.finished


def test_after_a_killed_driver_the_running_trial_goes_on_with_its_next_epoch(shaken: Seen) -> None:
    trial, epochs = shaken.cut
    assert epochs >= 1
    lines = (shaken.desk.kept / "trials" / trial / "metrics.jsonl").read_text().splitlines()
    numbers = [json.loads(line)["epoch"] for line in lines]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= epochs


def test_a_disturbed_study_equals_an_undisturbed_one(calm: Desk, shaken: Seen) -> None:
    desk = shaken.desk
    assert desk.suggestions("s") == calm.suggestions("s")
    assert len(calm.suggestions("s")) == 6
    assert _decisions(desk) == _decisions(calm)
    assert {kind for kind, _, _ in _decisions(calm)} == {"finished", "pruned"}
    for trial in calm.trials():
        ours, theirs = desk.kept / "trials" / trial, calm.kept / "trials" / trial
        assert (ours / "best.safetensors").read_bytes() == (theirs / "best.safetensors").read_bytes()
        kept = sorted(path.relative_to(theirs) for path in (theirs / "predictions").rglob("*.npy"))
        assert kept == sorted(path.relative_to(ours) for path in (ours / "predictions").rglob("*.npy"))
        assert all((ours / path).read_bytes() == (theirs / path).read_bytes() for path in kept)
    assert desk.trials() == calm.trials()


def test_nothing_is_left_running_or_claimed(shaken: Seen) -> None:
    claims = [
        path for path in shaken.desk.kept.rglob("*") if path.name.startswith(("claim.json", "lease.json", ".claim", ".lease"))
    ]
    assert claims == []
    assert shaken.final["targets"]["colour"]["trials"].keys() <= {"finished", "pruned"}
    sessions = [child.pid for child in shaken.desk.started]
    eventually(lambda: not any(in_session(session) for session in sessions), what="the end of every process", timeout=30)


def test_a_study_does_not_go_on_with_other_photos(shaken: Seen) -> None:
    desk = shaken.desk
    text = desk.yaml.read_text()
    desk.yaml.write_text(text.replace("folds: 4", "folds: 5"))
    try:
        done = desk.run("run_search.py", desk.yaml, "--resume", "s", "--trials", 9, code=2)
    finally:
        desk.yaml.write_text(text)
    assert "split: split.folds was 4, is 5" in done.err
    assert "--accept-change" in done.err


def test_ctrl_c_while_the_views_are_computed_is_heard_as_well(desk: Desk) -> None:
    child = desk.start("run_search.py", desk.yaml, "--space", "smoke", "--trials", 4, "--study", "s")
    assert child.stderr is not None
    assert any("computing" in line for line in child.stderr)
    desk.signal(child, signal.SIGINT)
    assert "--resume s" in desk.wait(child, code=130, timeout=30).err


def test_a_diverging_trial_is_marked_is_never_best_and_never_votes(desk: Desk, tmp_path: Path) -> None:
    desk.space("diverging", DIVERGING)
    search = ("--space", "diverging", "--trials", 5, "--seed", 2, "--cpus-per-trial", 2, "--scheduler", "fifo", "--json")
    said = desk.run("run_search.py", desk.yaml, *search).json
    rows = desk.run("show_trials.py", "tiny", "--json").json
    diverged = {row["trial_id"] for row in rows if row["status"] == "diverged"}
    for target, facts in said["targets"].items():
        statuses = [row["status"] for row in rows if row["target"] == target]
        assert facts["trials"] == {status: statuses.count(status) for status in set(statuses)}
        assert set(statuses) == {"diverged", "finished"}  # none is left running
        assert facts["best"]["trial_id"] not in diverged
    assert all(row["score"] is None for row in rows if row["trial_id"] in diverged)
    assert [row["trial_id"] in diverged for row in rows] == sorted(row["trial_id"] in diverged for row in rows)  # they stand last
    plan = desk.run("export_ensemble.py", desk.yaml, "--top", 9, "--to", tmp_path, "--json").json["plan"]
    voters = {member for task in plan["tasks"] for member, _ in task["voters"]}
    assert voters == {row["trial_id"] for row in rows} - diverged


def _decisions(desk: Desk) -> list[tuple[str, str, int]]:
    return [(e["event"], e["trial_id"], e["epoch"]) for e in desk.events("s") if e["event"] in ("finished", "pruned", "diverged")]
