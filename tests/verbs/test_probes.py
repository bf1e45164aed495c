"""Probes by their command lines: published weights to a submission, with features that were computed once."""

import csv
from pathlib import Path

import pytest

from tests.verbs.conftest import TEST_PHOTOS, Desk

SPACE = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 1, 1, 2
FIRST = [{"probe": "logistic"}, {"probe": "lda"}]


def suggest(trial):
    kind = trial.suggest_categorical("probe", ["logistic", "lda", "ridge"])
    weights = trial.suggest_categorical("class_weights", ["none", "sqrt"])
    return {"backbone": "tf_efficientnet_lite0", "pretrained": True, "image_size": 64, "probe": kind, "class_weights": weights}
"""


@pytest.mark.long
def test_probes_go_from_photos_to_a_submission(desk: Desk) -> None:
    desk.space("frozen", SPACE)
    asked = ("--space", "frozen", "--trials", 2, "--targets", "colour,shape", "--json")
    done = desk.run("run_search.py", desk.yaml, *asked)
    assert [one["trials"] for one in done.json["targets"].values()] == [{"finished": 2}] * 2
    places = sorted((desk.kept / "data/features").iterdir())
    assert [place.name.split("-")[:3] for place in places] == [["tf_efficientnet_lite0", "64", "identity"]]
    shown = desk.run("show_trials.py", "tiny", "--json").json
    assert len(shown) == 4
    assert all(row["score"] > 0.4 for row in shown), shown
    exported = desk.root / "exported"
    found = desk.run("export_ensemble.py", desk.yaml, "--top", 2, "--views", "identity", "--to", exported, "--json").json
    assert all("hflip" not in place.name for place in (desk.kept / "data/features").iterdir())
    rows = read(Path(found["submission"]))
    assert len(rows) == TEST_PHOTOS
    out = desk.root / "again.csv"
    desk.run("predict.py", found["bundle"], desk.photos, "--ids", found["submission"], "--out", out)
    assert read(out) == rows
    verdict = desk.run("reproduce_trial.py", desk.yaml, shown[0]["trial_id"], "--json").json
    assert verdict["verdict"] == "PASS", verdict
    wrong = desk.run("export_ensemble.py", desk.yaml, "--views", "hflop", "--to", desk.root / "other", code=2).err
    assert "unknown view of this competition 'hflop'; did you mean hflip" in wrong
    assert "--views must have identity, the photo as it is, got hflop" in wrong


def read(path: Path) -> dict[str, str]:
    """Photo -> answer."""
    with open(path, newline="") as file:
        return {Path(row["photo"]).name: row["answer"] for row in csv.DictReader(file)}
