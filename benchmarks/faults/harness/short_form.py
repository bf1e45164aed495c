"""The short forms of R1, R2, R3, R9, R11, R12 and R13: two disturbed studies in all, so that they take a minute together.

One small study is extended after its first trial, has its driver killed, then everything killed in its middle, then its storage moved
and the clock set back, and is gone on with from another folder. In the end it must equal the study that nobody disturbs. The study of
R9, whose losses are no numbers, has a worker killed as well. These two run beside the first, for a driver waits for much.
"""

import functools
import random
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from benchmarks.faults.harness import truth, wild
from benchmarks.faults.harness.disturb import BACK, come_to, kill_workers, left_behind, make_files_newer, move
from benchmarks.faults.harness.equal import Picture, picture
from benchmarks.faults.harness.kills import calm, kill_at
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import eventually, place

TRIALS = 3


def row(rule: str, what: str, seed: int) -> RuleRow:
    """What the one disturbed study says about this rule."""
    said, counted, held = _disturbed(seed)
    return RuleRow(rule, f"{what} (one study with the others)", 1, counted if rule == "R1" else said, "-", held[rule == "R1"])


def worker_row(seed: int) -> RuleRow:
    """R3, in the study of R9."""
    return _beside(seed)[1].result()[0]


def wild_row(seed: int) -> RuleRow:
    """R9."""
    return _beside(seed)[1].result()[1]


@functools.lru_cache(1)
def _disturbed(seed: int) -> tuple[str, str, tuple[bool, bool]]:
    """In words what differs from the calm study and what was repeated; and whether both are as promised."""
    quiet = _beside(seed)[0]
    with place() as here:
        here.search("--trials", 1, "--seed", seed).wait()
        first = len(truth.begun(here.truth()))
        child = here.resume("--trials", TRIALS)
        eventually(lambda: len(truth.begun(here.truth())) >= first + 2, "the second trial's second epoch", child=child)
        child.kill()
        expected, epochs = quiet.result()
        kill_at(0.75, epochs, here.resume(), here, random.Random(seed))
        old = move(here)
        make_files_newer(here)
        here.resume(cwd=Path("/"), **BACK).wait()
        found = expected.differences(picture(here)) + left_behind(here, old)
        lines = here.truth()
    twice, most = len(truth.trained_twice(lines)), max(truth.repeats(lines))
    equal = f"{TRIALS} trials, {epochs} epochs: suggestions, decisions, trials, plan and submission byte-equal"
    counted = f"{len(truth.finished(lines))} trials finish, {twice} trained twice; at most {most} epoch repeated"
    return "; ".join(found) or equal, counted, (not found, not twice and most <= 1)


@functools.lru_cache(1)
def _beside(seed: int) -> tuple[Future[tuple[Picture, int]], Future[tuple[RuleRow, RuleRow]]]:
    """The study that nobody disturbs, and after it that of R9."""
    pool = ThreadPoolExecutor(1)
    return pool.submit(calm, seed, TRIALS), pool.submit(_wild, seed)


def _wild(seed: int) -> tuple[RuleRow, RuleRow]:
    with place() as here:
        child = wild.start(here, seed, "--scheduler", "fifo")
        kill_workers(here, child, 1)
        child.wait()
        worker, again = come_to(here, {line.trial for line in here.truth() if line.last})
        said, held = wild.told(here)
    return (
        RuleRow("R3", "a trial's process killed in the middle of an epoch (in the study of R9)", 1, worker, "-", again),
        RuleRow("R9", wild.WHAT, wild.TRIALS, said, "-", held),
    )
