"""The short forms of R1, R2, R3, R9, R10, R11, R12 and R13: three disturbed studies in all, for a driver and its Ray take long to start.

One small study has its driver killed, is gone on with for more trials, has everything killed in its middle, then its storage moved and
the clock set back, and is gone on with from another folder. In the end it must equal the study that nobody disturbs. Two other
studies draw the same of a space whose losses are no numbers (R9) in one storage at the same time, and a worker of theirs is killed.
"""

import functools
import math
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.faults.harness import truth, wild
from benchmarks.faults.harness.disturb import BACK, come_to, kill_workers, left_behind, make_files_newer, move
from benchmarks.faults.harness.equal import picture
from benchmarks.faults.harness.kills import calm, kill_in
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import eventually, place
from benchmarks.faults.harness.two_drivers import once_row, refused_row, second

TRIALS = 3
KILLED_IN = 8
"""The second epoch of the second trial: the first trains six, and none is pruned before its second."""


def row(rule: str, what: str, seed: int) -> RuleRow:
    """What the one disturbed study says about this rule."""
    said, counted, held = _disturbed(seed)
    return RuleRow(rule, f"{what} (one study with the others)", 1, counted if rule == "R1" else said, "-", held[rule == "R1"])


def worker_row(seed: int) -> RuleRow:
    """R3, in the studies of R9."""
    return _wild(seed)[0]


def wild_row(seed: int) -> RuleRow:
    """R9."""
    return _wild(seed)[1]


def once(seed: int) -> RuleRow:
    """R10, in the studies of R9."""
    return _wild(seed)[2]


def refused(seed: int) -> RuleRow:
    """R10, in the studies of R9."""
    return refused_row([_wild(seed)[3]], limit_s=math.inf)  # others train meanwhile


@functools.lru_cache(1)
def _disturbed(seed: int) -> tuple[str, str, tuple[bool, bool]]:
    """In words what differs from the calm study and what was repeated; whether both are as promised."""
    with ThreadPoolExecutor(1) as beside, place() as here:
        quiet = beside.submit(calm, seed, TRIALS)
        child = here.search("--trials", 1, "--seed", seed)
        eventually(lambda: len(truth.begun(here.truth())) >= 2, "the second epoch", child=child)
        child.kill()
        kill_in(KILLED_IN, here.resume("--trials", TRIALS), here, random.Random(seed))
        old = move(here)
        make_files_newer(here)
        here.resume(cwd=Path("/"), **BACK).wait()
        expected, epochs = quiet.result()
        found = expected.differences(picture(here)) + left_behind(here, old)
        lines = here.truth()
    twice, most = len(truth.trained_twice(lines)), max(truth.repeats(lines))
    equal = f"{TRIALS} trials, {epochs} epochs: suggestions, decisions, trials, plan and submission byte-equal"
    counted = f"{len(truth.finished(lines))} trials finish, {twice} trained twice; at most {most} epoch repeated"
    return "; ".join(found) or equal, counted, (not found, not twice and most <= 1)


@functools.lru_cache(1)
def _wild(seed: int) -> tuple[RuleRow, RuleRow, RuleRow, tuple[float, bool]]:
    """Two studies that draw the same, with one of their workers killed: R3, R9 and R10; and a second driver's end."""
    names = ("s", "t")
    with place() as here:
        drivers = [wild.start(here, seed, "--scheduler", "fifo", study=name) for name in names]
        eventually((here.kept / "studies/s/plan.json").exists, "the plan", child=drivers[0])
        other = second(here, "s", drivers[0])
        kill_workers(here, drivers[0], 1)
        for driver in drivers:
            driver.wait()
        worker, again = come_to(here, {line.trial for line in here.truth() if line.last})
        said, held = wild.told(here)
        trained_once = once_row(here, names, wild.TRIALS, kills=1)
    return (
        RuleRow("R3", "a trial's process killed in the middle of an epoch (in the studies of R9)", 1, worker, "-", again),
        RuleRow("R9", wild.WHAT, wild.TRIALS, said, "-", held),
        trained_once,
        other,
    )
