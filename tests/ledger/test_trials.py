"""A trial is named by what it learns, and its folder holds what came of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.trials import ID_LENGTH, Record, TrialFolder, config_id, trial_folders, trial_id
from system.files import read_lines

NAMES = st.sampled_from(["lr", "loss", "fold", "seed", "epochs", "recipe", "heads", "momentum"])
VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text("abc", max_size=2)
CONFIGS = st.dictionaries(NAMES, VALUES, min_size=1)
RECORD = Record("0" * 12, "1" * 12, "age", 0, 0, epochs_planned=3)


@given(CONFIGS, VALUES)
def test_a_setting_that_has_its_before_value_renames_nothing(config: dict[str, Any], before: Any) -> None:
    later = {**config, "added later": before}
    for name in (trial_id, config_id):
        assert name(later, {"added later": before}) == name(config, {}) == name(config, {"added later": before})


@given(CONFIGS, VALUES, VALUES)
def test_a_setting_that_differs_from_its_before_value_is_part_of_the_name(
    config: dict[str, Any], before: Any, value: Any
) -> None:
    named = trial_id({**config, "added later": value}, {"added later": before})
    assert (named == trial_id(config, {})) == (value == before)
    assert config_id({**config, "added later": value}, {}) != config_id(config, {})


@given(CONFIGS, st.integers(0, 9), st.integers(0, 9))
def test_fold_and_seed_name_the_trial_and_not_the_member(config: dict[str, Any], fold: int, seed: int) -> None:
    plain = {key: value for key, value in config.items() if key not in ("fold", "seed")}
    one, other = {**plain, "fold": fold, "seed": seed}, {**plain, "fold": fold + 1, "seed": seed}
    assert config_id(one, {}) == config_id(other, {}) == config_id(plain, {})
    assert trial_id(one, {}) != trial_id(other, {})
    assert trial_id(one, {}) != trial_id({**one, "seed": seed + 1}, {})


@given(CONFIGS)
def test_names_are_twelve_digits_whatever_the_order_of_the_settings(config: dict[str, Any]) -> None:
    backwards = dict(reversed(config.items()))
    for name in (trial_id, config_id):
        assert name(config, {}) == name(backwards, {})
        assert len(name(config, {})) == ID_LENGTH
        assert int(name(config, {}), 16) >= 0


def test_a_record_survives_its_file_and_knows_when_it_ended(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "000000000000")
    assert folder.record() is None
    trained = replace(RECORD, epochs_done=2, score=0.1 + 0.2, best_epoch=2, curve=[0.25, 0.1 + 0.2], weights="f" * 64)
    folder.write_record(trained)
    assert folder.record() == trained
    assert not trained.ended
    whole, diverged = replace(trained, epochs_done=3), replace(trained, diverged=True, score=None)
    assert (whole.finished, whole.ended) == (True, True)
    assert (diverged.finished, diverged.ended) == (False, True)
    assert not replace(whole, diverged=True).finished


def test_settings_are_written_once_and_metrics_replaced_whole(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "a")
    folder.write_config({"lr": 0.1})
    folder.write_config({"lr": 0.2})
    assert folder.config() == {"lr": 0.1}
    for lines in ([{"epoch": 1, "loss": None}, {"epoch": 2, "loss": 0.5}], [{"epoch": 1, "loss": 0.25}]):
        folder.write_metrics(lines)
        assert read_lines(folder.path / "metrics.jsonl") == lines
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_metrics([{"loss": float("nan")}])


def test_only_folders_with_settings_are_trials(tmp_path: Path) -> None:
    assert list(trial_folders(tmp_path / "nowhere")) == []
    for name in ("b", "a"):
        TrialFolder(tmp_path / name).write_config({})
    (tmp_path / "claimed only").mkdir()
    (tmp_path / "file").write_bytes(b"")
    assert [folder.id for folder in trial_folders(tmp_path)] == ["a", "b"]


def test_leftovers_of_killed_writes_go_and_what_others_write_stays(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "a")
    folder.write_config({})
    mine = [folder.path / f".{name}.123.abcd.tmp" for name in ("last.safetensors", "best.safetensors", "record.json")]
    others = [folder.path / ".claim.json.0123.tmp", folder.predictions / ".test.age.hflip.npy.5.ab.tmp"]
    folder.predictions.mkdir()
    for path in (*mine, *others):
        path.write_bytes(b"half")
    folder.remove_leftovers()
    assert not any(path.exists() for path in mine)
    assert all(path.exists() for path in others)
    assert folder.config() == {}
