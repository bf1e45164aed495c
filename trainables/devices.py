"""Where networks can run on this machine: device names, checked before anything is computed, and how this process computes on the CPU."""

import ctypes
import sys

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
RETAINED_BYTES, RETURNED_BYTES = 1 << 30, 1 << 28
"""Freed memory up to the first stays with the process, and blocks from the second on go back to the system at once."""


def devices() -> tuple[str, ...]:
    """The names of this machine's devices: `cpu`, and with GPUs `cuda` and each by its number."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ("cpu", *(("cuda",) if gpus else ()), *(f"cuda:{number}" for number in range(gpus)))


def device_faults(device: str) -> list[str]:
    """What keeps networks from running on a device of this name, in words."""
    there = devices()
    if device in there:
        return []
    why = ", where PyTorch finds no GPU" if device.startswith("cuda") and len(there) == 1 else ""
    return [f"device must be one of this machine{why} ({', '.join(there)}), got {device!r}"]


def compute_with(threads: int) -> None:
    """Let networks of this process compute on so many threads, in memory that it keeps between batches.

    By default glibc gives every freed block over 32 MiB back to the system, which clears it anew for the next layer: a third of a training
    step on one core and most of a forward pass went into that. What is computed stays the same, bit for bit. Elsewhere than on glibc only
    the threads are set. (mallopt(3); docs/results.md has the measurement.)
    """
    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((_MMAP_THRESHOLD, RETURNED_BYTES), (_TRIM_THRESHOLD, RETAINED_BYTES), (_ARENA_MAX, 1)):
            mallopt(option, value)
