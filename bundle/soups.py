"""Soups as members: averages of trials that share backbone and start, beside the trials themselves."""

from collections.abc import Mapping, Sequence

from bundle.members import Member
from competitions.prepare import Prepared
from competitions.targets import Target
from trainables.soup import soups


def with_soups(
    prepared: Prepared, targets: Sequence[Target], members: Mapping[str, Sequence[Member]]
) -> dict[str, list[Member]]:
    """The members, and for each target the soups of its families that score better than their best ingredient.

    Members over several folds have none: their trials do not share photos.
    """
    single = {name: [m.name for m in own if len(m.trials) == 1] for name, own in members.items()}
    made = {target.name: soups(prepared, target, single[target.name]) for target in targets}
    there = {name: {member.name for member in own} for name, own in members.items()}
    return {
        name: [*(Member(soup, (soup,), name) for soup in made[name] if soup not in there[name]), *own]
        for name, own in members.items()
    }
