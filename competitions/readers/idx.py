"""Layout `idx`: the files in which MNIST and Fashion-MNIST are published, packed with gzip or not, become rows.

    train-images-idx3-ubyte[.gz]   train-labels-idx1-ubyte[.gz]   t10k-images-idx3-ubyte[.gz]

An idx file is a header of big-endian numbers (0, 0, 8 = unsigned byte, D axes, then D lengths) and the bytes, last axis fastest
(http://yann.lecun.com/exdb/mnist). Label k is the k-th class of the YAML, or class `k` where it names
none. Ids are `train/0` and `t10k/0`; a path reads
`train-images-idx3-ubyte.gz#0`. The labels of the test photos, which these downloads also hold, are never read.
"""

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path

from competitions.competition import Competition
from competitions.images.decode import MAX_MEMBER_BYTES, idx_array, idx_header, open_idx
from competitions.manifest import Manifest
from competitions.readers.photo_paths import require_root
from competitions.readers.rows import PhotoRows, manifest_of
from system.errors import UserError, listed

MOST_ENTRIES = 1 << 24  # a damaged header may claim billions
ROLE_OF_PART = {"train": "train", "t10k": "test"}


def read_idx(competition: Competition, root: Path) -> Manifest:
    """The idx files of MNIST or of a set published like it, in the folder `images`; one task, no groups.

    Raises:
        UserError: With every file that is missing, damaged or does not fit the others, and every label that is no class.
    """
    require_root(competition, root)
    folder = root / competition.images
    [(task, asked)] = competition.tasks.items()
    faults = list[str]()
    files = {part: _file(folder, f"{part}-images", 3, faults) for part in ROLE_OF_PART}
    answers = _file(folder, "train-labels", 1, faults)
    counts = {part: _shape(file, faults)[0] for part, file in files.items() if file}
    labels = _labels(answers, counts["train"], asked.classes, faults) if answers and "train" in counts else ()
    if faults:
        raise UserError(*faults)
    each = [(part, row) for part, n in counts.items() for row in range(n)]
    named = {part: file.name for part, file in files.items() if file}
    rows = PhotoRows(
        name=named["train"],
        ids=tuple(f"{part}/{row}" for part, row in each),
        paths=tuple(f"{named[part]}#{row}" for part, row in each),
        groups=("",) * len(each),
        roles=tuple(ROLE_OF_PART[part] for part, _ in each),
        fields={task: (*labels, *("",) * (len(each) - len(labels)))},
        images=competition.images,
    )
    return manifest_of(competition, rows, root, lambda root, paths: (list(paths), []))


def _file(folder: Path, stem: str, axes: int, faults: list[str]) -> Path | None:
    """The one of the published names that is there; unpacked before packed, because it is read faster."""
    names = [f"{stem}{mark}idx{axes}-ubyte{packed}" for packed in ("", ".gz") for mark in "-."]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        faults.append(f"there is no file {names[0]} or {names[2]} in {folder}; check `images` in the YAML, or the download")
    return found


def _shape(file: Path, faults: list[str]) -> tuple[int, ...]:
    """The lengths of an idx file's axes, from its header alone; zeros with a fault where they do not fit the file's name."""
    axes = int(re.sub(".*idx", "", file.name)[0])
    try:
        with open_idx(file) as opened:
            shape = idx_header(opened)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        faults.append(f"{file.name} is not a readable idx file ({error}); download it again")
        return (0,) * axes
    if prod(shape) > MAX_MEMBER_BYTES or shape[:1] > (MOST_ENTRIES,):
        faults.append(f"{file.name} says that it holds an array of {shape}, more than can be true; download it again")
        return (0,) * axes
    if len(shape) != axes or not shape[0]:
        faults.append(f"{file.name} must have {axes} axes and at least one entry, got the shape {shape}; files may be mixed up")
        return (0,) * axes
    return shape


def _labels(file: Path, n_photos: int, classes: Sequence[str], faults: list[str]) -> Sequence[str]:
    """The class name of each training photo (its number, where there are no classes); none, with a fault, where labels do not fit."""
    [n_labels] = _shape(file, faults)
    if not n_labels or not n_photos:
        return ()
    numbers = idx_array(file)
    if isinstance(numbers, str):
        faults.append(f"{file.name}: {numbers}; download it again")
        return ()
    if len(numbers) != n_photos:
        faults.append(f"{file.name} must hold one label per photo, got {len(numbers)} for {n_photos} photos; download both again")
        return ()
    if not classes:
        return [str(number) for number in numbers.tolist()]
    strange = Counter(number for number in numbers.tolist() if number >= len(classes))
    if strange:
        some = listed(f"{number} ({n} photos)" for number, n in sorted(strange.items()))
        faults.append(
            f"{file.name}: labels must be 0..{len(classes) - 1}, one per class of the YAML, got {some}; list all classes"
        )
        return ()
    return [classes[number] for number in numbers.tolist()]
