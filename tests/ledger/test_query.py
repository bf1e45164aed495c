"""What the ledger answers about trials that learned from all photos, and from all but each fold."""

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.query import all_data_sibling, best_trials, fold_siblings, scores_by_split
from ledger.trials import ALL_DATA, Record, TrialFolder
from system.paths import CompetitionPaths

SETTINGS = {"target": "age", "data": "d", "metric": "macro_f1"}
RECORD = Record("judged", "m" * 12, "age", 2, 5, 3, epochs_done=3, score=0.5, best_epoch=1, curve=[0.5, 0.4, 0.4], weights="w")
SIBLING = replace(RECORD, trial_id="on-all", fold=ALL_DATA, score=None, best_epoch=None, curve=[])


def ledger(root: Path, *records: Record) -> CompetitionPaths:
    paths = CompetitionPaths(root)
    for record in records:
        folder = TrialFolder(paths.trials / record.trial_id)
        folder.write_config({**SETTINGS, "fold": record.fold, "seed": record.seed})
        folder.write_record(record)
    return paths


def test_the_sibling_on_all_data_has_the_same_settings_and_seed_and_is_finished(tmp_path: Path) -> None:
    paths = ledger(tmp_path, RECORD, SIBLING)
    assert all_data_sibling(paths, "judged") == "on-all"


@pytest.mark.parametrize(
    "other", [{"config_id": "x" * 12}, {"seed": 6}, {"fold": 1}, {"epochs_done": 2}, {"diverged": True}], ids=str
)
def test_nothing_else_is_its_sibling(other: dict[str, object], tmp_path: Path) -> None:
    paths = ledger(tmp_path, RECORD, replace(SIBLING, **other))  # type: ignore[arg-type]  # one field at a time
    assert all_data_sibling(paths, "judged") is None


def test_a_trial_on_all_data_is_never_among_the_best(tmp_path: Path) -> None:
    paths = ledger(tmp_path, RECORD, SIBLING)
    assert best_trials(paths, "age", "d", 2, "macro_f1") == [("judged", 0.5)]
    assert best_trials(paths, "age", "d", ALL_DATA, "macro_f1") == []


def test_a_members_trials_are_found_by_fold_from_any_of_them(tmp_path: Path) -> None:
    folds = [replace(RECORD, trial_id=f"on-{fold}", fold=fold, score=fold / 10) for fold in (4, 0, 2)]
    half = replace(RECORD, trial_id="half", fold=1, epochs_done=2)
    paths = ledger(tmp_path, *folds, half, SIBLING, replace(RECORD, trial_id="alone", seed=6), replace(RECORD, trial_id="z"))
    found = fold_siblings(paths, ["on-4", "z", "nobody", "half", "alone"])
    assert list(found) == ["on-4", "z", "nobody", "half", "alone"]
    whole = {0: "on-0", 2: "on-2", 4: "on-4"}
    assert found == {"on-4": whole, "z": {**whole, 2: "z"}, "nobody": {}, "half": whole, "alone": {2: "alone"}}
    assert list(found["on-4"]) == [0, 2, 4]
    assert fold_siblings(paths, []) == {}


@pytest.mark.parametrize(
    "other", [{"config_id": "x" * 12}, {"seed": 6}, {"epochs_done": 2}, {"diverged": True}, {"score": None}], ids=str
)
def test_nothing_else_is_a_members_trial(other: dict[str, object], tmp_path: Path) -> None:
    paths = ledger(tmp_path, RECORD, replace(RECORD, trial_id="other", fold=1, **other))  # type: ignore[arg-type]  # one field at a time
    assert fold_siblings(paths, ["judged"]) == {"judged": {2: "judged"}}


def test_the_same_settings_under_several_splits_stand_side_by_side(tmp_path: Path) -> None:
    paths = CompetitionPaths(tmp_path)

    def add(name: str, split: str, score: float, *, lr: float = 0.1, fold: int = 0) -> None:
        folder = TrialFolder(paths.trials / name)
        folder.write_config({**SETTINGS, "split": split, "data": f"of {split}", "fold": fold, "seed": 0, "lr": lr})
        folder.write_record(replace(RECORD, trial_id=name, fold=fold, seed=0, score=score))

    add("a", "people", 0.25)
    add("b", "people", 0.75, fold=1)
    add("c", "random", 0.9)
    add("d", "people", 0.99, lr=0.2)  # under one split only
    (found,) = scores_by_split(paths)
    assert found["splits"] == {"people": {"score": 0.5, "n": 2}, "random": {"score": 0.9, "n": 1}}
    assert (found["trials"], found["config"]["lr"]) == (["a", "b", "c"], 0.1)
