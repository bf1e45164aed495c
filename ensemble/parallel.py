"""Resamples shared by processes: numpy's small calls hold the interpreter, so threads would not help; results keep their order.

`in_processes(n, work)` runs the same work in n processes, copies of this one. Wherever it asks `parallel_map`, each of them makes its
share of the items, gets the others', and goes on with all. So every process knows the same, and each resample is always chosen by the
same one, which remembers what it chose.
"""

import multiprocessing
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Made = TypeVar("Made")
Link = tuple[Connection, Connection]
"""The first process's end and a helper's."""
MOST_PROCESSES = 4
"""What is done in each of them alike does not get less."""
FORKS = "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
"""Where a process can be copied with libraries loaded."""


@dataclass(frozen=True)
class _Crew:
    """One of n processes, 0 being the first, and its pipes: the first has one to each helper, these one to the first."""

    number: int
    n: int
    pipes: tuple[Connection, ...]

    def exchange(self, mine: Any) -> list[Any]:
        """What all processes have at this point, in their order."""
        try:
            if self.number:
                self.pipes[0].send(mine)
                parts: list[Any] = self.pipes[0].recv()
                return parts
            parts = [mine, *(pipe.recv() for pipe in self.pipes)]
            for part in parts:
                if isinstance(part, _Failed):
                    raise RuntimeError(f"a helping process failed alone: {part.words}")
            for pipe in self.pipes:
                pipe.send(parts)
        except (EOFError, OSError) as error:
            raise RuntimeError("a helping process was killed; was there too little memory?") from error
        return parts


@dataclass(frozen=True)
class _Failed:
    """What a helper sends in place of its part when it has to give up."""

    words: str


_crew: _Crew | None = None


def parallel_map(make: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """`make` of each item, in their order; the first error is raised. What is made, and errors, can be pickled."""
    if _crew is None:
        return [make(item) for item in items]
    mine: list[Any] = []
    error: Exception | None = None
    failed, total = sys.maxsize, 0
    for total, item in enumerate(items, start=1):
        if (total - 1) % _crew.n == _crew.number and error is None:
            try:
                mine.append(make(item))
            except Exception as problem:  # the first of all processes is raised in each of them below
                error, failed = problem, total
    parts = _crew.exchange((mine, failed, None if error is None else _portable(error)))
    first = min(range(_crew.n), key=lambda number: parts[number][1])
    if parts[first][2] is not None:
        raise error if error is not None and first == _crew.number else parts[first][2]
    return [parts[number % _crew.n][0][number // _crew.n] for number in range(total)]


def _portable(error: Exception) -> Exception:
    """The error as it can be sent, with where it happened; one that cannot be, in words."""
    text = "".join(traceback.format_exception(error))
    try:
        sent: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # errors with fields of their own fail in as many ways as there are
        return RuntimeError(text)
    sent.add_note(text)
    return sent


def in_processes(n: int, work: Callable[[], Made]) -> Made:
    """What `work` returns in the first of n processes, at most `MOST_PROCESSES`.

    It must not write or use a device, for it is done n times; what helpers print is lost. Nothing is copied to them: they share this
    process's memory as it is now. Where processes cannot be forked, or within another `in_processes`, there is only this one. Matrix
    products keep to one thread, whatever n: threads of several processes would wait for each other, and sums of floats would depend on
    the number of cores.

    Raises:
        RuntimeError: A helper was killed, or failed where the others did not.
    """
    with threadpool_limits(1, user_api="blas"):
        if n < 2 or not FORKS or _crew is not None:
            return work()
        return _with_helpers(min(n, MOST_PROCESSES), work)


def _with_helpers(n: int, work: Callable[[], Made]) -> Made:
    global _crew
    fork = multiprocessing.get_context("fork")
    links = [fork.Pipe() for _ in range(n - 1)]
    helpers = [fork.Process(target=_help, args=(number, links, work)) for number in range(1, n)]
    for helper in helpers:
        helper.start()
    for _, theirs in links:
        theirs.close()
    _crew = _Crew(0, n, tuple(ours for ours, _ in links))
    try:
        return work()
    finally:
        _crew = None
        for helper, (ours, _) in zip(helpers, links, strict=True):  # nobody waits for what they still do
            helper.kill()
            helper.join()
            ours.close()


def _help(number: int, links: Sequence[Link], work: Callable[[], object]) -> None:
    """Do the same as the first process, silently. Only the own end stays open, so that the first one's end is noticed."""
    global _crew
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the helper ends
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    mine = links[number - 1][1]
    for link in links:
        for end in link:
            if end is not mine:
                end.close()
    _crew = _Crew(number, len(links) + 1, (mine,))
    try:
        work()
    except Exception:
        with suppress(OSError):
            mine.send(_Failed(traceback.format_exc()))
