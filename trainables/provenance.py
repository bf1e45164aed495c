"""Provenance: what a trial was made of beside its configuration: code, packages, hardware, author, host. No paths, no secrets."""

import getpass
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from system.files import file_hash
from system.paths import setting

RECORDED_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "albumentations",
    "opencv-python-headless",
    "numpy",
    "pillow",
    "safetensors",
    "ray",
    "optuna",
)
DIFF_LIMIT = 200_000
REPOSITORY = Path(__file__).parents[1]


@lru_cache(1)
def provenance() -> dict[str, Any]:
    """Code, package versions and hardware of this process, as JSON values; computed once per process."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        **_changes(),
        "packages": {name: _version(name) for name in RECORDED_PACKAGES},
        "python": platform.python_version(),
        "hardware": hardware(),
        "author": author(),
        "host": host(),
    }


def _changes() -> dict[str, Any]:
    """How the code differs from the commit: the diff of known files, and new Python files by their hash."""
    diff = _git("diff", "HEAD", "--", "*.py") or ""
    new = (_git("ls-files", "--others", "--exclude-standard", "--", "*.py") or "").splitlines()
    hashes = {name: file_hash(REPOSITORY / name) for name in new if (REPOSITORY / name).is_file()}
    return {"diff": diff[:DIFF_LIMIT], "diff_is_cut": len(diff) > DIFF_LIMIT, "new_files": hashes}


@lru_cache(1)
def author() -> str:
    """Who asked: `PODIUM_AUTHOR`, else the name git knows, else the login name."""
    return setting("PODIUM_AUTHOR") or _git("config", "user.name") or getpass.getuser()


@lru_cache(1)
def host() -> str:
    """The name of this machine."""
    return platform.node()


def hardware() -> dict[str, Any]:
    """Processor and, where there is one, GPU: bit-equality is promised between equal ones only."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    capability = torch.backends.cpu.get_cpu_capability()
    return {"machine": platform.machine(), "processor": _processor(), "cpu_capability": capability, "gpu": gpu}


def _processor() -> str:
    """The processor's name: libraries choose their code by it, beyond what its capability says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
