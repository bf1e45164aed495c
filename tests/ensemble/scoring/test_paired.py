"""A verdict on a change: rare on noise whatever its source, there where the change is real, and the same for any order of photos."""

from dataclasses import replace

import numpy as np
import pytest

from ensemble.scoring.paired import ALONE, HELPS, HURTS, UNDECIDED, Difference, Pair, Spread, compare, difference, spread_of

SHAPES = {  # groups, share of wrong answers, pairs, noise of a seed in that share
    "few groups": (12, 0.1, 1, 0.0),
    "hardly different": (40, 0.01, 1, 0.0),
    "one pair": (60, 0.1, 1, 0.0),
    "one pair, seeds differ": (100, 0.1, 1, 0.03),
    "two seeds": (40, 0.1, 2, 0.05),
    "five seeds": (40, 0.1, 5, 0.15),
}


def pairs_of(
    shape: tuple[int, float, int, float], seed: int, *, gain: float = 0.0, n_classes: int = 3, heads: tuple[str, ...] = ("h",)
) -> list[Pair]:
    """Pairs whose sides err alike, but for `gain`: photo by photo, and all photos of a group at once."""
    n_groups, error, n_pairs, noise = shape
    rng = np.random.default_rng([seed, n_groups, n_pairs])
    group = np.repeat(np.arange(n_groups), rng.integers(1, 9, n_groups))
    labels = {head: rng.integers(0, n_classes, n_groups)[group] for head in heads}
    hard = 2 * rng.random(n_groups)[group]

    def side(truth: np.ndarray, less: float) -> np.ndarray:
        share = np.clip(error * hard + rng.normal(0, noise) - less, 0, 1)
        wrong = (rng.random(len(group)) < share) | (rng.random(n_groups) < max(0, error / 2 - less))[group]
        named = np.where(wrong, (truth + rng.integers(1, n_classes, len(truth))) % n_classes, truth)
        return (np.eye(n_classes)[named] * 0.9 + 0.1 / n_classes).astype(np.float16)

    ids, groups = tuple(map(str, range(len(group)))), tuple(f"g{number}" for number in group)
    return [
        Pair(ids, groups, labels, {h: side(labels[h], 0) for h in heads}, {h: side(labels[h], gain) for h in heads})
        for _ in range(n_pairs)
    ]


NO_SEED_NOISE = Spread(0.0, 1_000_000)


def judged(pairs: list[Pair], seed: int = 0, metric: str = "macro_f1", n_resamples: int = 300) -> Difference:
    spread = spread_of([[difference(pair, metric) for pair in pairs]]) or NO_SEED_NOISE
    return compare(pairs, metric=metric, seed=seed, spread=spread, n_resamples=n_resamples)


def false_verdicts(name: str, n_cases: int) -> float:
    return float(np.mean([judged(pairs_of(SHAPES[name], seed), seed).verdict != UNDECIDED for seed in range(n_cases)]))


@pytest.mark.parametrize("name", ["one pair", "two seeds"])
def test_on_noise_a_verdict_is_rare(name: str) -> None:
    assert false_verdicts(name, 100) <= 0.12, "nominally 5 %; the long test counts 1,000 cases"


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in SHAPES if name != "one pair, seeds differ"])
def test_on_noise_at_most_75_of_1000_verdicts_are_false(name: str) -> None:
    assert false_verdicts(name, 1000) <= 0.075


@pytest.mark.parametrize("name", ["one pair", "two seeds"])
def test_a_change_that_helps_is_found_and_its_opposite_hurts(name: str) -> None:
    shape = (200, 0.15, SHAPES[name][2], 0.0)
    pairs = pairs_of(shape, 1, gain=0.12)
    backwards = [replace(pair, before=pair.after, after=pair.before) for pair in pairs]
    spread = Spread(0.01, 20)
    helps, hurts = (compare(these, metric="macro_f1", seed=0, spread=spread) for these in (pairs, backwards))
    assert (helps.verdict, hurts.verdict) == (HELPS, HURTS)
    assert helps.low < helps.mean < helps.high
    assert hurts.mean == pytest.approx(-helps.mean)


def test_one_pair_gets_an_interval_and_no_verdict_until_the_noise_of_a_seed_is_known() -> None:
    (pair,) = pairs_of((200, 0.15, 1, 0.0), 1, gain=0.12)
    alone, known = (compare([pair], metric="macro_f1", seed=0, spread=spread) for spread in (None, NO_SEED_NOISE))
    assert (alone.verdict, known.verdict) == (ALONE, HELPS)
    assert 0 < alone.low < alone.mean < alone.high


@pytest.mark.long
def test_a_verdict_on_one_pair_would_be_false_too_often() -> None:
    """Why there is none: 100 groups, a seed moves the share of errors by 0.03 (standard deviation); 195 of 1,000 were measured."""
    assert false_verdicts("one pair, seeds differ", 1000) > 0.15


def test_four_lucky_groups_are_no_proof() -> None:
    (pair,) = pairs_of((60, 0.0, 1, 0.0), 0)
    spoiled = pair.before["h"].copy()
    for number in range(4):  # one photo each is wrong before and right after
        row = pair.groups.index(f"g{number}")
        spoiled[row] = np.roll(spoiled[row], 1)
    found = judged([replace(pair, before={"h": spoiled})], n_resamples=1000)
    assert found.mean > 0
    assert found.verdict == UNDECIDED


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy", "balanced_accuracy", "log_loss"])
def test_the_order_of_photos_and_of_pairs_changes_nothing_and_equal_sides_differ_by_nothing(metric: str) -> None:
    pairs = pairs_of(SHAPES["two seeds"], 3, heads=("a", "b"))
    order = np.random.default_rng(0).permutation(len(pairs[0].image_ids))

    def shuffled(pair: Pair) -> Pair:
        taken = {part: {h: array[order] for h, array in getattr(pair, part).items()} for part in ("labels", "before", "after")}
        ids, groups = (tuple(np.array(names)[order].tolist()) for names in (pair.image_ids, pair.groups))
        return Pair(ids, groups, **taken)

    one = judged(pairs, metric=metric, n_resamples=50)
    two = judged([shuffled(pair) for pair in reversed(pairs)], metric=metric, n_resamples=50)
    np.testing.assert_allclose([one.mean, one.low, one.high], [two.mean, two.low, two.high], rtol=1e-9)
    same = judged([replace(pair, after=pair.before) for pair in pairs], metric=metric, n_resamples=50)
    assert same == Difference(0, 0, 0, UNDECIDED)


def test_photos_without_a_label_take_no_part() -> None:
    (pair,) = pairs_of(SHAPES["one pair"], 4)
    gone = np.array([group in ("g1", "g5") for group in pair.groups])
    labels = {"h": np.where(gone, -1, pair.labels["h"])}
    kept = {part: {"h": getattr(pair, part)["h"][~gone]} for part in ("labels", "before", "after")}
    ids, groups = (tuple(np.array(names)[~gone].tolist()) for names in (pair.image_ids, pair.groups))
    assert judged([replace(pair, labels=labels)], n_resamples=50).mean == judged([Pair(ids, groups, **kept)], n_resamples=50).mean


def test_the_spread_is_pooled_over_changes_and_unknown_for_single_pairs() -> None:
    assert spread_of([[0.1], [0.2]]) is None
    assert spread_of([[0.1, 0.3], [0.0, 0.0, 0.3], [5.0]]) == Spread(pytest.approx((0.08 / 3) ** 0.5), 3)
