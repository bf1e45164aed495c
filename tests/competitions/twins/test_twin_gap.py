"""The twin gap and matched splits: similarities are exact, gaps are announced where they are planted, and no test label is looked at."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from benchmarks.twin_simulation import Scenes, announced, draw_scenes
from competitions.competition import Split
from competitions.prepare import cut
from competitions.splits import PINNED, UNUSABLE
from competitions.twins.cluster_file import keep_clusters, matched_file, read_clusters
from competitions.twins.gap import SCORE_TOO_GOOD, twin_gap, wasserstein
from competitions.twins.matched import AS_THEY_ARE, _gathered, deal, folds_asked, propose, units_of
from competitions.twins.photos import AskedTwins, gaps_of_splits
from competitions.twins.similarity import Nearest, nearest_by_fold, normalised, to_training, two_nearest
from competitions.validation import DEFAULT_SPLIT
from system.errors import UserError
from system.paths import CompetitionPaths

HIDDEN = {"burst": 6, "known": 0.0, "groups": "none"}


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    """Bursts of a scene in training, test photos of other scenes, and nobody tells the groups."""
    return draw_scenes(0, **HIDDEN)


@given(st.integers(0, 10_000), st.integers(1, 700))
def test_the_nearest_photo_of_each_fold_is_found_block_by_block(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    training, asked = (normalised(rng.normal(size=(size, 5)).astype(np.float32)) for size in (40, n))
    fold = rng.integers(PINNED, 3, 40).astype(np.int8)
    fold[:3] = (0, 1, 2)
    near = nearest_by_fold(asked, training, [fold, np.zeros(40, np.int8)], np.arange(40))
    all_of_them = asked @ training.T
    for number in range(3):
        assert np.allclose(near[0][:, number], all_of_them[:, fold == number].max(axis=1), atol=1e-6)
    own = rng.integers(0, 3, n).astype(np.int8)
    brute = [row[fold != number].max() for row, number in zip(all_of_them, own, strict=True)]
    assert np.allclose(to_training(near[0], own), brute, atol=1e-6)
    parts = np.unique(fold, return_inverse=True)[1]
    assert np.allclose(nearest_by_fold(asked, training, [fold], parts)[0], near[0], atol=1e-6)
    group = rng.permutation(40) // 4
    two = two_nearest(asked, training, own[:, None], fold, group)
    assert np.allclose(two.first[:, 0], brute, atol=1e-6)
    others = [
        row[(fold != number) & (group != of)].max() for row, number, of in zip(all_of_them, own, two.group[:, 0], strict=True)
    ]
    assert np.allclose(two.second[:, 0], others, atol=1e-6)
    assert near[1].shape == (n, 2)
    assert (near[1][:, 1] == -1).all()  # nobody is pinned


@given(st.integers(0, 10_000))
def test_the_distance_is_that_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mine, theirs, weights = rng.normal(size=30), np.round(rng.normal(size=50), 1), rng.random(50)
    assert np.isclose(wasserstein(mine, theirs, weights), wasserstein_distance(mine, theirs, None, weights))


def test_a_planted_gap_is_announced_in_words_and_one_that_is_not_there_is_not(scenes: Scenes) -> None:
    found = gaps_of_splits(scenes.prepared, scenes.features)[DEFAULT_SPLIT]
    assert found.verdict == SCORE_TOO_GOOD
    assert found.words.startswith(
        "held-out photos have nearer twins in training than test photos: expect the score to be too good"
    )
    assert found.low > 0
    assert found.held_out > found.test
    seeds = range(40)
    assert announced(seeds, burst=6, known=1.0, groups="none") <= 0.1
    assert announced(seeds, burst=6, known=0.0, groups="train") <= 0.1
    assert announced(seeds, **HIDDEN) == 1.0


def test_one_group_says_nothing_and_stays_json() -> None:
    nobody, zeros = np.zeros((9, 1), np.float32), np.zeros((9, 1), int)
    mine, theirs = (Nearest(np.full((9, 1), value, np.float32), nobody, zeros) for value in (0.9, 0.1))
    found = twin_gap(mine, np.zeros(9, int), theirs, list("bcdefghij"), [1.0], 1)
    assert (found.low, found.high, found.verdict) == (-2.0, 2.0, "none")


def test_matched_folds_close_the_gap_and_keep_what_belongs_together_whole(scenes: Scenes) -> None:
    found = propose(scenes.prepared, scenes.features, 5)
    units, chosen = found.tried[0], found.chosen
    assert units.linkage == AS_THEY_ARE
    assert chosen.distance < units.distance / 3
    assert found.gap.verdict == "none"
    assert chosen.n_clusters < units.n_clusters
    known = draw_scenes(0, **{**HIDDEN, "groups": "train"}).prepared
    again = propose(known, scenes.features, 5)
    assert again.chosen.linkage == AS_THEY_ARE, "known groups that match stay as they are"
    dealt = deal(known, again.clusters, 5, 0)
    assert dealt is not None
    assert dealt.fold.tolist() == known.folds.fold.tolist(), "and are dealt as by the given split"
    by_group: dict[str, set[str]] = {}
    for image_id, group in zip(known.manifest.image_ids, known.manifest.groups, strict=True):
        if image_id in again.clusters:
            by_group.setdefault(group, set()).add(again.clusters[image_id])
    assert all(len(clusters) == 1 for clusters in by_group.values())


def test_units_are_groups_equal_pixels_and_near_duplicates(scenes: Scenes) -> None:
    manifest = replace(scenes.prepared.manifest, groups=tuple("ab" if row < 2 else f"~{row}" for row in range(500)))
    pixels = ["same" if row in (1, 2) else f"own{row}" for row in range(500)]
    unit = units_of(manifest, np.arange(6), pixels, None)
    assert unit.tolist() == [0, 0, 0, 1, 2, 3]


def test_many_units_are_gathered_around_centres_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("competitions.twins.matched.MOST_LINKED", 50)
    monkeypatch.setattr("competitions.twins.matched.CENTRES", 40)
    means = normalised(np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32))
    item, centres = _gathered(means, 0)
    assert len(item) == 200
    assert len(centres) == item.max() + 1 <= 40


def test_neither_labels_of_test_photos_nor_the_order_of_rows_matter(scenes: Scenes) -> None:
    prepared, rng = scenes.prepared, np.random.default_rng(1)
    first = propose(prepared, scenes.features, 5)
    scrambled = {"kind": prepared.manifest.labels["kind"].copy()}
    scrambled["kind"][300:] = rng.integers(0, 6, 200)
    order = rng.permutation(500)
    manifest = replace(
        prepared.manifest,
        labels={"kind": scrambled["kind"][order]},
        **{
            name: tuple(getattr(prepared.manifest, name)[row] for row in order)
            for name in ("image_ids", "paths", "groups", "roles")
        },
    )
    folds = replace(prepared.folds, fold=prepared.folds.fold[order])
    pixels = tuple(prepared.pixels[row] for row in order)
    other = replace(prepared, manifest=manifest, folds=folds, pixels=pixels)
    again = propose(other, scenes.features[order], 5)
    assert again.clusters == first.clusters
    assert again.to_json() == first.to_json()
    gaps = [gaps_of_splits(*of)[DEFAULT_SPLIT] for of in ((prepared, scenes.features), (other, scenes.features[order]))]
    assert gaps[0] == gaps[1]


def test_a_matched_split_reads_its_clusters_and_names_their_file(scenes: Scenes, tmp_path: Path) -> None:
    prepared = replace(scenes.prepared, paths=CompetitionPaths(tmp_path / "scenes"))
    split, competition = Split(name="matched", matched=5), prepared.competition
    given_folds = (competition, split, prepared.manifest, prepared.usable(), prepared.pixels, prepared.paths)
    with pytest.raises(UserError, match="nobody has looked for its clusters yet"):
        cut(*given_folds)
    found = propose(prepared, scenes.features, 5)
    assert keep_clusters(prepared.paths, 5, found.clusters)["kept"] == "kept in data/matched/5.csv"
    folds = cut(*given_folds)
    dealt = deal(prepared, found.clusters, 5, 0)
    assert dealt is not None
    assert folds.fold.tolist() == dealt.fold.tolist()
    assert (
        cut(*given_folds[:3], np.ones(500, bool), *given_folds[4:]).fold.tolist() == dealt.fold.tolist()
    )  # test photos have no row
    assert f"{found.chosen.n_clusters} clusters whole, of 5.csv" in folds.notes[0]
    where: dict[str, set[int]] = {}
    for image_id, fold in zip(prepared.manifest.image_ids, folds.fold.tolist(), strict=True):
        if fold != UNUSABLE:
            where.setdefault(found.clusters[image_id], set()).add(fold)
    assert all(len(parts) == 1 for parts in where.values())
    others = dict.fromkeys(found.clusters, "all")
    assert "stays: it holds other clusters" in keep_clusters(prepared.paths, 5, others)["kept"]
    assert cut(*given_folds).notes == folds.notes


def test_a_file_of_clusters_with_mistakes_is_refused_with_all_of_them(scenes: Scenes, tmp_path: Path) -> None:
    prepared = scenes.prepared
    file = matched_file(CompetitionPaths(tmp_path), 5)
    file.parent.mkdir(parents=True)
    file.write_text("image,cluster\ni0001,a\ni0001,b\ni0002\n")
    with pytest.raises(UserError) as raised:
        read_clusters(file, "scenes", Split(name="m", matched=5), prepared.manifest, prepared.usable())
    assert len(raised.value.faults) == 3
    assert "rows 4 have less" in raised.value.faults[0]
    assert "these stand twice: i0001" in raised.value.faults[1]
    assert "of 300 are missing" in raised.value.faults[2]
    with pytest.raises(UserError, match=r"nothing\.csv is not there"):
        read_clusters(tmp_path / "nothing.csv", "s", Split(groups="nothing.csv"), prepared.manifest, prepared.usable())


def test_settings_that_exclude_one_another_are_refused() -> None:
    for wrong in (
        {"matched": 5, "folds": 5},
        {"matched": 5, "groups": "a.csv"},
        {"matched": 5, "by_group": False},
        {"matched": 1},
    ):
        with pytest.raises(ValueError, match="matched"):
            Split(**wrong)  # type: ignore[arg-type]
    assert Split(matched=4).n_folds == 4
    assert "matched" not in Split().model_dump(), "older records are as they were"
    assert folds_asked("", Split(holdout=0.2)) == 5
    with pytest.raises(UserError, match="from 2 to 20, got '21'"):
        folds_asked("21", Split())


def test_too_few_photos_are_not_compared(scenes: Scenes) -> None:
    features = scenes.features.copy()
    features[300:] = np.nan
    assert gaps_of_splits(scenes.prepared, features) == {}
    assert AskedTwins.of(scenes.prepared.manifest, scenes.prepared.usable(), features) is None
    with pytest.raises(UserError, match="at least 5 training photos and 5 test photos"):
        propose(scenes.prepared, features, 5)
