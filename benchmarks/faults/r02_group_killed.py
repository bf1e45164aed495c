"""R2: everything of a study is killed at once, as by a power cut; what goes on afterwards equals the study that never was.

With one trial at a time suggestions, decisions, trials, plan and submission are compared as bytes. With two at a time the order of
arrival decides what is pruned, so there every epoch of every trial is compared with the same trial trained to its end, and what
the journal said before the kill must stand in it afterwards.
"""

import functools
import random
from typing import Any

from benchmarks.faults.harness import short_form
from benchmarks.faults.harness.equal import Trials, decisions, epochs_that_differ, picture, trials
from benchmarks.faults.harness.kills import calm, kill_at
from benchmarks.faults.harness.rows import Row
from benchmarks.faults.harness.studies import place

MOMENTS = (0.15, 0.3, 0.5, 0.7, 0.9)
TRIALS = 8  # beyond six the sampler no longer draws at random
PRUNED_EPOCHS = 26  # at least so many of the 48 are left, however the rungs fill


def run(seed: int, short: bool) -> list[Row]:
    if short:
        return [short_form.row("R2", "all killed in the middle", seed)]
    return [one_at_a_time(seed, (moment,)) for moment in MOMENTS] + [one_at_a_time(seed, MOMENTS), two_at_a_time(seed)]


def one_at_a_time(seed: int, moments: tuple[float, ...]) -> Row:
    """One study killed at each of these moments, and compared."""
    expected, epochs = calm(seed, TRIALS)
    chance = random.Random(f"R2/{seed}/{moments}")
    with place() as shaken:
        child = shaken.search("--trials", TRIALS, "--seed", seed)
        for moment in moments:
            kill_at(moment, epochs, child, shaken, chance)
            child = shaken.resume()
        child.wait()
        found = expected.differences(picture(shaken))
    said = "; ".join(found) or f"{TRIALS} trials, {epochs} epochs: suggestions, decisions, trials, plan and submission byte-equal"
    return Row("R2", f"all killed at {_percent(moments)}, one trial at a time", len(moments), said, "-", not found)


@functools.lru_cache(1)
def whole(seed: int) -> Trials:
    """The trials of a study whose sampler draws at random, so that order changes nothing, each trained to its end."""
    with place(cpus=2) as quiet:
        quiet.search("--trials", TRIALS, "--seed", seed, "--searcher", "random", "--scheduler", "fifo").wait()
        return trials(quiet)


def two_at_a_time(seed: int) -> Row:
    """One study with two trials at a time, killed at all moments."""
    chance = random.Random(f"R2/{seed}/two")
    expected = whole(seed)
    with place(cpus=2) as shaken:
        child = shaken.search("--trials", TRIALS, "--seed", seed, "--searcher", "random")
        journal: list[dict[str, Any]] = []
        kept = True
        for moment in MOMENTS:
            kill_at(moment, PRUNED_EPOCHS, child, shaken, chance)
            kept &= decisions(shaken)[: len(journal)] == journal
            journal = decisions(shaken)
            child = shaken.resume()
        child.wait()
        kept &= decisions(shaken)[: len(journal)] == journal
        found = trials(shaken)
    differ = epochs_that_differ(expected, found)
    n = sum(trial["epochs_done"] for trial in found.values())
    said = f"{len(found)} trials, {n} epochs: {len(differ)} differ from trials never interrupted; journal {'kept' if kept else 'LOST'}"
    return Row("R2", f"all killed at {_percent(MOMENTS)}, two at a time", len(MOMENTS), said, "-", kept and not differ)


def _percent(moments: tuple[float, ...]) -> str:
    return ", ".join(f"{moment:.0%}" for moment in moments)
