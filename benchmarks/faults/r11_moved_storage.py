"""R11: between kill and resume the storage is moved, or copied to another machine with another cache and more cores.

The other machine is this one: the copied claims and the lease say that they were made elsewhere, so that only silence tells that
their holders are dead.
"""

import json
import random
import re
import shutil
from pathlib import Path

from benchmarks.faults.harness import short_form, truth
from benchmarks.faults.harness.disturb import left_behind, move
from benchmarks.faults.harness.equal import epochs_that_differ, picture, trials
from benchmarks.faults.harness.kills import PRUNED_EPOCHS, TRIALS, calm, kill_at, whole
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import EPOCHS, Place, eventually, place

PLACE = re.compile(r'"place": "[^"]*"')


def run(seed: int, short: bool) -> list[RuleRow]:
    if short:
        return [short_form.row("R11", "storage renamed, resumed from another folder", seed)]
    return [_moved(seed), _elsewhere(seed)]


def _moved(seed: int) -> RuleRow:
    expected, epochs = calm(seed, TRIALS)
    with place() as here:
        kill_at(0.5, epochs, here.search("--trials", TRIALS, "--seed", seed), here, random.Random(f"R11/{seed}"))
        old = move(here)
        here.resume(cwd=Path("/")).wait()
        found = expected.differences(picture(here)) + left_behind(here, old)
    said = "; ".join(found) or "suggestions, decisions, trials, plan and submission byte-equal; nothing at the old path"
    return RuleRow("R11", "storage renamed, resumed from another folder", 1, said, _control(seed), not found)


def _control(seed: int) -> str:
    """A bare Tune whose storage was renamed: where its results are in the end, and what they miss."""
    with place() as here:
        fixed = ("--trials", TRIALS, "--epochs", EPOCHS, "--seed", seed)
        child = here.control(*fixed)
        eventually(lambda: len(truth.finished(here.truth())) >= 2, "two finished trials", child=child)
        child.kill_all()
        finished = truth.finished(here.truth())
        old = move(here)
        results = here.control(*fixed).results()["results"]
        there = {result["trial"] for result in results if result["epoch"] == EPOCHS}
        astray = [result for result in results if Path(result["path"]).is_relative_to(old)]
        again = "made again" if old.exists() else "not made again"
        return (
            f"{len(astray)} of {len(results)} results point to the old path, which is {again}; "
            f"{len(finished - there)} of {len(finished)} finished trials lost, {len(truth.trained_twice(here.truth()))} trained twice"
        )


def _elsewhere(seed: int) -> RuleRow:
    """Killed here with one core, gone on with on another machine with two, then there with one again."""
    expected, chance = whole(seed), random.Random(f"R11/{seed}/elsewhere")
    with place() as here:
        child = here.search("--trials", TRIALS, "--seed", seed, "--searcher", "random")
        kill_at(0.3, PRUNED_EPOCHS, child, here, chance)
        other = {"PODIUM_CACHE": str(here.root / "other-cache")}
        copy_to_another_machine(here)
        here.cpus = 2
        kill_at(0.7, PRUNED_EPOCHS, here.resume(**other), here, chance)
        here.cpus = 1
        here.resume(**other).wait()
        found = trials(here)
        lines = here.truth()
    differ = epochs_that_differ(expected, found)
    twice, most = len(truth.trained_twice(lines)), max(truth.repeats(lines), default=0)
    said = (
        f"{len(found)} trials, {sum(trial['epochs_done'] for trial in found.values())} epochs: {len(differ)} differ from trials never "
        f"interrupted; {twice} trained twice, at most {most} epoch repeated"
    )
    what = "storage copied to another machine and cache, 1 core, then 2, then 1"
    return RuleRow("R11", what, 2, said, "-", not differ and not twice and most <= 1 and len(found) == TRIALS)


def copy_to_another_machine(here: Place) -> None:
    """Copy the storage as another machine would find it, and take the old one away."""
    old = here.storage
    here.storage_name = "copied"
    shutil.copytree(old, here.storage)
    shutil.rmtree(old)
    for claim in [*here.kept.glob("studies/*/lease.json"), *here.kept.glob("trials/*/claim.json")]:
        text = claim.read_bytes().decode()
        held = json.loads(text)
        claim.write_bytes(
            json.dumps({**held, "host": "elsewhere", "place": "another boot"}).encode().ljust(len(text) - 1) + b"\n"
        )
