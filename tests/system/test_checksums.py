"""One changed bit anywhere in a sealed text is seen, and what was written before there were seals is believed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from system.checksums import has_seal, sealed, split_lines, unsealed

TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
OBJECTS = st.dictionaries(TEXT, st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT, max_size=4)
EVENTS: list[dict[str, Any]] = [{"event": "started", "n": 1}, {"event": "흰\nblack", "n": 2}, {"event": "finished", "score": 0.5}]


def read(text: bytes) -> Any:
    """The value, or `None` for what is not believed."""
    try:
        return unsealed(text)
    except ValueError:
        return None


@given(OBJECTS, st.sampled_from([None, 1]))
def test_a_sealed_object_is_json_and_comes_back_without_its_seal(value: dict[str, Any], indent: int | None) -> None:
    text = sealed(value, indent=indent)
    assert has_seal(text)
    assert unsealed(text) == unsealed(text + b"\n") == value
    assert {key: json.loads(text)[key] for key in value if key != "seal"} == {k: v for k, v in value.items() if k != "seal"}
    assert text == sealed(dict(reversed(value.items())), indent=indent)


@pytest.mark.parametrize("indent", [None, 1])
def test_every_flipped_bit_and_every_cut_is_seen(indent: int | None) -> None:
    value = {"event": "흰", "score": 0.25, "curve": [1, 2], "host": "a host of 16 let"}
    text = sealed(value, indent=indent) + b"\n"
    for place in range(len(text)):
        assert read(text[:place]) is None or place == len(text) - 1
        for bit in range(8):
            flipped = bytearray(text)
            flipped[place] ^= 1 << bit
            assert read(bytes(flipped)) is None, (place, bit)


def test_an_object_without_a_seal_is_believed_whatever_its_last_key() -> None:
    for value in ({}, {"host": "0123456789abcdef"}, {"a": {"seal": "0123456789abcdef"}}, [1]):
        assert unsealed(json.dumps(value).encode()) == value


def test_a_flipped_bit_in_a_file_of_lines_costs_one_line_at_most() -> None:
    lines = [sealed(event) for event in EVENTS]
    data = b"".join(line + b"\n" for line in lines)
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        found = split_lines(bytes(flipped))
        lost = data[:place].count(b"\n") if data[place : place + 1] != b"\n" else None
        assert list(found.values) == [event for n, event in enumerate(EVENTS) if n != lost], place
        assert lost is None or found.damaged or found.torn or place > len(data) - 3


def test_lines_of_before_are_believed_and_their_torn_end_is_not() -> None:
    whole = b'{"event": "started"}\n'
    found = split_lines(whole + b'{"event": "fini')
    assert (list(found.values), found.damaged, found.torn) == ([{"event": "started"}], (), b'{"event": "fini')
    assert split_lines(whole[:-1]).torn == whole[:-1]
