"""Which files of a folder are photos: one rule for those that are learned from, those that are answered, and those a bundle is asked about.

A photo's name ends like one (`decode.ENDINGS`, in any case) and is not hidden: `._a.jpg` is what a Mac leaves beside `a.jpg`. Where no file
of a folder does, arrays and DICOM files are its photos.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from competitions.images.decode import ENDINGS, NUMBER_ENDINGS
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
    """Whether a file of this name is an image."""
    return not is_hidden(name) and PurePosixPath(name).suffix.lower() in ENDINGS


def holds_numbers(name: str) -> bool:
    """Whether a file of this name is an array or a DICOM file: a photo where no image is."""
    return not is_hidden(name) and PurePosixPath(name).suffix.lower() in NUMBER_ENDINGS


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
    photos = photos or tuple(name for name in names if holds_numbers(PurePosixPath(name).name))
    chosen = set(photos)
    return PhotoListing(photos, tuple(name for name in names if name not in chosen))


@dataclass(frozen=True)
class Found:
    """Where N paths lead.

    Attributes:
        paths: N paths as the file system spells them; `None` where nothing, or more than one photo, is meant.
        several: Path -> the photos that it may mean, where it has no ending and they differ in theirs.
    """

    paths: tuple[str | None, ...]
    several: dict[str, tuple[str, ...]]

    def missing(self, given: Sequence[str]) -> list[str]:
        """Those of the N paths that were given which lead to nothing."""
        return [path for path, place in zip(given, self.paths, strict=True) if place is None and path not in self.several]


def find_files(root: Path, paths: Sequence[str]) -> Found:
    """Find photos below a folder: by their path in either Unicode form, else as the one photo of that name with any ending.

    Each folder is listed once; 70,000 single look-ups on a network mount take minutes.

    Args:
        root: The folder.
        paths: N paths below it, with `/`.
    """

    @cache
    def listing(folder: str) -> tuple[frozenset[str], frozenset[str]]:
        try:
            entries = [(entry.name, entry.is_dir()) for entry in os.scandir(root / folder)]
        except OSError:
            return frozenset(), frozenset()
        return frozenset(n for n, is_dir in entries if is_dir), frozenset(n for n, is_dir in entries if not is_dir)

    @cache
    def endings_of(folder: str) -> dict[str, list[str]]:
        photos: dict[str, list[str]] = {}
        for name in sorted(filter(is_photo, listing(folder)[1])):
            photos.setdefault(normalize("NFC", name[: name.rindex(".")]), []).append(name)
        numbers: dict[str, list[str]] = {}
        for name in sorted(filter(holds_numbers, listing(folder)[1])):
            numbers.setdefault(normalize("NFC", name[: name.rindex(".")]), []).append(name)
        return numbers | photos

    @cache
    def folder_of(path: str) -> str | None:
        if not path:
            return ""
        above, _, name = path.rpartition("/")
        folder = folder_of(above)
        return None if folder is None else _below(folder, _either_form(name, listing(folder)[0]))

    several: dict[str, tuple[str, ...]] = {}

    def place_of(path: str) -> str | None:
        above, _, name = path.rpartition("/")
        folder = folder_of(above)
        if folder is None:
            return None
        if found := _either_form(name, listing(folder)[1]):
            return _below(folder, found)
        photos = endings_of(folder).get(normalize("NFC", name), [])
        if len(photos) > 1:
            several[path] = tuple(photos)
        return _below(folder, photos[0]) if len(photos) == 1 else None

    return Found(tuple(place_of(path) for path in paths), several)


def _either_form(name: str, names: Collection[str]) -> str | None:
    return name if name in names else next((f for f in (normalize("NFC", name), normalize("NFD", name)) if f in names), None)


def _below(folder: str, name: str | None) -> str | None:
    return f"{folder}/{name}" if folder and name else name


def several_faults(several: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence where ids without endings mean more than one photo each."""
    if not several:
        return []
    told = listed(f"{path} ({' and '.join(names)})" for path, names in several.items())
    return [f"each id must mean one photo, these mean more: {told}; remove one, or write the ending"]


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
