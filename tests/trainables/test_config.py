"""The name of a trial is what it learns, and what a space draws is refused with every fault at once."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from system.errors import UserError
from trainables import config as module
from trainables.config import DEFAULTS, RANGES, Question, TrialConfig, check_parameters, named, only_with, resolve
from trainables.losses import LOSSES
from trainables.mixing import MIXES
from trainables.optimizers import OPTIMIZERS
from trainables.probes.heads import PROBES

QUESTION = Question("tiny", "colour", {"colour": 3}, "macro_f1", "0123456789abcdef", "groups", 0, 0, 32)
BASE = {"backbone": "test_vit"}
OTHER: dict[str, Any] = {
    "backbone": "test_byobnet",
    "epochs": 11,
    "image_size": 48,
    "batch_size": 33,
    "micro_batch": 16,
    "optimizer": "sgd",
    "lr": 2e-3,
    "weight_decay": 0.02,
    "warmup_epochs": 2.0,
    "loss": "focal",
    "class_weights": "sqrt",
    "sampler": "balanced",
    "augmentation": "strong",
    "ema_decay": 0.9,
    "drop_rate": 0.1,
    "precision": "bf16",
    "layout": "channels_last",
    "stem_stride": 1,
    "drop_path": 0.1,
    "head_lr_factor": 10.0,
    "layer_decay": 0.8,
    "frozen_epochs": 2,
    "clip_norm": 1.0,
    "mix": "mixup",
}
"""For each setting that stands alone, a value other than its default."""


def test_every_setting_changes_the_name_and_the_member() -> None:
    base = resolve(BASE, QUESTION)
    weights = {"pretrained", "weights_file"}  # test_backbones.py
    assert set(OTHER) | set(only_with()) | weights | {"probe", "head_start"} == set(DEFAULTS)
    changed = {name: resolve({**BASE, name: value}, QUESTION) for name, value in OTHER.items()}
    for name, (owner, defaults) in only_with().items():
        if owner == "probe":  # tests/trainables/probes/test_run.py
            continue
        value, default = next(iter(defaults.items()))
        changed[name] = resolve({**BASE, owner: value, name: default / 2}, QUESTION)
    for kind in ("trial_id", "config_id"):
        assert len({getattr(one, kind) for one in [base, *changed.values()]}) == 1 + len(changed)


def test_heads_stand_in_the_order_of_their_names_whoever_gives_them() -> None:
    heads = {"shape": 2, "colour": 3}
    config = resolve(BASE, replace(QUESTION, heads=heads))
    again = TrialConfig.from_json(json.loads(json.dumps(config.json(), sort_keys=True)))
    backwards = TrialConfig.from_json({**config.json(), "heads": heads})
    assert list(config.heads) == list(again.heads) == list(backwards.heads) == ["colour", "shape"]
    assert config.trial_id == again.trial_id == backwards.trial_id


@pytest.mark.parametrize("given", [{"fold": 1}, {"seed": 1}, {"fold": 2, "seed": 5}])
def test_fold_and_seed_change_the_trial_and_not_its_member(given: dict[str, int]) -> None:
    base, other = resolve(BASE, QUESTION), resolve(BASE, replace(QUESTION, **given))
    assert base.trial_id != other.trial_id
    assert base.config_id == other.config_id


@pytest.mark.parametrize(
    "given",
    [{"data": "f" * 16}, {"target": "shape"}, {"split": "photos"}, {"heads": {"colour": 4}}, {"threads": 2}, {"gpu": True}],
)
def test_what_the_study_decides_is_part_of_both_names(given: dict[str, Any]) -> None:
    base, other = resolve(BASE, QUESTION), resolve(BASE, replace(QUESTION, **given))
    assert base.trial_id != other.trial_id
    assert base.config_id != other.config_id


@pytest.mark.parametrize(
    ("silent", "spoken"),
    [
        ({}, {"lr": 1e-3}),
        ({"weight_decay": 1}, {"weight_decay": 1.0}),
        ({}, {"epochs": 10.0}),
        ({}, {"image_size": 32}),
        ({}, {"micro_batch": 32}),
        ({}, {"micro_batch": 4000}),
        ({}, {"precision": "fp32"}),
        ({"loss": "focal"}, {"loss": "focal", "focal_gamma": 2}),
        ({"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.9}),
        ({"epochs": 4, "warmup_epochs": 2}, {"epochs": 4, "warmup_epochs": 30}),
        ({"frozen_epochs": 9}, {"frozen_epochs": 10}),
        ({"layout": "contiguous"}, {"layout": "auto"}),
    ],
    ids=str,
)
def test_two_ways_to_say_the_same_have_one_name(silent: dict[str, Any], spoken: dict[str, Any]) -> None:
    assert resolve({**BASE, **silent}, QUESTION).trial_id == resolve({**BASE, **spoken}, QUESTION).trial_id


def test_a_setting_added_later_renames_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from today: had `drop_rate` been added after the first release, with 0.0 for "as it was before"."""
    value = resolve(BASE, QUESTION).json()
    old = {name: given for name, given in value.items() if name != "drop_rate"}
    with pytest.raises(UserError, match="has or lacks drop_rate"):
        TrialConfig.from_json(old)
    before_release = TrialConfig.from_json(value).trial_id
    monkeypatch.setitem(module.BEFORE, "drop_rate", 0.0)
    without = TrialConfig.from_json(old)
    assert without.drop_rate == 0.0
    assert without.trial_id == TrialConfig.from_json(value).trial_id != before_release
    assert TrialConfig.from_json({**value, "drop_rate": 0.1}).trial_id != without.trial_id


def test_the_trials_of_the_first_release_keep_their_names() -> None:
    """The ids were computed before anything was in `BEFORE`; a new setting that lacks its line there changes them."""
    config = resolve(BASE, QUESTION)
    assert (config.trial_id, config.config_id) == ("ce5336c3fe08", "f45c5a5dc237")
    written = {name: value for name, value in config.json().items() if name not in module.BEFORE}
    assert TrialConfig.from_json(written) == config


def test_a_soup_has_a_name_of_its_own_whatever_the_order_and_trained_trials_do_not_mention_it() -> None:
    config = resolve(BASE, QUESTION)
    assert "soup" not in config.json()
    soup, backwards = (replace(config, soup=ids) for ids in (("a", "b"), ("b", "a")))
    assert soup == backwards == TrialConfig.from_json(json.loads(json.dumps(backwards.json())))
    assert len({config.trial_id, soup.trial_id, replace(config, soup=("a", "c")).trial_id}) == 3
    assert config.config_id != soup.config_id == backwards.config_id
    assert TrialConfig.from_json({**config.json(), "soup": []}) == config


def test_the_configuration_survives_json() -> None:
    config = resolve({**BASE, **OTHER}, QUESTION)
    again = TrialConfig.from_json(json.loads(json.dumps(config.json())))
    assert again == config
    assert (again.trial_id, again.config_id) == (config.trial_id, config.config_id)


def test_a_configuration_of_another_version_is_refused_by_its_settings() -> None:
    value = resolve(BASE, QUESTION).json()
    value.pop("lr")
    with pytest.raises(UserError, match="lookahead, lr"):
        TrialConfig.from_json({**value, "lookahead": 5})


@pytest.mark.parametrize("name", only_with())
def test_a_setting_without_effect_is_refused(name: str) -> None:
    owner, defaults = only_with()[name]
    needed, default = next(iter(defaults.items()))
    (fault,) = check_parameters({**BASE, name: default})
    assert f"{name} has an effect only with {owner}={needed}" in fault
    assert not check_parameters({**BASE, name: default, owner: needed})


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"learning_rate": 1}, "unknown setting 'learning_rate'"),
        ({"batchsize": 1}, "did you mean batch_size"),
        ({"loss": "focall"}, "did you mean focal"),
        ({"optimizer": "adamx"}, "did you mean adam, adamw"),
        ({"sampler": "balance"}, "did you mean balanced"),
        ({"augmentation": "stong"}, "did you mean strong"),
        ({"class_weights": None}, "unknown class_weights 'None'"),
        ({"precision": ["fp32"]}, "unknown precision"),
        ({"backbone": "resnet19"}, "did you mean resnet18"),
        ({"backbone": "tset_vit"}, "did you mean test_vit"),
        ({"backbone": "resnet18.a1_in2k"}, "did you mean resnet18.a1_in1k"),
        ({"backbone": 18}, "backbone must be a text, got 18"),
    ],
    ids=str,
)
def test_an_unknown_name_is_answered_with_the_nearest(given: dict[str, Any], hint: str) -> None:
    (fault,) = check_parameters({**BASE, **given})
    assert hint in fault


@pytest.mark.parametrize("name", RANGES)
def test_a_number_out_of_its_range_is_refused(name: str) -> None:
    kind, low, high = RANGES[name]
    owner = {only_with()[name][0]: next(iter(only_with()[name][1]))} if name in only_with() else {}
    wrong = [-1, low - 1, high * 2, math.nan, math.inf, -math.inf, "5", True, [5], *([2.5] if kind is int else [])]
    wrong += [None] if DEFAULTS[name] is not None else []
    for value in wrong:
        faults = check_parameters({**BASE, **owner, name: value})
        assert len(faults) == 1, (value, faults)
        assert faults[0].startswith(f"{name} must be ")
        assert repr(value) in faults[0]
    for value in (kind(low), kind(high)):
        assert not check_parameters({**BASE, **owner, name: value})


def test_all_faults_come_at_once() -> None:
    wrong = {"epochs": -3, "lr": 0, "loss": "hinge", "momentum": 0.9, "bacth_size": 8, "backbone": "resnett", "pretrained": "yes"}
    with pytest.raises(UserError) as caught:
        resolve({**wrong, "weights_file": "/nowhere.pth"}, QUESTION)
    text = str(caught.value)
    for name in (*wrong, "weights_file"):
        assert name in text
    assert len(caught.value.faults) == len(wrong) + 2  # pretrained and weights_file also exclude one another


@pytest.mark.parametrize("value", [5, ["a"], Path("here"), "/nowhere.pth", "/tmp"])
def test_a_weights_file_must_be_a_file(value: Any) -> None:
    (fault,) = check_parameters({**BASE, "weights_file": value})
    assert fault.startswith("weights_file must be ")


def test_every_name_of_a_dict_is_taken() -> None:
    for name, values in named().items():
        for value in values:
            owner = {"probe": "logistic"} if name == "probe_scaling" else {}
            assert not check_parameters({**BASE, **owner, name: value})


def test_every_setting_is_checked_by_a_rule() -> None:
    assert set(DEFAULTS) == {*RANGES, *named(), "backbone", "pretrained", "weights_file"}


def test_what_belongs_to_one_entry_is_read_from_its_keyword_parameters() -> None:
    assert only_with() == {
        "label_smoothing": ("loss", {"label_smoothing": 0.1}),
        "focal_gamma": ("loss", {"focal": 2.0}),
        "momentum": ("optimizer", {"sgd": 0.9}),
        "mix_alpha": ("mix", {"mixup": 0.2, "cutmix": 1.0}),
        "probe_c": ("probe", {"logistic": 1e-2, "ridge": 1e-3, "svm": 1e-4}),
        "probe_scaling": ("probe", dict.fromkeys(PROBES, "standard")),
    }
    config = resolve({**BASE, "optimizer": "sgd", "loss": "focal"}, QUESTION)
    assert config.settings_of(OPTIMIZERS["sgd"]) == {"lr": config.lr, "weight_decay": config.weight_decay, "momentum": 0.9}
    assert config.settings_of(LOSSES["focal"]) == {"focal_gamma": 2.0}


@pytest.mark.parametrize("entry", [*LOSSES.values(), *OPTIMIZERS.values(), *MIXES.values(), *PROBES.values()])
def test_every_keyword_parameter_of_an_entry_is_a_setting(entry: Any) -> None:
    assert set(resolve(BASE, QUESTION).settings_of(entry)) <= set(DEFAULTS)


def test_an_entry_whose_keyword_is_no_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def hinge(logits: Any, labels: Any, weights: Any, *, margin: float = 1.0) -> Any:
        raise NotImplementedError

    monkeypatch.setitem(LOSSES, "hinge", hinge)
    only_with.cache_clear()
    try:
        with pytest.raises(UserError, match="loss 'hinge' takes the setting 'margin', which nobody has declared"):
            check_parameters({})
    finally:
        only_with.cache_clear()
