"""Going on with more than what was cut off: failed trials again, a changed space, and a new study that knows the old ones."""

import json
import os
import signal
import time

import pytest

from ledger.trials import TrialFolder
from system.claims import claim
from tests.verbs.conftest import Desk, eventually

pytestmark = pytest.mark.long

SPACE = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 40, 40, 2
def suggest(trial):
    return {
        "backbone": "test_byobnet",
        "epochs": MAX_EPOCHS,
        "batch_size": 16,
        "lr": trial.suggest_float("lr", 1e-3, 1e-2, log=True),
    }
"""
SEARCH = ("--space", "mine", "--trials", 1, "--targets", "colour", "--cpus-per-trial", 2, "--study", "s", "--json")


def holder(desk: Desk) -> int:
    """The process that trains, or 0."""
    for path in (desk.kept / "trials").glob("*/claim.json"):
        try:
            return int(json.loads(path.read_text())["pid"])
        except (ValueError, OSError):
            return 0
    return 0


def kinds(desk: Desk) -> list[str]:
    return [event["event"] for event in desk.events("s")]


def test_a_trial_that_failed_for_good_is_run_again_alone_and_then_the_study_goes_on_changed_or_anew(desk: Desk) -> None:
    desk.space("mine", SPACE)
    child = desk.start("run_search.py", desk.yaml, *SEARCH)
    killed: set[int] = set()
    while len(killed) < 3:  # once, and both retries
        pid = eventually(lambda: (now := holder(desk)) not in killed and now, what="a worker")
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    said = desk.wait(child, code=1)
    assert "no trial of study s came to a result" in said.err
    assert kinds(desk) == ["started", "retried", "retried", "failed"]

    again = desk.run("run_search.py", desk.yaml, "--resume", "s", "--retry-failed", "--json").json
    assert again["targets"]["colour"]["trials"] == {"finished": 1}
    assert again["failures"] == []
    assert kinds(desk)[4:] == ["retrying", "started", "finished"]
    nothing = desk.run("run_search.py", desk.yaml, "--resume", "s", "--retry-failed", "--json")
    assert "study s has no failed trial, so there is nothing to retry" in nothing.err
    assert nothing.json["targets"]["colour"]["trials"] == {"finished": 1}
    assert len(kinds(desk)) == 7

    desk.space("mine", SPACE.replace("40, 40, 2", "2, 2, 2").replace("1e-3, 1e-2", "2e-3, 5e-2"))
    stopped = desk.run("run_search.py", desk.yaml, "--resume", "s", "--trials", 2, code=2)
    assert "+MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 2, 2, 2" in stopped.err
    assert "Traceback" not in stopped.err
    told = desk.run("run_search.py", desk.yaml, "--resume", "s", "--trials", 2, "--accept-change", "--json").json
    assert told["targets"]["colour"]["trials"] == {"finished": 2}
    assert [e["changes"][0]["kind"] for e in desk.events("s") if e["event"] == "accepted"] == ["space"]
    plan = desk.json_of("studies/s/plan.json")
    assert (plan["refit"], len(plan["before"]), plan["request"]["trials"]) == (1, 1, 2)

    warm = ("--space", "mine", "--trials", 1, "--targets", "colour", "--cpus-per-trial", 2, "--study", "w", "--seed", 5)
    begun = desk.run("run_search.py", desk.yaml, *warm, "--warm-start", "--json")
    assert "warm start, colour: " in begun.err
    assert begun.json["targets"]["colour"]["trials"] == {"finished": 1}
    kept = {one["trial_id"] for one in desk.json_of("studies/w/plan.json")["told"]["colour"]}
    fits = {s["trial_id"] for s in desk.suggestions("s") if 2e-3 <= s["parameters"]["lr"] <= 5e-2}
    assert kept == fits
    resumed = desk.run("run_search.py", desk.yaml, "--resume", "w", "--trials", 2, "--json").json
    assert resumed["targets"]["colour"]["trials"] == {"finished": 2}
    assert {one["trial_id"] for one in desk.json_of("studies/w/plan.json")["told"]["colour"]} == kept


def test_ctrl_c_is_heard_while_a_study_waits_for_a_trial_of_another(desk: Desk) -> None:
    desk.space("mine", SPACE.replace("40, 40, 2", "2, 2, 2").replace('trial.suggest_float("lr", 1e-3, 1e-2, log=True)', "0.003"))
    asked = desk.run("run_search.py", desk.yaml, *SEARCH, "--dry-run").json
    trial = TrialFolder(desk.kept / "trials" / asked["for_example"]["colour"]["trial_id"])
    with claim(trial.claim):  # type: ignore[union-attr]  # it is free
        child = desk.start("run_search.py", desk.yaml, *SEARCH)
        eventually(lambda: "elsewhere" in kinds(desk), what="the trial that is held")
        time.sleep(3)  # Tune looks for Ctrl-C between two suggestions, and here it waits for one
        assert child.poll() is None
        desk.signal(child, signal.SIGINT)
        assert "--resume s" in desk.wait(child, code=130, timeout=60).err
    told = desk.run("run_search.py", desk.yaml, "--resume", "s", "--json").json
    assert told["targets"]["colour"]["trials"] == {"finished": 1}
    assert kinds(desk) == ["elsewhere", "started", "finished"]
