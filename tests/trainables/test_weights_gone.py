"""Weights that a quota dropped: what they take, what can be done without them, and how they come back."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from competitions.competition import Competition
from competitions.prepare import Prepared
from ledger.retention import Keep, enforce, has_weights, weights_of
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import TrialFolder
from system.errors import UserError
from system.files import file_hash
from system.paths import CompetitionPaths
from trainables.attach import attach, complete_trial, is_complete, start_of
from trainables.config import TrialConfig
from trainables.reproduce.retrain import reproduce
from trainables.sizes import weights_bytes
from trainables.training import TrialContext, TrialRun, run_trial

Configure = Callable[..., TrialConfig]
Attach = Callable[..., TrialContext]
Learned = Callable[[str, TrialConfig], dict[str, Any]]


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.0}, {"ema_decay": 0.9}, {"backbone": "test_efficientnet"}],
    ids=str,
)
def test_what_weights_take_is_known_before_anything_is_trained(
    configure: Configure, attached: Attach, settings: dict[str, Any]
) -> None:
    config = configure(**settings, epochs=1)
    best, last = weights_bytes(config)
    context = attached(config)
    run_trial(config, context)
    for path, told in ((context.folder.best, best), (context.folder.last, last)):
        headers = path.stat().st_size - told
        assert 0 <= headers < 60_000, (path.name, told, path.stat().st_size)


def test_a_pruned_trial_whose_checkpoint_was_dropped_begins_anew_and_keeps_what_was_acknowledged(
    configure: Configure, attached: Attach, learned: Learned, tmp_path: Path
) -> None:
    config = configure(epochs=4)
    run_trial(config, attached(config, "whole"))
    root = CompetitionPaths(tmp_path / "tiny")
    context = attached(config, "tiny/trials")
    run = TrialRun(config, context)
    for _ in range(3):
        run.step()
    let_go(root, context.folder)
    before = learned("tiny/trials", config)
    assert enforce(root, Keep(trials=1)).trials == (config.trial_id,)
    assert not any(path.exists() for path in weights_of(context.folder))
    again = TrialRun(config, context)
    assert again.record.epochs_done == 0
    again.step()
    record = context.folder.record()
    assert record is not None
    assert (record.epochs_done, record.curve) == (3, before["curve"])
    for name in before:
        if name.endswith(".npy"):
            assert (context.folder.path / name).read_bytes() == before[name], f"{name} is gone"
    run_trial(config, context)
    assert learned("tiny/trials", config) == learned("whole", config)


def let_go(paths: CompetitionPaths, folder: TrialFolder) -> None:
    study = StudyFolder(paths.studies / "s")
    study.write_plan({})
    study.write_suggestion(Suggestion(1, "colour", folder.id, {}))
    study.log("started", folder.id)
    study.log("pruned", folder.id, epoch=3)


@pytest.fixture
def bare(tiny: Prepared, configure: Configure, tmp_path: Path) -> tuple[Prepared, TrialFolder, TrialConfig]:
    """A storage of its own with a finished trial, complete for one view, that has no weights."""
    config = configure(epochs=1)
    own = replace(tiny, paths=CompetitionPaths(tmp_path / "own" / "tiny"))
    shutil.copytree(tiny.paths.data, own.paths.data)
    context = attach(own, config)
    run_trial(config, context)
    complete_trial(own, context.folder, ["identity"])
    for path in weights_of(context.folder):
        path.unlink(missing_ok=True)
    return own, context.folder, config


def test_without_weights_nothing_can_be_completed_or_started_and_the_way_to_get_them_back_is_said(
    bare: tuple[Prepared, TrialFolder, TrialConfig],
) -> None:
    own, folder, _ = bare
    complete_trial(own, folder, ["identity"])
    assert not is_complete(own, folder, ["identity", "hflip"])
    with pytest.raises(UserError, match=f"python reproduce_trial.py tiny {folder.id} --restore"):
        complete_trial(own, folder, ["identity", "hflip"])
    with pytest.raises(UserError, match="--restore"):
        start_of(folder, own.paths.data / "weights")


def test_restored_weights_are_the_same_bits_and_a_second_time_is_refused(
    bare: tuple[Prepared, TrialFolder, TrialConfig], tiny_competition: Competition, tiny_data: Path, monkeypatch: Any
) -> None:
    own, folder, _ = bare
    monkeypatch.setenv("PODIUM_DATA", str(tiny_data))
    record = folder.record()
    assert record is not None
    verdict = reproduce(tiny_competition, own.paths, folder.id, restore=True)
    assert (verdict.verdict, verdict.restored) == ("PASS", True)
    assert file_hash(folder.best) == record.weights
    with pytest.raises(UserError, match="--restore brings weights back"):
        reproduce(tiny_competition, own.paths, folder.id, restore=True)


def test_weights_that_others_started_from_outlive_the_trial_s_own(
    tiny: Prepared, configure: Configure, attached: Attach, tmp_path: Path
) -> None:
    config, store = configure(epochs=1), tmp_path / "weights"
    context = attached(config, "tiny/trials")
    run_trial(config, context)
    first = start_of(context.folder, store)
    for path in weights_of(context.folder):
        path.unlink(missing_ok=True)
    assert not has_weights(context.folder)
    assert start_of(context.folder, store) == first
