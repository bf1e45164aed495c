"""Provenance: what a trial was made of beside its configuration: code, packages, hardware, author, host. No paths, no secrets."""

import getpass
import logging
import os
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
log = logging.getLogger("podium.provenance")
DIFF_LIMIT = 200_000
REPOSITORY = Path(__file__).parents[1]


@lru_cache(1)
def provenance() -> dict[str, Any]:
    """Code, package versions and hardware of this process, as JSON values; computed once per process.

    A checkout that git does not read has no commit and no diff: that is said, and nothing stops.
    """
    if told := unread_code():
        log.warning(told)
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
    """Who asked: `PODIUM_AUTHOR`, else the name git knows, else the login name, else the user's number."""
    return setting("PODIUM_AUTHOR") or _git("config", "user.name") or _login()


def _login() -> str:
    """The login name; a container that runs as a number without an entry among the users has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # which one depends on Python's version
        return f"uid {os.getuid()}"


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


def unread_code(repository: Path | None = None) -> str:
    """Why git does not read this checkout (or `repository`), and the way out; empty where it does, or where there is none to read."""
    repository = repository or REPOSITORY
    if not (repository / ".git").exists():
        return ""
    done = _asked("rev-parse", "--git-dir", folder=repository)
    if not isinstance(done, str) and done.returncode == 0:
        return ""
    said = done if isinstance(done, str) else next(iter(done.stderr.splitlines()), f"exit {done.returncode}")
    ours = "dubious ownership" in said
    way_out = f"git config --global --add safe.directory {repository}" if ours else f"git -C {repository} status shows why"
    return f"provenance has no commit and no diff of the code, git does not read the checkout ({said}); mend it with: {way_out}"


def _git(*arguments: str) -> str | None:
    done = _asked(*arguments, folder=REPOSITORY)
    return None if isinstance(done, str) or done.returncode else done.stdout.strip()


def _asked(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str] | str:
    """What git answers, or why it does not run."""
    command = ["git", *arguments]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=10, check=False)
    except FileNotFoundError:
        return "there is no program git"
    except (OSError, subprocess.TimeoutExpired) as error:
        return " ".join(str(error).split())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
