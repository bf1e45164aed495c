"""What choosing an ensemble costs: greedy selection against AutoGluon's, and all subsets of views against one vote after the other.

    python -m benchmarks.selection_speed --peer PYTHON      PYTHON: an interpreter that has autogluon.core==1.6.3
    python -m benchmarks.selection_speed                    only the subsets of views

Greedy: 200 members x 20,000 photos x 18 classes, 50 rounds, macro-F1; from float16 probabilities to the order; both sides in process
CPU-seconds on one thread, in turn. AutoGluon takes its first of equal members (its `random_state`), as we do, so that orders compare.
Goal: at least 30 times faster, same members in the same order.
Subsets: 8 views x 200 trials x 20,000 photos x 3 and x 18 classes, views disagreeing on about a tenth of the photos; wall seconds on
two threads. The counterpart votes each of the 255 subsets by `ensemble.votes`, on fewer trials, counted up. Goal: at most 1 s.
"""

import argparse
import json
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks._sides import Sides, in_turn
from competitions.metrics import score_labels
from ensemble.greedy import Library, select
from ensemble.view_subsets import subset_votes
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


def greedy(peer: str, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        probs, labels = members(0)
        np.savez(Path(folder) / "pool.npz", probs=probs, labels=labels)
        orders: list[list[int]] = []

        def ours() -> float:
            started = time.process_time()
            chosen = select(Library.of(probs, labels), metric="macro_f1", rounds=ROUNDS)
            seconds = time.process_time() - started
            orders.append(list(chosen.order))
            return seconds

        def theirs() -> float:
            command = [peer, "-c", PEER, str(Path(folder) / "pool.npz"), str(ROUNDS)]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            orders.append(told["order"])
            return float(told["seconds"])

        sides = in_turn(ours, theirs, repeats=repeats, warm_up=0)
        print(sides.line(f"greedy, {MEMBERS} members x {PHOTOS} x {CLASSES}, {ROUNDS} rounds", "AutoGluon", "CPU-s"))
        print(f"  same members in the same order: {all(order == orders[0] for order in orders)}, {len(orders[0])} members")


def subsets(n_classes: int, rule: str, repeats: int) -> None:
    trials = [views(seed, n_classes) for seed in range(DIFFERENT)]

    def one(number: int) -> np.ndarray:
        probs, labels = trials[number % DIFFERENT]
        return subset_votes(probs, rule).scores(labels, metric="macro_f1")

    def ours() -> float:
        started = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, range(TRIALS)))
        return time.perf_counter() - started

    found = [one(number) for number in range(DIFFERENT)]
    equal = []

    def plain() -> float:
        probs, labels = trials[0]
        started = time.perf_counter()
        some = range(1, 1 << VIEWS, 17)
        for subset in some:
            chosen = [view for view in range(VIEWS) if subset >> view & 1]
            score = score_labels("macro_f1", RULES[rule].vote(probs[chosen], None).labels, labels, n_classes)
            equal.append(score == found[0][subset - 1])
        return (time.perf_counter() - started) / len(some) * ((1 << VIEWS) - 1) * TRIALS / 2

    sides: Sides = in_turn(ours, plain, repeats=repeats)
    print(sides.line(f"{(1 << VIEWS) - 1} subsets x {TRIALS} trials x {PHOTOS} x {n_classes}, {rule}", "one by one, two threads"))
    print(f"  equal scores: {all(equal)}")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--peer", metavar="PYTHON", help="an interpreter that has autogluon.core==1.6.3")
    made.add_argument("--repeats", type=int, default=5)
    given = made.parse_args()
    for n_classes in (3, CLASSES):
        for rule in ("hard", "soft"):
            subsets(n_classes, rule, given.repeats)
    if given.peer:
        greedy(given.peer, given.repeats)


if __name__ == "__main__":
    main()
