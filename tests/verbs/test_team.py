"""Two people, two storages: what one trained is in the other's leaderboard and export, and is trained again to the same bits."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from system.files import read_json
from tests.verbs.conftest import Desk, eventually


def search(desk: Desk, target: str, seed: int) -> None:
    settings = ("--space", "smoke", "--trials", 1, "--scheduler", "fifo", "--targets", target, "--seed", seed)
    desk.run("run_search.py", desk.yaml, *settings, PODIUM_AUTHOR=f"who trained {target}")


@pytest.mark.long
def test_a_team_mates_trials_are_shown_exported_and_reproduced(new_desk: Callable[[], Desk]) -> None:
    ours, theirs = new_desk(), new_desk()
    search(ours, "colour", 0)
    search(theirs, "shape", 1)
    ours.run("export_ensemble.py", ours.yaml, "--top", 1, "--to", ours.root / "alone", code=2)

    report = ours.run("merge_ledgers.py", "tiny", theirs.storage, "--json").json
    (shape,) = theirs.trials()
    assert [trial["trial_id"] for trial in report["new_trials"]] == [shape]
    assert (report["conflicts"], report["damaged"], report["running"]) == ([], [], [])
    rows = {row["trial_id"]: row for row in ours.run("show_trials.py", "tiny", "--json").json}
    assert set(rows) == set(ours.trials()) > {shape}
    assert (rows[shape]["author"], rows[shape]["status"]) == ("who trained shape", "finished")
    assert rows[shape]["study"] in {study["study"] for study in report["studies"]}

    exported = ours.run("export_ensemble.py", ours.yaml, "--top", 1, "--to", ours.root / "team", "--json").json
    assert set(exported["voters"]) == {"colour", "shape"}

    again = ours.run("merge_ledgers.py", "tiny", theirs.kept)
    assert "0 new trials, 0 with more epochs, 1 already there" in again.out

    kept = {path: path.read_bytes() for path in (ours.kept / "trials").rglob("*") if path.is_file()}
    verdict = ours.run("reproduce_trial.py", ours.yaml, shape, "--json").json
    assert (verdict["verdict"], verdict["ingredients"]) == ("PASS", [])
    assert verdict["score_then"] == verdict["score_now"] == rows[shape]["score"]
    assert {path: path.read_bytes() for path in (ours.kept / "trials").rglob("*") if path.is_file()} == kept
    checked = ours.run("reproduce_trial.py", ours.yaml, shape, "--check")
    assert checked.out.startswith("SAME")

    photo = next((ours.root / "data/tiny/train").rglob("1.png"))
    shutil.copy(photo.with_name("0.png"), photo)
    differs = ours.run("reproduce_trial.py", ours.yaml, shape, "--check", "--json", code=1).json
    assert differs["verdict"] == "DIFFERS"
    assert differs["ingredients"][0]["ingredient"] == "data"
    assert f"{photo.parent.name}/{photo.name}" in differs["ingredients"][0]["now"]["changed"]


@pytest.mark.long
def test_an_interrupted_reproduction_leaves_nothing_behind(desk: Desk) -> None:
    search(desk, "colour", 0)
    (trial,) = desk.trials()
    before = set(desk.kept.rglob("*"))
    config = desk.kept / "trials" / trial / "config.json"
    record = desk.kept / "trials" / trial / "record.json"
    config.write_text(json.dumps({**read_json(config), "epochs": 400}))  # long enough to be interrupted
    record.write_text(json.dumps({**read_json(record), "epochs_planned": 400, "epochs_done": 400}))
    child = desk.start("reproduce_trial.py", desk.yaml, trial)
    eventually(lambda: list(Path(desk.kept).glob("reproduced/*/*/last.safetensors")), what="an epoch")
    desk.signal(child, signal.SIGINT)
    done = desk.wait(child, code=130)
    assert "what was trained is gone" in done.err
    assert "Traceback" not in done.err
    assert set(desk.kept.rglob("*")) == before
