"""Checkpoints as files: the header of a safetensors file, and a seal over header and tensors that is checked without torch.

    8 bytes: length of the header | {"__metadata__": {"podium": "{..., \\"seal\\": \\"<32 digits>\\"}"}, "<tensor>": ...} | tensors

The format: https://github.com/huggingface/safetensors#format. The seal stands inside the one metadata text (safetensors keeps no
order among several), and is over the whole file with 32 zeros in its place. A file without one was written before there were seals.
`best.safetensors` has none: the record says its hash.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

LENGTH_BYTES = 8
HASH_DIGITS = 32
PART_BYTES = 1 << 20
UNSEALED = "0" * HASH_DIGITS
"""What stands in the header's `seal` until the file is sealed."""
_MARK = re.compile(rb'\\"(?P<key>.{4})\\": \\"(?P<digest>.{32})\\"', re.DOTALL)


def seal(data: bytes) -> bytes:
    """The bytes of a file whose header has `"seal": UNSEALED`, sealed.

    Raises:
        ValueError: There is no place for a seal, or more than one.
    """
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    places = [found.span("digest") for found in _MARK.finditer(data[:end]) if found["key"] == b"seal"]
    if len(places) != 1 or data[slice(*places[0])] != UNSEALED.encode():
        raise ValueError(f"a header must have one place for a seal, this one has {len(places)}")
    start, stop = places[0]
    return b"".join((data[:start], hashlib.blake2b(data, digest_size=HASH_DIGITS // 2).hexdigest().encode(), data[stop:]))


def read_header(path: Path) -> dict[str, Any]:
    """The `podium` header of a checkpoint that is as long as it says; its tensors are not looked at.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or cut short; the message names it.
    """
    with open(path, "rb") as file:
        size = path.stat().st_size
        try:
            whole = json.loads(_head(file, size)[LENGTH_BYTES:])
            header = dict(json.loads(whole.pop("__metadata__")["podium"]))
            ends = [facts["data_offsets"][1] for facts in whole.values()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path.name} is damaged ({error})") from error
        if file.tell() + max(ends, default=0) != size:
            raise ValueError(f"{path.name} is cut short")
    return header


def check(path: Path) -> None:
    """Read all of a checkpoint and compare it with its seal.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged; the message names it.
    """
    read_header(path)
    with open(path, "rb") as file:
        head = _head(file, path.stat().st_size)
        found = list(_MARK.finditer(head))
        if not found:
            return
        hashes = [hashlib.blake2b(_without(head, one), digest_size=HASH_DIGITS // 2) for one in found]
        while part := file.read(PART_BYTES):
            for one in hashes:
                one.update(part)
    fits = [hashed.hexdigest().encode() == one["digest"] for hashed, one in zip(hashes, found, strict=True)]
    if fits != [one["key"] == b"seal" for one in found]:
        raise ValueError(f"{path.name} is damaged (it is not what was sealed)")


def _head(file: Any, size: int) -> bytes:
    """The length and the header of an open file."""
    start: bytes = file.read(LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH_BYTES or length > size:
        raise ValueError("its header is longer than the file")
    return start + bytes(file.read(length))


def _without(head: bytes, found: "re.Match[bytes]") -> bytes:
    """The header as it was sealed: with zeros for the seal, under its name."""
    (name, name_end), (start, stop) = found.span("key"), found.span("digest")
    return head[:name] + b"seal" + head[name_end:start] + UNSEALED.encode() + head[stop:]
