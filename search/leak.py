"""The leak check: what a split that ignores groups promises beside the split by group, from one small network trained on both.

Nothing else differs: the same photos, settings, seed and number of epochs, on fold 0 of two splits that the competition's YAML names. If
the random one promises more, photos of one group help to answer one another there, and at test time nobody will.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from competitions.compare_splits import has_groups
from competitions.competition import Competition
from competitions.prepare import Prepared, cut_again
from competitions.targets import Target, targets
from ledger.trials import Record
from search.plan import questions_of
from search.request import Request
from system.claims import claim, wait_for
from system.errors import UserError
from trainables.attach import attach
from trainables.config import TrialConfig, resolve
from trainables.training import run_trial

SMALL_NETWORK = {"backbone": "test_resnet", "lr": 3e-3, "class_weights": "sqrt", "augmentation": "light"}
MOST_SIDE = 64
PHOTOS = 10_000  # photos x epochs of one training: a minute or two on a core
EPOCH_RANGE = (2, 40)  # at least, so that a large set is learned at all; at most

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Leak:
    """What two splits promise for one task; a score is `None` where the training diverged."""

    task: str
    random: float | None
    by_group: float | None
    difference: float | None
    trials: tuple[str, str]


def show_leak(prepared: Prepared, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Train on fold 0 of both splits, per task; trials that are in the ledger already are not trained again.

    Args:
        prepared: The competition's data, by any of its splits.
        progress: Told (done, total) epochs.

    Returns:
        JSON values: the names of the two splits, and a `Leak` per task.

    Raises:
        UserError: The photos have no groups, or the YAML does not name a split of each kind.
    """
    names = leak_splits(prepared)
    sides = [cut_again(prepared, name) for name in names]
    trainings = [(side, leak_config(side, target)) for target in single_tasks(prepared.competition) for side in sides]
    total, done, records = sum(config.epochs for _, config in trainings), 0, []
    for side, config in trainings:
        records.append(_trained(side, config, lambda epochs, before=done: progress(before + epochs, total)))  # type: ignore[misc]
        done += config.epochs
        progress(done, total)
    pairs = zip(records[::2], records[1::2], strict=True)
    return {"random": names[0], "by_group": names[1], "tasks": [asdict(_leak(*pair)) for pair in pairs]}


def leak_splits(prepared: Prepared) -> tuple[str, str]:
    """The names of the random split and the split by group that are compared: of each kind the first.

    Raises:
        UserError: The photos have no groups, or a kind is missing.
    """
    competition = prepared.competition
    if not has_groups(prepared):
        raise UserError(
            f"{competition.name} has no groups: every training photo is its own, so a random split cannot leak; "
            "name the column of what belongs together (a person, a place) as columns.group if there is one"
        )
    splits = {kind: [s.name for s in competition.all_splits.values() if s.by_group is kind] for kind in (False, True)}
    missing = [("random", "false"), ("grouped", "true")]
    faults = [
        f"a leak shows between a random split and one by group, {competition.name}'s YAML has no {name} one; "
        f"add `splits: {{{name}: {{folds: 5, by_group: {value}}}}}`"
        for (name, value), kind in zip(missing, splits.values(), strict=True)
        if not kind
    ]
    if faults:
        raise UserError(*faults)
    return splits[False][0], splits[True][0]


def leak_config(prepared: Prepared, target: Target, seed: int = 0) -> TrialConfig:
    """The one small configuration, on fold 0 of the split that `prepared` has."""
    competition = prepared.competition
    question = questions_of(Request(competition.name, targets=(target.name,), seed=seed), prepared, competition)[target.name]
    n_photos = sum(map(len, prepared.rows(target, 0)))
    epochs = min(max(EPOCH_RANGE[0], round(PHOTOS / n_photos)), EPOCH_RANGE[1])
    return resolve({**SMALL_NETWORK, "epochs": epochs, "image_size": min(competition.image_size, MOST_SIDE)}, question)


def single_tasks(competition: Competition) -> list[Target]:
    """The targets that ask one task of all photos."""
    return [target for name, target in targets(competition).items() if name in competition.tasks]


def _trained(prepared: Prepared, config: TrialConfig, on_epoch: Callable[[int], object]) -> Record:
    """The ended record of a configuration: from the ledger, from whoever trains it now, or trained here."""
    context = attach(prepared, config)
    folder = context.folder

    def ended() -> bool:
        record = folder.record()
        return record is not None and record.ended

    while not ended():
        held = claim(folder.claim)
        if held is None:
            wait_for(folder.claim, ended)
            continue
        with held:
            return run_trial(config, context, lambda line: on_epoch(line["epoch"]))
    record = folder.record()
    assert record is not None, "an ended trial has a record"
    return record


def _leak(random: Record, by_group: Record) -> Leak:
    known = random.score is not None and by_group.score is not None
    difference = round(random.score - by_group.score, 4) if known else None  # type: ignore[operator]
    return Leak(random.target, random.score, by_group.score, difference, (random.trial_id, by_group.trial_id))
