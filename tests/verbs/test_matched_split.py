"""Twin gaps and matched splits by the command line: from photos whose groups nobody tells to scores that are said to be too good."""

import csv
import json

import pytest

from tests.verbs.conftest import Desk, Run

SPACE = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 1, 1, 2
FIRST = [{}]


def suggest(trial):
    trial.suggest_categorical("probe", ["lda"])
    return {"backbone": "tf_efficientnet_lite0", "pretrained": True, "image_size": 128, "probe": "lda"}
"""
SPLITS = """\
split: {name: persons, folds: 4}
splits:
  random: {folds: 4, by_group: false}
  like_test: {matched: 4}
  told: {folds: 4, groups: told.csv}
"""


def test_folds_are_proposed_kept_and_read_and_their_gaps_are_said(desk: Desk, run: Run) -> None:
    desk.yaml.write_text(desk.yaml.read_text().replace("split: {name: persons, folds: 4}\n", SPLITS))
    first = run(desk, "prepare_data", desk.yaml)[1]
    assert "not asked, --features computes what it takes" in first
    assert "split like_test is matched, and nobody has looked for its clusters yet; find clusters with" in first
    assert "told.csv is not there" in first
    code, _, wrong = run(desk, "prepare_data", desk.yaml, "--propose-split", "many")
    assert code == 2
    assert "--propose-split must be a number of folds from 2 to 20, got 'many'" in wrong

    shown = run(desk, "prepare_data", desk.yaml, "--propose-split")[1]
    assert "proposed split: of " in shown
    assert "kept in data/matched/4.csv; to take it, write in the YAML: split: {name: matched, matched: 4}" in shown
    file = desk.kept / "data/matched/4.csv"
    with open(file, newline="") as table:
        clusters = {row["image"]: row["cluster"] for row in csv.DictReader(table)}
    assert len(clusters) == 79  # of 80 training photos one cannot be decoded
    (desk.root / "data/tiny/told.csv").write_bytes(file.read_bytes())
    found = json.loads(run(desk, "prepare_data", desk.yaml, "--json")[1])
    splits = {split["name"]: split for split in found["splits"]}
    assert found["twin_features"] == "tf_efficientnet_lite0 at 128 px"
    assert all(split["twin_gap"]["words"] for split in splits.values())
    assert splits["like_test"]["photos"] == splits["told"]["photos"]
    assert (splits["like_test"]["matched"], splits["told"]["groups"], splits["persons"]["matched"]) == (True, "told.csv", False)
    assert splits["random"]["groups_cut"] > 0 == splits["like_test"]["groups_cut"]


@pytest.mark.long
def test_a_matched_split_from_a_search_to_a_forecast(desk: Desk) -> None:
    desk.yaml.write_text(desk.yaml.read_text().replace("split: {name: persons, folds: 4}\n", SPLITS))
    found = desk.run("prepare_data.py", desk.yaml, "--propose-split", "--json").json
    splits = {split["name"]: split for split in found["splits"]}
    desk.space("frozen", SPACE)
    for split in ("random", "like_test"):
        asked = ("--space", "frozen", "--trials", 1, "--targets", "colour,shape", "--split", split)
        desk.run("run_search.py", desk.yaml, *asked)
    listed = desk.run("show_trials.py", "tiny", "--splits")
    assert "like_test: " in listed.out
    assert "random: " in listed.out
    rows = desk.run("show_trials.py", "tiny", "--splits", "--json").json
    assert {frozenset(row["splits"]) for row in rows} == {frozenset({"random", "like_test"})}
    assert all(row["splits"]["random"]["twin_gap"] in ("too good", "too bad", "none") for row in rows)
    to = desk.root / "exported"
    exported = desk.run("export_ensemble.py", desk.yaml, "--split", "random", "--views", "identity", "--to", to, "--json").json
    gap = exported["forecast"]["twin_gap"]
    assert gap["words"] in exported["forecast"]["words"]
    assert gap == splits["random"]["twin_gap"]
