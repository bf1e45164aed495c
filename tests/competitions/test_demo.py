"""The drawn competition: same bytes for everyone, the layout it promises, and exactly the faults its key names."""

import csv
import hashlib
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from competitions.demo.draw import draw_demo
from competitions.loading import load_competition
from competitions.readers.read import READERS
from system.errors import UserError
from system.files import read_json

SLOTS = {"mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "demo"
    draw_demo(root, seed=0)
    return root


@pytest.fixture(scope="module")
def key(drawn: Path) -> Any:
    return read_json(drawn / "key.json")


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tree_hash(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def pixels(path: Path) -> NDArray[np.int16]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)


def train_pixels(root: Path, photo: str) -> NDArray[np.int16]:
    return pixels(root / "train/images" / photo)


def test_same_seed_same_bytes_and_another_seed_other_bytes(drawn: Path, tmp_path: Path) -> None:
    draw_demo(tmp_path / "again", seed=0)
    assert tree_hash(tmp_path / "again") == tree_hash(drawn)
    draw_demo(tmp_path / "again", seed=1)  # a drawing of another seed is replaced
    assert tree_hash(tmp_path / "again") != tree_hash(drawn)
    assert read_json(tmp_path / "again/key.json")["seed"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["again"]


def test_a_finished_drawing_is_left_alone_and_a_half_one_is_redone(drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "demo"
    shutil.copytree(drawn, root)
    (root / "photos.csv").write_text("mine")
    draw_demo(root, seed=0)
    assert (root / "photos.csv").read_text() == "mine"
    (root / "key.json").write_text('{"se')  # a copy that was cut short
    shutil.rmtree(root / "eval")
    draw_demo(root, seed=0)
    assert tree_hash(root) == tree_hash(drawn)


def test_a_folder_with_other_files_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="holds other files"):
        draw_demo(tmp_path, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_layout_is_the_mask_competitions_own(drawn: Path) -> None:
    people, info = table(drawn / "train/train.csv"), table(drawn / "eval/info.csv")
    assert list(people[0]) == ["id", "gender", "race", "age", "path"]
    assert len(people) == 120
    folders = {p.name: {f.stem for f in p.iterdir()} for p in (drawn / "train/images").iterdir()}
    assert folders == {p["path"]: SLOTS for p in people}
    assert [p["path"] for p in people] == ["_".join((p["id"], p["gender"], p["race"], p["age"])) for p in people]
    assert len(info) == 560
    assert {r["ans"] for r in info} == {"0"}
    assert {r["ImageID"] for r in info} == {f.name for f in (drawn / "eval/images").iterdir()}


def test_flat_table_agrees_with_the_folders(drawn: Path) -> None:
    people = {p["id"]: p for p in table(drawn / "train/train.csv")}
    state = {**{f"mask{k}": "wear" for k in range(1, 6)}, "incorrect_mask": "incorrect", "normal": "normal"}
    rows = table(drawn / "photos.csv")
    assert len({r["photo"] for r in rows}) == len(rows) == 1400
    for row in (r for r in rows if r["role"] == "train"):
        person, age = people[row["person"]], int(people[row["person"]]["age"])
        assert row["path"] == f"train/images/{row['photo']}"
        assert Path(row["photo"]).parent.name == person["path"]
        assert row["mask"] == state[Path(row["photo"]).stem]
        assert row["gender"] == person["gender"]
        assert row["age_group"] == ("young" if age < 30 else "middle" if age < 60 else "old")


def test_test_photos_say_nothing_and_the_truth_composes(drawn: Path) -> None:
    asked = [r for r in table(drawn / "photos.csv") if r["role"] == "test"]
    assert {(r["person"], r["mask"], r["gender"], r["age_group"]) for r in asked} == {("", "", "", "")}
    truth = table(drawn / "truth.csv")
    assert [r["ImageID"] for r in truth] == [r["photo"] for r in asked] == [r["ImageID"] for r in table(drawn / "eval/info.csv")]
    words = (["wear", "incorrect", "normal"], ["male", "female"], ["young", "middle", "old"])
    for row in truth:
        mask, gender, age = (w.index(row[c]) for w, c in zip(words, ("mask", "gender", "age_group"), strict=True))
        assert int(row["ans"]) == mask * 6 + gender * 3 + age
    assert {int(r["ans"]) for r in truth} == set(range(18))


def test_no_test_person_stands_in_training(drawn: Path, key: Any) -> None:
    trained = {p["id"] for p in table(drawn / "train/train.csv")}
    assert len(key["test_people"]) == 80
    assert not trained & set(key["test_people"])
    owners = Counter(photo for photos in key["test_people"].values() for photo in photos)
    assert owners == Counter(r["ImageID"] for r in table(drawn / "truth.csv"))
    hashes = {part: {p.read_bytes() for p in (drawn / part / "images").rglob("*.png")} for part in ("train", "eval")}
    shared = hashes["train"] & hashes["eval"]
    assert shared == {b"<html><body>404 Not Found</body></html>\n"}  # the one kind of broken file that looks the same everywhere


def test_old_people_are_rare_in_training_but_there_and_less_rare_in_the_test(drawn: Path) -> None:
    old = Counter(p["gender"] for p in table(drawn / "train/train.csv") if int(p["age"]) >= 60)
    assert min(old["male"], old["female"]) >= 3
    assert 0.07 <= old.total() / 120 <= 0.08
    truth = table(drawn / "truth.csv")
    assert sum(r["age_group"] == "old" for r in truth) / len(truth) == 0.15
    assert sum(r["gender"] == "female" for r in truth) / len(truth) < 0.5


def test_broken_files_are_the_keys_and_no_others(drawn: Path, key: Any) -> None:
    found = {}
    for row in table(drawn / "photos.csv"):
        try:
            shape = pixels(drawn / row["path"]).shape
        except OSError:
            found[row["photo"]] = row["role"]
        else:
            assert shape == (96, 72, 3), row["photo"]
    assert found.keys() == key["broken"].keys()
    assert Counter(found.values()) == {"train": 4, "test": 2}
    assert set(key["broken"].values()) == {"truncated", "empty", "not_an_image"}


def test_a_misnamed_file_is_readable_and_of_another_format(drawn: Path, key: Any) -> None:
    odd = []
    for row in table(drawn / "photos.csv"):
        if row["photo"] not in key["broken"]:
            with Image.open(drawn / row["path"]) as image:
                odd += [] if image.format == "PNG" else [row["photo"]]
    assert odd == key["misnamed"]


def test_duplicates_are_the_keys_and_no_others(drawn: Path, key: Any) -> None:
    rows = [r for r in table(drawn / "photos.csv") if r["photo"] not in key["broken"]]
    seen: dict[bytes, list[str]] = {}
    for row in rows:
        seen.setdefault((drawn / row["path"]).read_bytes(), []).append(row["photo"])
    same = {frozenset(photos) for photos in seen.values() if len(photos) > 1}
    assert same == {frozenset(pair) for pair in key["identical"]}
    assert len(same) == 2
    assert len(key["near_duplicates"]) == 6
    for one, other in key["near_duplicates"]:
        assert Path(one).parent != Path(other).parent
        difference = np.abs(train_pixels(drawn, one)[:, 2:-2] - train_pixels(drawn, other)[:, 2:-2])
        assert 0 < difference.mean() < 25  # a move by one pixel and a little more light


def test_wrong_labels_are_planted_where_the_key_says(drawn: Path, key: Any) -> None:
    rows = {r["photo"]: r for r in table(drawn / "photos.csv")}
    faults = key["wrong_labels"]
    assert 0.012 <= len(faults) / 840 <= 0.018
    for fault in faults:
        assert rows[fault["photo"]][fault["column"]] == fault["given"] != fault["true"]
    assert Counter(f["column"] for f in faults) == {"gender": 7, "mask": 6}
    assert len({rows[f["photo"]]["person"] for f in faults if f["column"] == "gender"}) == 1
    swapped = Counter(Path(f["photo"]).parent.name for f in faults if f["column"] == "mask")
    assert sorted(swapped.values()) == [1, 1, 2, 2]


def test_faults_do_not_overlap(key: Any) -> None:
    named = [f["photo"] for f in key["wrong_labels"]] + [p for pair in key["near_duplicates"] + key["identical"] for p in pair]
    named += [*key["broken"], *key["misnamed"]]
    assert len(named) == len(set(named))


def test_competition_file_reads_the_drawing(drawn: Path) -> None:
    competition = load_competition("demo")
    manifest = READERS[competition.reader](competition, drawn)
    assert len(manifest.rows("train")) == 840
    assert len(manifest.rows("test")) == 560
    assert len({manifest.groups[k] for k in manifest.rows("train")}) == 120
    assert {task: set(labels[manifest.rows("train")].tolist()) for task, labels in manifest.labels.items()} == {
        "mask": {0, 1, 2},
        "gender": {0, 1},
        "age": {0, 1, 2},
    }
    answers = [int(r["ans"]) for r in table(drawn / "truth.csv")]
    assert competition.label_classes[answers[0]] == "/".join(
        table(drawn / "truth.csv")[0][c] for c in ("mask", "gender", "age_group")
    )
