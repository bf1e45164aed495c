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
        steps: What is fitted on top, in this order, each on the sample that chose.
    """

    arena: Arena
    way: str
    sizes: Sizes
    steps: tuple[Refine, ...] = ()
    _made: dict[bytes, Design] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, rows: Ints) -> Decide:
        """From in-bag rows, a photo as often as it was drawn, to the decision chosen on them."""
        design = self.on(rows)
        return lambda others: self.arena.vote(design, others)

    def on(self, rows: Ints | None = None) -> Design:
        """The design chosen on these rows; on all labelled photos for `None`. Made once: several questions ask for it."""
        key = b"" if rows is None else hashlib.blake2b(rows.tobytes(), digest_size=16).digest()
        if key not in self._made:
            self._made[key] = self._design(self.arena.sample(rows))
        return self._made[key]

    def then(self, step: Refine) -> "Choosing":
        """The choice with one more step."""
        return replace(self, steps=(*self.steps, step), _made={})

    def by(self, way: str, sizes: Sequence[int] | None = None) -> "Choosing":
        """Another way on the same arena, without steps."""
        return Choosing(self.arena, way, self.sizes if sizes is None else sizes)

    def _design(self, sample: Sample) -> Design:
        design = WAYS[self.way].design(self.arena, sample, self.sizes)
        for step in self.steps:
            design = step(self.arena, sample, design)
        return design
