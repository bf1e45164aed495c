"""What is cut off can be handed in: by the clock, by Ctrl-C and by a kill, with real Ray; then the study goes on."""

import signal

import pytest

from ledger.stopped import is_gone
from tests.verbs.conftest import TEST_PHOTOS, Desk, eventually

pytestmark = pytest.mark.long

SLOW = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 4000, 1, 2
def suggest(trial):
    lr = trial.suggest_float("lr", 1e-4, 1e-3, log=True)
    return {"backbone": "test_efficientnet", "epochs": MAX_EPOCHS, "batch_size": 16, "lr": lr}
"""
SEARCH = ("--space", "slow", "--trials", 1, "--scheduler", "fifo", "--study", "s", "--hours")


@pytest.fixture
def slow(desk: Desk) -> Desk:
    """A desk whose trials take an hour."""
    desk.space("slow", SLOW)
    return desk


@pytest.mark.parametrize("way", ["hours", "ctrl-c", "kill"])
def test_what_was_cut_off_votes_is_named_and_goes_on(slow: Desk, way: str) -> None:
    child = slow.start("run_search.py", slow.yaml, *SEARCH, 0.012 if way == "hours" else 1)
    eventually(
        lambda: len(slow.epochs_done()) == 2 and min(slow.epochs_done().values()) > 0, timeout=300, what="an epoch of each trial"
    )
    if way != "hours":
        slow.signal(child, signal.SIGINT if way == "ctrl-c" else signal.SIGKILL)
    told = slow.wait(child, code={"hours": 0, "ctrl-c": 130, "kill": -9}[way])
    assert ("1 stopped" in told.out) == (way == "hours")
    eventually(
        lambda: all(is_gone(path) for path in slow.kept.glob("trials/*/claim.json")), timeout=60, what="the end of the workers"
    )
    shown = slow.run("show_trials.py", "tiny", "--json").json
    assert [row["status"] for row in shown] == ["stopped", "stopped"]
    said = slow.run("export_ensemble.py", slow.yaml, "--to", slow.root / "exported", "--json").json
    assert {one["trial_id"]: one["epochs_done"] for one in said["stopped"]} == slow.epochs_done()
    assert {one["epochs_planned"] for one in said["stopped"]} == {4000}
    assert len((slow.root / "exported/submission.csv").read_text().splitlines()) == TEST_PHOTOS + 1
    if way == "hours":
        printed = slow.run("export_ensemble.py", slow.yaml, "--to", slow.root / "again")
        assert "2 of 2 members that vote were cut off before their last epoch" in printed.out
    before = slow.epochs_done()
    child = slow.start("run_search.py", slow.yaml, "--resume", "s")
    eventually(lambda: all(done > before[trial] for trial, done in slow.epochs_done().items()), timeout=300, what="going on")
    slow.signal(child, signal.SIGINT)
    slow.wait(child, code=130)
    told_of = [(event["event"], event.get("epoch")) for event in slow.events("s")]
    marks = [epoch for name, epoch in told_of if name == "stopped"]
    assert len(marks) == (2 if way == "kill" else 4)
    assert sorted(marks[-2:]) == sorted(slow.epochs_done().values())
