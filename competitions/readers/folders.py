"""Layout `folders`: the folder a photo stands in says its role and, in training, its class. No table.

    <root>/<images>/<train>/<class>/**.jpg      learned from
    <root>/<images>/<test>/**.jpg               answered
    <root>/<images>/<unlabelled>/**.jpg         where there are some

The words for train, test and unlabelled are `roles`; a role may have several folders (`train: [train, val]`). A test photo's id, which
is handed in, is its path below the test folder; every other id is the path below `images`, so it begins with the role's folder and ids
stay unique. Ids are NFC, whatever the file system says. Hidden files and folders that no role names are passed over, and files without an
image ending; a note counts the files, and one names a folder of photos with labels.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from competitions.competition import Competition
from competitions.images.photo_files import is_photo, list_photos, passed_over
from competitions.manifest import Manifest
from competitions.readers.given_split import folder_notes
from competitions.readers.photo_paths import folders_in, place_files, require_root, twin_faults
from competitions.readers.rows import PhotoRows, manifest_of
from system.errors import UserError, listed, unknown
from system.texts import looks_of, utf8_faults

Photo = tuple[str, str, str]
"""Path below `images`, role, class (empty but in training)."""


def read_folders(competition: Competition, root: Path) -> Manifest:
    """A folder per class in training, a folder of test photos, and perhaps one of unlabelled photos; one task.

    Raises:
        UserError: With every folder that is missing, no class, or empty, and every photo outside of a class's folder.
    """
    require_root(competition, root)
    top = root / competition.images
    words = _words(competition, top)
    faults = _word_faults(words, top)
    if faults:
        raise UserError(*faults)
    [(name, task)] = competition.tasks.items()
    classes = task.classes or _classes(top, words["train"])
    photos, others = _training_photos(top, words["train"], classes, faults)
    asked = [(role, word) for role in ("test", "unlabelled") for word in words.get(role, ())]
    for role, word in asked:
        listing = list_photos(top / word)
        photos += [(f"{word}/{photo}", role, "") for photo in listing.photos]
        others += listing.passed_over
        if role == "test" and not listing.photos:
            faults.append(f"the test folder {word!r} holds no photo; {_way_out(listing.passed_over, 'check the upload')}")
    if faults:
        raise UserError(*faults)
    rows = PhotoRows(
        name=str(competition.images or competition.root or "the folders"),
        ids=tuple(_image_id(path, role, words) for path, role, _ in photos),
        paths=tuple(path for path, _, _ in photos),
        groups=("",) * len(photos),
        roles=tuple(role for _, role, _ in photos),
        fields={name: tuple(label for _, _, label in photos)},
        images=competition.images,
        notes=[*folder_notes(top, words, classes), *passed_over(others)],
    )
    return manifest_of(competition, rows, root, place_files)


def _words(competition: Competition, top: Path) -> dict[str, tuple[str, ...]]:
    """Role -> folders; a folder `unlabelled` counts without being named."""
    named = {role: tuple(str(PurePosixPath(word)) for word in some) for role, some in competition.words.items()}
    found = {"unlabelled": ("unlabelled",)} if (top / "unlabelled").is_dir() and ("unlabelled",) not in named.values() else {}
    return found | named


def _word_faults(words: dict[str, tuple[str, ...]], top: Path) -> list[str]:
    faults = []
    each = [word for some in words.values() for word in some]
    for role, word in ((role, word) for role, some in words.items() for word in some):
        if word in ("", ".") or PurePosixPath(word).is_absolute() or ".." in PurePosixPath(word).parts or "\\" in word:
            faults.append(f"roles.{role} must name a folder below {top}, with / between folders, got {word!r}")
        elif not (top / word).is_dir():
            known = folders_in(top) if top.is_dir() else []
            faults.append(
                f"there is no folder {word!r} for the role {role} in {top} (folders there: {listed(known) or 'none'}); "
                f"name it in `roles`, or leave the role out of `roles` where there are no such photos"
            )
    twice = sorted({word for word in each if each.count(word) > 1})
    faults += [
        f"each role must have a folder of its own, {word!r} stands for more than one; name another in `roles`" for word in twice
    ]
    nested = [f"{a!r} in {b!r}" for a in each for b in each if PurePosixPath(b) in PurePosixPath(a).parents]
    if nested:
        faults.append(
            f"no role's folder may stand in another's, its photos would have two roles: {listed(nested)}; move them apart"
        )
    return faults


def _classes(top: Path, words: Sequence[str]) -> tuple[str, ...]:
    """The classes where the file names none: the folders of training photos, each by the first of the spellings that look equal."""
    names = [name for word in words for name in folders_in(top / word) if not utf8_faults([name])]
    return tuple({looks_of(name): normalize("NFC", name) for name in reversed(names)}.values())


def _training_photos(top: Path, words: Sequence[str], classes: Sequence[str], faults: list[str]) -> tuple[list[Photo], list[str]]:
    """The photos in the classes' folders, class by class, and the files passed over there; faults are added to `faults`."""
    known = {looks_of(name): name for name in classes}
    photos, others, there = list[Photo](), list[str](), set[str]()
    for word in words:
        spelled = _class_folders(top, word, classes, faults)
        there |= spelled.keys()
        for key in (key for key in known if key in spelled):
            listing = list_photos(top / word / spelled[key])
            photos += [(f"{word}/{spelled[key]}/{photo}", "train", known[key]) for photo in listing.photos]
            others += listing.passed_over
    filled, where = {label for _, _, label in photos}, " and ".join(words)
    for key, name in known.items():
        if key not in there:
            faults.append(f"{where}: the class {name!r} has no folder; check the upload, or take the class out of the YAML")
        elif name not in filled:
            way_out = _way_out(others, "check the upload, or take the class out of the YAML")
            faults.append(f"{where}: the class {name!r} has no photo; {way_out}")
    return photos, others


def _class_folders(top: Path, word: str, classes: Sequence[str], faults: list[str]) -> dict[str, str]:
    """How the folders in a training folder look -> their names; strange folders and loose photos are added to `faults`."""
    folders = folders_in(top / word)
    faults += utf8_faults([f"{word}/{name}" for name in folders], "the classes' folders") + twin_faults(folders, word)
    spelled = {looks_of(name): name for name in folders if not utf8_faults([name])}
    known = {looks_of(name) for name in classes}
    faults += [
        f"{word}: {unknown('class', normalize('NFC', name), classes)}; rename the folder, or add the class"
        for looks, name in spelled.items()
        if looks not in known
    ]
    loose = sorted(entry.name for entry in os.scandir(top / word) if entry.is_file() and is_photo(entry.name))
    if loose:
        faults.append(f"{word}: a training photo must stand in its class's folder, these do not: {listed(loose)}; move them")
    return spelled


def _way_out(others: Sequence[str], without: str) -> str:
    """What to do about a folder without a photo, which may hold other files."""
    return next(iter(passed_over(others)), without)


def _image_id(path: str, role: str, words: dict[str, tuple[str, ...]]) -> str:
    front = next(word for word in words[role] if path.startswith(f"{word}/"))
    return normalize("NFC", path.removeprefix(f"{front}/") if role == "test" else path)
