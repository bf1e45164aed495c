"""The best subset, against asking the candidates for the vote of each one."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.metrics import METRICS
from ensemble.plan.spec import Spec
from ensemble.selection.best_subset import best_subset
from ensemble.selection.candidates import Candidates


def candidates_of(
    seed: int, *, n: int = 40, members: int = 6, views: int = 2, classes: int = 3, metric: str = "macro_f1", skill: float = 1.0
) -> Candidates:
    """Members of which some are alike; coarse probabilities, so that classes and scores are often equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, classes, n)
    logits = rng.normal(0, 1, (members, 1, n, classes)) + rng.normal(0, 0.7, (members, views, n, classes))
    logits += skill * np.eye(classes)[np.maximum(labels, 0)]
    logits[-1] = logits[0]
    powers = np.exp(2 * logits)
    probs = np.round(powers / powers.sum(axis=-1, keepdims=True), 1).astype(np.float16)
    names = tuple(f"m{number}" for number in rng.permutation(members))
    groups = np.array([f"g{number}" for number in rng.integers(0, 8, n)])
    return Candidates(names, tuple(f"v{number}" for number in range(views)), probs, labels, groups, metric)


@given(
    st.integers(0, 10_000),
    st.sampled_from(sorted(METRICS)),
    st.sets(st.integers(1, 6), min_size=1),
    st.integers(1, 3),
    st.integers(2, 4),
)
@settings(max_examples=50, deadline=None)
def test_it_is_the_one_that_asking_for_every_vote_finds(
    seed: int, metric: str, sizes: set[int], views: int, classes: int
) -> None:
    rng = np.random.default_rng(seed)
    candidates = candidates_of(seed, views=views, classes=classes, metric=metric, n=int(rng.integers(3, 60)))
    sample = candidates.sample(rng.integers(0, len(candidates.labels), 50))
    if not len(sample.rows):
        return
    ranked = candidates.ranked(sample)
    best, expected = -np.inf, Spec(())
    for k in sorted(sizes):
        for members in combinations(ranked, k):
            spec = Spec(tuple((member, view) for member in members for view in range(views)), "hard")
            score = candidates.score(candidates.vote(spec, sample.rows), sample)
            if score > best:
                best, expected = score, spec
    assert best_subset(candidates, sample, sizes=sorted(sizes), among=ranked) == expected


def test_a_planted_subset_is_found() -> None:
    """Three that err on different thirds of the photos, each worse alone than six that err on the same ones."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    wrong = (labels + 1) % 3
    says = np.tile(np.where(np.arange(600) % 10 < 2, wrong, labels), (9, 1))
    for number, member in enumerate((2, 5, 8)):
        says[member] = np.where(np.arange(600) % 3 == number, wrong, labels)
    probs = np.repeat((0.7 * np.eye(3)[says] + 0.1)[:, None], 2, axis=1).astype(np.float16)
    candidates = Candidates(tuple("abcdefghi"), ("v0", "v1"), probs, labels, np.arange(600).astype(str), "macro_f1")
    sample = candidates.sample()
    spec = best_subset(candidates, sample, sizes=range(1, 6), among=candidates.ranked(sample))
    assert set(spec.members) == {2, 5, 8}
    assert candidates.score(candidates.vote(spec, sample.rows), sample) == 1


def test_only_those_asked_about_are_chosen_among() -> None:
    candidates = candidates_of(4)
    assert set(best_subset(candidates, candidates.sample(), sizes=[2, 3], among=[3, 1, 4]).members) <= {1, 3, 4}
