"""Work shared by processes equals work done by one, and nothing is left of them, whatever happens."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ensemble.parallel import FORKS, in_processes, parallel_map

forked = pytest.mark.skipif(not FORKS, reason="processes cannot be forked here, so there is only one")


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("total", [0, 1, 2, 7])
def test_results_keep_their_order_and_follow_one_another(n: int, total: int) -> None:
    def work() -> tuple[list[np.ndarray], list[int]]:
        squares = parallel_map(lambda item: np.full(3, item**2), range(total))
        return squares, parallel_map(lambda item: item + sum(map(int, (square[0] for square in squares))), range(total))

    squares, sums = in_processes(n, work)
    assert [int(square[0]) for square in squares] == [item**2 for item in range(total)]
    assert sums == [item + sum(item**2 for item in range(total)) for item in range(total)]


@forked
def test_each_item_is_always_made_by_the_same_process() -> None:
    first, second = in_processes(2, lambda: [parallel_map(lambda _: os.getpid(), range(5)) for _ in range(2)])
    assert first == second
    assert len(set(first)) == 2
    assert first[0] == os.getpid()


@forked
def test_within_processes_there_are_no_more() -> None:
    pids = in_processes(2, lambda: in_processes(4, lambda: parallel_map(lambda _: os.getpid(), range(4))))
    assert len(set(pids)) == 2


@forked
def test_the_first_error_is_raised_and_no_process_is_left(tmp_path: Path) -> None:
    pids: list[int] = []

    def work() -> None:
        pids.extend(parallel_map(lambda _: os.getpid(), range(3)))
        parallel_map(lambda item: 1 / (item - 3), range(9))
        (tmp_path / "went on").touch()

    with pytest.raises(ZeroDivisionError):
        in_processes(3, work)
    assert not list(tmp_path.iterdir())
    assert len(pids) == 3
    assert pids[0] == os.getpid()
    for pid in pids[1:]:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert parallel_map(lambda item: os.getpid(), [0]) == [os.getpid()]


@forked
def test_a_helper_says_nothing_and_its_death_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        print("said once", flush=True)
        parallel_map(lambda item: os._exit(9) if item == 1 else item, range(4))

    with pytest.raises(RuntimeError, match="was killed"):
        in_processes(2, work)
    assert capfd.readouterr().out == "said once\n"


class OddError(Exception):
    """An error that pickle cannot bring back."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


@forked
def test_an_error_comes_from_wherever_it_happened_with_its_cause() -> None:
    def fails(item: int) -> int:
        if item == 1:
            raise OddError("this", "that")
        return item

    def shared(make: Callable[[int], int], items: int) -> None:
        in_processes(2, lambda: parallel_map(make, range(items)))

    with pytest.raises(RuntimeError, match="OddError: this and that"):
        shared(fails, 4)
    with pytest.raises(ZeroDivisionError) as found:
        shared(lambda item: 1 // (item - 1), 4)
    assert "in <lambda>" in found.value.__notes__[0]


@forked
def test_a_helper_that_fails_alone_says_why() -> None:
    first = os.getpid()

    def work() -> None:
        if os.getpid() != first:
            raise KeyError("only here")
        parallel_map(lambda item: item, range(4))

    with pytest.raises(RuntimeError, match="only here"):
        in_processes(2, work)
