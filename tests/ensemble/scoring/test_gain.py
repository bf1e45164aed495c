"""Kept only if it wins: simulations with known truth. Pools of noise keep nothing beyond what chance is allowed; what helps is kept."""

import numpy as np
import pytest

from ensemble.plan.spec import Spec
from ensemble.scoring.gain import Gain, Judge, Step, keep_what_wins
from ensemble.scoring.honest import Choose, Decide
from ensemble.selection.candidates import Candidates
from ensemble.selection.selector import Selector
from ensemble.votes import Ints

N_MEMBERS, N_GROUPS, PER_GROUP = 11, 40, 5
BEST, ELEVEN = "best of eleven", "all eleven"


def noise(seed: int, *, skill: float = 0.0, n_classes: int = 3, metric: str = "accuracy") -> Candidates:
    """Eleven members with no or equal knowledge of photos that come in groups of five, a label and a part of the error for each group."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, n_classes, N_GROUPS), PER_GROUP)
    logits = rng.normal(0, 1, (N_MEMBERS, N_GROUPS, n_classes)).repeat(PER_GROUP, axis=1)
    logits += rng.normal(0, 1, logits.shape) + skill * np.eye(n_classes)[labels]
    powers = np.exp(logits)
    probs = (powers / powers.sum(axis=2, keepdims=True)).astype(np.float16)
    groups = np.repeat([f"g{number:02}" for number in range(N_GROUPS)], PER_GROUP)
    return Candidates(
        tuple(f"m{number:02}" for number in range(N_MEMBERS)), ("identity",), probs[:, None], labels, groups, metric
    )


def fixed(candidates: Candidates, member: int) -> Choose:
    """One member whatever the photos say."""

    def choose(rows: Ints) -> Decide:
        return lambda others: candidates.vote(Spec(((member, 0),), "soft"), others)

    return choose


def judge_of(candidates: Candidates, seed: int) -> Judge:
    return Judge(candidates.labels, candidates.groups, metric=candidates.metric, seed=seed, n_resamples=40)


def useless(seed: int, **options: object) -> tuple[Gain, ...]:
    """Accounts of a step to the best of eleven equal members, from the first of them, in which there is nothing to win."""
    candidates = noise(seed, **options)  # type: ignore[arg-type]
    step = Step[Choose](BEST, lambda _: Selector(candidates, "single", (1,)))
    return keep_what_wins(fixed(candidates, 0), [step], judge_of(candidates, seed))[1]


def check_promise(n: int, metric: str, skill: float, kept_at_most: float, covered_at_least: float) -> None:
    gains = [useless(seed, metric=metric, skill=skill)[0] for seed in range(n)]
    kept = np.mean([gain.kept for gain in gains])
    covered = np.mean([gain.low <= 0 <= gain.high for gain in gains])
    assert kept <= kept_at_most, f"a useless step was kept in {kept:.1%} of {n}"
    assert covered >= covered_at_least, f"the interval held the true gain in {covered:.1%} of {n}"


def test_a_useless_step_is_seldom_kept_and_its_interval_holds_nothing() -> None:
    check_promise(100, "accuracy", 0.0, kept_at_most=0.12, covered_at_least=0.82)


@pytest.mark.long
@pytest.mark.parametrize("skill", [0.0, 1.0])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss"])
def test_in_a_thousand_pools_a_useless_step_is_seldom_kept_and_intervals_cover(metric: str, skill: float) -> None:
    check_promise(1000, metric, skill, kept_at_most=0.075, covered_at_least=0.87)


def test_a_planted_step_is_kept_and_what_comes_after_it_builds_on_it() -> None:
    kept, later = 0, 0
    for seed in range(15):
        candidates = noise(seed, skill=1.2)
        steps = [
            Step[Choose](ELEVEN, lambda _, candidates=candidates: Selector(candidates, "hard", (N_MEMBERS,))),  # type: ignore[misc]
            Step[Choose]("the same", lambda choice: choice),
        ]
        chosen, (first, second) = keep_what_wins(fixed(candidates, 0), steps, judge_of(candidates, seed))
        assert second.before == second.after == (first.after if first.kept else first.before)
        kept += first.kept
        later += second.kept
        assert isinstance(chosen, Selector) is first.kept
    assert kept >= 12
    assert later == 0


def test_what_wins_in_resamples_and_loses_on_all_photos_is_not_kept() -> None:
    """The choice before takes the right member only where all groups are drawn together, as on all photos; the step a safe one always."""
    candidates = noise(1, skill=1.2)
    right = np.append(candidates.probs[:, 0], np.eye(3, dtype=np.float16)[None, candidates.labels], axis=0)[:, None]
    wide = Candidates((*candidates.members, "right"), candidates.views, right, candidates.labels, candidates.groups, "accuracy")

    def before(rows: Ints) -> Decide:
        member = N_MEMBERS if len(np.unique(rows)) == len(wide.labels) else 0
        return lambda others: wide.vote(Spec(((member, 0),), "soft"), others)

    safe = Step[Choose](ELEVEN, lambda _: Selector(candidates, "hard", (N_MEMBERS,)))
    chosen, (account,) = keep_what_wins(before, [safe], judge_of(wide, 1))
    assert account.low > 0
    assert account.apparent is not None
    assert account.apparent < 0
    assert not account.kept
    assert chosen is before


def test_the_more_are_compared_the_more_it_takes_to_be_kept() -> None:
    candidates = noise(3, skill=1.2)
    judge = judge_of(candidates, 3)
    before, after = (judge.group_results(choose) for choose in (fixed(candidates, 0), Selector(candidates, "hard", (N_MEMBERS,))))
    alone, of_many = judge.compare("x", before, after), judge.compare("x", before, after, n_compared=10**9)
    assert (alone.low, alone.high) == (of_many.low, of_many.high)
    assert alone.kept
    assert not of_many.kept


def test_class_weights_judge_by_other_class_shares() -> None:
    """A member that is right on class 0 alone, against one that is right on the others, where nearly all photos are of class 0."""
    candidates = noise(0, n_classes=3)
    says = np.stack(
        [np.where(candidates.labels == 0, 0, (candidates.labels + 1) % 3), np.where(candidates.labels == 0, 1, candidates.labels)]
    )
    probs = (0.7 * np.eye(3)[says] + 0.1).astype(np.float16)
    two = Candidates(("a", "b"), ("identity",), probs[:, None], candidates.labels, candidates.groups, "accuracy")
    plain = Judge(two.labels, two.groups, metric="accuracy", seed=0)
    shifted = Judge(two.labels, two.groups, metric="accuracy", seed=0, class_weights=(9.0, 0.1, 0.1))
    gains = [judge.compare("b", *(judge.group_results(fixed(two, member)) for member in (0, 1))) for judge in (plain, shifted)]
    assert gains[0].gain > 0 > gains[1].gain
