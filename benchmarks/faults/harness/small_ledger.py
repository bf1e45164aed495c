"""A small ledger of real trials, made in this process without Ray: drawn photos, a study, two finished trials and one that goes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import _photos
from competitions.loading import parse_competition
from competitions.prepare import Prepared, prepare
from competitions.targets import targets
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import TrialFolder
from system.paths import CompetitionPaths
from trainables.attach import attach
from trainables.config import Question, TrialConfig, resolve
from trainables.training import TrialRun

TARGET, SIDE, SIZE, EPOCHS = "kind", 40, 32, 3
SMALL_SETTINGS = {"backbone": "test_byobnet", "epochs": EPOCHS, "batch_size": 16, "augmentation": "none"}
LRS = (0.003, 0.01, 0.03)


@dataclass(frozen=True)
class SmallLedger:
    """What was made.

    Attributes:
        prepared: The photos.
        configs: Of three trials: two finished, the last has two of its three epochs.
    """

    prepared: Prepared
    configs: tuple[TrialConfig, ...]

    @property
    def root(self) -> Path:
        return self.prepared.paths.root

    @property
    def study(self) -> StudyFolder:
        return StudyFolder(self.prepared.paths.studies / "s")

    def folder(self, number: int) -> TrialFolder:
        return TrialFolder(self.prepared.paths.trials / self.configs[number].trial_id)

    def run(self, number: int, trials: Path | None = None) -> TrialRun:
        """The trial, as a worker opens it."""
        return TrialRun(self.configs[number], attach(self.prepared, self.configs[number], trials=trials))


@contextmanager
def drawn() -> Iterator[SmallLedger]:
    """Photos and configurations; nothing is trained yet."""
    with TemporaryDirectory(prefix="pf-") as folder, _environment(PODIUM_DATA=f"{folder}/data"):
        root = Path(folder)
        (root / "data").mkdir()
        _photos.draw(root / "data", n=48, side=SIDE, size=SIZE, test=8)
        text = _photos.YAML.replace("SIZE", str(SIZE)) + "split: {name: persons, folds: 3}\nviews: [identity, hflip]\n"
        competition = parse_competition(text, "bench", where="bench.yaml")
        prepared = prepare(competition, CompetitionPaths(root / "storage/bench"))
        prepared.save()
        one = targets(competition)[TARGET]
        split = competition.split.name
        question = Question("bench", TARGET, one.heads, one.metric, prepared.data_fingerprint(one), split, 0, 0, SIZE)
        yield SmallLedger(prepared, tuple(resolve({**SMALL_SETTINGS, "lr": lr}, question) for lr in LRS))


@contextmanager
def trained() -> Iterator[SmallLedger]:
    """A study of three trials, of which the last was cut off after its second epoch."""
    with drawn() as made:
        made.study.write_plan({"request": {"competition": "bench", "seed": 0}, "space": "", "questions": {}})
        for number, config in enumerate(made.configs):
            drawn_: dict[str, Any] = {"lr": config.lr}
            held = {"lr": '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}'}
            made.study.write_suggestion(
                Suggestion(number + 1, TARGET, config.trial_id, drawn_, held, {"params": drawn_}, config.json())
            )
            made.study.log("started", config.trial_id, target=TARGET, suggestion=number + 1)
            run = made.run(number)
            for _ in range(EPOCHS if number < 2 else EPOCHS - 1):
                run.step()
            if run.record.ended:
                made.study.log("finished", config.trial_id, epoch=run.record.epochs_done, score=run.record.score)
        yield made


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """These for the time of the block, and no image cache of anybody else's."""
    before = {name: os.environ.get(name) for name in (*values, "PODIUM_CACHE")}
    os.environ.update(values)
    os.environ.pop("PODIUM_CACHE", None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
