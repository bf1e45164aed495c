"""Layouts: the same photos, laid out for any reader, become the same manifest and the same pixels.

Ids are aligned by a stated rule per layout (`Written.names`): the id a reader gives -> the photo's own name, `p0/mask1` or `t3`.
"""

import csv
import gzip
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from competitions.images.decode import read_image
from competitions.loading import load_competition, parse_competition
from competitions.manifest import Manifest
from competitions.readers.read import READERS, read

SQUARE = (8, 8)
STATES = {**{f"mask{k}": "wear" for k in range(1, 6)}, "incorrect_mask": "incorrect", "normal": "normal"}
CLASSES = {"mask": ("wear", "incorrect", "normal"), "gender": ("male", "female"), "age": ("young", "middle", "old")}
MASK, GENDER = "mask: {column: mask, classes: [wear, incorrect, normal]}", "gender: {column: gender, classes: [male, female]}"
AGE = "age: {column: age, classes: [young, middle, old], cuts: [30, 60]}"
SUBMISSION = "submission: {id_column: id, answers: {ans: mask}}"
TABLE = f"columns: {{image: id, path: path, group: person, role: role}}\ntasks:\n  {MASK}\n  {GENDER}\n  {AGE}\n{SUBMISSION}\n"
ALONE = f"tasks:\n  mask: {{classes: [wear, incorrect, normal]}}\n{SUBMISSION}\n"


@dataclass(frozen=True)
class LaidOutPhoto:
    name: str
    person: str
    gender: str
    age: int
    state: str
    pixels: NDArray[np.uint8]

    @property
    def role(self) -> str:
        return "train" if self.person else "test"

    @property
    def folder(self) -> str:
        return f"{self.person}_{self.gender}_Asian_{self.age}"


@dataclass(frozen=True)
class Written:
    yaml: str
    names: dict[str, str]
    """The reader's id -> the photo's name."""


def invent(people: list[tuple[str, int]], n_test: int, seed: int, shape: tuple[int, int] = (9, 7)) -> list[LaidOutPhoto]:
    rng = np.random.default_rng(seed)

    def grey() -> NDArray[np.uint8]:
        return rng.integers(0, 256, shape, dtype=np.uint8)

    known = [
        LaidOutPhoto(f"p{k}/{stem}", f"{k:06}", gender, age, state, grey())
        for k, (gender, age) in enumerate(people)
        for stem, state in STATES.items()
    ]
    return known + [LaidOutPhoto(f"t{k}", "", "", 0, "", grey()) for k in range(n_test)]


def save(path: Path, photo: LaidOutPhoto) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo.pixels).save(path)


def write_rows(path: Path, rows: list[list[object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def table_rows(photos: list[LaidOutPhoto], place: Callable[[int, LaidOutPhoto], str]) -> list[list[object]]:
    rows: list[list[object]] = [["id", "path", "person", "role", "mask", "gender", "age"]]
    return rows + [
        [p.name, place(k, p), p.person, p.role, p.state, p.gender, p.age if p.person else ""] for k, p in enumerate(photos)
    ]


def write_csv(root: Path, photos: list[LaidOutPhoto], ending: str = "csv", delimiter: str = ",") -> Written:
    for photo in photos:
        save(root / f"{photo.name}.png", photo)
    write_rows(root / f"table.{ending}", table_rows(photos, lambda k, p: f"{p.name}.png"), delimiter)
    return Written(f"reader: csv\ntable: table.{ending}\n{TABLE}", {p.name: p.name for p in photos})


def write_tsv(root: Path, photos: list[LaidOutPhoto]) -> Written:
    return write_csv(root, photos, "tsv", "\t")


def write_npz(root: Path, photos: list[LaidOutPhoto]) -> Written:
    np.savez(root / "images.npz", all=np.stack([p.pixels for p in photos]))
    write_rows(root / "table.csv", table_rows(photos, lambda k, p: f"images.npz#all/{k}"))
    return Written(f"reader: npz\ntable: table.csv\n{TABLE}", {p.name: p.name for p in photos})


def write_mask(root: Path, photos: list[LaidOutPhoto]) -> Written:
    known = [p for p in photos if p.person]
    people = list(dict.fromkeys((p.person, p.gender, "Asian", p.age, p.folder) for p in known))
    write_rows(root / "train/train.csv", [["id", "gender", "race", "age", "path"], *map(list, people)])
    write_rows(root / "eval/info.csv", [["ImageID", "ans"], *([f"{p.name}.png", 0] for p in photos if not p.person)])
    names = {}
    for photo in photos:
        image_id = f"{photo.folder}/{photo.name.split('/')[1]}.png" if photo.person else f"{photo.name}.png"
        save(root / ("train" if photo.person else "eval") / "images" / image_id, photo)
        names[image_id] = photo.name
    tasks = f"tasks:\n  {MASK}\n  {GENDER}\n  {AGE}\n"
    return Written(f"reader: mask\n{tasks}submission: {{sample: eval/info.csv, answers: {{ans: label}}}}\n", names)


def write_folders(root: Path, photos: list[LaidOutPhoto]) -> Written:
    names = {}
    for photo in photos:
        flat = photo.name.replace("/", "-") + ".png"
        path = f"train/{photo.state}/{flat}" if photo.person else f"test/{flat}"
        save(root / path, photo)
        names[path if photo.person else flat] = photo.name
    return Written(f"reader: folders\n{ALONE}", names)


def write_coco(root: Path, photos: list[LaidOutPhoto]) -> Written:
    for photo in photos:
        save(root / f"photos/{photo.name}.png", photo)
    for part, some in (("train", [p for p in photos if p.person]), ("test", [p for p in photos if not p.person])):
        images = [{"id": p.name, "file_name": f"{p.name}.png", "person": p.person, "age": p.age, "sex": p.gender} for p in some]
        value = (
            {"images": images}
            if part == "test"
            else {
                "images": images,
                "annotations": [
                    {"id": k, "image_id": p.name, "category_id": 7 + CLASSES["mask"].index(p.state)} for k, p in enumerate(some)
                ],
                "categories": [{"id": 7 + k, "name": name} for k, name in enumerate(CLASSES["mask"])],
            }
        )
        (root / f"{part}.json").write_text(json.dumps(value))
    tasks = (
        f"{MASK.replace('column: mask', 'column: category_name')}\n  {GENDER.replace('column: gender', 'column: sex')}\n  {AGE}"
    )
    head = "reader: coco\ntable: train.json\ntest_table: test.json\nimages: photos\n"
    columns = "columns: {image: id, path: file_name, group: person}\n"
    return Written(f"{head}{columns}tasks:\n  {tasks}\n{SUBMISSION}\n", {p.name: p.name for p in photos})


def write_pixels(root: Path, photos: list[LaidOutPhoto]) -> Written:
    names = {}
    for part, some in (("train", [p for p in photos if p.person]), ("test", [p for p in photos if not p.person])):
        header = ["mask", "gender", "age", "person", *(f"px_{k}" for k in range(64))]
        rows = ([p.state, p.gender, p.age, p.person, *p.pixels.ravel().tolist()] for p in some)
        write_rows(root / f"{part}.csv", [header, *rows])
        names |= {f"{'train/' if part == 'train' else ''}{k + 1}": p.name for k, p in enumerate(some)}
    tasks = f"tasks:\n  {MASK}\n  {GENDER}\n  {AGE}\n"
    head = "reader: pixels\ntable: train.csv\ntest_table: test.csv\ncolumns: {image: row, group: person}\n"
    return Written(f"{head}{tasks}{SUBMISSION}", names)


def write_files(root: Path, photos: list[LaidOutPhoto]) -> Written:
    names = {}
    for photo in photos:
        path = f"{photo.role}/{photo.person or '-'}_{photo.gender}_{photo.age}_{photo.state}_{photo.name.replace('/', '-')}.png"
        save(root / path, photo)
        names[path] = photo.name
    pattern = "'^(?P<role>[a-z]+)/(?P<who>[^_-]*)-?_(?P<sex>[^_]*)_(?P<age>\\d+)_(?P<state>[a-z]*)_'"
    tasks = f"{MASK.replace('column: mask', 'column: state')}\n  {GENDER.replace('column: gender', 'column: sex')}\n  {AGE}"
    columns = "columns: {group: who, role: role}\n"
    return Written(f"reader: files\npattern: {pattern}\n{columns}tasks:\n  {tasks}\n{SUBMISSION}\n", names)


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(root: Path, photos: list[LaidOutPhoto]) -> Written:
    names = {}
    for part, some in (("train", [p for p in photos if p.person]), ("t10k", [p for p in photos if not p.person])):
        images = idx_bytes(np.stack([p.pixels for p in some]))
        (root / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        names |= {f"{part}/{row}": photo.name for row, photo in enumerate(some)}
    labels = np.array([CLASSES["mask"].index(p.state) for p in photos if p.person], np.uint8)
    (root / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return Written(f"reader: idx\n{ALONE}", names)


LAYOUTS: dict[str, Callable[[Path, list[LaidOutPhoto]], Written]] = {
    "csv": write_csv,
    "tsv": write_tsv,
    "npz": write_npz,
    "mask": write_mask,
    "folders": write_folders,
    "idx": write_idx,
    "coco": write_coco,
    "pixels": write_pixels,
    "files": write_files,
}


def told(manifest: Manifest, names: dict[str, str], task: str) -> dict[str, tuple[str, int]]:
    """Photo name -> role and class."""
    assert sorted(manifest.image_ids) == sorted(names)
    each = zip(manifest.image_ids, manifest.roles, manifest.labels[task].tolist(), strict=True)
    return {names[image_id]: (role, label) for image_id, role, label in each}


def grouped(manifest: Manifest, names: dict[str, str]) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for image_id, group in zip(manifest.image_ids, manifest.groups, strict=True):
        found.setdefault(group, set()).add(names[image_id])
    return {frozenset(photos) for photos in found.values()}


def test_every_reader_is_laid_out_here() -> None:
    assert set(READERS) - set(LAYOUTS) == {"demo"}  # it draws itself, see test_demo.py


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@settings(max_examples=8)
@given(
    people=st.lists(st.tuples(st.sampled_from(CLASSES["gender"]), st.integers(18, 80)), min_size=1, max_size=4),
    n_test=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_the_same_photos_in_every_layout_are_the_same_manifest(
    tmp_path_factory: pytest.TempPathFactory, layout: str, people: list[tuple[str, int]], n_test: int, seed: int
) -> None:
    photos = invent(people, n_test, seed, SQUARE if layout == "pixels" else (9, 7))
    number = {p.name: (p.age >= 30) + (p.age >= 60) if p.person else -1 for p in photos}
    root = tmp_path_factory.mktemp(layout)
    written = LAYOUTS[layout](root, photos)
    _, manifest = read(parse_competition(written.yaml, "x", where="x.yaml"), root)
    states = {p.name: (p.role, CLASSES["mask"].index(p.state) if p.person else -1) for p in photos}
    assert told(manifest, written.names, "mask") == states
    if "age" in manifest.labels:
        assert told(manifest, written.names, "age") == {p.name: (p.role, number[p.name]) for p in photos}
        assert len(grouped(manifest, written.names)) == len(people) + n_test
        assert grouped(manifest, written.names) == grouped_by_person(photos)
    by_name = {p.name: p.pixels for p in photos}
    for image_id, path in zip(manifest.image_ids, manifest.paths, strict=True):
        shown = by_name[written.names[image_id]]
        np.testing.assert_array_equal(read_image(root, path), np.repeat(shown[:, :, None], 3, axis=2))


def grouped_by_person(photos: list[LaidOutPhoto]) -> set[frozenset[str]]:
    return {frozenset(p.name for p in photos if (p.person or p.name) == who) for who in {p.person or p.name for p in photos}}


def test_the_drawn_demo_read_in_its_own_layout_is_the_demo_row_for_row(tmp_path: Path) -> None:
    asked = load_competition("demo")
    flat = READERS["demo"](asked, tmp_path / "demo")
    own, manifest = read(load_competition("mask"), tmp_path / "demo")
    assert (manifest.image_ids, manifest.paths, manifest.roles) == (flat.image_ids, flat.paths, flat.roles)
    assert manifest.groups == flat.groups
    for task, labels in flat.labels.items():
        np.testing.assert_array_equal(manifest.labels[task], labels)
    assert own.label_classes == asked.label_classes
    assert own.submission == asked.submission
