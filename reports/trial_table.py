"""The ledger as a table to report on: one row per trial, however many studies asked for it, with its curve and its settings."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.query import Row, curves, leaderboard
from system.paths import CompetitionPaths
from trainables.config import BEFORE, DEFAULTS

STATUSES = ("finished", "stopped", "running", "pruned", "diverged", "failed", "elsewhere", "superseded")
"""From the one that says most of a trial: studies may see one trial differently."""
FOLLOWS = ("micro_batch", "pretrained", "weights_file")
"""Settings that say nothing beside others: the first goes with the batch, the others stand in `start`."""
BEGAN_AT = "start"


@dataclass(frozen=True)
class ReportedTrial:
    """One trial.

    Attributes:
        studies: Those that asked for it; none for a trial that no study here asked for.
        planned: Epochs planned; pruned trials did fewer.
        curve: The validation score after each epoch.
        settings: What a space may set, as resolved, and `start`: where its weights began.
        soup: Whether its weights are the mean of others'.
        question: Data, metric and split. Scores compare where it is the same.
    """

    trial_id: str
    config_id: str
    studies: tuple[str, ...]
    target: str
    fold: int
    seed: int
    status: str
    score: float | None
    best_epoch: int | None
    epochs: int
    planned: int
    seconds: float
    host: str
    author: str
    curve: tuple[float, ...]
    settings: Mapping[str, Any]
    soup: bool
    question: tuple[str, str, str]

    @property
    def compares(self) -> bool:
        """It was trained to its end, was not averaged from others, and has a score."""
        return self.status == "finished" and self.score is not None and not self.soup


def trial_table(paths: CompetitionPaths, study: str | None = None) -> list[ReportedTrial]:
    """Every trial once, best first.

    Args:
        paths: The competition's folders.
        study: Only what this study asked for, as it sees it.

    Raises:
        UserError: Unknown study.
    """
    of_trial: dict[str, list[Row]] = defaultdict(list)
    for row in leaderboard(paths, study=study).rows:
        of_trial[row.trial_id].append(row)
    drawn = curves(paths)
    return [_trial(rows, drawn.get(trial, [])) for trial, rows in of_trial.items()]


def by_target(trials: Iterable[ReportedTrial]) -> dict[str, list[ReportedTrial]]:
    """Target -> its trials in the order given; targets by name."""
    found: dict[str, list[ReportedTrial]] = defaultdict(list)
    for trial in trials:
        found[trial.target].append(trial)
    return dict(sorted(found.items()))


def comparable(trials: Sequence[ReportedTrial]) -> list[ReportedTrial]:
    """The finished trials of one target that answer the question most of them answer; ties go to the first in the table."""
    of_question: dict[tuple[str, str, str], list[ReportedTrial]] = defaultdict(list)
    for trial in trials:
        if trial.compares:
            of_question[trial.question].append(trial)
    return max(of_question.values(), key=len, default=[])


def varying(trials: Sequence[ReportedTrial]) -> dict[str, list[Any]]:
    """Setting -> its values, for each setting that differs among these trials; numbers ascend, then texts, `None` comes last."""
    names = dict.fromkeys(name for trial in trials for name in trial.settings)
    found = {name: {trial.settings.get(name) for trial in trials} for name in names}
    return {name: sorted(values, key=_rank) for name, values in found.items() if len(values) > 1}


def constant(trials: Sequence[ReportedTrial]) -> dict[str, Any]:
    """The settings that are the same in all these trials and say something."""
    differ = varying(trials)
    first = trials[0].settings if trials else {}
    return {name: value for name, value in first.items() if name not in differ and value is not None}


def _rank(value: Any) -> tuple[int, float, str]:
    if value is None:
        return 2, 0.0, ""
    return (0, float(value), "") if isinstance(value, (int, float)) else (1, 0.0, str(value))


def _trial(rows: Sequence[Row], curve: Sequence[float]) -> ReportedTrial:
    row = min(rows, key=lambda one: STATUSES.index(one.status) if one.status in STATUSES else len(STATUSES))
    config = {**BEFORE, **row.config}
    settings = {name: config[name] for name in DEFAULTS if name in config and name not in FOLLOWS}
    return ReportedTrial(
        trial_id=row.trial_id,
        config_id=row.config_id,
        studies=tuple(sorted({one.study for one in rows if one.study is not None})),
        target=row.target,
        fold=row.fold,
        seed=row.seed,
        status=row.status,
        score=row.score,
        best_epoch=row.best_epoch,
        epochs=row.epochs,
        planned=int(config.get("epochs", row.epochs)),
        seconds=row.seconds,
        host=row.host,
        author=row.author,
        curve=tuple(curve),
        settings={**settings, BEGAN_AT: _start(str(config.get("weights", "")))},
        soup=bool(config.get("soup")),
        question=(str(config.get("data")), str(config.get("metric")), str(config.get("split"))),
    )


def _start(weights: str) -> str:
    """Where weights began, in a word: random, a tag of the hub, or the start of a file's hash."""
    if not weights:
        return "random"
    return weights if weights.startswith("timm:") else f"file {weights[:8]}"
