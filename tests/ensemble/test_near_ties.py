"""Close calls: whatever answer a rounding turns was counted, and what no rounding can turn was not."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.labels import Composition
from ensemble.label.cascade import Subtask
from ensemble.label.decode import LabelDecoder, decode_votes
from ensemble.log_probs import share_logs
from ensemble.plan.near_ties import MARGIN, exchange_costs, is_close, label_may_turn, may_turn, steepness, together_may_turn
from ensemble.plan.spec import Spec, decide_by, decide_together
from ensemble.postprocess.assignment import assign
from ensemble.postprocess.calibration import Calibration, calibrate
from ensemble.postprocess.stacking import Stacking
from ensemble.votes import RULES, Floats, Vote, to_half


def rows(rng: np.random.Generator, k: int, n: int, c: int) -> Floats:
    """Voters' rows `float16 (K, N, C)`, many of them near to a tie, none below what float16 writes with all its digits."""
    probs = rng.dirichlet(np.ones(c), (k, n))
    even = rng.dirichlet(np.full(c, 1e5), (k, n))
    return np.maximum(np.where(rng.random((k, n, 1)) < 0.4, even, probs), 2.0**-13).astype(np.float16)


def rounded_otherwise(rng: np.random.Generator, probs: Floats, fixed: Sequence[bool]) -> Floats:
    """As another device may say it: each number as it is, or the next above or below."""
    moved = np.nextafter(probs, rng.choice(np.array([0, 1, 2], np.float16), probs.shape)).astype(np.float16)
    found = np.where(rng.random(probs.shape) < 0.3, probs, moved)
    return np.where(np.array(fixed)[:, None, None], probs, np.minimum(found, 1)).astype(np.float16)


@settings(max_examples=60)
@given(
    rule=st.sampled_from(sorted(RULES)),
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 5),
    c=st.integers(2, 4),
    weighted=st.sampled_from(["", "voters", "classes"]),
    moved=st.booleans(),
)
def test_an_answer_that_rounding_turns_was_counted(rule: str, seed: int, k: int, c: int, weighted: str, moved: bool) -> None:
    rng = np.random.default_rng(seed)
    weights = {"": None, "voters": rng.integers(1, 4, k) * 1.0, "classes": rng.integers(1, 4, (k, c)) * 1.0}[weighted]
    told = None if weights is None else tuple(map(tuple, weights.tolist())) if weights.ndim == 2 else tuple(weights.tolist())
    offsets = tuple(rng.normal(0, 1, c).tolist()) if moved else None
    spec = Spec(tuple((n, 0) for n in range(k)), rule, told, offsets=offsets)
    probs, fixed = rows(rng, k, 60, c), [bool(one) for one in rng.random(k) < 0.2]
    vote = decide_by(spec, probs)
    counted = may_turn(spec, probs, vote, fixed)
    for _ in range(5):
        other = decide_by(spec, rounded_otherwise(rng, probs, fixed))
        assert not ((other.labels != vote.labels) & ~counted).any()


@pytest.mark.parametrize("rule", ["hard", "soft"])
@pytest.mark.parametrize("slope", [0.5, 4.0, 12.0])
def test_what_a_calibration_stretches_is_counted_further_out(rule: str, slope: float) -> None:
    fitted = Calibration((slope, slope), (0.0, -0.75 * slope))
    spec = Spec(((0, 0),), rule)
    steep = steepness(Spec(((0, 0),), rule, calibration={0: (fitted,)}))
    assert steep == max(1, slope)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        lead = rng.normal(0.679, 0.01, 400)
        probs = np.stack([1 - lead, lead], axis=1).astype(np.float16)[None]
        made = [to_half(calibrate(fitted, one[0]))[None] for one in (probs, rounded_otherwise(rng, probs, [False]))]
        votes = [decide_by(spec, one) for one in made]
        counted = may_turn(spec, made[0], votes[0], [False], steep)
        assert not ((votes[0].labels != votes[1].labels) & ~counted).any()


def test_a_tie_of_counts_is_no_close_call_and_a_tie_of_shares_is() -> None:
    probs = np.array([[[0.9, 0.1]], [[0.1, 0.9]]], dtype=np.float16)
    told = {}
    for rule in RULES:
        spec = Spec(((0, 0), (1, 0)), rule)
        told[rule] = bool(may_turn(spec, probs, decide_by(spec, probs), [False, False])[0])
    assert told == {"hard": False, "rank": False, "soft": True, "geometric": True}
    stacking = Stacking(2, (0, 1), ((0.0, 0.0),) * 4, (0.0, 0.0), 1.0)
    stacked = Spec(((0, 0), (1, 0)), "hard", stacking=stacking)
    assert may_turn(stacked, probs, decide_by(stacked, probs), [False, False])[0]


def test_a_voter_s_own_tie_counts_in_a_hard_vote_unless_it_is_a_file() -> None:
    probs = np.array([[[0.5, 0.5]], [[0.1, 0.9]]], dtype=np.float16)
    spec = Spec(((0, 0), (1, 0)), "hard")
    assert may_turn(spec, probs, decide_by(spec, probs), [False, False])[0]
    assert not may_turn(spec, probs, decide_by(spec, probs), [True, False])[0]


def test_offsets_move_the_point_where_answers_turn() -> None:
    probs = np.array([[[0.75, 0.25], [0.5, 0.5]]], dtype=np.float16)
    spec = Spec(((0, 0),), "soft", offsets=(0.0, float(np.log(3))))
    assert may_turn(spec, probs, decide_by(spec, probs), [False]).tolist() == [True, False]


def test_one_class_is_never_close() -> None:
    assert not is_close(np.ones((3, 1))).any()


def test_a_photo_that_may_turn_brings_its_group_along_where_votes_are_counted() -> None:
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    vote, own, groups = Vote(np.zeros(3, dtype=np.int64), shares), np.array([True, False, False]), ["a", "a", "b"]
    hard, soft = Spec(((0, 0),), "hard"), Spec(((0, 0),), "soft")
    for spec, by in ((hard, "votes"), (hard, "logs"), (soft, "votes")):
        assert together_may_turn(own, vote, spec, groups, same_group=by, quota=None).tolist() == [True, True, False]
    assert together_may_turn(own, vote, hard, None, same_group="votes", quota=None).tolist() == own.tolist()


def test_a_group_whose_shares_are_close_is_counted_whole() -> None:
    vote = Vote(np.array([0, 1, 0]), np.array([[0.8, 0.2], [0.2, 0.8], [0.8, 0.2]]))
    spec, groups = Spec(((0, 0),), "soft"), ["a", "a", "b"]
    whole = decide_together(vote, ["x", "y", "z"], groups, same_group="logs", quota=None)
    told = together_may_turn(np.zeros(3, dtype=bool), whole, spec, groups, same_group="logs", quota=None)
    assert told.tolist() == [True, True, False]


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_exchange_costs_what_the_best_other_assignment_loses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, ids = rng.normal(size=(6, 3)), list("abcdef")
    labels = assign(scores, [2, 2, 2], ids)
    rest = set(permutations([0, 0, 1, 1, 2, 2]))
    totals = {order: scores[np.arange(6), list(order)].sum() for order in rest}
    best = scores[np.arange(6), labels].sum()
    for photo, cost in enumerate(exchange_costs(scores, labels)):
        other = max(total for order, total in totals.items() if order[photo] != labels[photo])
        assert cost == pytest.approx(best - other, abs=1e-4)


def test_with_a_quota_photos_that_may_swap_their_answers_are_counted() -> None:
    shares = np.array([[0.9, 0.1], [0.7, 0.3], [0.7, 0.3], [0.6, 0.4]])
    shares[2] = 0.6998, 0.3002
    spec, quota = Spec(((0, 0),), "soft"), (0.5, 0.5)
    vote = Vote(shares.argmax(axis=1), shares)
    whole = decide_together(vote, list("abcd"), None, same_group=None, quota=quota)
    assert whole.labels.tolist() == [0, 0, 1, 1]
    own = np.zeros(4, dtype=bool)
    assert together_may_turn(own, whole, spec, None, same_group=None, quota=quota).tolist() == [False, True, True, False]
    assert not together_may_turn(own, whole, Spec(((0, 0),), "hard"), None, same_group=None, quota=quota).any()
    assert exchange_costs(share_logs(shares), whole.labels)[0] > 4 * MARGIN


@pytest.mark.parametrize(("way", "close"), [("tasks", False), ("experts", True)])
def test_a_label_of_joint_shares_is_close_where_they_are(way: str, close: bool) -> None:
    table = Composition(("mask", "age"), (("yes", "no"), ("young", "old")))
    subtasks, names = [Subtask("mask"), Subtask("age")], {"mask": ("yes", "no"), "age": ("young", "old")}
    joint = (0.4, 0.1, 0.1, 0.4)  # what goes together makes up for what age says
    votes = [Vote(np.array([0]), np.array([[0.9, 0.1]])), Vote(np.array([1]), np.array([[0.2, 0.8]]))]
    together = LabelDecoder(way, joint if way == "experts" else None)
    label = decode_votes(together, table, subtasks, votes, names)["label"]
    assert label_may_turn(together, table, subtasks, votes, names, label).tolist() == [close]
