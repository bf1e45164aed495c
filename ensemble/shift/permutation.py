"""The permutation test: sides as they are and as they could be drawn, `Side`s -> AUCs of the true ones `(W,)` and the drawn ones `(R, W)`.

The draws are the null: groups of either side in the labelled ones' place, as many as there are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.parallel import parallel_map
from ensemble.shift.two_sample import Looker, Numbers, PooledRows
from ensemble.votes import Floats, Ints

Blocks = tuple[Sequence[Floats], Sequence[Floats]]
IsClear = Callable[[Numbers, Numbers], bool]
FIRST_DRAWS = 99
"""Draws after which most questions are answered: p-values of half and the like need no more."""
PHOTOS_COMPARED = 3000
"""Of both sides together; the rest of large groups, and of many groups, is left out by chance. Four times as many cost 16 times the
distances."""


@dataclass(frozen=True)
class Side:
    """Labelled photos out of fold (which no shown member learned from), or test photos.

    Attributes:
        image_ids: N different ids.
        groups: N group names; where they are unknown, the image ids.
        seen: Member -> blocks `float (N, D)` of what it sees in each photo (`blocks_of`); the same members on both sides. Each block
            counts alike, so that 81 classes do not weigh more than 64 features.
        weights: `float (N,)` above 0, e.g. `matched_weights`, so that the classes are as frequent as on the test side; 1 for `None`.
    """

    image_ids: Sequence[str]
    groups: Sequence[str]
    seen: Mapping[str, Sequence[Floats]]
    weights: Floats | None = None


@dataclass(frozen=True)
class Shown:
    """The photos of one side that are looked at: `rows` into the side, their `group_numbers`, sorted, and G group sizes."""

    rows: Ints
    group_numbers: Ints
    sizes: Ints
    weights: Numbers


def show(side: Side, rng: np.random.Generator) -> Shown:
    """Photos in an order that only ids, groups and the seed decide; of too many groups, some."""
    by_id = np.argsort(np.asarray(side.image_ids), kind="stable")
    by_id = by_id[rng.permutation(len(by_id))]
    names, group_numbers, sizes = np.unique(np.asarray(side.groups)[by_id], return_inverse=True, return_counts=True)
    taken = np.sort(rng.permutation(len(names))[: PHOTOS_COMPARED // 2])
    kept = np.isin(group_numbers, taken)
    rows, group_numbers = by_id[kept], np.searchsorted(taken, group_numbers[kept])
    order = np.argsort(group_numbers, kind="stable")
    weights = np.ones(len(by_id)) if side.weights is None else np.asarray(side.weights, dtype=np.float64)
    return Shown(rows[order], group_numbers[order], sizes[taken], weights[rows[order]])


def is_ungrouped(sides: tuple[Shown, Shown]) -> bool:
    """Whether labelled photos come in groups and each test photo alone: their groups are not known."""
    return bool(sides[0].sizes.mean() >= 1.5 and (sides[1].sizes == 1).all())


def ask(
    sides: tuple[Shown, Shown], seen: Sequence[Blocks], seed: int, n_draws: int, is_clear: IsClear = lambda true, drawn: False
) -> tuple[Numbers, Numbers]:
    """The median AUCs over the members: of the true sides, `(W,)`, and of as many drawn ones, `(n_draws, W)`; W of `TESTS`.

    Args:
        sides: The labelled and the test photos.
        seen: Each member's blocks of the labelled and of the test photos.
        seed: Of the draws; members get the same ones.
        n_draws: How many.
        is_clear: Asked after the first `FIRST_DRAWS` draws; where it is, there are no more.
    """
    lookers = [Looker(_pool(sides, blocks)) for blocks in seen]
    draw = _halves if is_ungrouped(sides) else _drawn
    first = min(FIRST_DRAWS, n_draws)
    true, drawn = draw(lookers, sides, seed, first)
    if first == n_draws or is_clear(true, drawn):
        return true, drawn
    again, more = draw(lookers, sides, seed, n_draws - first)
    return (true * first + again * (n_draws - first)) / n_draws, np.vstack([drawn, more])


def _pool(sides: tuple[Shown, Shown], blocks: Blocks) -> PooledRows:
    """One member's photos of both sides, the labelled side's groups first.

    Of large groups as many photos as fit, and never more than the largest labelled group has.
    """
    largest = int(sides[0].sizes.max())
    sizes = np.concatenate([side.sizes for side in sides])
    most = max([1, *(n for n in range(1, largest + 1) if np.minimum(sizes, n).sum() <= PHOTOS_COMPARED)])
    kept = [_position_in_group(side.group_numbers) < most for side in sides]
    group_numbers = np.concatenate([sides[0].group_numbers[kept[0]], sides[1].group_numbers[kept[1]] + len(sides[0].sizes)])
    columns = [
        np.concatenate(
            [np.asarray(array, dtype=np.float64)[side.rows[keep]] for array, side, keep in zip(pair, sides, kept, strict=True)]
        )
        for pair in zip(*blocks, strict=True)
    ]
    counts = np.bincount(group_numbers)
    weights = np.concatenate([side.weights[keep] for side, keep in zip(sides, kept, strict=True)])
    standard = np.hstack([_standardised(block) / block.shape[1] ** 0.5 for block in columns])
    return PooledRows(standard, group_numbers, weights, np.minimum(sizes, largest) / counts, sizes / counts)


def _position_in_group(group_numbers: Ints) -> Ints:
    positions: Ints = np.arange(len(group_numbers)) - np.searchsorted(group_numbers, group_numbers)
    return positions


def _standardised(columns: Numbers) -> Numbers:
    spread = columns.std(axis=0)
    standard: Numbers = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return standard


def _drawn(lookers: Sequence[Looker], sides: tuple[Shown, Shown], seed: int, n_draws: int) -> tuple[Numbers, Numbers]:
    """AUCs of the true sides `(W,)`, and of as many drawn groups in the labelled ones' place `(n_draws, W)`."""
    n, whole = len(sides[0].sizes), np.concatenate([side.sizes for side in sides])
    chances = np.ceil(whole / sides[0].sizes.max())
    everyone = np.arange(len(whole))

    def auc_of(numbered_draw: tuple[int, Ints]) -> Numbers:
        draw, labelled = numbered_draw
        rest = np.setdiff1d(everyone, labelled)
        values = [looker.tell(labelled, rest, np.random.default_rng([seed, draw])) for looker in lookers]
        return np.asarray(np.median(values, axis=0))

    rng = np.random.default_rng([seed, n_draws])
    chosen = [np.sort(rng.choice(len(whole), n, replace=False, p=chances / chances.sum())) for _ in range(n_draws)]
    aucs = np.array(parallel_map(auc_of, enumerate([everyone[:n], *chosen])))
    return aucs[0], aucs[1:]


def _halves(lookers: Sequence[Looker], sides: tuple[Shown, Shown], seed: int, n_draws: int) -> tuple[Numbers, Numbers]:
    """AUCs of test photos against halves of the labelled groups, their mean `(1,)`, and of the other halves `(n_draws, 1)`."""
    n = len(sides[0].sizes)
    test = np.arange(n, n + len(sides[1].sizes))
    rng = np.random.default_rng([seed, n_draws])
    orders = [rng.permutation(n) for _ in range(n_draws)]

    def aucs_of(order: Ints) -> tuple[np.floating, np.floating]:
        half, other = np.sort(order[: n // 2]), np.sort(order[n // 2 :])
        true, drawn = (np.median([looker.foreign(half, there) for looker in lookers]) for there in (test, other))
        return true, drawn

    aucs = np.array(parallel_map(aucs_of, orders))
    return aucs[:, :1].mean(axis=0), aucs[:, 1:]
