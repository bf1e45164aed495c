"""The leak check: where the person decides the label, a random split promises what that by group does not; nothing is trained twice."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from competitions.loading import parse_competition
from competitions.prepare import Prepared, prepare
from ledger.trials import trial_folders
from search import leak
from search.leak import show_leak
from system.errors import UserError
from system.paths import CompetitionPaths

PEOPLE, EACH, SIDE = 60, 6, 32
YAML = """
root: people
columns: {image: image, group: person}
tasks: {mood: {column: mood, classes: [calm, wild]}}
image_size: 32
split: {name: persons, folds: 4}
splits: {random: {folds: 4, by_group: false}}
submission: {id_column: image, answers: {mood: mood}}
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `PODIUM_DATA` folder of people who look like nobody else and whose mood shows in nothing but who they are."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "people").mkdir()
    rng = np.random.default_rng(0)
    rows = ["image,person,mood"]
    for person in range(PEOPLE):
        face = cv2.resize(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for number in range(EACH):
            name = f"p{person:02}-{number}.png"
            cv2.imwrite(str(folder / "people" / name), np.clip(face + rng.normal(0, 12, face.shape), 0, 255).astype(np.uint8))
            rows.append(f"{name},p{person:02},{('calm', 'wild')[person % 2]}")
    (folder / "people/manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def people(yaml: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    monkeypatch.setenv("PODIUM_DATA", str(photos))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    return prepare(parse_competition(yaml, "people", where="people.yaml"), CompetitionPaths(tmp_path / "people"))


def test_a_leak_shows_and_an_interrupted_check_goes_on_without_training_anything_twice(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leak, "EPOCH_RANGE", (2, 12))  # enough for what is drawn here
    prepared = people(YAML, photos, tmp_path, monkeypatch)
    told: list[int] = []

    def interrupt(done: int, total: int) -> None:
        told.append(done)
        if done == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show_leak(prepared, interrupt)
    assert not list(prepared.paths.trials.glob("*/claim*"))
    again: list[tuple[int, int]] = []
    found = show_leak(prepared, lambda *progress: again.append(progress))
    assert [done for done, _ in again] == [12, *range(16, 25), 24]
    (task,) = found["tasks"]
    assert (found["random"], found["by_group"], task["task"]) == ("random", "persons", "mood")
    assert task["random"] > 0.9
    assert task["difference"] > 0.15
    assert task["difference"] == pytest.approx(task["random"] - task["by_group"], abs=1e-3)
    assert {folder.id for folder in trial_folders(prepared.paths.trials)} == set(task["trials"])
    assert {folder.config()["split"] for folder in trial_folders(prepared.paths.trials)} == {"random", "persons"}
    stood = {folder.id: folder.path.stat().st_mtime_ns for folder in trial_folders(prepared.paths.trials)}
    assert show_leak(prepared) == found
    assert stood == {folder.id: folder.path.stat().st_mtime_ns for folder in trial_folders(prepared.paths.trials)}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (", group: person", "", "people has no groups: every training photo is its own"),
        ("splits: {random: {folds: 4, by_group: false}}", "", "people's YAML has no random one; add `splits: {random: "),
        ("folds: 4}\n", "folds: 4, by_group: false}\n", "people's YAML has no grouped one; add `splits: {grouped: "),
    ],
)
def test_a_check_that_could_show_nothing_is_refused(
    old: str, new: str, says: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert old in YAML
    prepared = people(YAML.replace(old, new), photos, tmp_path, monkeypatch)
    with pytest.raises(UserError, match="no") as refused:
        show_leak(prepared)
    assert says in refused.value.faults[0]
    assert not prepared.paths.trials.exists()
