"""On the front stands what nothing beats, what places share is paid once, and a budget is kept."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.selection.pareto import Cost, Option, Point, front, within
from system.errors import UserError

TRIALS, VIEWS = ("a", "b", "c", "d"), ("identity", "hflip")
COST = st.builds(Cost, st.sampled_from([0.1, 0.2, 0.3, 1.0]), st.sampled_from([1.0, 2.0, 3.5]))
COSTS = st.fixed_dictionaries(dict.fromkeys(TRIALS, COST))
USES = st.frozensets(st.tuples(st.sampled_from(TRIALS), st.sampled_from(VIEWS)), min_size=1, max_size=5)
OPTIONS = st.lists(
    st.tuples(st.sampled_from(["age", "label", "mask"]), st.sampled_from([0.25, 0.5, 0.625, 0.75]), USES), min_size=1, max_size=9
).map(lambda drawn: [Option(subtask, f"{n}", score, uses) for n, (subtask, score, uses) in enumerate(drawn)])


def everything(options: list[Option], costs: Mapping[str, Cost]) -> list[Point]:
    """Every combination, priced one by one."""
    subtasks = sorted({option.subtask for option in options})
    found = []
    for chosen in product(*([o for o in options if o.subtask == subtask] for subtask in subtasks)):
        uses = frozenset[tuple[str, str]]().union(*(option.uses for option in chosen))
        seconds = sum(round(costs[trial].seconds_per_1000 * 1e9) for trial, _ in uses) / 1e9
        size = sum(round(costs[trial].megabytes * 1e6) for trial in {trial for trial, _ in uses}) / 1e6
        score = sum(option.score for option in chosen) / len(subtasks)
        found.append(Point(tuple((option.subtask, option.name) for option in chosen), score, seconds, size))
    return found


def beats(one: Point, other: Point) -> bool:
    no_worse = one.score >= other.score and one.seconds_per_1000 <= other.seconds_per_1000 and one.megabytes <= other.megabytes
    return no_worse and values(one) != values(other)


def values(point: Point) -> tuple[float, float, float]:
    return point.score, point.seconds_per_1000, point.megabytes


@given(OPTIONS, COSTS)
@settings(max_examples=150)
def test_the_front_is_that_of_all_combinations_priced_one_by_one(options: list[Option], costs: dict[str, Cost]) -> None:
    brute = everything(options, costs)
    expected = {values(point) for point in brute if not any(beats(other, point) for other in brute)}
    found = front(options, costs)
    assert {values(point) for point in found} == expected
    assert len(found) == len(expected), "of equal combinations one stays"
    assert all(point in brute for point in found), "a point says what its choice does not cost or score"
    assert found == sorted(found, key=lambda point: (point.seconds_per_1000, point.megabytes, -point.score))


@given(OPTIONS, COSTS, st.randoms())
@settings(max_examples=50)
def test_the_order_of_the_options_changes_nothing(options: list[Option], costs: dict[str, Cost], chance: object) -> None:
    shuffled = list(options)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert front(shuffled, costs) == front(options, costs)


@given(OPTIONS, COSTS, st.sampled_from([0.05, 0.3, 0.5, 1.0, 9.0]), st.sampled_from([None, 0.5, 2.0, 4.5, 99.0]))
@settings(max_examples=100)
def test_a_budget_is_kept_and_nothing_that_keeps_it_scores_more(
    options: list[Option], costs: dict[str, Cost], seconds: float, size: float | None
) -> None:
    fits = [
        point for point in everything(options, costs) if point.seconds_per_1000 <= seconds and point.megabytes <= (size or 1e9)
    ]
    points = front(options, costs)
    if not fits:
        with pytest.raises(UserError, match=r"nothing keeps --max-seconds-per-1000"):
            within(points, max_seconds=seconds, max_megabytes=size)
        return
    chosen = within(points, max_seconds=seconds, max_megabytes=size)
    assert chosen.seconds_per_1000 <= seconds
    assert chosen.megabytes <= (size or 1e9)
    assert chosen.score == max(point.score for point in fits)


@given(OPTIONS, COSTS, st.integers(1, 6))
@settings(max_examples=50)
def test_a_beam_finds_combinations_that_are_there_and_the_cheapest_of_one_subtask(
    options: list[Option], costs: dict[str, Cost], most: int
) -> None:
    exact = front(options, costs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ensemble.selection.pareto.MOST_COMBINED", most)
        beam = front(options, costs)
    assert beam
    assert all(point in everything(options, costs) for point in beam)
    assert not any(beats(one, other) for one in beam for other in beam)
    if len({option.subtask for option in options}) == 1:
        assert beam == exact


def test_what_two_subtasks_share_is_paid_once() -> None:
    """`pair` costs age more than `own` does, and nothing once mask has chosen it too."""
    pair = frozenset({("a", "identity"), ("b", "identity")})
    own = frozenset({("c", "identity")})
    options = [Option("age", "pair", 0.5, pair), Option("age", "own", 0.5, own), Option("mask", "pair", 0.5, pair)]
    costs = {"a": Cost(1.0, 1.0), "b": Cost(1.0, 1.0), "c": Cost(0.5, 0.5)}
    (point,) = front(options, costs)
    assert point == Point((("age", "pair"), ("mask", "pair")), 0.5, 2.0, 2.0)
    (alone,) = front([option for option in options if option.subtask == "age"], costs)
    assert alone.choice == (("age", "own"),)


def test_a_million_combinations_are_laid_in_seconds() -> None:
    chance = np.random.default_rng(0)
    costs = {f"t{n}": Cost(float(chance.uniform(0.1, 1)), float(chance.uniform(1, 50))) for n in range(60)}
    options = [
        Option(
            f"p{subtask}", f"{n}", float(chance.uniform()), frozenset((f"t{t}", "identity") for t in chance.choice(60, 5, False))
        )
        for subtask in range(4)
        for n in range(32)
    ]
    points = front(options, costs)
    best = sum(max(option.score for option in options if option.subtask == f"p{subtask}") for subtask in range(4)) / 4
    assert max(point.score for point in points) == pytest.approx(best)


def test_where_nothing_fits_the_cheapest_are_told_with_their_cost() -> None:
    option = Option("age", "one", 0.5, frozenset({("a", "identity"), ("z", "identity")}))
    points = front([option], {"a": Cost(1.25, 10), "z": Cost(1, 20)})
    with pytest.raises(UserError, match=r"--max-megabytes 5.*fastest choice takes 2\.25 s per 1,000 photos and 30\.0 MB"):
        within(points, max_megabytes=5)
    assert within(points) == points[0]
