"""A trial's parameters resolve back to the trial, and every variation of it changes one setting."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from safetensors.torch import save_file

from competitions.prepare import Prepared
from competitions.targets import targets
from ledger.trials import ALL_DATA, Record, TrialFolder
from search.variations import around, base_config, changed, check_base, parameters_of, setting_changed
from search_spaces import Space, known_spaces, load_space
from system.errors import UserError
from system.paths import CompetitionPaths
from tests.search_spaces.test_spaces import loaded
from trainables.backbones import build, keep_weights
from trainables.config import DEFAULTS, Question, TrialConfig, only_with, resolve

QUESTION = Question("tiny", "colour", {"colour": 3}, "macro_f1", "0" * 16, "groups", 1, 5, 32, threads=2)
STARTS: dict[str, dict[str, Any]] = {
    "from scratch": {"backbone": "resnet18", "batch_size": 64, "micro_batch": 16, "precision": "bf16"},
    "published": {"backbone": "resnet18", "pretrained": True, "optimizer": "sgd"},
    "published by tag": {"backbone": "resnet18.a1_in1k", "pretrained": True, "loss": "focal", "focal_gamma": 0.7},
    "published without a tag": {"backbone": "test_resnet", "pretrained": True, "epochs": 1, "warmup_epochs": 4.0},
    "published in a package": {"backbone": "tf_efficientnet_lite0", "pretrained": True},
    "a file": {"backbone": "test_vit", "weights_file": "FILE", "loss": "label_smoothing", "drop_rate": 0.2},
}


def draws(space: Space, n: int, seed: int = 0) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for parameters in space.first:
        study.enqueue_trial(dict(parameters))
    return [space.suggest(study.ask()) for _ in range(n)]


def differing(one: TrialConfig, other: TrialConfig) -> set[str]:
    ours, theirs = one.json(), other.json()
    return {name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)}


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("name", known_spaces())
def test_every_draw_of_every_space_comes_back_by_its_parameters(name: str, gpu: bool, tmp_path: Path) -> None:
    for drawn in draws(loaded(name), 40):
        config = resolve(drawn, replace(QUESTION, gpu=gpu))
        for elsewhere in (False, True):  # precision is the trial's own, wherever it goes on
            assert resolve(parameters_of(config, tmp_path), replace(QUESTION, gpu=elsewhere)) == config


@pytest.mark.parametrize("name", STARTS)
def test_start_weights_come_back_whatever_they_are(name: str, tmp_path: Path) -> None:
    drawn = dict(STARTS[name])
    if "weights_file" in drawn:
        drawn["weights_file"] = str(tmp_path / "w.safetensors")
        save_file(build("test_vit", {"colour": 3}, 32).state_dict(), drawn["weights_file"])
        keep_weights(drawn["weights_file"], tmp_path / "weights")
    config = resolve(drawn, QUESTION)
    assert resolve(parameters_of(config, tmp_path / "weights"), QUESTION).trial_id == config.trial_id


def test_weights_that_are_gone_are_named(tmp_path: Path) -> None:
    config = replace(resolve({"backbone": "test_vit"}, QUESTION), weights="ab" * 32)
    with pytest.raises(UserError, match="the start weights abababababab are not in this storage"):
        parameters_of(config, tmp_path)


@pytest.mark.parametrize("name", known_spaces())
def test_a_variation_changes_its_setting_and_what_belongs_to_it_alone(name: str, tmp_path: Path) -> None:
    seen = set()
    for start in draws(loaded(name), 3):
        base = resolve(start, QUESTION)
        for drawn in draws(loaded(name), 8, seed=1):
            for setting in DEFAULTS:
                other = resolve(changed(parameters_of(base, tmp_path), setting, drawn), QUESTION)
                if (different := differing(base, other)) and (one := setting_changed(sorted(different))) is not None:
                    seen.add(one)
                assert not different or setting_changed(sorted(different)), f"{setting} changed {different}"
    probe = {"class_weights"} if name == "auto" else {"class_weights", "image_size"}  # auto settles the size by the photos
    assert (probe if base.is_probe else {"lr", "augmentation"}) <= seen


CHANGES: dict[str, tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]] = {
    "its own settings go with a loss": (
        {"loss": "focal", "focal_gamma": 2.0},
        "loss",
        {"loss": "cross_entropy"},
        {"loss": "cross_entropy"},
    ),
    "and come with it": (
        {"loss": "cross_entropy"},
        "loss",
        {"loss": "focal", "focal_gamma": 1.5},
        {"loss": "focal", "focal_gamma": 1.5},
    ),
    "the same loss with other settings": (
        {"loss": "focal", "focal_gamma": 2.0},
        "loss",
        {"loss": "focal", "focal_gamma": 1.5},
        {"loss": "focal", "focal_gamma": 1.5},
    ),
    "an optimizer brings its rate": (
        {"optimizer": "adamw", "lr": 0.003},
        "optimizer",
        {"optimizer": "sgd", "lr": 0.1, "weight_decay": 9.0},
        {"optimizer": "sgd", "lr": 0.1},
    ),
    "the same optimizer does not": (
        {"optimizer": "adamw", "lr": 0.003},
        "optimizer",
        {"optimizer": "adamw", "lr": 0.1},
        {"optimizer": "adamw", "lr": 0.003},
    ),
    "a rate of another optimizer is no rate": (
        {"optimizer": "adamw", "lr": 0.003},
        "lr",
        {"optimizer": "sgd", "lr": 0.1},
        {"optimizer": "adamw", "lr": 0.003},
    ),
    "a backbone starts as the base did": (
        {"backbone": "a", "pretrained": True},
        "backbone",
        {"backbone": "b"},
        {"backbone": "b", "pretrained": True, "weights_file": None},
    ),
    "or as the space says": (
        {"backbone": "a", "pretrained": True},
        "backbone",
        {"backbone": "b", "pretrained": False},
        {"backbone": "b", "pretrained": False, "weights_file": None},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_goes_with_a_change(name: str) -> None:
    base, setting, drawn, wanted = CHANGES[name]
    assert changed(base, setting, drawn) == wanted


# ---- a base in a ledger


@pytest.fixture
def base(tiny: Prepared) -> TrialConfig:
    question = replace(QUESTION, data=tiny.data_fingerprint(targets(tiny.competition)["colour"]))
    return resolve({**draws(load_space("quick"), 1)[0], "epochs": 14}, question)


def question_of(base: TrialConfig, **changes: Any) -> Question:
    return replace(QUESTION, data=base.data, **changes)


def asked(space: Space, n: int) -> list[dict[str, Any]]:
    return [space.suggest(SimpleTrial(number)) for number in range(n)]


class SimpleTrial:
    """An Optuna trial of this number."""

    def __new__(cls, number: int) -> Any:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
        for _ in range(number):
            study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
        return study.ask()


def test_suggestion_0_is_the_base_and_settings_take_turns_whatever_the_seed(tiny: Prepared, base: TrialConfig) -> None:
    vary = ("loss", "augmentation", "lr")
    spaces = [around(load_space("quick"), base, vary, question_of(base, seed=seed), tiny) for seed in (5, 6)]
    first, other = (asked(space, 10) for space in spaces)
    assert first == other
    configs = [resolve(parameters, question_of(base)) for parameters in first]
    assert configs[0].trial_id == base.trial_id
    allowed = {name: {name, *(s for s, (owner, _) in only_with().items() if owner == name)} for name in vary}
    for number, config in enumerate(configs[1:]):
        different = differing(base, config)
        assert different, "a turn was lost on the base itself"
        assert different <= allowed[vary[number % 3]]
    assert spaces[0].max_epochs == 14, "a scheduler must not end a trial before its planned epochs"
    assert spaces[0].first == ()


def test_names_that_cannot_be_varied_are_all_refused_with_those_that_can(tiny: Prepared, base: TrialConfig) -> None:
    with pytest.raises(UserError) as wrong:
        around(load_space("quick"), base, ("los", "batch_size", "lr", "lr"), question_of(base), tiny)
    said = "\n".join(wrong.value.faults)
    assert len(wrong.value.faults) == 3
    for text in (
        "unknown setting 'los'; did you mean loss",
        "'lr' stands twice",
        "never draws another batch_size",
        "it varies backbone,",
    ):
        assert text in said


def test_a_base_of_another_recipe_or_other_data_is_refused(tiny: Prepared, base: TrialConfig) -> None:
    with pytest.raises(UserError, match="recipe 0 then"):
        around(load_space("quick"), replace(base, recipe=0), ("lr",), question_of(base), tiny)
    check_base(base, tiny)
    with pytest.raises(UserError, match="learned from other photos, labels or folds than tiny has today"):
        check_base(replace(base, data="f" * 16), tiny)


def test_a_base_must_be_there_be_finished_and_have_a_score(base: TrialConfig, tmp_path: Path) -> None:
    paths = CompetitionPaths(tmp_path / "tiny")

    def keep(config: TrialConfig, **facts: Any) -> str:
        folder = TrialFolder(paths.trials / config.trial_id)
        folder.write_config(config.json())
        folder.write_record(Record(config.trial_id, config.config_id, "colour", config.fold, config.seed, config.epochs, **facts))
        return config.trial_id

    done = keep(base, epochs_done=14, score=0.5)
    half = keep(replace(base, seed=9), epochs_done=3, score=0.5)
    burst = keep(replace(base, seed=8), epochs_done=3, diverged=True)
    on_all = keep(replace(base, fold=ALL_DATA), epochs_done=14)
    assert base_config(paths, done) == base
    for name, text in ((half, "has 3 of 14 epochs"), (burst, "diverged"), (on_all, "no score"), ("nope", "unknown trial 'nope'")):
        with pytest.raises(UserError, match=text):
            base_config(paths, name)
