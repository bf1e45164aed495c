"""A hosted notebook: a session is cut off, only its output folder survives, and the next session goes on from a copy of it."""

import shutil
import signal
from collections.abc import Callable

import pytest

from tests.verbs.conftest import TEST_PHOTOS, Desk, eventually

pytestmark = pytest.mark.long

SPACE = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 4, 4, 2
def suggest(trial):
    lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    return {"backbone": "test_efficientnet", "epochs": MAX_EPOCHS, "batch_size": 16, "lr": lr}
"""


def session(new_desk: Callable[[], Desk]) -> Desk:
    """A machine of its own, with its decoded photos outside the output."""
    desk = new_desk()
    desk.space("night", SPACE)
    desk.environment["PODIUM_CACHE"] = str(desk.root / "cache")
    return desk


def test_a_session_that_was_cut_off_goes_on_from_its_saved_output(new_desk: Callable[[], Desk]) -> None:
    first = session(new_desk)
    child = first.start("run_search.py", first.yaml, "--space", "night", "--trials", 2, "--study", "night", "--hours", 1)
    eventually(lambda: [one for one in first.events("night") if one["event"] == "finished"], timeout=400, what="a trial")
    first.signal(child, signal.SIGKILL)
    child.communicate()
    done = first.epochs_done()

    second = session(new_desk)
    shutil.copytree(first.storage, second.storage)
    first.close()
    shutil.rmtree(first.root)
    assert not list(second.kept.glob("data/cache/*")), "decoded photos are no part of the output"
    went_on = second.run("run_search.py", second.yaml, "--resume", "night", "--hours", 1, "--json", timeout=600)
    assert "of its time were used before" in went_on.err
    shown = second.run("show_trials.py", "tiny", "--json").json
    assert [row["status"] for row in shown] == ["finished"] * 4
    assert [row["epochs"] for row in shown] == [4] * 4
    trained_again = [one["trial_id"] for one in second.events("night") if one["event"] == "started"]
    finished = {trial for trial, epochs in done.items() if epochs == 4}
    assert finished
    assert all(trained_again.count(trial) == 1 for trial in finished), "what had ended is not trained again"
    latest = second.kept / "ensembles/latest"
    assert len((latest / "submission.csv").read_text().splitlines()) == TEST_PHOTOS + 1
    found = second.root / "again.csv"
    second.run("predict.py", latest / "bundle", second.photos, "--out", found)
    assert found.read_bytes() == (latest / "submission.csv").read_bytes()
