"""What the exact best 5 of 30 members costs, against one vote per subset.

    python -m benchmarks.best_subset_speed

142,506 subsets, hard vote, one vote per member, macro-F1, 20,000 photos x 3 and x 18 classes on which members disagree (83 % and 99 % of
the photos: hard ones); process CPU-seconds of two threads, and wall seconds, which fall to half of that where two cores are free. The
counterpart votes each subset by `ensemble.votes` on the ballots' probabilities, on a few subsets, counted up. Goal: 8 s on two cores.
"""

import argparse
import time
from math import comb

import numpy as np

from benchmarks._sides import in_turn, spread
from ensemble.selection.best_subset import best_subset
from ensemble.selection.candidates import Candidates
from ensemble.votes import RULES

MEMBERS, CHOSEN, PHOTOS = 30, 5, 20_000
SOME = 20


def pool(seed: int, n_classes: int) -> Candidates:
    """Members of different skill whose mistakes are partly the same."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, PHOTOS)
    shared = rng.normal(0, 1, (PHOTOS, n_classes)).astype(np.float32)
    probs = np.empty((MEMBERS, 1, PHOTOS, n_classes), dtype=np.float16)
    for member in range(MEMBERS):
        logits = shared + rng.normal(0, 1, shared.shape).astype(np.float32)
        logits[np.arange(PHOTOS), labels] += rng.uniform(1.5, 3.0)
        powers = np.exp(2 * (logits - logits.max(axis=1, keepdims=True)))
        probs[member, 0] = powers / powers.sum(axis=1, keepdims=True)
    names = tuple(f"m{number:02}" for number in range(MEMBERS))
    return Candidates(names, ("identity",), probs, labels, np.arange(PHOTOS).astype(str), "macro_f1")


def compare(n_classes: int, repeats: int) -> None:
    candidates = pool(0, n_classes)
    sample, rng = candidates.sample(), np.random.default_rng(1)
    walls: list[float] = []

    def ours() -> float:
        wall, cpu = time.perf_counter(), time.process_time()
        best_subset(candidates, sample, sizes=[CHOSEN], n_threads=2)
        walls.append(time.perf_counter() - wall)
        return time.process_time() - cpu

    def plain() -> float:
        cpu = time.process_time()
        for _ in range(SOME):
            members = np.sort(rng.permutation(MEMBERS)[:CHOSEN])
            candidates.score(RULES["hard"].vote(candidates.probs[members, 0], None), sample)
        return (time.process_time() - cpu) / SOME * comb(MEMBERS, CHOSEN)

    sides = in_turn(ours, plain, repeats=repeats, warm_up=0)
    print(sides.line(f"best {CHOSEN} of {MEMBERS}, {PHOTOS} x {n_classes}", "one by one", "CPU-s"), f"wall {spread(walls)} s")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=5)
    given = made.parse_args()
    for n_classes in (3, 18):
        compare(n_classes, given.repeats)


if __name__ == "__main__":
    main()
