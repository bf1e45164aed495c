"""Constrained assignment: scores `(N, C)` and how many photos each class has -> the labels `(N,)` of the greatest sum of scores.

A transport problem between N photos and C classes. For any prices of the classes, giving each photo the class of the greatest score
plus price is the best assignment with the counts it comes to; prices are moved until the counts are nearly those asked for, and
shortest paths through the C classes (each from a class with too many to one with too few, moving one photo on each step) do the rest
and keep it the best (Ahuja, Magnanti & Orlin 1993, "Network flows", 9.7). The result is exact for scores rounded to 2**-20.

Ties: of photos with equal scores the one whose id sorts first takes the class that comes first. Which of several equally good
assignments is found beyond that depends on the ids and on nothing else.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ensemble.votes import Ints

Numbers = NDArray[np.float64]

GRID = 2.0**20
PRICE_SWEEPS = 30
FINE = 4
"""A photo's weight is rounded to quarters of the mean one."""
FAR = np.int64(2**60)


def assign(scores: Numbers, quota: Sequence[int] | Ints, image_ids: Sequence[str]) -> Ints:
    """The labels `int64 (N,)` of the greatest sum of scores among those that give each class exactly its quota.

    Args:
        scores: `float64 (N, C)`, finite, usually logarithms of probabilities (`ensemble.log_probs.share_logs`).
        quota: C numbers of photos that sum to N; `counts_of` makes them from shares.
        image_ids: N different ids; they decide ties.
    """
    wanted = np.asarray(quota, dtype=np.int64)
    order = np.argsort(np.asarray(image_ids))
    whole = np.rint(scores[order] * GRID).astype(np.int64)
    labels: Ints = (whole + _prices(whole, wanted)).argmax(axis=1)
    _balance(whole, labels, wanted)
    _settle_ties(whole, labels)
    assigned = np.empty(len(labels), dtype=np.int64)
    assigned[order] = labels
    return assigned


def prices_at(scores: Numbers, labels: Ints, shares: Sequence[float]) -> Numbers:
    """Summands `float64 (C,)` of the scores with which photos, weighed to these shares, are answered in them: `assign` for many photos.

    Args:
        scores: `float64 (N, C)`, finite.
        labels: `int64 (N,)`, the true classes, none unknown: by them photos are weighed.
        shares: C shares; a class without a photo here gets no answer.
    """
    here = np.bincount(labels, minlength=len(shares))
    wanted = np.where(here > 0, shares, 0)
    if not wanted.any():
        return np.zeros(len(wanted))
    wanted = wanted / wanted.sum()
    times = np.rint(FINE * len(labels) * wanted / np.maximum(here, 1))[labels].astype(np.int64)
    whole = np.rint(np.repeat(scores, times, axis=0) * GRID).astype(np.int64)
    return np.where(wanted > 0, _prices(whole, counts_of(wanted, len(whole))) / GRID, -np.inf)


def counts_of(shares: Sequence[float] | Numbers, n_photos: int) -> Ints:
    """Shares `(C,)` that sum to 1 as whole numbers `int64 (C,)` that sum to `n_photos`: the largest remainders are rounded up."""
    exact = np.asarray(shares, dtype=np.float64)
    exact = exact / exact.sum() * n_photos
    counts: Ints = np.floor(exact).astype(np.int64)
    most = np.argsort(-(exact - counts), kind="stable")[: n_photos - counts.sum()]
    counts[most] += 1
    return counts


def _prices(whole: Ints, wanted: Ints) -> Ints:
    """Prices `(C,)` at which nearly as many photos choose each class as are wanted: each in turn is set to where it is exactly so."""
    prices = np.zeros(len(wanted), dtype=np.int64)
    for _ in range(PRICE_SWEEPS if len(wanted) > 1 else 0):
        before = prices.copy()
        for one, count in enumerate(wanted):
            offered = whole + prices
            offered[:, one] = -FAR
            needed = offered.max(axis=1) - whole[:, one]  # the price at which a photo comes over
            prices[one] = _between(needed, int(count))
        prices -= prices.max()
        if (prices == before).all() or (np.bincount((whole + prices).argmax(axis=1), minlength=len(wanted)) == wanted).all():
            break
    return prices


def _between(needed: Ints, count: int) -> int:
    """A price at which `count` photos come over, halfway between those who just do and who just do not."""
    ordered = np.partition(needed, [max(count - 1, 0), min(count, len(needed) - 1)])
    last, first = int(ordered[max(count - 1, 0)]), int(ordered[min(count, len(needed) - 1)])
    if count == 0:
        return first - 1
    return last + 1 if count == len(needed) else (last + first + 1) // 2


def _balance(whole: Ints, labels: Ints, wanted: Ints) -> None:
    """Move photos along cheapest paths, in place, until each class has its quota."""
    n_classes = len(wanted)
    counts = np.bincount(labels, minlength=n_classes)
    costs = np.stack([_costs(whole, labels, one) for one in range(n_classes)])
    while (counts > wanted).any():
        path = _cheapest_path(costs, counts > wanted, counts < wanted)
        movers = [
            rows[whole[rows, here] - whole[rows, there] == costs[here, there]]
            for here, there in pairwise(path)
            for rows in [np.flatnonzero(labels == here)]
        ]
        n_moved = min(*map(len, movers), int((counts - wanted)[path[0]]), int((wanted - counts)[path[-1]]))
        for there, rows in zip(path[1:], movers, strict=True):
            labels[rows[len(rows) - n_moved :]] = there
        counts[path[0]] -= n_moved
        counts[path[-1]] += n_moved
        for one in path:
            costs[one] = _costs(whole, labels, one)


def _costs(whole: Ints, labels: Ints, one: int) -> Ints:
    """What it costs to move the cheapest photo of a class to each other class, `(C,)`; `FAR` where it has none."""
    rows = whole[labels == one]
    if not len(rows):
        return np.full(whole.shape[1], FAR)
    costs: Ints = (rows[:, one : one + 1] - rows).min(axis=0)
    costs[one] = FAR
    return costs


def _cheapest_path(costs: Ints, full: NDArray[np.bool_], short: NDArray[np.bool_]) -> list[int]:
    """The classes on the cheapest path from one with too many photos to one with too few (Bellman-Ford; no cycle costs under 0)."""
    n_classes = len(costs)
    distance, before = np.where(full, 0, FAR), np.full(n_classes, -1)
    for _ in range(n_classes):
        through = np.minimum(distance[:, None] + costs, FAR)
        best = through.argmin(axis=0)
        shorter = through[best, np.arange(n_classes)] < distance
        if not shorter.any():
            break
        distance = np.where(shorter, through[best, np.arange(n_classes)], distance)
        before = np.where(shorter, best, before)
    path = [int(np.where(short, distance, 2 * FAR).argmin())]
    while not full[path[-1]]:
        path.append(int(before[path[-1]]))
    return path[::-1]


def _settle_ties(whole: Ints, labels: Ints) -> None:
    """Among photos with equal scores hand out their classes in order, in place; rows stand in the order of ids."""
    _, same = np.unique(whole, axis=0, return_inverse=True)
    labels[np.argsort(same, kind="stable")] = labels[np.lexsort((labels, same))]
