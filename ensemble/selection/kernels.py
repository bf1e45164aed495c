"""The innermost loops of selection as plain loops, which numba compiles where it is installed and where it pays: bits -> whole numbers.

`ensemble.selection.greedy` and `ensemble.views.subsets` ask for compiled loops by `ready(seconds)` and go on with numpy where
the answer is `None`; both give the same whole numbers, so nothing but time depends on it. Importing numba and compiling takes a few seconds
(`benchmarks/selection_speed.py` says how many), which no `--help` and no small pool should pay: the loops are compiled when what numpy
was asked to do in this process would take as long (ski rental: at worst twice the time of whoever knew beforehand). Nothing of it is
kept on disk.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAYS_AFTER = 3.0
"""Seconds that importing numba and compiling take; a selection among 200 members x 14,000 photos x 18 classes by numpy."""
ONE = 1 << 24
"""Probability 1 in units of 2^-24, the smallest step of float16: a sum of probabilities is a whole number of them."""


@dataclass(frozen=True)
class Loops:
    """The loops below, compiled."""

    lay_out: Callable[..., None]
    count_winners: Callable[..., None]
    find_split: Callable[..., None]
    name_subsets: Callable[..., None]
    count_subsets: Callable[..., None]


@dataclass
class _Meter:
    """What numpy has been asked to do so far, and who is to work whatever that says."""

    seconds: float = 0.0
    only: str | None = None


_METER = _Meter()


def ready(seconds: float) -> Loops | None:
    """The compiled loops, or `None` where numpy is to work: numba is not installed, or too little has been asked for to pay.

    Args:
        seconds: About how long numpy would take for what the caller is going to do.
    """
    if _METER.only == "numpy" or not installed():
        return None
    _METER.seconds += seconds
    return compiled() if _METER.only == "numba" or _METER.seconds >= PAYS_AFTER else None


@contextmanager
def only(who: str) -> Iterator[None]:
    """Let `numpy`, or `numba` where it is installed, do all work inside, however much it is; for measurements and tests."""
    before, _METER.only = _METER.only, who
    try:
        yield
    finally:
        _METER.only = before


@cache
def installed() -> bool:
    """Whether numba can be imported; it is not imported here."""
    return find_spec("numba") is not None


@cache
def compiled() -> Loops:
    """Import numba and prepare every loop; each is compiled when it is first called."""
    import numba

    compile_: Any = numba.njit(nogil=True)
    return Loops(*map(compile_, (lay_out, count_winners, find_split, name_subsets, count_subsets)))


def lay_out(bits: NDArray[np.uint16], units: NDArray[np.int32]) -> None:
    """Write float16 `bits (M, N, C)` into `units (N, C, M)` as whole numbers of 2^-24; values in [0, 1].

    A few photos at a time, so that what is written across stays in a core's cache.
    """
    n_members, n_photos, n_classes = bits.shape
    size = max(1, (1 << 16) // (n_members * n_classes))
    for start in range(0, n_photos, size):
        for member in range(n_members):
            for photo in range(start, min(start + size, n_photos)):
                for number in range(n_classes):
                    value = np.int32(bits[member, photo, number])
                    power = value >> 10
                    units[photo, number, member] = value if power == 0 else ((value & 1023) | 1024) << (power - 1)


def count_winners(
    units: NDArray[np.int32],
    total: NDArray[np.int32],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    times: NDArray[np.int64],
    counts: NDArray[np.int64],
    settled: NDArray[np.int64],
) -> None:
    """Add to `counts (C, M, C)` (truth, member, named) what each member, added to the total, names; the first of equal classes.

    Args:
        units: `(N, C, M)`.
        total: `(N, C)`, sums of those that have joined.
        rows: `(n,)`, photos that count, those of one label together: their counts then stay in the cache.
        labels: `(N,)`.
        times: `(N,)`, how often each counts.
        counts: Written to.
        settled: `(C, C)`, written to: photos on which no member can change what is named, the same for all of them.
    """
    n_classes, n_members = units.shape[1:]
    best, named = np.empty(n_members, np.int32), np.empty(n_members, np.int32)
    for photo in rows:
        top, second, first = -1, -1, 0
        for number in range(n_classes):
            value = total[photo, number]
            if value > top:
                top, second, first = value, top, number
            elif value > second:
                second = value
        mine, often = counts[labels[photo]], times[photo]
        if second < top - ONE:
            settled[labels[photo], first] += often
            continue
        best[:] = -1
        for number in range(n_classes):
            own = total[photo, number]
            if own < top - ONE:
                continue
            row, this = units[photo, number], np.int32(number)
            for member in range(n_members):
                value, before, was = np.int32(row[member] + own), best[member], named[member]
                best[member] = max(value, before)
                named[member] = this if value > before else was
        for member in range(n_members):
            mine[member, named[member]] += often


def find_split(bits: NDArray[np.uint16], named: NDArray[np.int16], split: NDArray[np.bool_]) -> None:
    """Where views of `bits (V, N, C)` do not surely name the same, `split (N,)`, and what they name, the first of equal classes.

    `named (V, N)` is written for the first view, and for the others on split photos.
    """
    n_views, n_photos, n_classes = bits.shape
    for photo in range(n_photos):
        first = 0
        for number in range(1, n_classes):
            first = number if bits[0, photo, number] > bits[0, photo, first] else first
        named[0, photo] = first
        rivals = 0  # classes at least as probable as that one, itself among them, in all views
        for view in range(n_views):
            for number in range(n_classes):
                rivals += bits[view, photo, number] >= bits[view, photo, first]
        split[photo] = rivals > n_views
        for view in range(1, n_views if rivals > n_views else 1):
            first = 0
            for number in range(1, n_classes):
                first = number if bits[view, photo, number] > bits[view, photo, first] else first
            named[view, photo] = first


def name_subsets(units: NDArray[np.int32], named: NDArray[np.int16]) -> None:
    """For each subset of views the class of the largest sum, the first of equal ones: `units (n, C, V)` -> `named (n, 2^V - 1)`.

    Left out is a class that the one with the largest sum of all views beats in every view: it never wins.
    """
    n, n_classes, n_views = units.shape
    n_subsets = 1 << n_views
    sums, best, winner = np.empty(n_subsets, np.int32), np.empty(n_subsets, np.int32), np.empty(n_subsets, np.int32)
    for photo in range(n):
        top, leader = -1, 0
        for number in range(n_classes):
            whole = 0
            for view in range(n_views):
                whole += units[photo, number, view]
            if whole > top:
                top, leader = whole, number
        best[:] = -1
        for number in range(n_classes):
            wins, named_by = number == leader, number == leader
            for view in range(n_views):
                mine, leads = units[photo, number, view], units[photo, leader, view]
                wins |= mine > leads or (mine == leads and number < leader)
                named_by |= mine > 0
            if not (wins and named_by):
                continue
            this, sums[0] = np.int32(number), 0
            for view in range(n_views):
                for subset in range(1 << view):
                    sums[(1 << view) + subset] = sums[subset] + units[photo, number, view]
            for subset in range(n_subsets):
                value, before, was = sums[subset], best[subset], winner[subset]
                best[subset] = max(value, before)
                winner[subset] = this if value > before else was
        for subset in range(1, n_subsets):
            named[photo, subset - 1] = winner[subset]


def count_subsets(
    named: NDArray[np.int16],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    times: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Add to `counts (C, S, C)` (truth, subset, named) the answers `named (n, S)` of photos that count `times (n,)`.

    `rows (n,)` is the order to go through them: those of one label together, so that its counts stay in the cache.
    """
    for photo in rows:
        often = times[photo]
        if often > 0:
            mine = counts[labels[photo]]
            for subset in range(named.shape[1]):
                mine[subset, named[photo, subset]] += often
