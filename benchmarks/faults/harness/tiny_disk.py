"""Disks that fill up: a tmpfs of a few pages on a fresh temporary folder, unmounted whatever happens."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
"""What a tmpfs hands out at a time."""


@dataclass(frozen=True)
class Disk:
    """A mounted disk."""

    path: Path

    @property
    def used(self) -> int:
        status = os.statvfs(self.path)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def leave(self, pages: int) -> None:
        """Make it so large that this many pages are free."""
        size = max(PAGE, self.used + pages * PAGE)  # size=0 would mean no limit
        subprocess.run(["mount", "-o", f"remount,size={size}", self.path], check=True)
        if size > self.used + pages * PAGE:
            (self.path / ".filler").write_bytes(b"\0" * PAGE)


@contextmanager
def tiny_disk(path: Path, size: int) -> Iterator[Disk]:
    """A disk of `size` bytes on an empty folder of a temporary place, which is made where it is missing."""
    path.mkdir(parents=True, exist_ok=True)
    assert path.is_relative_to(tempfile.gettempdir()), "nothing but temporary folders is mounted over"
    assert not any(path.iterdir()), f"{path} is not empty"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True, capture_output=True)
    try:
        yield Disk(path)
    finally:
        _unmount(path)


@contextmanager
def temporary_place() -> Iterator[Path]:
    """A fresh folder with a short name: Ray's socket names may have 107 characters."""
    place = Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def why_not() -> str | None:
    """Why no disk can be mounted here; `None` where one can."""
    with temporary_place() as place:
        try:
            with tiny_disk(place / "disk", PAGE):
                return None
        except FileNotFoundError:
            return "there is no `mount`"
        except subprocess.CalledProcessError as error:
            return str(error.stderr.decode().strip())


def _unmount(path: Path) -> None:
    for patience in (0.2, 1.0, 3.0):
        if subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(patience)  # a process that was stopped has a file open for a moment longer
    subprocess.run(["umount", "--lazy", path], check=True)
