"""What is asked next: new ids only, the same after a restart, and nothing that a ledger has answered already."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from ledger.studies import StudyFolder
from ledger.trials import Record, TrialFolder
from search.foreign_trials import ForeignTrials
from search.optuna_trials import distributions
from search.tune.searcher import LedgerSearcher
from search_spaces import Space
from system.claims import claim
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
        return None if given in (None, Searcher.FINISHED) else given

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


def test_an_extended_search_asks_what_one_asked_for_all_at_once_asks(tmp_path: Path) -> None:
    whole = Driver(tmp_path / "whole", n_trials=12).run()
    first = Driver(tmp_path / "more", n_trials=8).run()
    assert [*first, *Driver(tmp_path / "more", n_trials=12).run()] == whole, "from the seventh on it is drawn by all before"


def test_one_at_a_time_nothing_is_asked_while_a_trial_runs(tmp_path: Path) -> None:
    driver = Driver(tmp_path, one_at_a_time=True)
    first = driver.ask()
    assert first is not None
    assert driver.searcher.suggest("more") is None
    driver.searcher.on_trial_complete("ray1", {"done": True})
    assert driver.ask() is not None
    assert Driver(tmp_path / "other").ask() is not None


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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of every watch, in seconds; the test moves it."""
    now = [0.0]

    class Clocked(ForeignTrials):
        def __init__(self, trials: Path) -> None:
            super().__init__(trials, lambda: now[0])

    monkeypatch.setattr("search.tune.searcher.ForeignTrials", Clocked)
    return now


def test_a_trial_that_another_study_trains_is_not_trained_here_while_it_is(tmp_path: Path, clock: list[float]) -> None:
    other = Driver(tmp_path, "t")
    taken = other.ask()
    assert taken is not None
    notes: list[str] = []
    driver = Driver(tmp_path, note=notes.append)
    with claim(TrialFolder(tmp_path / "trials" / taken["trial_id"]).claim):  # type: ignore[union-attr]  # it is free
        trained = driver.run()
        assert len(trained) == 8
        assert taken["trial_id"] not in trained
        assert driver.searcher.suggest("again") is None, "it waits when nothing else is left to do"
        assert not driver.searcher.exhausted
        assert notes[-1] == f"waiting for another study, which trains {taken['trial_id']}"
        other.end(taken)
    clock[0] += 2
    assert driver.ask() is None
    assert driver.searcher.exhausted
    assert driver.study.statuses()[taken["trial_id"]] == "finished"
    assert [event["trial_id"] for event in driver.study.events() if event["event"] == "answered"] == [taken["trial_id"]]
    assert states(driver.searcher, "colour") == [TrialState.COMPLETE] * 5
    assert states(Driver(tmp_path).searcher, "colour") == [TrialState.COMPLETE] * 5


@pytest.mark.parametrize("restart", [False, True])
def test_what_another_study_let_go_of_unfinished_is_trained_here(restart: bool, tmp_path: Path, clock: list[float]) -> None:
    other = Driver(tmp_path, "t")
    taken = other.ask()
    assert taken is not None
    driver = Driver(tmp_path)
    with claim(TrialFolder(tmp_path / "trials" / taken["trial_id"]).claim):  # type: ignore[union-attr]  # it is free
        trained = driver.run()
        other.write(taken, epochs_done=1, curve=[0.1])
    clock[0] += 2
    if restart:
        driver = Driver(tmp_path)
    given = driver.ask()
    assert given == taken
    driver.end(given)
    assert driver.ask() is None
    assert driver.searcher.exhausted
    assert driver.study.statuses() == dict.fromkeys([*trained, taken["trial_id"]], "finished")


def test_a_trial_that_its_worker_finds_taken_is_replaced_and_looked_at_again(tmp_path: Path, clock: list[float]) -> None:
    driver = Driver(tmp_path)
    first = driver.ask()
    assert first is not None
    driver.searcher.on_trial_complete("ray1", {"elsewhere": True})
    driver.study.log("elsewhere", first["trial_id"])
    with claim(TrialFolder(tmp_path / "trials" / first["trial_id"]).claim):  # type: ignore[union-attr]  # it is free
        assert len(driver.run()) == 8
        assert driver.searcher.suggest("again") is None
    clock[0] += 2
    assert driver.ask() == first


def test_a_search_that_waits_for_others_ends_when_waiting_has_no_use(tmp_path: Path) -> None:
    taken = Driver(tmp_path, "t").ask()
    assert taken is not None
    driver = Driver(tmp_path, give_up=lambda: True)
    with claim(TrialFolder(tmp_path / "trials" / taken["trial_id"]).claim):  # type: ignore[union-attr]  # it is free
        driver.run()
        assert driver.searcher.suggest("again") == Searcher.FINISHED
        assert not driver.searcher.exhausted


def test_a_resumed_search_waits_for_what_a_killed_driver_left_running_and_changes_no_order(tmp_path: Path) -> None:
    whole = Driver(tmp_path / "calm").run()
    killed = Driver(tmp_path)
    done = killed.run(2)
    cut = killed.ask()
    assert cut is not None
    resumed = Driver(tmp_path)
    with claim(TrialFolder(tmp_path / "trials" / cut["trial_id"]).claim):  # type: ignore[union-attr]  # it is free
        assert resumed.searcher.suggest("ray1") is None
    assert [*done, *resumed.run()] == whole


def test_only_the_trials_that_failed_are_run_again(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    failed = driver.ask()
    assert failed is not None
    driver.study.log("failed", failed["trial_id"], reason="OSError: gone")
    driver.searcher.on_trial_complete("ray1", error=True)
    diverged = driver.ask()
    assert diverged is not None
    driver.end(diverged, "diverged", diverged=True, score=None, epochs_done=1, curve=[])
    driver.run(2)
    unfinished = driver.ask()
    assert driver.study.failures() == ("OSError: gone",)
    driver.study.log("retrying", failed["trial_id"])
    again = Driver(tmp_path, only={failed["trial_id"]})
    assert again.run() == [failed["trial_id"]]
    assert again.searcher.exhausted
    assert again.study.failures() == ()
    statuses = again.study.statuses()
    assert (statuses[failed["trial_id"]], statuses[diverged["trial_id"]]) == ("finished", "diverged")
    assert unfinished is not None
    assert Driver(tmp_path).run()[0] == unfinished["trial_id"], "what was unfinished waits for a plain resume"


def test_what_answers_another_question_counts_for_nothing_and_comes_back_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(tmp_path)
    old = driver.run(4)
    cut = driver.ask()
    assert cut is not None
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}.QUESTIONS", {n: replace(question, data="other") for n, question in QUESTIONS.items()})
        driver.study.log("superseded", cut["trial_id"], reason="pixels: 1 photo")
        changed = Driver(tmp_path)
        assert changed.searcher.remaining() == 8
        new = changed.run()
        assert not {*old, cut["trial_id"]} & set(new)
        assert [Driver(tmp_path / "new").run()] == [new], "it asks what a new study of these photos asks"
        assert states(changed.searcher, "colour") == [TrialState.COMPLETE] * 4
    back = Driver(tmp_path)
    assert back.searcher.remaining() == 4
    assert back.run()[0] == cut["trial_id"]


def other_space(trial: Any) -> dict[str, Any]:
    """`lr` reaches less far, `loss` has another choice, and `drop_rate` is new."""
    return {
        "backbone": "test_vit",
        "epochs": 4,
        "lr": trial.suggest_float("lr", 5e-3, 5e-2, log=True),
        "loss": trial.suggest_categorical("loss", ["cross_entropy", "label_smoothing"]),
        "drop_rate": trial.suggest_float("drop_rate", 0.0, 0.5),
    }


def test_suggestions_of_another_space_are_told_as_far_as_they_fit(tmp_path: Path) -> None:
    Driver(tmp_path, n_trials=8).run(15)
    known = distributions(Space("o", other_space, 4, 1, 2, ""))
    driver = Driver(tmp_path, n_trials=16, suggest=other_space, refit=15, known=known)
    trials = {t: driver.searcher._targets[t].study.trials for t in QUESTIONS}
    for target in QUESTIONS:
        told = [s for s in driver.study.suggestions() if s.target == target]
        assert [trial.state for trial in trials[target]] == [TrialState.COMPLETE] * len(told)
        for trial, suggestion in zip(trials[target], told, strict=True):
            assert ("lr" in trial.params) == (5e-3 <= suggestion.parameters["lr"] <= 5e-2)
            assert ("loss" in trial.params) == (suggestion.parameters["loss"] == "cross_entropy")
            assert set(trial.params) <= {"lr", "loss"}
    fitted = [set(trial.params) for listed in trials.values() for trial in listed]
    assert {"lr", "loss"} in fitted
    assert set() in fitted or {"loss"} in fitted
    more = driver.run()
    assert len(more) == 17  # 32 less those there
    assert Driver(tmp_path, n_trials=16, suggest=other_space, refit=15, known=known).searcher.exhausted


def test_suggestions_are_on_disk_before_a_trial_starts(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    given = driver.ask()
    assert given is not None
    (path,) = (tmp_path / "studies/s/suggestions").iterdir()
    kept = json.loads(path.read_text())
    assert (path.name, kept["trial_id"], kept["target"]) == ("000001.json", given["trial_id"], "colour")
    assert kept["parameters"]["lr"] == given["settings"]["lr"]
