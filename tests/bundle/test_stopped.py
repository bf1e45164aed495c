"""A trial that was cut off votes in an export with its best weights, is named, and is refused where it goes on meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bundle.export import export
from bundle.gather import gather
from bundle.opened import Opened
from bundle.predict import open_bundle
from competitions.competition import Competition
from competitions.prepare import Prepared
from competitions.targets import choose_targets
from ensemble.choose import choose
from ensemble.options import ALL_FOLDS, Options
from ledger.stopped import mark_stopped
from ledger.studies import StudyFolder, Suggestion
from system.errors import UserError
from tests.bundle.test_bundle import answers_of, trained
from trainables.attach import attach, complete_opened
from trainables.config import Question, resolve
from trainables.training import TrialRun

EPOCHS, PLAIN = 40, Options(plain=True)


@pytest.fixture
def cut(tiny_data: Path, tiny_competition: Competition, tmp_path: Path) -> Iterator[tuple[Prepared, TrialRun]]:
    """A finished trial of shape, and for colour nothing but a study's trial that was stopped after two of its epochs."""
    with trained(tiny_data, tiny_competition, tmp_path / "runs", 1, ["shape"]) as prepared:
        (target,) = choose_targets(prepared.competition, ["colour"])
        question = Question("tiny", "colour", target.heads, target.metric, prepared.data_fingerprint(target), "groups", 0, 0, 32)
        settings = {"backbone": "test_vit", "epochs": EPOCHS, "batch_size": 16, "augmentation": "none", "lr": 1e-3}
        config = resolve(settings, question)
        run = TrialRun(config, attach(prepared, config))
        study = StudyFolder(prepared.paths.studies / "s")
        study.write_plan({"request": {}})
        study.write_suggestion(Suggestion(1, "colour", config.trial_id, {}))
        study.log("started", config.trial_id, target="colour", suggestion=1)
        run.step()
        run.step()
        mark_stopped(study, prepared.paths.trials)
        yield prepared, run


def test_a_stopped_trial_votes_and_is_named_and_the_bundle_answers(
    cut: tuple[Prepared, TrialRun], tiny_data: Path, tmp_path: Path
) -> None:
    prepared, run = cut
    opened, record = Opened(prepared), run.record
    choice = choose(gather(opened, PLAIN), PLAIN)
    said = export(opened, choice, tmp_path)
    done = {"epochs_done": 2, "epochs_planned": EPOCHS, "best_epoch": record.best_epoch, "score": record.score}
    assert said["stopped"] == [{"trial_id": record.trial_id, "target": "colour", **done}]
    answers = open_bundle(tmp_path / "bundle").predict(
        tiny_data / "tiny", choice.image_ids, [f"{name}.png" for name in choice.image_ids]
    )
    for task, labels in answers_of(prepared, choice).items():
        np.testing.assert_array_equal(answers.labels[task], labels, err_msg=task)


@pytest.mark.parametrize(
    "options", [Options(soup=True), Options(all_data=True), Options(fold=ALL_FOLDS)], ids=("soup", "all data", "all folds")
)
def test_what_needs_trials_that_ended_takes_none_that_was_stopped(cut: tuple[Prepared, TrialRun], options: Options) -> None:
    with pytest.raises(UserError, match=r"no (finished )?trial of (colour|shape)"):
        gather(Opened(cut[0]), options)


def test_a_voter_that_goes_on_during_an_export_is_refused(cut: tuple[Prepared, TrialRun], tmp_path: Path) -> None:
    prepared, run = cut
    opened, stale = Opened(prepared), Opened(prepared).trial(run.folder.id)
    choice = choose(gather(opened, PLAIN), PLAIN)
    assert stale.record == run.record
    before = run.record.weights
    while run.record.weights == before:
        run.step()
    with pytest.raises(UserError, match=f"trial {run.folder.id} .* went on during this export") as told, opened.unchanged():
        export(opened, choice, tmp_path)
    assert len(told.value.faults) == 1
    assert not (tmp_path / "submission.csv").exists()
    with pytest.raises(UserError, match="went on"):
        complete_opened(prepared, stale, ["identity", "hflip"], parts=["test"])
    assert not stale.predictions.folder.exists(), "what the new weights say is not kept under the old ones' name"
