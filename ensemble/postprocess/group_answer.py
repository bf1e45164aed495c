"""One decision per group: shares `(N, C)` of photos -> the same label for all photos of a group, where the competition allows it.

All photos of one person show one gender: what the photos say together is more than what each says. Whether a competition allows the
use of groups at test time, and whether a task is the same within a group, the caller knows.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import share_logs, softmax
from ensemble.resampling import Groups, group_sums
from ensemble.votes import Vote

Numbers = NDArray[np.float64]


def same_in_group(vote: Vote, groups: Groups, *, by: str = "logs") -> Vote:
    """The vote in which every photo of a group has the group's label and shares.

    Ties go to the class that more photos of the group were given, then to the first of the competition's order.

    Args:
        vote: Labels `(N,)` and shares `(N, C)` of single photos.
        groups: N group names.
        by: One of `GROUP_SUMS`.
    """
    _, group_numbers = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(group_numbers).astype(np.float64)[:, None]
    means = group_sums(GROUP_SUMS[by](vote), group_numbers, len(sizes)) / sizes
    counts = group_sums(np.eye(vote.shares.shape[1])[vote.labels], group_numbers, len(sizes))
    labels = np.where(means == means.max(axis=1, keepdims=True), counts, -1.0).argmax(axis=1)
    shares = softmax(means) if by == "logs" else means
    return _whole(labels, shares, group_numbers)


def _whole(labels: NDArray[np.int64], shares: Numbers, group_numbers: NDArray[np.integer]) -> Vote:
    """Groups' labels `(G,)` and shares `(G, C)` as those of their photos; the label's share is the greatest."""
    rows = np.arange(len(labels))
    shares[rows, labels] = np.nextafter(shares.max(axis=1), 2)
    return Vote(labels[group_numbers], shares[group_numbers])


def _logs(vote: Vote) -> Numbers:
    return share_logs(vote.shares)


def _votes(vote: Vote) -> Numbers:
    votes: Numbers = np.eye(vote.shares.shape[1])[vote.labels]
    return votes


GROUP_SUMS: dict[str, Callable[[Vote], Numbers]] = {"logs": _logs, "votes": _votes}
"""What a photo gives to its group's sum, `(N, C)`: logarithms of its shares (sums of which are exact), or one vote."""
