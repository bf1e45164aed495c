"""Podium beside what a competitor writes in an evening: the same minutes, one core, the same published weights, the same photos.

    python -m benchmarks.peers clothing --data ../shared/data --truth ../shared/data/clothing/eval_labels.csv --minutes 5 --to peers

Each side runs alone on one core, one after the other: Podium's search with `--hours` and what it then hands in, a probe, a fine-tuning
script, and plain Ray Tune with OptunaSearch and ASHA (the files beside this one). What is there already in `--to` is not run again. The
truth is read when everything was handed in. AutoGluon-MultiModal does not go into this environment; where one of its own is at hand, its
answers are scored by `--more NAME=answers.csv`.

Seconds are those of the wall and of all cores together (a busy machine gives one core less than a second in a second). With `--same-cpu`
the scripts are given the seconds of a core that Podium took, not the minutes.
"""

import argparse
import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.score import score
from system.files import replace_json

REPOSITORY = Path(__file__).parents[2]
SUBREAPER = 36
"""Of prctl(2): processes whose parent has ended become ours, so that their seconds count."""
PEERS = ("podium", "probe", "finetune", "tune")


def run(given: argparse.Namespace, peer: str, seed: int, seconds: float) -> dict[str, Any]:
    """One side, alone on its core: the file it handed in, and what it took."""
    folder = given.to / f"{given.competition}-{given.minutes:g}min" / f"{peer}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "answers.csv"
    module = [sys.executable, "-m", f"benchmarks.peers.{peer}", given.competition, "--data", given.data, "--out", out]
    clock = ["--clock", "cpu" if given.same_cpu else "wall"]
    if peer == "podium":
        command = [sys.executable, "run_search.py", given.competition, "--hours", given.minutes / 60, "--seed", seed]
        command += ["--storage", folder / "runs"]
        out = folder / "runs" / given.competition / "ensembles/latest/submission.csv"
    elif peer == "probe":
        command = [*module, *clock]
    else:
        command = [*module, "--seconds", seconds, "--seed", seed, *(clock if peer == "finetune" else [])]
    before, began = _cpu(), time.monotonic()
    with open(folder / "log.txt", "wb") as log:
        words = ["taskset", "-c", str(given.core), *map(str, command)]
        environment = {**os.environ, "PODIUM_DATA": str(given.data.resolve()), "OMP_NUM_THREADS": "1"}
        code = subprocess.run(words, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, check=False).returncode
    took = time.monotonic() - began
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    facts = {"peer": peer, "seed": seed, "seconds": round(took, 1), "cpu_seconds": round(_cpu() - before, 1), "exit": code}
    return {**facts, "answers": str(out.resolve().relative_to(given.to.resolve())) if out.is_file() else None}


def _cpu() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("competition")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=1, help="so many for podium and finetune, one for the others")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--same-cpu", action="store_true")
    parser.add_argument("--more", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    given.to.mkdir(parents=True, exist_ok=True)
    rows, seconds = [], given.minutes * 60
    for peer in given.peers.split(","):
        for seed in range(given.seeds if peer in ("podium", "finetune") else 1):
            kept = given.to / f"{given.competition}-{given.minutes:g}min-{peer}-{seed}.json"
            if not kept.is_file():
                replace_json(kept, run(given, peer, seed, seconds))
            rows.append(json.loads(kept.read_text()))
            if peer == "podium" and given.same_cpu:
                seconds = rows[-1]["cpu_seconds"]
            print(json.dumps(rows[-1]), flush=True)
    rows += [{"peer": name, "seed": 0, "answers": file} for name, _, file in (one.partition("=") for one in given.more)]
    for row in rows:
        said = score(given.competition, given.to / row["answers"], given.truth) if row["answers"] else {}
        told = ", ".join(f"{task} {value:.4f}" for task, value in said.items()) or "nothing handed in"
        print(f"{row['peer']} {row['seed']}: {told}; {row.get('seconds')} s, {row.get('cpu_seconds')} s of a core")


if __name__ == "__main__":
    main()
