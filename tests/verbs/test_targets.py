"""Targets of every kind through the verbs: searched, killed, resumed, trained afresh, voted, exported and answered from the bundle."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.verbs.conftest import Desk, eventually
from tests.verbs.test_journey import train_afresh

pytestmark = pytest.mark.long

KINDS = ("colour", "shape", "both", "label", "shape@red", "shape@blue")
WAYS = {
    "tasks": "colour,shape",
    "heads": "both",
    "label": "label",
    "cascade": "colour,shape@red,shape@blue",
}
SEARCH = ("--space", "smoke", "--trials", 2, "--targets", "all", "--scheduler", "fifo", "--study", "s", "--cpus-per-trial", 2)


@dataclass(frozen=True)
class Searched:
    """A search over targets of every kind whose driver was killed once.

    Attributes:
        ended_then: Trial id -> time of its record when the driver was killed.
    """

    desk: Desk
    found: Any
    ended_then: dict[str, int]


@pytest.fixture(scope="module")
def searched(new_desk: Callable[[], Desk]) -> Searched:
    desk = new_desk()
    first = desk.start("run_search.py", desk.yaml, *SEARCH)
    eventually(lambda: sum(n == 2 for n in desk.epochs_done().values()) >= 4, what="four trials", timeout=120)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    ended = {trial: _time(desk, trial) for trial, epochs in desk.epochs_done().items() if epochs == 2}
    return Searched(desk, desk.run("run_search.py", desk.yaml, "--resume", "s", "--json").json, ended)


def _time(desk: Desk, trial: str) -> int:
    return (desk.kept / "trials" / trial / "record.json").stat().st_mtime_ns


def test_a_killed_search_over_every_kind_finishes_them_all_and_trains_none_twice(searched: Searched) -> None:
    assert set(searched.found["targets"]) == set(KINDS)
    assert all(facts["trials"] == {"finished": 2} for facts in searched.found["targets"].values())
    assert {trial: _time(searched.desk, trial) for trial in searched.ended_then} == searched.ended_then
    assert len(searched.desk.suggestions("s")) == 2 * len(KINDS)


@pytest.mark.parametrize("kind", ["both", "label", "shape@red"])
def test_a_trial_trained_afresh_has_the_same_weights_and_predictions(searched: Searched, kind: str, tmp_path: Path) -> None:
    best = searched.found["targets"][kind]["best"]["trial_id"]
    kept, again = searched.desk.kept / "trials" / best, train_afresh(searched.desk, "s", best, tmp_path)
    assert (again / "best.safetensors").read_bytes() == (kept / "best.safetensors").read_bytes()
    identity = [path.relative_to(again) for path in again.rglob("validation.*.identity.npy")]
    assert identity
    for path in identity:
        assert (again / path).read_bytes() == (kept / path).read_bytes(), path


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_the_label_is_exported_and_answered_by_its_bundle(searched: Searched, way: str, tmp_path: Path) -> None:
    desk = searched.desk
    exported = desk.run("export_ensemble.py", desk.yaml, "--targets", WAYS[way], "--to", tmp_path / "to", "--json").json
    assert set(exported["scores"]) == {"colour", "shape", "label"}
    out = tmp_path / "answers.csv"
    desk.run("predict.py", exported["bundle"], desk.photos, "--out", out)
    assert out.read_bytes() == Path(exported["submission"]).read_bytes()
