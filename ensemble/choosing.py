"""A way and the steps that refine it, as a choice that can be made anew: `Choosing(arena, way, sizes, steps)(rows)(other rows) -> Vote`."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ensemble.arena import Arena, Sample
from ensemble.design import Design
from ensemble.honest import Decide
from ensemble.votes import Ints
from ensemble.ways import WAYS, Sizes

Refine = Callable[[Arena, Sample, Design], Design]


@dataclass(frozen=True)
class Choosing:
    """A choice among the members of one arena.

    Attributes:
        arena: The members.
        way: One of `ways.WAYS`.
        sizes: The numbers of members that are allowed.
        step: What is fitted on top of the choice before, on the sample that chose.
        before: The choice that it refines; both together or neither.
    """

    arena: Arena
    way: str
    sizes: Sizes
    step: Refine | None = None
    before: "Choosing | None" = None
    _made: dict[bytes, Design] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, rows: Ints) -> Decide:
        """From in-bag rows, a photo as often as it was drawn, to the decision chosen on them."""
        design = self.on(rows)
        return lambda others: self.arena.vote(design, others)

    def on(self, rows: Ints | None = None) -> Design:
        """The design chosen on these rows; on all labelled photos for `None`. Made once: several questions ask for it."""
        key = b"" if rows is None else hashlib.blake2b(rows.tobytes(), digest_size=16).digest()
        if key not in self._made:
            sample = self.arena.sample(rows)
            if self.step is None or self.before is None:
                self._made[key] = WAYS[self.way].design(self.arena, sample, self.sizes)
            else:
                self._made[key] = self.step(self.arena, sample, self.before.on(rows))
        return self._made[key]

    def then(self, step: Refine) -> "Choosing":
        """The choice with one more step."""
        return replace(self, step=step, before=self, _made={})

    def by(self, way: str, sizes: Sequence[int] | None = None) -> "Choosing":
        """Another way on the same arena, without steps."""
        return Choosing(self.arena, way, self.sizes if sizes is None else sizes)

    def at(self, rows: Ints) -> "ChosenAt":
        """The same choice, asked about some photos by their positions among `rows int64 (n,)`."""
        return ChosenAt(self, rows)


@dataclass(frozen=True)
class ChosenAt:
    """A choice seen from other photos: position p there is photo `rows[p]` of the arena; what chooses is the same photos, moved alike."""

    choosing: Choosing
    rows: Ints

    def __call__(self, rows: Ints) -> Decide:
        """As `Choosing`, for positions among the rows."""
        decide = self.choosing(self.rows[rows])
        return lambda others: decide(self.rows[others])
