"""Which trials answer for a change: those that differ in one setting and have a partner of the same fold and seed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competitions.metrics import METRICS
from competitions.prepare import Prepared
from competitions.targets import targets
from ensemble.scoring.paired import HURTS
from ledger.predictions import predictions_of
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import ALL_DATA, Record, TrialFolder
from search.effects import base_of, effects_of, table
from system.errors import UserError
from system.paths import CompetitionPaths
from trainables.config import Question, TrialConfig, resolve


class EffectsLedger:
    """Trials of the tiny competition whose predictions are right but for a share of the photos; nothing is trained."""

    def __init__(self, tiny: Prepared, root: Path) -> None:
        self.paths = CompetitionPaths(root / "tiny")
        self.prepared = replace(tiny, paths=self.paths)
        self.target = targets(tiny.competition)["colour"]
        data = tiny.data_fingerprint(self.target)
        self.question = Question("tiny", "colour", self.target.heads, "macro_f1", data, "groups", 0, 0, 32)
        plan = {"questions": {"colour": {"data": data}}, "prepared": self.prepared.save()}
        StudyFolder(self.paths.studies / "s").write_plan(plan)

    def add(self, error: float = 0.1, *, done: bool = True, fold: int = 0, seed: int = 0, **settings: Any) -> TrialConfig:
        """Keep a trial with these settings; its answers are wrong in a share `error` of the validation photos."""
        config = resolve({"backbone": "test_vit", "epochs": 3, **settings}, replace(self.question, fold=fold, seed=seed))
        return self.keep(config, error, done=done)

    def keep(self, config: TrialConfig, error: float, *, done: bool = True) -> TrialConfig:
        folder = TrialFolder(self.paths.trials / config.trial_id)
        _, rows = self.prepared.rows(self.target, config.fold)
        labels = self.prepared.manifest.labels["colour"][rows]
        rng = np.random.default_rng([config.fold + 1, config.seed, int(error * 1000)])
        named = np.where(rng.random(len(rows)) < error, (labels + 1) % 3, labels)
        probs = np.eye(3)[named].astype(np.float16)
        names = [(self.prepared.manifest.image_ids[row], "") for row in rows]
        predictions_of(folder.predictions, "w" * 64).write("validation", "colour", "identity", names, probs)
        score = METRICS["macro_f1"](probs, labels) if len(rows) else None
        facts: dict[str, Any] = {"score": score, "best_epoch": 1, "curve": [score], "weights": "w" * 64}
        folder.write_config(config.json())
        made = Record(config.trial_id, config.config_id, "colour", config.fold, config.seed, 3, 3 if done else 1, **facts)
        folder.write_record(made)
        return config

    def score(self, config: TrialConfig) -> float:
        record = TrialFolder(self.paths.trials / config.trial_id).record()
        assert record is not None
        assert record.score is not None
        return record.score


@pytest.fixture
def ledger(tiny: Prepared, tmp_path: Path) -> EffectsLedger:
    return EffectsLedger(tiny, tmp_path)


def test_trials_are_paired_by_fold_and_seed_with_the_base_and_its_twins(ledger: EffectsLedger) -> None:
    places = [(0, 0), (0, 1), (1, 0)]
    base = [ledger.add(0.0, fold=fold, seed=seed) for fold, seed in places]
    focal = {"loss": "focal", "focal_gamma": 1.6789}
    others = [ledger.add(0.6, fold=fold, seed=seed, **focal) for fold, seed in [*places, (2, 0)]]  # the last has no partner
    ledger.add(0.3, seed=1, lr=0.0123)
    changes = effects_of(ledger.paths, base[0].trial_id)
    assert [(change.change, change.pairs) for change in changes] == [
        ("lr: 0.001 -> 0.0123", 1),
        ("loss: cross_entropy -> focal (focal_gamma 1.68)", 3),
    ]
    _, loss = changes
    assert loss.trials == tuple(config.trial_id for config in others[:3])
    gains = [ledger.score(other) - ledger.score(own) for other, own in zip(others, base, strict=False)]
    assert loss.mean == pytest.approx(np.mean(gains))
    assert loss.verdict == HURTS
    assert effects_of(ledger.paths, base[2].trial_id) == changes, "a twin of the base is answered alike"
    told = loss.json()
    assert (told["setting"], told["from"], told["to"], told["trials"]) == ("loss", "cross_entropy", "focal", list(loss.trials))
    assert loss.change in table([change.json() for change in changes])


def test_what_does_not_compare_is_left_out(ledger: EffectsLedger) -> None:
    base = ledger.add()
    ledger.add(lr=0.01, augmentation="strong")  # two changes
    ledger.add(lr=0.02, done=False)
    other = ledger.add(lr=0.03)
    ledger.keep(replace(other, data="f" * 16), 0.2)
    ledger.keep(replace(other, metric="accuracy"), 0.2)
    ledger.keep(replace(other, lr=0.05, fold=ALL_DATA), 0.2)
    (change,) = effects_of(ledger.paths, base.trial_id)
    assert change.trials == (other.trial_id,)


def test_a_trial_whose_predictions_are_gone_is_named_and_left_out(
    ledger: EffectsLedger, caplog: pytest.LogCaptureFixture
) -> None:
    base, gone = ledger.add(), ledger.add(lr=0.03)
    kept = ledger.add(lr=0.05)
    next((ledger.paths.trials / gone.trial_id).rglob("*.npy")).unlink()
    (change,) = effects_of(ledger.paths, base.trial_id)
    assert change.trials == (kept.trial_id,)
    assert f"trial {gone.trial_id} is left out" in caplog.text


def test_a_study_with_other_threads_compares_with_the_base_run_so(ledger: EffectsLedger) -> None:
    base = ledger.add()
    study = StudyFolder(ledger.paths.studies / "s")
    for first, partner in ((replace(base, seed=3), base), (replace(base, threads=2), replace(base, threads=2))):
        study.write_suggestion(Suggestion(1, "colour", first.trial_id, {}, settings=first.json()))
        assert base_of(study, ledger.paths, base.trial_id) == partner.trial_id


def test_without_a_study_of_these_data_nobody_knows_the_labels(ledger: EffectsLedger) -> None:
    base = ledger.keep(replace(ledger.add(), data="f" * 16), 0.1)
    with pytest.raises(UserError, match="no study in this storage has the labels"):
        effects_of(ledger.paths, base.trial_id)
