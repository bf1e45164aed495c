"""What a space draws is refused before the first trial, also where only a few draws are wrong."""

from pathlib import Path
from typing import Any

import pytest

from competitions.prepare import Prepared
from competitions.targets import targets
from search.space_check import StartWeights, check_space
from search_spaces import Space
from system.errors import UserError
from trainables.backbones import build
from trainables.checkpoint import write_tensors
from trainables.config import Question

SIZES = [32, 48, 64, 80, 96, 112, 128, 144, 160, 40]


def check(tiny: Prepared, suggest: Any) -> None:
    questions = {
        name: Question("tiny", name, one.heads, one.metric, tiny.data_fingerprint(one), "groups", 0, 0, 32)
        for name, one in targets(tiny.competition).items()
    }
    check_space(Space("mine", suggest, 2, 1, 2, ""), questions, StartWeights(tiny))


def test_a_size_that_one_combination_in_thirty_draws_is_refused_once(tiny: Prepared) -> None:
    def suggest(trial: Any) -> dict[str, Any]:
        backbone = trial.suggest_categorical("backbone", ["test_byobnet", "test_vit", "test_resnet"])
        return {"backbone": backbone, "image_size": trial.suggest_categorical("image_size", SIZES)}

    with pytest.raises(UserError, match="'test_vit' cannot take image_size 40") as caught:
        check(tiny, suggest)
    assert len(caught.value.faults) == 1


def test_a_space_of_sizes_that_fit_is_let_through(tiny: Prepared) -> None:
    check(tiny, lambda trial: {"backbone": "test_vit", "image_size": trial.suggest_categorical("image_size", SIZES[:-1])})


def test_a_trial_s_weights_are_no_weights_file(tiny: Prepared, tmp_path: Path) -> None:
    best = tmp_path / "best.safetensors"
    header = {"trial_id": "0" * 12, "epoch": 1, "backbone": "test_vit", "heads": [["colour", 3]]}
    write_tensors(best, build("test_vit", {"colour": 3}, 32).state_dict(), header)
    with pytest.raises(UserError, match=r"'best\.safetensors' is the best of a trial; start from it by --init-from"):
        check(tiny, lambda trial: {"backbone": "test_vit", "weights_file": str(best)})


def test_published_weights_of_a_fixed_size_are_refused_without_the_network(tiny: Prepared) -> None:
    with pytest.raises(UserError, match=r"published weights of 'mixer_b16_224\..*' do not fit image_size 32") as caught:
        check(tiny, lambda trial: {"backbone": "mixer_b16_224", "pretrained": True})
    assert len(caught.value.faults) == 1
