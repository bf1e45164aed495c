"""Texts that look equal and are not, or that no file can hold: one rule for ids, groups, classes, roles and file names.

Two texts look equal where they differ in their Unicode form (a Mac writes Korean decomposed), in signs that show nothing (zero-width
spaces, direction marks), in the kind of a space, or in spaces at their ends.
"""

import unicodedata
from collections.abc import Collection, Iterable, Sequence
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


def first_spellings(texts: Collection[str]) -> dict[str, str]:
    """Each text that looks like an earlier one -> that one, the first; a text that shows nothing is left alone."""
    return {other: some[0] for some in alike(text for text in texts if looks_of(text)) for other in some[1:]}


def recognised(text: str, known: Iterable[str]) -> str | None:
    """The known text that this one is, else the first one that it looks like; `None` for neither."""
    texts = list(known)
    if text in texts:
        return text
    looks = looks_of(text)
    return next((other for other in texts if looks_of(other) == looks), None)


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
