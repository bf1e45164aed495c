"""Draws the demo competition: 120 training and 80 test people x 7 photos, in the layout of the mask competition.

A seed becomes `train/` (`train.csv`, one folder per person), `eval/` (`info.csv`, photos under random names), `photos.csv` (one
flat table of both), `truth.csv` (the answers to the test photos) and `key.json` (the faults that were planted). Nothing in the
product reads the last two. The same seed gives the same bytes; drawing takes two seconds on one core and 34 MB.

Planted on purpose, as they stood in the real data: a person with the wrong gender, photos whose mask state is not what the file
name says, near-duplicates across people, identical files, files that cannot be read, one that is not in the format its name says.
"""

import csv
import io
import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from competitions.demo.appearance import Look, invent_look
from competitions.demo.drawing import draw_photo
from competitions.demo.people import (
    FILES,
    RACE,
    TEST_PEOPLE,
    TRAIN_PEOPLE,
    DemoPhoto,
    Person,
    invent_people,
    test_photos,
    train_photo,
)
from competitions.demo.planted_faults import (
    TEST_BROKEN,
    TRAIN_BROKEN,
    Pixels,
    duplicate,
    mislabel_person,
    mislabel_photos,
    misname,
    spoil,
)
from system.errors import UserError
from system.files import read_json, replace_bytes, replace_json


def draw_demo(root: Path, *, seed: int) -> None:
    """Draw the demo competition into the folder `root`; returns at once where it already stands there with this seed.

    It is drawn beside `root` and renamed, so that a half drawing is never taken for a finished one. A drawing of another seed is
    replaced.

    Args:
        root: The folder; missing, empty, or an earlier drawing.
        seed: Every byte follows from it.

    Raises:
        UserError: `root` holds something that is not a drawing; nothing of it is touched.
    """
    if _drawn_seed(root) == seed:
        return
    if root.exists() and not (root / "key.json").exists() and any(root.iterdir()):
        raise UserError(f"the demo is drawn into an empty or missing folder, but {root.name} holds other files; move them away")
    mark = f"{os.getpid()}.{os.urandom(4).hex()}"
    beside, old = root.with_name(f".{root.name}.{mark}.drawing"), root.with_name(f".{root.name}.{mark}.old")
    try:
        _draw(beside, seed)
        if _drawn_seed(root) == seed:  # somebody else was quicker
            return
        if root.exists():
            root.rename(old)
        beside.rename(root)
    except OSError:
        if _drawn_seed(root) != seed:  # else somebody renamed theirs between the question and ours
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _drawn_seed(root: Path) -> int | None:
    try:
        return int(read_json(root / "key.json")["seed"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _draw(root: Path, seed: int) -> None:
    rng = np.random.default_rng([seed, 0])
    people, testers = invent_people(rng, TRAIN_PEOPLE, "0"), invent_people(rng, TEST_PEOPLE, "1")
    calm, people, wrong_people = mislabel_person(rng, people)
    train, wrong_photos = mislabel_photos(rng, calm, [train_photo(person, file) for person in people for file in FILES])
    test = test_photos(rng, testers)
    pixels = _pixels([*train, *test], seed)
    near, same = duplicate(rng, calm, pixels)
    data = {photo: _png(array) for photo, array in pixels.items()}
    faulty = {*(fault["photo"] for fault in wrong_people + wrong_photos), *(photo for pair in near + same for photo in pair)}
    sound = [p.photo for p in train if p.photo not in faulty]
    broken = spoil(rng, sound, TRAIN_BROKEN, data) | spoil(rng, [p.photo for p in test], TEST_BROKEN, data)
    misnamed = misname(rng, [photo for photo in sound if photo not in broken], pixels, data)
    for photo in (*train, *test):
        replace_bytes(root / photo.path, data[photo.photo], durable=False)
    _write_tables(root, people, train, test)
    faults = {
        "wrong_labels": wrong_people + wrong_photos,
        "near_duplicates": near,
        "identical": same,
        "broken": broken,
        "misnamed": misnamed,
    }
    owners = {p.number: [x.photo for x in test if x.person is p] for p in testers}
    replace_json(root / "key.json", {"seed": seed, **faults, "test_people": owners}, durable=False)


def _pixels(photos: Iterable[DemoPhoto], seed: int) -> dict[str, Pixels]:
    """Per photo `(H, W, 3) uint8`. Each person and each photo has a generator of its own."""
    pixels: dict[str, Pixels] = {}
    looks: dict[str, Look] = {}
    seen: dict[str, int] = {}
    for photo in sorted(photos, key=lambda p: (p.person.number, p.photo)):
        who = photo.person
        if who.number not in looks:
            looks[who.number] = invent_look(
                np.random.default_rng([seed, 1, int(who.number)]), female=who.shown == "female", age=who.age
            )
        seen[who.number] = seen.get(who.number, -1) + 1
        rng = np.random.default_rng([seed, 2, int(who.number), seen[who.number]])
        pixels[photo.photo] = draw_photo(looks[who.number], photo.shown, rng)
    return pixels


def _png(pixels: Pixels) -> bytes:
    """A PNG whose pixels `(H, W, 3) uint8` are stored, not compressed: its bytes depend on no version of zlib."""
    height, width, _ = pixels.shape
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)
    size = struct.pack("<HH", len(raw), len(raw) ^ 0xFFFF)  # one stored block holds up to 65,535 bytes
    stored = b"\x78\x01\x01" + size + raw + struct.pack(">I", zlib.adler32(raw))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", stored) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write_tables(root: Path, people: Sequence[Person], train: Sequence[DemoPhoto], test: Sequence[DemoPhoto]) -> None:
    rows = [[p.number, p.gender, RACE, p.age, p.folder] for p in people]
    _write_table(root / "train/train.csv", ["id", "gender", "race", "age", "path"], rows)
    _write_table(root / "eval/info.csv", ["ImageID", "ans"], [[p.photo, 0] for p in test])
    known = [[p.photo, p.path, p.person.number, "train", p.state, p.person.gender, p.person.age_group] for p in train]
    asked = [[p.photo, p.path, "", "test", "", "", ""] for p in test]
    _write_table(root / "photos.csv", ["photo", "path", "person", "role", "mask", "gender", "age_group"], known + asked)
    truth = [[p.photo, p.state, p.person.gender, p.person.age_group, p.answer] for p in test]
    _write_table(root / "truth.csv", ["ImageID", "mask", "gender", "age_group", "ans"], truth)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    replace_bytes(path, text.getvalue().encode(), durable=False)
