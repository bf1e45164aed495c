"""The search over views: the best of all sets by the votes themselves, the same for any order, and a planted better set is found."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.metrics import METRICS
from ensemble.plan.spec import Spec
from ensemble.postprocess.calibration import Calibration
from ensemble.postprocess.stacking import Stacking
from ensemble.selection.candidates import Candidates, Sample
from ensemble.selection.greedy import DECIMALS
from ensemble.views.search import MOST_VIEWS, own_views, shared_views, try_all, try_forward, with_views
from ensemble.views.sets import all_sets, sorted_sets
from tests.ensemble.views.test_votes import coarse_candidates

WEIGHTS = ["none", "by member", "by voter", "by class"]


def spec_of(candidates: Candidates, seed: int, *, rule: str = "hard", weighted: str = "none") -> Spec:
    """Some members with all views."""
    rng = np.random.default_rng(seed)
    members = rng.permutation(len(candidates.members))[: rng.integers(1, len(candidates.members) + 1)].tolist()
    voters = tuple((member, view) for member in members for view in range(len(candidates.views)))
    of_member = rng.integers(1, 4, len(candidates.members)).astype(float).tolist()
    weights: Any = {
        "none": None,
        "by member": tuple(of_member[member] for member, _ in voters),
        "by voter": tuple(rng.integers(1, 4, len(voters)).astype(float).tolist()),
        "by class": tuple(map(tuple, rng.integers(1, 4, (len(voters), candidates.n_classes)).astype(float).tolist())),
    }[weighted]
    return Spec(voters, rule, weights)


def views_in(spec: Spec, member: int) -> tuple[int, ...]:
    return tuple(view for of, view in spec.voters if of == member)


def score_of(candidates: Candidates, sample: Sample, spec: Spec) -> float:
    return round(candidates.score(candidates.vote(spec, sample.rows), sample), DECIMALS)


@given(
    st.integers(0, 10_000), st.sampled_from(["hard", "soft"]), st.sampled_from(WEIGHTS), st.sampled_from(sorted(METRICS))
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_what_is_chosen_is_the_first_of_the_best_of_all_sets(seed: int, rule: str, weighted: str, metric: str) -> None:
    candidates = coarse_candidates(seed, metric=metric)
    sample = candidates.sample(np.random.default_rng(seed).integers(0, 60, 60))
    spec = spec_of(candidates, seed, rule=rule, weighted=weighted)
    tried = try_all(candidates, spec)
    if tried is None:  # votes that do not add up: one view joins after another
        judging = METRICS[metric]
        assert (weighted, rule) == ("by class", "soft") or judging.of_times or (judging.terms and rule == "hard")
        return
    found = shared_views(candidates, sample, spec)
    scores = {views: score_of(candidates, sample, with_views(spec, dict.fromkeys(spec.members, views))) for views in all_sets(3)}
    np.testing.assert_allclose(tried.scores(tried.times(sample)), [scores[views] for views in tried.sets], atol=10**-DECIMALS)
    best = max(scores.values())
    assert views_in(found, spec.members[0]) == next(views for views in all_sets(3) if scores[views] == best)
    assert found == with_views(spec, dict.fromkeys(spec.members, views_in(found, spec.members[0])))
    own = own_views(candidates, sample, spec)
    assert own.members == spec.members
    for member in spec.members:
        only = with_views(spec, {member: (0, 1, 2)})
        alone = {views: score_of(candidates, sample, with_views(only, {member: views})) for views in all_sets(3)}
        assert views_in(own, member) == next(views for views in all_sets(3) if alone[views] == max(alone.values()))


@pytest.mark.parametrize("metric", ["macro_f1", "qwk", "log_loss", "probabilistic_f1", "roc_auc"])
@pytest.mark.parametrize("rule", ["hard", "soft", "geometric", "rank"])
def test_views_that_join_one_by_one_are_voted_on_like_any_spec(rule: str, metric: str) -> None:
    candidates = coarse_candidates(3, views=4, metric=metric)
    sample, spec = candidates.sample(), spec_of(candidates, 3, rule=rule)
    tried = try_forward(candidates, sample, spec)
    assert len(tried.sets) == 4 + 3 + 2 + 1
    assert tried.sets == sorted_sets(tried.sets)
    specs = [with_views(spec, dict.fromkeys(spec.members, views)) for views in tried.sets]
    expected = [candidates.score(candidates.vote(one, sample.rows), sample) for one in specs]
    np.testing.assert_allclose(tried.scores(sample.times), expected, atol=1e-9)


def refined(candidates: Candidates, spec: Spec) -> tuple[Spec, Spec]:
    return shared_views(candidates, candidates.sample(), spec), own_views(candidates, candidates.sample(), spec)


def test_many_views_and_other_rules_go_one_view_at_a_time_and_find_a_planted_set() -> None:
    candidates = planted(0, views=MOST_VIEWS + 2, harmful=(0, 3, 9), wrong=0.9, n=900)
    for rule in ("hard", "soft", "geometric", "rank"):
        spec = spec_of(candidates, 1, rule=rule)
        assert try_all(candidates, spec) is None
        for found in refined(candidates, spec):
            assert not {0, 3, 9} & {view for _, view in found.voters}


def planted(seed: int, *, views: int = 5, harmful: tuple[int, ...] = (2,), wrong: float = 0.6, n: int = 1500) -> Candidates:
    """Three members; harmful views are sure and wrong on a share of the photos, the others help one another."""
    rng = np.random.default_rng(seed)
    labels, group_numbers = rng.integers(0, 3, n), np.arange(n) // 5
    truth = 1.2 * np.eye(3)[labels]
    logits = truth + rng.normal(0, 0.5, (n, 3)) + rng.normal(0, 1.2, (3, views, n, 3))
    for view in harmful:
        spoiled = np.flatnonzero(rng.random(n) < wrong)
        logits[:, view, spoiled] = 6 * np.eye(3)[(labels[spoiled] + 1) % 3]
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    groups = np.array([f"g{number:04d}" for number in group_numbers])
    names = ("identity", *(f"view{number}" for number in range(1, views)))
    return Candidates(("a", "b", "c"), names, probs.astype(np.float16), labels, groups, "macro_f1")


@pytest.mark.parametrize("rule", ["hard", "soft"])
@pytest.mark.parametrize("harmful", [(2,), (0, 4)], ids=["a view", "the identity and another"])
def test_a_planted_better_set_is_found(rule: str, harmful: tuple[int, ...]) -> None:
    candidates = planted(1, harmful=harmful)
    spec = spec_of(candidates, 0, rule=rule)
    for found in refined(candidates, spec):
        assert not set(harmful) & {view for _, view in found.voters}
        assert score_of(candidates, candidates.sample(), found) > score_of(candidates, candidates.sample(), spec) + 0.005


@pytest.mark.parametrize("rule", ["hard", "soft", "rank"])
def test_the_order_of_photos_changes_no_set_and_that_of_views_none_that_is_best_alone(rule: str) -> None:
    candidates = planted(2, views=4, n=400)
    spec = spec_of(candidates, 2, rule=rule)
    order = np.random.default_rng(0).permutation(400)
    assert refined(candidates.at(order), spec) == refined(candidates, spec)
    turned = replace(candidates, views=candidates.views[::-1], probs=candidates.probs[:, ::-1], _kept={})
    soft = replace(spec, rule="soft")
    for there, here in zip(refined(turned, soft), refined(candidates, soft), strict=True):
        names = [{(member, one.views[view]) for member, view in of.voters} for one, of in ((turned, there), (candidates, here))]
        assert names[0] == names[1]


def test_views_that_are_all_the_same_leave_the_most_senior_one() -> None:
    candidates = coarse_candidates(4)
    alike = replace(candidates, probs=np.repeat(candidates.probs[:, :1], 3, axis=1), _kept={})
    for rule in ("hard", "soft", "geometric"):
        for found in refined(alike, spec_of(alike, 4, rule=rule)):
            assert {view for _, view in found.voters} == {0}


def test_a_single_view_an_empty_sample_and_a_stacking_leave_the_spec_as_it_is() -> None:
    candidates = coarse_candidates(5, views=1)
    spec = spec_of(candidates, 5, weighted="by voter")
    assert refined(candidates, spec) == (spec, spec)
    nothing = Sample(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    full = coarse_candidates(5)
    spec = spec_of(full, 5)
    assert shared_views(full, nothing, spec) == own_views(full, nothing, spec) == spec
    stacking = Stacking(3, (0, 1, 2), ((0.0,) * 3,) * 6, (0.0,) * 3, 1.0)
    spec = Spec(((0, 0), (1, 0)), "soft", stacking=stacking)
    assert refined(full, spec) == (spec, spec)


def test_weights_stay_with_their_voters_and_a_new_view_weighs_what_its_member_does() -> None:
    spec = Spec(((4, 0), (4, 2), (1, 0)), "hard", (3.0, 2.0, 1.0))
    found = with_views(spec, {4: (1, 2), 1: (0, 1)})
    assert found.voters == ((4, 1), (4, 2), (1, 0), (1, 1))
    assert found.weights == (3.0, 2.0, 1.0, 1.0)


def test_calibrated_members_vote_calibrated() -> None:
    candidates = coarse_candidates(6)
    turned = (Calibration((1.0,) * 3, (0.0, 3.0, 0.0)),)
    spec = replace(spec_of(candidates, 6, rule="soft"), calibration=dict.fromkeys(range(4), turned))
    assert try_all(candidates, spec) is None
    found, sample = shared_views(candidates, candidates.sample(), spec), candidates.sample()
    assert found.calibration == spec.calibration
    met = try_forward(candidates, sample, spec)
    assert score_of(candidates, sample, found) == pytest.approx(max(met.scores(sample.times)), abs=10**-DECIMALS)


def test_answers_are_kept_for_the_next_sample_but_not_for_ever() -> None:
    candidates, asked = coarse_candidates(7), []
    for number in [1, 2, 1, 3, 1, 2]:
        candidates.lately(number, lambda number=number: asked.append(number), most=2)
    assert asked == [1, 2, 3, 2], "1 was always asked for lately, 2 was not"
