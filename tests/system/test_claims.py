"""One holder at a time: among processes, after a death, and while somebody is only slow."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from system import claims
from system.claims import Holder, claim, gone, held_elsewhere, holder, wait_for

ROOT = Path(__file__).parents[2]
# Waits for the go file, claims, says won or lost, and holds until its input is closed.
CONTENDER = """
import sys, time
from pathlib import Path
from system.claims import claim
path, go = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.002)
held = claim(path, beat=0.1, patience=10.0)
print("won" if held else "lost", flush=True)
sys.stdin.read()
print("mine" if held and held.still_mine() else "not mine", flush=True)
"""
Start = Callable[[Path, Path], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(path: Path, go: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-S", "-c", CONTENDER, str(path), str(go)]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        started.append(child)
        return child

    yield run
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def finish(child: subprocess.Popen[str]) -> str:
    return child.communicate(timeout=20)[0].strip()


def contend(start: Start, path: Path, go: Path, n: int) -> list[str]:
    children = [start(path, go) for _ in range(n)]
    assert [line(child) for child in children] == ["ready"] * n
    go.touch()
    return [line(child) for child in children]


def left_by_a_dead_process(path: Path, start: Start, go: Path) -> Holder:
    """A claim file whose holder was killed."""
    go.touch()
    child = start(path, go)
    assert [line(child), line(child)] == ["ready", "won"]
    child.kill()
    child.wait()
    seen = holder(path)
    assert seen is not None
    return seen


def elsewhere(path: Path) -> Holder:
    """A claim file of a silent process on another machine."""
    mine = replace(claims._myself(0.05), place="another boot", host="elsewhere")
    assert claims._create(path, mine)
    return mine


def test_a_claim_is_held_until_released(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trial.claim"
    held = claim(path)
    assert held is not None
    with held:
        seen = holder(path)
        assert seen is not None
        assert (seen.pid, seen.token) == (os.getpid(), held.holder.token)
        assert held.still_mine()
    assert not path.exists()
    assert not held.still_mine()
    assert list(path.parent.iterdir()) == []
    again = claim(path)
    assert again is not None
    held.release()
    assert again.still_mine()
    again.release()


def test_one_of_eight_processes_wins(tmp_path: Path, start: Start) -> None:
    said = contend(start, tmp_path / "a.claim", tmp_path / "go", 8)
    assert sorted(said) == ["lost"] * 7 + ["won"]


def test_a_dead_holder_is_succeeded_by_exactly_one_of_eight(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "a.claim"
    dead = left_by_a_dead_process(path, start, tmp_path / "first")
    assert gone(dead)
    said = contend(start, path, tmp_path / "go", 8)
    assert sorted(said) == ["lost"] * 7 + ["won"]
    seen = holder(path)
    assert seen is not None
    assert seen.token != dead.token


@pytest.mark.parametrize("make", [elsewhere, lambda path: path.write_bytes(b"")], ids=["silent elsewhere", "empty file"])
def test_silence_is_death_and_exactly_one_of_many_observers_succeeds(tmp_path: Path, make: Callable[[Path], object]) -> None:
    n, rounds = 12, 4
    for number in range(rounds):
        path, won = tmp_path / f"{number}.claim", list[claims.Claim]()
        make(path)
        gate = threading.Barrier(n)

        def contender(path: Path = path, won: list[claims.Claim] = won, gate: threading.Barrier = gate) -> None:
            gate.wait()
            held = claim(path, beat=0.05, patience=0.5)
            if held is not None:
                won.append(held)

        threads = [threading.Thread(target=contender) for _ in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert won[0].still_mine()
        won[0].release()
        assert list(tmp_path.iterdir()) == []


def test_a_living_holder_keeps_its_claim_and_is_seen_within_a_beat(tmp_path: Path) -> None:
    path = tmp_path / "a.claim"
    held = claim(path, beat=0.1, patience=5)
    assert held is not None
    with held:
        for _ in range(5):
            begun = time.monotonic()
            assert claim(path, beat=0.1, patience=5) is None
            assert time.monotonic() - begun < 2
        assert held.still_mine()


def test_a_holder_that_slept_too_long_learns_that_it_lost_and_disturbs_nobody(tmp_path: Path, start: Start) -> None:
    path, go = tmp_path / "a.claim", tmp_path / "go"
    go.touch()
    child = start(path, go)
    assert [line(child), line(child)] == ["ready", "won"]
    os.kill(child.pid, signal.SIGSTOP)
    held = claim(path, beat=0.1, patience=0.5)
    assert held is not None
    os.kill(child.pid, signal.SIGCONT)
    time.sleep(0.4)
    assert held.still_mine()
    assert finish(child) == "not mine"
    assert held.still_mine()
    held.release()


def test_a_late_observer_of_a_dead_holder_does_not_displace_the_successor(tmp_path: Path) -> None:
    path = tmp_path / "a.claim"
    dead = elsewhere(path)
    held = claim(path, beat=0.05, patience=0.2)
    assert held is not None
    assert not claims._succeed(path, dead, claims._myself(0.05), 0.2)
    assert held.still_mine()
    held.release()


def test_a_death_in_the_middle_of_a_succession_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.claim"
    dead = elsewhere(path)
    elsewhere(path.with_name(f"{path.name}.{dead.token}"))
    held = claim(path, beat=0.05, patience=0.2)
    assert held is not None
    assert held.still_mine()
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_the_patience_covers_the_beats_the_holder_promised(tmp_path: Path) -> None:
    path = tmp_path / "a.claim"
    held = claim(path, beat=0.5, patience=2.0)
    assert held is not None
    with held:
        assert claim(path, beat=0.05, patience=0.2) is None
    with pytest.raises(ValueError, match="three beats"):
        claim(path, beat=1.0, patience=2.0)


def test_who_waits_is_told_of_the_end_the_death_and_the_time(tmp_path: Path) -> None:
    path, result = tmp_path / "a.claim", tmp_path / "result"
    assert not wait_for(path, result.exists)
    held = claim(path, beat=0.1, patience=0.5)
    assert held is not None
    assert not wait_for(path, result.exists, timeout=0.1)
    threading.Timer(0.2, result.touch).start()
    assert wait_for(path, result.exists, timeout=10)
    result.unlink()
    threading.Timer(0.2, held.release).start()
    assert not wait_for(path, result.exists, timeout=10)
    elsewhere(path)
    begun = time.monotonic()
    assert not wait_for(path, result.exists, patience=0.3)
    assert time.monotonic() - begun < 2


def test_a_claim_whose_folder_was_removed_is_lost(tmp_path: Path) -> None:
    held = claim(tmp_path / "a.claim", beat=0.05, patience=0.2)
    assert held is not None
    (tmp_path / "a.claim").unlink()
    time.sleep(0.15)
    assert not held.still_mine()
    assert not (tmp_path / "a.claim").exists()
    held.release()


def test_of_many_claims_on_other_machines_those_that_beat_are_alive(tmp_path: Path) -> None:
    """Only looked at: a claim file of a copied ledger has a counter that stands still."""
    mine = claim(tmp_path / "here")
    assert mine is not None
    with mine:
        far = {name: tmp_path / name for name in ("silent", "beating")}
        other = replace(mine.holder, place="another machine", beat=0.05)
        for path in far.values():
            path.write_bytes(claims._content(other))
        over = threading.Event()

        def beat() -> None:
            for counter in range(1, 10**9):
                if over.wait(0.05):
                    return
                far["beating"].write_bytes(claims._content(replace(other, counter=counter)))

        beating = threading.Thread(target=beat)
        beating.start()
        found = held_elsewhere([*far.values(), mine.path, tmp_path / "missing"], patience=1.0)
        over.set()
        beating.join()
    assert found == {far["beating"], mine.path}
    assert all(path.exists() for path in far.values())
    assert held_elsewhere([mine.path]) == set()
