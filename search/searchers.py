"""Searchers: the seed of one suggestion -> the Optuna sampler that draws it. Optuna is imported when one is asked for."""

from collections.abc import Callable
from typing import Any


def tpe(seed: int) -> Any:
    """Tree-structured Parzen estimator (Bergstra et al. 2011); its first six trials are random."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=6)


def random(seed: int) -> Any:
    """Each suggestion for itself, whatever came of those before."""
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


SEARCHERS: dict[str, Callable[[int], Any]] = {"tpe": tpe, "random": random}
