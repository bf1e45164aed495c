"""Subsets of views: each is decided as the vote of its views alone would be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competitions.metrics import METRICS
from ensemble.views.subsets import RULES as SUBSET_RULES
from ensemble.views.subsets import subset_votes, views_of
from ensemble.votes import RULES, Floats, Ints
from system.errors import UserError

cases = st.tuples(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 40), st.integers(2, 5), st.sampled_from(SUBSET_RULES))


def views(seed: int, n_views: int, n_photos: int, n_classes: int) -> tuple[Floats, Ints]:
    """Views of one trial, coarse enough that classes are often equal."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(1, 5, (n_views, n_photos, n_classes)) + rng.integers(0, 6, (n_photos, n_classes))
    probs = (raw / raw.sum(axis=2, keepdims=True)).astype(np.float16)
    return probs, rng.integers(-1, n_classes, n_photos)


def members(subset: int, n_views: int) -> list[int]:
    return [view for view in range(n_views) if subset >> view & 1]


@given(cases)
def test_every_subset_answers_like_the_vote_of_its_views(case: tuple[int, int, int, int, str]) -> None:
    *shape, rule = case
    probs, _ = views(*shape)
    votes = subset_votes(probs, rule)
    for subset in range(1, 1 << len(probs)):
        answers = votes.constant.copy()
        answers[votes.rows] = votes.named[:, subset - 1]
        assert (answers == RULES[rule].vote(probs[members(subset, len(probs))], None).labels).all()


@given(cases, st.sampled_from([name for name, metric in METRICS.items() if metric.of_many]))
def test_every_subset_scores_what_its_answers_score(case: tuple[int, int, int, int, str], metric: str) -> None:
    seed, *shape, rule = case
    probs, labels = views(seed, *shape)
    times = np.random.default_rng(seed).integers(0, 3, len(labels))
    labels[0], times[0] = 0, 2
    drawn = np.repeat(np.arange(len(labels)), times)
    drawn = drawn[labels[drawn] >= 0]
    scores = subset_votes(probs, rule).scores(labels, metric=metric, times=times)
    for subset in range(1, 1 << len(probs)):
        shares = RULES[rule].vote(probs[members(subset, len(probs))], None).labels[drawn]
        assert scores[subset - 1] == METRICS[metric](np.eye(probs.shape[2])[shares], labels[drawn])


def test_a_planted_harmful_view_lowers_every_subset_it_joins() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 2000)
    logits = rng.normal(0, 1, (4, 2000, 4)) + rng.normal(0, 1, (2000, 4)) + 2 * np.eye(4)[labels]
    logits[2] = rng.normal(0, 4, (2000, 4))
    probs = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    scores = subset_votes(probs, "soft").scores(labels, metric="accuracy")
    without = [subset for subset in range(1, 16) if not subset >> 2 & 1]
    assert all(scores[(subset | 4) - 1] < scores[subset - 1] for subset in without)


def test_subsets_are_named_by_their_views() -> None:
    assert views_of(6, ["identity", "hflip", "darken"]) == ("hflip", "darken")


def test_too_many_views_and_other_rules_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        subset_votes(np.full((13, 2, 2), 0.5), "median")
    assert len(caught.value.faults) == 2
    with pytest.raises(UserError, match="log_loss"):
        subset_votes(np.full((2, 2, 2), 0.5)).scores(np.zeros(2, dtype=np.int64), metric="log_loss")
