"""The study that nobody disturbs, and kills at a share of it."""

import functools
import math
import random
import time

from benchmarks.faults.harness import truth
from benchmarks.faults.harness.equal import Picture, picture
from benchmarks.faults.harness.studies import Child, Place, eventually, place


@functools.lru_cache(1)
def calm(seed: int, trials: int) -> tuple[Picture, int]:
    """The study that nobody disturbs, one trial at a time, and how many epochs it has."""
    with place() as quiet:
        quiet.search("--trials", trials, "--seed", seed).wait()
        return picture(quiet), len(truth.begun(quiet.truth()))


def kill_at(moment: float, epochs: int, child: Child, where: Place, chance: random.Random) -> None:
    """Kill a study's whole session somewhere in the epoch that begins at this share of the study's epochs."""
    wanted = max(1, math.ceil(moment * epochs))
    eventually(lambda: len(truth.begun(where.truth())) >= wanted, f"epoch {wanted}", child=child)
    time.sleep(chance.uniform(0, 0.2))
    child.kill_all()
