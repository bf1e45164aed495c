"""Strategies compared on groups left out: on noise the default stays, a planted better one is found and few members are enough."""

import json

import numpy as np
import pytest

from ensemble.scoring.gain import Gain, Judge
from ensemble.scoring.honest import Honest, honest_score
from ensemble.selection.candidates import Candidates
from ensemble.selection.compare import Comparison, compare_strategies, smallest_if_equal
from ensemble.selection.selector import Selector
from ensemble.selection.strategies import STRATEGIES

SLOW = ("greedy-soft", "greedy-hard", "bagged-greedy-soft", "bagged-greedy-hard", "stacked")
"""Tenths of a second to seconds for 25 resamples even here. They take part in the planted case."""
QUICK = tuple(strategy for strategy in STRATEGIES if strategy not in SLOW)
SIZES = (1, 3, 5)


def noise(seed: int, *, n_groups: int = 40, n_members: int = 6, n_classes: int = 3) -> Candidates:
    """Members that know nothing, through two views, of photos in groups of three with one label each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, n_classes, n_groups), 3)
    logits = rng.normal(0, 1, (n_members, 1, len(labels), n_classes)) + rng.normal(0, 0.5, (n_members, 2, len(labels), n_classes))
    powers = np.exp(logits)
    probs = (powers / powers.sum(axis=3, keepdims=True)).astype(np.float16)
    groups = np.repeat([f"g{number:02}" for number in range(n_groups)], 3)
    return Candidates(
        tuple(f"m{number}" for number in range(n_members)), ("identity", "hflip"), probs, labels, groups, "accuracy"
    )


def complementary(seed: int, n_groups: int = 60) -> Candidates:
    """Eight that err on the same fifth of the photos, and three at the end of the ranking, each wrong on another third."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 5 * n_groups)
    wrong, hard, third = (labels + 1) % 3, rng.random(len(labels)) < 0.2, rng.integers(0, 3, len(labels))
    says = [np.where(hard ^ (rng.random(len(labels)) < 0.02), wrong, labels) for _ in range(8)]
    says += [np.where(third == number, wrong, labels) for number in range(3)]
    probs = (0.7 * np.eye(3)[np.stack(says)] + 0.1).astype(np.float16)
    groups = np.repeat([f"g{number:02}" for number in range(n_groups)], 5)
    return Candidates(tuple("abcdefghijk"), ("identity",), probs[:, None], labels, groups, "macro_f1")


def judge_of(candidates: Candidates, seed: int, n_resamples: int = 25) -> Judge:
    return Judge(candidates.labels, candidates.groups, metric=candidates.metric, seed=seed, n_resamples=n_resamples)


def held(seed: int, strategies: tuple[str, ...]) -> Comparison:
    candidates = noise(seed)
    return compare_strategies(candidates, sizes=SIZES, judge=judge_of(candidates, seed), strategies=strategies)


def champion_on_noise(seed: int, strategies: tuple[str, ...]) -> tuple[str, Gain]:
    """The champion where nothing is to be won, and its gain over the best member alone."""
    candidates = noise(seed)
    judge = judge_of(candidates, seed)
    champion = compare_strategies(candidates, sizes=SIZES, judge=judge, strategies=strategies).champion
    single, chosen = (judge.group_results(Selector(candidates, strategy, SIZES)) for strategy in ("single", champion))
    return champion, judge.compare("champion for single", single, chosen)


def check_promise(n: int, strategies: tuple[str, ...], replaced_at_most: float, covered_at_least: float) -> None:
    outcomes = [champion_on_noise(seed, strategies) for seed in range(n)]
    replaced = np.mean([champion != "hard" for champion, _ in outcomes])
    covered = np.mean([gain.low <= 0 <= gain.high for _, gain in outcomes])
    assert replaced <= replaced_at_most, f"the default was replaced in {replaced:.1%} of {n}"
    assert covered >= covered_at_least, f"the interval held the true gain in {covered:.1%} of {n}"


def test_on_noise_the_default_stays() -> None:
    check_promise(25, ("single", "soft", "weighted"), replaced_at_most=0.16, covered_at_least=0.75)


@pytest.mark.long
def test_in_a_thousand_pools_of_noise_the_default_stays_and_intervals_cover() -> None:
    check_promise(1000, QUICK, replaced_at_most=0.075, covered_at_least=0.87)


def test_a_planted_better_strategy_is_found() -> None:
    candidates = complementary(0)
    found = compare_strategies(
        candidates, sizes=(1, 3), judge=judge_of(candidates, 0, 12), strategies=("single", "soft", "subset", "weighted")
    )
    assert found.champion == "subset"
    assert set(found.of("subset").members) == set("ijk")
    assert [entry.score for entry in found.entries] == sorted((entry.score for entry in found.entries), reverse=True)


@pytest.mark.long
def test_a_planted_better_strategy_is_found_among_all() -> None:
    for seed in range(5):
        candidates = complementary(seed)
        found = compare_strategies(candidates, sizes=range(1, 6), judge=judge_of(candidates, seed, 12))
        assert found.champion in (
            "subset",
            "stacked",
            "greedy-soft",
            "bagged-greedy-soft",
            "weighted",
            "class-weighted",
            "diverse",
        )
        assert found.of("subset").gain is not None
        assert found.of("subset").gain.kept  # type: ignore[union-attr]


def test_the_outcome_is_json_and_the_same_for_the_same_inputs() -> None:
    one, two = (held(1, ("single", "soft")) for _ in range(2))
    assert one == two
    assert json.dumps(one.to_json()) == json.dumps(two.to_json())
    assert json.loads(json.dumps(one.to_json())) == one.to_json()
    assert {entry.strategy for entry in one.entries} == {"single", "soft", "hard"}
    assert one.of("hard").gain is None
    assert all(entry.gain.n_compared == 2 for entry in one.entries if entry.gain is not None)


def test_few_members_are_enough_where_more_win_nothing() -> None:
    """Copies of one member: all sizes score alike, and one is enough."""
    candidates = noise(0)
    copies = Candidates(
        candidates.members,
        candidates.views,
        np.repeat(candidates.probs[:1], 6, axis=0),
        candidates.labels,
        candidates.groups,
        "accuracy",
    )
    found = smallest_if_equal(copies, most=5, judge=judge_of(copies, 0))
    assert (found.k, found.best, found.gain) == (1, 1, None)
    assert len(found.scores) == 5
    assert json.loads(json.dumps(found.to_json()))["k"] == 1


def test_members_that_err_apart_are_worth_their_number() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 3, 100), 3)
    says = np.where(rng.random((7, 300)) < 0.3, (labels + rng.integers(1, 3, (7, 300))) % 3, labels)
    probs = (0.7 * np.eye(3)[says] + 0.1).astype(np.float16)[:, None]
    candidates = Candidates(tuple("abcdefg"), ("identity",), probs, labels, np.repeat(np.arange(100), 3).astype(str), "accuracy")
    found = smallest_if_equal(candidates, most=7, judge=judge_of(candidates, 0))
    assert 3 <= found.k <= found.best
    assert found.scores[found.best - 1] == max(found.scores)


def honest_on_noise(strategy: str, seed: int, n_members: int = 120) -> Honest:
    """Of a strategy that sees fifteen contenders of many members, who know nothing."""
    one = noise(seed, n_groups=60, n_members=n_members)
    candidates = Candidates(one.members, ("identity",), one.probs[:, :1], one.labels, one.groups, "accuracy", width=15)
    selector = Selector(candidates, strategy, SIZES)
    return honest_score(selector, candidates.labels, candidates.groups, metric="accuracy", seed=seed, n_resamples=20)


@pytest.mark.parametrize(
    "strategy",
    ["hard", "diverse", "greedy-hard", *(pytest.param(strategy, marks=pytest.mark.long) for strategy in ("subset", "stacked"))],
)
def test_who_is_seen_is_asked_anew_so_no_strategy_is_honest_about_luck_it_kept(strategy: str) -> None:
    n = 6 if strategy in SLOW else 12
    found = [honest_on_noise(strategy, seed) for seed in range(n)]
    assert np.mean([one.mean for one in found]) < 1 / 3 + 0.03, "0.06 too good where contenders are those of all photos"
    assert sum(one.low > 1 / 3 for one in found) <= 2
