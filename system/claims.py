"""Who works on what: a path becomes a `Claim` that one process holds, or None because another one holds it.

A claim is a file created exclusively (`O_CREAT | O_EXCL`). Its holder raises a counter in it every `beat` seconds. An observer
calls the holder dead when the counter has stood still for `patience` seconds of the observer's own monotonic clock; clocks of two
hosts are never compared. On the holder's own host a process that is gone is dead at once.

Two rules keep two observers of one dead claim from both winning, whatever order their steps come in:

* A beat is written into the open file after its token was read from that same file, never through the name, so a holder that was
  thought dead and wakes up cannot write over its successor.
* Renaming the dead file away by its name could rename a successor's file. So whoever wants to succeed token T first creates
  `<claim>.<T>` exclusively, looks again, and only then replaces the file. Whoever dies in between is succeeded the same way.

No lease without a fence is perfect: a holder that sleeps longer than `patience` has lost its claim and learns so from
`still_mine()`. Ask before writing what must have one writer.
"""

import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from system.disk import writing
from system.errors import UserError

LENGTH = 512  # every version of a claim file has this many bytes, so that a beat is one write in place
POLL = 0.05  # seconds between two looks at somebody else's claim


@dataclass(frozen=True)
class Holder:
    """Who holds a claim, as its file says.

    Attributes:
        host: Name of the machine, for people.
        pid: Process number there.
        started: UTC time of the claim, ISO 8601, for people; never compared.
        counter: Raised by one every `beat` seconds; -1 for a file without readable content.
        token: Unique to this claim.
        place: Boot and process namespace in which `pid` means this process.
        beat: Seconds between two beats, as the holder intends.
    """

    host: str
    pid: int
    started: str
    counter: int
    token: str
    place: str
    beat: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.started}"


class Claim:
    """A held claim. Use it as a context manager, or call `release()`; a killed process needs neither.

    Attributes:
        path: The claim file.
        holder: What was written when the claim was made.
    """

    def __init__(self, path: Path, holder: Holder) -> None:
        self.path = path
        self.holder = holder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"claim {path.name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def still_mine(self) -> bool:
        """Whether nobody took the claim over and nobody removed it. False after `release()`."""
        return not self._over.is_set() and self._is_on_disk()

    def release(self) -> None:
        """Give the claim back. Does nothing the second time, after a loss, or in a forked child."""
        if self._over.is_set() or os.getpid() != self.holder.pid:
            return
        self._over.set()
        self._thread.join()
        if self._is_on_disk():
            self.path.unlink(missing_ok=True)

    def _is_on_disk(self) -> bool:
        seen = holder(self.path)
        if seen is not None and seen.counter < 0:  # read in the middle of a beat
            time.sleep(POLL)
            seen = holder(self.path)
        return seen is not None and seen.token == self.holder.token

    def _beat(self) -> None:
        counter = 0
        while not self._over.wait(self.holder.beat):
            counter += 1
            try:
                if not _write_beat(self.path, replace(self.holder, counter=counter)):
                    return
            except FileNotFoundError:
                return
            except OSError:
                continue  # a full disk or a mount that is away: the next beat tries again


def claim(path: Path, *, beat: float = 1.0, patience: float = 5.0) -> Claim | None:
    """Claim `path`, or say that somebody else holds it.

    Returns at once when the claim is free or its holder's process is gone, within one beat of a living holder, and within
    `patience` of a dead one.

    Args:
        path: The claim file; its folder is made where it is missing.
        beat: Seconds between two beats of this claim.
        patience: Seconds of a silent counter after which a holder is dead; at least three of that holder's beats are awaited.

    Returns:
        The claim, or None while another one lives.

    Raises:
        FullDiskError: There is no room for the claim.
        OSError: The folder cannot be written.
    """
    if not 0 < 3 * beat <= patience:
        raise ValueError(f"patience must be at least three beats, got patience={patience} and beat={beat}")
    mine = _myself(beat)
    with writing(path.parent, LENGTH):
        path.parent.mkdir(parents=True, exist_ok=True)
        while not _create(path, mine):
            seen = holder(path)
            if seen is None:
                continue
            if not _is_dead(path, seen, patience):
                return None
            if _succeed(path, seen, mine, patience):
                break
    return Claim(path, mine)


def claim_or_refuse(path: Path, refusal: Callable[[object], str]) -> Claim:
    """As `claim`, for work that does not wait.

    Args:
        path: The claim file.
        refusal: From who holds it to what is said then.

    Raises:
        UserError: Another one holds it.
    """
    held = claim(path)
    if held is None:
        raise UserError(refusal(holder(path) or "another process"))
    return held


def holder(path: Path) -> Holder | None:
    """Who holds the claim at `path`; None where there is none."""
    try:
        with open(path, "rb") as file:
            return _parse(file.read(LENGTH), file.fileno())
    except FileNotFoundError:
        return None


def living(path: Path, *, patience: float = 5.0) -> Holder | None:
    """Who holds the claim at `path` and lives; only looks, and waits no longer than until the holder's next beat or `patience`."""
    seen = holder(path)
    return None if seen is None or _is_dead(path, seen, patience) else holder(path)


def works_here(seen: Holder) -> bool:
    """Whether the holder is a living process of this machine; of another machine only `claim` can tell, by waiting."""
    return seen.place == place() and not gone(seen)


def held_elsewhere(paths: Iterable[Path], *, patience: float = 5.0) -> set[Path]:
    """Which of these claims have a living holder; only looks, and watches all of them at once.

    Args:
        paths: Claim files, of which some may be missing.
        patience: As for `claim`; waits no longer than it takes to see every counter move.
    """
    first = {path: seen for path in paths if (seen := holder(path)) is not None and not gone(seen)}
    alive = {path for path, seen in first.items() if works_here(seen)}
    end = time.monotonic() + max([patience, *(3 * seen.beat for seen in first.values())])
    while len(alive) < len(first) and time.monotonic() < end:
        time.sleep(POLL)
        for path in first.keys() - alive:
            seen = holder(path)
            if seen is None:
                del first[path]
            elif seen != first[path]:
                alive.add(path)
    return alive


def gone(seen: Holder) -> bool:
    """Whether the holder's process is known to have ended. False for another machine, where only silence tells."""
    return seen.place == place() and not is_process(seen.pid)


def is_process(pid: int) -> bool:
    """Whether a process of this machine lives; one that may not be asked does."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def wait_for(path: Path, done: Callable[[], bool], *, patience: float = 5.0, timeout: float | None = None) -> bool:
    """Wait while somebody else works.

    Args:
        path: Their claim file.
        done: Tells whether what one waits for is there; asked every `POLL` seconds.
        patience: As for `claim`.
        timeout: Seconds after which to give up; None waits as long as the holder lives.

    Returns:
        True when `done()`; False when the claim is free, its holder dead, or the time over: claim it and do the work.
    """
    end = None if timeout is None else time.monotonic() + timeout
    while not done():
        seen = holder(path)
        if seen is None:
            return done()
        if end is not None and time.monotonic() >= end:
            return False
        if _is_dead(path, seen, patience, meanwhile=lambda: done() or (end is not None and time.monotonic() >= end)):
            return done()
    return True


def _is_dead(path: Path, seen: Holder, patience: float, *, meanwhile: Callable[[], bool] = lambda: False) -> bool:
    if gone(seen):
        return True
    end = time.monotonic() + max(patience, 3 * seen.beat)
    while time.monotonic() < end:
        time.sleep(POLL)
        if holder(path) != seen or meanwhile():
            return False
        if gone(seen):
            return True
    return True


def _succeed(path: Path, dead: Holder, mine: Holder, patience: float) -> bool:
    marker = path.with_name(f"{path.name}.{dead.token}")
    if not _create(marker, mine):
        rival = holder(marker)
        if rival is None or not _is_dead(marker, rival, patience) or not _succeed(marker, rival, mine, patience):
            return False
    try:
        if holder(path) != dead:
            return False
        beside = path.with_name(f".{path.name}.{mine.token}.tmp")
        try:
            beside.write_bytes(_content(mine))
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        return True
    finally:
        marker.unlink(missing_ok=True)


def _create(path: Path, mine: Holder) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        if os.write(handle, _content(mine)) < LENGTH:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    return True


def _write_beat(path: Path, mine: Holder) -> bool:
    # Opened anew for each beat: closing is what makes a network mount show it to the others.
    handle = os.open(path, os.O_RDWR)
    try:
        if _parse(os.pread(handle, LENGTH, 0), handle).token != mine.token:
            return False
        os.pwrite(handle, _content(mine), 0)
        return True
    finally:
        os.close(handle)


def _content(mine: Holder) -> bytes:
    return json.dumps(asdict(mine)).encode().ljust(LENGTH - 1) + b"\n"


def _parse(content: bytes, handle: int) -> Holder:
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError):
        # Its creator is about to write it, or died before it could: patience decides. The token is the file's own identity.
        status = os.fstat(handle)
        return Holder("unknown", 0, "", -1, f"blank-{status.st_ino}-{status.st_ctime_ns}", "", 0.0)


def _myself(beat: float) -> Holder:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(socket.gethostname()[:64], os.getpid(), started, 0, secrets.token_hex(8), place(), beat)


@cache
def place() -> str:
    """Boot and process namespace of this process: what a process number is to be understood in."""
    # Containers on one machine may share a host name but not the meaning of a process number.
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return socket.gethostname()[:64]
