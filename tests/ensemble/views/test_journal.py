"""The journal of a view search: every set is in it with what it truly scores; a view that hurts is named, one that does not is not."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from competitions.metrics import METRICS
from ensemble.plan.spec import Spec
from ensemble.scoring.paired import HURTS, UNDECIDED
from ensemble.selection.candidates import Candidates
from ensemble.selection.greedy import DECIMALS
from ensemble.views.journal import Gained, Journal, tta_journal
from ensemble.views.search import MOST_VIEWS, shared_views, try_all, try_forward, with_views
from ensemble.views.sets import all_sets
from tests.ensemble.views.test_search import planted, score_of, spec_of
from tests.ensemble.views.test_votes import coarse_candidates

Shape = Callable[[int], Candidates]


def candidates_from(probs: np.ndarray, labels: np.ndarray, group_numbers: np.ndarray, metric: str) -> Candidates:
    members, views = probs.shape[:2]
    names = ("identity", *(f"view{number}" for number in range(1, views)))
    groups = np.array([f"g{number:04d}" for number in group_numbers])
    return Candidates(tuple(f"m{k}" for k in range(members)), names, probs.astype(np.float16), labels, groups, metric)


def pure_noise(seed: int, *, metric: str = "macro_f1") -> Candidates:
    """Two members whose four views know nothing: no view is better than another."""
    rng = np.random.default_rng([seed, 1])
    group_numbers = np.repeat(np.arange(60), rng.integers(1, 8, 60))
    labels = rng.integers(0, 3, 60)[group_numbers]
    logits = rng.normal(0, 1, (2, 4, 60, 3))[:, :, group_numbers] + rng.normal(0, 1, (2, 4, len(group_numbers), 3))
    powers = np.exp(logits)
    return candidates_from(powers / powers.sum(axis=-1, keepdims=True), labels, group_numbers, metric)


def harmless(seed: int, *, share: float = 0.15, n_groups: int = 80) -> Candidates:
    """The last view overrules the others on some whole groups and some photos, and is right there as often as they are: 70 %."""
    rng = np.random.default_rng([seed, 2])
    group_numbers = np.repeat(np.arange(n_groups), rng.integers(1, 8, n_groups))
    n = len(group_numbers)
    labels = rng.integers(0, 3, n)

    def answers() -> np.ndarray:
        wrong = rng.random(n) < 0.3
        return np.where(wrong, (labels + rng.integers(1, 3, n)) % 3, labels)

    probs = np.full((1, 4, n, 3), 1 / 3)
    first = answers()
    for view in range(3):
        probs[0, view] = 0.3 + 0.1 * np.eye(3)[first]
    overrules = (rng.random(n) < share / 2) | (rng.random(n_groups) < share / 2)[group_numbers]
    probs[0, 3, overrules] = np.eye(3)[answers()[overrules]]
    return candidates_from(probs, labels, group_numbers, "accuracy")


def rarely_overruled(seed: int) -> Candidates:
    """As `harmless`, on so few photos that a bootstrap alone would believe a lucky handful."""
    return harmless(seed, share=0.03, n_groups=150)


SHAPES: dict[str, Shape] = {"pure noise": pure_noise, "harmless": harmless, "rarely overruled": rarely_overruled}


def journal_of(candidates: Candidates, spec: Spec | None = None, *, seed: int = 0, n_resamples: int = 200) -> Journal:
    spec = spec or Spec(tuple((member, 0) for member in range(len(candidates.members))), "soft")
    return tta_journal(candidates, candidates.sample(), spec, seed=seed, n_resamples=n_resamples)


def false_verdicts(shape: Shape, n_cases: int) -> tuple[float, float]:
    """The shares of cases in which a view without effect gets a verdict, and in which it is said to hurt."""
    verdicts = [journal_of(shape(seed), seed=seed, n_resamples=2).effects[-1].verdict for seed in range(n_cases)]
    return float(np.mean([v != UNDECIDED for v in verdicts])), float(np.mean([v == HURTS for v in verdicts]))


@pytest.mark.parametrize("metric", ["macro_f1", "log_loss", "roc_auc"])
@pytest.mark.parametrize("rule", ["hard", "soft", "rank"])
def test_every_row_says_what_its_set_scores_and_gains(rule: str, metric: str) -> None:
    candidates = coarse_candidates(1, views=4, metric=metric)
    spec, sample = spec_of(candidates, 2, rule=rule), candidates.sample()
    journal = journal_of(candidates, spec, n_resamples=20)
    assert journal.exhaustive == (metric != "roc_auc" and (rule == "soft" or (rule, metric) == ("hard", "macro_f1")))
    rows = {tuple(map(candidates.views.index, row.views)): row for row in journal.combinations}
    assert set(rows) <= set(all_sets(4))
    assert len(rows) == 15 or not journal.exhaustive
    for views, row in rows.items():
        asked = score_of(candidates, sample, with_views(spec, dict.fromkeys(spec.members, views)))
        assert row.score == pytest.approx(asked, abs=2 * 10**-DECIMALS)
        for found, base in ((row.over_all, (0, 1, 2, 3)), (row.over_first, (0,))):
            assert found.gain == pytest.approx(row.score - rows[base].score, abs=1e-8)
            assert found.low is not None
            assert found.high is not None
            assert found.low <= found.high
    assert rows[0, 1, 2, 3].over_all == rows[(0,)].over_first == Gained(0, 0, 0)
    scores = [round(row.score, DECIMALS) for row in journal.combinations]
    assert scores == sorted(scores, reverse=True)
    for number, effect in enumerate(journal.effects):
        without = rows[tuple(view for view in range(4) if view != number)]
        assert (effect.view, effect.without.gain) == (candidates.views[number], pytest.approx(without.over_all.gain, abs=1e-8))
    assert journal.combinations[0].views == tuple(
        candidates.views[view] for view in dict.fromkeys(view for _, view in shared_views(candidates, sample, spec).voters)
    )
    assert json.loads(json.dumps(journal.to_json()))["hurts"] == list(journal.hurts)


@pytest.mark.parametrize("cells_per_photo", [0, 60])
@pytest.mark.parametrize("metric", sorted(METRICS))
def test_resamples_score_what_the_drawn_photos_score(metric: str, cells_per_photo: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ensemble.views.sets.CELLS_PER_PHOTO", cells_per_photo)
    candidates = coarse_candidates(2, metric=metric)
    spec = Spec(((0, 0), (1, 0)), "soft")
    tried = try_all(candidates, spec) or try_forward(candidates, candidates.sample(), spec)
    rng = np.random.default_rng(0)
    group_numbers = np.unique(candidates.group_numbers[tried.rows], return_inverse=True)[1]
    times = rng.integers(0, 3, len(tried.rows))
    draws = rng.integers(0, 3, (6, group_numbers.max() + 1)).astype(np.float64)
    expected = [tried.scores(times * draw.astype(np.int64)[group_numbers]) for draw in draws]
    np.testing.assert_allclose(tried.resampled(times, group_numbers, draws), expected, atol=1e-12)


@pytest.mark.parametrize("rule", ["hard", "soft", "geometric"])
def test_a_planted_harmful_view_is_named_and_no_other(rule: str) -> None:
    candidates = planted(3)
    journal = journal_of(candidates, spec_of(candidates, 0, rule=rule))
    assert journal.hurts == ("view2",)
    assert "view2" not in journal.combinations[0].views
    best = journal.combinations[0].over_all
    assert best.low is not None
    assert best.low > 0


def test_a_view_that_is_noise_on_a_few_photos_is_named_in_most_cases() -> None:
    def spoiled(seed: int) -> Candidates:
        candidates = harmless(seed, share=0.0)
        rng = np.random.default_rng(seed)
        probs, noise = candidates.probs.copy(), rng.random(len(candidates.labels)) < 0.15
        probs[0, 2, noise] = np.eye(3)[rng.integers(0, 3, noise.sum())]
        return replace(candidates, probs=probs, _kept={})

    named = [journal_of(spoiled(seed), n_resamples=2).hurts for seed in range(20)]
    assert sum("view2" in hurts for hurts in named) >= 16
    assert sum(len(set(hurts) - {"view2"}) for hurts in named) <= 2


def test_four_lucky_groups_are_no_proof() -> None:
    candidates = harmless(0, share=0.0)
    probs = candidates.probs.copy()
    wrong = np.flatnonzero(candidates.named[0, 0] == candidates.labels)
    firsts = [int(wrong[candidates.group_numbers[wrong] == group][0]) for group in range(4)]
    probs[0, 3, firsts] = np.eye(3)[(candidates.labels[firsts] + 1) % 3]
    effect = journal_of(replace(candidates, probs=probs, _kept={})).effects[3]
    assert effect.without.gain > 0
    assert effect.verdict == UNDECIDED


def test_many_views_are_tried_one_at_a_time_and_each_still_gets_its_verdict() -> None:
    candidates = planted(0, views=MOST_VIEWS + 1, harmful=(4,), n=400, wrong=0.9)
    journal = journal_of(candidates, spec_of(candidates, 0, rule="soft"), n_resamples=20)
    assert not journal.exhaustive
    assert len(journal.effects) == 13
    assert journal.hurts == ("view4",)


def test_of_very_many_sets_only_the_best_get_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = planted(0, views=4, n=200)
    whole = journal_of(candidates, n_resamples=20)
    monkeypatch.setattr("ensemble.views.journal.MOST_DRAWN", 3)
    few = journal_of(candidates, n_resamples=20)
    drawn = [row for row in few.combinations if row.over_all.low is not None]
    assert {row.views for row in drawn} == {
        candidates.views,
        candidates.views[:1],
        *(row.views for row in whole.combinations[:3]),
    }
    assert [row for row in whole.combinations if row in drawn] == drawn


def test_the_order_of_photos_changes_no_figure() -> None:
    candidates = harmless(1)
    order = np.random.default_rng(0).permutation(len(candidates.labels))
    assert journal_of(candidates.at(order), n_resamples=20) == journal_of(candidates, n_resamples=20)


def test_a_single_view_has_no_effect() -> None:
    candidates = harmless(2)
    alone = replace(candidates, views=candidates.views[:1], probs=candidates.probs[:, :1], _kept={})
    journal = journal_of(alone, n_resamples=5)
    assert (len(journal.combinations), journal.effects, journal.hurts) == (1, (), ())


@pytest.mark.parametrize("name", SHAPES)
def test_a_view_that_does_nothing_seldom_gets_a_verdict(name: str) -> None:
    assert false_verdicts(SHAPES[name], 20)[0] <= 0.25, "nominally 5 %; the long test counts 1,000 cases"


@pytest.mark.long
@pytest.mark.parametrize("name", SHAPES)
def test_of_1000_views_that_do_nothing_at_most_75_get_a_verdict(name: str) -> None:
    assert false_verdicts(SHAPES[name], 1000)[0] <= 0.075
