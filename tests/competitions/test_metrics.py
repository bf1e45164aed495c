"""Metrics agree with scikit-learn, do not depend on the order of photos, and refuse what cannot be scored.

A competition's own metric is read from a file beside its YAML, carries the file's hash, and every fault of it is one sentence.
"""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from competitions.competition import Competition
from competitions.loading import load_competition
from competitions.metrics import METRICS, SMALLEST_PROB, metric_of
from system.errors import UserError

HARD = [name for name, metric in METRICS.items() if metric.judges_labels]

YAML = """\
root: tiny
columns: {image: photo}
tasks:
  colour: {column: colour, classes: [red, blue]}
  shape: {column: shape, classes: [disc, square]}
submission: {id_column: photo, answers: {answer: label}}
"""
SCORE = "def score(probs, labels):\n    return float((probs.argmax(axis=1) == labels).mean())\n"
PROBS, LABELS = np.array([[0.5, 0.25], [0.1, 0.3], [0.2, 0.1]]), np.array([0, 1, 1])


@st.composite
def scored(draw):
    """Probabilities, some of them equal, labels of which some classes do not occur, and how often each photo counts."""
    n, c, seed = draw(st.integers(1, 40)), draw(st.integers(2, 7)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    labels = rng.choice(rng.choice(c, size=rng.integers(1, c + 1), replace=False), size=n)
    probs = rng.dirichlet(np.full(c, 0.5), size=n)
    if draw(st.booleans()):  # ties
        probs = np.round(probs * 4 + 0.05) / 4
        probs[probs.sum(axis=1) == 0, 0] = 1
    return probs.astype(draw(st.sampled_from([np.float16, np.float32, np.float64]))), labels, rng.integers(0, 3, n)


def normal(probs):
    return probs / probs.sum(axis=1, keepdims=True, dtype=np.float64)


def of_labels(score, **settings):
    return lambda probs, labels: score(labels, probs.argmax(axis=1), **settings)


def macro_f1_of_the_truth(labels, predicted):
    return sklearn.f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)


def kappa(probs, labels):
    """Of all grades: of those alone that occur the distances would be others."""
    return of_labels(sklearn.cohen_kappa_score, weights="quadratic", labels=np.arange(probs.shape[1]))(probs, labels)


def log_loss_from(floor, probs, labels):
    return np.mean([np.log(max(row[label], floor)) for row, label in zip(normal(probs), labels, strict=True)])


def brier(probs, labels):
    numbers = np.arange(probs.shape[1])
    shares = normal(probs)[:, 1] if len(numbers) == 2 else normal(probs)
    return -sklearn.brier_score_loss(labels, shares, labels=numbers)


def top(k, probs, labels):
    """scikit-learn lets the last of equal classes win, so classes are turned round."""
    turned = probs.shape[1] - 1 - labels
    if probs.shape[1] <= k:
        return 1.0
    return sklearn.top_k_accuracy_score(turned, probs[:, ::-1].astype(np.float64), k=k, labels=np.arange(probs.shape[1]))


def map_at(k, probs, labels):
    order = np.argsort(-probs.astype(np.float64), axis=1, kind="stable")[:, :k]
    return np.mean(
        [sum(1 / (at + 1) for at in range(len(row)) if row[at] == label) for row, label in zip(order, labels, strict=True)]
    )


def probabilistic_f1(probs, labels):
    """The organisers' lines (RSNA 2022), of the second class; of more classes the mean over those of the truth."""
    scores = []
    for number in [1] if probs.shape[1] == 2 else np.unique(labels):
        true = right = wrong = 0.0
        for share, label in zip(normal(probs)[:, number], labels, strict=True):
            true += label == number
            right += share if label == number else 0
            wrong += 0 if label == number else share
        if not true:
            return np.nan
        precision, recall = right / (right + wrong) if right + wrong else 0, right / true
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return np.mean(scores)


def each_against_the_rest(score, probs, labels):
    numbers = [1] if probs.shape[1] == 2 else np.unique(labels)
    return np.mean([score(labels == number, probs[:, number].astype(np.float64)) for number in numbers])


def precision(inside, shares):
    return sklearn.average_precision_score(inside, shares) if inside.any() else np.nan


REFERENCES = {
    "macro_f1": of_labels(macro_f1_of_the_truth),
    "accuracy": of_labels(sklearn.accuracy_score),
    "balanced_accuracy": of_labels(sklearn.balanced_accuracy_score),
    "macro_f1_sklearn": of_labels(sklearn.f1_score, average="macro", zero_division=0),
    "weighted_f1": of_labels(sklearn.f1_score, average="weighted", zero_division=0),
    "micro_f1": of_labels(sklearn.f1_score, average="micro"),
    "macro_f2": of_labels(sklearn.fbeta_score, beta=2, average="macro", zero_division=0),
    "macro_f05": of_labels(sklearn.fbeta_score, beta=0.5, average="macro", zero_division=0),
    "mcc": of_labels(sklearn.matthews_corrcoef),
    "qwk": kappa,
    "log_loss": partial(log_loss_from, SMALLEST_PROB),
    "log_loss_sklearn": lambda probs, labels: -sklearn.log_loss(labels, normal(probs), labels=np.arange(probs.shape[1])),
    "log_loss_kaggle": partial(log_loss_from, 1e-15),
    "brier": brier,
    "top_3_accuracy": partial(top, 3),
    "top_5_accuracy": partial(top, 5),
    "map_at_3": partial(map_at, 3),
    "map_at_5": partial(map_at, 5),
    "probabilistic_f1": probabilistic_f1,
    "roc_auc": partial(each_against_the_rest, sklearn.roc_auc_score),
    "average_precision": partial(each_against_the_rest, precision),
}


def test_every_metric_has_a_reference():
    assert set(REFERENCES) == set(METRICS)


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=15, deadline=None)
@given(case=scored())
def test_each_metric_is_the_reference_and_undefined_where_that_is(name, case):
    is_the_reference(name, *case)


@pytest.mark.long
@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=200, deadline=None)
@given(case=scored())
def test_each_metric_is_the_reference_in_many_cases(name, case):
    is_the_reference(name, *case)


def is_the_reference(name, probs, labels, times):
    rows = np.repeat(np.arange(len(labels)), times)
    for which, score in ((slice(None), METRICS[name].of(probs, labels)), (rows, METRICS[name].of(probs, labels, times))):
        if not len(labels[which]):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = REFERENCES[name](probs[which], labels[which])
        assert score == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert np.isnan(score) or METRICS[name].worst <= score <= METRICS[name].best + 1e-12


def test_of_all_classes_roc_auc_is_one_against_the_rest():
    rng = np.random.default_rng(0)
    probs, labels = rng.dirichlet(np.ones(4), 60), rng.integers(0, 4, 60)
    expected = sklearn.roc_auc_score(labels, probs, multi_class="ovr", average="macro")
    assert METRICS["roc_auc"](probs, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["roc_auc", "qwk"])
def test_photos_of_one_class_are_named_where_they_say_nothing(name):
    with pytest.raises(UserError, match=f"{name} is undefined on 2 photos of 1 class;"):
        METRICS[name](np.array([[0.2, 0.8], [0.3, 0.7]]), np.array([1, 1]))


@pytest.mark.parametrize("name", HARD)
@settings(max_examples=20, deadline=None)
@given(case=scored())
def test_hard_labels_score_as_the_probabilities_that_name_them(name, case):
    probs, labels, _ = case
    np.testing.assert_equal(
        METRICS[name].of(np.eye(probs.shape[1])[probs.argmax(axis=1)], labels), METRICS[name].of(probs, labels)
    )


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=15, deadline=None)
@given(case=scored(), seed=st.integers(0, 99))
def test_shuffling_photos_or_renumbering_classes_changes_nothing(name, case, seed):
    probs, labels, _ = case
    probs = probs.astype(np.float64) + np.random.default_rng(seed).uniform(
        0, 1e-6, probs.shape
    )  # no ties: their rule knows numbers
    rows = np.random.default_rng(seed).permutation(len(labels))
    classes = np.random.default_rng(seed).permutation(probs.shape[1])
    score = METRICS[name].of(probs, labels)
    assert METRICS[name].of(probs[rows], labels[rows]) == pytest.approx(score, abs=1e-12, nan_ok=True)
    if name != "qwk" and probs.shape[1] > 2:  # grades have an order, and of two classes some judge the second
        renumbered = METRICS[name].of(probs[:, classes], np.argsort(classes)[labels])
        assert renumbered == pytest.approx(score, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", METRICS)
def test_a_perfect_answer_scores_highest_and_better_is_greater(name):
    labels = np.array([0, 1, 2, 2, 6])
    perfect = np.eye(7)[labels]
    worse = perfect.copy()
    worse[3] = [0.3, 0.2, 0, 0.2, 0.1, 0.1, 0.1]
    assert METRICS[name](perfect, labels) == METRICS[name].best
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


def loaded(folder: Path, metric: str = "mine.py:score", source: str = SCORE, more: str = "") -> Competition:
    (folder / "mine.py").write_text(source)
    (folder / "tiny.yaml").write_text(f"{YAML}metric: {metric}\n{more}")
    return load_competition(str(folder / "tiny.yaml"))


def test_it_scores_whole_samples_of_rows_that_sum_to_one(tmp_path: Path) -> None:
    sums = "import numpy as np\ndef score(probs, labels):\n    assert np.allclose(probs.sum(axis=1), 1)\n    return len(labels)\n"
    metric = metric_of(loaded(tmp_path, source=sums).metric)
    assert metric(PROBS, LABELS) == 3
    assert metric.of(PROBS, LABELS, np.array([2, 0, 3])) == 5
    accuracy = metric_of(loaded(tmp_path).metric)
    assert accuracy(PROBS, LABELS) == METRICS["accuracy"](PROBS, LABELS)


def test_its_name_has_the_hash_of_the_file_and_its_text_goes_with_the_competition(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    assert before.metric == "mine.py:score@" + before.metric[-12:]
    again = Competition.model_validate_json(before.model_dump_json())
    assert again == before
    after = loaded(tmp_path, source=SCORE + "\n")
    assert after.metric != before.metric
    with pytest.raises(UserError, match=r"its hash is [0-9a-f]{12} now, so mine\.py has changed since"):
        metric_of("mine.py:score@0123456789ab")
    with pytest.raises(UserError, match="was changed by hand"):
        Competition.model_validate(before.model_dump() | {"metric_source": "score = len"})


@pytest.mark.parametrize(
    ("metric", "source", "says"),
    [
        ("other.py:score", SCORE, r"no file other\.py beside the YAML \(Python files there: mine\.py\)"),
        ("mine.py:scores", SCORE, r"mine\.py has no function scores \(functions there: score\)"),
        ("mine.py:score", "def score(:", r"mine\.py cannot be run: SyntaxError"),
        ("mine.py:score", "import not_there", r"mine\.py cannot be run: ModuleNotFoundError"),
        ("mine.py", SCORE, r"unknown metric 'mine\.py'; .*written mine\.py:score"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, metric: str, source: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        loaded(tmp_path, metric, source)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise KeyError('column')", r"failed on 3 photos, probs \(3, 2\): KeyError: 'column'; mend it"),
        ("return 'good'", "failed on 3 photos.*ValueError"),
        ("return float('inf')", "must return a finite number"),
        ("return float('nan')", "is undefined on 3 photos"),
    ],
)
def test_what_it_does_wrong_is_named(tmp_path: Path, body: str, says: str) -> None:
    metric = metric_of(loaded(tmp_path, source=f"def score(probs, labels):\n    {body}\n").metric)
    with pytest.raises(UserError, match=says):
        metric(PROBS, LABELS)


def test_a_mean_of_tasks_has_their_weights_and_faults_are_named(tmp_path: Path) -> None:
    assert loaded(tmp_path).task_weights == {}
    assert loaded(tmp_path, more="compose: mean\n").task_weights == {"colour": 0.5, "shape": 0.5}
    weighed = loaded(tmp_path, more="compose: mean\nmetric_weights: {colour: 3, shape: 1}\n")
    assert weighed.task_weights == {"colour": 0.75, "shape": 0.25}
    for more, says in [
        ("metric_weights: {colour: 1, shape: 1}", "metric_weights have no effect without `compose: mean`"),
        ("compose: mean\nmetric_weights: {colour: 1}", "a weight for each task of the label, shape has none"),
        ("compose: mean\nmetric_weights: {colour: 1, shape: 1, size: 2}", "unknown task of the label 'size'"),
        ("compose: mean\nlabel: [colour]", "at least two tasks in the label, got colour"),
        ("compose: mean\nmetric_weights: {colour: 0, shape: 1}", "metric_weights.colour must be above 0, got 0"),
        ("compose: sum", "compose must be 'label' or 'mean'"),
    ]:
        with pytest.raises(UserError, match=says):
            loaded(tmp_path, more=f"{more}\n")
