"""Votes among the same members, counted once and asked many times, against `ensemble.votes`."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.metrics import METRICS
from ensemble.metric_sums import vote_score
from ensemble.plan.spec import Spec, decide_by, decide_together
from ensemble.scoring.gain import Gain, Judge, Step, keep_what_wins
from ensemble.scoring.honest import honest_score
from ensemble.selection.candidates import Candidates, Sample
from ensemble.selection.refinements import same_for_group, with_quota
from ensemble.selection.selector import Selector
from ensemble.selection.strategies import STRATEGIES


def candidates_of(
    seed: int, *, n: int = 40, members: int = 4, views: int = 3, classes: int = 3, metric: str = "macro_f1", skill: float = 1.0
) -> Candidates:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, classes, n)
    logits = rng.normal(0, 1, (members, 1, n, classes)) + rng.normal(0, 0.7, (members, views, n, classes))
    logits += skill * np.eye(classes)[np.maximum(labels, 0)]
    powers = np.exp(2 * logits)
    probs = np.round(powers / powers.sum(axis=-1, keepdims=True), 1).astype(np.float16)  # coarse, so that ties happen
    groups = np.array([f"g{number}" for number in rng.integers(0, max(2, n // 4), n)])
    names = tuple(f"m{number}" for number in rng.permutation(members))
    return Candidates(names, tuple(f"v{number}" for number in range(views)), probs, labels, groups, metric)


specs = st.builds(
    lambda seed, rule, weighted: (seed, rule, weighted),
    st.integers(0, 10_000),
    st.sampled_from(["hard", "soft", "geometric", "rank"]),
    st.sampled_from(["none", "by member", "by voter", "by class"]),
)


def drawn_spec(candidates: Candidates, seed: int, rule: str, weighted: str) -> Spec:
    rng = np.random.default_rng(seed)
    members = rng.permutation(len(candidates.members))[: rng.integers(1, len(candidates.members) + 1)]
    chosen = [(int(m), int(v)) for m in members for v in np.flatnonzero(rng.random(len(candidates.views)) < 0.6)] or [(0, 0)]
    of_member = {member: float(rng.integers(1, 4)) for member, _ in chosen}
    weights: Any = {
        "none": None,
        "by member": tuple(of_member[member] for member, _ in chosen),
        "by voter": tuple(float(rng.integers(1, 4)) for _ in chosen),
        "by class": tuple(tuple(float(w) for w in rng.integers(1, 4, candidates.n_classes)) for _ in chosen),
    }[weighted]
    return Spec(tuple(chosen), rule, weights)


@given(st.integers(0, 1000), st.lists(specs, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_votes_equal_those_of_the_rules_to_the_last_bit(seed: int, drawn: list[tuple[int, str, str]]) -> None:
    candidates = candidates_of(seed)
    rows = np.random.default_rng(seed).integers(0, len(candidates.labels), 25)
    asked = [drawn_spec(candidates, *one) for one in drawn]
    for spec, vote in zip(asked, candidates.votes_of(asked, rows), strict=True):
        cube = np.stack([candidates.probs[member, view, rows] for member, view in spec.voters])
        plain = decide_by(spec, cube)
        np.testing.assert_array_equal(vote.labels, plain.labels)
        np.testing.assert_allclose(vote.shares, plain.shares, atol=1e-12)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_scores_count_each_photo_as_often_as_it_was_drawn(metric: str) -> None:
    candidates = candidates_of(3, metric=metric)
    rows = np.random.default_rng(1).integers(0, len(candidates.labels), 60)
    sample = candidates.sample(rows)
    repeated = rows[candidates.labels[rows] >= 0]
    spec = Spec(((1, 0), (1, 1), (0, 0)), "soft")
    assert candidates.score(candidates.vote(spec, sample.rows), sample) == pytest.approx(
        vote_score(candidates.vote(spec, repeated), candidates.labels[repeated], metric=metric), abs=1e-12
    )
    alone = [METRICS[metric](member[0][repeated], candidates.labels[repeated]) for member in candidates.probs]
    np.testing.assert_allclose(candidates.member_scores(sample), alone, atol=1e-12)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_gives_a_spec_of_allowed_size_that_decides(strategy: str) -> None:
    candidates = candidates_of(5, members=6)
    selector = Selector(candidates, strategy, (1, 2, 3))
    spec = selector.on()
    assert len(spec.members) >= 1
    assert "greedy" in strategy or len(spec.members) <= 3
    assert len(set(spec.voters)) == len(spec.voters)
    rows = np.arange(len(candidates.labels))
    vote = selector(rows)(rows)
    assert vote.labels.shape == rows.shape
    np.testing.assert_array_equal(vote.shares.argmax(axis=1), vote.labels)
    assert selector.on() == Selector(candidates, strategy, (1, 2, 3)).on()


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_order_of_photos_changes_no_spec(strategy: str) -> None:
    candidates = candidates_of(7, members=5, skill=0.5)
    order = np.random.default_rng(0).permutation(len(candidates.labels))
    assert Selector(candidates, strategy, (1, 2, 3)).on() == Selector(candidates.at(order), strategy, (1, 2, 3)).on()


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_one_member_at_any_size_is_exactly_that_member(strategy: str) -> None:
    candidates = candidates_of(11, members=1, views=1)
    rows = np.arange(len(candidates.labels))
    vote = Selector(candidates, strategy, (1, 2, 5))(rows)(rows)
    np.testing.assert_array_equal(vote.labels, candidates.named[0, 0])


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_sample_without_a_label_leaves_the_order_as_it_is(strategy: str) -> None:
    candidates = candidates_of(13)
    nothing = Sample(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    assert STRATEGIES[strategy].spec(candidates, nothing, (1, 2)).members[0] == 0


@pytest.mark.parametrize(
    ("n_groups", "most", "left"), [(4, 10, 2), (5, 10, 3), (2, 10, 2), (1, 10, 1), (40, 100, 20), (40, 1000, 40)]
)
def test_of_many_photos_whole_groups_are_left_and_never_a_single_one(n_groups: int, most: int, left: int) -> None:
    candidates = candidates_of(0, n=5 * n_groups)
    labels = np.where(np.arange(5 * n_groups) < 5 * n_groups - 1, np.maximum(candidates.labels, 0), -1)
    groups = np.repeat([f"g{number:02}" for number in range(n_groups)], 5)
    fewer = replace(candidates, labels=labels, groups=groups).fewer(most)
    assert len(np.unique(fewer.groups)) == left
    assert len(fewer.labels) == 5 * left


def told_shares(seed: int, n_groups: int, *, biased: float = 0.0, per: int = 8) -> Candidates:
    """Two equal members of two classes, groups of one class each; biased ones name the first class too often."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, 2, n_groups), per)
    logits = rng.normal(0, 1, (len(labels), 2)) + 0.7 * np.eye(2)[labels] + [biased, 0]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    groups = np.repeat([f"g{number:03}" for number in range(n_groups)], per)
    return Candidates(("m", "n"), ("identity",), np.stack([probs, probs])[:, None].astype(np.float16), labels, groups, "accuracy")


def quota_account(candidates: Candidates) -> Gain:
    judge = Judge(candidates.labels, candidates.groups, metric=candidates.metric, seed=1, n_resamples=20)
    step = Step("quota", lambda choice: choice.then(partial(with_quota, shares=(0.5, 0.5))))
    return keep_what_wins(Selector(candidates, "soft", (1,)), [step], judge)[1][0]


@pytest.mark.parametrize("n_groups", [4, 8, 24])
def test_known_shares_do_not_tell_the_answers_of_the_photos_they_are_judged_on(n_groups: int) -> None:
    candidates_of = [told_shares(seed, n_groups) for seed in range(12)]
    accounts = [quota_account(candidates) for candidates in candidates_of if len(set(candidates.labels)) == 2]
    assert np.mean([account.gain for account in accounts]) < 0.01, "true gain: 0.003"
    assert sum(account.kept for account in accounts) <= 1


def test_known_shares_are_kept_where_they_help() -> None:
    account = quota_account(told_shares(0, 100, biased=1.5, per=4))
    assert account.kept
    assert account.gain > 0.03


def test_a_quota_takes_the_place_of_one_answer_per_group_where_it_holds() -> None:
    candidates = told_shares(0, 24)
    sample, rows = candidates.sample(), np.arange(len(candidates.labels))
    spec = same_for_group(candidates, sample, Selector(candidates, "soft", (1,)).on())
    both, alone = (with_quota(candidates, sample, one, shares=(0.25, 0.75)) for one in (spec, replace(spec, same_group=None)))
    np.testing.assert_array_equal(candidates.vote(both, rows).labels, candidates.vote(alone, rows).labels)
    vote, names = candidates.vote(replace(spec, same_group=None), rows), [f"{row:03}" for row in rows]
    together = decide_together(vote, names, candidates.groups, same_group="logs", quota=(0.25, 0.75))
    assert np.bincount(together.labels).tolist() == [48, 144]
    assert both.same_group == "logs", "other photos than those of the quota"


def test_a_quota_is_judged_at_the_shares_that_are_told() -> None:
    """A fold of 1 to 1, test photos of 9 to 1: what it says left-out photos score there is what 4,000 new ones score."""
    candidates, told = told_shares(1, 500, per=2), (0.9, 0.1)
    new = told_shares(2, 4000, per=1)
    new = new.at(np.flatnonzero(np.where(new.labels == 0, True, np.random.default_rng(0).random(4000) < 1 / 9)))
    weights = tuple(np.array(told) / (np.bincount(candidates.labels) / len(candidates.labels)))
    selector = Selector(candidates, "soft", (1,)).then(partial(with_quota, shares=told))
    honest = honest_score(
        selector, candidates.labels, candidates.groups, metric="accuracy", seed=0, n_resamples=40, class_weights=weights
    )
    free = new.vote(replace(selector.on(), quota=None), np.arange(len(new.labels)))
    answers = decide_together(free, [f"{n:04}" for n in range(len(new.labels))], None, same_group=None, quota=told)
    assert honest.low <= (answers.labels == new.labels).mean() <= honest.high
    assert abs(honest.mean - (answers.labels == new.labels).mean()) < 0.03
