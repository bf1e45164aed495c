"""The innermost loops of selection, compiled by numba: float16 bits -> whole numbers, the same on every machine.

A loop is compiled when it is first called, and kept beside this file, or in the user's cache where this folder is read-only: the next
process reads it. Importing numba takes half a second, so it waits for that first call too; `--help` and a bundle never pay it.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

Arguments = ParamSpec("Arguments")

ONE = 1 << 24
"""Probability 1 in units of 2^-24, the smallest step of float16: a sum of probabilities is a whole number of them."""
FEW_CLASSES = 8
"""With fewer the largest is looked for at once."""


def compiled(loop: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The loop as machine code, made when it is first called."""

    @wraps(loop)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        _jitted(loop)(*args, **kwargs)

    return call


@cache
def _jitted(loop: Callable[..., None]) -> Callable[..., None]:
    import numba

    try:
        made: Any = numba.njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # there is no folder that numba may write to
        made = numba.njit(nogil=True)(loop)
    jitted: Callable[..., None] = made
    return jitted


def units_of(half: NDArray[np.float16]) -> NDArray[np.int32]:
    """Probabilities as whole numbers of 2^-24: any shape -> `int32`, the same shape."""
    units: NDArray[np.int32] = (half.astype(np.float32) * np.float32(ONE)).astype(np.int32)
    return units


def laid_out(half: NDArray[np.float16]) -> NDArray[np.int32]:
    """As `units_of`, members last: `(M, N, C)` -> `int32 (N, C, M)`."""
    n_members, n_photos, n_classes = half.shape
    units = np.empty((n_photos, n_classes, n_members), dtype=np.int32)
    _lay_out(np.ascontiguousarray(half).view(np.uint16), units)
    return units


@compiled
def _lay_out(bits: NDArray[np.uint16], units: NDArray[np.int32]) -> None:
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


@compiled
def name_largest(bits: NDArray[np.uint16], named: NDArray[np.int16]) -> None:
    """Write what each view of `bits (V, N, C)` names into `named (V, N)`: the most probable class, the first of equal ones.

    Mostly a view names what the one before it does, which a comparison without branches finds out.
    """
    n_views, n_photos, n_classes = bits.shape
    for photo in range(n_photos):
        first = 0
        for view in range(n_views):
            rivals = 0  # classes at least as probable as that one, itself among them
            for number in range(n_classes if n_classes >= FEW_CLASSES else 0):
                rivals += bits[view, photo, number] >= bits[view, photo, first]
            if rivals > 1 or n_classes < FEW_CLASSES:
                first = 0
                for number in range(1, n_classes):
                    first = number if bits[view, photo, number] > bits[view, photo, first] else first
            named[view, photo] = first


@compiled
def count_winners(
    units: NDArray[np.int32],
    total: NDArray[np.int32],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    times: NDArray[np.int64],
    counts: NDArray[np.int64],
    settled: NDArray[np.int64],
) -> None:
    """Add to `counts (2, M, C)` what each member, added to the total, names, the first of equal classes: where right, and at all.

    Args:
        units: `(N, C, M)`.
        total: `(N, C)`, sums of those that have joined.
        rows: `(n,)`, photos that count.
        labels: `(N,)`.
        times: `(N,)`, how often each counts.
        counts: Written to.
        settled: `(2, C)`, written to in the same way: photos on which no member can change what is named, the same for all of them.
    """
    n_classes, n_members = units.shape[1:]
    best, named = np.empty(n_members, np.int32), np.empty(n_members, np.int32)
    right = np.zeros((n_classes, n_members), np.int64)
    for photo in rows:
        top, second, first = -1, -1, 0
        for number in range(n_classes):
            value = total[photo, number]
            if value > top:
                top, second, first = value, top, number
            elif value > second:
                second = value
        label, often = labels[photo], times[photo]
        if second < top - ONE:
            settled[0, first] += often if first == label else 0
            settled[1, first] += often
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
        mine = right[label]
        for member in range(n_members):
            mine[member] += often * (named[member] == label)
        for member in range(n_members):
            counts[1, member, named[member]] += often
    counts[0] += right.T


@compiled
def name_view_sets(units: NDArray[np.signedinteger[Any]], ranks: NDArray[np.int32], named: NDArray[np.int16]) -> None:
    """For each set of views the class of the largest sum, the first of equal ones: `units (n, C, V)` -> `named (n, 2^V - 1)`.

    Left out is a class that the one with the largest sum of all views beats in every view: it never wins.

    Args:
        units: What adds up over the views.
        ranks: `(n, C, V)`, the least of which is taken off a sum; of length 0 where none is. Below any difference of sums.
        named: Written to.
    """
    n, n_classes, n_views = units.shape
    n_sets, ranked = 1 << n_views, len(ranks) > 0
    sums, best = np.empty(n_sets, units.dtype), np.empty(n_sets, units.dtype)
    least, winner = np.empty(n_sets, np.int32), np.empty(n_sets, np.int32)
    for photo in range(n):
        top, leader = -1, 0
        for number in range(n_classes):
            whole = 0
            for view in range(n_views):
                whole += units[photo, number, view]
            if whole > top:
                top, leader = whole, number
        best[:] = -(1 << 30)
        for number in range(n_classes):
            wins, given = number == leader, number == leader
            for view in range(n_views):
                mine, leads = units[photo, number, view], units[photo, leader, view]
                wins |= mine > leads or (mine == leads and (number < leader or ranked))
                given |= mine > 0
            if not (wins and given):
                continue
            this, sums[0] = np.int32(number), 0
            for view in range(n_views):
                for one in range(1 << view):
                    sums[(1 << view) + one] = sums[one] + units[photo, number, view]
            if ranked:
                least[0] = 1 << 30
                for view in range(n_views):
                    for one in range(1 << view):
                        least[(1 << view) + one] = min(least[one], ranks[photo, number, view])
                for one in range(1, n_sets):
                    sums[one] -= least[one]
            for one in range(n_sets):
                value, before, was = sums[one], best[one], winner[one]
                best[one] = max(value, before)
                winner[one] = this if value > before else was
        for one in range(1, n_sets):
            named[photo, one - 1] = winner[one]


@compiled
def count_named(
    named: NDArray[np.int16],
    labels: NDArray[np.int64],
    times: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Add to `counts (2, T, C)` the answers `named (n, T)` of photos that count `times (n,)`: where right, and at all."""
    n_sets, n_classes = counts.shape[1:]
    right = np.zeros((n_classes, n_sets), np.int64)
    for photo in range(len(named)):
        often = times[photo]
        if often > 0:
            label = labels[photo]
            mine = right[label]
            for one in range(n_sets):
                mine[one] += often * (named[photo, one] == label)
            for one in range(n_sets):
                counts[1, one, named[photo, one]] += often
    counts[0] += right.T


@compiled
def count_member_sets(
    named: NDArray[np.integer[Any]],
    sets: NDArray[np.int64],
    labels: NDArray[np.int64],
    times: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Add to `counts (2, S, C)` the hard votes of S sets of members: where right, and at all.

    Args:
        named: `(P, V, n)`, what each member names through each view, most senior member and view first.
        sets: `(S, K)`, the numbers of each set's members, ascending; -1 after the last one.
        labels: `(n,)`.
        times: `(n,)`, how often each photo counts.
        counts: Written to.
    """
    n_members, n_views, n_photos = named.shape
    n_sets, largest = sets.shape
    n_classes, weight = counts.shape[2], np.int64(n_members * n_views + 1)  # of a vote: seniority then only decides ties
    votes, senior = np.empty((n_classes, n_members), np.int64), np.empty((n_classes, n_members), np.int64)
    slot, classes = np.empty(n_classes, np.int64), np.empty(n_classes, np.int64)
    for photo in range(n_photos):
        slot[:] = -1
        n_named = 0
        for member in range(n_members):
            for view in range(n_views):
                number = named[member, view, photo]
                if slot[number] < 0:
                    slot[number], classes[n_named] = n_named, number
                    votes[n_named], senior[n_named] = 0, 0
                    n_named += 1
                at = slot[number]
                if votes[at, member] == 0:
                    senior[at, member] = weight - 1 - (member * n_views + view)
                votes[at, member] += weight
        for one in range(n_sets):
            most, winner = np.int64(-1), np.int64(0)
            for at in range(n_named):
                total, first = np.int64(0), np.int64(0)
                for position in range(largest):
                    member = sets[one, position]
                    if member < 0:
                        break
                    total += votes[at, member]
                    first = max(first, senior[at, member])
                if total + first > most:
                    most, winner = total + first, classes[at]
            counts[0, one, winner] += times[photo] if winner == labels[photo] else 0
            counts[1, one, winner] += times[photo]
