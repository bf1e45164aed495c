"""A trial's siblings: its own settings and seed on all other folds; what would have learned the photos it is judged on is left out."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from competitions.loading import load_competition
from competitions.prepare import Prepared, prepare
from competitions.targets import targets
from ledger.studies import StudyFolder
from ledger.trials import ALL_DATA, Record, TrialFolder
from search.outcome import outcome_of
from search.plan import Plan, dry_run, make_plan, plan_json
from search.refit import by_fold, write_members
from search.request import EVERY_FOLD, Request
from system.errors import UserError
from system.paths import competition_paths
from tests.conftest import TINY
from trainables.attach import weights_store
from trainables.checkpoint import write_tensors
from trainables.config import RECIPE, Question, TrialConfig, resolve


class RefitLedger:
    """A ledger of finished trials that nobody had to train."""

    def __init__(self, root: Path) -> None:
        self.yaml, self.storage = root / "tiny.yaml", root / "runs"
        self.yaml.write_text(TINY + "splits: {random: {folds: 3, by_group: false}, holdout20: {holdout: 0.2}}\n")
        self.prepared: Prepared = prepare(load_competition(str(self.yaml)), competition_paths("tiny", self.storage))

    def config(self, target: str = "colour", **changes: Any) -> TrialConfig:
        one = targets(self.prepared.competition)[target]
        question = Question("tiny", target, one.heads, one.metric, self.prepared.data_fingerprint(one), "groups", 0, 0, 32)
        return replace(resolve({"backbone": "test_vit", "epochs": 2, "batch_size": 16}, question), **changes)

    def keep(self, config: TrialConfig, score: float | None) -> TrialConfig:
        folder = TrialFolder(self.prepared.paths.trials / config.trial_id)
        folder.write_config(config.json())
        curve = [] if score is None else [score, score]
        folder.write_record(
            Record(config.trial_id, config.config_id, config.target, config.fold, config.seed, 2, 2, score, 1, curve, weights="w")
        )
        return config

    def started_from_a_trial(self, **changes: Any) -> TrialConfig:
        name = "ab" * 32
        write_start(weights_store(self.prepared) / f"{name}.safetensors", heads={"colour": 3})
        return self.config(weights=name, **changes)

    def plan(self, **asked: Any) -> Plan:
        return make_plan(Request(str(self.yaml), study="s", **asked), self.storage)


def write_start(path: Path, **header: Any) -> None:
    """A weights file; with `heads` it is that of a trial."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, {"a": torch.zeros(1)}, header)


@pytest.fixture
def ledger(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RefitLedger:
    monkeypatch.setenv("PODIUM_DATA", str(tiny_data))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    return RefitLedger(tmp_path)


def begun(plan: Plan) -> StudyFolder:
    plan.study.write_plan(plan_json(plan, plan.prepared.save()))
    write_members(plan.study, plan.members)
    return plan.study


def test_a_base_is_trained_on_every_other_fold_with_its_own_settings_and_seed(ledger: RefitLedger) -> None:
    base = ledger.keep(ledger.config(fold=2, seed=7, threads=2, lr=0.004), 0.5)
    plan = ledger.plan(all_folds=True, base=base.trial_id)
    assert plan.members == {"colour": [replace(base, fold=fold) for fold in (0, 1, 3)]}
    assert {one.config_id for one in plan.members["colour"]} == {base.config_id}
    assert (plan.request.cpus_per_trial, plan.request.scheduler) == (2, "fifo"), "nothing is stopped early"
    told = dry_run(plan)
    assert told["members"]["colour"] == [
        {"trial_id": replace(base, fold=fold).trial_id, "fold": fold, "seed": 7} for fold in (0, 1, 3)
    ]
    assert not plan.study.path.exists()


def test_where_nobody_names_targets_trials_of_several_heads_stand_for_tasks_without_any(ledger: RefitLedger) -> None:
    both = ledger.keep(ledger.config("both"), 0.5)
    assert ledger.plan(all_data=True).members == {"both": [replace(both, fold=ALL_DATA)]}
    shape = ledger.keep(ledger.config("shape"), 0.5)
    assert {one.target for configs in ledger.plan(all_data=True).members.values() for one in configs} == {"both", shape.target}


def test_the_best_of_each_target_on_the_fold_have_siblings(ledger: RefitLedger) -> None:
    scores = {0.001: 0.5, 0.002: 0.9, 0.003: 0.7}
    by_lr = {lr: ledger.keep(ledger.config(lr=lr, fold=1), score) for lr, score in scores.items()}
    ledger.keep(ledger.config(lr=0.004, fold=0), 0.95)  # on another fold: scores do not compare
    shape = ledger.keep(ledger.config("shape", fold=1), 0.4)
    members = ledger.plan(all_folds=True, fold=1, trials=2).members
    assert [(one.lr, one.fold) for one in members["colour"]] == [(lr, fold) for lr in (0.002, 0.003) for fold in (0, 2, 3)]
    assert members["shape"] == [replace(shape, fold=fold) for fold in (0, 2, 3)]
    (only,) = ledger.plan(all_data=True, fold=1, targets=("colour",)).members["colour"]
    assert only == replace(by_lr[0.002], fold=ALL_DATA)


def test_a_study_goes_on_with_the_siblings_it_began_with_whatever_has_become_better(ledger: RefitLedger) -> None:
    ledger.keep(ledger.config(), 0.5)
    first = ledger.plan(all_folds=True, targets=("colour",))
    study = begun(first)
    assert [suggestion.settings["fold"] for suggestion in study.suggestions()] == [1, 2, 3]
    ledger.keep(ledger.config(lr=0.005), 0.9)
    again = ledger.plan(resume=True)
    assert (again.members, again.questions, again.changes) == (first.members, first.questions, ())
    begun(again)
    assert len(study.suggestions()) == 3
    assert all(again.compares(suggestion) for suggestion in study.suggestions()), "siblings of every fold are this study's"
    assert again.questions["colour"].fold == EVERY_FOLD
    with pytest.raises(UserError, match="study 's' trains on all folds what it was started with; start another with --trials N"):
        ledger.plan(resume=True, trials=3)


def test_what_is_there_of_a_member_is_told_by_fold_and_no_fold_is_called_the_best(ledger: RefitLedger) -> None:
    base = ledger.keep(ledger.config(), 0.5)
    plan = ledger.plan(all_folds=True, targets=("colour",))
    study = begun(plan)
    ledger.keep(replace(base, fold=2), 0.75)
    study.log("failed", replace(base, fold=3).trial_id, reason="OSError: gone")
    (member,) = by_fold(plan.prepared, plan.members, study.statuses())["colour"]
    assert (member["config_id"], member["seed"], member["score"]) == (base.config_id, 0, 0.625)
    assert [(one["fold"], one["status"], one["score"]) for one in member["folds"]] == [
        (0, "finished", 0.5),
        (1, "running", None),
        (2, "running", 0.75),  # of a trial that is there, until the study has looked
        (3, "failed", None),
    ]
    assert outcome_of(study, plan.paths, plan.questions)["colour"]["trials"] == {"running": 2, "failed": 1}


def test_what_learned_photos_of_the_other_folds_by_its_start_has_no_siblings_there(
    ledger: RefitLedger, caplog: pytest.LogCaptureFixture
) -> None:
    leaking = ledger.keep(ledger.started_from_a_trial(), 0.9)
    said = f"trial {leaking.trial_id} started from a trial that learned photos of the other folds"
    with pytest.raises(UserError, match=f"{said}, on which it could not be judged; give another trial"):
        ledger.plan(all_folds=True, base=leaking.trial_id)
    with pytest.raises(UserError, match=f"none of the 1 finished trials of colour on fold 0 will do: {said}"):
        ledger.plan(all_folds=True, targets=("colour",))
    honest = ledger.keep(ledger.config(), 0.5)
    with caplog.at_level(logging.WARNING, logger="podium.search"):
        members = ledger.plan(all_folds=True, targets=("colour",)).members["colour"]
    assert members == [replace(honest, fold=fold) for fold in (1, 2, 3)]
    assert said in caplog.text
    assert ledger.plan(all_data=True, base=leaking.trial_id).members["colour"] == [replace(leaking, fold=ALL_DATA)], (
        "nobody judges it"
    )


def test_a_start_from_a_file_of_anybody_else_may_have_siblings_and_one_that_is_gone_not(ledger: RefitLedger) -> None:
    name = "cd" * 32
    own = ledger.keep(ledger.config(weights=name), 0.5)
    with pytest.raises(UserError, match=f"trial {own.trial_id}: the start weights cdcdcdcdcdcd are not in this storage"):
        ledger.plan(all_folds=True, base=own.trial_id)
    write_start(weights_store(ledger.prepared) / f"{name}.safetensors")
    assert len(ledger.plan(all_folds=True, base=own.trial_id).members["colour"]) == 3


@pytest.mark.parametrize("where", ["all_folds", "all_data"])
def test_a_trial_of_another_recipe_would_be_another_trial_under_its_name(where: str, ledger: RefitLedger) -> None:
    old = ledger.keep(ledger.config(recipe=RECIPE - 1), 0.5)
    with pytest.raises(UserError, match=f"trained by recipe {RECIPE - 1}, and this Podium trains by recipe {RECIPE}"):
        ledger.plan(base=old.trial_id, **{where: True})


def test_a_fold_without_photos_of_the_target_is_passed_over(ledger: RefitLedger, caplog: pytest.LogCaptureFixture) -> None:
    target = targets(ledger.prepared.competition)["shape@red"]
    folds = range(4)
    empty = [fold for fold in folds if ledger.prepared.empty_heads(target, fold)]
    base = ledger.keep(ledger.config("shape@red", fold=next(fold for fold in folds if fold not in empty)), 0.5)
    members = ledger.plan(all_folds=True, base=base.trial_id).members["shape@red"]
    assert [one.fold for one in members] == [fold for fold in folds if fold not in (*empty, base.fold)]
    assert ("no photos to train or to judge it on" in caplog.text) == bool(empty)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a holdout has no other fold": (
        {"all_folds": True, "split": "holdout20"},
        "--all-folds needs a split of several folds, 'holdout20' has 1, a holdout; give --split groups or random",
    ),
    "both": ({"all_folds": True, "all_data": True}, "--all-data holds no fold out and --all-folds each; give one of the two"),
    "with --vary": ({"all_folds": True, "vary": ("lr",)}, "--vary changes settings and --all-folds keeps them"),
    "a base and the best": (
        {"all_folds": True, "base": "BASE", "trials": 3},
        "--all-folds trains either the trial of --base or the best --trials N of each target; leave one out",
    ),
    "--warm-start": ({"all_folds": True, "warm_start": True}, "leave it out with --base, --all-data and --all-folds"),
    "a base on all data": ({"all_folds": True, "base": "WHOLE"}, "learned from all photos and has no score to compare with"),
    "nothing is finished": ({"all_folds": True, "fold": 3}, "no finished trial of colour, shape on fold 3 for these data; run: "),
    "a split nothing was trained on": ({"all_folds": True, "split": "random"}, "no finished trial of colour, shape on fold 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_words(name: str, ledger: RefitLedger) -> None:
    asked, says = REFUSED[name]
    base, whole = ledger.keep(ledger.config(), 0.5), ledger.keep(ledger.config(fold=ALL_DATA), None)
    named = {"BASE": base.trial_id, "WHOLE": whole.trial_id}
    with pytest.raises(UserError) as refused:
        ledger.plan(**{key: named.get(value, value) if key == "base" else value for key, value in asked.items()})
    assert says in "\n".join(refused.value.faults)
