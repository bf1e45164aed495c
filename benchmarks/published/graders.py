"""Graders written from what the competitions say of themselves, with scikit-learn alone: rows of a submission and the truth to a score.

Each first refuses what a real grader refuses: other columns, other ids, cells that are no answer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn import metrics

from benchmarks.published.drawing import Grade, Rows


def _cells(rows: Rows, truth: Mapping[str, Any], header: Sequence[str]) -> dict[str, list[str]]:
    if list(rows[0]) != list(header):
        raise ValueError(f"the columns must be {', '.join(header)}, got {', '.join(rows[0])}")
    ids = [row[header[0]] for row in rows]
    if sorted(ids) != sorted(truth):
        raise ValueError(f"the ids must be those of the {len(truth)} test photos, got {ids[:3]} ... of {len(ids)}")
    return {row[header[0]]: [row[name] for name in header[1:]] for row in rows}


def classes(header: tuple[str, str], known: Sequence[str], score: Callable[[list[str], list[str]], float]) -> Grade:
    """One class per photo, written as one of the known texts."""

    def grade(rows: Rows, truth: Mapping[str, Any]) -> float:
        cells = _cells(rows, truth, header)
        strange = {cell for [cell] in cells.values()} - set(known)
        if strange:
            raise ValueError(f"answers must be of {list(known)}, got {sorted(strange)}")
        return score([truth[i] for i in truth], [cells[i][0] for i in truth])

    return grade


def columns_of_classes(header: Sequence[str]) -> Grade:
    """0 or 1 in each column, judged by the mean accuracy of the columns."""

    def grade(rows: Rows, truth: Mapping[str, Any]) -> float:
        cells = _cells(rows, truth, header)
        if {cell for some in cells.values() for cell in some} - {"0", "1"}:
            raise ValueError("answers must be 0 or 1")
        pairs = [([truth[i][k] for i in truth], [int(cells[i][k]) for i in truth]) for k in range(len(header) - 1)]
        return float(np.mean([metrics.accuracy_score(true, said) for true, said in pairs]))

    return grade


def probability(header: Sequence[str], score: Callable[[Any, Any], float]) -> Grade:
    """One probability per column of numbers that are 0 or 1; the mean over the columns."""

    def grade(rows: Rows, truth: Mapping[str, Any]) -> float:
        cells = _cells(rows, truth, header)
        said = np.array([[float(cell) for cell in cells[i]] for i in truth])
        true = np.array([np.atleast_1d(truth[i]) for i in truth])
        if not np.isfinite(said).all() or said.min() < 0 or said.max() > 1:
            raise ValueError("probabilities must be 0 to 1")
        return float(np.mean([score(true[:, k], said[:, k]) for k in range(true.shape[1])]))

    return grade


def probabilities(header: Sequence[str]) -> Grade:
    """A probability per class, judged by log loss."""

    def grade(rows: Rows, truth: Mapping[str, Any]) -> float:
        cells = _cells(rows, truth, header)
        said = np.array([[float(cell) for cell in cells[i]] for i in truth])
        if not np.isfinite(said).all() or said.min() < 0 or not np.allclose(said.sum(axis=1), 1, atol=1e-6):
            raise ValueError("probabilities must be 0 to 1 and sum to 1")
        names = list(header[1:])
        order = np.argsort(names)
        return -float(metrics.log_loss([truth[i] for i in truth], said[:, order], labels=sorted(names)))

    return grade


def accuracy(true: Sequence[str], said: Sequence[str]) -> float:
    """The share that is right."""
    return float(metrics.accuracy_score(true, said))


def balanced(true: Sequence[str], said: Sequence[str]) -> float:
    """The mean recall of the classes."""
    return float(metrics.balanced_accuracy_score(true, said))


def macro_f1(true: Sequence[str], said: Sequence[str]) -> float:
    """F1 of each class, averaged."""
    return float(metrics.f1_score(true, said, average="macro"))


def kappa(true: Sequence[str], said: Sequence[str]) -> float:
    """Quadratic weighted kappa of grades."""
    return float(metrics.cohen_kappa_score([int(t) for t in true], [int(s) for s in said], weights="quadratic"))


def negative_log_loss(true: Any, said: Any) -> float:
    """Log loss of one column, negated."""
    return -float(metrics.log_loss(true, said, labels=[0, 1]))


def roc_auc(true: Any, said: Any) -> float:
    """Area under the ROC curve."""
    return float(metrics.roc_auc_score(true, said))
