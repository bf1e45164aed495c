"""The score / cost front: options per place, and what each member and view costs -> the combinations that nothing beats, and one that fits.

An option is a choice that a place (a task, the label) could make, with its score and the (trial, view) pairs that it runs. A combination
takes one option per place. It costs the seconds of its distinct pairs and the megabytes of its distinct trials, for what two places share
is run once. On the front stand those that no other beats in score, seconds and megabytes at once.

Costs are counted in whole nanoseconds and bytes, so that sums are exact and equal combinations are equal.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from system.errors import UserError, listed

Uses = frozenset[tuple[str, str]]
Ints = NDArray[np.int64]
MOST_COMBINATIONS = 200_000
"""Beyond this many combinations a beam is followed: see `front`."""
ROWS_AT_ONCE = 8_192
HEADER = ("score", "s / 1,000 photos", "MB", "choice")


@dataclass(frozen=True)
class Cost:
    """What a trial costs at prediction.

    Attributes:
        seconds_per_1000: For each view, of 1,000 decoded photos.
        megabytes: Of its weights file.
    """

    seconds_per_1000: float
    megabytes: float


@dataclass(frozen=True)
class Option:
    """What a place could choose.

    Attributes:
        subtask: The place.
        name: Of the option; no two of a place are called the same.
        score: Greater is better.
        uses: (trial, view) pairs that it runs.
    """

    subtask: str
    name: str
    score: float
    uses: Uses


@dataclass(frozen=True)
class Point:
    """A combination.

    Attributes:
        choice: The name of the option per place, places in order.
        score: Of the whole.
        seconds_per_1000: For 1,000 decoded photos.
        megabytes: Of all weights.
    """

    choice: tuple[tuple[str, str], ...]
    score: float
    seconds_per_1000: float
    megabytes: float

    def row(self) -> list[str]:
        """Cells for people, under `HEADER`."""
        named = ", ".join(f"{subtask}: {name}" for subtask, name in self.choice)
        return [f"{self.score:.4f}", f"{self.seconds_per_1000:.2f}", f"{self.megabytes:.1f}", named]


Score = Callable[[Mapping[str, str]], float]
"""Place -> name of its option to the score of the whole."""


def front(
    options: Sequence[Option], costs: Mapping[str, Cost], *, score: Score | None = None, most: int = MOST_COMBINATIONS
) -> list[Point]:
    """The front, cheapest first: fewest seconds, then fewest megabytes.

    Args:
        options: At least one; their order changes nothing. Of combinations that are equal in everything one stays.
        costs: Trial -> what it costs.
        score: What a combination scores. It is asked about the front by the mean of the places' scores, and the front is laid again
            among those: the answer of the composed label takes too long to be asked about all. The mean itself for `None`.
        most: Combinations that are looked at. Where there are more, places are joined one by one in the order of their names, and
            whenever more than this many parts would stand, only those go on that are on the front as far as they got (it may be
            that a part left out would have shared more with a later place); of a front of more, evenly spread ones.

    Raises:
        UserError: There are no options, two have one name, or a trial has no cost.
    """
    kept = _subtasks(options, costs)
    trials = sorted({trial for subtask in kept for option in subtask for trial, _ in option.uses})
    pairs = sorted({pair for subtask in kept for option in subtask for pair in option.uses})
    price = _Price(
        np.array([_nanoseconds(costs[trial]) for trial, _ in pairs], dtype=np.int64),
        np.array([_bytes(costs[trial]) for trial in trials], dtype=np.int64),
    )
    parts = _Parts.none(len(pairs), len(trials))
    for own in kept:
        parts = _widened(_thinned(parts, price, max(1, most // len(own))), own, pairs, trials)
    seconds, megabytes = price.of(parts)
    scores = parts.scores / len(kept)
    found = _front_of(scores, seconds, megabytes)
    points = [
        Point(
            tuple((own[0].subtask, own[n].name) for own, n in zip(kept, parts.chosen[row].tolist(), strict=True)),
            float(scores[row]),
            int(seconds[row]) / 1e9,
            int(megabytes[row]) / 1e6,
        )
        for row in found
    ]
    return points if score is None else _scored(points, score)


def within(points: Sequence[Point], *, max_seconds: float | None = None, max_megabytes: float | None = None) -> Point:
    """The best point that a budget allows; of equal scores the faster, then the smaller, then the first.

    Args:
        points: At least one.
        max_seconds: For 1,000 photos (`--max-seconds-per-1000`); no limit for `None`.
        max_megabytes: Of all weights (`--max-megabytes`); no limit for `None`.

    Raises:
        UserError: A limit is no positive number, or nothing fits; it says what the cheapest would cost.
    """
    limits = {"--max-seconds-per-1000": max_seconds, "--max-megabytes": max_megabytes}
    wrong = [f"{flag} must be above 0, got {limit}" for flag, limit in limits.items() if limit is not None and not limit > 0]
    if wrong:
        raise UserError(*wrong)
    fit = [
        point
        for point in points
        if (max_seconds is None or point.seconds_per_1000 <= max_seconds)
        and (max_megabytes is None or point.megabytes <= max_megabytes)
    ]
    if fit:
        return min(fit, key=lambda point: (-point.score, point.seconds_per_1000, point.megabytes))
    asked = " and ".join(f"{flag} {limit:g}" for flag, limit in limits.items() if limit is not None)
    fastest = min(points, key=lambda point: (point.seconds_per_1000, point.megabytes, -point.score))
    smallest = min(points, key=lambda point: (point.megabytes, point.seconds_per_1000, -point.score))
    raise UserError(f"nothing keeps {asked}: the fastest choice takes {_told(fastest)}, the smallest {_told(smallest)}; raise it")


def pruned(options: Sequence[Option], others: Sequence[Option], costs: Mapping[str, Cost]) -> list[Option]:
    """The options of one place without those that another one beats whatever the other places choose; names in order.

    B beats A where it scores no less, and all that it runs and A does not costs no more than what A runs, B does not, and no option
    of another place could share. Of two that beat one another the first by name stays.

    Args:
        options: Of one place.
        others: Of all other places.
        costs: Trial -> what it costs.
    """
    pairs = {pair for option in others for pair in option.uses}
    trials = {trial for trial, _ in pairs}
    kept: list[Option] = []
    for one in sorted(options, key=lambda option: (-option.score, _cost(option.uses, costs), option.name)):
        if not any(_beats(better, one, pairs, trials, costs) for better in kept):
            kept.append(one)
    return sorted(kept, key=lambda option: option.name)


@dataclass(frozen=True)
class _Parts:
    """P combinations as far as they got.

    Attributes:
        chosen: `int64 (P, places so far)`: which option of each place.
        scores: `float64 (P,)`: the sum of their scores.
        pairs: `bool (P, K)`: which (trial, view) pairs they run.
        trials: `bool (P, M)`: of which trials.
    """

    chosen: Ints
    scores: NDArray[np.float64]
    pairs: NDArray[np.bool_]
    trials: NDArray[np.bool_]

    @classmethod
    def none(cls, n_pairs: int, n_trials: int) -> "_Parts":
        return cls(np.zeros((1, 0), np.int64), np.zeros(1), np.zeros((1, n_pairs), bool), np.zeros((1, n_trials), bool))

    def at(self, rows: Ints) -> "_Parts":
        return _Parts(self.chosen[rows], self.scores[rows], self.pairs[rows], self.trials[rows])


@dataclass(frozen=True)
class _Price:
    """Nanoseconds of each pair `(K,)` and bytes of each trial `(M,)`."""

    pairs: Ints
    trials: Ints

    def of(self, parts: _Parts) -> tuple[Ints, Ints]:
        """What P combinations cost: nanoseconds and bytes, `int64 (P,)` each."""
        starts = range(0, len(parts.scores), ROWS_AT_ONCE)
        seconds = [parts.pairs[start : start + ROWS_AT_ONCE] @ self.pairs for start in starts]
        size = [parts.trials[start : start + ROWS_AT_ONCE] @ self.trials for start in starts]
        return np.concatenate(seconds), np.concatenate(size)


def _subtasks(options: Sequence[Option], costs: Mapping[str, Cost]) -> list[list[Option]]:
    """The options of each place that nothing beats, places and names in order.

    Raises:
        UserError: See `front`.
    """
    names = [(option.subtask, option.name) for option in options]
    unpriced = sorted({trial for option in options for trial, _ in option.uses} - set(costs))
    faults = [] if options else ["a front needs options, got none"]
    faults += [] if len(set(names)) == len(names) else ["options of one place must have different names"]
    faults += [f"trials {listed(unpriced)} have no cost; measure them first"] if unpriced else []
    if faults:
        raise UserError(*faults)
    subtasks = sorted({subtask for subtask, _ in names})
    sides = [([o for o in options if o.subtask == subtask], [o for o in options if o.subtask != subtask]) for subtask in subtasks]
    return [pruned(own, others, costs) for own, others in sides]


def _widened(parts: _Parts, own: Sequence[Option], pairs: Sequence[tuple[str, str]], trials: Sequence[str]) -> _Parts:
    """Every part with every option of one more place."""
    runs = np.array([[pair in option.uses for pair in pairs] for option in own], dtype=bool).reshape(len(own), len(pairs))
    of = [{trial for trial, _ in option.uses} for option in own]
    holds = np.array([[trial in used for trial in trials] for used in of], dtype=bool).reshape(len(own), len(trials))
    rows, number = np.repeat(np.arange(len(parts.scores)), len(own)), np.tile(np.arange(len(own)), len(parts.scores))
    return _Parts(
        np.concatenate([parts.chosen[rows], number[:, None]], axis=1),
        parts.scores[rows] + np.array([option.score for option in own])[number],
        parts.pairs[rows] | runs[number],
        parts.trials[rows] | holds[number],
    )


def _thinned(parts: _Parts, price: _Price, most: int) -> _Parts:
    """About `most` parts: those on the front as far as they got; where there are more, evenly spread ones, the best and the smallest."""
    if len(parts.scores) <= most:
        return parts
    seconds, size = price.of(parts)
    rows = _front_of(parts.scores, seconds, size)
    spread = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)
    ends = [np.argmax(parts.scores[rows]), np.argmin(size[rows])]
    return parts.at(rows[np.unique([*spread, *ends])])


def _front_of(scores: NDArray[np.float64], seconds: Ints, megabytes: Ints) -> Ints:
    """The rows that no other beats, fewest seconds first, then fewest bytes; of equal ones the first.

    One sweep over rows in this order holds a staircase: the best score by size of what was seen, so that the row is beaten if and only
    if a step of no more bytes scores as much (Kung, Luccio & Preparata 1975).
    """
    found: list[int] = []
    sizes: list[int] = []
    steps: list[float] = []
    order = np.lexsort((np.arange(len(scores)), -scores, megabytes, seconds))
    for row, size, value in zip(order.tolist(), megabytes[order].tolist(), scores[order].tolist(), strict=True):
        subtask = bisect_right(sizes, size)
        if subtask and steps[subtask - 1] >= value:
            continue
        start = subtask - 1 if subtask and sizes[subtask - 1] == size else subtask
        stop = start
        while stop < len(sizes) and steps[stop] <= value:
            stop += 1
        sizes[start:stop], steps[start:stop] = [size], [value]
        found.append(row)
    return np.array(found, dtype=np.int64)


def _scored(points: Sequence[Point], score: Score) -> list[Point]:
    """The front among these points by another score."""
    again = [replace(point, score=score(dict(point.choice))) for point in points]
    scores = np.array([point.score for point in again], dtype=np.float64)
    seconds = np.array([round(point.seconds_per_1000 * 1e9) for point in again], dtype=np.int64)
    megabytes = np.array([round(point.megabytes * 1e6) for point in again], dtype=np.int64)
    return [again[row] for row in _front_of(scores, seconds, megabytes)]


def _beats(better: Option, one: Option, pairs: set[tuple[str, str]], trials: set[str], costs: Mapping[str, Cost]) -> bool:
    if better.score < one.score:
        return False
    held, has = ({trial for trial, _ in option.uses} for option in (better, one))
    slower = sum(_nanoseconds(costs[trial]) for trial, _ in better.uses - one.uses)
    larger = sum(_bytes(costs[trial]) for trial in held - has)
    saved = sum(_nanoseconds(costs[trial]) for trial, _ in one.uses - better.uses - pairs)
    freed = sum(_bytes(costs[trial]) for trial in has - held - trials)
    return slower <= saved and larger <= freed


def _cost(uses: Uses, costs: Mapping[str, Cost]) -> tuple[int, int]:
    return sum(_nanoseconds(costs[trial]) for trial, _ in uses), sum(_bytes(costs[trial]) for trial in {t for t, _ in uses})


def _nanoseconds(cost: Cost) -> int:
    return round(cost.seconds_per_1000 * 1e9)


def _bytes(cost: Cost) -> int:
    return round(cost.megabytes * 1e6)


def _told(point: Point) -> str:
    return f"{point.seconds_per_1000:.2f} s per 1,000 photos and {point.megabytes:.1f} MB (score {point.score:.4f})"
