"""A file is the old one or the new one, lines are whole, and equal values have equal names."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from system.files import append_line, file_hash, fingerprint, read_json, read_lines, replace_bytes, replace_json

ROOT = Path(__file__).parents[2]
SIZE = 8_000_000
# Replaces one file for ever by versions that each consist of one repeated byte, and says so when it begins.
WRITER = f"""
import sys
from pathlib import Path
from system.files import replace_bytes
print("ready", flush=True)
for number in range(1, 10**9):
    replace_bytes(Path(sys.argv[1]), bytes([number % 256]) * {SIZE}, durable=number % 2 == 0)
"""
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=8,
)


def test_a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, chance = tmp_path / "big", random.Random(0)
    path.write_bytes(b"\0" * SIZE)
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", WRITER, str(path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.06))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        data = path.read_bytes()
        assert len(data) == SIZE
        assert len(set(data)) == 1, "half of one version and half of another"


def test_a_reader_never_sees_half_a_file_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"\0" * SIZE)
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", WRITER, str(path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert child.stdout is not None
    child.stdout.readline()
    try:
        seen = set()
        end = time.monotonic() + 20
        while len(seen) < 4 and time.monotonic() < end:
            data = path.read_bytes()
            assert len(data) == SIZE
            assert data.count(data[:1]) == SIZE
            seen.add(data[0])
    finally:
        child.kill()
        child.communicate()
    assert len(seen) == 4, "the writer should have replaced the file meanwhile"


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    replace_json(path, {"score": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace_json(path, {"score": float("nan")})
    with pytest.raises(TypeError):
        replace_bytes(path, "text")  # type: ignore[arg-type]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        replace_bytes(tmp_path / "file" / "record.json", b"")
    assert read_json(path) == {"score": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "record.json"]


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    replace_json(tmp_path / "new" / "a.json", {"b": "흰", "a": [1, 2.5]})
    replace_json(tmp_path / "new" / "b.json", {"a": [1, 2.5], "b": "흰"})
    assert file_hash(tmp_path / "new" / "a.json") == file_hash(tmp_path / "new" / "b.json")


def test_a_cut_json_file_is_named(tmp_path: Path) -> None:
    replace_json(tmp_path / "record.json", {"score": 0.5, "curve": [0.1, 0.5]})
    whole = (tmp_path / "record.json").read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        (tmp_path / "record.json").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"record\.json is not readable JSON"):
            read_json(tmp_path / "record.json")
    (tmp_path / "record.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"record\.json is not readable JSON"):
        read_json(tmp_path / "record.json")


def test_a_last_line_that_was_cut_off_is_left_out_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_lines(path) == []
    lines = [{"event": "stopped", "trial": "a"}, {"event": "흰\nblack", "n": 1}, {"both": [1, 2]}]
    for line in lines:
        append_line(path, line)
    whole = path.read_bytes()
    starts = [0] + [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        assert read_lines(path) == lines[: sum(start - 1 <= length for start in starts[1:])], "all but its end is whole"
    path.write_bytes(b'{"event": "sto\n' + whole)
    with pytest.raises(ValueError, match=r"events\.jsonl has 1 unreadable lines"):
        read_lines(path)


@given(VALUES)
def test_a_fingerprint_survives_json_and_the_order_of_keys(value: Any) -> None:
    def reversed_keys(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: reversed_keys(one[key]) for key in reversed(one)}
        return [reversed_keys(v) for v in one] if isinstance(one, list) else one

    name = fingerprint(value)
    assert name == fingerprint(json.loads(json.dumps(value))) == fingerprint(reversed_keys(value))
    assert fingerprint(value, length=40).startswith(name)
    assert fingerprint([value]) != name


def test_the_canonical_form_is_frozen() -> None:
    """A changed form would rename every trial of every team."""
    assert fingerprint({"b": [1, 2.5, None, True], "a": "흰"}) == "2db560e9274dc216"
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint(float("inf"))


def test_a_line_that_was_cut_off_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append_line(path, {"n": 1})
    with open(path, "ab") as file:
        file.write(b'{"n": 2, "half')
    append_line(path, {"n": 3})
    assert read_lines(path) == [{"n": 1}, {"n": 3}]
