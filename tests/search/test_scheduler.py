"""Who is stopped: each target by its own rungs, and after a restart as if there had been none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from ledger.studies import StudyFolder, Suggestion
from ledger.trials import Record, TrialFolder
from search.tune.scheduler import SCHEDULERS, TargetScheduler
from search_spaces import Space

SPACE = Space("s", lambda trial: {}, max_epochs=8, grace_epochs=1, reduction=2, fingerprint="")
TARGETS = ("colour", "shape")


@dataclass
class Trial:
    trial_id: str
    config: dict[str, str]


class Study:
    """Plays driver and workers: one trial after another, its record on disk before it is told."""

    def __init__(self, root: Path, kind: str = "asha") -> None:
        self.folder, self.trials, self.kind = StudyFolder(root / "studies/s"), root / "trials", kind
        self.restart()

    def restart(self) -> None:
        self.scheduler = TargetScheduler(TARGETS, self.kind, SPACE, self.folder, self.trials)
        self.session = np.random.default_rng().integers(1 << 62)

    def start(self, name: str, target: str) -> Trial:
        """Ray's own id for a trial is another one in each session."""
        if not any(suggestion.trial_id == name for suggestion in self.folder.suggestions()):
            self.folder.write_suggestion(Suggestion(len(self.folder.suggestions()) + 1, target, name, {}))
        self.folder.log("started", name)
        trial = Trial(f"ray-{self.session}-{name}", {"trial_id": name, "target": target})
        self.scheduler.on_trial_add(None, trial)
        return trial

    def keep(self, trial: Trial, curve: list[float]) -> None:
        name, target = trial.config["trial_id"], trial.config["target"]
        TrialFolder(self.trials / name).write_record(Record(name, "", target, 0, 0, 8, len(curve), max(curve), 1, list(curve)))

    def tell(self, trial: Trial, curve: list[float], *, done: bool = False) -> bool:
        """Report the last epoch of `curve`; whether the trial was stopped."""
        result: dict[str, Any] = {"epoch": len(curve), "best_score": max(curve), "done": done}
        if done:
            self.scheduler.on_trial_complete(None, trial, result)
            self.folder.log("finished", trial.config["trial_id"], epoch=len(curve))
            return True
        return self.scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP

    def train(self, name: str, target: str, curve: list[float], *, done_before: int = 0, killed_at: int = 99) -> None:
        """Epoch by epoch to the end, the stop or the kill; a trial that goes on tells its last epoch once more."""
        trial = self.start(name, target)
        for epoch in range(max(1, done_before), len(curve) + 1):
            self.keep(trial, curve[:epoch])
            if epoch == killed_at or self.tell(trial, curve[:epoch], done=epoch == len(curve)):
                return

    def decisions(self) -> list[tuple[str, str, int]]:
        return [(e["event"], e["trial_id"], e["epoch"]) for e in self.folder.events() if e["event"] != "started"]


def test_a_target_with_low_scores_is_not_pruned_by_one_with_high_scores(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for number in range(4):
        study.train(f"c{number}", "colour", [0.9 + number / 100] * 8)
        study.train(f"s{number}", "shape", [0.1 + number / 100] * 8)
    assert {event for event, _, _ in study.decisions()} == {"finished"}


def test_the_worse_half_is_stopped_at_the_first_rung_and_journalled(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for number in range(4):
        study.train(f"c{number}", "colour", [0.9 - number / 100] * 8)
    assert study.decisions() == [("finished", "c0", 8), *(("pruned", f"c{number}", 1) for number in (1, 2, 3))]
    assert study.folder.statuses() == {"c0": "finished", "c1": "pruned", "c2": "pruned", "c3": "pruned"}


def test_a_diverged_trial_is_stopped_and_takes_no_place_in_the_rungs(tmp_path: Path) -> None:
    study = Study(tmp_path)
    trial = study.start("c0", "colour")
    result = {"epoch": 1, "best_score": float("-inf"), "diverged": True, "done": True}
    assert study.scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP
    study.scheduler.on_trial_complete(None, trial, result)
    study.train("c1", "colour", [0.2] * 8)
    study.train("c2", "colour", [0.1] * 8)
    assert study.decisions() == [("finished", "c1", 8), ("pruned", "c2", 1)]  # against 0.2, not the mean with -inf


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("seed", range(12))
def test_a_restart_anywhere_changes_no_decision(kind: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    curves = {f"t{number}": np.round(rng.random(8) / 2 + rng.random() / 2, 3).tolist() for number in range(12)}
    calm, shaken = Study(tmp_path / "a", kind), Study(tmp_path / "b", kind)
    for number, (name, curve) in enumerate(curves.items()):
        target, killed_at = TARGETS[number % 2], int(rng.integers(1, 8))
        calm.train(name, target, curve)
        shaken.train(name, target, curve, killed_at=killed_at)
        shaken.restart()
        if shaken.folder.statuses()[name] == "running":
            shaken.train(name, target, curve, done_before=killed_at)
    assert shaken.decisions() == calm.decisions()
    assert kind == "fifo" or {event for event, _, _ in calm.decisions()} == {"finished", "pruned"}


def test_a_trial_that_another_study_carried_further_stands_in_the_rungs_as_this_study_left_it(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.train("c0", "colour", [0.5] * 8)
    study.train("c1", "colour", [0.1] * 8)
    assert study.decisions()[-1] == ("pruned", "c1", 1)
    study.keep(Trial("", {"trial_id": "c1", "target": "colour"}), [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    study.restart()
    study.train("c2", "colour", [0.6] * 8)  # c1 at epoch 2 would make this 0.6 < mean(0.5, 0.9)
    assert study.decisions()[-1] == ("finished", "c2", 8)


def test_trials_of_other_photos_have_no_place_in_the_rungs(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.train("c0", "colour", [0.9] * 8)
    study.scheduler = TargetScheduler(TARGETS, "asha", SPACE, study.folder, study.trials, past=[])
    study.train("c1", "colour", [0.1] * 8)
    assert study.decisions()[-1] == ("finished", "c1", 8)
