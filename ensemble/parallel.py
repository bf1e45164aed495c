"""Resamples side by side: numpy's small calls hold the interpreter, so processes share them, not threads; results keep their order.

Within `in_processes(n)` the same code runs in n processes, copies of this one. Whatever asks `side_by_side` computes its own share of the
items in each of them, gets the others' from them, and goes on with all: so every process knows the same, and within the block each
resample is always chosen by the same one, which remembers what it chose. At the end only the first process is left.
"""

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

Given = TypeVar("Given")
Made = TypeVar("Made")
MOST = 4
"""Processes: what is done in each of them alike does not get less."""
FORKS = hasattr(os, "fork") and sys.platform != "darwin"
"""Where a process can be copied with libraries loaded."""


@dataclass
class _Crew:
    """One of n processes, 0 being the first, and its pipes: the first has one to each other process, these one to the first."""

    number: int
    n: int
    pipes: tuple[Connection, ...]
    n_exchanges: int = 0

    def exchange(self, own: Any) -> list[Any]:
        """What all processes have at this point, in their order."""
        self.n_exchanges += 1
        message = pickle.dumps((self.n_exchanges, own))
        try:
            if self.number:
                self.pipes[0].send_bytes(message)
                return list(pickle.loads(self.pipes[0].recv_bytes()))
            parts = [own, *(self._checked(pickle.loads(pipe.recv_bytes())) for pipe in self.pipes)]
            everything = pickle.dumps(parts)
            for pipe in self.pipes:
                pipe.send_bytes(everything)
        except (EOFError, OSError) as error:
            raise RuntimeError("a helping process was killed; was there too little memory?") from error
        return parts

    def _checked(self, message: tuple[int, Any]) -> Any:
        if message[0] != self.n_exchanges:
            raise RuntimeError(f"a helping process failed alone: {message[1]}")
        return message[1]

    def leave(self) -> None:
        """Of a helper: end, and tell the first process why, where it still waits for this one."""
        if sys.exc_info()[0] is not None:
            with suppress(OSError):
                self.pipes[0].send_bytes(pickle.dumps((0, traceback.format_exc())))
        os._exit(0)


_crew: _Crew | None = None


def side_by_side(make: Callable[[Given], Made], items: Iterable[Given]) -> list[Made]:
    """`make` of each item, in their order; the first error is raised. What is made, and errors, can be pickled."""
    if _crew is None:
        return [make(item) for item in items]
    own: list[Any] = []
    error: Exception | None = None
    failed, total = sys.maxsize, 0
    for total, item in enumerate(items, start=1):
        if (total - 1) % _crew.n == _crew.number and error is None:
            try:
                own.append(make(item))
            except Exception as problem:  # the first of all processes is raised in each of them below
                error, failed = problem, total
    parts = _crew.exchange((own, failed, None if error is None else _portable(error)))
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


@contextmanager
def in_processes(n: int) -> Iterator[None]:
    """Run what follows in n processes, at most `MOST`; it must not write, print or use a device, for it would be done n times.

    Nothing is copied to them: they share this process's memory as it is now. Where processes cannot be forked, or within another
    `in_processes`, there is only this one. Matrix products keep to one thread, whatever n: threads of several processes would wait for
    each other, and sums of floats would depend on the number of cores.

    Raises:
        RuntimeError: A helper was killed, or failed where the others did not.
    """
    with threadpool_limits(1, user_api="blas"), _forked(min(n, MOST) if FORKS and _crew is None else 1):
        yield


@contextmanager
def _forked(n: int) -> Iterator[None]:
    global _crew
    if n < 2:
        yield
        return
    first, helpers = os.getpid(), list[int]()
    links = [Pipe() for _ in range(n - 1)]
    try:
        for link in links:
            helper = os.fork()
            if helper == 0:
                _crew = _Crew(len(helpers) + 1, n, link[1:])
                _be_silent(links, link[1])
                break
            helpers.append(helper)
        else:
            _crew = _Crew(0, n, tuple(ours for ours, _ in links))
            for _, theirs in links:
                theirs.close()
        yield
    finally:
        if os.getpid() != first:  # a helper never leaves the block, whatever happened in it
            if _crew is not None:
                _crew.leave()
            os._exit(0)
        _crew = None
        _end(helpers)
        for ours, _ in links:
            ours.close()


def _be_silent(links: Sequence[tuple[Connection, Connection]], own: Connection) -> None:
    """A helper says nothing, and holds no end but its own, so that it notices when the first process is gone."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the helper ends
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    for ours, theirs in links:
        ours.close()
        if theirs is not own:
            theirs.close()


def _end(helpers: Sequence[int]) -> None:
    """What helpers still do after the last exchange nobody waits for."""
    for helper in helpers:
        with suppress(
            ProcessLookupError, ChildProcessError
        ):  # of a program that ignores its children's end, they are gone already
            os.kill(helper, signal.SIGKILL)
            os.waitpid(helper, 0)
