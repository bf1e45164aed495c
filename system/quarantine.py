"""Quarantine: what is damaged is moved out of the way, never deleted, and named in one warning.

`<storage>/<competition>/quarantine/<where it stood>/<name>.<hash>`: the same damage comes to the same place, so what is done again after a
kill leaves no second copy. Only the owner of a file calls this: who holds its trial's claim or its study's lease, or replaces it whole.
"""

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

from system.files import file_hash, replace_bytes

log = logging.getLogger("podium.ledger")
QUARANTINE = "quarantine"
NAME_DIGITS = 8


def quarantine(root: Path, path: Path, why: object, *, did: str) -> None:
    """Move a damaged file away and say so; one that somebody else moved meanwhile is moved.

    Args:
        root: The competition's folder.
        path: The file, below `root`.
        why: What is wrong with it.
        did: What happens instead, e.g. "healed from last.safetensors".
    """
    with suppress(FileNotFoundError):
        place = _place(root, path, file_hash(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)
    _warn(root, path, why, did)


def quarantine_copy(root: Path, path: Path, why: object, *, did: str) -> None:
    """As `quarantine`, for a file that the caller replaces right after this: there is no moment without one."""
    quarantine_bytes(root, path, path.read_bytes(), why, did=did)


def quarantine_bytes(root: Path, path: Path, data: bytes, why: object, *, did: str) -> None:
    """Keep a damaged part of a file, e.g. one line, and say so; the file itself is rewritten by the caller, after this."""
    replace_bytes(_place(root, path, hashlib.sha256(data).hexdigest()), data)
    _warn(root, path, why, did)


def _place(root: Path, path: Path, hashed: str) -> Path:
    return root / QUARANTINE / path.relative_to(root).parent / f"{path.name}.{hashed[:NAME_DIGITS]}"


def _warn(root: Path, path: Path, why: object, did: str) -> None:
    log.warning("damaged: %s (%s); moved to %s/, %s", path.relative_to(root).as_posix(), why, QUARANTINE, did)
