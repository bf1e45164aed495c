"""Metrics: `probs (N, C)` and `labels (N,)` to one number, greater is better.

A metric judges *labels* (what is decided) or *shares* (the probabilities themselves). It says what it is made of, so that code which scores
thousands of votes asks for that and never for a name:

* counts: a confusion matrix, of which most metrics of labels need three sums per class (`margins`);
* terms: numbers that each photo adds to, e.g. the logarithm of the true class's share;
* times: nothing adds up, as for ROC-AUC: the score of photos that each count so often.

The convention for classes that do not occur: macro-F1 and balanced accuracy average over the classes that occur in the
TRUTH. The denominator is therefore the same whatever is predicted: predicting a class that never occurs costs recall of the
true one and adds no class to the mean. (scikit-learn's default averages over the classes of truth AND prediction, so one
stray prediction of an absent class moves the denominator and two files cannot be compared; `macro_f1_sklearn` is that one, as many
graders call it.) A class number is the position of the largest probability; of equal ones the lowest class number wins.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from system.errors import UserError, unknown

Probs = NDArray[np.floating[Any]]
AnyProbs = NDArray[np.number[Any]]
Labels = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]
Scores = NDArray[np.float64]
PerClass = Callable[[Scores, Scores, Scores], Scores]
"""What one class adds to a score, from how often it is right, is named and is true."""
SMALLEST_PROB = 1e-7  # float16 probabilities under 6e-8 are 0: without a floor one such photo makes the score -inf
OWN_METRIC = re.compile(r"^([A-Za-z0-9_-]+\.py):([A-Za-z_][A-Za-z0-9_]*)(?:@([0-9a-f]{12}))?$")
"""A function of a file beside the YAML: `mine.py:score`, and behind @ the hash of the file."""
MOST_RANKED, MOST_OWN = 200, 30
"""Resamples of a metric whose photos do not add up: of one that sorts them, and of a function from a file."""


class UndefinedScoreError(UserError):
    """A metric says nothing about some photos, as ROC-AUC about those of one class."""


@dataclass(frozen=True)
class Terms:
    """What photos add to a score.

    Attributes:
        of_photos: Shares `(n, K, C)` of K votes, at least 0 and not normalised, and `labels (n,)` -> `float64 (n, K, X)`.
        of_sums: The sums `(..., X)` over photos, and how many photos they are `(...)`, -> scores `(...)`; NaN where undefined. The same
            from sums and photos both k times as large.
        width: X, of C classes.
    """

    of_photos: Callable[[AnyProbs, Labels], Scores]
    of_sums: Callable[[Scores, Scores], Scores]
    width: Callable[[int], int] = lambda n_classes: 1


@dataclass(frozen=True)
class Metric:
    """One way to score, called as `metric(probs, labels)`. Exactly one of `of_counts`, `terms` and `of_times` is there.

    Attributes:
        name: Its key in `METRICS`.
        of_counts: Of a metric of labels: confusion matrices `(..., C, C)` (truth down, prediction across) -> `float64 (...)`.
        of_margins: The same from what a confusion matrix has in its diagonal and in its sums, `(..., 3, C)` (`margins`), where that is
            enough: memory then grows with the classes and not with their square.
        terms: Of a metric of shares whose photos add up.
        of_times: Of any other metric: shares `(n, C)`, `labels (n,)` and how often each photo counts, `(R, n)` -> `float64 (R,)`.
        worst: The least score there is.
        best: The greatest.
        part: Of a metric of labels that adds up over the classes: what one class adds. Offsets are fitted by it
            (`ensemble.postprocess.offsets`), and only where it is there.
        most_resamples: How many resamples are drawn at most, where each takes long.
        weighs: Whether a photo may count a part of once, as it does at the test photos' class shares.
    """

    name: str
    of_counts: Callable[[Counts], Scores] | None = None
    of_margins: Callable[[Counts], Scores] | None = None
    terms: Terms | None = None
    of_times: Callable[[AnyProbs, Labels, Scores], Scores] | None = None
    worst: float = 0.0
    best: float = 1.0
    part: PerClass | None = None
    most_resamples: int | None = None
    weighs: bool = True

    @property
    def judges_labels(self) -> bool:
        """Whether it judges what is decided, and not the shares."""
        return self.of_counts is not None

    def resamples(self, n_resamples: int) -> int:
        """How many of so many resamples are drawn."""
        return n_resamples if self.most_resamples is None else min(n_resamples, self.most_resamples)

    @property
    def limits(self) -> tuple[str, ...]:
        """What an export cannot do with it, in sentences."""
        if self.of_times is None:
            return ()
        often = f"{self.name}: scores of photos do not add up, so intervals come from at most {self.most_resamples} resamples"
        return (
            (often,) if self.weighs else (often, f"{self.name}: a file's function counts whole photos: class shares weigh none")
        )

    def __call__(self, probs: Probs, labels: Labels) -> float:
        """The score of `probs (N, C) float` against `labels (N,) int` in 0..C-1.

        Raises:
            ValueError: There are no photos, shapes do not fit, a probability is not finite or a label is out of range.
            UndefinedScoreError: The metric says nothing about these photos.
        """
        if probs.ndim != 2:
            raise ValueError(f"probs must be (N, C), got shape {probs.shape}")
        _check_classes("labels", labels, probs.shape[1])
        if len(probs) != len(labels):
            raise ValueError(f"probs and labels must have one row per photo, got {len(probs)} and {len(labels)}")
        if not np.isfinite(probs).all():
            raise ValueError(f"probs must be finite, {int((~np.isfinite(probs)).any(axis=1).sum())} of {len(probs)} rows are not")
        if not self.judges_labels and ((probs < 0).any() or (probs.sum(axis=1, dtype=np.float64) <= 0).any()):
            raise ValueError(f"{self.name} needs probabilities: no negative values and no row that is all zero")
        score = self.of(probs, labels)
        if np.isnan(score):
            raise UndefinedScoreError(self.undefined(labels))
        return score

    def of(self, probs: AnyProbs, labels: Labels, times: Labels | None = None) -> float:
        """The same of checked arrays, each photo counted `times int (N,)`, once for `None`; NaN where it is undefined."""
        if self.judges_labels:
            return self.of_named(probs.argmax(axis=1), labels, probs.shape[1], times)
        if self.terms is not None:
            added = np.ascontiguousarray(self.terms.of_photos(probs[:, None], labels)[:, 0].T)
            n_photos = len(labels) if times is None else times.sum()
            sums = added.sum(axis=1) if times is None else added @ times.astype(np.float64)
            return float(self.terms.of_sums(sums, np.asarray(float(n_photos))))
        assert self.of_times is not None, "exactly one form is there"
        counted = np.ones(len(labels)) if times is None else times.astype(np.float64)
        return float(self.of_times(probs, labels, counted[None])[0])

    def of_named(self, named: Labels, labels: Labels, n_classes: int, times: Labels | None = None) -> float:
        """The score of decisions `int (N,)`, of a metric that judges labels; other arguments as for `label_margins`."""
        if self.of_margins is not None:
            return float(self.of_margins(label_margins(named, labels, n_classes, times)))
        assert self.of_counts is not None, f"{self.name} judges shares"
        return float(self.of_counts(confusion(named, labels, n_classes, times)))

    def undefined(self, labels: Labels) -> str:
        """Why there is no score of photos with these labels."""
        there = len(np.unique(labels))
        return (
            f"{self.name} is undefined on {len(labels)} photos of {there} class{'es' if there > 1 else ''}; give another split, --fold "
            "or metric"
        )


def confusion(predicted: Labels, labels: Labels, n_classes: int, times: Labels | None = None) -> Counts:
    """How often each class was taken for each: `(C, C) int64`, truth down, prediction across.

    Args:
        predicted: `(N,) int` in 0..C-1.
        labels: `(N,) int` in 0..C-1.
        n_classes: C.
        times: `(N,) int`, how often each photo counts; once each for `None`.
    """
    pairs = labels.astype(np.int64) * n_classes + predicted
    return np.bincount(pairs, times, n_classes * n_classes).astype(np.int64).reshape(n_classes, n_classes)


def margins(counts: Counts) -> Counts:
    """Confusion matrices `(..., C, C)` -> `(..., 3, C)`: how many photos of each class are right, are there, and are named so."""
    return np.stack([np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)], axis=-2)


def label_margins(predicted: Labels, labels: Labels, n_classes: int, times: Labels | None = None) -> Counts:
    """The `margins` of one confusion matrix, `(3, C) int64`, which is never made.

    Args:
        predicted: `(N,) int` in 0..C-1.
        labels: `(N,) int` in 0..C-1.
        n_classes: C.
        times: `(N,) int`, how often each photo counts; once each for `None`.
    """
    hit = predicted == labels
    counted = [(labels[hit], hit), (labels, slice(None)), (predicted, slice(None))]
    return np.stack(
        [np.bincount(which, None if times is None else times[rows], n_classes).astype(np.int64) for which, rows in counted]
    )


def accuracy(sums: Counts) -> Scores:
    """The share of right photos, from `margins` `(..., 3, C)`."""
    right, truth, _ = np.moveaxis(sums, -2, 0)
    return _divided(right.sum(axis=-1), truth.sum(axis=-1))


def balanced_accuracy(sums: Counts) -> Scores:
    """The mean recall over the classes that occur in the truth, from `margins` `(..., 3, C)`."""
    right, truth, _ = np.moveaxis(sums, -2, 0)
    return _mean_where(truth > 0, right / np.maximum(truth, 1))


def macro_f1(sums: Counts) -> Scores:
    """The mean F1 = 2 TP / (truth + predicted) over the classes that occur in the truth, from `margins` `(..., 3, C)`."""
    right, truth, named = np.moveaxis(sums, -2, 0)
    return _mean_where(truth > 0, 2 * right / np.maximum(truth + named, 1))


def macro_fbeta(sums: Counts, *, beta: float) -> Scores:
    """The mean F-beta over the classes of truth and prediction, `fbeta_score(average="macro")`, from `margins` `(..., 3, C)`."""
    right, truth, named = np.moveaxis(sums, -2, 0)
    return _mean_where(truth + named > 0, _fbeta(right, named, truth, beta=beta))


def weighted_f1(sums: Counts) -> Scores:
    """The mean F1, each class as often as it occurs in the truth, from `margins` `(..., 3, C)`."""
    right, truth, named = np.moveaxis(sums, -2, 0)
    return _divided((truth * _fbeta(right, named, truth, beta=1)).sum(axis=-1), truth.sum(axis=-1))


def matthews(sums: Counts) -> Scores:
    """The correlation of truth and answer (Gorodkin 2004, the K-class R_K), 0 where either is of one class, from `margins`."""
    right, truth, named = np.moveaxis(sums.astype(np.float64), -2, 0)
    n_photos = truth.sum(axis=-1)
    together = right.sum(axis=-1) * n_photos - (truth * named).sum(axis=-1)
    apart = (n_photos**2 - (truth**2).sum(axis=-1)) * (n_photos**2 - (named**2).sum(axis=-1))
    found: Scores = np.divide(together, np.sqrt(apart), out=np.zeros_like(together), where=apart > 0)
    return found


def quadratic_kappa(counts: Counts) -> Scores:
    """Cohen's kappa with squared distances of class numbers (Cohen 1968), from confusion matrices `(..., C, C)`; NaN for one class."""
    wide, numbers = counts.astype(np.float64), np.arange(counts.shape[-1])
    distances = np.square(numbers[:, None] - numbers)
    truth, named = wide.sum(axis=-1), wide.sum(axis=-2)
    by_chance = (truth[..., :, None] * named[..., None, :] * distances).sum(axis=(-2, -1))
    there = (wide * distances).sum(axis=(-2, -1)) * truth.sum(axis=-1)
    return 1 - _divided(there, by_chance)


def true_logs(shares: AnyProbs, labels: Labels, *, floor: float) -> Scores:
    """Photo by photo the logarithm of the true class's share of the row, shares under `floor` counted as it; see `Terms.of_photos`."""
    true = np.take_along_axis(shares, labels[:, None, None], axis=2)[..., 0].astype(np.float64)
    logs: Scores = np.log(np.clip(true / shares.sum(axis=2, dtype=np.float64), floor, 1.0))
    return logs[..., None]


def squared_errors(shares: AnyProbs, labels: Labels) -> Scores:
    """Photo by photo the Brier score, negated: the squared distance of the row from the truth, of two classes half of it."""
    wide = shares / shares.sum(axis=2, keepdims=True, dtype=np.float64)
    far: Scores = np.square(wide - (labels[:, None, None] == np.arange(shares.shape[2]))).sum(axis=2)
    return -far[..., None] / (2 if shares.shape[2] == 2 else 1)


def right_within(shares: AnyProbs, labels: Labels, *, k: int) -> Scores:
    """Photo by photo whether the true class is one of the k most probable."""
    return (_ranks(shares, labels) <= k).astype(np.float64)[..., None]


def precision_at(shares: AnyProbs, labels: Labels, *, k: int) -> Scores:
    """Photo by photo the average precision of the k most probable classes, one of which may be true: 1 / its rank."""
    ranks = _ranks(shares, labels)
    return np.where(ranks <= k, 1 / ranks, 0.0)[..., None]


def _ranks(shares: AnyProbs, labels: Labels) -> Labels:
    """The rank of the true class, from 1, `int (n, K)`; of equal shares the lowest class number goes first."""
    true = np.take_along_axis(shares, labels[:, None, None], axis=2)
    earlier = np.arange(shares.shape[2]) < labels[:, None, None]
    ranks: Labels = 1 + ((shares > true) | ((shares == true) & earlier)).sum(axis=2)
    return ranks


def soft_counts(shares: AnyProbs, labels: Labels) -> Scores:
    """Photo by photo what probabilistic F1 is made of: p where true, p, and truth, of the second class of two, else of each class."""
    wide = shares / shares.sum(axis=2, keepdims=True, dtype=np.float64)
    true = (labels[:, None, None] == np.arange(shares.shape[2])).astype(np.float64)
    columns = slice(1, 2) if shares.shape[2] == 2 else slice(None)
    wide, true = wide[..., columns], np.broadcast_to(true, wide.shape)[..., columns]
    return np.concatenate([wide * true, wide, true], axis=2)


def probabilistic_f1(sums: Scores, n_photos: Scores) -> Scores:
    """Yacouby & Axman 2020, "Probabilistic extension of precision, recall, and F1 score", from `soft_counts`; classes of the truth."""
    right, named, truth = np.split(sums, 3, axis=-1)
    there = truth > 0
    parts = np.divide(2 * right, named + truth, out=np.zeros_like(right), where=there)
    return _mean_where(there, parts)


def roc_auc(shares: AnyProbs, labels: Labels, times: Scores) -> Scores:
    """How often a photo of the class has more of it than one that is not, ties counted half (`Metric.of_times`).

    Of two classes it is that of the second; of more the mean over those that occur, each against the rest.
    """
    return _over_classes(_won_pairs, shares, labels, times)


def average_precision(shares: AnyProbs, labels: Labels, times: Scores) -> Scores:
    """The mean precision at each photo of the class, from the most probable down (`Metric.of_times`); classes as for `roc_auc`."""
    return _over_classes(_precisions, shares, labels, times)


def _over_classes(of_one: Callable[[Scores, Scores], Scores], shares: AnyProbs, labels: Labels, times: Scores) -> Scores:
    """The mean over classes of a score made from counts `(R, U)` of photos that are and are not of the class, greatest share first."""
    scores = []
    for number in [1] if shares.shape[1] == 2 else np.unique(labels):
        order = np.argsort(-shares[:, number].astype(np.float64), kind="stable")
        starts = np.flatnonzero(np.diff(shares[order, number].astype(np.float64), prepend=np.inf))
        inside = (labels[order] == number).astype(np.float64)
        counted = times[:, order]
        scores.append(of_one(*(np.add.reduceat(counted * which, starts, axis=1) for which in (inside, 1 - inside))))
    found = np.array(scores)
    return _mean_where(~np.isnan(found).T, np.nan_to_num(found).T)


def _won_pairs(inside: Scores, outside: Scores) -> Scores:
    below = outside[:, ::-1].cumsum(axis=1)[:, ::-1] - outside / 2
    pairs = inside.sum(axis=1) * outside.sum(axis=1)
    return _divided((inside * below).sum(axis=1), pairs)


def _precisions(inside: Scores, outside: Scores) -> Scores:
    hits = inside.cumsum(axis=1)
    named, n_inside = hits + outside.cumsum(axis=1), hits[:, -1]
    precision = np.divide(hits, named, out=np.zeros_like(hits), where=named > 0)
    return _divided((inside * precision).sum(axis=1), n_inside)


def _fbeta(right: Any, named: Any, truth: Any, *, beta: float) -> Scores:
    square = beta**2
    found: Scores = (1 + square) * right / np.maximum(square * truth + named, min(1.0, square))
    return found


def _recall(right: Scores, named: Scores, truth: Scores) -> Scores:
    return right / np.maximum(truth, 1)


def _truth_times_f1(right: Scores, named: Scores, truth: Scores) -> Scores:
    return truth * _fbeta(right, named, truth, beta=1)


def _mean_where(occurs: NDArray[np.bool_], values: Scores) -> Scores:
    return _divided(np.where(occurs, values, 0.0).sum(axis=-1), occurs.sum(axis=-1))


def _divided(total: Any, count: Any) -> Scores:
    """NaN where nothing was counted."""
    share: Scores = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=np.asarray(count) > 0)
    return share


def _check_classes(what: str, values: Labels, n_classes: int) -> None:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"{what} must be whole numbers (N,), got {values.dtype} of shape {values.shape}")
    if len(values) == 0:
        raise ValueError(f"{what} must hold at least one photo, got none")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= n_classes:
        raise ValueError(f"{what} must be 0..{n_classes - 1}, got {low if low < 0 else high}")


def _counting(name: str, of_margins: Callable[[Counts], Scores], *, worst: float = 0.0, part: PerClass | None = None) -> Metric:
    return Metric(name, lambda counts: of_margins(margins(counts)), of_margins, worst=worst, part=part)


def _mean(name: str, of_photos: Callable[[AnyProbs, Labels], Scores], *, worst: float = 0.0, best: float = 1.0) -> Metric:
    return Metric(name, terms=Terms(of_photos, _mean_term), worst=worst, best=best)


def _mean_term(sums: Scores, n_photos: Scores) -> Scores:
    return _divided(sums[..., 0], n_photos)


def _log_loss(name: str, floor: float) -> Metric:
    return _mean(name, partial(true_logs, floor=floor), worst=float(np.log(floor)), best=0.0)


def _ranking(name: str, of_times: Callable[[AnyProbs, Labels, Scores], Scores]) -> Metric:
    return Metric(name, of_times=of_times, most_resamples=MOST_RANKED)


_F1 = partial(_fbeta, beta=1)

METRICS: dict[str, Metric] = {
    "macro_f1": _counting("macro_f1", macro_f1, part=_F1),
    "accuracy": _counting("accuracy", accuracy),
    "balanced_accuracy": _counting("balanced_accuracy", balanced_accuracy, part=_recall),
    "log_loss": _log_loss("log_loss", SMALLEST_PROB),
    "macro_f1_sklearn": _counting("macro_f1_sklearn", partial(macro_fbeta, beta=1), part=_F1),
    "weighted_f1": _counting("weighted_f1", weighted_f1, part=_truth_times_f1),
    "micro_f1": _counting("micro_f1", accuracy),
    "macro_f2": _counting("macro_f2", partial(macro_fbeta, beta=2), part=partial(_fbeta, beta=2)),
    "macro_f05": _counting("macro_f05", partial(macro_fbeta, beta=0.5), part=partial(_fbeta, beta=0.5)),
    "mcc": _counting("mcc", matthews, worst=-1.0),
    "qwk": Metric("qwk", quadratic_kappa, worst=-1.0),
    "log_loss_sklearn": _log_loss("log_loss_sklearn", float(np.finfo(np.float64).eps)),
    "log_loss_kaggle": _log_loss("log_loss_kaggle", 1e-15),
    "brier": _mean("brier", squared_errors, worst=-2.0, best=0.0),
    "top_3_accuracy": _mean("top_3_accuracy", partial(right_within, k=3)),
    "top_5_accuracy": _mean("top_5_accuracy", partial(right_within, k=5)),
    "map_at_3": _mean("map_at_3", partial(precision_at, k=3)),
    "map_at_5": _mean("map_at_5", partial(precision_at, k=5)),
    "probabilistic_f1": Metric(
        "probabilistic_f1", terms=Terms(soft_counts, probabilistic_f1, lambda n_classes: 3 if n_classes == 2 else 3 * n_classes)
    ),
    "roc_auc": _ranking("roc_auc", roc_auc),
    "average_precision": _ranking("average_precision", average_precision),
}


OWN_METRICS: dict[str, Metric] = {}
"""The files' metrics that this process has read (`competitions.own_metrics`), by their names with the hash."""


def metric_of(name: str) -> Metric:
    """The metric called so: a line of `METRICS`, or a function of a file beside a YAML that was read.

    Raises:
        UserError: There is none, or its file is another one now.
    """
    if name in METRICS:
        return METRICS[name]
    if name in OWN_METRICS:
        return OWN_METRICS[name]
    found = OWN_METRIC.match(name)
    if found is None:
        raise UserError(unknown("metric", name, METRICS))
    file, function, _ = found.groups()
    now = [known.partition("@")[2] for known in OWN_METRICS if known.startswith(f"{file}:{function}@")]
    changed = f"; its hash is {now[0]} now, so {file} has changed since: bring its text of then back" if now else ""
    raise UserError(f"metric {name} is not known here: it is a function of the file {file} beside the YAML{changed}")
