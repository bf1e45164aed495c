"""Does it help? Finished trials of one target -> for every setting and level what it did to the score, with interval and verdict.

Like is compared with like: a linear model has a column for each pair of fold and seed, and one for each level of every setting that
differs, so a level is judged within its fold and seed and beside the others' levels. Where one thing was changed at a time this is the mean
difference of pairs, with the noise of seeds pooled over all changes. Numbers in, numbers out; nothing here knows a ledger.

Verdicts control false discoveries over all effects of a target (Benjamini & Hochberg 1995): of those called helps or hurts, 5 % at most are
expected to be neither. `python -m benchmarks.effects` measures that on planted effects.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

EFFECT_HELPS, EFFECT_HURTS, EFFECT_UNDECIDED = "helps", "hurts", "undecided"
FALSE_DISCOVERIES = 0.05
COVERAGE = 0.9
MOST_LEVELS = 4
"""A number with more values than this is cut into bands."""
THIRDS_FROM = 40
"""From so many trials on, bands are thirds; before, halves."""
LEAST_DOF = 3
LEAST_OF_A_LEVEL = 2
LEAST_INTEREST = 0.005
"""An effect under this is not worth more trials than it would take to see it."""
MOST_PAIRS_ASKED = 99

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Effect:
    """What one level of a setting did to the score, against the setting's reference level; greater is better.

    Attributes:
        setting: Its name.
        level: A value, or a band of numbers, in words.
        reference: The level it is compared with: the most frequent one, or the middle or lower band.
        trials: How many have this level.
        pairs: How many pairs of trials differ in this setting alone, within fold and seed.
        effect: The difference; `None` where the trials cannot tell it from others.
        low: Lower end of the 90 % interval.
        high: Upper end.
        p: Of no effect, two-sided (Student's t).
        verdict: `EFFECT_HELPS`, `EFFECT_HURTS` or `EFFECT_UNDECIDED`.
        why: Why there is no number, in words; `""` where there is one.
        needs: About how many pairs more would settle it; `None` where it is settled or nothing is known of the noise.
    """

    setting: str
    level: str
    reference: str
    trials: int
    pairs: int
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    verdict: str = EFFECT_UNDECIDED
    why: str = ""
    needs: int | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Column:
    """A column of the model: which trials have the level. `defined` are those that have the setting at all."""

    setting: str
    level: str
    reference: str
    has: Bools
    refers: Bools


@dataclass(frozen=True)
class _Fit:
    """Estimate and standard error per column, NaN where the others tell it already.

    Attributes:
        sigma: Standard deviation of one trial.
        n_members: Of configurations, where they are too few for a model of their means; then only pairs that differ in one setting alone
            say something about it. Else `None`.
    """

    effects: Floats
    errors: Floats
    dof: int
    sigma: float
    n_members: int | None = None


def effects(
    scores: Sequence[float], blocks: Sequence[Hashable], members: Sequence[Hashable], settings: Mapping[str, Sequence[Any]]
) -> list[Effect]:
    """The effects of all settings that differ among N trials.

    Args:
        scores: N scores.
        blocks: N fold-and-seed pairs.
        members: N names of configurations. Where one was trained several times its trials are no independent witnesses, so the
            error is taken from means of members where that is possible and greater.
        settings: Name -> N values, `None` for a trial that has no such setting.

    Returns:
        Those with a verdict first, the surest first; then by setting and level.
    """
    y = np.asarray(scores, dtype=np.float64)
    columns = [column for name, values in settings.items() for column in _columns(name, values)]
    if not columns:
        return []
    alone = _alone(settings)
    same_block = np.equal.outer(_codes(blocks), _codes(blocks))
    judged = [n for n, column in enumerate(columns) if column.has.sum() >= LEAST_OF_A_LEVEL]
    kept = [columns[n] for n in judged]
    fit = _fitted(y, blocks, members, kept)
    found = []
    for n, column in enumerate(columns):
        pairs = int((same_block & alone[column.setting] & np.logical_and.outer(column.has, column.refers)).sum())
        plain = Effect(column.setting, column.level, column.reference, int(column.has.sum()), pairs)
        if n not in judged:
            found.append(_unknown(plain, f"{plain.trials} trial has it"))
        elif fit is None:
            found.append(_unknown(plain, f"{len(y)} trials are too few for {len(kept)} levels"))
        else:
            at = judged.index(n)
            found.append(_told(plain, fit, at, kept))
    return sorted(
        _decided(found),
        key=lambda one: (one.verdict == EFFECT_UNDECIDED, one.p if one.p is not None else 2.0, one.setting, one.level),
    )


def level_names(values: Sequence[Any], n_trials: int) -> list[str | None]:
    """The level of each value: itself in words, or a band where a number has many values; `None` stays `None`.

    >>> level_names([0.1, 0.2, 0.3, 0.4, 0.5, None], 6)
    ['0.1 to 0.3', '0.1 to 0.3', '0.1 to 0.3', '0.4 to 0.5', '0.4 to 0.5', None]
    """
    there = sorted({value for value in values if value is not None}, key=lambda value: (isinstance(value, str), value))
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in there)
    if not numbers or len(there) <= MOST_LEVELS:
        return [None if value is None else _word(value) for value in values]
    bands = np.array_split(np.array(there, dtype=np.float64), 3 if n_trials >= THIRDS_FROM else 2)
    names = {float(value): f"{_word(float(band[0]))} to {_word(float(band[-1]))}" for band in bands for value in band}
    return [None if value is None else names[float(value)] for value in values]


def _columns(name: str, values: Sequence[Any]) -> list[_Column]:
    levels = level_names(values, len(values))
    counts = Counter(level for level in levels if level is not None)
    if len(counts) < 2:
        return []
    raw = {level: value for level, value in zip(levels, values, strict=True) if level is not None}
    order = sorted(
        counts,
        key=lambda level: (isinstance(raw[level], str), raw[level] if not isinstance(raw[level], bool) else int(raw[level])),
    )
    banded = any(" to " in level and level != _word(raw[level]) for level in order)
    reference = order[(len(order) - 1) // 2] if banded else max(order, key=lambda level: counts[level])
    at = np.array([order.index(level) if level is not None else -1 for level in levels])
    refers = at == order.index(reference)
    return [_Column(name, level, reference, at == n, refers) for n, level in enumerate(order) if level != reference]


def _fitted(y: Floats, blocks: Sequence[Hashable], members: Sequence[Hashable], columns: Sequence[_Column]) -> _Fit | None:
    """The model of all trials; with errors of the model of members' means where these can be had and are greater."""
    if not columns:
        return None
    levels = np.stack([column.has for column in columns], axis=1).astype(np.float64)
    whole = _least_squares(y, _indicators(blocks), levels)
    if whole is None or len(set(members)) == len(y):
        return whole
    inside = _indicators(blocks)
    centred = y - inside @ (inside.T @ y / inside.sum(axis=0))
    of_member = _indicators(members)
    n = of_member.sum(axis=0)
    means = _least_squares(of_member.T @ centred / n, np.ones((len(n), 1)), of_member.T @ levels / n[:, None])
    if means is None:
        return replace(whole, n_members=len(n))
    errors = np.where(means.errors > whole.errors, means.errors, whole.errors)
    return _Fit(whole.effects, errors, min(whole.dof, means.dof), whole.sigma)


def _least_squares(y: Floats, blocks: Floats, levels: Floats) -> _Fit | None:
    """Ordinary least squares; `None` with fewer than `LEAST_DOF` degrees of freedom left."""
    design = np.hstack([blocks, levels])
    rank = int(np.linalg.matrix_rank(design))
    dof = len(y) - rank
    if dof < LEAST_DOF:
        return None
    solution, *_ = np.linalg.lstsq(design, y, rcond=None)
    sigma = sqrt(float(np.square(y - design @ solution).sum()) / dof)
    inverse = np.linalg.pinv(design.T @ design)
    own = slice(blocks.shape[1], None)
    # A coefficient can be told where its direction lies in the row space of the design.
    projected = np.diag(inverse @ (design.T @ design))[own]
    known = np.abs(projected - 1) < 1e-6
    errors = sigma * np.sqrt(np.maximum(np.diag(inverse)[own], 0))
    return _Fit(np.where(known, solution[own], np.nan), np.where(known, errors, np.nan), dof, sigma)


def _told(plain: Effect, fit: _Fit, at: int, columns: Sequence[_Column]) -> Effect:
    from scipy import stats

    if fit.n_members is not None and not plain.pairs:
        return _unknown(plain, f"{fit.n_members} configurations are too few for {len(columns)} levels")
    effect, error = float(fit.effects[at]), float(fit.errors[at])
    if not np.isfinite(effect):
        others = [column.setting for n, column in enumerate(columns) if n != at and _together(column.has, columns[at].has)]
        with_it = ", ".join(dict.fromkeys(name for name in others if name != plain.setting)) or "others"
        return _unknown(plain, f"it always changed together with {with_it}")
    p = float(2 * stats.t.sf(abs(effect) / error, fit.dof)) if error > 0 else float(effect == 0)
    wide = float(stats.t.ppf(0.5 + COVERAGE / 2, fit.dof)) * error
    size = max(abs(effect), LEAST_INTEREST)
    needs = min(MOST_PAIRS_ASKED, max(1, ceil(2 * (2.8 * fit.sigma / size) ** 2)))  # 80 % power at 5 %
    return replace(plain, effect=effect, low=effect - wide, high=effect + wide, p=p, needs=needs)


def _together(one: Bools, other: Bools) -> bool:
    """Whether two levels move together in nearly all trials, in either direction."""
    return (
        bool(abs(np.corrcoef(one, other)[0, 1]) > 0.9) if one.any() and other.any() and not (one.all() or other.all()) else False
    )


def _decided(found: Sequence[Effect]) -> list[Effect]:
    """Verdicts at a false discovery rate of `FALSE_DISCOVERIES` (Benjamini & Hochberg 1995)."""
    ordered = sorted(one.p for one in found if one.p is not None)
    passed = [p for rank, p in enumerate(ordered, start=1) if p <= FALSE_DISCOVERIES * rank / len(ordered)]
    most = max(passed, default=-1.0)
    verdicts = {True: EFFECT_HELPS, False: EFFECT_HURTS}
    return [
        replace(one, verdict=verdicts[one.effect > 0], needs=None)
        if one.p is not None and one.effect is not None and one.p <= most
        else one
        for one in found
    ]


def _unknown(plain: Effect, why: str) -> Effect:
    return replace(plain, why=why)


def _alone(settings: Mapping[str, Sequence[Any]]) -> dict[str, Bools]:
    """Setting -> `(N, N)`: whether two trials differ in it and in no other that both have."""
    differ, has = {}, {}
    for name, values in settings.items():
        codes = _codes(values)
        has[name] = np.array([value is not None for value in values])
        differ[name] = np.not_equal.outer(codes, codes) & np.logical_and.outer(has[name], has[name])
    total = np.sum(list(differ.values()), axis=0)
    return {name: own & (total == 1) for name, own in differ.items()}


def _codes(values: Sequence[Hashable]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _indicators(values: Sequence[Hashable]) -> Floats:
    """`(N, G)`: a column of zeros and ones for each different value."""
    codes = _codes(values)
    return np.asarray(codes[:, None] == np.arange(codes.max() + 1), dtype=np.float64)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
