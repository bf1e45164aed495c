"""The study page: what was tried, what came of it, what it cost, and which settings matter."""

import warnings
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from reports.charts import bars, curve_lines, parallel_coordinates, setting_text, status_bars, time_and_score
from reports.ledger_effects import target_effects
from reports.page import Chart, render
from reports.trial_table import ReportedTrial, by_target, comparable, constant, trial_table, varying
from system.errors import UserError
from system.paths import CompetitionPaths

ENOUGH_FOR_IMPORTANCE = 12
"""Finished trials of one target from which PED-ANOVA is asked: its better quarter then has three."""


def study_page(paths: CompetitionPaths, study: str | None, written: str) -> str:
    """The page as HTML.

    Args:
        paths: The competition's folders.
        study: Only this study; the whole ledger for `None`.
        written: When the page is made, in words.

    Raises:
        UserError: Unknown study, or nothing was trained yet.
    """
    name = paths.root.name
    trials = trial_table(paths, study)
    if not trials:
        raise UserError(f"there is no trial of {name} to show yet; run_search.py {name} trains some")
    targets = by_target(trials)
    charts: dict[str, Chart] = {"status": status_bars(targets), "time": time_and_score(targets)}
    sections = []
    for number, (target, some) in enumerate(targets.items()):
        made = {
            "curves": curve_lines(target, some),
            "settings": parallel_coordinates(target, comparable(some)),
            "importance": importance_chart(target, comparable(some)),
        }
        charts |= {f"{kind}{number}": one for kind, one in made.items() if one is not None}
        sections.append(
            {
                "target": target,
                "trials": len(some),
                **{kind: f"{kind}{number}" if one else None for kind, one in made.items()},
                "comparable": len(comparable(some)),
                "effects": target_effects(paths, some),
            }
        )
    values = {
        "competition": name,
        "study": study,
        "written": written,
        "flag": f" --study {study}" if study else "",
        "summary": [_summary(target, some) for target, some in targets.items()],
        "board": _board(trials),
        "sections": sections,
        "lacking": {
            kind: {one["target"]: one["comparable"] for one in sections if not one[kind]} for kind in ("settings", "importance")
        },
        "enough": ENOUGH_FOR_IMPORTANCE,
        "pruning": [_pruning(target, some) for target, some in targets.items()],
        "speed": _speed(trials),
    }
    return render("study", values, charts)


def importance(trials: Sequence[ReportedTrial]) -> dict[str, float]:
    """Setting -> its share of what separates the best quarter of these trials from the others.

    PED-ANOVA (Watanabe, Bansal & Hutter 2023) as Optuna computes it, on the settings that differ and that every trial has. It says which
    settings matter, not in which direction. Empty where fewer than `ENOUGH_FOR_IMPORTANCE` trials are there.
    """
    import optuna

    ranges = {name: values for name, values in varying(trials).items() if None not in values}
    if len(trials) < ENOUGH_FOR_IMPORTANCE or not ranges:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spaces = {name: _distribution(values) for name, values in ranges.items()}
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        params = {name: trial.settings[name] for name in spaces}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, value=trial.score))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(value) for name, value in found.items()}


def importance_chart(target: str, trials: Sequence[ReportedTrial]) -> Chart | None:
    found = importance(trials)
    if not found:
        return None
    return bars(f"Importance of settings for target {target}", list(found), list(found.values()), unit="importance (PED-ANOVA)")


def _distribution(values: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if not numbers or len(values) < 4:
        return CategoricalDistribution(values)
    low, high = float(values[0]), float(values[-1])
    return FloatDistribution(low, high, log=low > 0 and high / low > 20)


def _summary(target: str, trials: Sequence[ReportedTrial]) -> dict[str, Any]:
    best = next((trial for trial in trials if trial.score is not None), None)
    return {
        "target": target,
        "best": None if best is None else best.trial_id,
        "score": None if best is None else best.score,
        "status": None if best is None else best.status,
        "trials": len(trials),
        "finished": sum(trial.status == "finished" for trial in trials),
        "epochs": sum(trial.epochs for trial in trials),
        "seconds": sum(trial.seconds for trial in trials),
    }


def _board(trials: Sequence[ReportedTrial]) -> dict[str, Any]:
    """The rows of the leaderboard, and what is the same in all of them, which needs no column."""
    differ = varying(trials)
    facts = {"fold": "fold", "seed": "seed", "author": "author", "host": "host", "studies": "study"}
    kept = {key: word for key, word in facts.items() if len({getattr(trial, key) for trial in trials}) > 1}
    same = {word: _fact(trials[0], key) for key, word in facts.items() if key not in kept and _fact(trials[0], key)}
    rows = [
        {
            "trial": trial,
            "minutes": trial.seconds / 60,
            "facts": [_fact(trial, key) for key in kept],
            "settings": [(setting_text(value), value) for value in (trial.settings.get(name) for name in differ)],
        }
        for trial in trials
    ]
    fixed = {**same, **{name: setting_text(value) for name, value in constant(trials).items()}}
    return {"rows": rows, "facts": list(kept.values()), "settings": list(differ), "fixed": fixed}


def _fact(trial: ReportedTrial, key: str) -> str:
    value = getattr(trial, key)
    if key == "fold" and value < 0:
        return "all"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _pruning(target: str, trials: Sequence[ReportedTrial]) -> dict[str, Any]:
    """What stopping weak trials early saved, at each trial's own seconds per epoch."""
    pruned = [trial for trial in trials if trial.status == "pruned"]
    saved = sum(trial.planned - trial.epochs for trial in pruned)
    seconds = sum(trial.seconds / trial.epochs * (trial.planned - trial.epochs) for trial in pruned if trial.epochs)
    trained = sum(trial.epochs for trial in trials)
    return {
        "target": target,
        "pruned": len(pruned),
        "trained": trained,
        "saved": saved,
        "share": saved / (saved + trained) if saved + trained else None,
        "seconds": seconds,
    }


def _speed(trials: Sequence[ReportedTrial]) -> list[dict[str, Any]]:
    """Seconds per epoch by backbone, the fastest first."""
    by_backbone: dict[str, list[ReportedTrial]] = {}
    for trial in trials:
        if trial.epochs:
            by_backbone.setdefault(str(trial.settings.get("backbone", "")), []).append(trial)
    rows: list[Mapping[str, Any]] = [
        {
            "backbone": backbone,
            "trials": len(some),
            "epoch": median(trial.seconds / trial.epochs for trial in some),
            "trial": median(trial.seconds for trial in some),
        }
        for backbone, some in by_backbone.items()
    ]
    return [dict(row) for row in sorted(rows, key=lambda row: (row["epoch"], row["backbone"]))]
