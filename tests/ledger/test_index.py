"""The index says what the folders say, whatever happened to either of them."""

import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import _walk
from ledger.index import signatures, sqlite
from ledger.index.sqlite import index_file
from ledger.query import (
    SORT_KEYS,
    all_data_sibling,
    best_trials,
    count_finished,
    finished_trials,
    fold_siblings,
    leaderboard,
    scores_by_split,
)
from ledger.studies import StudyFolder
from ledger.trials import TrialFolder
from system.errors import UserError
from system.paths import CompetitionPaths
from tests.ledger._changes import STEPS, STUDIES, Step, a_record, log_event, suggest, write_trial

ROOT = Path(__file__).parents[2]


# ---- both ways, side by side


def assert_same(paths: CompetitionPaths) -> None:
    """Every question has the same answer from the index as from the folders."""
    for sort in SORT_KEYS:
        assert [row.json() for row in leaderboard(paths, sort=sort).rows] == _walk.list_trials(paths, sort=sort)
    there = _walk.list_trials(paths)
    board = leaderboard(paths, limit=2)
    assert ([row.json() for row in board.rows], board.total) == (there[:2], len(there))
    for study in (folder for folder in STUDIES if StudyFolder(paths.studies / folder).planned):
        assert [row.json() for row in leaderboard(paths, study=study).rows] == _walk.list_trials(paths, study=study)
    for target in {row["target"] for row in there}:
        assert [row.json() for row in leaderboard(paths, target=target).rows] == _walk.list_trials(paths, target=target)
        asked = (paths, target, "d people", 0, "f1")
        assert best_trials(*asked) == _walk.best_trials(*asked)
        assert best_trials(*asked, stopped=True) == _walk.best_trials(*asked, stopped=True)
        records = {record.trial_id: record for record, _ in finished_trials(paths, target, "d people", "f1")}
        for name, record in records.items():
            there_is = TrialFolder(paths.trials / name).record()
            assert there_is is not None
            assert record == replace(there_is, trial_id=name)  # a folder's name counts, where somebody renamed it
        assert {name for name, record in records.items() if record.fold == 0} == {
            name for name, _ in _walk.best_trials(paths, target, "d people", 0, "f1")
        }
    assert count_finished(paths) == _walk.count_finished(paths)
    assert scores_by_split(paths) == _walk.scores_by_split(paths)
    siblings = fold_siblings(paths, [row["trial_id"] for row in there])
    for row in there:
        if row["config_id"]:
            assert siblings[row["trial_id"]] == _walk.fold_siblings(paths, row["trial_id"])
            assert all_data_sibling(paths, row["trial_id"]) == _walk.all_data_sibling(paths, row["trial_id"])


@contextmanager
def storage() -> Iterator[CompetitionPaths]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.delenv("PODIUM_CACHE", raising=False)
        yield CompetitionPaths(Path(folder) / "demo")


CHANGES = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 10**6)), min_size=4, max_size=14)


@settings(max_examples=15)
@given(steps=CHANGES, ripe=st.booleans())
def test_after_any_changes_the_index_answers_as_the_folders_do(steps: list[tuple[Step, int]], ripe: bool) -> None:
    walk_through(steps, ripe)


@pytest.mark.long
@settings(max_examples=300)
@given(steps=CHANGES, ripe=st.booleans())
def test_after_any_changes_the_index_answers_as_the_folders_do_at_length(steps: list[tuple[Step, int]], ripe: bool) -> None:
    walk_through(steps, ripe)


def walk_through(steps: list[tuple[Step, int]], ripe: bool) -> None:
    with storage() as paths, pytest.MonkeyPatch.context() as patch:
        if ripe:  # nothing is read again but for its signature: what a change two seconds later meets
            patch.setattr(signatures, "YOUNG_NS", 0)
        for step, seed in steps:
            step(paths, random.Random(seed))
            assert_same(paths)


# ---- what is read, and when


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompetitionPaths:
    """Twelve trials of two studies, written long ago as far as the index is concerned."""
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    monkeypatch.setattr(signatures, "YOUNG_NS", 0)
    paths, rng = CompetitionPaths(tmp_path / "demo"), random.Random(3)
    for _ in range(12):
        write_trial(paths, rng)
        suggest(paths, rng)
        log_event(paths, rng)
    return paths


def reads(paths: CompetitionPaths, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trials whose files the next question opens."""
    opened: list[str] = []
    real = sqlite.read_trial

    def watched(folder: TrialFolder) -> Any:
        opened.append(folder.id)
        return real(folder)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "read_trial", watched)
        leaderboard(paths)
    return opened


def test_only_what_changed_is_read_again(filled: CompetitionPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reads(filled, monkeypatch) == sorted(path.name for path in filled.trials.iterdir())
    assert reads(filled, monkeypatch) == []
    folder = TrialFolder(sorted(filled.trials.iterdir())[1])
    folder.write_record(a_record(folder, random.Random(0)))
    assert reads(filled, monkeypatch) == [folder.id]
    assert reads(filled, monkeypatch) == []


def test_a_record_that_is_still_young_is_read_again(filled: CompetitionPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "YOUNG_NS", 10**18)  # the clock's step on some file system: two writes in it look alike
    young = sorted(path.parent.name for path in filled.trials.glob("*/record.json"))
    for _ in range(2):
        assert set(reads(filled, monkeypatch)) >= set(young)


def test_a_clock_set_back_hides_nothing(filled: CompetitionPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    leaderboard(filled)
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    folder = TrialFolder(sorted(filled.trials.iterdir())[0])
    folder.write_record(a_record(folder, random.Random(5)))
    os.utime(folder.path / "record.json", (1, 1))
    assert_same(filled)


def test_a_damaged_record_is_named_at_every_question(filled: CompetitionPaths, caplog: pytest.LogCaptureFixture) -> None:
    trial = sorted(filled.trials.glob("*/record.json"))[0]
    trial.write_bytes(trial.read_bytes()[:30])
    for question in (leaderboard, count_finished, leaderboard):
        caplog.clear()
        question(filled)
        (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert trial.parent.name in warning.getMessage()


@pytest.mark.parametrize("spoilt", [b"", b"[1]", b"{}", b'{"target": 1, "fold": 0, "seed": 0}', b"\xff"], ids=str)
def test_a_damaged_configuration_leaves_out_its_trial_alone(
    spoilt: bytes, filled: CompetitionPaths, caplog: pytest.LogCaptureFixture
) -> None:
    config = sorted(filled.trials.glob("*/config.json"))[0]
    (config.parent / "record.json").unlink(missing_ok=True)
    config.write_bytes(spoilt)
    shown = {row.trial_id for row in leaderboard(filled).rows}
    assert shown == {path.name for path in filled.trials.iterdir()} - {config.parent.name}
    assert config.parent.name in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"score": "0.5"}, {"seed": 2**70}, {"host": []}, {"epochs_done": None}, {"author": "\ud800"}], ids=str
)
def test_a_record_with_values_of_the_wrong_kind_is_left_out(
    wrong: dict[str, Any], filled: CompetitionPaths, caplog: pytest.LogCaptureFixture
) -> None:
    path = sorted(filled.trials.glob("*/record.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_bytes()) | wrong))
    (row,) = {row for row in leaderboard(filled).rows if row.trial_id == path.parent.name}
    assert (row.score, row.epochs, row.config_id) == (None, 0, "")
    assert f"trial {row.trial_id} is left out: {next(iter(wrong))} is " in caplog.text


# ---- where the file is, and what may be wrong with that place


def test_two_storages_with_one_cache_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "local"))
    first, second = CompetitionPaths(tmp_path / "a" / "demo"), CompetitionPaths(tmp_path / "b" / "demo")
    for paths, seed in ((first, 0), (second, 1)):
        for number in range(5):
            write_trial(paths, random.Random(10 * seed + number))
    for _ in range(2):
        assert_same(first)
        assert_same(second)
    kept = list((tmp_path / "local" / "demo").iterdir())
    assert len(kept) == 2
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in kept)


@contextmanager
def nowhere_to_write(paths: CompetitionPaths) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        (paths.root / "a file").write_bytes(b"")
        patch.setenv("PODIUM_CACHE", str(paths.root / "a file"))
        yield


@contextmanager
def a_file_of_others(paths: CompetitionPaths) -> Iterator[None]:
    shutil.rmtree(paths.cache(), ignore_errors=True)
    index_file(paths).mkdir(parents=True)
    yield


@contextmanager
def locked(paths: CompetitionPaths) -> Iterator[None]:
    """Another program holds SQLite's exclusive lock on the file, for as long as it likes."""
    leaderboard(paths)
    holding = sqlite3.connect(index_file(paths), isolation_level=None)
    holding.execute("BEGIN EXCLUSIVE")
    yield
    holding.close()


@pytest.mark.parametrize("trouble", [nowhere_to_write, a_file_of_others, locked], ids=lambda trouble: trouble.__name__)
def test_an_index_that_cannot_be_kept_costs_time_and_nothing_else(trouble: Any, filled: CompetitionPaths) -> None:
    with trouble(filled):
        assert_same(filled)
        write_trial(filled, random.Random(8))
        assert_same(filled)


@pytest.mark.skipif(
    os.geteuid() != 0, reason="becoming a user who may not write needs root; the test of a missing place stands for it"
)
def test_somebody_who_may_only_read_gets_the_same_answer(filled: CompetitionPaths) -> None:
    leaderboard(filled)
    folder = TrialFolder(sorted(filled.trials.iterdir())[0])
    folder.write_record(a_record(folder, random.Random(5)))
    with tempfile.TemporaryDirectory(dir="/tmp") as theirs:
        shutil.copytree(filled.root, Path(theirs) / "demo")
        Path(theirs).chmod(0o755)
        done = asked_apart(Path(theirs) / "demo", "os.setuid(65534)")
    assert json.loads(done.stdout) == [row.json() for row in leaderboard(filled).rows]
    assert "cannot be kept" in done.stderr


ASK = """
import json, logging, os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from system.paths import CompetitionPaths
from ledger.query import leaderboard
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
exec(sys.argv[3])
print(json.dumps([row.json() for row in leaderboard(CompetitionPaths(Path(sys.argv[1]))).rows]))
"""


def asked_apart(root: Path, first: str) -> "subprocess.CompletedProcess[str]":
    """The leaderboard from a process that did something to itself first."""
    command = [sys.executable, "-c", ASK, str(root), str(ROOT), first]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_a_disk_that_is_full_costs_time_and_nothing_else(filled: CompetitionPaths) -> None:
    full = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))"
    done = asked_apart(filled.root, full)
    assert json.loads(done.stdout) == [row.json() for row in leaderboard(filled).rows]
    assert "cannot be kept" in done.stderr
    assert not list(filled.cache().glob(".*.tmp"))


def test_no_question_about_nothing_makes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    paths = CompetitionPaths(tmp_path / "demo")
    assert (leaderboard(paths).rows, count_finished(paths), scores_by_split(paths)) == ([], {}, [])
    with pytest.raises(UserError, match="unknown study 'day'"):
        leaderboard(paths, study="day")
    assert list(tmp_path.iterdir()) == []


# ---- several processes at once


def test_many_may_ask_and_be_killed_while_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    paths, rng = CompetitionPaths(tmp_path / "demo"), random.Random(1)

    def start(seed: int, what: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.ledger._changes", str(paths.root), str(seed), what]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    for number in range(20):
        write_trial(paths, random.Random(number))
    children = [start(0, "write"), start(1, "ask"), start(2, "ask")]
    try:
        for _ in range(6):
            time.sleep(rng.random() * 0.3)
            for _ in range(3):
                leaderboard(paths)
            victim = rng.randrange(3)
            children[victim].send_signal(signal.SIGKILL)
            _, told = children[victim].communicate()
            assert "Traceback" not in told
            children[victim] = start(victim, "ask" if victim else "write")
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert_same(paths)
    kept = index_file(paths)
    leaderboard(paths)
    with sqlite3.connect(kept) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
