"""Sets of views that members share: each is decided as the vote of members x views would be, photo by photo."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.metrics import METRICS
from ensemble.selection.candidates import Candidates
from ensemble.views.sets import all_sets
from ensemble.views.votes import view_sums, votes_of_sets
from ensemble.votes import RULES


def coarse_candidates(
    seed: int, *, n: int = 60, members: int = 4, views: int = 3, classes: int = 3, metric: str = "macro_f1"
) -> Candidates:
    """Members so alike and so coarse that ties are frequent."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(1, 5, (members, views, n, classes)) + rng.integers(0, 6, (n, classes))
    probs = (raw / raw.sum(axis=-1, keepdims=True)).astype(np.float16)
    labels = rng.integers(-1, classes, n)
    groups = np.array([f"g{number:03d}" for number in rng.integers(0, n // 4, n)])
    return Candidates(tuple(f"m{k}" for k in range(members)), tuple(f"v{k}" for k in range(views)), probs, labels, groups, metric)


@given(
    st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 5), st.integers(2, 5), st.sampled_from(["hard", "soft"]),
    st.sampled_from(["none", "by voter", "huge", "by class"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_every_set_answers_like_the_vote_of_its_members_and_views(
    seed: int, members: int, views: int, classes: int, rule: str, weighted: str
) -> None:
    candidates = coarse_candidates(seed, members=5, views=views, classes=classes)
    rng = np.random.default_rng(seed)
    order = rng.permutation(5)[:members].tolist()
    shape = (members, views, classes) if weighted == "by class" and rule == "hard" else (members, views)
    voices = np.ones(shape, dtype=np.int64) if weighted == "none" else rng.integers(1, 10**5 if weighted == "huge" else 4, shape)
    rows = rng.permutation(60)[:50]
    votes = votes_of_sets(candidates, order, voices, rows, rule=rule)
    sums = view_sums(candidates, order, voices, rows, rule=rule)
    for chosen in all_sets(views):
        answers = votes.constant.copy()
        answers[votes.rows] = votes.named[:, sum(1 << view for view in chosen) - 1]
        cube = np.concatenate([candidates.probs[member][list(chosen)][:, rows] for member in order])
        weights: Any = np.concatenate([voices[position, list(chosen)] for position in range(members)])
        asked = RULES[rule].vote(cube, weights).labels
        np.testing.assert_array_equal(answers, asked)
        np.testing.assert_array_equal(sums.answers(chosen), asked)


@pytest.mark.parametrize("rule", ["hard", "soft"])
def test_photos_on_which_voters_agree_are_not_kept_apart(rule: str) -> None:
    candidates = coarse_candidates(1)
    votes = votes_of_sets(candidates, [2, 0], np.ones((2, 3), dtype=np.int64), np.arange(60), rule=rule)
    assert 0 < len(votes.rows) < 60
    agreed = np.setdiff1d(np.arange(60), votes.rows)
    assert (candidates.named[[2, 0]][:, :, agreed] == votes.constant[agreed]).all()
    same = coarse_candidates(2, views=1)
    alone = votes_of_sets(same, [0], np.ones((1, 1), dtype=np.int64), np.arange(60), rule=rule)
    assert alone.named.shape == (0, 1)
    np.testing.assert_array_equal(alone.constant, same.named[0, 0])


@pytest.mark.parametrize("rule", ["hard", "soft"])
@pytest.mark.parametrize("metric", [name for name, metric in METRICS.items() if metric.of_counts])
@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_every_set_scores_what_its_answers_score(rule: str, metric: str, seed: int) -> None:
    candidates, rng = coarse_candidates(seed), np.random.default_rng(seed)
    rows = np.flatnonzero(candidates.labels >= 0)
    labels, times = candidates.labels[rows], rng.integers(0, 3, len(rows))
    times[0] = 2
    votes = votes_of_sets(candidates, [1, 3], np.ones((2, 3), dtype=np.int64), rows, rule=rule)
    scores = votes.scores(labels, metric=metric, times=times)
    drawn = np.repeat(np.arange(len(rows)), times)
    for column in range(7):
        answers = votes.constant.copy()
        answers[votes.rows] = votes.named[:, column]
        np.testing.assert_equal(scores[column], METRICS[metric].of(np.eye(3)[answers[drawn]], labels[drawn]))


def test_a_planted_harmful_view_lowers_every_set_it_joins() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 2000)
    logits = rng.normal(0, 1, (4, 2000, 4)) + rng.normal(0, 1, (2000, 4)) + 2 * np.eye(4)[labels]
    logits[2] = rng.normal(0, 4, (2000, 4))
    probs = (np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)).astype(np.float16)
    candidates = Candidates(("m",), tuple("abcd"), probs[None], labels, np.arange(2000).astype(str), "accuracy")
    votes = votes_of_sets(candidates, [0], np.ones((1, 4), dtype=np.int64), np.arange(2000), rule="soft")
    scores = votes.scores(labels, metric="accuracy")
    without = [number for number in range(1, 16) if not number >> 2 & 1]
    assert all(scores[(number | 4) - 1] < scores[number - 1] for number in without)
