"""A study's summary counts what it trained itself, whoever trained the rest of its trials."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from competitions.prepare import Prepared
from competitions.targets import targets
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import FROM, Record
from search.outcome import outcome_of, trained_by
from system.paths import CompetitionPaths
from trainables.attach import attach
from trainables.config import Question, TrialConfig, resolve
from trainables.training import TrialRun

SETTINGS = {"backbone": "test_vit", "epochs": 5, "batch_size": 16, "augmentation": "none", "lr": 3e-3}


@pytest.fixture
def question(tiny: Prepared) -> Question:
    target = targets(tiny.competition)["colour"]
    return Question("tiny", "colour", target.heads, target.metric, tiny.data_fingerprint(target), "groups", 0, 0, 32)


def train(tiny: Prepared, config: TrialConfig, study: str, epochs: int, trials: Path) -> None:
    """So many epochs of a trial, in a process of this study that is killed afterwards."""
    run = TrialRun(config, attach(tiny, config, trials=trials, study=study))
    for _ in range(epochs):
        run.step()


def suggested(paths: CompetitionPaths, name: str, config: TrialConfig) -> StudyFolder:
    study = StudyFolder(paths.studies / name)
    study.write_suggestion(Suggestion(1, "colour", config.trial_id, {}, settings=config.json()))
    study.log("started", config.trial_id)
    return study


def test_each_study_counts_the_epochs_that_it_trained(tiny: Prepared, question: Question, tmp_path: Path) -> None:
    config, paths = resolve(SETTINGS, question), CompetitionPaths(tmp_path)
    for study, epochs in (("a", 1), ("b", 2), ("a", 1), ("a", 1)):
        train(tiny, config, study, epochs, paths.trials)
    found = {name: outcome_of(suggested(paths, name, config), paths, {"colour": question})["colour"] for name in "abc"}
    assert {name: facts["epochs"] for name, facts in found.items()} == {"a": 3, "b": 2, "c": 0}
    assert found["a"]["seconds"] > 0
    assert found["c"]["seconds"] == 0
    assert {facts["best"]["trial_id"] for facts in found.values()} == {config.trial_id}, "its score counts for all of them"


def test_a_session_that_begins_again_as_it_was_is_one_session(tiny: Prepared, question: Question, tmp_path: Path) -> None:
    config = resolve(SETTINGS, question)
    context = attach(tiny, config, trials=tmp_path, study="a")
    for _ in range(3):
        TrialRun(config, context).step()
    (session,) = context.folder.provenance()
    assert (session["study"], session[FROM]) == ("a", {"epochs": 0, "seconds": 0.0})


RECORD = Record("t", "c", "colour", 0, 0, 9, epochs_done=9, seconds=90.0)
A = {"study": "a", FROM: {"epochs": 0, "seconds": 0.0}}
B = {"study": "b", FROM: {"epochs": 4, "seconds": 40.0}}


@pytest.mark.parametrize(
    ("sessions", "unnamed", "epochs"),
    [
        ([], True, 9),
        ([], False, 0),
        ([{"commit": "before studies were named"}], True, 9),
        ([{"commit": "before studies were named"}], False, 0),
        ([{"commit": "before studies were named"}, B], True, 4),
        ([A], True, 9),
        ([A, B], True, 4),
        ([B], False, 0),
    ],
)
def test_sessions_of_before_are_those_of_the_study_that_started_the_trial(
    sessions: list[dict[str, Any]], unnamed: bool, epochs: int
) -> None:
    assert trained_by("a", RECORD, sessions, unnamed=unnamed) == (epochs, 10.0 * epochs)


def test_a_trial_that_fell_back_to_an_earlier_checkpoint_counts_no_epoch_below_zero() -> None:
    record = replace(RECORD, epochs_done=3, seconds=30.0)
    assert trained_by("b", record, [A, B], unnamed=False) == (0, 0.0)
