"""One decision per group: shares `(N, C)` of photos -> the same label for all photos of a group, where the competition allows it.

All photos of one person show one gender: what the photos say together is more than what each says. Whether a competition allows the
use of groups at test time, and whether a task is the same within a group, the caller knows.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ensemble.log_probs import share_logs, softmax
from ensemble.resampling import Groups, group_sums
from ensemble.votes import Vote
from system.errors import UserError, unknown

Numbers = NDArray[np.float64]


def same_in_group(vote: Vote, groups: Groups, *, by: str = "logs", prior: Sequence[float] | None = None) -> Vote:
    """The vote in which every photo of a group has the group's label and shares.

    Ties go to the class that more photos of the group were given, then to the first of the competition's order.

    Args:
        vote: Labels `(N,)` and shares `(N, C)` of single photos.
        groups: N group names.
        by: One of `WAYS`.
        prior: C shares that each photo's probabilities contain. Taken together they contain it once and not once per photo
            (Kittler et al. 1998, "On combining classifiers", the product rule); without it, the plain sum. Only by `logs`.

    Raises:
        UserError: The way is unknown, a prior is no prior or has no effect, or groups are not one per photo.
    """
    n_photos, n_classes = vote.shares.shape
    faults = [] if by in WAYS else [unknown("way to decide for a group", by, dict(WAYS))]
    faults += [] if len(groups) == n_photos else [f"groups must be one per photo, got {len(groups)} for {n_photos}"]
    if prior is not None:
        fits = len(prior) == n_classes and min(prior) > 0 and abs(sum(prior) - 1) < 1e-4
        faults += [] if fits else [f"prior must be {n_classes} shares above 0 that sum to 1, got {list(prior)}"]
        faults += [] if by == "logs" else [f"a prior has no effect on a decision by {by}; leave it out"]
    if faults:
        raise UserError(*faults)
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)[:, None]
    said = WAYS[by](vote)
    means = group_sums(said, place, len(sizes)) / sizes
    if prior is not None:
        means -= (1 - 1 / sizes) * share_logs(np.asarray(prior))
    counts = group_sums(np.eye(n_classes)[vote.labels], place, len(sizes))
    labels = np.where(means == means.max(axis=1, keepdims=True), counts, -1.0).argmax(axis=1)
    shares = softmax(means) if by == "logs" else means
    return _whole(labels, shares, place)


def _whole(labels: NDArray[np.int64], shares: Numbers, place: NDArray[np.integer]) -> Vote:
    """Groups' labels `(G,)` and shares `(G, C)` as those of their photos; the label's share is the greatest."""
    rows = np.arange(len(labels))
    shares[rows, labels] = np.nextafter(shares.max(axis=1), 2)
    return Vote(labels[place], shares[place])


def _logs(vote: Vote) -> Numbers:
    return share_logs(vote.shares)


def _votes(vote: Vote) -> Numbers:
    votes: Numbers = np.eye(vote.shares.shape[1])[vote.labels]
    return votes


WAYS: dict[str, Callable[[Vote], Numbers]] = {"logs": _logs, "votes": _votes}
"""What a photo gives to its group's sum, `(N, C)`: logarithms of its shares (sums of which are exact), or one vote."""
