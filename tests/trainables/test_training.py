"""A trial ends with the same bits whatever was killed, however many threads loaded its photos, and whatever was trained before it."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competitions.prepare import Prepared
from competitions.splits import PINNED
from competitions.targets import targets
from ledger.predictions import Predictions, best_predictions
from ledger.trials import ALL_DATA, TrialFolder
from system.files import file_hash
from system.sealed_tensors import read_header
from trainables.attach import complete_trial, is_complete, photos
from trainables.config import TrialConfig
from trainables.training import TrialContext, TrialRun, run_trial

Configure = Callable[..., TrialConfig]
Attach = Callable[..., TrialContext]
InProcess = Callable[..., int | None]
Learned = Callable[[str, TrialConfig], dict[str, Any]]

# every source of state and chance at once: momentum, averaged weights, dropout, strong augmentation, accumulation, batch norm
EVERYTHING = {
    "backbone": "test_efficientnet",
    "optimizer": "sgd",
    "lr": 0.05,
    "ema_decay": 0.9,
    "drop_rate": 0.3,
    "augmentation": "strong",
    "class_weights": "balanced",
    "micro_batch": 8,
    "layout": "channels_last",
    "stem_stride": 1,
    "drop_path": 0.2,
    "head_lr_factor": 2.0,
    "layer_decay": 0.9,
    "frozen_epochs": 1,
    "clip_norm": 1.0,
    "mix": "cutmix",
}
N_BEFORE_EPOCH = 3  # a session that goes on replaces record, provenance and metrics before its first epoch


def test_a_trial_killed_again_and_again_ends_with_the_bits_of_one_that_was_not(
    configure: Configure, attached: Attach, in_process: InProcess, learned: Learned, tmp_path: Path
) -> None:
    config = configure(**EVERYTHING, epochs=8)
    seconds: list[float] = []
    whole = run_trial(config, attached(config, "whole"), lambda line: seconds.append(line["seconds"]))
    epoch_s = min(seconds)  # the machine may be busy now and free when the kill comes
    chance = random.Random(0)
    within = [("seconds", chance.uniform(0.1, 1.4) * epoch_s) for _ in range(2)]
    # within an epoch twice; then around each file at its end: probabilities, (best,) last, metrics, record
    at_files = [(moment, N_BEFORE_EPOCH + n) for n, moment in enumerate(("before", "after", "before", "after", "after"), start=1)]
    done = []
    for kill in [within[0], *at_files, within[1]]:
        assert in_process([config], "killed", kill) == -9, f"the trial ended before the kill at {kill}"
        record = TrialFolder(tmp_path / "killed" / config.trial_id).record()
        done.append(record.epochs_done if record else 0)
    assert in_process([config], "killed") == 0
    assert done == sorted(done)
    assert 0 < done[-1] < config.epochs, f"the kills should leave some epochs done, not all: {done}"
    assert whole.finished
    assert learned("killed", config) == learned("whole", config)
    lines = [json.loads(line) for line in (tmp_path / "killed" / config.trial_id / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    assert not list((tmp_path / "killed" / config.trial_id).glob(".*")), "leftovers of killed writes stay"


def test_the_number_of_loader_workers_changes_no_bit(configure: Configure, attached: Attach, learned: Learned) -> None:
    config = configure(**EVERYTHING)
    for workers in (0, 1, 2):
        run_trial(config, attached(config, f"w{workers}", loader_workers=workers))
    assert learned("w0", config) == learned("w1", config) == learned("w2", config)


def test_a_trial_does_not_depend_on_what_its_process_trained_before(
    configure: Configure, attached: Attach, in_process: InProcess, learned: Learned
) -> None:
    first, second = configure(**EVERYTHING), configure("shape", drop_rate=0.2, augmentation="light", seed=3)
    for config in (first, second):
        run_trial(config, attached(config, "after another"))
    assert in_process([second], "fresh") == in_process([first], "fresh") == 0
    for config in (first, second):
        assert learned("after another", config) == learned("fresh", config)


@pytest.mark.parametrize("target", ["colour", "both", "label", "shape@red"])
def test_a_trial_told_to_go_on_epoch_by_epoch_learns_as_in_one_go(
    target: str, configure: Configure, attached: Attach, learned: Learned
) -> None:
    config = configure(target, **EVERYTHING, epochs=3)
    run_trial(config, attached(config, "one go"))
    for _ in range(config.epochs):
        TrialRun(config, attached(config, "pieces")).step()
    assert learned("pieces", config) == learned("one go", config)


def test_everybody_is_told_of_an_epoch_after_it_is_on_disk(configure: Configure, attached: Attach) -> None:
    config = configure(epochs=3)
    context = attached(config)
    told = []

    def on_epoch(line: dict[str, Any]) -> None:
        record = context.folder.record()
        assert record is not None
        assert record.curve[-1] == line["score"]
        assert context.folder.last.exists()
        told.append((line["epoch"], record.epochs_done))

    record = run_trial(config, context, on_epoch)
    assert told == [(1, 1), (2, 2), (3, 3)]
    assert record.score == max(record.curve) == record.curve[(record.best_epoch or 0) - 1]
    assert record.curve.index(record.score) + 1 == record.best_epoch, "of equal epochs the first is the best"
    assert run_trial(config, context, lambda line: pytest.fail("a finished trial was trained again")) == record


def test_the_tiny_network_learns_the_colours(configure: Configure, attached: Attach) -> None:
    config = configure(epochs=6, lr=5e-3)
    record = run_trial(config, attached(config))
    assert record.score is not None
    assert record.score > 0.9


@pytest.mark.parametrize("backbone", ["test_vit", "test_byobnet"])
def test_a_loss_that_is_not_finite_ends_the_trial_as_diverged(backbone: str, configure: Configure, attached: Attach) -> None:
    config = configure(backbone=backbone, optimizer="sgd", lr=100.0, weight_decay=10.0, epochs=40)
    lines: list[dict[str, Any]] = []
    record = run_trial(config, attached(config), lines.append)
    assert record.diverged
    assert record.ended
    assert not record.finished
    assert record.score is None
    assert record.epochs_done == len(lines) < 40
    assert lines[-1]["diverged"]
    assert lines[-1]["score"] is None
    assert not any(line["diverged"] for line in lines[:-1])
    again = run_trial(config, attached(config), lambda line: pytest.fail("a diverged trial was trained on"))
    assert again == record


def test_predictions_stand_beside_their_ids_and_broken_photos_get_the_prior(
    tiny: Prepared, configure: Configure, attached: Attach
) -> None:
    config = configure(fold=1, ema_decay=0.8, epochs=3)
    context = attached(config)
    record = run_trial(config, context)
    views = ("identity", "hflip", "zoom_in")
    assert not is_complete(tiny, context.folder, views)
    complete_trial(tiny, context.folder, views)
    assert is_complete(tiny, context.folder, views)
    kept = best_predictions(context.folder, record)
    training, validation = tiny.rows(targets(tiny.competition)["colour"], 1)
    assert not set(training) & set(validation)
    ids, probs = kept.read("validation", "colour", "identity")
    assert ids == tuple(tiny.manifest.image_ids[row] for row in validation)
    assert set(ids).isdisjoint(tiny.broken)
    _, of_epoch = Predictions(context.folder.predictions / "epochs").read("validation", "colour", f"epoch{record.best_epoch:04d}")
    np.testing.assert_array_equal(probs, of_epoch)  # computed anew from best.safetensors: the same bits
    prior = np.bincount(tiny.manifest.labels["colour"][training], minlength=3) / len(training)
    for view in views:
        ids, probs = kept.read("test", "colour", view)
        assert ids == tuple(tiny.manifest.image_ids[row] for row in tiny.manifest.rows("test"))
        np.testing.assert_array_equal(probs[ids.index("t03")], prior.astype(np.float16))
        np.testing.assert_allclose(probs.sum(1), 1, atol=2e-3)
        assert (probs[ids.index("t04")] != prior.astype(np.float16)).any()


def test_on_all_data_every_labelled_photo_is_learned_from_and_the_last_epoch_is_kept_without_a_score(
    tiny: Prepared, configure: Configure, attached: Attach, learned: Learned
) -> None:
    config = configure(fold=ALL_DATA, **EVERYTHING)
    context = attached(config)
    labelled = {i for i, role in zip(tiny.manifest.image_ids, tiny.manifest.roles, strict=True) if role == "train"}
    assert set(context.training.image_ids) == labelled - set(tiny.broken)
    lines: list[dict[str, Any]] = []
    record = run_trial(config, context, lines.append)
    assert record.finished
    assert (record.score, record.best_epoch, record.curve, len(lines)) == (None, None, [], config.epochs)
    assert record.weights == file_hash(context.folder.best)
    for _ in range(config.epochs):
        TrialRun(config, attached(config, "pieces")).step()
    assert learned("pieces", config) == learned("here", config)
    assert not is_complete(tiny, context.folder, ["identity", "hflip"])
    complete_trial(tiny, context.folder, ["identity", "hflip"])
    assert is_complete(tiny, context.folder, ["identity", "hflip"])
    ids, _ = best_predictions(context.folder, record).read("test", "colour", "hflip")
    assert ids == tuple(tiny.manifest.image_ids[row] for row in tiny.manifest.rows("test"))
    assert not list(context.folder.predictions.rglob("validation*")), "there is nothing to be judged on"


def test_on_all_data_pinned_photos_are_learned_from_too(tiny: Prepared) -> None:
    fold = tiny.folds.fold.copy()
    fold[:3] = PINNED
    pinned = replace(tiny, folds=replace(tiny.folds, fold=fold))
    training, validation = pinned.rows(targets(tiny.competition)["colour"], ALL_DATA)
    assert {0, 1, 2} <= set(training.tolist())
    assert len(validation) == 0


def test_on_all_data_a_loss_that_is_not_finite_ends_the_trial_as_diverged(configure: Configure, attached: Attach) -> None:
    config = configure(fold=ALL_DATA, backbone="test_vit", optimizer="sgd", lr=100.0, weight_decay=10.0, epochs=40)
    record = run_trial(config, attached(config))
    assert record.diverged
    assert record.weights is None


@pytest.mark.parametrize("fold", range(4))
def test_a_trial_learns_from_no_group_it_is_judged_on(fold: int, tiny: Prepared, configure: Configure, attached: Attach) -> None:
    context = attached(configure(fold=fold))
    group_of = dict(zip(tiny.manifest.image_ids, tiny.manifest.groups, strict=True))
    learned_from, judged_on = list(context.training.image_ids), [image_id for image_id, _ in context.validation.names]
    assert {group_of[image_id] for image_id in learned_from}.isdisjoint(group_of[image_id] for image_id in judged_on)
    usable = {i for i, role in zip(tiny.manifest.image_ids, tiny.manifest.roles, strict=True) if role == "train"} - set(
        tiny.broken
    )
    assert {*learned_from, *judged_on} == usable
    for data, ids in ((context.training, learned_from), (context.validation, judged_on)):
        assert [tiny.manifest.image_ids[row] for row in data.rows] == ids
        for row, image_id in zip(data.rows[:3], ids, strict=False):
            np.testing.assert_array_equal(data.images[row], tiny.cache(32).images[tiny.manifest.image_ids.index(image_id)])


def test_what_is_cached_is_not_computed_again(tiny: Prepared, configure: Configure, attached: Attach) -> None:
    config = configure(epochs=1)
    context = attached(config)
    kept = best_predictions(context.folder, run_trial(config, context))
    complete_trial(tiny, context.folder, ["identity"])
    before = {path: path.stat().st_mtime_ns for path in kept.folder.iterdir()}
    context.folder.best.unlink()  # computing anything would need it
    complete_trial(tiny, context.folder, ["identity"])
    assert {path: path.stat().st_mtime_ns for path in kept.folder.iterdir()} == before
    assert kept.missing("test", config.heads, ["identity", "hflip"], photos(tiny, config, "test").names) == ["hflip"]


def test_other_data_and_another_trials_checkpoint_are_refused(configure: Configure, attached: Attach, tmp_path: Path) -> None:
    config, other = configure(epochs=1), configure(epochs=1, seed=1)
    run_trial(config, attached(config))
    with pytest.raises(ValueError, match="was made for data"):
        attached(TrialConfig.from_json({**config.json(), "data": "somebody else's"}))
    (tmp_path / "here" / other.trial_id).mkdir()
    last = tmp_path / "here" / config.trial_id / "last.safetensors"
    (tmp_path / "here" / other.trial_id / "last.safetensors").write_bytes(last.read_bytes())
    with pytest.raises(ValueError, match=f"belongs to trial {config.trial_id}"):
        run_trial(other, attached(other))


def spoil(path: Path, how: str) -> bytes:
    """Damage a file; returns what it is then."""
    data = path.read_bytes()
    flipped = data[:-9] + bytes([data[-9] ^ 4]) + data[-8:]
    path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "flipped": flipped}[how])
    return path.read_bytes()


@pytest.mark.parametrize("how", ["empty", "cut", "flipped"])
@pytest.mark.parametrize("both", [False, True], ids=["last", "last and previous"])
def test_a_damaged_checkpoint_costs_one_epoch_and_two_damaged_ones_all_but_never_the_record(
    how: str,
    both: bool,
    configure: Configure,
    attached: Attach,
    learned: Learned,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = configure(**EVERYTHING, epochs=4)
    run_trial(config, attached(config, "whole"))
    for _ in range(3):
        TrialRun(config, attached(config, "hurt")).step()
    folder = attached(config, "hurt").folder
    acknowledged = folder.record()
    damaged = {spoil(folder.last, how)} | ({spoil(folder.previous, how)} if both else set())
    run = TrialRun(config, attached(config, "hurt"))
    assert run.record.epochs_done == (0 if both else 2)
    assert {path.read_bytes() for path in (tmp_path / "quarantine").rglob("*.safetensors.*")} == damaged
    assert f"{config.trial_id}/last.safetensors" in caplog.text
    assert ("begins anew" in caplog.text) == both
    while run.record.epochs_done < 3:
        assert folder.record() == acknowledged, "an acknowledged record is not replaced by a shorter one"
        run.step()
    run.step()
    assert learned("hurt", config) == learned("whole", config)
    assert not folder.previous.exists(), "one checkpoint is enough of a trial that ended"


def test_the_checkpoint_before_the_last_one_is_kept_until_the_trial_ends(configure: Configure, attached: Attach) -> None:
    config = configure(epochs=3)
    run = TrialRun(config, attached(config))
    epochs = []
    while not run.record.ended:
        run.step()
        there = [path for path in (run.folder.last, run.folder.previous) if path.exists()]
        epochs.append([read_header(path)["epoch"] for path in there])
    assert epochs == [[1], [2, 1], [3]]
    run.folder.last.write_bytes(b"")
    assert TrialRun(config, attached(config)).record == run.record, (
        "its record says that it ended, and its best weights are there"
    )
    run.folder.best.write_bytes(b"")
    again = TrialRun(config, attached(config))
    assert again.record.epochs_done == 0, "its weights are lost: it is trained again"
