"""What a search says while it runs: how far, how long, how good; a new best at once."""

import io

import pytest

from system.progress import SHOWN_RUNNING, Running, StatusLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_a_better_score_is_told_at_once_and_an_equal_one_is_not(stream: io.StringIO) -> None:
    status = StatusLine(4, ["age", "mask"], stream)
    for trial, target, score in (("a", "age", 0.5), ("b", "age", 0.5), ("c", "mask", 0.9), ("d", "age", 0.625)):
        status.epoch(trial, target, 0.5, score)
    told = [line for line in stream.getvalue().replace("\r\x1b[K", "\n").splitlines() if line.startswith("new best")]
    assert told == ["new best of age: 0.6250, +0.1250 (trial d)"]


def test_time_left_counts_what_is_done_within_an_epoch() -> None:
    status = StatusLine(2, ["age"], io.StringIO())
    now = status._started + 60
    assert status.text(now).endswith("best: age -  1:00 so far")
    status.look({"a": Running(epoch=2, epochs=4, share=0.0, epoch_seconds=30.0, memory=2_000_000_000)})
    line = status.text(now)
    assert "running 1: epoch 2/4 0% (30 s each, 2.0 GB)" in line
    assert line.endswith("1:00 so far, about 7:00 left")  # a quarter of one of two trials took a minute
    status.ended("a")
    assert status.text(now).endswith("1:00 so far, about 1:00 left")


def test_many_that_run_are_counted_and_only_some_are_shown() -> None:
    status = StatusLine(40, ["age"], io.StringIO())
    status.look({f"t{n}": Running(1, 5, 0.5, 0.0, 0) for n in range(30)})
    line = status.text(status._started)
    assert "running 30: " in line
    assert line.count("epoch 1/5 50%") == SHOWN_RUNNING
