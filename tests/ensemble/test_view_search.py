"""The search over views: the best of all sets by the votes themselves, the same for any order, and a planted better set is found."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ensemble.test_shared_subsets import coarse_arena

from competitions.metrics import METRICS
from ensemble.plan.spec import Design
from ensemble.postprocess.calibration import Calibration
from ensemble.postprocess.stacking import Stacking
from ensemble.selection.candidates import Arena, Sample
from ensemble.selection.greedy import DECIMALS
from ensemble.views.search import own_views, shared_views, try_all, try_forward, with_views
from ensemble.views.sets import all_sets, sorted_sets
from ensemble.views.subsets import MOST_VIEWS

WEIGHTS = ["none", "by member", "by voter", "by class"]


def design_of(arena: Arena, seed: int, *, rule: str = "hard", weighted: str = "none") -> Design:
    """Some members with all views."""
    rng = np.random.default_rng(seed)
    members = rng.permutation(len(arena.members))[: rng.integers(1, len(arena.members) + 1)].tolist()
    voters = tuple((member, view) for member in members for view in range(len(arena.views)))
    of_member = rng.integers(1, 4, len(arena.members)).astype(float).tolist()
    weights: Any = {
        "none": None,
        "by member": tuple(of_member[member] for member, _ in voters),
        "by voter": tuple(rng.integers(1, 4, len(voters)).astype(float).tolist()),
        "by class": tuple(map(tuple, rng.integers(1, 4, (len(voters), arena.n_classes)).astype(float).tolist())),
    }[weighted]
    return Design(voters, rule, weights)


def views_in(design: Design, member: int) -> tuple[int, ...]:
    return tuple(view for of, view in design.voters if of == member)


def score_of(arena: Arena, sample: Sample, design: Design) -> float:
    return round(arena.score(arena.vote(design, sample.rows), sample), DECIMALS)


@given(
    st.integers(0, 10_000), st.sampled_from(["hard", "soft"]), st.sampled_from(WEIGHTS), st.sampled_from(sorted(METRICS))
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_what_is_chosen_is_the_first_of_the_best_of_all_sets(seed: int, rule: str, weighted: str, metric: str) -> None:
    arena = coarse_arena(seed, metric=metric)
    sample = arena.sample(np.random.default_rng(seed).integers(0, 60, 60))
    design = design_of(arena, seed, rule=rule, weighted=weighted)
    tried = try_all(arena, design)
    if tried is None:  # votes that do not add up: one view joins after another
        assert (weighted, rule) == ("by class", "soft") or (metric, rule) == ("log_loss", "hard")
        return
    found = shared_views(arena, sample, design)
    scores = {views: score_of(arena, sample, with_views(design, dict.fromkeys(design.members, views))) for views in all_sets(3)}
    np.testing.assert_allclose(tried.scores(tried.times(sample)), [scores[views] for views in tried.sets], atol=10**-DECIMALS)
    best = max(scores.values())
    assert views_in(found, design.members[0]) == next(views for views in all_sets(3) if scores[views] == best)
    assert found == with_views(design, dict.fromkeys(design.members, views_in(found, design.members[0])))
    own = own_views(arena, sample, design)
    assert own.members == design.members
    for member in design.members:
        only = with_views(design, {member: (0, 1, 2)})
        alone = {views: score_of(arena, sample, with_views(only, {member: views})) for views in all_sets(3)}
        assert views_in(own, member) == next(views for views in all_sets(3) if alone[views] == max(alone.values()))


@pytest.mark.parametrize("metric", ["macro_f1", "log_loss"])
@pytest.mark.parametrize("rule", ["hard", "soft", "geometric", "rank"])
def test_views_that_join_one_by_one_are_voted_on_like_any_design(rule: str, metric: str) -> None:
    arena = coarse_arena(3, views=4, metric=metric)
    sample, design = arena.sample(), design_of(arena, 3, rule=rule)
    tried = try_forward(arena, sample, design)
    assert len(tried.sets) == 4 + 3 + 2 + 1
    assert tried.sets == sorted_sets(tried.sets)
    designs = [with_views(design, dict.fromkeys(design.members, views)) for views in tried.sets]
    expected = [arena.score(arena.vote(one, sample.rows), sample) for one in designs]
    np.testing.assert_allclose(tried.scores(sample.times), expected, atol=1e-9)


def refined(arena: Arena, design: Design) -> tuple[Design, Design]:
    return shared_views(arena, arena.sample(), design), own_views(arena, arena.sample(), design)


def test_many_views_and_other_rules_go_one_view_at_a_time_and_find_a_planted_set() -> None:
    arena = planted(0, views=MOST_VIEWS + 2, harmful=(0, 3, 9), wrong=0.9, n=900)
    for rule in ("hard", "soft", "geometric", "rank"):
        design = design_of(arena, 1, rule=rule)
        assert try_all(arena, design) is None
        for found in refined(arena, design):
            assert not {0, 3, 9} & {view for _, view in found.voters}


def planted(seed: int, *, views: int = 5, harmful: tuple[int, ...] = (2,), wrong: float = 0.6, n: int = 1500) -> Arena:
    """Three members; harmful views are sure and wrong on a share of the photos, the others help one another."""
    rng = np.random.default_rng(seed)
    labels, place = rng.integers(0, 3, n), np.arange(n) // 5
    truth = 1.2 * np.eye(3)[labels]
    logits = truth + rng.normal(0, 0.5, (n, 3)) + rng.normal(0, 1.2, (3, views, n, 3))
    for view in harmful:
        spoiled = np.flatnonzero(rng.random(n) < wrong)
        logits[:, view, spoiled] = 6 * np.eye(3)[(labels[spoiled] + 1) % 3]
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    groups = np.array([f"g{number:04d}" for number in place])
    names = ("identity", *(f"view{number}" for number in range(1, views)))
    return Arena(("a", "b", "c"), names, probs.astype(np.float16), labels, groups, "macro_f1")


@pytest.mark.parametrize("rule", ["hard", "soft"])
@pytest.mark.parametrize("harmful", [(2,), (0, 4)], ids=["a view", "the identity and another"])
def test_a_planted_better_set_is_found(rule: str, harmful: tuple[int, ...]) -> None:
    arena = planted(1, harmful=harmful)
    design = design_of(arena, 0, rule=rule)
    for found in refined(arena, design):
        assert not set(harmful) & {view for _, view in found.voters}
        assert score_of(arena, arena.sample(), found) > score_of(arena, arena.sample(), design) + 0.005


@pytest.mark.parametrize("rule", ["hard", "soft", "rank"])
def test_the_order_of_photos_changes_no_set_and_that_of_views_none_that_is_best_alone(rule: str) -> None:
    arena = planted(2, views=4, n=400)
    design = design_of(arena, 2, rule=rule)
    order = np.random.default_rng(0).permutation(400)
    assert refined(arena.at(order), design) == refined(arena, design)
    turned = replace(arena, views=arena.views[::-1], probs=arena.probs[:, ::-1], _kept={})
    soft = replace(design, rule="soft")
    for there, here in zip(refined(turned, soft), refined(arena, soft), strict=True):
        names = [{(member, one.views[view]) for member, view in of.voters} for one, of in ((turned, there), (arena, here))]
        assert names[0] == names[1]


def test_views_that_are_all_the_same_leave_the_most_senior_one() -> None:
    arena = coarse_arena(4)
    alike = replace(arena, probs=np.repeat(arena.probs[:, :1], 3, axis=1), _kept={})
    for rule in ("hard", "soft", "geometric"):
        for found in refined(alike, design_of(alike, 4, rule=rule)):
            assert {view for _, view in found.voters} == {0}


def test_a_single_view_an_empty_sample_and_a_stacking_leave_the_design_as_it_is() -> None:
    arena = coarse_arena(5, views=1)
    design = design_of(arena, 5, weighted="by voter")
    assert refined(arena, design) == (design, design)
    nothing = Sample(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    full = coarse_arena(5)
    design = design_of(full, 5)
    assert shared_views(full, nothing, design) == own_views(full, nothing, design) == design
    stacking = Stacking(3, (0, 1, 2), ((0.0,) * 3,) * 6, (0.0,) * 3, 1.0)
    design = Design(((0, 0), (1, 0)), "soft", stacking=stacking)
    assert refined(full, design) == (design, design)


def test_weights_stay_with_their_voters_and_a_new_view_weighs_what_its_member_does() -> None:
    design = Design(((4, 0), (4, 2), (1, 0)), "hard", (3.0, 2.0, 1.0))
    found = with_views(design, {4: (1, 2), 1: (0, 1)})
    assert found.voters == ((4, 1), (4, 2), (1, 0), (1, 1))
    assert found.weights == (3.0, 2.0, 1.0, 1.0)


def test_calibrated_members_vote_calibrated() -> None:
    arena = coarse_arena(6)
    turned = (Calibration((1.0,) * 3, (0.0, 3.0, 0.0)),)
    design = replace(design_of(arena, 6, rule="soft"), calibration=dict.fromkeys(range(4), turned))
    assert try_all(arena, design) is None
    found, sample = shared_views(arena, arena.sample(), design), arena.sample()
    assert found.calibration == design.calibration
    met = try_forward(arena, sample, design)
    assert score_of(arena, sample, found) == pytest.approx(max(met.scores(sample.times)), abs=10**-DECIMALS)


def test_answers_are_kept_for_the_next_sample_but_not_for_ever() -> None:
    arena, asked = coarse_arena(7), []
    for number in [1, 2, 1, 3, 1, 2]:
        arena.lately(number, lambda number=number: asked.append(number), most=2)
    assert asked == [1, 2, 3, 2], "1 was always asked for lately, 2 was not"
