"""An `.npz` archive -> per head that it answers ids and probabilities: `image_ids (N)` text, `probs (N, C)`, perhaps `classes (C)` text."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.answers import id_faults
from competitions.competition import Competition
from ledger.imports import PROBABILITIES
from submissions.external.heads import FileContent, HeadRows, few, head_of, heads_of
from submissions.external.probabilities import placed, rounded
from system.errors import listed, unknown

ARRAYS = ("image_ids", "probs", "classes")


def read_npz(path: Path, competition: Competition, head: str | None) -> FileContent:
    """What an archive says; see `submissions.external.csv_file`."""
    arrays, faults = _arrays(path)
    texts = {name: arrays[name] for name in ("image_ids", "classes") if name in arrays}
    faults += [fault for name, array in texts.items() for fault in _text_faults(name, array)]
    lists: dict[str, list[str]] = {name: array.tolist() for name, array in texts.items() if not _text_faults(name, array)}
    image_ids, probs = tuple(lists.get("image_ids", ())), arrays.get("probs")
    faults += id_faults(image_ids) if "image_ids" in lists else []
    form = [] if probs is None else _form_faults(probs, lists)
    if probs is None or form or len(lists) < len(texts):
        return FileContent({}, image_ids, (*faults, *form), complete=False)
    head, class_numbers, wrong = _head_by(competition, probs.shape[1], lists.get("classes"), head)
    if head is None or "image_ids" not in lists:
        return FileContent({}, image_ids, (*faults, *wrong), complete=False)
    kept, wrong = rounded(image_ids, placed(probs, class_numbers, len(competition.classes(head))))
    return FileContent({head: HeadRows(PROBABILITIES, image_ids, kept)}, image_ids, (*faults, *wrong))


def _text_faults(name: str, array: NDArray[Any]) -> list[str]:
    is_list = array.dtype.kind == "U" and array.ndim == 1
    return [] if is_list else [f"{name} must be a list of texts, got {array.dtype} of shape {array.shape}"]


def _form_faults(probs: NDArray[Any], lists: Mapping[str, Sequence[str]]) -> list[str]:
    if probs.dtype.kind not in "fiu" or probs.ndim != 2:
        return [f"probs must be numbers (photos, classes), got {probs.dtype} of shape {probs.shape}"]
    wanted = {"image_ids": probs.shape[0], "classes": probs.shape[1]}
    if all(len(names) == wanted[name] for name, names in lists.items()):
        return []
    given = " and ".join(f"{len(names)} {name.replace('_', ' ')}" for name, names in lists.items())
    return [f"probs must have a row per photo and a column per class, got shape {probs.shape} for {given}"]


def _arrays(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    if not zipfile.is_zipfile(path):
        return {}, ["it is no .npz archive; save it with numpy.savez"]
    try:
        with np.load(path, allow_pickle=False) as archive:
            strange = [unknown("array", name, ARRAYS) for name in archive.files if name not in ARRAYS]
            missing = [f"array {name!r} is missing" for name in ARRAYS[:2] if name not in archive.files]
            return {name: archive[name] for name in archive.files if name in ARRAYS}, missing + few(strange, "unknown arrays")
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
            (None, [], [f"classes must differ, these stand twice: {listed(twice)}"])
            if twice
            else head_of(competition, classes, head)
        )
    sizes = {name: len(competition.classes(name)) for name in ((head,) if head else heads_of(competition))}
    fits = [name for name, size in sizes.items() if size == n_columns]
    if len(fits) == 1:
        return fits[0], list(range(n_columns)), []
    counts = ", ".join(f"{name} {size}" for name, size in sizes.items())
    if fits:
        return None, [], [f"its {n_columns} columns may be classes of {' or of '.join(fits)}; say which with --task"]
    return None, [], [f"probs must have a column for every class ({counts}), or an array `classes`, got {n_columns} columns"]
