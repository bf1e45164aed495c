"""Families: finished trials of one architecture that began from one start, so that their weights can be averaged (`trainables.soup`)."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.reading import readable_config, readable_record
from ledger.trials import Record, TrialFolder, is_trial
from system.files import fingerprint, read_json, replace_sealed
from system.paths import CompetitionPaths
from trainables.best_weights import best_is_whole
from trainables.config import TrialConfig

SHARED = ("competition", "target", "heads", "metric", "data", "split", "fold", "backbone", "image_size", "stem_stride", "weights")
"""What the trials of one family have in common; `weights` is the start, which may not be a random one."""


@dataclass(frozen=True)
class Relative:
    """A finished trial that kept weights."""

    folder: TrialFolder
    record: Record
    config: TrialConfig

    @property
    def score(self) -> float:
        return -math.inf if self.record.score is None else self.record.score


def families(paths: CompetitionPaths, trials: Sequence[str], fold: int) -> list[list[Relative]]:
    """The families of two and more among these trials of a fold, each best first; trials that belong to none are passed over."""
    found: dict[str, list[Relative]] = defaultdict(list)
    for trial in sorted(set(trials)):
        one = relative(paths, trial)
        if one is not None and one.config.fold == fold and _shares_its_start(one.config):
            found[fingerprint(_shared(one.config))].append(one)
    return [ranked(family) for _, family in sorted(found.items()) if len(family) > 1]


def relative(paths: CompetitionPaths, trial: str) -> Relative | None:
    """A trial by its id; `None` where it is not there, not finished, or kept no weights."""
    folder = TrialFolder(paths.trials / trial)
    if not is_trial(paths.trials, trial):
        return None
    record, settings = readable_record(folder), readable_config(folder)
    if record is None or settings is None or not record.finished or not record.weights:
        return None
    return Relative(folder, record, TrialConfig.from_json(settings))


def ranked(trials: Sequence[Relative]) -> list[Relative]:
    """Best first, ties by id."""
    return sorted(trials, key=lambda one: (-one.score, one.folder.id))


def ingredient_faults(paths: CompetitionPaths, config: TrialConfig) -> list[str]:
    """One sentence for each ingredient of a soup whose weights are not there."""
    faults, name = [], paths.root.name
    for trial in config.soup:
        if not is_trial(paths.trials, trial):
            faults.append(f"soup {config.trial_id} needs trial {trial}, which is not in this storage; merge_ledgers.py brings it")
        elif not best_is_whole(TrialFolder(paths.trials / trial)):
            faults.append(
                f"soup {config.trial_id} needs trial {trial}, whose weights are damaged or gone; get them back with: "
                f"python reproduce_trial.py {name} {trial} --restore"
            )
    return faults


@dataclass(frozen=True)
class TriedFamily:
    """What came of a family when its soup was tried, if it was: a file beside the data, named by trials and weights."""

    path: Path
    trials: list[list[str | None]]

    @classmethod
    def of(cls, paths: CompetitionPaths, family: Sequence[Relative]) -> "TriedFamily":
        trials = [[one.folder.id, one.record.weights] for one in family]
        return cls(paths.data / "soups" / f"{fingerprint(trials)}.json", trials)

    def chosen(self) -> tuple[str, ...] | None:
        """The ids of the ingredients, none where the best trial alone was as good; `None` where nobody knows."""
        try:
            return tuple(read_json(self.path)["soup"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):  # a damaged file is no answer: it is tried again
            return None

    def keep(self, chosen: Sequence[str]) -> None:
        replace_sealed(self.path, {"trials": self.trials, "soup": list(chosen)}, durable=False)


def _shares_its_start(config: TrialConfig) -> bool:
    """Whether others may have begun as this trial did: not from random weights, and it is no soup or probe itself."""
    return bool(config.weights) and not config.soup and not config.is_probe


def _shared(config: TrialConfig) -> list[Any]:
    return [getattr(config, name) for name in SHARED]
