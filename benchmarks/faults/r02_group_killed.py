"""R2: everything of a study is killed at once, as by a power cut; what goes on afterwards equals the study that never was.

With one trial at a time suggestions, decisions, trials, plan and submission are compared as bytes. With two at a time the order of
arrival decides what is pruned, so there every epoch of every trial is compared with the same trial trained to its end, and what
the journal said before the kill must stand in it afterwards.
"""

import random
from typing import Any

from benchmarks.faults.harness import short_form
from benchmarks.faults.harness.equal import decisions, epochs_that_differ, picture, trials
from benchmarks.faults.harness.kills import PRUNED_EPOCHS, TRIALS, calm, kill_at, whole
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import place

GROUP_MOMENTS = (0.15, 0.3, 0.5, 0.7, 0.9)


def run(seed: int, short: bool) -> list[RuleRow]:
    if short:
        return [short_form.row("R2", "all killed in the middle", seed)]
    return [one_at_a_time(seed, (moment,)) for moment in GROUP_MOMENTS] + [
        one_at_a_time(seed, GROUP_MOMENTS),
        two_at_a_time(seed),
    ]


def one_at_a_time(seed: int, moments: tuple[float, ...]) -> RuleRow:
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
    return RuleRow("R2", f"all killed at {_percent(moments)}, one trial at a time", len(moments), said, "-", not found)


def two_at_a_time(seed: int) -> RuleRow:
    """One study with two trials at a time, killed at all moments."""
    chance = random.Random(f"R2/{seed}/two")
    expected = whole(seed)
    with place(cpus=2) as shaken:
        child = shaken.search("--trials", TRIALS, "--seed", seed, "--searcher", "random")
        journal: list[dict[str, Any]] = []
        kept = True
        for moment in GROUP_MOMENTS:
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
    return RuleRow(
        "R2", f"all killed at {_percent(GROUP_MOMENTS)}, two at a time", len(GROUP_MOMENTS), said, "-", kept and not differ
    )


def _percent(moments: tuple[float, ...]) -> str:
    return ", ".join(f"{moment:.0%}" for moment in moments)
