"""Which files of a folder are photos: one rule for those that are learned from, those that are answered, and those a bundle is asked about.

A photo's name ends like one (`decode.ENDINGS`, in any case) and is not hidden: `._a.jpg` is what a Mac leaves beside `a.jpg`.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from competitions.images.decode import ENDINGS
from system.errors import UserError, listed


@dataclass(frozen=True)
class PhotoListing:
    """The files of a folder at any depth, as sorted paths below it with `/`; hidden ones are left out.

    Attributes:
        photos: Those that count.
        passed_over: Those that do not end like a photo.
    """

    photos: tuple[str, ...]
    passed_over: tuple[str, ...]


def is_photo(name: str) -> bool:
    """Whether a file of this name counts."""
    return not is_hidden(name) and PurePosixPath(name).suffix.lower() in ENDINGS


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is never looked at."""
    return name.startswith(".")


def list_photos(folder: Path) -> PhotoListing:
    """The photos at any depth below a folder; links are followed, hidden folders are not.

    Raises:
        UserError: A folder cannot be read, or is reached twice through links: its photos would count twice.
    """
    names, seen = list[str](), set[str]()
    for above, below, files in os.walk(folder, followlinks=True, onerror=_raise):
        if (real := os.path.realpath(above)) in seen:
            raise UserError(f"{above} is reached twice through links, its photos would count twice; remove one link")
        seen.add(real)
        below[:] = [name for name in below if not is_hidden(name)]
        front = Path(above).relative_to(folder).as_posix()
        names += [name if front == "." else f"{front}/{name}" for name in files if not is_hidden(name)]
    names.sort()
    photos = tuple(name for name in names if is_photo(PurePosixPath(name).name))
    chosen = set(photos)
    return PhotoListing(photos, tuple(name for name in names if name not in chosen))


def passed_over(names: Iterable[str]) -> list[str]:
    """A sentence that counts files by their endings, most frequent first; none for no file.

    >>> passed_over(["a.ppm", "b.PPM", "notes.txt"])[0][:63]
    '3 files do not end like a photo and are passed over: .ppm (2), '
    """
    endings = Counter(PurePosixPath(name).suffix.lower() or "no ending" for name in names)
    if not endings:
        return []
    counts = listed(f"{ending} ({n})" for ending, n in endings.most_common())
    return [
        f"{endings.total()} files do not end like a photo and are passed over: {counts}; "
        f"convert them if they are photos (known: {', '.join(sorted(ENDINGS))})"
    ]


def _raise(error: OSError) -> None:
    raise UserError(f"the folder {error.filename} cannot be read ({error.strerror}); mend its permissions") from error
