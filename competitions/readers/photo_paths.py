"""Where photos are: paths as a table writes them to paths as the file system spells them, and the faults of those that lead nowhere.

A `Place` takes the root and N paths and gives N paths and the faults: `place_files` for photos that are files, `place_members` for
rows of `.npz` archives. Only folder listings and array headers are read.
"""

import os
import posixpath
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from competitions.competition import Competition
from competitions.images.elsewhere import what_is_there
from competitions.images.photo_files import find_files, is_hidden, several_faults
from system.errors import UserError, listed, unknown
from system.texts import alike, told_alike

Place = Callable[[Path, Sequence[str]], tuple[list[str], list[str]]]


def require_root(competition: Competition, root: Path) -> None:
    """Raise a `UserError` where the competition's folder is not there."""
    if not root.is_dir():
        raise UserError(
            f"competition {competition.name!r} reads its data from {root}, which is not a folder; PODIUM_DATA is the "
            f"folder that holds the data of all competitions: set it in the environment or in .env (PODIUM_DATA=/path/to/data), "
            f"or put the data there"
        )


def relative_paths(images: str | Sequence[str], given: Sequence[str]) -> tuple[list[str], list[str]]:
    """N normalised paths relative to the root, and the faults of those that leave it; `images` is the folder of all, or of each."""
    fronts = [images] * len(given) if isinstance(images, str) else images
    paths = [value.replace("\\", "/") for value in given]
    absolute = [repr(p) for p in paths if p.startswith("/") or re.match("[A-Za-z]:", p)]
    paths = [posixpath.normpath(f"{front}/{p}" if front else p) for front, p in zip(fronts, paths, strict=True)]
    outside = [repr(p) for p in paths if p == ".." or p.startswith("../")]
    faults = []
    if absolute:
        faults.append(f"paths must be relative to the competition's folder, got absolute {listed(absolute)}; cut off the front")
    if outside:
        faults.append(f"paths must stay inside the competition's folder, got {listed(outside)}; move the photos into it")
    return paths, faults


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, hidden ones left out, sorted."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name))


def twin_faults(folders: Sequence[str], where: str) -> list[str]:
    """A sentence where names of folders look equal and are not, as after copying from a Mac and from Windows."""
    same = [told_alike(some) for some in alike(folders)]
    return (
        [f"{where}: the names of folders must differ to the eye, these do not: {listed(same)}; put them together"] if same else []
    )


def place_files(root: Path, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The paths as the file system spells them, with the endings that a table may leave out, and the faults of those that are missing."""
    found = find_files(root, paths)
    faults, missing = several_faults(found.several), found.missing(paths)
    if missing:
        there = what_is_there(root, missing)
        way_out = "" if there else "; check `images` and `columns.path` in the competition's YAML, or the upload"
        faults.append(f"{len(missing)} of {len(paths)} image files are not below {root}: {listed(map(repr, missing))}{way_out}")
        faults += there
    return [place or path for place, path in zip(found.paths, paths, strict=True)], faults


def place_members(root: Path, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The paths as they are, and the faults of archives, arrays and rows they point to."""
    split = [_member(path) for path in paths]
    unreadable = [repr(path) for path, parts in zip(paths, split, strict=True) if parts is None]
    faults = []
    if unreadable:
        faults.append(
            f"a packed photo's path must read archive.npz#array/row, as in images.npz#train/0, got {listed(unreadable)}"
        )
    highest: dict[tuple[str, str], int] = {}
    for parts in filter(None, split):
        archive, array, row = parts
        highest[archive, array] = max(row, highest.get((archive, array), 0))
    for archive in sorted({archive for archive, _ in highest}):
        asked = {array: row for (a, array), row in highest.items() if a == archive}
        faults += _archive_faults(root / archive, archive, asked)
    return list(paths), faults


def _member(path: str) -> tuple[str, str, int] | None:
    archive, _, rest = path.partition("#")
    array, _, row = rest.rpartition("/")
    return (archive, array, int(row)) if archive and array and re.fullmatch("[0-9]{1,9}", row) else None


def _archive_faults(path: Path, name: str, asked: dict[str, int]) -> list[str]:
    if not path.is_file():
        return [f"there is no archive {name!r} in {path.parent}; check the upload"]
    try:
        with zipfile.ZipFile(path) as archive:
            held = {member.removesuffix(".npy") for member in archive.namelist()}
            faults = [f"{name}: {unknown('array', array, held)}" for array in asked if array not in held]
            for array in sorted(held.intersection(asked)):
                with archive.open(f"{array}.npy") as file:
                    faults += _array_faults(f"{name}#{array}", file, asked[array])
            return faults
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        return [f"{name} is not a readable .npz archive ({error}); write it with numpy.savez or upload it again"]


def _array_faults(name: str, file: IO[bytes], highest: int) -> list[str]:
    """The faults of one packed array, from its header alone."""
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
    shape, _, dtype = read(file)
    if dtype != np.uint8 or len(shape) not in {3, 4} or (len(shape) == 4 and shape[3] not in {1, 3}):
        return [f"{name} must be uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), got {dtype} {shape}; convert it before packing"]
    if highest >= shape[0]:
        return [f"{name} has rows 0..{shape[0] - 1}, the table asks for row {highest}; table and archive do not belong together"]
    return []
