"""What choosing an ensemble costs: greedy selection against AutoGluon's, and all subsets of views against one vote after the other.

    python -m benchmarks.selection_speed --peer PYTHON      PYTHON: an interpreter that has autogluon.core==1.6.3
    python -m benchmarks.selection_speed                    the same without that counterpart

Greedy: 200 members x 20,000 photos x 18 classes, 50 rounds, macro-F1; from float16 probabilities to the order; all sides in process
CPU-seconds on one thread, in turn: ours with its loops compiled before, AutoGluon; and a fresh process as a user has it, importing numba
and reading the compiled loops included. AutoGluon takes its first of equal members (its `random_state`), as we
do, so that orders compare. Goal: at least 30 times faster than AutoGluon, same members in the same order.
Subsets: 8 views x 200 trials x 20,000 photos x 3 and x 18 classes, views disagreeing on about a tenth of the photos; wall seconds on
two threads, and CPU-seconds beside them. The counterpart votes some of the 255 subsets one by one by `ensemble.votes`, counted up to all.
Goal: at most 1 s.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks._sides import Sides, spread
from competitions.metrics import METRICS
from ensemble.selection.candidates import Candidates
from ensemble.selection.greedy import Library, select
from ensemble.views.votes import votes_of_sets
from ensemble.votes import RULES, Floats, Ints

MEMBERS, PHOTOS, CLASSES, ROUNDS = 200, 20_000, 18, 50
VIEWS, TRIALS, DIFFERENT = 8, 200, 4
PEER = """
import json, sys, time
import numpy as np
from autogluon.core.metrics import f1_macro
from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection

class First:
    def choice(self, ties):
        return ties[0]

data = np.load(sys.argv[1])
members = [rows.astype(np.float64) for rows in data["probs"]]
chosen = EnsembleSelection(int(sys.argv[2]), "multiclass", f1_macro, random_state=First())
started = time.process_time()
chosen.fit(members, data["labels"])
print(json.dumps({"seconds": time.process_time() - started, "order": [int(member) for member in chosen.indices_]}))
"""


def members(seed: int) -> tuple[Floats, Ints]:
    """Members of different skill whose mistakes are partly the same: probs `(M, N, C) float16`, labels `(N,)`."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, PHOTOS)
    shared = rng.normal(0, 1, (PHOTOS, CLASSES)).astype(np.float32)
    probs = np.empty((MEMBERS, PHOTOS, CLASSES), dtype=np.float16)
    for member in range(MEMBERS):
        logits = shared + rng.normal(0, 1, shared.shape).astype(np.float32)
        logits[np.arange(PHOTOS), labels] += rng.uniform(1.5, 3.0)
        probs[member] = _softmax(2 * logits)
    return probs, labels


def views(seed: int, n_classes: int) -> tuple[Floats, Ints]:
    """Views of one trial `(V, N, C) float16` that disagree on about a tenth of the photos; labels `(N,)`."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, PHOTOS)
    shared = rng.normal(0, 1, (PHOTOS, n_classes)) + 2.5 * np.eye(n_classes)[labels]
    noise = 0.13 if n_classes > 10 else 0.5
    return _softmax(2 * shared + rng.normal(0, noise, (VIEWS, PHOTOS, n_classes))).astype(np.float16), labels


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    whole: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return whole


def selected(probs: Floats, labels: Ints) -> tuple[float, list[int]]:
    """CPU-seconds from probabilities to the order of members, and the order."""
    started = time.process_time()
    chosen = select(Library.of(probs, labels), metric="macro_f1", rounds=ROUNDS)
    return time.process_time() - started, list(chosen.order)


def told(command: list[str]) -> tuple[float, list[int]]:
    """The same from another process, which says so in its last line."""
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    return float(said["seconds"]), said["order"]


def greedy(peer: str | None, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        probs, labels = members(0)
        pool = str(Path(folder) / "pool.npz")
        np.savez(pool, probs=probs, labels=labels)

        sides: dict[str, Callable[[], tuple[float, list[int]]]] = {"ours": partial(selected, probs, labels)}
        sides["a fresh process"] = partial(told, [sys.executable, "-m", "benchmarks.selection_speed", "--fresh", pool])
        if peer:
            sides["AutoGluon"] = partial(told, [peer, "-c", PEER, pool, str(ROUNDS)])
        selected(probs, labels)  # warm: compiled
        rounds = [{name: one() for name, one in sides.items()} for _ in range(repeats)]
    print(f"greedy, {MEMBERS} members x {PHOTOS} x {CLASSES}, {ROUNDS} rounds, CPU-seconds (n={repeats})")
    seconds = {name: tuple(found[name][0] for found in rounds) for name in sides}
    for name, own in seconds.items():
        ratio = f", AutoGluon / this {spread([b / a for a, b in zip(own, seconds['AutoGluon'], strict=True)])}" if peer else ""
        print(f"  {name}: {spread(own)}{ratio}")
    orders = [found[name][1] for found in rounds for name in sides]
    print(f"  same members in the same order: {all(order == orders[0] for order in orders)}, {len(orders[0])} members")


def subsets(n_classes: int, rule: str, repeats: int) -> None:
    trials = [views(seed, n_classes) for seed in range(DIFFERENT)]
    names, rows = tuple(f"v{view}" for view in range(VIEWS)), np.arange(PHOTOS)
    voices = np.ones((1, VIEWS), dtype=np.int64)

    def one(number: int) -> np.ndarray:
        probs, labels = trials[number % DIFFERENT]
        candidates = Candidates(("trial",), names, probs[None], labels, rows.astype(str), "macro_f1")
        return votes_of_sets(candidates, [0], voices, rows, rule=rule).scores(labels, metric="macro_f1")

    def ours() -> tuple[float, float]:
        started = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, range(TRIALS)))
        return time.perf_counter() - started[0], time.process_time() - started[1]

    scores = [one(number) for number in range(DIFFERENT)]  # warm: compiled
    equal = []

    def plain() -> float:
        probs, labels = trials[0]
        started = time.perf_counter()
        some = range(1, 1 << VIEWS, 17)
        for number in some:
            chosen = [view for view in range(VIEWS) if number >> view & 1]
            score = METRICS["macro_f1"](np.eye(n_classes)[RULES[rule].vote(probs[chosen], None).labels], labels)
            equal.append(score == scores[0][number - 1])
        return (time.perf_counter() - started) / len(some) * ((1 << VIEWS) - 1) * TRIALS / 2

    rounds = [(ours(), plain()) for _ in range(repeats)]
    print(f"{(1 << VIEWS) - 1} subsets x {TRIALS} trials x {PHOTOS} x {n_classes}, {rule}, two threads")
    sides = Sides(tuple(mine[0] for mine, _ in rounds), tuple(other for _, other in rounds))
    print(f"  {sides.line('views', 'one by one')}; {spread([mine[1] for mine, _ in rounds])} CPU-s")
    print(f"  equal scores: {all(equal)}")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--peer", metavar="PYTHON", help="an interpreter that has autogluon.core==1.6.3")
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--only", choices=["greedy", "subsets"], help="one of the two (default: both)")
    made.add_argument("--fresh", metavar="POOL", help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.fresh:
        pool = np.load(given.fresh)
        seconds, order = selected(pool["probs"], pool["labels"])
        print(json.dumps({"seconds": seconds, "order": order}))
        return
    if given.only != "greedy":
        for n_classes in (3, CLASSES):
            for rule in ("hard", "soft"):
                subsets(n_classes, rule, given.repeats)
    if given.only != "subsets":
        greedy(given.peer, given.repeats)


if __name__ == "__main__":
    main()
