"""Soups as members: averages of trials that share backbone and start, beside the trials themselves."""

from collections.abc import Mapping, Sequence

from bundle.members import OpenedMember, open_member
from bundle.opened import Opened
from ensemble.pool import Member
from trainables.soup import soups


def with_soups(
    opened: Opened, members: Mapping[str, Sequence[OpenedMember]], *, fold: int, device: str
) -> dict[str, list[OpenedMember]]:
    """The members, and for each target the soups of its families that score better than their best ingredient.

    Args:
        opened: The competition's data and trials.
        members: Target -> its members, one trial each.
        fold: Of the trials.
        device: Where forward passes run.
    """
    made = soups(opened.prepared, {name: [m.name for m in own] for name, own in members.items()}, fold=fold, device=device)
    there = {name: {member.name for member in own} for name, own in members.items()}
    new = {name: [soup for soup in made.get(name, ()) if soup not in there[name]] for name in members}
    return {
        name: [*(open_member(opened, Member(soup, (soup,), name)) for soup in new[name]), *own] for name, own in members.items()
    }


def without_soups(members: Mapping[str, Sequence[OpenedMember]]) -> dict[str, list[OpenedMember]]:
    """The members that were trained: a soup has no sibling that learned from all photos."""
    return {name: [one for one in own if not one.opened[0].settings.get("soup")] for name, own in members.items()}
