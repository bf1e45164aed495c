"""Full disks: ENOSPC or EDQUOT from any writer becomes one sentence that says which disk, how full, and what was needed.

A writer that meets a full disk leaves nothing half-written under a file's own name and raises `FullDiskError`. Whoever is in charge
(a verb, the driver of a study) stops and says the sentence once; after space was freed the same command goes on.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


class FullDiskError(OSError):
    """A disk, or somebody's share of it, is full. `strerror` is the sentence for people, `filename` the folder that was written to."""


def is_full(error: BaseException) -> bool:
    """Whether this is what a full disk raises."""
    return isinstance(error, OSError) and error.errno in FULL


def sentence(error: OSError) -> str:
    """What to tell people of a full disk."""
    return str(error.strerror) if isinstance(error, FullDiskError) else f"a disk is full ({error})"


@contextmanager
def writing(folder: Path, needed: int | None = None) -> Iterator[None]:
    """Whatever is written in this block goes into `folder`.

    Args:
        folder: Need not be there yet.
        needed: Bytes that are to be written, where that is known.

    Raises:
        FullDiskError: The block met a full disk.
    """
    try:
        yield
    except FullDiskError:
        raise
    except OSError as error:
        if not is_full(error):
            raise
        raise full_disk(folder, needed, error.errno or errno.ENOSPC) from error


def full_disk(folder: Path, needed: int | None = None, number: int = errno.ENOSPC) -> FullDiskError:
    """The error of a disk that has not as much as `needed` bytes."""
    share = "your share of " if number == errno.EDQUOT else ""
    return FullDiskError(number, f"{share}the disk of {_storage(folder)} is full ({_state(folder, needed)})", str(folder))


def free_bytes(folder: Path) -> int:
    """How many bytes a user may still write to the disk of `folder`, which need not be there yet."""
    status = os.statvfs(_there(folder))
    return status.f_bavail * status.f_frsize


def bytes_text(n: int) -> str:
    """A size as people say it.

    >>> bytes_text(20_000_000_000), bytes_text(1_250), bytes_text(12)
    ('20.0 GB', '1.2 kB', '12 bytes')
    """
    for size, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} bytes"


def _storage(folder: Path) -> Path:
    """The storage that a folder belongs to, `<storage>/<competition>/{trials,studies,...}`, else the folder itself."""
    own = (place.parent for place in (folder, *folder.parents) if (place / "studies").is_dir() or (place / "trials").is_dir())
    return next(own, folder)


def _state(folder: Path, needed: int | None) -> str:
    status = os.statvfs(_there(folder))
    used, total = (status.f_blocks - status.f_bfree) * status.f_frsize, status.f_blocks * status.f_frsize
    parts = [f"{bytes_text(used)} of {bytes_text(total)} used", f"{bytes_text(status.f_bavail * status.f_frsize)} free"]
    return ", ".join([*parts, *([f"{bytes_text(needed)} needed"] if needed is not None else [])])


def _there(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
