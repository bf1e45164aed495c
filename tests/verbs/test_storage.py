"""Storage stays bounded: what `--keep` drops, what goes on without it, and how it comes back, by the verbs' command lines."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ledger.predictions import WEIGHTS_LENGTH
from tests.verbs.conftest import Desk

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Kept:
    """What each step said: a study with a quota, an export, the same study again with a smaller quota."""

    desk: Desk
    searched: Any
    first: list[dict[str, Any]]
    exported: Any
    told: str
    files: dict[str, bytes]
    tidied: Any
    last: list[dict[str, Any]]


@pytest.fixture(scope="module")
def kept(new_desk: Callable[[], Desk]) -> Kept:
    desk = new_desk()
    search = ("--space", "smoke", "--trials", 3, "--scheduler", "fifo", "--cpus-per-trial", 2, "--study", "s", "--keep", 2)
    searched = desk.run("run_search.py", desk.yaml, *search, "--json").json
    shown = desk.run("show_trials.py", "tiny", "--json").json
    exported = desk.run("export_ensemble.py", desk.yaml, "--top", 1, "--to", desk.root / "exported", "--json")
    shutil.copytree(desk.storage, desk.root / "team-mate")
    before = everything_but_weights(desk)
    tidied = desk.run("run_search.py", desk.yaml, "--resume", "s", "--keep", 1, "--json").json
    again = desk.run("show_trials.py", "tiny", "--json").json
    return Kept(desk, searched, shown, exported.json, exported.err, before, tidied, again)


def everything_but_weights(desk: Desk) -> dict[str, bytes]:
    files = (path for path in (desk.kept / "trials").rglob("*") if path.is_file() and path.suffix != ".safetensors")
    return {str(path.relative_to(desk.kept)): path.read_bytes() for path in files}


def by_state(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {state: sorted(row["trial_id"] for row in rows if row["weights"] == state) for state in ("kept", "dropped")}


def test_a_study_with_a_quota_keeps_the_weights_of_its_best_and_every_result(kept: Kept) -> None:
    for target in ("colour", "shape"):
        ranked = [row for row in kept.first if row["target"] == target]
        assert [row["weights"] for row in ranked] == ["kept", "kept", "dropped"]
        assert all(row["status"] == "finished" and row["score"] is not None for row in ranked)
    assert kept.searched["freed_bytes"] > 0


def test_an_export_says_what_it_leaves_out_and_exports_the_rest(kept: Kept) -> None:
    dropped = by_state(kept.first)["dropped"]
    assert kept.told.count("1 trials have no weights and are left out of the choice") == 2
    assert any(f"reproduce_trial.py tiny {trial} --restore" in kept.told for trial in dropped)
    assert Path(kept.exported["bundle"], "plan.json").is_file()


def test_a_finished_study_is_tidied_at_once_and_exported_members_stay(kept: Kept) -> None:
    members = {member for task in kept.exported["plan"]["tasks"] for member, _ in task["voters"]}
    assert kept.tidied["freed_bytes"] > 0
    assert members <= set(by_state(kept.last)["kept"])
    assert len(by_state(kept.last)["kept"]) == 2
    after = everything_but_weights(kept.desk)
    assert {name: after.get(name) for name in kept.files} == kept.files
    assert kept.desk.json_of("studies/s/plan.json")["request"]["keep"] == "1"


def test_dropped_weights_come_back_from_a_training_or_from_a_team_mate(kept: Kept) -> None:
    desk, (trial, *_) = kept.desk, by_state(kept.last)["dropped"]
    refused = desk.run("run_search.py", desk.yaml, "--space", "smoke", "--targets", "colour", "--init-from", trial, code=2)
    assert f"reproduce_trial.py tiny {trial} --restore" in refused.err
    restored = desk.run("reproduce_trial.py", desk.yaml, trial, "--restore", "--json").json
    assert (restored["verdict"], restored["restored"]) == ("PASS", True)
    record = desk.record(trial)
    assert record is not None
    assert hashlib.sha256((desk.kept / "trials" / trial / "best.safetensors").read_bytes()).hexdigest() == record["weights"]
    assert (desk.kept / "trials" / trial / "predictions" / record["weights"][:WEIGHTS_LENGTH]).is_dir()
    desk.run("merge_ledgers.py", "tiny", desk.root / "team-mate")
    shown = desk.run("show_trials.py", "tiny", "--json").json
    assert set(by_state(kept.first)["kept"]) | {trial} == set(by_state(shown)["kept"])


@pytest.mark.parametrize("keep", ["0", "some", "5 parrots"])
def test_a_quota_that_is_none_is_refused_with_the_forms_there_are(desk: Desk, keep: str) -> None:
    refused = desk.run("run_search.py", desk.yaml, "--space", "smoke", "--keep", keep, code=2)
    assert "keep must be" in refused.err
    assert "20GB" in refused.err
