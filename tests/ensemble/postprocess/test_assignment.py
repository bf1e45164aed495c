"""Quota-aware assignment against scipy's assignment on expanded columns, its written ties, and its certificate on many photos."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from ensemble.log_probs import share_logs
from ensemble.postprocess.assignment import GRID, assign, counts_of, prices_at
from ensemble.votes import Floats, Ints


def names(n: int) -> list[str]:
    return [f"p{number:05}" for number in range(n)]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Floats, Ints]:
    """Scores in eighths, so many ties, and a quota."""
    n_photos, n_classes = draw(st.tuples(st.integers(1, 14), st.integers(1, 5)))
    scores = draw(arrays(np.int64, (n_photos, n_classes), elements=st.integers(-8, 0))) / 8
    wanted = draw(arrays(np.int64, n_photos, elements=st.integers(0, n_classes - 1)))
    return scores, np.bincount(wanted, minlength=n_classes)


def best_sum(scores: Floats, quota: Ints) -> float:
    seats = np.repeat(np.arange(len(quota)), quota)
    rows, columns = linear_sum_assignment(scores[:, seats], maximize=True)
    return float(scores[rows, seats[columns]].sum())


@given(problems())
def test_the_sum_is_the_greatest_there_is_and_the_quota_is_kept(problem: tuple[Floats, Ints]) -> None:
    scores, quota = problem
    labels = assign(scores, quota, names(len(scores)))
    assert np.bincount(labels, minlength=len(quota)).tolist() == quota.tolist()
    assert scores[np.arange(len(scores)), labels].sum() == best_sum(scores, quota), "eighths are exact"


@given(problems(), st.integers(0, 99))
def test_the_order_of_photos_changes_nothing_and_equal_photos_are_served_by_id(problem: tuple[Floats, Ints], seed: int) -> None:
    scores, quota = problem
    ids = names(len(scores))
    order = np.random.default_rng(seed).permutation(len(scores))
    labels = assign(scores, quota, ids)
    assert assign(scores[order], quota, [ids[i] for i in order]).tolist() == labels[order].tolist()
    for row in scores:
        same = (scores == row).all(axis=1)
        assert (np.diff(labels[same]) >= 0).all()


@given(problems())
def test_a_quota_that_is_what_is_most_probable_changes_nothing(problem: tuple[Floats, Ints]) -> None:
    scores = problem[0] - np.arange(problem[0].shape[1]) / 100  # no ties inside a row
    labels = scores.argmax(axis=1)
    assert assign(scores, np.bincount(labels, minlength=scores.shape[1]), names(len(scores))).tolist() == labels.tolist()


@pytest.mark.parametrize("kind", ["soft", "sharp", "flat", "one hot", "skewed"])
def test_twenty_thousand_photos_are_assigned_with_a_proof(kind: str) -> None:
    """No chain of exchanges between classes gains anything, which for a transport problem is proof of the best."""
    rng = np.random.default_rng(0)
    n_photos, n_classes = 20_000, 18
    probs = {
        "soft": lambda: rng.dirichlet(np.ones(n_classes), n_photos),
        "sharp": lambda: rng.dirichlet(np.full(n_classes, 0.05), n_photos),
        "flat": lambda: np.full((n_photos, n_classes), 1 / n_classes),
        "one hot": lambda: np.eye(n_classes)[rng.integers(0, n_classes, n_photos)],
        "skewed": lambda: rng.dirichlet(np.logspace(-2, 1, n_classes), n_photos),
    }[kind]()
    whole = np.rint(share_logs(probs.astype(np.float16)) * GRID)
    quota = counts_of(rng.dirichlet(np.ones(n_classes)), n_photos)
    labels = assign(whole / GRID, quota, names(n_photos))
    assert np.bincount(labels, minlength=n_classes).tolist() == quota.tolist()
    shortest = np.full((n_classes, n_classes), np.inf)
    for one in range(n_classes):
        if (labels == one).any():
            shortest[one] = (whole[labels == one, one : one + 1] - whole[labels == one]).min(axis=0)
    for middle in range(n_classes):  # Floyd-Warshall
        shortest = np.minimum(shortest, shortest[:, middle : middle + 1] + shortest[middle])
    assert (np.diag(shortest) >= 0).all()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=18).filter(any), st.integers(0, 5000))
def test_shares_become_counts_that_sum_to_the_photos(parts: list[int], n_photos: int) -> None:
    shares = np.array(parts) / sum(parts)
    counts = counts_of(shares, n_photos)
    assert counts.sum() == n_photos
    assert (np.abs(counts - shares * n_photos) < 1 + 1e-6).all()


@pytest.mark.parametrize("shares", [(0.2, 0.3, 0.5), (0.7, 0.3, 0.0), (1 / 3, 1 / 3, 1 / 3)])
def test_prices_answer_weighed_photos_in_the_shares_they_are_for(shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 900, p=(0.5, 0.3, 0.2))
    scores = rng.normal(0, 1, (900, 3)) + np.eye(3)[labels] + [1.5, 0, 0]
    answers = (scores + prices_at(scores, labels, shares)).argmax(axis=1)
    weights = (np.array(shares) / np.bincount(labels))[labels]
    np.testing.assert_allclose(np.bincount(answers, weights, 3), shares, atol=0.02)
    absent = np.minimum(labels, 1)
    assert 2 not in (scores + prices_at(scores, absent, (0.2, 0.3, 0.5))).argmax(axis=1), "nobody shows it"
