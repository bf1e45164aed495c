"""Ways to come from several routes to one answer: their votes `(N, C)` on the label -> one vote `(N, C)`. Each is a line of `TOGETHER`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ensemble.label.decoders import ROUTES, Numbers, decide_joint
from ensemble.log_probs import share_logs, softmax
from ensemble.votes import Vote, hard_outcome


@dataclass(frozen=True)
class Combination:
    """A way to come from the routes that there are to one vote on the label.

    Attributes:
        text: What it does, in words.
        takes: From the names of the routes there are to those that have a say; none where this way cannot be taken.
        decide: From their votes `(N, C)`, most senior first, to one.
        counts: Whether it counts their labels, and does not weigh their shares.
    """

    text: str
    takes: Callable[[Sequence[str]], tuple[str, ...]]
    decide: Callable[[Sequence[Vote]], Vote]
    counts: bool = False


def _one(name: str, there: Sequence[str]) -> tuple[str, ...]:
    return (name,) if name in there else ()


def _at_least(n: int, there: Sequence[str]) -> tuple[str, ...]:
    return tuple(there) if len(there) >= n else ()


def _pool_hard(votes: Sequence[Vote]) -> Vote:
    counts, rows = np.zeros(votes[0].shares.shape), np.arange(len(votes[0].labels))
    for vote in votes:
        counts[rows, vote.labels] += 1
    return hard_outcome(counts / len(votes), lambda tied: np.stack([vote.labels[tied] for vote in votes]))


def _pool_soft(votes: Sequence[Vote]) -> Vote:
    return decide_joint(_sum([vote.shares for vote in votes]) / len(votes), [vote.labels for vote in votes])


def _pool_geometric(votes: Sequence[Vote]) -> Vote:
    logs = _sum([share_logs(vote.shares) for vote in votes]) / len(votes)
    return decide_joint(softmax(logs), [vote.labels for vote in votes])


def _sum(arrays: Sequence[Numbers]) -> Numbers:
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total


TOGETHER: dict[str, Combination] = {
    name: Combination(route.text, partial(_one, name), lambda votes: votes[0]) for name, route in ROUTES.items()
} | {  # a vote of two always goes to the senior, so it takes three
    "pool-hard": Combination(
        "the label that most routes name; a tie goes to the most senior route", partial(_at_least, 3), _pool_hard, counts=True
    ),
    "pool-soft": Combination("the mean of all routes' joint probabilities", partial(_at_least, 2), _pool_soft),
    "pool-geometric": Combination("the mean of their logarithms", partial(_at_least, 2), _pool_geometric),
}
