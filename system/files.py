"""Bytes to disk so that a reader sees the old file or the new one, never half of one.

One writer per file: write beside, fsync where an acknowledged result would otherwise be lost, `os.replace`. What a kill leaves beside a
file says whose it was, so `sweep` can tell it from what somebody writes at the moment.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from system.checksums import sealed, split_lines, unsealed
from system.claims import is_process, place
from system.disk import writing

COPY_BYTES = 1 << 20
ABANDONED_S = 86_400.0
"""A file beside another one that a process elsewhere has not touched for this long is nobody's."""
_BESIDE = re.compile(r"\..+\.(?P<place>[0-9a-f]{8})\.(?P<pid>[0-9]+)\.[0-9a-f]{8}\.tmp")


def replace_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace `path` whole with `data`.

    Args:
        path: The file; its folder is made where it is missing.
        data: All of its bytes.
        durable: Force data and name to the disk before returning; False for what can be made again.

    Raises:
        FullDiskError: There is no room; the old file is then untouched and nothing is left beside.
        OSError: The folder cannot be written; the old file is then untouched.
    """
    with _replacing(path, len(data), durable=durable) as file:
        file.write(data)


@contextmanager
def _replacing(path: Path, n_bytes: int, *, durable: bool) -> Iterator[IO[bytes]]:
    """A new file for the bytes of `path`, which takes its name at the end of the block and is gone where the block fails."""
    with writing(path.parent, n_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{_own_place()}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
        try:
            with open(beside, "wb") as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(path.parent)


def copy_file(source: Path, path: Path) -> str:
    """Copy `source` so that `path` is there whole or not at all, and forced to the disk.

    Returns:
        The SHA-256 of the copied bytes.

    Raises:
        FullDiskError: There is no room; nothing is left beside.
        OSError: `source` cannot be read.
    """
    hashed = hashlib.sha256()
    with _replacing(path, source.stat().st_size, durable=True) as new, open(source, "rb") as old:
        while part := old.read(COPY_BYTES):
            hashed.update(part)
            new.write(part)
    return hashed.hexdigest()


def sweep(folder: Path) -> None:
    """Remove what killed writers left in `folder`; what a living one writes stays."""
    for path in folder.glob(".*.tmp") if folder.is_dir() else ():
        found = _BESIDE.fullmatch(path.name)
        if found is None:
            continue
        ours = found["place"] == _own_place()
        if not is_process(int(found["pid"])) if ours else _age(path) > ABANDONED_S:
            path.unlink(missing_ok=True)


def _own_place() -> str:
    return hashlib.blake2b(place().encode(), digest_size=4).hexdigest()


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def sync_folder(folder: Path) -> None:
    """Force the names in `folder` to the disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Replace `path` with `value` as indented UTF-8 JSON with sorted keys: the same value gives the same bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    replace_bytes(path, text.encode() + b"\n", durable=durable)


def replace_sealed(path: Path, value: Mapping[str, Any], *, durable: bool = True) -> None:
    """As `replace_json`, for an object, with a seal that `read_json` checks and takes off (`system.checksums`)."""
    replace_bytes(path, sealed(value, indent=1) + b"\n", durable=durable)


def read_json(path: Path) -> Any:
    """The value in `path`, without its seal where it has one.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not JSON, or not what was sealed; the message names it.
    """
    try:
        return unsealed(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name} is not readable JSON ({error}); it may be cut short") from error


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append an object as one sealed JSON line and force it to the disk. Only the file's one writer may call this.

    Raises:
        FullDiskError: There is no room; the file has the lines it had.
    """
    line = sealed(value) + b"\n"
    with writing(path.parent, len(line)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", buffering=0) as file:
            _mend_end(file)
            _append_whole(file, line)


def _append_whole(file: IO[bytes], line: bytes) -> None:
    """All of `line` at the end of an unbuffered file, or nothing of it: a full disk takes the beginning and refuses the rest."""
    size = file.seek(0, os.SEEK_END)
    try:
        written = 0
        while written < len(line):
            written += file.write(line[written:])
        os.fsync(file.fileno())
    except OSError:
        file.truncate(size)
        raise


def _mend_end(file: IO[bytes]) -> None:
    """Cut off a last line that a kill left half written: it was never acknowledged, and would spoil the next one."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    data = file.read()
    if split_lines(data).torn:
        file.truncate(data.rfind(b"\n") + 1)
    else:  # all of it but its end
        file.write(b"\n")


def lines_text(values: list[dict[str, Any]]) -> bytes:
    """Objects as sealed JSON lines."""
    return b"".join(sealed(value) + b"\n" for value in values)


def read_lines(path: Path) -> list[Any]:
    """The JSON lines of `path` without their seals, oldest first; a last line that is not whole was cut off by a kill and is left out.

    Raises:
        ValueError: A line other than the last is not JSON, or not what was sealed.
    """
    if not path.exists():
        return []
    found = split_lines(path.read_bytes())
    if found.damaged:
        raise ValueError(f"{path.name} has {len(found.damaged)} unreadable lines, the first {found.damaged[0][:40]!r}")
    return list(found.values)


def fingerprint(value: Any, *, length: int = 16) -> str:
    """A name for a JSON value: the first `length` hex digits of the SHA-256 of its canonical form.

    The canonical form has sorted keys, no spaces, UTF-8 text and no NaN, so equal values have equal names on every machine.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def file_hash(path: Path) -> str:
    """The SHA-256 of the file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_hash(path: Path) -> str:
    """As `file_hash`, taken once while the file stays as it is: the same weights are asked for in each of many draws."""
    status = path.stat()
    return _hash_as_it_was(path, status.st_size, status.st_mtime_ns)


@lru_cache(64)
def _hash_as_it_was(path: Path, n_bytes: int, changed_ns: int) -> str:
    return file_hash(path)
