"""The fault bench: everything that can happen to a search happens to it, with a bare Ray Tune beside it where that has a counterpart.

    python -m benchmarks.faults                  all rules, about an hour on two cores
    python -m benchmarks.faults R1 R6            these rules
    python -m benchmarks.faults --short          a short form of each, about 90 seconds, without the control

One rule is one module `benchmarks/faults/r*.py` with a function `run(seed, short) -> list[RuleRow]`. What is counted is counted from a
truth log that only the trials write, never from what the system under test says of itself. Exit code 1 when a promise did not hold.
"""

import argparse
import importlib
import json
import signal
import sys
import time
from dataclasses import asdict

from benchmarks.faults.harness.rows import RuleRow
from system.verbs import table

SCENARIOS: dict[str, str] = {
    "R1": "r01_driver_killed",
    "R2": "r02_group_killed",
    "R3": "r03_worker_killed",
    "R4": "r04_node_removed",
    "R5": "r05_crash_points",
    "R6": "r06_damage",
    "R7": "r07_full_disk",
    "R8": "r08_many_writers",
    "R9": "r09_nan_loss",
    "R10": "r10_two_drivers",
    "R11": "r11_moved_storage",
    "R12": "r12_clock_set_back",
    "R13": "r13_extended",
    "R14": "r14_changes",
}
"""Rule -> its module below `benchmarks.faults`."""


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("rules", nargs="*", metavar="RULE", help=f"among {', '.join(SCENARIOS)} (default: all)")
    made.add_argument("--short", action="store_true", help="about 90 seconds in all, without the control")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--json", action="store_true", help="one JSON document on stdout")
    given = made.parse_args()
    if strange := [rule for rule in given.rules if rule not in SCENARIOS]:
        made.error(f"unknown rules {', '.join(strange)}; there are {', '.join(SCENARIOS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started here ends as well
    rows: list[RuleRow] = []
    for rule in given.rules or SCENARIOS:
        started = time.monotonic()
        found = importlib.import_module(f"benchmarks.faults.{SCENARIOS[rule]}").run(given.seed, given.short)
        rows += found
        for row in found:
            beside = f"; bare Ray Tune: {row.control}" if row.control != "-" else ""
            print(
                f"{row.rule} {row.what}: {row.podium}{beside} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True
            )
    if given.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        words = {True: "held", False: "BROKEN", None: "not run"}
        lines = [[row.rule, row.what, row.cases, row.podium, row.control, words[row.held]] for row in rows]
        print(table(lines, ["rule", "what", "n", "Podium", "bare Ray Tune", "verdict"]))
    return int(any(row.held is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
