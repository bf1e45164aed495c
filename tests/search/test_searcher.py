"""What is asked next: new ids only, the same after a restart, and nothing that a ledger has answered already."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from ledger.claims import claim
from ledger.studies import StudyFolder
from ledger.trials import Record, TrialFolder
from search.searcher import LedgerSearcher
from trainables.config import Question

QUESTIONS = {
    name: Question("tiny", name, {name: n}, metric="macro_f1", data=f"data-{name}", split="s", fold=0, seed=0, image_size=32)
    for name, n in (("colour", 2), ("shape", 3))
}


def space(trial: Any) -> dict[str, Any]:
    return {
        "backbone": "test_vit",
        "epochs": 4,
        "lr": trial.suggest_float("lr", 1e-3, 1e-1, log=True),
        "loss": trial.suggest_categorical("loss", ["cross_entropy", "focal"]),
    }


def few(trial: Any) -> dict[str, Any]:
    return {"backbone": "test_vit", "lr": trial.suggest_categorical("lr", [0.01, 0.02, 0.03])}


class Driver:
    """Plays Tune on a searcher over the ledger in `root`: asks for trials, writes their records, tells their ends."""

    def __init__(self, root: Path, study: str = "s", **changes: Any) -> None:
        self.trials, self.study = root / "trials", StudyFolder(root / "studies" / study)
        given: dict[str, Any] = {"suggest": space, "n_trials": 4, "seed": 3, "searcher": "tpe", "prepare": lambda drawn: None}
        self.searcher = LedgerSearcher(QUESTIONS, study=self.study, trials=self.trials, **(given | changes))
        self.asked = 0

    def ask(self) -> dict[str, Any] | None:
        self.asked += 1
        given = self.searcher.suggest(f"ray{self.asked}")
        return None if given == Searcher.FINISHED else given

    def write(self, given: dict[str, Any], **facts: Any) -> None:
        """The trial's folder, as its worker leaves it; the score is a smooth function of what was drawn."""
        settings = given["settings"]
        folder = TrialFolder(self.trials / given["trial_id"])
        folder.write_config(settings)
        score = 1 - abs(settings["lr"] - 0.02) * 10 - (settings["loss"] == "focal") * 0.1
        record = Record(folder.id, "", given["target"], 0, 0, given["epochs"], given["epochs"], score, 4, [score] * 4)
        folder.write_record(replace(record, **facts))

    def end(self, given: dict[str, Any], event: str = "finished", **facts: Any) -> None:
        self.write(given, **facts)
        self.study.log(event, given["trial_id"], epoch=given["epochs"])
        self.searcher.on_trial_complete(f"ray{self.asked}", {"done": True})

    def run(self, most: int = 1000) -> list[str]:
        """One trial at a time; returns the ids that were trained."""
        done = []
        while len(done) < most and (given := self.ask()) is not None:
            self.end(given)
            done.append(given["trial_id"])
        return done


def states(searcher: LedgerSearcher, target: str) -> list[TrialState]:
    return [trial.state for trial in searcher._targets[target].study.trials]


def test_targets_take_turns_and_each_gets_its_number(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    ids = driver.run()
    asked = [suggestion.target for suggestion in driver.study.suggestions()]
    assert asked == ["colour", "shape"] * 4
    assert len(set(ids)) == 8
    assert driver.searcher.exhausted


@pytest.mark.parametrize("killed_after", range(8))
def test_a_killed_search_asks_on_as_if_nothing_had_happened(killed_after: int, tmp_path: Path) -> None:
    whole = Driver(tmp_path).run()
    first = Driver(tmp_path / "other")
    done = first.run(killed_after)
    running = first.ask()  # this one is cut off in its second epoch
    assert running is not None
    first.write(running, epochs_done=2, curve=[0.1, 0.2])
    second = Driver(tmp_path / "other")
    assert [*done, *second.run()] == whole
    files = [sorted((root / "studies/s/suggestions").iterdir()) for root in (tmp_path, tmp_path / "other")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_the_same_search_again_is_answered_and_then_asks_on(tmp_path: Path) -> None:
    first = Driver(tmp_path)
    trained = first.run()
    second = Driver(tmp_path, "t")
    new = second.run()
    assert len(new) == len(set(new)) == 8
    assert not set(new) & set(trained)
    for target in QUESTIONS:
        before, asked = ([s.trial_id for s in drive.study.suggestions() if s.target == target] for drive in (first, second))
        assert asked[:4] == before
    assert {event["trial_id"] for event in second.study.events() if event["event"] == "answered"} == set(trained)


def test_a_resumed_search_does_not_count_what_was_answered(tmp_path: Path) -> None:
    Driver(tmp_path).run()
    stopped = Driver(tmp_path, "t").run(3)
    resumed = Driver(tmp_path, "t")
    assert len(stopped) + resumed.searcher.remaining() == 8
    assert len({*stopped, *resumed.run()}) == 8


def test_more_trials_are_added_to_those_there(tmp_path: Path) -> None:
    first = Driver(tmp_path, n_trials=2).run()
    assert Driver(tmp_path, n_trials=2).run() == []
    more = Driver(tmp_path, n_trials=5).run()
    assert (len(more), set(more) & set(first)) == (6, set())


def test_a_pruned_trial_is_told_as_pruned_a_diverged_one_as_failed_now_and_after_a_restart(tmp_path: Path) -> None:
    driver = Driver(tmp_path, n_trials=3)
    ends: dict[str, dict[str, Any]] = {
        "pruned": {"epochs_done": 2, "curve": [0.3, 0.2], "score": 0.3},
        "diverged": {"epochs_done": 1, "diverged": True, "score": None, "curve": []},
        "finished": {},
    }
    for event, facts in ends.items():
        for _ in QUESTIONS:
            given = driver.ask()
            assert given is not None
            driver.end(given, event, **facts)
    told = [TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE]
    again = Driver(tmp_path, n_trials=3).searcher
    for searcher in (driver.searcher, again):
        for target in QUESTIONS:
            assert states(searcher, target) == told
            pruned = searcher._targets[target].study.trials[0]
            assert pruned.intermediate_values == {1: 0.3, 2: 0.3}  # the best so far after each epoch
    assert again.exhausted


def test_a_space_with_three_trials_ends_after_three(tmp_path: Path) -> None:
    driver = Driver(tmp_path, suggest=few, n_trials=10)
    assert len(set(driver.run())) == len(driver.run()) + 6 == 6
    assert driver.searcher.exhausted


def test_a_trial_that_another_study_trains_is_not_trained_here(tmp_path: Path) -> None:
    first = Driver(tmp_path).ask()
    assert first is not None
    folder = TrialFolder(tmp_path / "trials" / first["trial_id"])
    with claim(folder.claim):  # type: ignore[union-attr]  # it is free
        other = Driver(tmp_path, "t")
        given = other.ask()
        assert given is not None
        assert given["trial_id"] != first["trial_id"]
        assert other.study.events()[0]["event"] == "elsewhere"


def test_suggestions_are_on_disk_before_a_trial_starts(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    given = driver.ask()
    assert given is not None
    (path,) = (tmp_path / "studies/s/suggestions").iterdir()
    kept = json.loads(path.read_text())
    assert (path.name, kept["trial_id"], kept["target"]) == ("000001.json", given["trial_id"], "colour")
    assert kept["parameters"]["lr"] == given["settings"]["lr"]
