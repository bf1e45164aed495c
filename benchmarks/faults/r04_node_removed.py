"""R4: a Ray node is removed while it trains a trial, and another is added; the driver is left alone.

The nodes are those of `ray.cluster_utils.Cluster`, all on this machine: a head without cores and two nodes with one core each.
"""

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.harness import truth
from benchmarks.faults.harness.disturb import come_to
from benchmarks.faults.harness.equal import decisions
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import EPOCHS, HOOK, ROOT, Child, Place, eventually, place

TRIALS = 12  # so many that both nodes train at some time, however long a process takes to start
NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}
WHAT = "a node removed in the middle of a trial, another added"


def run(seed: int, short: bool) -> list[RuleRow]:
    if short:
        return [RuleRow("R4", WHAT, 0, "not in the short form: three nodes take too long to start", "-", None)]
    fixed = ("--trials", TRIALS, "--seed", seed, "--scheduler", "fifo")
    with place() as here:
        _disturb(here, lambda address: here.search(*fixed, "--address", address, **NO_TOKEN)).wait()
        ended = {event["trial_id"] for event in decisions(here) if event["event"] == "finished"}
        podium, held = come_to(here, ended)
    with place() as here:
        more = ("--epochs", EPOCHS, "--max-failures", -1)
        child = _disturb(here, lambda address: here.control(*fixed, *more, "--address", address))
        results = child.results()["results"]
        control, _ = come_to(here, {result["trial"] for result in results if result["epoch"] == EPOCHS})
    return [RuleRow("R4", WHAT, 1, podium, control, held)]


def _disturb(here: Place, start: Callable[[str], Child]) -> Child:
    """Start a search on a cluster of its own, and change its nodes while both train."""
    folder = here.root / "cluster"
    folder.mkdir()
    path = os.pathsep.join([str(HOOK), str(ROOT)])
    environment = {"PYTHONPATH": path, "RAY_OVERRIDE_RESOURCES": "", **NO_TOKEN}
    nodes = here.run(["-m", "benchmarks.faults.harness.cluster", folder], ROOT, environment)
    address = eventually(lambda: _read(folder / "address"), "the cluster's start", child=nodes)
    child = start(address)
    eventually(lambda: _both_train(here), "two trials in their second epoch", child=child)
    (folder / "change").touch()
    eventually((folder / "changed").exists, "the other node", child=nodes)
    return child


def _both_train(here: Place) -> bool:
    lines = truth.running(here.truth())
    return len(lines) == 2 and all(2 <= line.epoch < EPOCHS for line in lines)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
