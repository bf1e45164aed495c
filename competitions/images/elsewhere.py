"""Paths where no photo is -> what is there instead: the same name in another case, folder or encoding, with another ending, in an archive.

It is asked only when something is missing, so it may list the whole folder, up to `MOST_FILES` names.
"""

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from competitions.images.photo_files import holds_numbers, is_hidden, is_photo
from system.errors import listed
from system.texts import looks_of, old_readings

MOST_FILES = 200_000
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
LISTED_FOR = 3
"""So many examples are given of each kind."""


def what_is_there(root: Path, missing: Sequence[str]) -> list[str]:
    """A sentence for each way in which missing files are there after all, most frequent first; none where nothing is like them.

    Args:
        root: The folder that the paths start from.
        missing: Paths below it, with `/`.
    """
    tree = _tree(root)
    found: dict[str, list[str]] = {}
    lost = list[str]()
    for path in missing:
        there = tree.like(path)
        if there is None:
            lost.append(path)
        else:
            found.setdefault(_difference(path, there), []).append(f"{there!r} for {path!r}")
    texts = [_sentence(kind, pairs) for kind, pairs in sorted(found.items(), key=lambda item: -len(item[1]))]
    return texts + _packed(root, tree.archives, lost) if lost else texts


@dataclass
class _Tree:
    """The files below a folder, found by how their names look in lower case: whole, or without their ending."""

    by_name: dict[str, list[str]] = field(default_factory=dict)
    by_stem: dict[str, list[str]] = field(default_factory=dict)
    archives: list[str] = field(default_factory=list)

    def like(self, path: str) -> str | None:
        """The file that is meant, the one that shares most folders with the path; none where several share no folder."""
        name = PurePosixPath(path).name
        stem = PurePosixPath(name).stem if is_photo(name) else name
        for some in (self.by_name.get(_folded(name)), self.by_stem.get(_folded(stem))):
            if some:
                scores = [_shared(path, there) for there in some]
                best = max(scores)
                return some[scores.index(best)] if best or len(some) == 1 else None
        return None


def _tree(root: Path) -> _Tree:
    tree = _Tree()
    for path in islice(_files(root), MOST_FILES):
        name = PurePosixPath(path).name
        for spelling in (name, *old_readings(name)):
            tree.by_name.setdefault(_folded(spelling), []).append(path)
            tree.by_stem.setdefault(_folded(PurePosixPath(spelling).stem), []).append(path)
        if name.lower().endswith(ARCHIVES):
            tree.archives.append(path)
    return tree


def _files(root: Path) -> Iterator[str]:
    for above, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not is_hidden(name))
        front = Path(above).relative_to(root).as_posix()
        yield from (name if front == "." else f"{front}/{name}" for name in sorted(files) if not is_hidden(name))


def _folded(text: str) -> str:
    return looks_of(text.casefold()).casefold()


def _shared(path: str, there: str) -> int:
    """How many folder names two paths share, counted from the file upwards."""
    pairs = zip(reversed(_folders(path)), reversed(_folders(there)), strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(_folders(path)), len(_folders(there))))


def _folders(path: str) -> list[str]:
    return [_folded(part) for part in path.split("/")[:-1]]


def _difference(path: str, there: str) -> str:
    asked, found = PurePosixPath(normalize("NFC", path)), PurePosixPath(normalize("NFC", there))
    stem, ending = (asked.stem, asked.suffix) if is_photo(asked.name) else (asked.name, "")
    kinds = ["in another folder"] if _folders(path) != _folders(there) else []
    if old_readings(found.name):
        return " and ".join([*kinds, "with a name that is no UTF-8"])
    if not (is_photo(found.name) or holds_numbers(found.name)):
        kinds.append("with an ending that is no photo's")
    elif ending and _folded(ending) != _folded(found.suffix):
        kinds.append("with another ending")
    same_ending = not ending or _folded(ending) != _folded(found.suffix) or ending == found.suffix
    if looks_of(found.stem) == looks_of(stem) != stem and found.stem != stem:
        kinds.append("in another spelling that looks the same")
    elif found.stem != stem or not same_ending or (not kinds and asked.parent != found.parent):
        kinds.append("in another case")
    return " and ".join(kinds)


def _sentence(kind: str, pairs: Sequence[str]) -> str:
    way = "write the paths as the files are called, or rename the files"
    if kind == "in another folder":
        way = "name the folder that the paths start from (`images` in a competition's YAML), or move the files"
    elif "no photo's" in kind:
        way = "convert them, and write their new names"
    elif "UTF-8" in kind:
        way = "rename the files"
    rest = f" and {len(pairs) - LISTED_FOR} more" if len(pairs) > LISTED_FOR else ""
    return f"{len(pairs)} of them are there {kind}: {', '.join(pairs[:LISTED_FOR])}{rest}; {way}"


def _packed(root: Path, archives: Sequence[str], lost: Sequence[str]) -> list[str]:
    """What archives hold of lost files; and which archives are there, where none says that it holds one."""
    if not archives:
        return []
    names = {_folded(PurePosixPath(path).name): path for path in lost}
    names |= {_folded(PurePosixPath(path).stem): path for path in lost if is_photo(path)}
    texts = []
    for archive in archives:
        held = [member for member in _members(root / archive) if {_folded(p) for p in _spellings(member)} & names.keys()]
        if held:
            texts.append(f"{archive} holds {listed(map(repr, held[:LISTED_FOR]))}; unpack it")
    some = "an archive is" if len(archives) == 1 else "archives are"
    return texts[:LISTED_FOR] or [f"{some} there: {listed(archives)}; unpack what holds them"]


def _spellings(member: str) -> tuple[str, str]:
    name = PurePosixPath(member)
    return name.name, name.stem


def _members(archive: Path) -> list[str]:
    if archive.suffix.lower() != ".zip":
        return []
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.namelist()[:MOST_FILES]
    except (OSError, ValueError, zipfile.BadZipFile):
        return []
