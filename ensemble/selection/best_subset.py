"""The best subset of a few members, exactly: candidates, the photos that choose, the sizes allowed -> the hard vote that scores best.

Every subset is voted on. Metrics of labels need confusion matrices alone, which a compiled loop counts for all subsets at once; photos
for which all voters name the same class are counted once for all of them.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import label_margins, metric_of
from ensemble.metric_sums import defined, scores_of_counted
from ensemble.plan.spec import Spec
from ensemble.selection.candidates import Candidates, Sample
from ensemble.selection.kernels import count_member_sets
from ensemble.votes import Ints

Ranks = tuple[int, ...]


def best_subset(candidates: Candidates, sample: Sample, *, sizes: Sequence[int], among: Sequence[int]) -> Spec:
    """The hard vote of all views of the best subset: what asking `Candidates.vote` and `Candidates.score` for each would find.

    Of equal scores the subset with fewer members is taken, then the one whose most senior member is more senior, then whose second is,
    and so on.

    Args:
        candidates: The members.
        sample: The photos that choose, at least one.
        sizes: The numbers of members allowed, at least one of them 1..P.
        among: P members to choose from, most senior first.
    """
    subsets = [ranks for k in sorted(set(sizes)) for ranks in combinations(range(len(among)), k)]
    views = range(len(candidates.views))

    def spec(ranks: Ranks) -> Spec:
        return Spec(tuple((among[rank], view) for rank in ranks for view in views), "hard")

    if metric_of(candidates.metric).judges_labels:
        return spec(subsets[int(np.argmax(_scores(candidates, sample, among, subsets)))])
    together = sorted(subsets)  # one mostly has the members of the one before
    votes = candidates.votes_of([spec(ranks) for ranks in together], sample.rows)
    scores = {ranks: candidates.score(vote, sample) for ranks, vote in zip(together, votes, strict=True)}
    return spec(max(subsets, key=lambda ranks: scores[ranks]))


def _scores(candidates: Candidates, sample: Sample, among: Sequence[int], subsets: Sequence[Ranks]) -> NDArray[np.float64]:
    """The score of each subset's hard vote, `float64 (S,)`."""
    n_classes = candidates.n_classes
    named, labels = candidates.named[list(among)][:, :, sample.rows], candidates.labels[sample.rows]
    apart = (named != named[0, 0]).any(axis=(0, 1))
    sets = np.full((len(subsets), max(map(len, subsets))), -1)
    for row, ranks in zip(sets, subsets, strict=True):
        row[: len(ranks)] = ranks

    def count(times: Ints) -> NDArray[np.int64]:
        rows = np.flatnonzero(apart & (times > 0))
        agreed = label_margins(named[0, 0, ~apart], labels[~apart], n_classes, times[~apart])[[0, 2]]
        counts = np.zeros((2, len(subsets), n_classes), dtype=np.int64)
        count_member_sets(np.ascontiguousarray(named[:, :, rows]), sets, labels[rows], times[rows], counts)
        return counts + agreed[:, None]

    return defined(scores_of_counted(metric_of(candidates.metric), count, labels, sample.times, n_classes))
