"""The cores that this process may use: those of its affinity, and no more than its control groups grant it (a container's limit)."""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class Cores:
    """How many whole cores, and what limits them, in words."""

    n: int
    why: str


def usable_cores(root: Path = ROOT) -> Cores:
    """The cores that this process may use, at least one.

    Args:
        root: Where `/proc/self/cgroup` and `/sys/fs/cgroup` are looked for.
    """
    there = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    granted = cgroup_cores(root)
    if granted is not None and granted < allowed:
        return Cores(max(1, int(granted)), f"a control group grants this process {granted:g} of the machine's {there} cores")
    if allowed < there:
        return Cores(allowed, f"this process may run on {allowed} of the machine's {there} cores (taskset, or a batch system)")
    return Cores(there, f"the machine has {there} core{'' if there == 1 else 's'}")


def cgroup_cores(root: Path = ROOT) -> float | None:
    """The smallest share of CPU time, in cores, of this process's control groups and all above them; `None` without a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    shares: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names, mounts = controllers.split(","), root / "sys/fs/cgroup"
        if not controllers:
            shares += [share for folder in _upwards(mounts, path) if (share := _share_v2(folder)) is not None]
        elif "cpu" in names:
            for mount in dict.fromkeys((controllers, "cpu")):
                shares += [share for folder in _upwards(mounts / mount, path) if (share := _share_v1(folder)) is not None]
    return min(shares, default=None)


def _upwards(mount: Path, path: str) -> list[Path]:
    """A group's folder and those above it. In a container the path may be one of outside; the mount itself is then the group."""
    own = mount / path.lstrip("/")
    return [own, *(folder for folder in own.parents if folder.is_relative_to(mount))]


def _share_v2(folder: Path) -> float | None:
    words = _words(folder / "cpu.max")
    return int(words[0]) / int(words[1]) if len(words) == 2 and all(word.isdecimal() for word in words) else None


def _share_v1(folder: Path) -> float | None:
    quota, period = (_words(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if len(quota) != 1 or len(period) != 1 or not (quota[0].isdecimal() and period[0].isdecimal()):
        return None  # a quota of -1 is none
    return int(quota[0]) / int(period[0]) if int(period[0]) else None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
