"""Checksums: a JSON object's text carries a hash of itself, its seal, so that one changed bit is seen and never believed.

    {"event": "started", "time": 1.5, "seal": "0123456789abcdef"}

The seal is over the bytes before it, so a line is checked without being parsed (2 us). Text without one was written before there
were seals and is believed, as it always was.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SEAL = "seal"
SEAL_DIGITS = 16
_TAIL_BYTES = 80
_TAIL = re.compile(rb',?\s*"(?P<key>.{4})": "(?P<digest>.{16})"\s*\}\s*\Z', re.DOTALL)
_SEAM = re.compile(rb'(?<="seal": ".{16}"\})', re.DOTALL)


@dataclass(frozen=True)
class Lines:
    """The JSON lines of a file, oldest first.

    Attributes:
        values: Of the lines that can be believed.
        whole: Their bytes, without the line's end.
        damaged: Lines that cannot be read or whose seal does not fit.
        torn: A last line without its end: a write that was cut off, or the place where the file was cut.
    """

    values: tuple[Any, ...]
    whole: tuple[bytes, ...]
    damaged: tuple[bytes, ...]
    torn: bytes


def sealed(value: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """A JSON object as text with sorted keys and, last, its seal; the same value gives the same bytes."""
    text = json.dumps(dict(value), indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)
    head = text.encode()[:-1].rstrip()
    before, after = (b" ", b"") if indent is None else (b"\n" + b" " * indent, b"\n")
    comma = b"" if head == b"{" else b","
    return b'%s%s%s"seal": "%s"%s}' % (head, comma, before if comma else b"", _digest(head), after)


def unsealed(text: bytes) -> Any:
    """The value of a JSON text, without its seal.

    Raises:
        ValueError: It is no JSON, or not what was sealed.
    """
    if has_seal(text):
        value = json.loads(text)
        del value[SEAL]
        return value
    return json.loads(text)


def has_seal(text: bytes) -> bool:
    """Whether a text has a seal, which then fits.

    Raises:
        ValueError: It does not fit.
    """
    end = text[-_TAIL_BYTES:]
    found = _TAIL.search(end)
    if found is None:
        return False
    fits = _digest(text[: len(text) - len(end) + found.start()]) == found["digest"]
    named = found["key"] == SEAL.encode()
    if named != fits:
        raise ValueError("it is not what was sealed")
    return named


def split_lines(data: bytes) -> Lines:
    """The lines of a file, each judged by itself."""
    *lines, last = data.split(b"\n")
    values, whole, damaged = [], list[bytes](), list[bytes]()
    for part in (part for line in lines for part in _parts(line)):
        try:
            values.append(unsealed(part))
            whole.append(part)
        except ValueError:
            damaged.append(part)
    rest = _parts(last)
    while rest and _is_whole(rest[0]):
        whole.append(rest.pop(0))
        values.append(unsealed(whole[-1]))
    return Lines(tuple(values), tuple(whole), tuple(damaged), b"".join(rest))


def _parts(line: bytes) -> list[bytes]:
    """A line, or the sealed lines that it is made of where the line's end between them was damaged."""
    if not line:
        return []
    found = [part for part in _SEAM.split(line) if part]
    if len(found) < 2:
        return found
    return [part if _is_whole(part) else part[1:] if _is_whole(part[1:]) else part for part in found]


def _is_whole(text: bytes) -> bool:
    try:
        if has_seal(text):
            json.loads(text)
            return True
    except ValueError:
        return False
    return False


def _digest(head: bytes) -> bytes:
    return hashlib.blake2b(head, digest_size=SEAL_DIGITS // 2).hexdigest().encode()
