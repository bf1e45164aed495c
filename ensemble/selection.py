"""A pool of trials and their scores -> the ones that become members, best first."""

from collections.abc import Mapping
from math import isfinite

from ledger.errors import UserError


def top_k(scores: Mapping[str, float], k: int) -> list[str]:
    """The `k` trials of the greatest score, best first; of equal scores the smaller trial_id goes first.

    Args:
        scores: trial_id -> score, greater is better.
        k: How many, at least 1; the whole pool where it has fewer.

    Raises:
        UserError: `k` is under 1, the pool is empty, or a score is not a number.
    """
    faults = [f"top must be at least 1, got {k}"] if k < 1 else []
    faults += ["there is no finished trial to choose from; run_search.py trains some"] if not scores else []
    diverged = [(trial_id, score) for trial_id, score in sorted(scores.items()) if not isfinite(score)]
    faults += [f"trial {trial_id} has the score {score}; a diverged trial cannot be a member" for trial_id, score in diverged]
    if faults:
        raise UserError(*faults)
    return sorted(scores, key=lambda trial_id: (-scores[trial_id], trial_id))[:k]
