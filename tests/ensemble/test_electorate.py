"""Votes counted ahead answer like votes counted anew, to the last bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ensemble.electorate import electorate
from ensemble.votes import RULES

cases = st.tuples(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4), st.integers(1, 30), st.integers(2, 5))


@given(cases, st.sampled_from(sorted(RULES)))
def test_every_size_votes_like_its_members_alone(case: tuple[int, int, int, int, int], rule: str) -> None:
    seed, n_members, n_views, n_photos, n_classes = case
    rng = np.random.default_rng(seed)
    raw = rng.integers(1, 5, (n_members, n_views, n_photos, n_classes)) + rng.integers(0, 4, (n_photos, n_classes))
    probs = (raw / raw.sum(axis=3, keepdims=True)).astype(np.float16)
    members = rng.permutation(n_members)
    sizes = sorted(set(rng.integers(1, n_members + 1, 3).tolist()))
    rows = rng.integers(0, n_photos, 2 * n_photos)
    for k, vote in zip(sizes, electorate(probs, rule)(members, sizes, rows), strict=True):
        alone = RULES[rule].vote(probs[members[:k]][:, :, rows].reshape(-1, len(rows), n_classes), None)
        assert (vote.labels == alone.labels).all()
        assert (vote.shares == alone.shares).all()
