"""The two errors a verb knows how to print: the user's input is wrong, or the weights cannot be had."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """What the user gave cannot be used. The verb prints every fault and exits with code 2, without a traceback.

    Args:
        faults: One or more sentences, each naming the rule, the value and the way out. All faults at once.
    """

    def __init__(self, *faults: str) -> None:
        if not faults:
            raise ValueError("a UserError needs at least one fault")
        super().__init__("\n".join(faults))
        self.faults = faults


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The sentence for a name that is not one of the known ones, nearest names first.

    >>> unknown("loss", "focall", ["focal", "cross_entropy"])
    "unknown loss 'focall'; did you mean focal? (known: cross_entropy, focal)"
    """
    names = sorted(known)
    near = get_close_matches(str(name), names, n=5, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    listed = ", ".join(names[:30]) + (f", and {len(names) - 30} more" if len(names) > 30 else "")
    return f"unknown {kind} {str(name)!r}; {hint}(known: {listed})"


EXAMPLES = 10


def listed(names: Iterable[str], most: int = EXAMPLES) -> str:
    """The first names, and how many more there are.

    >>> listed(["a", "b"])
    'a, b'
    """
    shown = list(names)
    more = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {more} more" if more > 0 else "")
