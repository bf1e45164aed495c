"""R1: the driver of a study is killed by SIGKILL at random moments and started again at once, with the study's workers still dying.

Moments are drawn from the seed and spread over what a driver does: start-up, trials running, a trial just ended, views being computed.
What finished and what was trained twice is counted from the truth log, what is still there from the trials' folders. Two trials run
at a time, and five kills fall on each study.
"""

import json
import random
import time
from collections.abc import Callable
from typing import Any

from benchmarks.faults.harness import short_form, truth
from benchmarks.faults.harness.count import Count
from benchmarks.faults.harness.equal import decisions
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import EPOCHS, Child, Place, eventually, place
from ledger.studies import StudyFolder

STUDIES, TRIALS = 4, 8
DRIVER_MOMENTS = ("start-up", "epoch", "trial ended", "epoch", "views")
LONGEST_START_S = 8.0


class EndedError(RuntimeError):
    """A driver that was to be killed ended by itself."""


def run(seed: int, short: bool) -> list[RuleRow]:
    if short:
        return [short_form.row("R1", "driver killed", seed)]
    ours, control = Count(), Count()
    for number in range(STUDIES):
        chance = random.Random(f"R1/{seed}/{number}")
        with place(cpus=2) as here:
            _study(here, chance, seed + number, ours)
        with place(cpus=2) as here:
            _control(here, random.Random(f"R1/{seed}/{number}"), seed + number, control)
    told = f"{control.kills} kills: {control}"
    return [RuleRow("R1", f"driver killed at {ours.kills} random moments", ours.kills, str(ours), told, ours.held)]


def _study(here: Place, chance: random.Random, seed: int, count: Count) -> None:
    """One study of ours; a finished trial is there when its folder says so with the weights it had at the kill."""

    def start() -> Child:
        new = ("--trials", TRIALS, "--seed", seed)
        return here.resume() if StudyFolder(here.kept / "studies/s").planned else here.search(*new)

    weights: dict[str, str] = {}
    for moment in DRIVER_MOMENTS:
        _kill(start, moment, here, chance)
        weights |= {trial: _record(here, trial)["weights"] for trial in truth.finished(here.truth()) - weights.keys()}
    start().wait()
    told = [event["trial_id"] for event in decisions(here) if event["event"] == "finished"]
    there = {trial for trial in told if told.count(trial) == 1 and _is_whole(_record(here, trial), weights)}
    known = {path.name for path in (here.kept / "trials").iterdir()}
    count.add(here.truth(), kills=len(DRIVER_MOMENTS), finished=set(weights), there=there, known=known)


def _control(here: Place, chance: random.Random, seed: int, count: Count) -> None:
    """The same of a bare Ray Tune; a finished trial is there when its result grid has it with all its epochs."""

    def start() -> Child:
        return here.control("--trials", TRIALS, "--epochs", EPOCHS, "--seed", seed)

    results, kills, finished = [], 0, set[str]()
    try:
        for moment in DRIVER_MOMENTS:
            try:
                _kill(start, moment.replace("views", "epoch"), here, chance)
            except EndedError:
                break  # it had come to its end, or cannot go on: the next start says which
            kills, finished = kills + 1, truth.finished(here.truth())
        results = start().results()["results"]
    except RuntimeError as error:
        count.broken.append(str(error).strip().splitlines()[-1][:120])
    there = {result["trial"] for result in results if result["epoch"] == EPOCHS}
    known = {result["trial"] for result in results}
    count.add(here.truth(), kills=kills, finished=finished, there=there, known=known)


def _kill(start: Callable[[], Child], moment: str, here: Place, chance: random.Random) -> None:
    """Start a driver and kill it, alone, at such a moment."""
    before = here.truth()
    child = start()
    ended = len(truth.finished(before))
    epochs = len(before) + 2 * chance.randint(1, 5)
    waits: dict[str, Callable[[], Any]] = {
        "start-up": lambda: True,
        "epoch": lambda: len(here.truth()) >= epochs,
        "trial ended": lambda: sum(line.last for line in here.truth()) > ended,
        "views": lambda: "computing" in child.said,
    }
    eventually(lambda: child.ended or waits[moment](), moment)
    time.sleep(chance.uniform(0, LONGEST_START_S if moment == "start-up" else 0.3))
    if child.ended:
        raise EndedError(f"the driver ended before it was killed ({moment}): {child.said}")
    child.kill()


def _record(here: Place, trial: str) -> dict[str, Any]:
    return dict(json.loads((here.kept / "trials" / trial / "record.json").read_text()))


def _is_whole(record: dict[str, Any], weights: dict[str, str]) -> bool:
    """Whether all epochs are there, and the best weights are those that were seen at a kill."""
    whole = record["epochs_done"] == record["epochs_planned"] == len(record["curve"])
    return bool(whole and weights.get(record["trial_id"], record["weights"]) == record["weights"])
