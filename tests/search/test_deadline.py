"""The clock of a search: what counts, what a kill leaves of it, and when trials end."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.studies import StudyFolder
from search.deadline import Deadline, TrialsEnd, deadline_of
from search.latest import heal, put_in_place, score_of
from system.claims import claim, holder
from tests.ledger._changes import leave_lease

HOUR = 3600.0


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    made = StudyFolder(tmp_path / "studies" / "s")
    made.write_plan({"request": {}})
    return made


def again(study: StudyFolder, hours: float, *, later: float = 0.0) -> Deadline:
    found = deadline_of(study, hours, time.monotonic() - later)
    assert found is not None
    return found


def test_a_clock_that_was_cut_off_goes_on_with_the_same_hours_and_only_with_these(study: StudyFolder) -> None:
    assert deadline_of(study, None, 0.0) is None
    first = again(study, 1.0, later=600.0)
    assert (first.used, round(first.left)) == (0.0, 3000)
    first.log(study)
    assert again(study, 1.0).used == pytest.approx(600, abs=1), "Ctrl-C before the first trial"
    replace(first, begun=first.begun - 900).log(study)
    assert again(study, 1.0).used == pytest.approx(1500, abs=1)
    assert again(study, 2.0).used == 0
    first.log(study, over=True)
    assert again(study, 1.0).used == 0, "what is over begins anew"


def test_the_lease_of_a_killed_run_says_how_long_it_lived(study: StudyFolder) -> None:
    again(study, 1.0, later=60.0).log(study)
    leave_lease(study)
    left = holder(study.lease)
    assert left is not None
    assert again(study, 1.0).used == pytest.approx(60 + left.counter * left.beat, abs=1)
    held = claim(study.lease)
    assert held is not None
    with held:
        again(study, 1.0).log(study)
    assert again(study, 1.0).used < 2 * HOUR


@pytest.mark.parametrize(
    ("left", "answered", "over"),
    [(600.0, True, False), (290.0, True, True), (290.0, False, False), (20.0, False, False), (-1.0, False, True)],
)
def test_trials_end_when_what_comes_after_needs_the_time(left: float, answered: bool, over: bool) -> None:
    deadline = Deadline(1.0, 0.0, time.monotonic() - HOUR + left)
    assert TrialsEnd(deadline, lambda: 300.0, lambda: answered)() == over


def test_without_an_answer_trials_take_no_more_of_the_time_set_aside_than_the_slack_allows() -> None:
    tight = Deadline(0.01, 0.0, time.monotonic())  # 36 s, of which 30 are set aside: 6.4 s may still be used
    seen: Iterator[float] = iter([30.0, 60.0, 30.0])
    end = TrialsEnd(tight, lambda: next(seen), lambda: False)
    assert [end(), end(), end()] == [False, True, True], "what is over stays over"


def test_a_folder_takes_another_s_place_as_a_whole_and_a_kill_between_is_healed(tmp_path: Path) -> None:
    latest = tmp_path / "latest"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "submission.csv").write_text(name)
        put_in_place(tmp_path / name, latest)
        assert (latest / "submission.csv").read_text() == name
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]
    latest.rename(tmp_path / ".latest.old")
    heal(latest)
    assert (latest / "submission.csv").read_text() == "two"
    shutil.copytree(latest, tmp_path / ".latest.old")
    heal(latest)
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_the_score_is_the_label_s_honest_one_else_the_mean_of_the_tasks() -> None:
    tasks = {"a": {"honest": {"mean": 0.5}, "vote": 0.9}, "b": {"honest": None, "vote": 0.7}}
    assert score_of({"scores": tasks}) == pytest.approx(0.6)
    assert score_of({"scores": {**tasks, "label": {"honest": {"mean": 0.4}, "vote": 0.5}}}) == 0.4
