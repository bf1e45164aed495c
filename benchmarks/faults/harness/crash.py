"""A writer killed at its k-th touch of the disk, for every k: each write (half of it goes out), fsync, rename, link, unlink, ...

The child is forked from a process that has everything imported, so a kill costs milliseconds. What it calls is wrapped where every
Python program goes through: `open`, and the functions of `os`. A memory map writes without a call, so it is not cut at its pages.
"""

import builtins
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

DISK_CALLS = (
    "fsync",
    "replace",
    "rename",
    "link",
    "unlink",
    "remove",
    "rmdir",
    "mkdir",
    "truncate",
    "ftruncate",
    "utime",
    "posix_fallocate",
)
TIMEOUT_S = 120.0


def killed_at(write: Callable[[], object], k: int) -> bool:
    """Run `write` in a forked child that is killed at its k-th touch of the disk; False where it ended before.

    Raises:
        RuntimeError: It failed, or hangs.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _child(write, k)
    end = time.monotonic() + TIMEOUT_S
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise RuntimeError(f"the writer hangs at its touch {k} of the disk")
        time.sleep(0.001)
    if os.WIFSIGNALED(ended[1]) and os.WTERMSIG(ended[1]) == signal.SIGKILL:
        return True
    if ended[1] != 0:
        raise RuntimeError(f"the writer failed by itself before its touch {k} of the disk")
    return False


def _child(write: Callable[[], object], k: int) -> None:
    try:
        _Countdown(k).install()
        write()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


class _Countdown:
    """Kills this process at the k-th touch."""

    def __init__(self, k: int) -> None:
        self._left, self._open = k, io.open

    def install(self) -> None:
        for name in DISK_CALLS:
            if hasattr(os, name):
                setattr(os, name, self._wrapped(getattr(os, name)))
        for name in ("write", "pwrite"):
            setattr(os, name, self._half(getattr(os, name)))
        os.sendfile = self._half_sent(os.sendfile)  # what shutil copies with
        os.open = self._creating(os.open)  # a wrapper of the same arguments
        builtins.open = io.open = self._opened  # likewise

    def now(self) -> bool:
        """Whether this touch is the one."""
        self._left -= 1
        return self._left == 0

    @staticmethod
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            if self.now():
                self.die()
            return call(*arguments, **more)

        return wrapped

    def _half(self, call: Callable[..., int]) -> Callable[..., int]:
        def half(handle: int, data: Any, *more: Any) -> int:
            if self.now():
                call(handle, data[: len(data) // 2], *more)
                self.die()
            return call(handle, data, *more)

        return half

    def _half_sent(self, call: Callable[..., int]) -> Callable[..., int]:
        def half(out: int, source: int, offset: int, count: int) -> int:
            if self.now():
                call(out, source, offset, max(1, os.fstat(source).st_size // 2))
                self.die()
            return call(out, source, offset, count)

        return half

    def _creating(self, call: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
            if flags & os.O_CREAT and self.now():
                self.die()
            return call(path, flags, *arguments, **more)

        return opened

    def _opened(self, file: Any, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if not set(mode) & set("wax+"):
            return self._open(file, mode, *arguments, **more)
        if self.now():
            self.die()
        return _File(self._open(file, mode, *arguments, **more), self)


class _File:
    """A file opened for writing."""

    def __init__(self, file: Any, countdown: _Countdown) -> None:
        self._file, self._countdown = file, countdown

    def write(self, data: Any) -> int:
        if self._countdown.now():
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            self._countdown.die()
        return int(self._file.write(data))

    def truncate(self, *size: int) -> int:
        if self._countdown.now():
            self._countdown.die()
        return int(self._file.truncate(*size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> Any:
        return iter(self._file)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


Snapshot = dict[str, bytes]


def snapshot(folder: Path) -> Snapshot:
    """Name -> bytes of every file, hidden ones included."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
