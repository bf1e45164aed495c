"""The honest score: chance on noise, order of photos without effect, and never above what was seen."""

from collections.abc import Sequence

import numpy as np
import pytest

from competitions.labels import Composition, compose
from competitions.metrics import METRICS
from ensemble.label.cascade import Subtask
from ensemble.label.decode import LabelDecoder, decode_votes
from ensemble.scoring.honest import choose_together, honest_score, optimistic_score
from ensemble.selection.candidates import Candidates
from ensemble.selection.selector import Selector
from ensemble.votes import RULES, Choose, Floats, Ints, Vote
from system.errors import UserError

TABLE = Composition(("mask", "age"), (("yes", "no"), ("young", "middle", "old")))
NAMES = [f"t{i:02}" for i in range(20)]
METRIC_NAMES = ("macro_f1", "accuracy", "balanced_accuracy", "log_loss")


def noise(seed: int, n_classes: int = 3, n_groups: int = 60, n_members: int = 20) -> tuple[Floats, Ints, np.ndarray]:
    """Members that know nothing: probs (M, N, C), labels (N,), groups (N,) of five photos with one label each."""
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"g{i}" for i in range(n_groups)], 5)
    labels = np.repeat(rng.integers(0, n_classes, n_groups), 5)
    return rng.dirichlet(np.ones(n_classes), (n_members, len(labels))).astype(np.float16), labels, groups


def chooser(
    probs: Floats, labels: Ints, *, sizes: Sequence[int] = (3,), metric: str = "accuracy", rule: str = "hard"
) -> Selector:
    """The best three by accuracy unless told otherwise."""
    groups = np.array([str(photo) for photo in range(len(labels))])
    return Selector(Candidates(tuple(NAMES[: len(probs)]), ("identity",), probs[:, None], labels, groups, metric), rule, sizes)


def test_on_noise_the_interval_is_about_chance_and_the_optimistic_score_is_not() -> None:
    cases, optimistic, missed = [], [], 0
    for seed in range(40):
        probs, labels, groups = noise(seed)
        choose = chooser(probs, labels)
        honest = honest_score(choose, labels, groups, metric="accuracy", seed=seed, n_resamples=60)
        cases.append(honest.mean)
        optimistic.append(optimistic_score(choose, labels, metric="accuracy"))
        missed += not honest.low <= 1 / 3 <= honest.high
    assert abs(np.mean(cases) - 1 / 3) < 0.012
    assert missed <= 5, "nominally 10 % of 40"
    assert np.mean(optimistic) > 1 / 3 + 0.03


def test_the_choice_is_made_again_on_in_bag_groups_only() -> None:
    _, labels, groups = noise(0)
    seen: list[tuple[Ints, Ints]] = []

    def choose(rows: Ints):  # type: ignore[no-untyped-def]
        def decide(others: Ints) -> Vote:
            seen.append((rows, others))
            return Vote(labels[others], np.eye(3)[labels[others]])

        return decide

    honest = honest_score(choose, labels, groups, metric="macro_f1", seed=3, n_resamples=25)
    assert (honest.mean, honest.low, honest.high, honest.n_resamples) == (1, 1, 1, 25)
    assert len(seen) == 25
    for rows, others in seen:
        assert not set(groups[rows]) & set(groups[others])
        assert set(groups[rows]) | set(groups[others]) == set(groups)
        assert len(rows) == len(labels), "as many photos as there are, groups being of one size"


@pytest.mark.parametrize("metric", METRIC_NAMES)
@pytest.mark.parametrize("rule", sorted(RULES))
def test_shuffling_images_changes_nothing(metric: str, rule: str) -> None:
    probs, labels, groups = noise(1)
    order = np.random.default_rng(0).permutation(len(labels))
    options = {"metric": metric, "rule": rule}
    one = honest_score(chooser(probs, labels, **options), labels, groups, metric=metric, seed=5, n_resamples=20)
    two = honest_score(
        chooser(probs[:, order], labels[order], **options), labels[order], groups[order], metric=metric, seed=5, n_resamples=20
    )
    np.testing.assert_allclose([one.mean, one.low, one.high], [two.mean, two.low, two.high], rtol=1e-12)


def test_the_member_that_knows_is_found() -> None:
    probs, labels, groups = noise(2)
    probs[7] = np.eye(3)[labels]
    choose = chooser(probs, labels, sizes=[1], metric="macro_f1")
    honest = honest_score(choose, labels, groups, metric="macro_f1", seed=0, n_resamples=20)
    assert honest.mean == honest.low == honest.high == 1


def test_the_composed_label_chooses_every_task_again() -> None:
    (mask_probs, mask, groups), (age_probs, age, _) = noise(3, 2), noise(4, 3)
    mask_probs[2], age_probs[5] = np.eye(2)[mask], np.eye(3)[age]
    choices = {Subtask("mask"): chooser(mask_probs, mask, sizes=[1]), Subtask("age"): chooser(age_probs, age, sizes=[1])}
    named = dict(zip(TABLE.tasks, TABLE.classes, strict=True))

    def answer(subtasks: list[Subtask], votes: list[Vote]) -> Vote:
        return decode_votes(LabelDecoder("tasks"), TABLE, subtasks, votes, named)["label"]

    label = compose(TABLE, {"mask": mask, "age": age})
    choose = choose_together(choices, answer)
    assert honest_score(choose, label, groups, metric="macro_f1", seed=0, n_resamples=20).mean == 1
    assert optimistic_score(choose, label, metric="log_loss") == pytest.approx(0)
    weaker = choose_together(choices | {Subtask("age"): chooser(age_probs[:4], age)}, answer)
    assert honest_score(weaker, label, groups, metric="macro_f1", seed=0, n_resamples=20).mean < 0.6


@pytest.mark.parametrize("metric", ["macro_f1", "log_loss"])
def test_photos_without_a_label_take_no_part(metric: str) -> None:
    probs, labels, groups = noise(5)
    gone = groups == "g3"
    unlabelled = np.where(gone, -1, labels)
    one = honest_score(chooser(probs, unlabelled, metric=metric), unlabelled, groups, metric=metric, seed=1, n_resamples=20)
    probs, labels, groups = probs[:, ~gone], labels[~gone], groups[~gone]
    two = honest_score(chooser(probs, labels, metric=metric), labels, groups, metric=metric, seed=1, n_resamples=20)
    np.testing.assert_allclose([one.mean, one.low, one.high], [two.mean, two.low, two.high])


def test_resamples_without_a_left_out_group_are_not_counted() -> None:
    probs, labels, groups = noise(6, n_groups=2)
    honest = honest_score(chooser(probs, labels), labels, groups, metric="accuracy", seed=0, n_resamples=40)
    assert 5 < honest.n_resamples < 35


def test_the_same_seed_is_the_same_score() -> None:
    probs, labels, groups = noise(7)
    choose = chooser(probs, labels)
    one, two, other = (honest_score(choose, labels, groups, metric="accuracy", seed=s, n_resamples=20) for s in (1, 1, 2))
    assert one == two != other


def test_what_cannot_be_scored_is_refused() -> None:
    probs, labels, groups = noise(8)
    choose = chooser(probs, labels)
    with pytest.raises(UserError, match="no labelled photo counts"):
        honest_score(choose, labels, groups, metric="accuracy", seed=0, class_weights=(0, 0, 0))


PRIOR = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
SKILL = np.linspace(2.5, -0.5, 6)
"""Of each class the log-odds of being right: rare ones are hard."""


def fallible(seed: int, *, n_groups: int, per: int, n_voters: int) -> tuple[Ints, Ints, np.ndarray]:
    """Labels `(N,)`, what voters say `(M, N)` and groups `(N,)`: groups of one class each, some harder than others."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.choice(6, n_groups, p=PRIOR), per)
    hard = np.repeat(rng.normal(0, 1.5, n_groups), per) + np.repeat(rng.normal(0, 0.75, (n_voters, n_groups)), per, axis=1)
    right = rng.random(hard.shape) < 1 / (1 + np.exp(-(SKILL[labels] + hard)))
    said = np.where(right, labels, (labels + rng.integers(1, 6, hard.shape)) % 6)
    return labels, said, np.repeat([f"g{number:05}" for number in range(n_groups)], per)


def truth_of(metric: str) -> float:
    labels, said, _ = fallible(999, n_groups=40_000, per=2, n_voters=1)
    return METRICS[metric](np.eye(6)[said[0]], labels)


def check_honesty(n: int, metric: str, n_groups: int, n_voters: int, *, missed_at_most: float, off_at_most: float) -> None:
    truth, missed, off = truth_of(metric), 0, []
    for seed in range(n):
        labels, said, groups = fallible(seed, n_groups=n_groups, per=7, n_voters=n_voters)
        choose = chooser(np.eye(6, dtype=np.float16)[said], labels, sizes=[1], metric=metric)
        honest = honest_score(choose, labels, groups, metric=metric, seed=seed, n_resamples=50)
        missed += not honest.low <= truth <= honest.high
        off.append(honest.mean - truth)
    assert missed <= missed_at_most * n, f"{missed} of {n} intervals missed {truth:.3f}"
    assert abs(np.mean(off)) <= off_at_most, f"{np.mean(off):+.3f} from the truth"


@pytest.mark.parametrize(("metric", "n_groups"), [("macro_f1", 24), ("macro_f1", 80), ("accuracy", 24)])
def test_few_groups_do_not_make_a_score_too_good(metric: str, n_groups: int) -> None:
    """Scored by itself, each third of 24 groups lacks classes: its mean macro-F1 is 0.10 above the truth."""
    check_honesty(60, metric, n_groups, 1, missed_at_most=0.16, off_at_most=0.05)


@pytest.mark.long
@pytest.mark.parametrize("n_voters", [1, 10])
@pytest.mark.parametrize(
    ("metric", "n_groups"), [("macro_f1", 24), ("macro_f1", 80), ("accuracy", 24), ("balanced_accuracy", 40)]
)
def test_intervals_hold_what_they_promise(metric: str, n_groups: int, n_voters: int) -> None:
    check_honesty(1000, metric, n_groups, n_voters, missed_at_most=0.13, off_at_most=0.05)


@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_class_weights_are_photos_that_stand_more_often(metric: str) -> None:
    """Every photo of a class three times is that class with weight 3."""
    probs, labels, groups = noise(9)
    often = np.repeat(np.arange(len(labels)), np.where(labels == 1, 3, 1))
    whole = Vote(probs[0].argmax(axis=1), probs[0].astype(np.float64))
    fixed = honest_score(as_said(whole, np.arange(len(labels))), labels, groups, metric=metric, seed=0, class_weights=(1, 3, 1))
    repeated = honest_score(as_said(whole, often), labels[often], groups[often], metric=metric, seed=0)
    np.testing.assert_allclose([fixed.mean, fixed.low, fixed.high], [repeated.mean, repeated.low, repeated.high], atol=1e-4)
    other = honest_score(as_said(whole, np.arange(len(labels))), labels, groups, metric=metric, seed=0)
    assert abs(other.mean - fixed.mean) > 1e-4 or metric == "balanced_accuracy"


def as_said(vote: Vote, rows: Ints) -> Choose:
    """Photo n of a choice is photo `rows[n]` of this vote, whoever chooses."""
    return lambda _: lambda others: Vote(vote.labels[rows[others]], vote.shares[rows[others]])
