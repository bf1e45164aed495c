"""Two sides measured in turn, A B A B ..., and their ratio pair by pair, so that a machine whose speed drifts misleads nobody."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sides:
    """Seconds of both sides, pair by pair."""

    ours: tuple[float, ...]
    other: tuple[float, ...]

    def line(self, name: str, other_name: str, unit: str = "s") -> str:
        """Both sides and other / ours: how many times more the other side takes."""
        ratios = [b / a for a, b in zip(self.ours, self.other, strict=True)]
        return (
            f"{name}: ours {spread(self.ours)} {unit}, {other_name} {spread(self.other)} {unit}, "
            f"{other_name} / ours {spread(ratios)} (n={len(ratios)})"
        )


def in_turn(ours: Callable[[], float], other: Callable[[], float], *, repeats: int, warm_up: int = 1) -> Sides:
    """Measure both sides `repeats` times in turn, after `warm_up` rounds that do not count."""
    for _ in range(warm_up):
        ours()
        other()
    pairs = [(ours(), other()) for _ in range(repeats)]
    return Sides(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g}..{max(values):.3g})"
