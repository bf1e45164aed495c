"""Texts that look equal and are not, or that no file can hold: one rule for ids, groups, classes, roles and file names.

Two texts look equal where they differ in their Unicode form (a Mac writes Korean decomposed), in signs that show nothing (zero-width
spaces, direction marks), in the kind of a space, or in spaces at their ends.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from system.errors import listed

OLD_ENCODINGS = ("cp949", "cp932", "gb18030", "cp1252")
"""What a zip or a disk of another time may have written names in; each that reads as text is told."""
READINGS = 3
"""So many names are read in each of them."""


def looks_of(text: str) -> str:
    """A text that is equal for all texts that look like this one.

    >>> looks_of("Ann\\u200b\\u00a0Lee ") == looks_of("Ann Lee")
    True
    """
    if text.isascii():
        return text.strip()
    plain = unicodedata.normalize("NFC", text)
    return "".join(" " if sign.isspace() else sign for sign in plain if unicodedata.category(sign) != "Cf").strip()


def alike(texts: Iterable[str]) -> list[list[str]]:
    """The sets of different texts that look equal, each in the order in which they come."""
    by_looks: dict[str, dict[str, None]] = {}
    for text in texts:
        by_looks.setdefault(looks_of(text), {})[text] = None
    return [list(some) for some in by_looks.values() if len(some) > 1]


def first_spellings(texts: Iterable[str]) -> dict[str, str]:
    """Each text that looks like an earlier one -> that one, the first; a text that shows nothing is left alone."""
    return {other: some[0] for some in alike(text for text in texts if text and looks_of(text)) for other in some[1:]}


def difference(one: str, other: str) -> str:
    """In what two texts that look equal differ: Unicode form, spaces, or signs that show nothing."""
    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        return "Unicode form"
    kinds = {unicodedata.category(sign) for text in (one, other) for sign in text}
    return "signs that show nothing" if "Cf" in kinds else "spaces"


def told_alike(some: Sequence[str]) -> str:
    """A set of texts that look equal, as messages name it: the first, and in what the others differ from it."""
    kinds = dict.fromkeys(difference(some[0], other) for other in some[1:])
    return f"{some[0]!r} in {len(some)} spellings ({', '.join(kinds)})"


def recognise(known: Iterable[str]) -> Callable[[str], str | None]:
    """A function from a text to the known text that it is, else to the first one that it looks like; to `None` for neither."""
    exact = dict.fromkeys(known)
    by_looks = {looks_of(text): text for text in reversed(exact)}
    return lambda text: text if text in exact else by_looks.get(looks_of(text))


def utf8_faults(names: Sequence[str], what: str = "file names") -> list[str]:
    """A sentence where names of files are no UTF-8, with how they read in an older encoding; none where all are text."""
    strange = [name for name in dict.fromkeys(names) if any("\ud800" <= sign <= "\udfff" for sign in name)]
    if not strange:
        return []
    fault = f"{what} must be UTF-8 text, {len(strange)} are not: {listed(map(repr, strange))}; rename these photos"
    read = {encoding: texts for encoding in OLD_ENCODINGS if (texts := _read_as(encoding, strange[:READINGS]))}
    if not read:
        return [fault]
    told = "; ".join(f"as {encoding} they read {', '.join(texts)}" for encoding, texts in read.items())
    first = next(iter(read))
    return [
        f"{fault}; {told}: unpack the archive with the encoding that is right (`unzip -O {first}`), or rename them "
        f"(`convmv -f {first} -t utf8 -r --notest FOLDER`)"
    ]


def old_readings(name: str) -> list[str]:
    """How a name that is no UTF-8 reads in each of the older encodings that fit; none for a text."""
    if not any("\ud800" <= sign <= "\udfff" for sign in name):
        return []
    return [text for encoding in OLD_ENCODINGS for text in _read_as(encoding, [name])]


def _read_as(encoding: str, names: Iterable[str]) -> list[str]:
    """Names as they read in an older encoding, folder by folder; none where one of them does not."""
    try:
        texts = ["/".join(_part_read_as(encoding, part) for part in name.split("/")) for name in names]
    except UnicodeError:
        return []
    return texts if all(text.isprintable() for text in texts) else []


def _part_read_as(encoding: str, part: str) -> str:
    data = part.encode("utf-8", "surrogateescape")
    with suppress(UnicodeDecodeError):
        return data.decode()
    return data.decode(encoding)
