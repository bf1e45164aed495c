"""An `.npz` archive -> per head that it answers ids and probabilities: `image_ids (N)` text, `probs (N, C)`, perhaps `classes (C)` text."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Competition
from submissions.external.heads import Found, as_found, head_of, heads_of
from submissions.external.probabilities import placed
from submissions.tables import id_faults
from system.errors import unknown

ARRAYS = ("image_ids", "probs", "classes")


def read_npz(path: Path, competition: Competition, head: str | None) -> Found:
    """What an archive says; see `submissions.external.csv_file`."""
    arrays, faults = _arrays(path)
    if faults:
        return {}, faults
    ids, probs, classes = arrays["image_ids"], arrays["probs"], arrays.get("classes")
    texts = {"image_ids": ids} | ({} if classes is None else {"classes": classes})
    faults = [
        f"{name} must be a list of texts, got {array.dtype} of shape {array.shape}"
        for name, array in texts.items()
        if array.dtype.kind != "U" or array.ndim != 1
    ]
    if probs.dtype.kind not in "fiu" or probs.ndim != 2:
        faults.append(f"probs must be numbers (photos, classes), got {probs.dtype} of shape {probs.shape}")
    elif not faults and (len(probs) != len(ids) or (classes is not None and probs.shape[1] != len(classes))):
        told = f"{len(ids)} image ids" + ("" if classes is None else f" and {len(classes)} classes")
        faults.append(f"probs must have a row per photo and a column per class, got shape {probs.shape} for {told}")
    if faults:
        return {}, faults
    image_ids = tuple(ids.tolist())
    faults = id_faults(image_ids)
    answered, places, wrong = _head_by(competition, probs.shape[1], None if classes is None else classes.tolist(), head)
    if answered is None:
        return {}, faults + wrong
    return as_found(competition, answered, image_ids, placed(probs, places, len(competition.classes(answered))), faults)


def _arrays(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    if not zipfile.is_zipfile(path):
        return {}, ["it is no .npz archive; save it with numpy.savez"]
    try:
        with np.load(path, allow_pickle=False) as archive:
            strange = [unknown("array", name, ARRAYS) for name in archive.files if name not in ARRAYS]
            missing = [f"array {name!r} is missing" for name in ARRAYS[:2] if name not in archive.files]
            return {name: archive[name] for name in archive.files if name in ARRAYS}, missing + strange
    except Exception as error:  # numpy parses the header as Python, so a strange byte may raise nearly anything
        if isinstance(error, MemoryError):
            raise
        why = "objects are not read" if "allow_pickle" in str(error) else f"{type(error).__name__}: {error}"
        return {}, [f"it cannot be read ({why}); save texts and numbers with numpy.savez"]


def _head_by(
    competition: Competition, n_columns: int, classes: Sequence[str] | None, head: str | None
) -> tuple[str | None, list[int], list[str]]:
    """As `head_of`; columns without names are all classes of a head, in their order."""
    if classes is not None:
        twice = sorted({name for name in classes if classes.count(name) > 1})
        return (
            (None, [], [f"classes must differ, these stand twice: {', '.join(twice)}"])
            if twice
            else head_of(competition, classes, head)
        )
    sizes = {name: len(competition.classes(name)) for name in ((head,) if head else heads_of(competition))}
    fits = [name for name, size in sizes.items() if size == n_columns]
    if len(fits) == 1:
        return fits[0], list(range(n_columns)), []
    told = ", ".join(f"{name} {size}" for name, size in sizes.items())
    if fits:
        return None, [], [f"its {n_columns} columns may be classes of {' or of '.join(fits)}; say which with --task"]
    return None, [], [f"probs must have a column for every class ({told}), or an array `classes`, got {n_columns} columns"]
