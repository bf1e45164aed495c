"""Soups as members: averages of trials that share backbone and start, beside the trials themselves."""

from collections.abc import Mapping, Sequence

from bundle.members import OpenedMember, folder_of, open_member
from competitions.prepare import Prepared
from ensemble.pool import Member
from ledger.reading import readable_config
from trainables.soup import soups


def with_soups(
    prepared: Prepared, members: Mapping[str, Sequence[OpenedMember]], *, fold: int, device: str
) -> dict[str, list[OpenedMember]]:
    """The members, and for each target the soups of its families that score better than their best ingredient.

    Args:
        prepared: The competition's data.
        members: Target -> its members, one trial each.
        fold: Of the trials.
        device: Where forward passes run.
    """
    made = soups(prepared, {name: [m.name for m in own] for name, own in members.items()}, fold=fold, device=device)
    there = {name: {member.name for member in own} for name, own in members.items()}
    new = {name: [soup for soup in made.get(name, ()) if soup not in there[name]] for name in members}
    return {
        name: [*(open_member(prepared.paths, Member(soup, (soup,), name)) for soup in new[name]), *own]
        for name, own in members.items()
    }


def without_soups(prepared: Prepared, members: Mapping[str, Sequence[OpenedMember]]) -> dict[str, list[OpenedMember]]:
    """The members that were trained: a soup has no sibling that learned from all photos."""

    def trained(member: OpenedMember) -> bool:
        return not (readable_config(folder_of(prepared.paths, member.name)) or {}).get("soup")

    return {name: [member for member in own if trained(member)] for name, own in members.items()}
