"""Metrics agree with scikit-learn, do not depend on the order of photos, and refuse what cannot be scored."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

from competitions.metrics import METRICS

HARD = [name for name, metric in METRICS.items() if metric.of_counts]


@st.composite
def scored(draw):
    n, c, seed = draw(st.integers(1, 40)), draw(st.integers(2, 7)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    labels = rng.choice(rng.choice(c, size=rng.integers(1, c + 1), replace=False), size=n)  # some classes do not occur
    return rng.dirichlet(np.full(c, 0.5), size=n).astype(draw(st.sampled_from([np.float16, np.float32, np.float64]))), labels


def macro_f1_of_the_truth(labels, predicted):
    return f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)


REFERENCES = {"macro_f1": macro_f1_of_the_truth, "accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=60, deadline=None)
@given(case=scored())
def test_hard_metrics_equal_scikit_learn_over_the_classes_of_the_truth(name, case):
    probs, labels = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = REFERENCES[name](labels, probs.argmax(axis=1))
    assert METRICS[name](probs, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", HARD)
@settings(max_examples=60, deadline=None)
@given(case=scored())
def test_hard_labels_score_as_the_probabilities_that_name_them(name, case):
    probs, labels = case
    assert METRICS[name](np.eye(probs.shape[1])[probs.argmax(axis=1)], labels) == METRICS[name](probs, labels)


@settings(max_examples=60, deadline=None)
@given(case=scored())
def test_log_loss_is_scikit_learns_negated(case):
    probs, labels = case
    wide = probs.astype(np.float64) + 1e-3  # keeps clear of the floor, where the two libraries clip differently
    wide /= wide.sum(axis=1, keepdims=True)
    expected = -sklearn_log_loss(labels, wide, labels=np.arange(probs.shape[1]))
    assert METRICS["log_loss"](wide * 3, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=30, deadline=None)
@given(case=scored(), seed=st.integers(0, 99))
def test_shuffling_photos_or_renumbering_classes_changes_nothing(name, case, seed):
    probs, labels = case
    probs = probs.astype(np.float64) + np.random.default_rng(seed).uniform(
        0, 1e-6, probs.shape
    )  # no ties: their rule knows numbers
    rows = np.random.default_rng(seed).permutation(len(labels))
    classes = np.random.default_rng(seed).permutation(probs.shape[1])
    score = METRICS[name](probs, labels)
    assert METRICS[name](probs[rows], labels[rows]) == pytest.approx(score, abs=1e-12)
    assert METRICS[name](probs[:, classes], np.argsort(classes)[labels]) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_perfect_answer_scores_highest_and_better_is_greater(name):
    labels = np.array([0, 1, 2, 2])
    perfect = np.eye(4)[labels]
    worse = np.eye(4)[[0, 1, 2, 0]]
    assert METRICS[name](perfect, labels) == (0 if name == "log_loss" else 1)
    assert METRICS[name](worse, labels) < METRICS[name](perfect, labels)


def test_predicting_a_class_that_never_occurs_does_not_change_the_denominator():
    labels = np.array([0, 0, 1, 1])
    absent, other = np.array([0, 0, 1, 2]), np.array([0, 0, 1, 3])
    macro_f1 = METRICS["macro_f1"]
    assert macro_f1(np.eye(4)[absent], labels) == pytest.approx((1 + 2 / 3) / 2)
    assert macro_f1(np.eye(4)[absent], labels) == macro_f1(np.eye(4)[other], labels)


def test_of_equal_probabilities_the_lowest_class_number_wins():
    assert METRICS["accuracy"](np.full((3, 4), 0.25), np.array([0, 0, 1])) == pytest.approx(2 / 3)


def test_a_sure_and_wrong_answer_costs_log_of_the_floor():
    assert METRICS["log_loss"](np.array([[1.0, 0.0]], dtype=np.float16), np.array([1])) == pytest.approx(np.log(1e-7))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("probs", "labels", "says"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "at least one photo"),
        (np.array([[0.5, np.nan]]), np.array([0]), "finite"),
        (np.array([[0.5, 0.5]]), np.array([2]), r"0\.\.1, got 2"),
        (np.array([[0.5, 0.5]]), np.array([-1]), r"0\.\.1, got -1"),
        (np.array([[0.5, 0.5]]), np.array([0, 1]), "one row per photo"),
        (np.array([[0.5, 0.5]]), np.array([0.0]), "whole numbers"),
        (np.array([0.5, 0.5]), np.array([0, 1]), r"\(N, C\)"),
    ],
)
def test_what_cannot_be_scored_is_refused(name, probs, labels, says):
    with pytest.raises(ValueError, match=says):
        METRICS[name](probs, labels)
