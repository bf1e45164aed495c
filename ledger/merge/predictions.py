"""Two folders of predictions for the same weights -> their union, array by array.

A part (validation, test, outside) answers one list of photos. Where the lists differ, one of them stays with its arrays, the one with
the smaller hash: which is decided by content alone, and what goes can be computed again.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from ledger.predictions import PHOTOS_END, Predictions
from system.files import replace_bytes

Damaged = Callable[[Path, str], object]


def unite_parts(target: Path, source: Path, damaged: Damaged) -> int:
    """Bring what `source` has into `target`; equal files stay as they are.

    Args:
        target: A folder of predictions; made where it is missing.
        source: Another, of the same weights; not written to.
        damaged: Told (file, why) of what was left out.

    Returns:
        How many arrays were written.
    """
    listings = sorted(source.glob(f"*{PHOTOS_END}")) if source.is_dir() else []
    return sum(_unite_part(target, source, path.name.removesuffix(PHOTOS_END), damaged) for path in listings)


def _unite_part(target: Path, source: Path, part: str, damaged: Damaged) -> int:
    name = f"{part}{PHOTOS_END}"
    theirs = (source / name).read_bytes()
    ours = (target / name).read_bytes() if (target / name).is_file() and any(target.glob(f"{part}.*.npy")) else None
    if ours is not None and theirs != ours and _order(ours) < _order(theirs):
        return 0
    arrays = _whole_arrays(source, part, damaged)
    if not arrays:
        return 0
    if theirs != ours:
        for stale in target.glob(f"{part}.*.npy"):
            stale.unlink()
        replace_bytes(target / name, theirs)
    written = 0
    for file, data in arrays.items():
        present = (target / file).read_bytes() if (target / file).is_file() else None
        if present == data or (present is not None and _order(present) < _order(data) and not _fault(target, file)):
            continue
        replace_bytes(target / file, data)
        written += 1
    return written


def _whole_arrays(folder: Path, part: str, damaged: Damaged) -> dict[str, bytes]:
    """File name -> bytes of the arrays that can be read and fit their photos."""
    whole = {}
    for path in sorted(folder.glob(f"{part}.*.npy")):
        if fault := _fault(folder, path.name):
            damaged(path, fault)
        else:
            whole[path.name] = path.read_bytes()
    return whole


def _fault(folder: Path, file: str) -> str | None:
    """What is wrong with an array, by its name `<part>.<head>.<view>.npy`; `None` where it is whole and fits its photos."""
    part, _, rest = file.removesuffix(".npy").partition(".")
    head, _, view = rest.rpartition(".")
    return Predictions(folder).fault(part, head, view)


def _order(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
