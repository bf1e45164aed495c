"""How much too good an honest score still is, because every trial's epoch was picked on the fold: a simulation with known truth.

    python -m benchmarks.search_optimism

Trials of equal skill answer three classes. Whether a trial is right in an epoch depends on the group, the photo, the trial and the epoch
(normal, standard deviations 0.7, 0.7, 0.5 and `--epoch-sd`); the epoch that scores best on the fold is the trial's, as in a search. The
hard vote of the best 1 to 5 trials is chosen on the fold as an export does, and asked about 4,000 new groups by the same trials and epochs.
What a search learns from scores is left out: where all are equally good, there is nothing to learn but luck, and that is in it.
"""

import argparse
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from system import verbs

PER_GROUP, N_CLASSES, NEW_GROUPS, RESAMPLES = 5, 3, 4000, 50
SD = {"group": 0.7, "photo": 0.7, "trial": 0.5}
ALIKE = 0.5
"""The mean of the sum whose sign is whether a photo is answered rightly."""
CASES = [(groups, trials, epochs) for groups in (20, 100, 400) for trials in (20, 100) for epochs in (1, 10)]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Every case, each over `--seeds` seeds."""
    rows = []
    for groups, trials, epochs in CASES:
        found = np.array([_off(seed, groups, trials, epochs, given.epoch_sd) for seed in range(given.seeds)])
        row: dict[str, Any] = {"groups": groups, "trials": trials, "epochs": epochs, "n": given.seeds}
        for name, values in zip(("honest", "seen", "missed"), found.T, strict=True):
            row[name] = {"mean": float(values.mean()), "se": float(values.std(ddof=1) / len(values) ** 0.5)}
        rows.append(row)
        print(f"  {len(rows)} of {len(CASES)}", file=sys.stderr, flush=True)
    return {"epoch_sd": given.epoch_sd, "cases": rows}


def _off(seed: int, n_groups: int, n_trials: int, n_epochs: int, epoch_sd: float) -> tuple[float, float, float]:
    """Honest less true score, the score on the photos that chose less the true one, and whether the interval misses the truth."""
    from ensemble.scoring.honest import honest_score, optimistic_score
    from ensemble.selection.candidates import Candidates
    from ensemble.selection.selector import Selector

    rng = np.random.default_rng(seed)
    n = n_groups * PER_GROUP
    everywhere = n + NEW_GROUPS * PER_GROUP
    labels = rng.integers(0, N_CLASSES, everywhere)
    base = (
        ALIKE + np.repeat(rng.normal(0, SD["group"], everywhere // PER_GROUP), PER_GROUP) + rng.normal(0, SD["photo"], everywhere)
    )
    said = np.stack([_best_epoch(rng, base, labels, n, n_epochs, epoch_sd) for _ in range(n_trials)])
    groups = np.repeat([f"g{number:04}" for number in range(everywhere // PER_GROUP)], PER_GROUP)
    probs = np.eye(N_CLASSES, dtype=np.float16)[said][:, None]
    names = tuple(f"t{number:03}" for number in range(n_trials))
    whole = Candidates(names, ("identity",), probs, labels, groups, "accuracy")
    selector = Selector(whole.at(np.arange(n)), "hard", (1, 2, 3, 4, 5))
    seen = optimistic_score(selector, labels[:n], metric="accuracy")
    honest = honest_score(selector, labels[:n], groups[:n], metric="accuracy", seed=seed, n_resamples=RESAMPLES)
    new = np.arange(n, everywhere)
    truth = float((whole.vote(selector.on(), new).labels == labels[new]).mean())
    return honest.mean - truth, seen - truth, float(not honest.low <= truth <= honest.high)


def _best_epoch(
    rng: np.random.Generator, base: NDArray[np.float64], labels: NDArray[np.int64], n: int, n_epochs: int, epoch_sd: float
) -> NDArray[np.int64]:
    """What a trial says in the epoch that scores best on the first n photos."""
    own = base + rng.normal(0, SD["trial"], len(base))
    epochs = own[:n] + rng.normal(0, epoch_sd, (n_epochs, n)) > 0
    best = np.concatenate([epochs[epochs.sum(axis=1).argmax()], own[n:] + rng.normal(0, epoch_sd, len(base) - n) > 0])
    return np.where(best, labels, (labels + rng.integers(1, N_CLASSES, len(labels))) % N_CLASSES)


def show(value: dict[str, Any]) -> None:
    """A line per case."""
    rows = []
    for row in value["cases"]:
        off = (f"{row[name]['mean']:+.4f} ({row[name]['se']:.4f})" for name in ("honest", "seen"))
        rows.append([row["groups"], row["trials"], row["epochs"], *off, f"{row['missed']['mean']:.0%}"])
    heads = ["groups", "trials", "epochs", "honest less truth (standard error)", "seen less truth", "90 % interval misses"]
    print(verbs.table(rows, heads))


def main() -> int:
    made = verbs.parser(__doc__ or "", "python -m benchmarks.search_optimism")
    made.add_argument("--seeds", type=int, default=60, metavar="N", help="cases of each kind (default: 60)")
    made.add_argument(
        "--epoch-sd", type=float, default=0.3, metavar="SD", help="how much epochs of a trial differ (default: 0.3)"
    )
    return verbs.run(made, measure, show)


if __name__ == "__main__":
    sys.exit(main())
