"""The score / cost front: options per subtask, what each member and view costs -> the combinations that nothing beats, and the one to take.

An option is a choice that a subtask (a task, the label) could make, with its score and the (trial, view) pairs that it runs. A combination
takes one option per subtask. It costs the seconds of its distinct pairs and the megabytes of its distinct trials, for what two subtasks
share is run once. On the front stand those that no other beats in score, seconds and megabytes at once.

Costs are counted in whole nanoseconds and bytes, so that sums are exact and equal combinations are equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from system.errors import UserError

Uses = frozenset[tuple[str, str]]
MOST_COMBINED = 100_000
"""Combinations that are looked at one by one: every option of five subtasks with ten options each."""


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
    """What a subtask could choose.

    Attributes:
        subtask: Its name.
        name: Of the option; no two of a subtask are called the same.
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
        choice: The name of the option per subtask, subtasks in order.
        score: Of the whole.
        seconds_per_1000: For 1,000 decoded photos.
        megabytes: Of all weights.
    """

    choice: tuple[tuple[str, str], ...]
    score: float
    seconds_per_1000: float
    megabytes: float


def front(options: Sequence[Option], costs: Mapping[str, Cost]) -> list[Point]:
    """The front, cheapest first: fewest seconds, then fewest megabytes.

    Every combination is looked at, up to `MOST_COMBINED`. Where there would be more, subtasks are joined one by one in the order of their
    names, and of what stands so far only the front goes on. A part that was left out may have shared more with a later subtask.

    Args:
        options: At least one; their order changes nothing. Of combinations that are equal in everything one stays.
        costs: Trial -> what it costs, of each that an option uses.
    """
    subtasks = sorted({option.subtask for option in options})
    parts = [_Part((), 0.0, frozenset())]
    for subtask in subtasks:
        own = sorted((one for one in options if one.subtask == subtask), key=lambda one: (*_price(one.uses, costs), one.name))
        if len(parts) * len(own) > MOST_COMBINED:
            parts = [part for part, _ in _front_of(parts, costs)]
        parts = [_Part((*part.chosen, one), part.score + one.score, part.uses | one.uses) for part in parts for one in own]
    return [
        Point(tuple((one.subtask, one.name) for one in part.chosen), part.score / len(subtasks), nanoseconds / 1e9, size / 1e6)
        for part, (nanoseconds, size) in _front_of(parts, costs)
    ]


def within(points: Sequence[Point], *, max_seconds: float | None = None, max_megabytes: float | None = None) -> Point:
    """The best point that a budget allows; of equal scores the faster, then the smaller, then the first.

    Args:
        points: At least one.
        max_seconds: For 1,000 photos (`--max-seconds-per-1000`); no limit for `None`.
        max_megabytes: Of all weights (`--max-megabytes`); no limit for `None`.

    Raises:
        UserError: Nothing fits; it says what the cheapest would cost.
    """
    limits = {"--max-seconds-per-1000": max_seconds, "--max-megabytes": max_megabytes}
    fit = [
        point
        for point in points
        if (max_seconds is None or point.seconds_per_1000 <= max_seconds)
        and (max_megabytes is None or point.megabytes <= max_megabytes)
    ]
    if fit:
        return min(fit, key=lambda point: (-point.score, point.seconds_per_1000, point.megabytes))
    limit_text = " and ".join(f"{flag} {limit:g}" for flag, limit in limits.items() if limit is not None)
    fastest = min(points, key=lambda point: (point.seconds_per_1000, point.megabytes, -point.score))
    smallest = min(points, key=lambda point: (point.megabytes, point.seconds_per_1000, -point.score))
    raise UserError(
        f"nothing keeps {limit_text}: the fastest choice takes {_told(fastest)}, the smallest {_told(smallest)}; raise it"
    )


@dataclass(frozen=True)
class _Part:
    """One option for each of the subtasks so far, the sum of their scores, and all that they run."""

    chosen: tuple[Option, ...]
    score: float
    uses: Uses


def _front_of(parts: Sequence[_Part], costs: Mapping[str, Cost]) -> list[tuple[_Part, tuple[int, int]]]:
    """The parts that no other beats and their prices, cheapest first; of equal ones the first."""
    prices = [_price(part.uses, costs) for part in parts]
    kept: list[tuple[_Part, tuple[int, int]]] = []
    for at in sorted(range(len(parts)), key=lambda at: (prices[at], -parts[at].score)):
        one, size = parts[at], prices[at][1]
        if not any(better.score >= one.score and price[1] <= size for better, price in kept):
            kept.append((one, prices[at]))
    return kept


def _price(uses: Uses, costs: Mapping[str, Cost]) -> tuple[int, int]:
    """Nanoseconds of all distinct pairs, and bytes of all distinct trials."""
    nanoseconds = sum(round(costs[trial].seconds_per_1000 * 1e9) for trial, _ in uses)
    return nanoseconds, sum(round(costs[trial].megabytes * 1e6) for trial in {trial for trial, _ in uses})


def _told(point: Point) -> str:
    return f"{point.seconds_per_1000:.2f} s per 1,000 photos and {point.megabytes:.1f} MB (score {point.score:.4f})"
