"""A shift is announced where one is planted, seldom where there is none, and never for other class shares alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ensemble.shift.adversarial_validation import Evidence, Shift, blocks_of, compare_sides, judge
from ensemble.shift.permutation import Side
from ensemble.shift.reweight import matched_weights, shares_elsewhere
from ensemble.shift.two_sample import FOREIGN, SEPARATED

WIDTH, CLASSES = 6, 3
SESSIONS = (54, 81, 243, 27, 54, 810, 81, 702, 297, 108, 81, 405, 54, 405, 54, 1026, 270, 1134, 2997, 378)
SIZES = {
    "people": ((5,) * 15, (5,) * 40),
    "six sessions, large and small ones in the test": ((20,) * 6, tuple(size // 4 for size in SESSIONS)),
    "no groups": ((1,) * 120, (1,) * 180),
    "one group in the test": ((10,) * 30, (10,)),
}
"""Numbers of photos in the labelled groups and in those of the test photos."""


def drawn_side(rng, sizes, prefix, *, looks, shares=(1, 1, 1), moved=0.0, where=slice(None), grouped=True):
    """Photos `(N, 6)` of groups that differ by 0.7, photos by 1; the groups `where` lie elsewhere by `moved` in two directions."""
    group_numbers = np.repeat(np.arange(len(sizes)), sizes)
    labels = rng.choice(CLASSES, len(group_numbers), p=np.array(shares) / sum(shares))
    away = np.zeros((len(sizes), WIDTH))
    away[where, :2] = moved
    columns = (
        (0.7 * rng.normal(size=(len(sizes), WIDTH)) + away)[group_numbers]
        + rng.normal(size=(len(group_numbers), WIDTH))
        + looks[labels]
    )
    likely = np.exp(-((columns[:, None] - looks) ** 2).sum(axis=2) / 3)
    ids = [f"{prefix}{number:05d}" for number in range(len(group_numbers))]
    groups = [f"{prefix}{number}" for number in group_numbers] if grouped else ids
    probs = likely / likely.sum(axis=1, keepdims=True)
    return Side(ids, groups, {"one": blocks_of(columns, {"task": probs})}), labels, probs


def sides_of(seed, kind="people", **test):
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(CLASSES, WIDTH))
    labelled, labels, probs = drawn_side(rng, SIZES[kind][0], "a", looks=looks)
    other, _, test_probs = drawn_side(rng, SIZES[kind][1], "b", looks=looks, **test)
    weights = matched_weights({"task": labels}, {"task": shares_elsewhere(probs, labels, test_probs)})
    return replace(labelled, weights=weights), other


def announced(n, *, weighted=True, **case):
    found = 0
    for seed in range(n):
        labelled, test = sides_of(seed, **case)
        labelled = labelled if weighted else replace(labelled, weights=None)
        found += judge({"x": compare_sides(labelled, test, seed=seed, n_draws=39)}).announced
    return found


LABEL_SHIFT = {"shares": (1, 1, 6)}  # total variation 0.42 from equal shares


def test_of_100_groupings_of_one_kind_at_most_12_are_announced() -> None:
    assert announced(100) <= 12


def test_other_class_shares_are_announced_without_weights_and_seldom_with_them() -> None:
    assert announced(30, **LABEL_SHIFT) <= 5
    assert announced(30, **LABEL_SHIFT, weighted=False) >= 8


@pytest.mark.long
@pytest.mark.parametrize("kind", SIZES)
def test_of_1000_groupings_of_one_kind_at_most_75_are_announced(kind: str) -> None:
    assert announced(1000, kind=kind) <= 75


@pytest.mark.long
def test_of_1000_other_class_shares_at_most_75_are_announced() -> None:
    assert announced(1000, **LABEL_SHIFT) <= 75


@pytest.mark.long
def test_of_1000_test_sets_without_known_groups_at_most_75_are_announced() -> None:
    assert announced(1000, grouped=False) <= 75


@pytest.mark.parametrize(
    "case",
    [
        {"moved": 1.5},
        {"moved": 4.0, "where": slice(0, 24)},
        {"moved": 4.0, "grouped": False},
        {"moved": 1.0, "kind": "no groups"},
        {"moved": 6.0, "where": slice(15, 20), "kind": "six sessions, large and small ones in the test"},
    ],
    ids=[
        "all groups a little",
        "three in five groups",
        "groups of the test unknown",
        "photos without groups",
        "the five large sessions",
    ],
)
def test_planted_shifts_are_announced(case: dict) -> None:
    assert announced(10, **case) >= 9


def test_a_shift_is_named_with_its_strength_and_its_null() -> None:
    found = compare_sides(*sides_of(0, moved=4.0), seed=0, n_draws=99)
    shift = judge({"trials": found})
    assert shift.announced
    assert found.auc > 0.8 > 0.7 > found.at_most > found.usual
    assert found.p == 0.01
    assert shift.words.startswith("test photos come from elsewhere: by trials, ")
    assert f"with AUC {found.auc:.2f}, held-out groups with {found.at_most:.2f} in all but 5 % of 99 draws" in shift.words
    assert json.loads(json.dumps(shift.to_json()))["evidence"]["trials"]["auc"] == found.auc


def test_the_order_of_photos_and_the_names_of_members_change_nothing() -> None:
    labelled, test = sides_of(1, moved=0.6)
    one = compare_sides(labelled, test, seed=3, n_draws=39)
    assert one == compare_sides(labelled, test, seed=3, n_draws=39)
    assert one != compare_sides(labelled, test, seed=4, n_draws=39)
    two = compare_sides(shuffled(labelled, 0, "z"), shuffled(test, 1, "z"), seed=3, n_draws=39)
    assert (one.way, one.p) == (two.way, two.p)
    assert one.auc == pytest.approx(two.auc, abs=1e-9)


def shuffled(side, seed, member):
    order = np.random.default_rng(seed).permutation(len(side.image_ids))
    ids, groups = (np.array(names)[order].tolist() for names in (side.image_ids, side.groups))
    weights = None if side.weights is None else side.weights[order]
    return Side(ids, groups, {member: [block[order] for block in side.seen["one"]]}, weights)


def test_one_member_three_times_says_what_it_says_once() -> None:
    labelled, test = sides_of(2, moved=0.6)
    thrice = [replace(side, seen=dict.fromkeys("abc", side.seen["one"])) for side in (labelled, test)]
    assert compare_sides(*thrice, seed=0, n_draws=39) == compare_sides(labelled, test, seed=0, n_draws=39)


def test_a_photo_twice_in_its_group_counts_twice_and_is_no_neighbour_of_itself() -> None:
    labelled, test = sides_of(3)
    doubled = [replicated(side) for side in (labelled, test)]
    once, twice = (compare_sides(*sides, seed=0, n_draws=39) for sides in ((labelled, test), doubled))
    assert once.auc == pytest.approx(twice.auc, abs=1e-9)


def replicated(side):
    twice = {name: [np.concatenate([block, block]) for block in blocks] for name, blocks in side.seen.items()}
    ids = [*side.image_ids, *(f"{image_id} again" for image_id in side.image_ids)]
    return Side(ids, [*side.groups, *side.groups], twice, None if side.weights is None else np.tile(side.weights, 2))


@pytest.mark.parametrize(("n_labelled", "n_test", "grouped"), [(1, 40, True), (2, 4, True), (5, 40, False)])
def test_too_few_groups_cannot_know_and_say_so(n_labelled: int, n_test: int, grouped: bool) -> None:
    rng, looks = np.random.default_rng(0), np.zeros((CLASSES, WIDTH))
    labelled, *_ = drawn_side(rng, (5,) * n_labelled, "a", looks=looks)
    test, *_ = drawn_side(rng, (5,) * n_test, "b", looks=looks, moved=9.0, grouped=grouped)
    shift = judge({"trials": compare_sides(labelled, test, seed=0, n_draws=39)})
    assert not shift.announced
    assert not shift.known
    assert f"cannot be known: by trials, {n_labelled} labelled groups" in shift.words


def test_one_test_group_is_asked_about_in_one_way_only() -> None:
    found = compare_sides(*sides_of(0, "one group in the test", moved=6.0), seed=0, n_draws=59)
    assert (found.way, found.n_test) == (FOREIGN, 1)
    assert found.p <= 0.05


def test_test_photos_of_a_kind_that_labelled_ones_also_show_are_told_apart_all_the_same() -> None:
    """Half of the labelled groups lie where all test groups do: no test photo is foreign, and the mixture is another one."""
    rng, looks = np.random.default_rng(5), np.zeros((CLASSES, WIDTH))
    labelled, *_ = drawn_side(rng, (10,) * 30, "a", looks=looks, moved=6.0, where=slice(0, 15))
    test, *_ = drawn_side(rng, (10,) * 30, "b", looks=looks)
    found = compare_sides(labelled, test, seed=0, n_draws=99)
    assert judge({"x": found}).announced
    assert found.way == SEPARATED


def test_two_sources_share_the_chance_of_a_false_word() -> None:
    sure = Evidence(9, 9, FOREIGN, auc=0.8, usual=0.5, at_most=0.6, p=0.03, n_draws=99)
    unsure, unable = replace(sure, p=0.5), Evidence(1, 9, unknown="too few")
    assert judge({"a": sure}).announced
    assert judge({"a": sure, "b": unable}).announced
    assert not judge({"a": sure, "b": unsure}).announced
    assert judge({"a": replace(sure, p=0.02), "b": unsure}).announced
    assert not judge({"a": replace(sure, auc=0.54, p=0.001)}).announced
    assert isinstance(judge({}), Shift)
    assert not judge({}).known
