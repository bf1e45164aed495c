"""Trials that were cut off: who is marked, who stands among the best, and who never does."""

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.query import best_trials, leaderboard
from ledger.stopped import mark_stopped
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import Record, TrialFolder
from system.claims import claim
from system.paths import CompetitionPaths
from tests.ledger._changes import leave_lease

CUT = Record("cut", "m", "age", 0, 5, 8, epochs_done=3, score=0.6, best_epoch=2, curve=[0.4, 0.6, 0.5], weights="w")
WHOLE = replace(CUT, trial_id="whole", config_id="n", epochs_done=8, score=0.5, curve=[0.5] * 8)


def ledger(root: Path, *records: Record) -> CompetitionPaths:
    paths = CompetitionPaths(root)
    for record in records:
        folder = TrialFolder(paths.trials / record.trial_id)
        folder.write_config({"target": "age", "data": "d", "metric": "f1", "fold": record.fold, "seed": record.seed})
        folder.write_record(record)
    return paths


def study(paths: CompetitionPaths, name: str, *trials: str) -> StudyFolder:
    """A study that started these trials."""
    made = StudyFolder(paths.studies / name)
    made.write_plan({"request": {}})
    for number, trial in enumerate(trials, start=1):
        made.write_suggestion(Suggestion(number, "age", trial, {}))
        made.log("started", trial, target="age", suggestion=number)
    return made


def best(paths: CompetitionPaths, name: str | None = None) -> list[tuple[str, float]]:
    return best_trials(paths, "age", "d", 0, "f1", stopped=True, study=name)


def test_what_was_cut_off_is_marked_once_and_stands_among_the_best_by_its_best_score(tmp_path: Path) -> None:
    bare = replace(CUT, trial_id="bare", epochs_done=0, score=None, weights=None, curve=[])
    paths = ledger(tmp_path, CUT, WHOLE, bare)
    made = study(paths, "s", "cut", "whole", "bare", "never-begun")
    assert best(paths) == [("whole", 0.5)], "one that may be running has no vote"
    for _ in range(2):
        mark_stopped(made, paths.trials)
    told = [{key: value for key, value in event.items() if key not in ("time", "seal")} for event in made.events()]
    assert [one for one in told if one["event"] == "stopped"] == [
        {"event": "stopped", "trial_id": "cut", "epoch": 3, "epochs": 8, "score": 0.6}
    ]
    assert best(paths) == best(paths, "s") == [("cut", 0.6), ("whole", 0.5)]
    assert best_trials(paths, "age", "d", 0, "f1") == [("whole", 0.5)], "who needs what ended gets that"
    assert {row.trial_id: row.status for row in leaderboard(paths).rows} == {
        "cut": "stopped",
        "whole": "running",
        "bare": "running",
    }
    made.log("started", "cut", target="age", suggestion=1)
    assert best(paths) == [("whole", 0.5)], "it goes on"


def test_a_trial_that_any_study_pruned_or_somebody_trains_has_no_vote(tmp_path: Path) -> None:
    paths = ledger(tmp_path, CUT)
    mark_stopped(study(paths, "s", "cut"), paths.trials)
    other = study(paths, "other", "cut")
    assert best(paths) == [("cut", 0.6)]
    held = claim(TrialFolder(paths.trials / "cut").claim)
    assert held is not None
    with held:
        assert best(paths) == []
    other.log("pruned", "cut", epoch=3)
    assert best(paths) == []


def test_after_a_killed_driver_its_lease_says_that_its_trials_are_stopped(tmp_path: Path) -> None:
    paths = ledger(tmp_path, CUT)
    made = study(paths, "s", "cut")
    study(paths, "other", "cut")
    assert best(paths) == [], "an earlier version's driver ended in good order and said nothing"
    leave_lease(made)
    assert best(paths) == best(paths, "s") == [("cut", 0.6)]
    assert best(paths, "other") == []
    assert {row.study: row.status for row in leaderboard(paths).rows} == {"s": "stopped", "other": "running"}
    made.lease.unlink()
    held = claim(made.lease)
    assert held is not None
    with held:
        assert best(paths) == [], "its next driver may be training it"


@pytest.mark.parametrize("facts", [{"diverged": True}, {"weights": None}, {"epochs_done": 8}])
def test_what_diverged_has_no_weights_or_ended_is_not_marked(tmp_path: Path, facts: dict[str, object]) -> None:
    paths = ledger(tmp_path, replace(CUT, **facts))  # type: ignore[arg-type]  # one field at a time
    made = study(paths, "s", "cut")
    mark_stopped(made, paths.trials)
    assert made.statuses() == {"cut": "running"}


def test_a_trial_to_be_retried_that_was_cut_off_is_still_to_be_retried(tmp_path: Path) -> None:
    paths = ledger(tmp_path, CUT)
    made = study(paths, "s", "cut")
    made.log("failed", "cut", reason="x")
    made.log("retrying", "cut")
    made.log("started", "cut", target="age", suggestion=1)
    mark_stopped(made, paths.trials)
    assert made.statuses() == {"cut": "stopped"}
    assert made.failed() == {"cut"}
