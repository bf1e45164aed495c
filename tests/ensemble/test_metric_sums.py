"""What a metric is made of: kept by the cells that occur, and equal to whole confusion matrices to the last bit."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competitions.metrics import METRICS, confusion, label_margins, margins
from ensemble.metric_sums import FIXED, GroupSums, SumsToCome, vote_score
from ensemble.scoring.gain import Judge
from ensemble.scoring.honest import honest_score
from ensemble.votes import Decide, Ints, Vote

HARD = [name for name, metric in METRICS.items() if metric.of_counts]


def votes(seed: int, n: int, n_classes: int) -> tuple[Vote, Ints, Any]:
    """A vote that is right on half of the photos, the labels, and a generator."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    named = np.where(rng.random(n) < 0.5, labels, rng.integers(0, n_classes, n))
    shares = rng.random((n, n_classes))
    shares[np.arange(n), named] += 1
    return Vote(named, shares), labels, rng


@pytest.mark.parametrize("metric", sorted(METRICS))
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), n_classes=st.integers(2, 12))
def test_drawn_groups_score_what_their_photos_score(metric: str, seed: int, n: int, n_classes: int) -> None:
    vote, labels, rng = votes(seed, n, n_classes)
    groups, times = rng.integers(0, 5, n), rng.integers(0, 3, (4, 5)).astype(np.float64)
    sums = SumsToCome(metric, n_classes, 5)
    sums.add(vote, labels, groups=groups, weights=np.ones(n))
    scores = sums.done().scores(times)
    for score, drawn in zip(scores, times, strict=True):
        rows = np.repeat(np.arange(n), drawn[groups].astype(np.int64))
        probs = np.eye(n_classes)[vote.labels] if METRICS[metric].judges_labels else vote.shares
        expected = METRICS[metric].of(probs[rows], labels[rows]) if len(rows) else np.nan
        assert score == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("metric", HARD)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), n_classes=st.integers(2, 12))
def test_cells_that_occur_are_those_of_the_whole_matrix(metric: str, seed: int, n: int, n_classes: int) -> None:
    vote, labels, rng = votes(seed, n, n_classes)
    weights, of_counts = rng.random(n), METRICS[metric].of_counts
    assert of_counts is not None
    whole = np.zeros((n_classes, n_classes))
    np.add.at(whole, (labels, vote.labels), weights)
    sums = SumsToCome(metric, n_classes)
    sums.add(vote, labels, groups=np.zeros(n, dtype=np.int64), weights=weights)
    found = sums.done().whole()
    assert isinstance(found, GroupSums)
    np.testing.assert_equal(found.scores()[0], of_counts(np.rint(whole * FIXED).astype(np.int64)[None])[0])
    np.testing.assert_array_equal(found.values, np.rint(whole * FIXED).ravel()[found.keys])
    np.testing.assert_array_equal(
        margins(confusion(vote.labels, labels, n_classes)), label_margins(vote.labels, labels, n_classes)
    )


def test_groups_differ_where_a_cell_does_though_all_margins_are_equal() -> None:
    labels, groups = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    sums = []
    for named in ([2, 3, 0, 1], [3, 2, 0, 1]):
        one = SumsToCome("accuracy", 4, 2)
        one.add(Vote(np.array(named), np.zeros((0, 4))), labels, groups=groups, weights=np.ones(4))
        sums.append(one.done())
    assert sums[0].n_differing(sums[1]) == 1
    assert sums[0].n_differing(sums[0]) == 0


@pytest.mark.parametrize("n_classes", [1000, 15_000])
def test_memory_grows_with_the_classes_and_not_with_their_square(n_classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(2 * n_classes) % n_classes
    named = np.where(rng.random(len(labels)) < 0.5, labels, 0)
    groups = [f"g{n // 4}" for n in range(len(labels))]

    def choose(rows: Ints) -> Decide:
        return lambda others: Vote(named[others], np.zeros((0, n_classes)))

    tracemalloc.start()
    judge = Judge(labels, groups, metric="macro_f1", seed=0, n_resamples=4)
    results = judge.group_results(choose)
    score = judge.score(results)
    honest = honest_score(choose, labels, groups, metric="macro_f1", seed=0, n_resamples=4)
    assert vote_score(choose(labels)(np.arange(len(labels))), labels, metric="macro_f1") == pytest.approx(score, abs=0.05)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.4 < honest.mean < 0.8
    assert most < 100e6
