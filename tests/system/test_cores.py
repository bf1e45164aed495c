"""How many cores this process may use: its affinity, and what control groups of both versions grant it and all above them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from system.cores import Cores, cgroup_cores, usable_cores

ROOT = Path(__file__).parents[2]
ON_ONE_CORE = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "


def machine(root: Path, groups: str, **limits: str) -> Path:
    """A file system that says these groups and limits (`__` stands for a folder)."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in limits.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cpu_cfs", "cpu.cfs")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "limits", "granted"),
    [
        ("0::/a/b\n", {"a__b__cpu_max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a__b__cpu_max": "max 100000\n", "a__cpu_max": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {"a__b__cpu_max": "max 100000\n"}, None),
        ("0::/\n", {"cpu_max": "50000 100000\n"}, 0.5),
        ("0::/of/the/host\n", {"cpu_max": "300000 100000\n"}, 3.0),
        (
            "4:cpu,cpuacct:/a\n",
            {"cpu,cpuacct__a__cpu_cfs_quota_us": "250000\n", "cpu,cpuacct__a__cpu_cfs_period_us": "100000\n"},
            2.5,
        ),
        ("4:cpu:/a\n", {"cpu__a__cpu_cfs_quota_us": "-1\n", "cpu__a__cpu_cfs_period_us": "100000\n"}, None),
        ("4:memory:/a\n0::/\n", {}, None),
        ("4:cpu:/a\n", {"cpu__a__cpu_cfs_quota_us": "damaged\n", "cpu__a__cpu_cfs_period_us": "100000\n"}, None),
    ],
)
def test_the_smallest_share_of_all_groups_above_counts(
    groups: str, limits: dict[str, str], granted: float | None, tmp_path: Path
) -> None:
    assert cgroup_cores(machine(tmp_path, groups, **limits)) == granted


def test_without_control_groups_the_affinity_alone_counts(tmp_path: Path) -> None:
    assert cgroup_cores(tmp_path) is None
    assert usable_cores(tmp_path).n == len(os.sched_getaffinity(0))


def test_less_than_a_core_is_one_and_the_reason_is_said(tmp_path: Path) -> None:
    half = machine(tmp_path, "0::/\n", cpu_max="50000 100000\n")
    assert usable_cores(half) == Cores(1, f"a control group grants this process 0.5 of the machine's {os.cpu_count()} cores")


@pytest.mark.long
def test_our_own_ray_on_one_core_runs_one_trial_at_a_time_and_refuses_two_threads() -> None:
    code = (
        f"{ON_ONE_CORE}from types import SimpleNamespace\n"
        "from search.tune.ray_session import at_once, ray_session\n"
        "from search.tune.run import _check_resources\n"
        "with ray_session(None):\n"
        "    print(at_once(1, 0))\n"
        "    _check_resources(SimpleNamespace(address=None, cpus_per_trial=2, gpus_per_trial=0, resume=False))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split()[:1] == ["1"], done.stderr
    assert "cpus-per-trial must be at most 1, as this process may run on 1 of the machine's" in done.stderr
    assert "got 2; ask for less" in done.stderr
