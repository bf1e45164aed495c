"""The choice for one task as a function that can be made anew: `Selector(candidates, strategy, sizes)(rows)(other rows) -> Vote`."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ensemble.plan.spec import Spec
from ensemble.selection.candidates import Candidates, Sample
from ensemble.selection.strategies import STRATEGIES, Sizes
from ensemble.votes import Decide, Ints, Vote

Refine = Callable[[Candidates, Sample, Spec], Spec]
KEPT_BYTES, MOST_KEPT = 400_000, 300
"""Votes are kept up to this size and number: at most 120 MB for each choice."""


@dataclass(frozen=True)
class Selector:
    """A choice among the members of one candidates.

    Attributes:
        candidates: The members.
        strategy: One of `strategies.STRATEGIES`.
        sizes: The numbers of members that are allowed.
        step: What is fitted on top of the choice before, on the sample that chose.
        before: The choice that it refines; both together or neither.
    """

    candidates: Candidates
    strategy: str
    sizes: Sizes
    step: Refine | None = None
    before: "Selector | None" = None
    _made: dict[bytes, Spec] = field(default_factory=dict, repr=False, compare=False)
    _voted: dict[bytes, Vote] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, rows: Ints) -> Decide:
        """From in-bag rows, a photo as often as it was drawn, to the decision chosen on them."""
        key = _digest(rows)
        spec = self._on(rows, key)
        return lambda others: self._vote(spec, key + _digest(others), others)

    def on(self, rows: Ints | None = None) -> Spec:
        """The spec chosen on these rows; on all labelled photos for `None`. Made once: several questions ask for it."""
        return self._on(rows, b"" if rows is None else _digest(rows))

    def _on(self, rows: Ints | None, key: bytes) -> Spec:
        if key not in self._made:
            sample = self.candidates.sample(rows)
            if self.step is None or self.before is None:
                self._made[key] = STRATEGIES[self.strategy].spec(self.candidates, sample, self.sizes)
            else:
                self._made[key] = self.step(self.candidates, sample, self.before._on(rows, key))
        return self._made[key]

    def _vote(self, spec: Spec, key: bytes, others: Ints) -> Vote:
        """A resample's vote is asked for by a task and again by the label: kept where it is small."""
        if key in self._voted:
            return self._voted[key]
        vote = self.candidates.vote(spec, others)
        if vote.shares.nbytes <= KEPT_BYTES and len(self._voted) < MOST_KEPT:
            self._voted[key] = vote
        return vote

    def then(self, step: Refine) -> "Selector":
        """The choice with one more step."""
        return replace(self, step=step, before=self, _made={}, _voted={})

    def on_candidates(self, candidates: Candidates) -> "Selector":
        """The same choice among the same members on other photos."""
        before = None if self.before is None else self.before.on_candidates(candidates)
        return replace(self, candidates=candidates, before=before, _made={}, _voted={})

    def by(self, strategy: str, sizes: Sequence[int] | None = None) -> "Selector":
        """Another strategy on the same candidates, without steps."""
        return Selector(self.candidates, strategy, self.sizes if sizes is None else sizes)

    def at(self, rows: Ints) -> "ChosenAt":
        """The same choice, asked about some photos by their positions among `rows int64 (n,)`."""
        return ChosenAt(self, rows)


@dataclass(frozen=True)
class ChosenAt:
    """A choice seen from other photos: position p there is photo `rows[p]` of the candidates; the same photos choose, moved alike."""

    selector: Selector
    rows: Ints

    def __call__(self, rows: Ints) -> Decide:
        """As `Selector`, for positions among the rows."""
        decide = self.selector(self.rows[rows])
        return lambda others: decide(self.rows[others])


def _digest(rows: Ints) -> bytes:
    return hashlib.blake2b(rows.tobytes(), digest_size=16).digest()
