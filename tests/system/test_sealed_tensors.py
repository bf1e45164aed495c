"""A checkpoint is checked as a whole, header and tensors, without the library that wrote it."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from ledger.reading import OtherTrialError, read_state
from ledger.trials import Record
from system import sealed_tensors

RECORD = Record("t0", "c", "age", 0, 0, 3, epochs_done=1, curve=[0.5], host="0123456789abcdef0123456789abcdef")


def checkpoint(path: Path, *, seal: bool = True) -> bytes:
    """A file of one tensor, by its format."""
    told = {"trial_id": "t0", "epoch": 1, "record": asdict(RECORD), "metrics": [{"epoch": 1}]}
    told |= {"seal": sealed_tensors.UNSEALED} if seal else {}
    facts = {"__metadata__": {"podium": json.dumps(told)}, "x": {"dtype": "U8", "shape": [16], "data_offsets": [0, 16]}}
    header = json.dumps(facts).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(range(16))
    path.write_bytes(sealed_tensors.seal(data) if seal else data)
    return path.read_bytes()


def is_whole(path: Path) -> bool:
    try:
        sealed_tensors.check(path)
    except ValueError:
        return False
    return True


def test_every_flipped_bit_and_every_cut_of_a_sealed_checkpoint_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    data = checkpoint(path)
    assert is_whole(path)
    assert read_state(path, "t0")["metrics"] == [{"epoch": 1}]
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        assert not is_whole(path), place
    for length in (0, 4, 8, 60, len(data) - 1):
        path.write_bytes(data[:length])
        assert not is_whole(path)


def test_a_checkpoint_of_before_is_believed_and_its_length_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    data = checkpoint(path, seal=False)
    assert is_whole(path)
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"last\.safetensors is cut short"):
        sealed_tensors.check(path)


def test_another_trials_checkpoint_is_no_damage(tmp_path: Path) -> None:
    checkpoint(tmp_path / "last.safetensors")
    with pytest.raises(OtherTrialError, match="belongs to trial t0; move it away"):
        read_state(tmp_path / "last.safetensors", "t1")
    with pytest.raises(ValueError, match="one place for a seal"):
        sealed_tensors.seal(checkpoint(tmp_path / "sealed"))
