"""Preparation: what is learned does not hang on the order of a table, and photos that changed stop a trial instead of blinding it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competitions.competition import Competition
from competitions.prepare import Prepared, load_prepared, prepare
from competitions.report import report
from competitions.targets import targets
from system.errors import UserError
from system.paths import CompetitionPaths
from trainables.attach import attach
from trainables.batches import training_batches
from trainables.config import Question, resolve


@pytest.fixture
def copied(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny competition's folder that a test may change; it is `PODIUM_DATA / tiny`."""
    shutil.copytree(tiny_data, tmp_path / "data")
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    return tmp_path / "data" / "tiny"


def first_batch(prepared: Prepared) -> tuple[str, bytes]:
    target = targets(prepared.competition)["colour"]
    question = Question("tiny", "colour", target.heads, target.metric, prepared.data_fingerprint(target), "groups", 0, 0, 32)
    config = resolve({"backbone": "test_vit", "epochs": 1, "batch_size": 16}, question)
    training = attach(prepared, config).training
    _, images = next(training_batches(training, batch_size=16, augmentation="light", seed=0, epoch=1))
    return config.trial_id, images.tobytes()


def test_a_table_in_another_order_teaches_the_same(copied: Path, tiny_competition: Competition, tmp_path: Path) -> None:
    before = first_batch(prepare(tiny_competition, CompetitionPaths(tmp_path / "a")))
    header, *rows = (copied / "manifest.csv").read_text().splitlines()
    order = np.random.default_rng(3).permutation(len(rows))
    (copied / "manifest.csv").write_text("\n".join([header, *(rows[i] for i in order)]) + "\n")
    after = first_batch(prepare(tiny_competition, CompetitionPaths(tmp_path / "b")))
    assert after == before


def test_photos_that_are_missing_on_a_node_stop_the_trial_by_name(
    copied: Path, tiny_competition: Competition, tmp_path: Path
) -> None:
    prepared = prepare(tiny_competition, CompetitionPaths(tmp_path / "a"))
    (copied / "g03-2.png").unlink()
    with pytest.raises(UserError, match=r"1 photos on this machine are missing or differ.*g03-2"):
        prepared.cache(48)


def test_what_is_kept_is_what_was_prepared(tiny: Prepared) -> None:
    again = load_prepared(tiny.paths, tiny.save())
    assert again.key() == tiny.key()
    for name, target in targets(tiny.competition).items():
        assert again.data_fingerprint(target) == tiny.data_fingerprint(target), name


def test_photos_of_twelve_bits_have_one_scale_that_is_kept_and_noted(
    copied: Path, tiny_competition: Competition, tiny: Prepared, tmp_path: Path
) -> None:
    path = copied / "g03-2.png"
    Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) << 4).save(path)
    prepared = prepare(tiny_competition, CompetitionPaths(tmp_path / "a"))
    assert (tiny.bits, prepared.bits) == (16, 12)
    again = load_prepared(prepared.paths, prepared.save())
    assert (again.bits, again.key()) == (12, prepared.key())
    assert again.cache(48).bits == 12
    kept = [json.loads((one.paths.data / f"prepared/{one.save()}.json").read_text()) for one in (tiny, prepared)]
    assert ["bits" in value for value in kept] == [False, True]
    [note] = [note for note in report(prepared, prepared.cache(32))["notes"] if "16-bit" in note]
    assert note.startswith("16-bit grey photos use 12 of their 16 bits (values up to 4095)")


def test_the_report_has_every_field_of_the_contract_and_lists_twins(
    copied: Path, tiny_competition: Competition, tmp_path: Path
) -> None:
    shutil.copyfile(copied / "g00-0.png", copied / "g00-1.png")
    prepared = prepare(tiny_competition, CompetitionPaths(tmp_path / "a"))
    found = report(prepared, prepared.cache(32))
    asked = {"images", "tasks", "groups", "folds", "pinned_groups", "broken_files", "leaks", "duplicates", "cache"}
    assert asked <= set(found)
    assert json.loads(json.dumps(found)) == found
    assert [twins["photos"] for twins in found["duplicates"]] == [["g00-0", "g00-1"]]
    assert Path(found["cache"]["path"]).stat().st_size == found["cache"]["bytes"]
    assert set(found["broken_files"]) == {"g07-1", "t03"}


def test_a_group_on_both_sides_stops(copied: Path, tiny_competition: Competition, tmp_path: Path) -> None:
    text = (copied / "manifest.csv").read_text()
    (copied / "manifest.csv").write_text(text.replace("t05.png,t05,test", "t05.png,g04,test"))
    with pytest.raises(UserError, match="group 'g04' stands in train and in test"):
        prepare(tiny_competition, CompetitionPaths(tmp_path / "a"))


def test_data_without_one_readable_training_photo_stop_with_the_reason(
    copied: Path, tiny_competition: Competition, tmp_path: Path
) -> None:
    for photo in copied.glob("g*.png"):
        photo.write_bytes(photo.read_bytes()[:300])
    with pytest.raises(UserError, match=r"none of the 80 training photos can be decoded: .*cut short.* \(80\); look at g00-0"):
        prepare(tiny_competition, CompetitionPaths(tmp_path / "a"))
