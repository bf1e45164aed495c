"""A probe is a trial: the same files, predictions that its own network gives again, the same bits whatever was killed."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competitions.prepare import Prepared
from ledger.predictions import best_predictions
from ledger.trials import ALL_DATA, TrialFolder
from system.errors import UserError
from trainables.attach import attach, complete_trial, is_complete, photos
from trainables.config import DEFAULTS, OF_A_PROBE, TrialConfig, check_parameters
from trainables.families import families
from trainables.prediction import load_network, predict_photos
from trainables.probes.features import PhotoFeatures
from trainables.probes.heads import PROBES
from trainables.probes.run import ProbeRun, open_run
from trainables.reproduce.retrain import reproduce
from trainables.training import TrialContext

Probing = Callable[..., TrialConfig]
Attach = Callable[..., TrialContext]
InProcess = Callable[..., int | None]
Learned = Callable[[str, TrialConfig], dict[str, Any]]
VIEWS = ("identity", "hflip", "darken")


def run(config: TrialConfig, context: TrialContext) -> ProbeRun:
    one = open_run(config, context)
    assert isinstance(one, ProbeRun)
    while not one.record.ended:
        one.step()
    return one


@pytest.mark.parametrize("target", ["colour", "both", "shape@red"])
@pytest.mark.parametrize("probe", PROBES)
def test_cached_predictions_are_those_of_the_network_that_is_kept(
    tiny: Prepared, probing: Probing, probe: str, target: str
) -> None:
    """Probabilities from cached features and from the whole network agree within float16's steps."""
    config = probing(target, probe=probe)
    record = run(config, attach(tiny, config)).record
    folder = TrialFolder(tiny.paths.trials / config.trial_id)
    assert record.finished
    assert record.score is not None
    assert (record.curve, record.best_epoch, folder.record()) == ([record.score], 1, record)
    complete_trial(tiny, folder, VIEWS)
    assert is_complete(tiny, folder, VIEWS)
    model, wanted = load_network(config, folder.best)
    for part in ("validation", "test"):
        asked = photos(tiny, config, part)
        theirs = predict_photos(model, asked, config, VIEWS, wanted, "cpu", features=True)
        for (head, view), probs in theirs.items():
            ids, ours = best_predictions(folder, record).read(part, head, view)
            assert list(ids) == [name for name, _ in asked.names]
            scale = max(1.0, float(np.abs(probs).max()))
            assert np.abs(ours.astype(float) - probs.astype(float)).max() <= 2e-3 * scale, (part, head, view)


def test_a_network_whose_last_layer_begins_as_a_probe_goes_on_from_there(
    tiny: Prepared, probing: Probing, attached: Attach, learned: Learned, in_process: InProcess
) -> None:
    """Its first epoch, frozen and at a rate of nearly nothing, scores as the probe does; killed, it is the same trial."""
    settings = {"probe": "none", "head_start": "logistic", "lr": 1e-8, "frozen_epochs": 1, "epochs": 2, "batch_size": 16}
    config, probe = probing("both", **settings, augmentation="none"), probing("both")
    assert config.trial_id != probing("both", **{**settings, "head_start": "none"}, augmentation="none").trial_id
    whole = open_run(config, attached(config, "whole"))
    scored = whole.step()["score"]
    whole.step()
    assert scored == pytest.approx(run(probe, attached(probe)).record.score, abs=0.02)
    assert in_process([config], "killed", ("seconds", 0.2)) == -9
    assert in_process([config], "killed") == 0
    assert learned("killed", config) == learned("whole", config)
    with pytest.raises(UserError, match="head_start=logistic needs start weights"):
        probing(weights_file=None, probe="none", head_start="logistic")


def test_a_probe_learns_more_than_guessing(tiny: Prepared, probing: Probing, attached: Attach) -> None:
    record = run(config := probing(), attached(config)).record
    assert record.score is not None
    assert record.score > 0.5


def test_trials_of_all_tasks_and_folds_share_features(probing: Probing, attached: Attach, tmp_path: Path) -> None:
    run(config := probing(), attached(config))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "here/features").rglob("*.npy")}
    assert written
    for target, fold, settings in (("shape", 0, {}), ("colour", 3, {"probe": "lda"}), ("both", 1, {"class_weights": "sqrt"})):
        run(config := probing(target, fold=fold, **settings), attached(config))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "here/features").rglob("*.npy")} == written


N_FILES = 12
"""Settings, provenance, two files about features, a part of them, weights, probabilities twice with their photos, metrics, record."""


@pytest.mark.parametrize(
    "numbers", [(6,), pytest.param(tuple(range(1, N_FILES + 1)), marks=pytest.mark.long)], ids=["features", "every file"]
)
def test_a_probe_that_was_killed_at_a_file_ends_as_one_that_was_not(
    probing: Probing, in_process: InProcess, learned: Learned, numbers: tuple[int, ...]
) -> None:
    config = probing()
    assert in_process([config], "whole", ("before", N_FILES + 1)) == 0
    for number in numbers:
        assert in_process([config], f"cut-{number}", ("before", number)) == -9
        assert in_process([config], f"cut-{number}") == 0
        assert learned(f"cut-{number}", config) == learned("whole", config)


def test_a_probe_that_ended_is_not_fitted_again_and_one_that_lost_its_weights_is(
    probing: Probing, attached: Attach, learned: Learned
) -> None:
    config = probing()
    first = run(config, attached(config))
    before = learned("here", config)
    assert open_run(config, attached(config)).record == first.record
    first.folder.best.unlink()
    assert not open_run(config, attached(config)).record.ended
    run(config, attached(config))
    assert learned("here", config) == before


def test_reproduction_computes_features_anew_and_passes(
    tiny: Prepared, tiny_data: Path, probing: Probing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_DATA", str(tiny_data))
    config = probing("both", seed=3)
    run(config, attach(tiny, config))
    verdict = reproduce(tiny.competition, tiny.paths, config.trial_id)
    assert verdict.verdict == "PASS", verdict


def test_a_probe_on_all_data_keeps_weights_and_has_no_score(tiny: Prepared, probing: Probing, attached: Attach) -> None:
    record = run(config := probing(fold=ALL_DATA), attached(config)).record
    assert record.finished
    assert (record.score, record.best_epoch) == (None, None)
    assert record.weights


def test_probes_are_in_no_soup(tiny: Prepared, probing: Probing) -> None:
    ids = []
    for c in (1e-3, 1e-2):
        run(config := probing(probe_c=c), attach(tiny, config))
        ids.append(config.trial_id)
    assert families(tiny.paths, ids, 0) == []


def test_the_settings_of_training_are_refused_beside_a_probe_and_hold_still(probing: Probing) -> None:
    assert set(OF_A_PROBE) < set(DEFAULTS)
    for name in OF_A_PROBE:
        faults = check_parameters({"backbone": "test_resnet", "probe": "logistic", name: DEFAULTS[name]})
        assert any(fault.startswith(f"{name} has no effect on a probe") for fault in faults), name
    config = probing()
    assert {name: getattr(config, name) for name in OF_A_PROBE} == OF_A_PROBE
    others = [
        probing(probe="lda"),
        probing(probe_c=0.5),
        probing(probe_scaling="even"),
        probing(class_weights="sqrt"),
        probing(seed=1),
    ]
    assert len({one.trial_id for one in [config, *others]}) == len(others) + 1


def test_a_probe_without_start_weights_is_refused(probing: Probing) -> None:
    with pytest.raises(UserError, match="needs start weights, which it leaves as they are; set pretrained=True"):
        probing(weights_file=None)


def test_a_network_that_answers_no_numbers_diverges(probing: Probing, attached: Attach) -> None:
    context = attached(config := probing())
    assert context.features is not None
    given = {one.name: getattr(context.features, one.name) for one in fields(context.features)}
    broken = replace(context, features=_Infinite(**given))
    record = run(config, broken).record
    assert record.diverged
    assert (record.score, record.weights) == (None, None)


class _Infinite(PhotoFeatures):
    """Features beyond what a float can say."""

    def of(self, rows: Any, view: str = "identity") -> Any:
        return np.full((len(rows), 8), np.inf, np.float32)
