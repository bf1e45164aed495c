"""A study that begins from the whole ledger: what fits is told by name and value, and told the same again whatever comes later."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from ledger.studies import StudyFolder, Suggestion
from ledger.trials import Record, TrialFolder
from search.optuna_trials import distributions, fit
from search.tune.scheduler import TargetScheduler
from search.tune.searcher import LedgerSearcher
from search.warm_start import EarlierTrial, collect, of_plan, tell
from search_spaces import Space
from system.paths import CompetitionPaths
from trainables.config import Question, resolve

ASKED = Question("tiny", "colour", {"colour": 2}, metric="macro_f1", data="d", split="s", fold=0, seed=0, image_size=32)
QUESTIONS = {"colour": ASKED}


def suggest(trial: Any) -> dict[str, Any]:
    loss = trial.suggest_categorical("loss", ["cross_entropy", "focal"])
    settings = {"backbone": "test_vit", "epochs": 4, "loss": loss, "lr": trial.suggest_float("lr", 1e-3, 1e-1, log=True)}
    return settings | ({"focal_gamma": trial.suggest_float("focal_gamma", 1.0, 3.0)} if loss == "focal" else {})


SPACE = Space("new", suggest, 4, 1, 2, "")
KNOWN = distributions(SPACE)


class EarlierLedger:
    """Trials of earlier studies, written as their workers and drivers leave them."""

    def __init__(self, root: Path) -> None:
        self.paths = CompetitionPaths(root / "tiny")
        self.number = 0

    def trial(
        self,
        parameters: Mapping[str, Any],
        *,
        study: str = "old",
        event: str = "finished",
        question: Question = ASKED,
        asked: Mapping[str, Any] | None = None,
        plan: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> str:
        self.number += 1
        config = resolve({"backbone": "test_vit", "epochs": 4, "batch_size": 8 + self.number, **parameters}, question)
        folder = TrialFolder(self.paths.trials / config.trial_id)
        folder.write_config(config.json())
        score = self.number / 100
        record = Record(
            folder.id, "", "colour", question.fold, question.seed, config.epochs, config.epochs, score, 1, [score] * 4
        )
        folder.write_record(replace(record, **facts))
        kept = StudyFolder(self.paths.studies / study)
        kept.write_plan(plan or {"questions": {"colour": {}}, "request": {}})
        attributes = {"params": dict(parameters if asked is None else asked)}
        kept.write_suggestion(
            Suggestion(self.number, "colour", folder.id, dict(parameters), attributes=attributes, settings=config.json())
        )
        kept.log("started", folder.id)
        kept.log(event, folder.id, epoch=4)
        return folder.id

    def collect(self) -> dict[str, EarlierTrial]:
        found, self.left = collect(self.paths, QUESTIONS, KNOWN)
        return {one.trial_id: one for one in found["colour"]}


def searcher(root: Path, told: Mapping[str, list[EarlierTrial]], **changes: Any) -> LedgerSearcher:
    given: dict[str, Any] = {"suggest": suggest, "n_trials": 3, "seed": 3, "searcher": "tpe", "prepare": lambda drawn: None}
    return LedgerSearcher(
        QUESTIONS, study=StudyFolder(root / "new"), trials=root / "tiny/trials", earlier=told, **(given | changes)
    )


def test_every_ended_trial_of_the_question_is_told_and_the_rest_is_counted_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = EarlierLedger(tmp_path)
    whole = ledger.trial({"lr": 0.01, "loss": "focal", "focal_gamma": 2.0})
    beyond = ledger.trial({"lr": 0.5, "loss": "focal"}, study="wide", question=replace(ASKED, seed=7))
    pruned = ledger.trial({"lr": 0.02}, event="pruned", epochs_done=2, curve=[0.1, 0.2])
    diverged = ledger.trial({"lr": 0.03}, event="diverged", diverged=True, score=None, epochs_done=1, curve=[])
    ledger.trial({"lr": 0.04}, event="failed", epochs_done=1, curve=[0.1])
    ledger.trial({"drop_rate": 0.1})
    ledger.trial({"lr": 0.01}, question=replace(ASKED, data="other"))
    ledger.trial({"lr": 0.01}, question=replace(ASKED, metric="accuracy"))
    ledger.trial({"lr": 0.01}, question=replace(ASKED, fold=1))
    ledger.trial({"lr": 0.01}, study="from weights", plan={"questions": {"colour": {"start_weights": "f" * 64}}})
    told = ledger.collect()
    assert {trial: (one.parameters, one.state) for trial, one in told.items()} == {
        whole: ({"lr": 0.01, "loss": "focal", "focal_gamma": 2.0}, "finished"),
        beyond: ({"loss": "focal"}, "finished"),
        pruned: ({"lr": 0.02}, "pruned"),
        diverged: ({"lr": 0.03}, "diverged"),
    }
    with caplog.at_level(logging.INFO, "podium.search"):
        tell({"colour": list(told.values())}, ledger.left)
    assert caplog.messages == [
        "warm start, colour: 4 earlier trials taken over; left out: 1 another fold, 1 another metric, 1 not ended, 1 other photos, "
        "labels or folds, 1 with parameters that no study here recorded for this start, 1 without a parameter of this space"
    ]


def test_what_was_drawn_around_a_base_and_thrown_away_is_not_told(tmp_path: Path) -> None:
    ledger = EarlierLedger(tmp_path)
    plan = {"questions": {"colour": {}}, "request": {"base": "0" * 12, "vary": ["loss"]}}
    around = ledger.trial({"lr": 0.01, "loss": "focal"}, asked={"lr": 0.09, "loss": "focal"}, plan=plan)
    assert ledger.collect()[around].parameters == {"lr": 0.01, "loss": "focal"}


def test_the_sampler_knows_what_was_taken_over_and_again_when_the_ledger_is_gone(tmp_path: Path) -> None:
    ledger = EarlierLedger(tmp_path)
    for number in range(12):
        ledger.trial({"lr": 0.002 * (number + 1), "loss": "cross_entropy"})
    ledger.trial({"lr": 0.02}, event="pruned", epochs_done=2, curve=[0.1, 0.05])
    told = {"colour": list(ledger.collect().values())}
    warm, cold = searcher(tmp_path / "w", told), searcher(tmp_path / "c", {})
    trials = warm._targets["colour"].study.trials
    assert sorted(trial.state for trial in trials) == sorted([TrialState.COMPLETE] * 12 + [TrialState.PRUNED])
    assert {trial.value: trial.params["lr"] for trial in trials if trial.value} == {
        n / 100: pytest.approx(0.002 * n) for n in range(1, 13)
    }
    assert next(t for t in trials if t.state == TrialState.PRUNED).intermediate_values == {1: 0.1, 2: 0.1}
    first = warm.suggest("ray1")
    assert first["settings"]["lr"] != cold.suggest("ray1")["settings"]["lr"]
    again = of_plan({"told": {"colour": [one.json() for one in told["colour"]]}}, None)
    assert again == told
    assert searcher(tmp_path / "a", again).suggest("ray1") == first
    assert len(warm._targets["colour"].study.trials) == 14


def test_a_known_configuration_is_answered_and_not_trained_in_a_warm_study_too(tmp_path: Path) -> None:
    cold = searcher(tmp_path, {}, searcher="random")
    first = cold.suggest("ray1")
    ledger = EarlierLedger(tmp_path)
    folder = TrialFolder(ledger.paths.trials / first["trial_id"])
    folder.write_config(first["settings"])
    folder.write_record(Record(folder.id, "", "colour", 0, 0, 4, 4, 0.5, 1, [0.5] * 4))
    kept = StudyFolder(ledger.paths.studies / "old")
    kept.write_plan({"questions": {"colour": {}}, "request": {}})
    kept.write_suggestion(cold._folder.suggestions()[0])
    kept.log("finished", folder.id)
    told = {"colour": list(ledger.collect().values())}
    assert [one.trial_id for one in told["colour"]] == [folder.id]
    cold._folder.path.rename(tmp_path / "gone")
    warm = searcher(tmp_path, told, searcher="random")
    assert warm.suggest("ray1")["trial_id"] != folder.id
    assert warm._folder.statuses()[folder.id] == "finished"


def test_only_curves_over_as_many_epochs_stand_in_the_rungs(tmp_path: Path) -> None:
    ledger = EarlierLedger(tmp_path)
    ledger.trial({"lr": 0.01}, curve=[0.5] * 4)
    ledger.trial({"lr": 0.02}, event="pruned", epochs_done=1, curve=[0.3])
    ledger.trial({"lr": 0.03, "epochs": 8}, curve=[0.9] * 8, epochs_done=8)
    ledger.trial({"lr": 0.04}, event="diverged", diverged=True, score=None, epochs_done=1, curve=[])
    told = {"colour": list(ledger.collect().values())}
    assert len(told["colour"]) == 4
    study = StudyFolder(tmp_path / "new")
    scheduler = TargetScheduler(["colour"], "asha", SPACE, study, ledger.paths.trials, earlier=told)
    rungs = {milestone: sorted(scores.values()) for milestone, scores in scheduler._of["colour"]._brackets[0]._rungs}
    assert (rungs[1], rungs[2], rungs[4]) == ([0.3, 0.5], [0.5], [0.5])


VALUES = st.one_of(st.floats(-2, 2), st.integers(-3, 3), st.booleans(), st.none(), st.sampled_from(["a", "b", ""]))


@given(st.dictionaries(st.sampled_from(["x", "y", "z", "n"]), VALUES))
def test_whatever_is_kept_optuna_takes(parameters: dict[str, Any]) -> None:
    known = {
        "x": [FloatDistribution(-1.0, 1.0), FloatDistribution(-1.0, 2.0)],
        "y": [CategoricalDistribution(["a", None, 1, True])],
        "n": [IntDistribution(-2, 2, step=2)],
    }
    params, held = fit(parameters, known)
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(value=0.0, params=params, distributions=held))
    assert study.trials[0].params == params
    assert params.items() <= parameters.items()
    for name in parameters.keys() - params.keys():
        value = parameters[name]
        assert name == "z" or not (name == "x" and isinstance(value, float) and -1 <= value <= 2)
        assert not (name == "y" and (value is None or value == "a"))
        assert not (name == "n" and not isinstance(value, bool) and value in (-2, 0, 2))
