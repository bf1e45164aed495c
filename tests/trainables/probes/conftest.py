"""Probes on a small network with weights from a file, on the tiny competition."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from competitions.prepare import Prepared
from competitions.targets import targets
from trainables.attach import weights_store
from trainables.backbones import build, keep_weights
from trainables.config import Question, TrialConfig, resolve

Probing = Callable[..., TrialConfig]


@pytest.fixture(scope="session")
def start(tiny: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Start weights of a `test_resnet`, kept in the storage."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("start") / "resnet.safetensors"
    save_file(build("test_resnet", {"any": 5}, 32).state_dict(), path)
    keep_weights(str(path), weights_store(tiny))
    return path


@pytest.fixture
def probing(tiny: Prepared, start: Path) -> Probing:
    """`probing(target="colour", fold=0, seed=0, **settings)`: a resolved configuration of a probe."""

    def make(target: str = "colour", *, fold: int = 0, seed: int = 0, **settings: Any) -> TrialConfig:
        one = targets(tiny.competition)[target]
        question = Question("tiny", target, one.heads, one.metric, tiny.data_fingerprint(one), "groups", fold, seed, 32)
        return resolve({"backbone": "test_resnet", "weights_file": str(start), "probe": "logistic", **settings}, question)

    return make
