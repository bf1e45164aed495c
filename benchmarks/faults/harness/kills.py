"""The studies that nobody disturbs, and kills at a share of them."""

import functools
import math
import random
import time

from benchmarks.faults.harness import truth
from benchmarks.faults.harness.equal import Picture, Trials, picture, trials
from benchmarks.faults.harness.studies import Child, Place, eventually, place

TRIALS = 8  # beyond six the sampler no longer draws at random
PRUNED_EPOCHS = 26  # at least so many of the 48 are left, however the rungs fill


@functools.lru_cache(1)
def calm(seed: int, trials: int) -> tuple[Picture, int]:
    """The study that nobody disturbs, one trial at a time, and how many epochs it has."""
    with place() as quiet:
        quiet.search("--trials", trials, "--seed", seed).wait()
        return picture(quiet), len(truth.begun(quiet.truth()))


@functools.lru_cache(1)
def whole(seed: int) -> Trials:
    """The trials of a study whose sampler draws at random, so that order changes nothing, each trained to its end."""
    with place(cpus=2) as quiet:
        quiet.search("--trials", TRIALS, "--seed", seed, "--searcher", "random", "--scheduler", "fifo").wait()
        return trials(quiet)


def kill_at(moment: float, epochs: int, child: Child, where: Place, chance: random.Random) -> None:
    """Kill a study's whole session somewhere in the epoch that begins at this share of the study's epochs."""
    kill_in(max(1, math.ceil(moment * epochs)), child, where, chance)


def kill_in(epoch: int, child: Child, where: Place, chance: random.Random) -> None:
    """Kill a study's whole session somewhere in the epoch of which this is the number, over all its trials."""
    eventually(lambda: len(truth.begun(where.truth())) >= epoch, f"epoch {epoch}", child=child)
    time.sleep(chance.uniform(0, 0.2))
    child.kill_all()
