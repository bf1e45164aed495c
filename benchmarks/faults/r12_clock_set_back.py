"""R12: between kill and resume the clock is set back by a day, and all that was written before seems to come from tomorrow.

`hook/sitecustomize.py` shifts the clock of the driver and its workers; the machine's own is left alone. The second kill and resume
are on the shifted clock, because only there a newer state can be older than an old one.
"""

import random

from benchmarks.faults.harness import short_form, truth
from benchmarks.faults.harness.count import Count
from benchmarks.faults.harness.disturb import BACK, make_files_newer
from benchmarks.faults.harness.equal import picture
from benchmarks.faults.harness.kills import TRIALS, calm, kill_at
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import EPOCHS, Child, Place, eventually, place

WHAT = "clock set back a day, files a day in the future"


def run(seed: int, short: bool) -> list[RuleRow]:
    if short:
        return [short_form.row("R12", WHAT, seed)]
    expected, epochs = calm(seed, TRIALS)
    chance = random.Random(f"R12/{seed}")
    with place() as here:
        kill_at(0.4, epochs, here.search("--trials", TRIALS, "--seed", seed), here, chance)
        make_files_newer(here)
        kill_at(0.75, epochs, here.resume(**BACK), here, chance)
        here.resume(**BACK).wait()
        found = expected.differences(picture(here))
    said = "; ".join(found) or "suggestions, decisions, trials, plan and submission byte-equal"
    return [RuleRow("R12", WHAT, 2, said, str(_control(seed)), not found)]


def _control(seed: int) -> Count:
    """A bare Tune with the same two kills, counted as for R1."""
    fixed = ("--trials", TRIALS, "--epochs", EPOCHS, "--seed", seed)
    count = Count()
    with place() as here:
        _kill_after(here, here.control(*fixed), 2)
        make_files_newer(here)
        _kill_after(here, here.control(*fixed, **BACK), 4)
        finished = truth.finished(here.truth())
        results = here.control(*fixed, **BACK).results()["results"]
        there = {result["trial"] for result in results if result["epoch"] == EPOCHS}
        known = {result["trial"] for result in results}
        count.add(here.truth(), kills=2, finished=finished, there=there, known=known)
    return count


def _kill_after(here: Place, child: Child, finished: int) -> None:
    """Kill a control when so many trials have ended."""
    eventually(lambda: len(truth.finished(here.truth())) >= finished, f"{finished} finished trials", child=child)
    child.kill_all()
