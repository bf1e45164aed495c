"""Greedy selection: the plain loop of the paper gives the same order, and what must not matter does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competitions.metrics import METRICS
from ensemble.selection.greedy import DECIMALS, Library, Selection, select
from ensemble.votes import Floats, Ints
from system.errors import UserError

pools = st.tuples(
    st.integers(0, 10_000), st.integers(1, 7), st.integers(2, 60), st.integers(2, 5), st.sampled_from(sorted(METRICS))
)


def pool(seed: int, n_members: int, n_photos: int, n_classes: int) -> tuple[Floats, Ints]:
    """Members that know something, coarse enough that sums and scores are often equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_photos)
    raw = rng.integers(1, 6, (n_members, n_photos, n_classes)).astype(np.float64)
    raw[:, np.arange(n_photos), labels] += rng.integers(0, 4, (n_members, 1))
    return (raw / raw.sum(axis=2, keepdims=True)).astype(np.float16), labels


def plain(probs: Floats, labels: Ints, metric: str, rounds: int) -> list[int]:
    """Caruana's loop as it is written down, on float64 sums, which are exact here."""
    total, order, scores = np.zeros(probs.shape[1:]), [], []
    for _ in range(rounds):
        found = [METRICS[metric].of(total + rows.astype(np.float64), labels) for rows in probs]
        found = [round(score, DECIMALS) if np.isfinite(score) else -np.inf for score in found]
        ties = [member for member, score in enumerate(found) if score == max(found)]
        order.append(next((member for member in ties if member in order), ties[0]))
        scores.append(max(found))
        total += probs[order[-1]].astype(np.float64)
    return order[: scores.index(max(scores)) + 1]


@given(pools)
def test_the_order_is_that_of_the_plain_loop(case: tuple[int, int, int, int, str]) -> None:
    *shape, metric = case
    probs, labels = pool(*shape)
    assert list(select(Library.of(probs, labels), metric=metric, rounds=12).order) == plain(probs, labels, metric, 12)


@given(pools)
def test_the_order_of_photos_changes_nothing_and_repeats_count(case: tuple[int, int, int, int, str]) -> None:
    seed, *shape, metric = case
    probs, labels = pool(seed, *shape)
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 3, len(labels))
    times[0] = 1
    drawn = rng.permutation(np.repeat(np.arange(len(labels)), times))
    by_times = select(Library.of(probs, labels), metric=metric, rounds=8, times=times)
    assert select(Library.of(probs[:, drawn], labels[drawn]), metric=metric, rounds=8).order == by_times.order


def test_a_planted_complement_joins_the_best_member() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 900)
    truth = np.eye(3)[labels]
    unsure = np.full((900, 3), 1 / 3)
    halves = [np.where(np.arange(900)[:, None] % 2 == side, truth, unsure) for side in (0, 1)]
    noise = list(rng.dirichlet(np.ones(3), (5, 900)))
    chosen = select(Library.of(np.stack([*noise, *halves]), labels), metric="accuracy")
    assert set(chosen.order) == {5, 6}
    assert chosen.scores[-1] == 1


def test_one_member_at_any_size_is_that_member() -> None:
    probs, labels = pool(1, 1, 40, 3)
    assert select(Library.of(probs, labels), metric="macro_f1", rounds=20).order == (0,)


def test_only_those_named_may_join() -> None:
    probs, labels = pool(2, 6, 200, 3)
    assert set(select(Library.of(probs, labels), metric="accuracy", among=[4, 1]).order) <= {1, 4}


def test_weights_count_how_often_a_member_joined() -> None:
    assert Selection((2, 0, 2), (0.1, 0.2, 0.3)).weights == {2: 2, 0: 1}


def test_what_cannot_be_selected_from_is_refused() -> None:
    _, labels = pool(3, 2, 10, 3)
    with pytest.raises(UserError, match="diverged trial cannot vote"):
        Library.of(np.full((2, 10, 3), np.nan), labels)
