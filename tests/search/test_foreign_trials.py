"""Watching trials of other studies: ended, free, or still held."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.studies import Suggestion
from ledger.trials import Record, TrialFolder
from search.foreign_trials import LOOK_S, PATIENCE_S, ForeignTrials
from system import claims
from system.claims import Holder, claim

FAR = Holder("far", 1, "2026-01-01T00:00:00+00:00", 0, "0123456789abcdef", "another boot", 1.0)


class Watch:
    """One trial of somebody else, and a clock that is set by hand."""

    def __init__(self, root: Path) -> None:
        self.now = 0.0
        self.folder = TrialFolder(root / "t0")
        self.watched = ForeignTrials(root, lambda: self.now)
        self.watched.add(Suggestion(1, "age", "t0", {}), 7)

    def look(self) -> list[str]:
        self.now += LOOK_S
        return [state for watched, state in self.watched.look()]

    def hold(self, holder: Holder) -> None:
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.folder.claim.write_bytes(claims._content(holder))

    def write(self, epochs: int) -> None:
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.folder.write_record(Record("t0", "", "age", 0, 0, 2, epochs, 0.5, 1, [0.5] * epochs))


def test_a_trial_without_a_claim_and_without_an_end_is_free_and_watched_no_longer(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.write(1)
    assert (watch.look(), len(watch.watched)) == (["free"], 0)


def test_a_trial_that_ended_is_told_whether_or_not_it_is_held(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.write(2)
    watch.hold(FAR)
    assert watch.look() == ["ended"]


def test_a_living_process_of_this_machine_keeps_its_trial(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    with claim(watch.folder.claim, beat=0.01, patience=1.0):  # type: ignore[union-attr]  # it is free
        for _ in range(10):
            counter = claims.holder(watch.folder.claim)
            while claims.holder(watch.folder.claim) == counter:
                time.sleep(0.005)
            assert watch.look() == []
    assert watch.look() == ["free"]


@pytest.mark.parametrize("beats", [0, 3])
def test_a_holder_on_another_machine_is_dead_when_its_claim_stands_still(beats: int, tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    for beat in range(beats + 1):
        watch.hold(replace(FAR, counter=beat))
        assert watch.look() == []
    silent = 0.0
    while (found := watch.look()) == []:
        silent += LOOK_S
    assert found == ["free"]
    assert PATIENCE_S - LOOK_S <= silent <= PATIENCE_S + LOOK_S


def test_files_are_not_looked_at_again_at_once(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.hold(FAR)
    assert watch.look() == []
    watch.write(2)
    assert watch.watched.look() == []
    assert watch.look() == ["ended"]
