"""Near-duplicates: what was planted is found, what belongs together is not, and look-alikes neither flood nor take for ever."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from competitions.competition import Competition
from competitions.images import near_duplicates
from competitions.images.near_duplicates import KEPT_PAIRS, NearDuplicates, find, near_findings
from competitions.loading import load_competition
from competitions.manifest import Manifest
from competitions.prepare import prepare
from competitions.report import report
from competitions.splits import Folds
from system.paths import CompetitionPaths

SIDE = 64


def pictures(n, seed=0):
    """`(n, SIDE, SIDE, 3) uint8` of coloured blobs, each its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 5, 5, 3)).astype(np.uint8)
    return np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for image in coarse])


def changed(image, seed=0):
    """The same picture moved by a pixel, brighter, with less contrast and some noise."""
    rng = np.random.default_rng(seed)
    moved = np.roll(image, 1, axis=1).astype(np.float64)
    return np.clip(moved * 0.8 + 30 + rng.integers(-4, 5, image.shape), 0, 255).astype(np.uint8)


def manifest_of(groups, roles=None):
    n = len(groups)
    ids = tuple(f"{i:04d}" for i in range(n))
    groups = tuple(group or f"~{image_id}" for group, image_id in zip(groups, ids, strict=True))
    return Manifest(ids, ids, groups, tuple(roles or ("train",) * n), {})


def found_in(images, manifest, pixels=None):
    return find(images, manifest, pixels or [f"{i}" for i in range(len(images))])


@pytest.mark.parametrize("seed", [0, 12])
def test_every_planted_near_duplicate_of_the_demo_is_found_and_nothing_else(seed: int, tmp_path: Path) -> None:
    paths = CompetitionPaths(tmp_path / "demo")
    prepared = prepare(load_competition("demo").model_copy(update={"seed": seed}), paths)
    planted = {tuple(sorted(pair)) for pair in json.loads((paths.data / "photos/key.json").read_text())["near_duplicates"]}
    assert prepared.near is not None
    assert len(planted) == 6
    assert set(prepared.near.pairs) == planted
    assert prepared.near.complete
    assert prepared.near.count == 6
    told = report(prepared, prepared.cache(64))["near_duplicates"]
    fold = dict(zip(prepared.manifest.image_ids, prepared.folds.fold.tolist(), strict=True))
    for pair in told["pairs"]:
        assert pair["stand_in"] == [f"fold {fold[photo]}" for photo in pair["photos"]]
        assert pair["leak"] == (len(set(pair["stand_in"])) == 2)
    leaking = {tuple(pair["photos"]) for pair in told["pairs"] if pair["leak"]}
    assert leaking == {finding.names for finding in prepared.findings if finding.kind == "near"}


def test_photos_of_one_group_of_the_test_or_without_a_part_are_not_compared():
    images = pictures(60)
    images[1], images[11], images[21], images[31] = (changed(images[k]) for k in (0, 10, 20, 30))
    roles = ["train"] * 60
    roles[11] = roles[20] = roles[21] = "test"
    roles[31] = "unlabelled"
    groups = [""] * 60
    groups[0] = groups[1] = "a"
    assert found_in(images, manifest_of(groups, roles)).pairs == (("0010", "0011"),)
    all_apart = found_in(images, manifest_of([""] * 60)).pairs
    assert sorted(all_apart) == [("0000", "0001"), ("0010", "0011"), ("0020", "0021"), ("0030", "0031")]


def test_equal_pixels_and_broken_photos_are_not_near():
    images = pictures(20)
    images[1], images[3] = images[0], changed(images[2])
    images[5] = images[6] = 0
    pixels = [f"{i}" for i in range(20)]
    pixels[1] = pixels[0]
    pixels[5] = pixels[6] = ""
    assert found_in(images, manifest_of([""] * 20), pixels).pairs == (("0002", "0003"),)


def test_flat_photos_are_not_near_because_of_their_noise():
    rng = np.random.default_rng(0)
    images = (100 + rng.integers(0, 3, (50, SIDE, SIDE, 3))).astype(np.uint8)
    assert found_in(images, manifest_of([""] * 50)).count == 0


def test_shuffling_the_rows_changes_nothing():
    images = np.concatenate([pictures(300), np.stack([changed(image) for image in pictures(300)[:40]])])
    manifest, pixels = manifest_of([""] * 340), [f"{i}" for i in range(340)]
    before = found_in(images, manifest, pixels)
    assert before.count >= 38
    rows = np.random.default_rng(5).permutation(340).tolist()
    columns = (manifest.image_ids, manifest.paths, manifest.groups, manifest.roles)
    shuffled = Manifest(*(tuple(column[r] for r in rows) for column in columns), {})
    assert found_in(images[rows], shuffled, [pixels[r] for r in rows]) == before


def test_a_set_of_look_alikes_is_counted_and_not_listed(monkeypatch):
    monkeypatch.setattr(near_duplicates, "BUDGET", 1 << 20)  # of 32 million that the hashes ask for
    rng = np.random.default_rng(0)
    images = np.clip(pictures(1)[0] + rng.integers(-9, 10, (1000, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    manifest = manifest_of([""] * 1000)
    near = found_in(images, manifest)
    assert near.are_kinds
    assert not near.complete
    assert near.count > 10_000
    assert len(near.pairs) == KEPT_PAIRS
    (finding,) = near_findings(near, manifest, Folds(np.zeros(1000, np.int8), (), (), ()))
    assert finding.text.startswith(f"at least {near.count} pairs of photos look alike")
    assert not finding.stops


def test_a_pair_within_one_fold_is_no_leak_and_pinned_against_validating_is():
    near = NearDuplicates((("0000", "0001"), ("0000", "0002"), ("0001", "0003"), ("0002", "0004")), (1.0,) * 4, 4, True)
    manifest = manifest_of([""] * 5, ["train", "train", "train", "train", "test"])
    found = near_findings(near, manifest, Folds(np.array([0, 0, -1, 1, -2], np.int8), (), (), ()))
    assert [finding.names for finding in found] == [("0000", "0002"), ("0001", "0003"), ("0002", "0004")]
    assert found[2].text == "photos 0002 and 0004 are nearly the same and stand in training and test"


def test_a_preparation_keeps_what_it_found_and_tells_identical_photos_apart_from_near_ones(
    tiny_data: Path, tiny_competition: Competition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_data, tmp_path / "data")
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    root = tmp_path / "data/tiny"
    for number, image in enumerate(pictures(2)):
        cv2.imwrite(str(root / f"g0{number}-0.png"), image)
    cv2.imwrite(str(root / "t00.png"), pictures(2)[0])
    cv2.imwrite(str(root / "t01.png"), changed(pictures(2)[1]))
    paths = CompetitionPaths(tmp_path / "tiny")
    prepared = prepare(tiny_competition, paths)
    about = [finding for finding in prepared.findings if set(finding.names) & {"g00-0", "g01-0"}]
    assert [(finding.kind, finding.names, finding.stops) for finding in about] == [
        ("pixels", ("g00-0", "t00"), False),
        ("near", ("g01-0", "t01"), False),
    ]
    (kept,) = paths.cache().glob("*.near-*.json")
    kept.write_text(kept.read_text().replace("g01-0", "g02-0"))
    assert ("g02-0", "t01") in prepare(tiny_competition, paths).near.pairs  # read, not found anew
    kept.write_text("{")
    assert prepare(tiny_competition, paths).near == prepared.near
