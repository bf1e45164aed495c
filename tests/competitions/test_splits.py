"""Splits: nothing that belongs together is cut, nothing depends on row order, and every class can be learned in every fold."""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.manifest import Manifest
from competitions.splits import PINNED, UNUSABLE, contradictions, leaks, make_folds
from system.errors import UserError

TASKS = {"garment": ("hat", "shoe", "shirt"), "kids": ("adult", "kid")}


def manifest_of(groups, garment, kids, roles=None, ids=None):
    n = len(groups)
    ids = tuple(ids or (f"{i:03d}" for i in range(n)))
    labels = {"garment": np.array(garment, dtype=np.int16), "kids": np.array(kids, dtype=np.int16)}
    groups = tuple(g or f"~{i}" for g, i in zip(groups, ids, strict=True))
    return Manifest(ids, tuple(f"{i}.jpg" for i in ids), groups, tuple(roles or ("train",) * n), labels)


def folds_of(manifest, *, n_folds=3, seed=0, usable=None, **more):
    usable = np.ones(len(manifest), dtype=bool) if usable is None else usable
    return make_folds(manifest, usable, n_folds=n_folds, seed=seed, tasks=TASKS, **more)


@st.composite
def cases(draw):
    """A manifest in which every task class has at least two units, some hashes, and the settings of a split."""
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    n_groups, n = draw(st.integers(8, 30)), draw(st.integers(0, 120))
    group = np.concatenate([np.arange(8), rng.zipf(1.5, size=n) % n_groups])
    garment = np.concatenate([[0, 0, 1, 1, 2, 2, 0, 1], rng.choice([-1, 0, 1, 2], p=[0.1, 0.6, 0.25, 0.05], size=n)])
    kids = np.concatenate([[0, 1, 0, 1, 0, 1, 0, 1], rng.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=n)])
    groups = [f"g{g}" if rng.random() < 0.8 or i < 8 else "" for i, g in enumerate(group)]
    roles = ["train" if i < 8 else str(rng.choice(["train", "train", "train", "test", "unlabelled"])) for i in range(len(groups))]
    usable = np.array([i < 8 or rng.random() < 0.95 for i in range(len(groups))])
    # the first eight differ in pixels and no later group can join them all, so at least two units per class remain
    pixels = [f"own{i}" if i < 8 or rng.random() < 0.8 else f"same{i % 7}" if group[i] >= 8 else "" for i in range(len(groups))]
    return (
        manifest_of(groups, garment, kids, roles),
        usable,
        pixels,
        draw(st.integers(2, 4)),
        draw(st.integers(0, 5)),
        draw(st.booleans()),
    )


def split(case):
    manifest, usable, pixels, n_folds, seed, by_group = case
    return folds_of(manifest, usable=usable, same_pixels=pixels, n_folds=n_folds, seed=seed, by_group=by_group)


@settings(max_examples=80, deadline=None)
@given(case=cases())
def test_no_group_and_no_set_of_identical_pixels_spans_two_folds(case):
    manifest, usable, pixels, n_folds, _, by_group = case
    fold = split(case).fold
    train = np.array([r == "train" for r in manifest.roles]) & usable
    assert fold.dtype == np.int8
    assert ((fold == UNUSABLE) == ~train).all()
    assert set(range(n_folds)) <= set(fold.tolist()) <= set(range(UNUSABLE, n_folds))
    together = defaultdict(set)
    for row in np.flatnonzero(train):
        together["pixels", pixels[row]].add(fold[row])
        if by_group:
            together["group", manifest.groups[row]].add(fold[row])
    assert all(len(found) == 1 for key, found in together.items() if key[1])


@settings(max_examples=80, deadline=None)
@given(case=cases())
def test_every_class_stands_in_the_training_part_of_every_fold(case):
    manifest, _, _, n_folds, _, _ = case
    folds = split(case)
    composed = np.where(
        (manifest.labels["garment"] >= 0) & (manifest.labels["kids"] >= 0),
        manifest.labels["garment"] * 2 + manifest.labels["kids"],
        -1,
    )
    for labels in [*manifest.labels.values()] + ([] if folds.notes else [composed]):
        for number in set(labels[folds.fold != UNUSABLE].tolist()) - {-1}:
            for f in range(n_folds):
                assert ((labels == number) & (folds.fold != UNUSABLE) & (folds.fold != f)).any()


@settings(max_examples=50, deadline=None)
@given(case=cases(), seed=st.integers(0, 99))
def test_shuffling_the_rows_leaves_every_photo_in_its_fold(case, seed):
    manifest, usable, pixels, *rest = case
    rows = np.random.default_rng(seed).permutation(len(manifest))
    pick = [int(r) for r in rows]
    shuffled = Manifest(
        *(tuple(column[r] for r in pick) for column in (manifest.image_ids, manifest.paths, manifest.groups, manifest.roles)),
        {task: labels[rows] for task, labels in manifest.labels.items()},
    )
    again = split((shuffled, usable[rows], [pixels[r] for r in pick], *rest))
    before = split(case)
    assert (again.fold == before.fold[rows]).all()
    assert (again.pinned, again.reasons, again.notes) == (before.pinned, before.reasons, before.notes)


def simple(n=60, n_groups=20):
    rng = np.random.default_rng(3)
    group = np.arange(n) % n_groups
    return manifest_of([f"g{g}" for g in group], rng.integers(0, 3, n), rng.integers(0, 2, n))


def test_folds_are_dealt_as_they_always_were():
    assert "".join(map(str, folds_of(simple()).fold)) == "100121021002002212111001210210020022121110012102100200221211"


def held(manifest, share, **more):
    return make_folds(manifest, np.ones(len(manifest), bool), n_folds=1, holdout=share, tasks=TASKS, **{"seed": 0, **more})


@settings(max_examples=60, deadline=None)
@given(case=cases(), share=st.sampled_from([0.1, 0.15, 0.2, 0.5]))
def test_a_holdout_keeps_groups_whole_and_every_class_on_both_sides_or_says_so(case, share):
    manifest, usable, pixels, _, seed, by_group = case
    folds = make_folds(manifest, usable, n_folds=1, holdout=share, seed=seed, tasks=TASKS, by_group=by_group, same_pixels=pixels)
    fold = folds.fold
    train = np.array([r == "train" for r in manifest.roles]) & usable
    assert ((fold == UNUSABLE) == ~train).all()
    assert set(fold[train].tolist()) == {0, PINNED}
    together = defaultdict(set)
    for row in np.flatnonzero(train):
        together["pixels", pixels[row]].add(fold[row])
        if by_group:
            together["group", manifest.groups[row]].add(fold[row])
    assert all(len(found) == 1 for key, found in together.items() if key[1])
    for task, names in TASKS.items():
        for number, name in enumerate(names):
            rows = train & (manifest.labels[task] == number)
            if rows.any():
                assert (fold[rows] == PINNED).any()
                assert (fold[rows] == 0).any() or any(name in note for note in folds.notes)
    assert all(reason for reason in folds.reasons)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.5), order=st.integers(0, 99))
def test_a_holdout_of_many_small_groups_has_its_share_whatever_the_order_of_rows(seed, share, order):
    rng = np.random.default_rng(seed)
    groups = [f"g{g}" for g in rng.integers(0, 150, 600)]
    garment, kids = rng.choice(3, 600, p=[0.6, 0.3, 0.1]), rng.choice(2, 600, p=[0.8, 0.2])
    ids = [f"{i:03d}" for i in range(600)]
    folds = held(manifest_of(groups, garment, kids, ids=ids), share, seed=seed)
    assert abs((folds.fold == 0).mean() - share) < 0.02
    for labels, n in ((garment, 3), (kids, 2)):
        gap = np.bincount(labels[folds.fold == 0], minlength=n) / (folds.fold == 0).sum() - np.bincount(labels) / 600
        assert np.abs(gap).max() < 0.1
    rows = np.random.default_rng(order).permutation(600)
    shuffled = manifest_of([groups[r] for r in rows], garment[rows], kids[rows], ids=[ids[r] for r in rows])
    assert (held(shuffled, share, seed=seed).fold == folds.fold[rows]).all()


def test_a_huge_group_never_lands_in_a_small_holdout():
    rng = np.random.default_rng(0)
    group = np.where(np.arange(600) < 200, 0, rng.integers(1, 80, 600))
    manifest = manifest_of([f"g{g}" for g in group], rng.choice(3, 600), rng.choice(2, 600))
    for seed in range(10):
        folds = held(manifest, 0.1, seed=seed)
        assert (folds.fold[group == 0] == PINNED).all()
        assert 0.07 < (folds.fold == 0).mean() < 0.13
        assert folds.pinned == folds.notes == ()


def test_a_class_whose_groups_are_too_large_for_the_holdout_is_noted():
    groups = ["a"] * 100 + ["b"] * 100 + [f"g{i}" for i in range(100)]
    folds = held(manifest_of(groups, [2] * 200 + [0, 1] * 50, [0] * 200 + [0, 1] * 50), 0.1)
    assert (folds.fold[:200] == PINNED).all()
    assert len(folds.notes) == 1
    assert "the holdout has no photo of shirt, shirt/adult" in folds.notes[0]


def test_two_groups_are_enough_for_a_holdout_and_one_is_not():
    labels = [0, 1, 2] * 4
    fold = held(manifest_of(["a"] * 6 + ["b"] * 6, labels, [0, 1] * 6), 0.1).fold
    assert {tuple(fold[:6]), tuple(fold[6:])} == {(0,) * 6, (PINNED,) * 6}
    with pytest.raises(UserError, match="a holdout needs at least 2 groups of training photos, there are 1"):
        held(manifest_of(["a"] * 12, labels, [0, 1] * 6), 0.1)


def test_another_seed_cuts_the_groups_elsewhere_and_does_not_only_rename_the_folds():
    def together(seed):
        fold = folds_of(simple(), seed=seed).fold
        return frozenset(frozenset(np.flatnonzero(fold == f).tolist()) for f in range(3))

    assert len({together(seed) for seed in range(4)}) == 4
    assert (folds_of(simple(), seed=1).fold == folds_of(simple(), seed=1).fold).all()


def test_a_group_of_a_sixth_of_all_photos_leaves_folds_and_classes_even():
    rng = np.random.default_rng(0)
    group = np.where(np.arange(1200) < 200, 0, rng.integers(1, 150, 1200))
    manifest = manifest_of([f"g{g}" for g in group], rng.choice(3, 1200, p=[0.7, 0.25, 0.05]), rng.choice(2, 1200, p=[0.9, 0.1]))
    fold = folds_of(manifest, n_folds=5).fold
    sizes = np.bincount(fold, minlength=5)
    assert sizes.min() > 0.9 * 240
    assert sizes.max() < 1.1 * 240
    rare = np.bincount(fold[manifest.labels["garment"] == 2], minlength=5)
    assert rare.max() - rare.min() <= 4


def test_a_group_that_alone_holds_a_composed_class_is_pinned_and_listed():
    base = simple()
    garment, kids = base.labels["garment"].copy(), base.labels["kids"].copy()
    garment[garment == 2], kids[:] = 0, np.where(base.labels["garment"] == 2, 0, kids)
    garment[:4], kids[:4] = [2, 2, 2, 0], [0, 0, 1, 1]  # shoe-kid elsewhere; shirt-kid only in g2
    folds = folds_of(manifest_of(base.groups, garment, kids))
    assert folds.pinned == ("g2",)
    assert folds.reasons == ("g2 (3 photos) alone holds shirt/kid",)
    assert folds.notes == ()
    assert (folds.fold[[2, 22, 42]] == PINNED).all()
    assert (folds.fold == PINNED).sum() == 3


def test_a_group_of_more_than_a_third_is_not_pinned_but_noted():
    groups = ["big"] * 40 + [f"g{i}" for i in range(20)]
    garment = [2] + [0] * 39 + [0, 1, 2, 0] * 5
    kids = [1] + [0, 1, 0] * 13 + [0, 0, 0, 1] * 2 + [0, 1, 0, 0] * 3
    folds = folds_of(manifest_of(groups, garment, kids))
    assert folds.pinned == ()
    assert len(folds.notes) == 1
    assert "big (40 photos) alone holds shirt/kid; it is not pinned" in folds.notes[0]


def test_a_task_class_of_a_single_group_is_pinned_and_said_to_be_unmeasured():
    manifest = manifest_of([f"g{k // 2}" for k in range(40)], [1, 1] + [0] * 38, [0] * 39 + [1])
    folds = folds_of(manifest)
    assert folds.pinned == ("g0", "g19")
    assert folds.fold[[0, 1, 38, 39]].tolist() == [PINNED] * 4
    assert (
        "task garment: 1 classes have training photos of one of the groups alone, so their score cannot be measured: shoe"
        in folds.notes
    )
    assert "task kids: 1 classes have training photos of one of the photos alone" in folds_of(manifest, by_group=False).notes[-1]


def test_a_task_of_which_every_class_has_a_single_group_is_refused():
    with pytest.raises(UserError) as caught:
        folds_of(manifest_of(["a", "a", "b", "b"], [1, 1, 0, 0], [0, 1, 0, 1]), n_folds=2)
    assert (
        "task garment has none: 'hat' (2, all of 'b'), 'shoe' (2, all of 'a'); is it the right column?" in caught.value.faults[0]
    )
    assert len(caught.value.faults) == 1


def test_thousands_of_classes_are_dealt_in_seconds():
    n, k = 12_000, 5_000
    labels = {"species": np.concatenate([np.arange(k), np.arange(n - k) % (k - 500)]).astype(np.int16)}
    ids = tuple(f"{i:05}" for i in range(n))
    manifest = Manifest(ids, ids, tuple(f"~{i}" for i in ids), ("train",) * n, labels)
    names = {"species": tuple(f"s{i}" for i in range(k))}
    folds = make_folds(manifest, np.ones(n, bool), n_folds=5, seed=0, tasks=names)
    assert (folds.fold == PINNED).sum() == 500
    [note] = folds.notes
    assert len(note) < 400


def test_more_folds_than_groups_are_refused():
    with pytest.raises(UserError, match="21 folds need at least 21 groups of training photos, there are 20"):
        folds_of(simple(), n_folds=21)
    assert set(folds_of(simple(), n_folds=20).fold.tolist()) - {PINNED} == set(range(20))


def test_every_fold_gets_a_group_where_the_groups_share_no_class():
    manifest = manifest_of(["a", "b", "c", "d"], [0, 0, 1, 1], [0, 0, 1, 1])
    for seed in range(10):
        assert sorted(folds_of(manifest, n_folds=4, seed=seed).fold.tolist()) == [0, 1, 2, 3]


def test_groups_joined_by_pixels_through_a_third_stay_together():
    manifest = simple()
    pixels = [""] * 60
    pixels[0] = pixels[1] = "p"
    pixels[21] = pixels[2] = "q"  # rows 1 and 21 are of one group: 0-1, 21-2
    fold = folds_of(manifest, same_pixels=pixels).fold
    assert fold[0] == fold[1] == fold[2] == fold[22] == fold[40]


def test_a_random_split_cuts_groups_and_keeps_identical_pixels():
    manifest = simple()
    pixels = [f"p{i // 2}" for i in range(60)]
    fold = folds_of(manifest, by_group=False, same_pixels=pixels).fold
    assert (fold[::2] == fold[1::2]).all()
    assert len({int(f) for f in fold[[0, 20, 40]]}) > 1
    assert np.ptp(np.bincount(fold[fold >= 0], minlength=3)) <= 4


def test_leaks_name_groups_that_stop_a_study_and_pixels_that_do_not():
    roles = ["train", "test", "train", "test", "unlabelled", "test"]
    manifest = manifest_of(["a", "a", "b", "", "b", ""], [0, -1, 1, -1, -1, -1], [0, -1, 1, -1, -1, -1], roles)
    found = leaks(manifest, ["x", "y", "z", "x", "z", "x"])
    assert [(f.kind, f.names, f.stops) for f in found] == [
        ("group", ("a",), True),
        ("pixels", ("000", "003"), False),
        ("pixels", ("000", "005"), False),
    ]
    assert leaks(manifest)[0].text == "group 'a' stands in train and in test; a group must be on one side"


def test_identical_pixels_with_two_labels_are_listed_per_task():
    manifest = manifest_of(["", "", "", ""], [0, 1, 2, -1], [0, 0, 1, 1])
    found = contradictions(manifest, ["x", "x", "y", "y"])
    assert [(f.kind, f.names) for f in found] == [("contradiction", ("000", "001"))]
    assert "different garment labels" in found[0].text


SHARED = Path(os.environ.get("PODIUM_DATA") or Path(__file__).parents[2].parent / "shared" / "data")


def test_the_clothing_set_pins_three_small_senders_and_deals_even_folds():
    from competitions.loading import load_competition
    from competitions.readers.read import READERS

    asked = load_competition("clothing")
    root = SHARED / asked.root
    if not root.is_dir():
        pytest.skip(f"{root} is not there; PODIUM_DATA names the folder that holds it")
    manifest = READERS[asked.reader](asked, root)
    tasks = {name: task.classes for name, task in asked.tasks.items()}
    folds = make_folds(manifest, np.ones(len(manifest), bool), n_folds=5, seed=0, tasks=tasks, composed=asked.composed)
    assert folds.pinned == ("s018", "s126", "s194")
    assert not folds.notes
    sizes = np.bincount(folds.fold[folds.fold >= 0])
    assert sizes.sum() == 3816 - 56
    assert sizes.min() > 0.9 * 752
    assert sizes.max() < 1.1 * 752
    assert not leaks(manifest)


@pytest.mark.parametrize("name", ["setgame", "setgame_few"])
def test_the_card_sets_deal_every_label_to_every_fold(name):
    from competitions.loading import load_competition
    from competitions.readers.read import READERS

    asked = load_competition(name)
    root = SHARED / asked.root
    if not root.is_dir():
        pytest.skip(f"{root} is not there; PODIUM_DATA names the folder that holds it")
    manifest = READERS[asked.reader](asked, root)
    tasks = {task: asked.classes(task) for task in asked.tasks}
    n_folds = asked.split.folds
    folds = make_folds(manifest, np.ones(len(manifest), bool), n_folds=n_folds, seed=0, tasks=tasks, composed=asked.composed)
    assert not folds.pinned
    assert not leaks(manifest)
    composed = np.zeros(len(manifest), int)
    for labels in manifest.labels.values():
        composed = composed * 3 + labels
    assert all(len(np.unique(composed[folds.fold == fold])) == 81 for fold in range(n_folds))
