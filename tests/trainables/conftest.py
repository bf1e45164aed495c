"""Trials of tiny networks on the tiny competition, in this process or in one of their own."""

import multiprocessing
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from competitions.prepare import Prepared
from competitions.targets import targets
from ledger.trials import TrialFolder
from trainables.attach import attach
from trainables.config import Question, TrialConfig, resolve
from trainables.training import TrialContext

SCRIPT = Path(__file__).parent / "_train_in_process.py"
SETTINGS = {"backbone": "test_vit", "epochs": 2, "batch_size": 16, "augmentation": "none", "warmup_epochs": 0.5, "lr": 3e-3}
PRELOADED = ["torch", "timm", "albumentations", "trainables.attach"]

Configure = Callable[..., TrialConfig]
Attach = Callable[..., TrialContext]
InProcess = Callable[..., int | None]


@pytest.fixture
def configure(tiny: Prepared) -> Configure:
    """`configure(target="colour", fold=0, seed=0, **settings)`: a resolved configuration of a tiny network."""

    def make(target: str = "colour", *, fold: int = 0, seed: int = 0, **settings: Any) -> TrialConfig:
        one = targets(tiny.competition)[target]
        question = Question("tiny", target, one.heads, one.metric, tiny.data_fingerprint(one), "groups", fold, seed, 32)
        return resolve({**SETTINGS, **settings}, question)

    return make


@pytest.fixture
def attached(tiny: Prepared, tmp_path: Path) -> Attach:
    """`attached(config, folder="here", **more)`: the context in which to train it, in a folder of this test."""
    return lambda config, folder="here", **more: attach(tiny, config, trials=tmp_path / folder, **more)


@pytest.fixture(scope="session")
def fork_server() -> Any:
    """Starts processes that have imported torch and done nothing else."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    return made


@pytest.fixture
def in_process(tiny: Prepared, tiny_data: Path, tmp_path: Path, fork_server: Any) -> InProcess:
    """`in_process(configs, folder, kill=...)`: train in a fresh process, killed where `kill` says; returns its exit code."""
    key = tiny.save()

    def run(configs: list[TrialConfig], folder: str, kill: tuple[str, float] | None = None) -> int | None:
        told = {
            "data": str(tiny_data),
            "root": str(tiny.paths.root),
            "key": key,
            "configs": [config.json() for config in configs],
            "trials": str(tmp_path / folder),
            "kill": kill,
        }
        child = fork_server.Process(target=runpy.run_path, args=(str(SCRIPT),), kwargs={"init_globals": {"TOLD": told}})
        child.start()
        child.join(60)
        assert child.exitcode is not None, "the process that trains hangs"
        return int(child.exitcode)

    return run


@pytest.fixture
def learned(tmp_path: Path) -> Callable[[str, TrialConfig], dict[str, Any]]:
    """`learned(folder, config)`: everything a trial left that two equal trials must share, byte by byte."""

    def read(folder: str, config: TrialConfig) -> dict[str, Any]:
        trial = TrialFolder(tmp_path / folder / config.trial_id)
        record = trial.record()
        assert record is not None
        arrays = sorted(trial.predictions.rglob("*.*"))
        facts = {"curve": record.curve, "score": record.score, "best_epoch": record.best_epoch, "weights": record.weights}
        files = {str(path.relative_to(trial.path)): path.read_bytes() for path in arrays if not path.name.startswith(".")}
        return facts | files | {"best": trial.best.read_bytes(), "done": record.epochs_done}

    return read
