"""R10: two drivers at once on one storage.

Two studies draw from one small space with one seed, each with a Ray of its own, so that they ask for the same configurations at the
same time: each must be trained once, and both must have its score. Meanwhile a second driver of one of them is refused.
"""

import json
import os
import re
import time

from benchmarks.faults.harness import truth
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import TARGET, Child, Place, document, eventually, place

SPACE = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = PLANNED, 2, 2
def suggest(trial):
    return {
        "backbone": "test_byobnet",
        "epochs": MAX_EPOCHS,
        "batch_size": 16,
        "lr": trial.suggest_categorical("lr", [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]),
        "augmentation": "none",
    }
"""
TWO_STUDIES = ("a", "b")
REFUSED_WITHIN_S = 5.0


def run(seed: int, short: bool) -> list[RuleRow]:
    """Both in one launch; in full with more trials, successive halving and the control."""
    with place() as where:
        where.space("few", SPACE.replace("PLANNED", "6" if short else "12"))
        trials, scheduler = (2, "fifo") if short else (4, "asha")
        drivers = {name: _start(where, name, trials, scheduler, seed) for name in TWO_STUDIES}
        first = drivers["a"]
        eventually(lambda: (where.kept / "studies/a/plan.json").exists(), "the plan of a", child=first)
        refused = [_second(where, first) for _ in range(1 if short else 5)]
        for driver in drivers.values():
            driver.wait()
        control = ("-", "-") if short else _control(seed)
        return [_refused(refused, control[0]), _once(where, trials, control[1])]


def _start(where: Place, name: str, trials: int, scheduler: str, seed: int) -> Child:
    asked = ("--space", "few", "--targets", TARGET, "--trials", trials, "--seed", seed, "--scheduler", scheduler, "--json")
    return where.start("run_search.py", where.yaml, *asked, "--study", name)


def _second(where: Place, first: Child) -> tuple[float, bool]:
    """Seconds from a second driver's start to its end, and whether it was refused with who, where and since when."""
    began = time.monotonic()
    child = where.start("run_search.py", where.yaml, "--resume", "a")
    child.process.wait(60)
    seconds = time.monotonic() - began
    told = rf"study 'a' is being run by process {first.process.pid} on {re.escape(os.uname().nodename)} since \d{{4}}-\d\d-\d\dT"
    return seconds, child.process.returncode == 2 and bool(re.search(told, child.said))


def _refused(refused: list[tuple[float, bool]], control: str) -> RuleRow:
    slowest, named = max(seconds for seconds, _ in refused), sum(right for _, right in refused)
    held = named == len(refused) and slowest <= REFUSED_WITHIN_S
    said = f"{named} of {len(refused)} refused with process, host and time, the slowest after {slowest:.1f} s"
    return RuleRow("R10", "second driver on a running study", len(refused), said, control, held)


def _once(where: Place, trials: int, control: str) -> RuleRow:
    lines = where.truth()
    begun = [(line.trial, line.epoch) for line in lines if line.at == "begin"]
    asked = {name: _asked(where, name) for name in TWO_STUDIES}
    shared = set(asked["a"]) & set(asked["b"])
    ended = {name: {trial for trial in asked[name] if _ended(where, trial)} for name in TWO_STUDIES}
    repeated = len(begun) - len(set(begun))
    short_of = [name for name in TWO_STUDIES if len(ended[name]) < trials]
    unknown = sum(_without_end(where, name) for name in TWO_STUDIES)
    said = (
        f"{len(shared)} asked for by both, {len(truth.trained_twice(lines))} trained twice, {repeated} epochs repeated, "
        f"{unknown} left without an end"
    )
    held = bool(shared) and not repeated and not truth.trained_twice(lines) and not short_of and not unknown
    return RuleRow("R10", "two studies ask for the same configurations", len(asked["a"]) + len(asked["b"]), said, control, held)


def _asked(where: Place, study: str) -> list[str]:
    files = sorted((where.kept / "studies" / study / "suggestions").glob("[0-9]*.json"))
    return [str(json.loads(file.read_text())["trial_id"]) for file in files]


def _ended(where: Place, trial: str) -> bool:
    return (where.kept / "trials" / trial / "record.json").exists()


def _without_end(where: Place, study: str) -> int:
    """How many of the study's trials its events leave open."""
    lines = (where.kept / "studies" / study / "events.jsonl").read_text().splitlines()
    last = {event["trial_id"]: event["event"] for event in map(json.loads, lines) if "trial_id" in event}
    return sum(last.get(trial) not in ("finished", "pruned", "answered", "diverged") for trial in _asked(where, study))


def _control(seed: int) -> tuple[str, str]:
    """Bare Ray Tune: the same command twice, the second while the first runs, as after a connection that only seemed to be lost."""
    with place() as where:
        asked = ("--trials", 4, "--epochs", 60, "--seed", seed, "--scheduler", "fifo")  # so long that the second meets the first
        first = where.control(*asked)
        eventually(lambda: len(truth.begun(where.truth())) >= 3, "the third epoch of the control", child=first)
        second = where.control(*asked)
        codes = []
        for child in (first, second):
            child.wait(code=None)
            codes.append(child.process.returncode)
        lines = where.truth()
        ends = [line for line in lines if line.at == "end" and line.last]
        told = [len(document(child.out.read_text())["results"]) for child in (first, second) if child.process.returncode == 0]
        refused = "not refused" if codes[1] == 0 else f"exit {codes[1]}"
        begun = [(line.trial, line.epoch) for line in lines if line.at == "begin"]
        repeated = len(begun) - len(set(begun))
        return refused, f"{len(ends)} trained to their end for 4 asked, {repeated} epochs repeated, results tell of {told} trials"
