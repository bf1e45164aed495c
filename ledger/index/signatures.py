"""What is there now, without reading it: one `stat` per trial's record and per study's journal.

Two looks that differ say which files to read again. They are compared for equality alone, never for "newer": a clock that was
set back, or an old file put back with its old time, changes a signature as any other write does.

A trial's `config.json` is written once and its hash is the folder's name, so only its presence is asked: `os.access` costs a third
of `os.stat`. Likewise the files of `suggestions/` are written once each: the folder's own signature tells of new and replaced ones.
"""

import os
import time
from array import array
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from ledger.studies import StudyFolder, study_folders

Signature = tuple[int, int, int, int]
"""mtime and ctime in nanoseconds, size, inode. The ctime tells of an edit in place whose mtime and size were put back."""
ABSENT: Signature = (0, 0, 0, 0)
UNSURE: Signature = (-1, -1, -1, -1)
"""Kept for what must be read again whatever its signature: it was damaged, or young (see `settled`)."""
YOUNG_NS = 2_000_000_000
"""File systems stamp times in steps of up to 2 s (FAT; 1 s on NFS 3, 4 ms on ext4 before Linux 6.13)."""
INODE_BITS = (1 << 63) - 1


def signature(path: str | Path, folder: int | None = None) -> Signature:
    """The file's signature; `ABSENT` where there is none.

    Args:
        path: The file.
        folder: An open folder that `path` starts from.
    """
    try:
        status = os.stat(path, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except OSError:
        return UNSURE  # reading it will say why
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino & INODE_BITS


def settled(seen: Signature, now: int) -> Signature:
    """The signature to keep: `UNSURE` for a file changed so shortly before `now` (ns) that one more change could bear the same time."""
    return UNSURE if abs(now - seen[1]) < YOUNG_NS else seen


def now_ns() -> int:
    """The clock that `settled` compares with; read it before the look."""
    return time.time_ns()


def trial_signatures(trials: Path) -> dict[str, Signature]:
    """Trial id -> signature of its `record.json`, for every folder with a `config.json`, by id."""
    try:
        folder = os.open(trials, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    try:
        with os.scandir(trials) as entries:
            names = sorted(entry.name for entry in entries)
        there = (name for name in names if os.access(f"{name}/config.json", os.F_OK, dir_fd=folder))
        return {name: signature(f"{name}/record.json", folder) for name in there}
    finally:
        os.close(folder)


def study_signatures(studies: Path) -> dict[str, tuple[Signature, Signature]]:
    """Study -> signatures of its `events.jsonl` and its `suggestions/`, for every study with a plan, by name."""
    return {study.name: study_signature(study) for study in study_folders(studies)}


def study_signature(study: StudyFolder) -> tuple[Signature, Signature]:
    return signature(study.path / "events.jsonl"), signature(study.path / "suggestions")


def pack(seen: Mapping[str, Signature]) -> tuple[bytes, bytes]:
    """Names and signatures as bytes, so that two looks at 10,000 trials compare in a fraction of a millisecond."""
    return os.fsencode("/".join(seen)), array("q", chain.from_iterable(seen.values())).tobytes()


def unpack(names: bytes, signatures: bytes) -> dict[str, Signature]:
    """What `pack` was given."""
    numbers = iter(array("q", signatures))
    parts = os.fsdecode(names).split("/") if names else []
    return dict(zip(parts, zip(numbers, numbers, numbers, numbers, strict=True), strict=True))
