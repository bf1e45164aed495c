"""Offsets: each move is the best there is, accuracy is left alone, noise is not fitted, and rare classes gain in macro-F1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.metrics import METRICS, label_margins
from ensemble.log_probs import share_logs, softmax
from ensemble.postprocess.offsets import REACH, best_offsets, fit_offsets, with_offsets
from ensemble.votes import RULES, Floats, Ints

PARTED = sorted(name for name, metric in METRICS.items() if metric.part)


def decisions(seed: int, *, n_groups: int = 200, rare: float = 3.0, signal: float = 1.5) -> tuple[Floats, Ints, np.ndarray]:
    """True probabilities (N, C) where one class is rare; labels and groups (N,) of five photos."""
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"g{i}" for i in range(n_groups)], 5)
    prior = softmax(np.array([[0.0, -rare / 3, -rare]]))[0]
    labels = rng.choice(3, len(groups), p=prior)
    seen = signal * np.eye(3)[labels] + rng.normal(size=(len(groups), 3))
    return softmax(signal * seen + np.log(prior)), labels, groups


def score(shares: Floats, offsets: tuple[float, ...], labels: Ints, metric: str = "macro_f1") -> float:
    return METRICS[metric](np.eye(shares.shape[1])[with_offsets(shares, offsets).labels], labels)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), n_photos=st.integers(1, 25), n_classes=st.integers(2, 4), metric=st.sampled_from(PARTED))
def test_no_class_alone_can_be_moved_to_a_better_place(seed: int, n_photos: int, n_classes: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    logs, labels = share_logs(rng.dirichlet(np.ones(n_classes), n_photos)), rng.integers(0, n_classes, n_photos)

    def at(offsets: Floats) -> float:
        part = METRICS[metric].part
        assert part is not None
        right, truth, named = label_margins((logs + offsets).argmax(axis=1), labels, n_classes).astype(np.float64)
        return float(part(right, named, truth)[truth > 0].sum())

    best = best_offsets(logs, labels, metric=metric)
    assert at(best) >= at(np.zeros(n_classes))
    first = np.zeros(n_classes)  # the first coordinate's move, against a scan of every place
    one = int(labels.min())
    others = np.delete(logs, one, axis=1).max(axis=1) - logs[:, one]
    edges = np.sort(np.append(others[np.abs(others) < REACH], [-REACH, REACH]))
    tried = [at(first + np.eye(n_classes)[one] * place) for place in (edges[1:] + edges[:-1]) / 2]
    assert at(best) >= max(tried) - 1e-12


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "macro_f1_sklearn", "macro_f2"])
def test_a_rare_class_gains_on_other_people(metric: str) -> None:
    gains, raised = [], []
    for seed in range(5):
        shares, labels, groups = decisions(seed, n_groups=1000)
        seen = groups < "g5"
        offsets = fit_offsets(shares[seen], labels[seen], groups[seen], metric=metric)
        gains.append(
            score(shares[~seen], offsets, labels[~seen], metric) - score(shares[~seen], (0.0,) * 3, labels[~seen], metric)
        )
        raised.append(offsets[2] - offsets[0])
    assert np.mean(gains) > 0.015
    assert min(gains) > -0.01
    assert np.median(raised) > 0.5


@pytest.mark.parametrize("metric", sorted(set(METRICS) - set(PARTED)))
def test_for_what_needs_none_there_are_none(metric: str) -> None:
    shares, labels, groups = decisions(0, n_groups=20)
    assert fit_offsets(shares, labels, groups, metric=metric) == (0.0, 0.0, 0.0)


def test_where_the_classes_are_even_little_is_lost_to_noise() -> None:
    changes = []
    for seed in range(20):
        shares, labels, groups = decisions(seed, n_groups=60, rare=0.0)
        seen = groups < "g3"
        offsets = fit_offsets(shares[seen], labels[seen], groups[seen], metric="macro_f1")
        free = tuple(best_offsets(share_logs(shares[seen]), labels[seen], metric="macro_f1").tolist())
        changes.append(
            [score(shares[~seen], o, labels[~seen]) - score(shares[~seen], (0.0,) * 3, labels[~seen]) for o in (offsets, free)]
        )
    shrunk, free_ones = np.mean(changes, axis=0)
    assert shrunk > -0.01
    assert shrunk > free_ones


@pytest.mark.parametrize("rule", sorted(RULES))
def test_offsets_of_zero_change_no_vote(rule: str) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), (3, 200))
    vote = RULES[rule].vote(probs, None)
    found = with_offsets(vote.shares, (0.0,) * 4)
    np.testing.assert_array_equal(found.labels, vote.labels)
    np.testing.assert_array_equal(found.shares, vote.shares)


def test_order_and_unlabelled_photos_change_nothing_and_a_class_without_photos_is_left_alone() -> None:
    shares, labels, groups = decisions(1, n_groups=40)
    order = np.random.default_rng(0).permutation(len(labels))
    one = fit_offsets(shares, labels, groups, metric="macro_f1")
    assert any(one)
    np.testing.assert_allclose(one, fit_offsets(shares[order], labels[order], groups[order], metric="macro_f1"), atol=2e-6)
    gone = groups == "g3"
    two = fit_offsets(shares, np.where(gone, -1, labels), groups, metric="macro_f1")
    assert two == fit_offsets(shares[~gone], labels[~gone], groups[~gone], metric="macro_f1")
    wider = np.hstack([shares, np.zeros((len(shares), 1))])
    vote = with_offsets(wider, fit_offsets(wider, labels, groups, metric="macro_f1"))
    assert (vote.labels < 3).all()
    assert (vote.shares.argmax(axis=1) == vote.labels).all()
