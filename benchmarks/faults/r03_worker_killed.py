"""R3: the process that trains a trial is killed in the middle of an epoch, each trial once; the driver is left alone."""

from benchmarks.faults.harness import short_form
from benchmarks.faults.harness.disturb import come_to, kill_workers
from benchmarks.faults.harness.equal import decisions
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import EPOCHS, place

KILLS = 6


def run(seed: int, short: bool) -> list[RuleRow]:
    if short:
        return [short_form.worker_row(seed)]
    fixed = ("--trials", KILLS, "--seed", seed, "--scheduler", "fifo")
    with place(cpus=2) as here:
        child = here.search(*fixed)
        kill_workers(here, child, KILLS)
        child.wait()
        ended = {event["trial_id"] for event in decisions(here) if event["event"] == "finished"}
        podium, held = come_to(here, ended)
    with place(cpus=2) as here:
        child = here.control(*fixed, "--epochs", EPOCHS, "--max-failures", -1)
        kill_workers(here, child, KILLS)
        results = child.results()["results"]
        control, _ = come_to(here, {result["trial"] for result in results if result["epoch"] == EPOCHS})
    return [RuleRow("R3", "a trial's process killed in the middle of an epoch", KILLS, podium, control, held)]
