"""Can verdicts of `show_trials.py --effects` be believed? Simulated ledgers with planted effects, judged by the same arithmetic.

    python -m benchmarks.effects                # 1,000 ledgers, under a minute
    python -m benchmarks.effects --ledgers 200

Each ledger has 60 to 600 trials of six settings. Levels of `loss` add +0.02, 0 and -0.02, `lr` is best in the middle, and the others do
nothing.
Designs: settings drawn at random; two settings that mostly move together; a searcher that prefers what looked good so far; one change
at a time over several seeds; every configuration in five folds, with a deviation of its own.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reports.effects import EFFECT_HELPS, EFFECT_HURTS, EFFECT_UNDECIDED, effects
from system import verbs

PLANTED = {"cross_entropy": 0.0, "focal": 0.02, "smooth": 0.0, "hinge": -0.02}
NULLS = {"augmentation": ("light", "strong", "none"), "optimizer": ("adamw", "sgd"), "sampler": ("none", "balanced")}
NOISES = (0.005, 0.01, 0.02)
LEDGER_SIZES = (60, 120, 240, 600)
Settings = dict[str, Any]


def drawn(rng: np.random.Generator) -> Settings:
    chosen = {name: str(rng.choice(list(levels))) for name, levels in {"loss": tuple(PLANTED), **NULLS}.items()}
    return {**chosen, "lr": float(10 ** rng.uniform(-4, -2)), "batch_size": int(rng.choice([16, 32, 64]))}


def truth(settings: Mapping[str, Any]) -> float:
    return float(0.7 + PLANTED[settings["loss"]] - 0.01 * (np.log10(settings["lr"]) + 3) ** 2)


def at_random(rng: np.random.Generator, n: int, noise: float) -> list[tuple[Settings, int, float]]:
    return [(one, 0, truth(one) + rng.normal(0, noise)) for one in (drawn(rng) for _ in range(n))]


def confounded(rng: np.random.Generator, n: int, noise: float) -> list[tuple[Settings, int, float]]:
    """Whoever takes focal takes sgd, four times in five."""
    rows = []
    for _ in range(n):
        one = drawn(rng)
        if rng.random() < 0.8:
            one["optimizer"] = "sgd" if one["loss"] == "focal" else "adamw"
        rows.append((one, 0, truth(one) + rng.normal(0, noise)))
    return rows


def adaptive(rng: np.random.Generator, n: int, noise: float) -> list[tuple[Settings, int, float]]:
    """After ten trials, two in three take over half of the settings of one of the best five so far."""
    rows: list[tuple[Settings, int, float]] = []
    for number in range(n):
        one = drawn(rng)
        if number >= 10 and rng.random() < 2 / 3:
            best = sorted(rows, key=lambda row: -row[2])[int(rng.integers(5))][0]
            one |= {name: value for name, value in best.items() if rng.random() < 0.5}
        rows.append((one, 0, truth(one) + rng.normal(0, noise)))
    return rows


def one_at_a_time(rng: np.random.Generator, n: int, noise: float) -> list[tuple[Settings, int, float]]:
    """A base and single changes of it, again under each seed."""
    base, n_seeds = drawn(rng), 4
    varied = [base]
    while len(varied) < n // n_seeds:
        name = str(rng.choice(list(base)))
        varied.append({**base, name: drawn(rng)[name]})
    seeds = rng.normal(0, 0.01, n_seeds)
    return [(one, seed, truth(one) + seeds[seed] + rng.normal(0, noise)) for seed in range(n_seeds) for one in varied]


def all_folds(rng: np.random.Generator, n: int, noise: float) -> list[tuple[Settings, int, float]]:
    """Each configuration in five folds; it has a deviation of its own that no setting explains, as great as the noise."""
    folds, rows = rng.normal(0, 0.02, 5), []
    for _ in range(n // 5):
        one, own = drawn(rng), rng.normal(0, noise)
        rows += [(one, fold, truth(one) + own + folds[fold] + rng.normal(0, noise)) for fold in range(5)]
    return rows


DESIGNS: dict[str, Callable[[np.random.Generator, int, float], list[tuple[Settings, int, float]]]] = {
    "at random": at_random,
    "confounded": confounded,
    "adaptive": adaptive,
    "one at a time": one_at_a_time,
    "all folds": all_folds,
}


def judged(rng: np.random.Generator, design: str, n: int, noise: float) -> list[dict[str, Any]]:
    """One simulated ledger: per effect of a known size the truth, the estimate and the verdict."""
    rows = DESIGNS[design](rng, n, noise)
    settings = {name: [one[name] for one, _, _ in rows] for name in rows[0][0]}
    members = [tuple(sorted((name, str(value)) for name, value in one.items())) for one, _, _ in rows]
    found = effects([score for _, _, score in rows], [block for _, block, _ in rows], members, settings)
    told = []
    for one in found:
        if one.setting in NULLS or one.setting == "batch_size":
            true = 0.0
        elif one.setting == "loss":
            true = PLANTED[one.level] - PLANTED[one.reference]
        else:
            continue  # bands of lr: their truth depends on what was drawn
        told.append({"true": true, "effect": one.effect, "low": one.low, "high": one.high, "verdict": one.verdict})
    return told


def simulate(given: argparse.Namespace) -> dict[str, Any]:
    """Counts over all ledgers, by design."""
    tallies: dict[str, list[dict[str, Any]]] = defaultdict(list)
    wrong_shares: dict[str, list[float]] = defaultdict(list)
    for number in range(given.ledgers):
        rng = np.random.default_rng([given.seed, number])
        design = list(DESIGNS)[number % len(DESIGNS)]
        told = judged(rng, design, int(rng.choice(LEDGER_SIZES)), float(rng.choice(NOISES)))
        tallies[design] += told
        called = [one for one in told if one["verdict"] != EFFECT_UNDECIDED]
        wrong_shares[design].append(sum(is_false(one) for one in called) / len(called) if called else 0.0)
        if (number + 1) % 100 == 0:
            print(f"{number + 1} of {given.ledgers} ledgers", file=sys.stderr, flush=True)
    rows = {design: summary(told, wrong_shares[design]) for design, told in tallies.items()}
    whole = summary(
        [one for told in tallies.values() for one in told], [share for some in wrong_shares.values() for share in some]
    )
    return {"seed": given.seed, "ledgers": given.ledgers, "designs": rows, "all": whole}


def is_false(one: Mapping[str, Any]) -> bool:
    """A verdict about nothing, or with the wrong sign."""
    sign = {EFFECT_HELPS: 1, EFFECT_HURTS: -1}.get(one["verdict"], 0)
    return sign != 0 and sign != (one["true"] > 0) - (one["true"] < 0)


def summary(told: list[dict[str, Any]], wrong_shares: list[float]) -> dict[str, Any]:
    known = [one for one in told if one["effect"] is not None]
    nulls, real = [one for one in known if one["true"] == 0], [one for one in known if one["true"] != 0]
    called = [one for one in real if one["verdict"] != EFFECT_UNDECIDED]
    return {
        "effects": len(known),
        "false_discoveries": float(np.mean(wrong_shares)),
        "false_verdicts": float(np.mean([one["verdict"] != EFFECT_UNDECIDED for one in nulls])),
        "wrong_sign": sum(is_false(one) for one in called),
        "found": float(np.mean([one["verdict"] != EFFECT_UNDECIDED for one in real])),
        "covered": float(np.mean([one["low"] <= one["true"] <= one["high"] for one in known])),
    }


def show(result: Mapping[str, Any]) -> None:
    rows = [
        [name, one["effects"], *(f"{one[key]:.1%}" for key in ("false_discoveries", "false_verdicts")), one["wrong_sign"]]
        + [f"{one[key]:.1%}" for key in ("found", "covered")]
        for name, one in {**result["designs"], "all": result["all"]}.items()
    ]
    head = [
        "design",
        "effects",
        "false among verdicts",
        "verdicts about nothing",
        "wrong sign",
        "planted ones found",
        "90 % intervals that hold",
    ]
    print(f"{result['ledgers']} ledgers, seed {result['seed']}")
    print(verbs.table(rows, head))


def main() -> int:
    made = verbs.parser(__doc__ or "", "python -m benchmarks.effects")
    made.add_argument("--ledgers", type=int, default=1000, help="how many (default: 1000)")
    made.add_argument("--seed", type=int, default=0, help="of the simulation (default: 0)")
    return verbs.run(made, simulate, show)


if __name__ == "__main__":
    sys.exit(main())
