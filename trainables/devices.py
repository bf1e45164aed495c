"""Where networks can run on this machine: device names, checked before anything is computed."""

import torch


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
