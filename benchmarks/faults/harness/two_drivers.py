"""Two drivers at once on one storage: the second of one study is refused, and what two studies ask for is trained once."""

import json
import os
import re
import time
from collections.abc import Sequence

from benchmarks.faults.harness import truth
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import Child, Place

REFUSED_WITHIN_S = 5.0
"""What is promised on a machine that has nothing else to do."""


def second(where: Place, study: str, first: Child) -> tuple[float, bool]:
    """Seconds from a second driver's start to its end, and whether it was refused with who, where and since when."""
    began = time.monotonic()
    child = where.start("run_search.py", where.yaml, "--resume", study)
    child.process.wait(60)
    seconds = time.monotonic() - began
    told = rf"study {study!r} is being run by process {first.process.pid} on {re.escape(os.uname().nodename)} since \d{{4}}-\d\d-\d\dT"
    return seconds, child.process.returncode == 2 and bool(re.search(told, child.said))


def refused_row(refused: Sequence[tuple[float, bool]], *, limit_s: float = REFUSED_WITHIN_S, control: str = "-") -> RuleRow:
    """What became of so many second drivers (see `second`), each of which has to be refused within so many seconds."""
    slowest, named = max(seconds for seconds, _ in refused), sum(right for _, right in refused)
    held = named == len(refused) and slowest <= limit_s
    said = f"{named} of {len(refused)} refused with process, host and time, the slowest after {slowest:.1f} s"
    return RuleRow("R10", "second driver on a running study", len(refused), said, control, held)


def once_row(where: Place, studies: Sequence[str], trials: int, *, kills: int = 0, control: str = "-") -> RuleRow:
    """Whether studies that asked for the same configurations, of which each asked for so many, trained each once.

    Args:
        where: Their place.
        studies: Their names.
        trials: How many each asked for.
        kills: How many workers were killed; each may cost one epoch.
        control: What a bare Ray Tune does.
    """
    lines = where.truth()
    begun = [(line.trial, line.epoch) for line in lines if line.at == "begin"]
    wanted = {name: _suggested(where, name) for name in studies}
    shared = set.intersection(*map(set, wanted.values()))
    ended = {name: {trial for trial in wanted[name] if _ended(where, trial)} for name in studies}
    repeated = len(begun) - len(set(begun))
    short_of = [name for name in studies if len(ended[name]) < trials]
    unknown = sum(_without_end(where, name) for name in studies)
    said = (
        f"{len(shared)} asked for by both, {len(truth.trained_twice(lines))} trained twice, {repeated} epochs repeated, "
        f"{unknown} left without an end"
    )
    held = bool(shared) and repeated <= kills and not truth.trained_twice(lines) and not short_of and not unknown
    return RuleRow("R10", "two studies ask for the same configurations", sum(map(len, wanted.values())), said, control, held)


def _suggested(where: Place, study: str) -> list[str]:
    files = sorted((where.kept / "studies" / study / "suggestions").glob("[0-9]*.json"))
    return [str(json.loads(file.read_text())["trial_id"]) for file in files]


def _ended(where: Place, trial: str) -> bool:
    return (where.kept / "trials" / trial / "record.json").exists()


def _without_end(where: Place, study: str) -> int:
    """How many of the study's trials its events leave open."""
    lines = (where.kept / "studies" / study / "events.jsonl").read_text().splitlines()
    last = {event["trial_id"]: event["event"] for event in map(json.loads, lines) if "trial_id" in event}
    return sum(last.get(trial) not in ("finished", "pruned", "answered", "diverged") for trial in _suggested(where, study))
