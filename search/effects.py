"""Did it help? Every finished trial that differs from one trial in a single setting, paired with it by fold and seed."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from competitions.kept_labels import prepared_of
from competitions.prepare import Prepared
from ensemble.align import Rows, align, shared_photos
from ensemble.scoring.paired import UNDECIDED, Pair, compare, difference, spread_of
from ledger.predictions import predictions_of
from ledger.query import finished_trials
from ledger.studies import StudyFolder
from ledger.trials import Record, TrialFolder
from search.variations import base_config, setting_changed
from system import verbs
from system.paths import CompetitionPaths
from trainables.attach import target_of
from trainables.config import TrialConfig

log = logging.getLogger("podium.search")
SAME = ("competition", "target", "heads", "metric", "data", "split")
"""Where trials differ in one of these, their scores do not compare."""
TWINS = ("fold", "seed")


@dataclass(frozen=True)
class Change:
    """What one change did to the score; numbers are in the metric's unit, above 0 is better.

    Attributes:
        change: In words, with the settings that belong to it.
        setting: The one that was changed.
        before: Its value in the base.
        after: Its value in the trials.
        pairs: How many trials have a partner of the same fold and seed.
        mean: The mean difference of the pairs.
        low: The 5 % percentile (see `ensemble.scoring.paired.compare`); `None` where the fold has fewer than two groups.
        high: The 95 % percentile, or `None`.
        verdict: helps, hurts, not beyond noise, or that one pair answers nothing (see `ensemble.scoring.paired`).
        trials: The changed trials.
    """

    change: str
    setting: str
    before: Any
    after: Any
    pairs: int
    mean: float
    low: float | None
    high: float | None
    verdict: str
    trials: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        named = {"before": "from", "after": "to"}
        return {named.get(name, name): list(value) if name == "trials" else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class _Trial:
    folder: TrialFolder
    record: Record
    config: TrialConfig

    @property
    def place(self) -> tuple[int, int]:
        return self.config.fold, self.config.seed


def effects_of(paths: CompetitionPaths, trial_id: str) -> list[Change]:
    """The changes that the ledger can answer for, best first.

    Args:
        paths: The competition's folders.
        trial_id: The base; trials of its configuration under other folds and seeds stand for it there.

    Raises:
        UserError: There is no such trial, or it has no score.
    """
    base = base_config(paths, trial_id)
    members = _comparable(paths, base)
    prepared = prepared_of(paths, base.target, base.data)
    twins = members.pop(base.config_id)
    compared = {}
    for trials in members.values():
        pairs = {trials[place].folder.id: (twins[place], trials[place]) for place in sorted(trials) if place in twins}
        differing = _differing(base, next(iter(trials.values())).config)
        if pairs and (setting := setting_changed(list(differing))) is not None:
            made = {name: pair for name, two in pairs.items() if (pair := _pair(prepared, *two)) is not None}
            if made:
                compared[tuple(made)] = setting, differing, list(made.values())
    spread = spread_of([[difference(pair, base.metric) for pair in pairs] for _, _, pairs in compared.values()])
    changes = [
        _change(trials, setting, differing, pairs, base.metric, spread)
        for trials, (setting, differing, pairs) in compared.items()
    ]
    return sorted(changes, key=lambda change: (-change.mean, change.change, change.trials))


def base_of(study: StudyFolder, paths: CompetitionPaths, trial_id: str) -> str:
    """The trial that a study's variations have for a partner: the base, or where it ran with other threads, the base run so.

    Args:
        study: One around a base; its first suggestion is the base under the study's own fold, seed and threads.
        paths: The competition's folders.
        trial_id: The base it was started with.
    """
    first, base = TrialConfig.from_json(study.suggestions()[0].settings), base_config(paths, trial_id)
    return trial_id if first.config_id == base.config_id else first.trial_id


def table(changes: Sequence[Mapping[str, Any]]) -> str:
    """The changes as lines for people."""
    if not changes:
        return "no finished trial differs from it in one setting; run_search.py COMPETITION --base ID --vary loss makes some"
    lines = [
        [
            change["change"],
            change["pairs"],
            f"{change['mean']:+.4f}",
            "needs two groups" if change["low"] is None else f"{change['low']:+.4f} to {change['high']:+.4f}",
            change["verdict"],
            ", ".join(change["trials"]),
        ]
        for change in changes
    ]
    return verbs.table(lines, ["change", "pairs", "difference", "90 % interval", "verdict", "trials"])


def _comparable(paths: CompetitionPaths, base: TrialConfig) -> dict[str, dict[tuple[int, int], _Trial]]:
    """Configuration -> (fold, seed) -> finished trial with a score on the same question."""
    trials: dict[str, dict[tuple[int, int], _Trial]] = defaultdict(dict)
    for record, settings in finished_trials(paths, base.target, base.data, base.metric):
        config = TrialConfig.from_json(settings)
        if not config.soup and all(getattr(config, name) == getattr(base, name) for name in SAME):
            trial = _Trial(TrialFolder(paths.trials / record.trial_id), record, config)
            trials[config.config_id][trial.place] = trial
    return trials


def _differing(base: TrialConfig, other: TrialConfig) -> dict[str, tuple[Any, Any]]:
    then, now = base.json(), other.json()
    names = [name for name in {**then, **now} if name not in TWINS]  # some are written only where they say something
    return {name: (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)}


def _pair(prepared: Prepared, before: _Trial, after: _Trial) -> Pair | None:
    """Both trials on the labelled photos that both were judged on; `None`, with a warning, where predictions cannot be read."""
    try:
        sides = [{head: _read(trial, head) for head in trial.config.heads} for trial in (before, after)]
    except (OSError, ValueError) as error:
        log.warning("trial %s is left out: its predictions cannot be read (%s)", after.folder.id, error)
        return None
    heads = list(before.config.heads)
    ids = shared_photos({trial.folder.id: side[heads[0]][0] for trial, side in zip((before, after), sides, strict=True)})
    row_of = {image_id: row for row, image_id in enumerate(prepared.manifest.image_ids)}
    rows = np.array([row_of[image_id] for image_id in ids], dtype=np.int64)
    aligned = [{head: align(ids, *rows_of, member=head) for head, rows_of in side.items()} for side in sides]
    known = prepared.labels(target_of(before.config, prepared))
    labels = {head: known[head][rows].astype(np.int64) for head in heads}
    return Pair(ids, tuple(prepared.manifest.groups[row] for row in rows), labels, *aligned)


def _read(trial: _Trial, head: str) -> Rows:
    return predictions_of(trial.folder.predictions, trial.record.weights or "").read("validation", head, "identity")


def _change(
    trials: tuple[str, ...], setting: str, differing: Mapping[str, tuple[Any, Any]], pairs: list[Pair], metric: str, spread: Any
) -> Change:
    before, after = differing[setting]
    with_it = [f"{name} {_written(now)}" for name, (_, now) in differing.items() if name != setting and now is not None]
    words = f"{setting}: {_written(before)} -> {_written(after)}" + (f" ({', '.join(with_it)})" if with_it else "")
    if len({group for pair in pairs for group in pair.groups}) < 2:
        mean = float(np.mean([difference(pair, metric) for pair in pairs]))
        return Change(words, setting, before, after, len(pairs), mean, None, None, UNDECIDED, trials)
    effect = compare(pairs, metric=metric, seed=0, spread=spread)
    return Change(words, setting, before, after, len(pairs), effect.mean, effect.low, effect.high, effect.verdict, trials)


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)[:24] if value != "" else "none"
