"""Members: from the ledger's trials to those that may vote, one trial each, or one per fold of the same configuration and seed."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bundle.opened import Opened
from competitions.prepare import Prepared
from competitions.targets import Target
from ensemble.pool import Member
from ledger.query import all_data_sibling, best_trials, count_finished, fold_siblings
from ledger.retention import weights_of
from system.errors import UserError
from system.paths import CompetitionPaths
from system.progress import Counting
from trainables.attach import OpenedTrial, complete_opened, has_all
from trainables.best_weights import lost_weights

log = logging.getLogger("podium.bundle")
MOST_MEMBERS = 200
"""Per target: so many of the best are ranked anew in each resample; of the rest none is ever among the first."""


@dataclass(frozen=True)
class OpenedMember:
    """A member and its trials, opened once.

    Attributes:
        member: Who votes.
        opened: Its trials, in their order; none of an import.
    """

    member: Member
    opened: tuple[OpenedTrial, ...] = ()

    @property
    def name(self) -> str:
        """The member's name."""
        return self.member.name

    @property
    def trials(self) -> tuple[str, ...]:
        """The trials that have weights: none of an import."""
        return () if self.member.imported else self.member.trials


def open_member(opened: Opened, member: Member) -> OpenedMember:
    """The member and its trials."""
    return OpenedMember(member, tuple(opened.trial(trial) for trial in member.trials))


def find_members(
    opened: Opened, chosen: Sequence[Target], *, folds: Sequence[int], study: str | None, stopped: bool = False
) -> dict[str, list[OpenedMember]]:
    """Per target its members whose weights are there, best on the first fold first.

    What votes has to be exported, so a trial whose weights were dropped does not vote, however complete its cached predictions are.

    Args:
        opened: The competition's data and trials.
        chosen: Whose trials.
        folds: Those that a member needs a trial of.
        study: Only trials that this study asked for on the first fold; the whole ledger for `None`.
        stopped: Trials that were cut off are members too.

    Raises:
        UserError: Targets without a member; all are named.
    """
    prepared, faults, found = opened.prepared, [], {}
    for target in chosen:
        asked = target.name, prepared.data_fingerprint(target), folds[0], target.metric
        trials = [trial for trial, _ in best_trials(prepared.paths, *asked, study=study, stopped=stopped)]
        whole = _over_folds(prepared.paths, trials, folds)
        if trials and not whole:
            listed = ", ".join(map(str, folds))
            faults.append(
                f"no trial of {target.name} was trained on each of the folds {listed}; run: "
                f"python run_search.py {prepared.competition.name} --all-folds --targets {target.name}"
            )
        found[target.name] = [Member(own[0], own, target.name) for own in whole]
    empty = [name for name, members in found.items() if not members]
    if empty and not faults:
        faults.append(_nobody(prepared, empty, folds[0], study))
    if faults:
        raise UserError(*faults)
    return {
        name: _with_weights([open_member(opened, member) for member in members])[:MOST_MEMBERS] for name, members in found.items()
    }


def are_whole(members: Iterable[OpenedMember], n: int) -> tuple[list[OpenedMember], list[OpenedMember]]:
    """The first n members whose weights are whole, and those before them that are damaged; each of these is named in the log."""
    kept: list[OpenedMember] = []
    damaged: list[OpenedMember] = []
    waiting = list(members)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        while waiting and len(kept) < n:
            some, waiting = waiting[: n - len(kept)], waiting[n - len(kept) :]
            for member, bad in zip(some, pool.map(_damaged, some), strict=True):
                for trial in bad:
                    log.warning("%s", lost_weights(trial.folder))
                (damaged if bad else kept).append(member)
    return kept, damaged


def siblings_on_all_data(paths: CompetitionPaths, members: Iterable[Member]) -> dict[str, str]:
    """Member's name -> its sibling that learned from all photos, of those that have one."""
    found = {member.name: all_data_sibling(paths, member.name) for member in members if not member.imported}
    return {name: sibling for name, sibling in found.items() if sibling is not None}


def complete(opened: Opened, views: Mapping[str, Sequence[str]], parts: Sequence[str], device: str) -> None:
    """Compute what is missing of these parts, one trial per core: each trial's own thread count is part of its bits.

    Args:
        opened: The competition's data and trials.
        views: Trial -> the views that are needed of it.
        parts: Which photos.
        device: Where.
    """
    prepared = opened.prepared
    missing = [trial for trial, own in views.items() if not has_all(prepared, opened.trial(trial), own, parts=parts)]
    if not missing:
        return
    show = Counting("computing views of trials")
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if device == "cpu" else 1) as pool:
        tasks = [
            pool.submit(complete_opened, prepared, opened.trial(trial), views[trial], parts=parts, device=device)
            for trial in missing
        ]
        for done, task in enumerate(tasks, start=1):
            task.result()
            show(done, len(tasks))


def _over_folds(paths: CompetitionPaths, trials: Sequence[str], folds: Sequence[int]) -> list[tuple[str, ...]]:
    if len(folds) == 1:
        return [(trial,) for trial in trials]
    siblings = fold_siblings(paths, trials)
    return [tuple(siblings[t][fold] for fold in folds) for t in trials if all(fold in siblings.get(t, {}) for fold in folds)]


def _with_weights(members: Sequence[OpenedMember]) -> list[OpenedMember]:
    """Those with a file of weights for each of their trials; how many have none is told in one line.

    Raises:
        UserError: Nobody has.
    """
    bare = [one for one in members if not all(any(p.exists() for p in weights_of(trial.folder)) for trial in one.opened)]
    if bare and len(bare) == len(members):
        raise UserError(lost_weights(bare[0].opened[0].folder))
    if bare:
        first = lost_weights(bare[0].opened[0].folder)
        log.warning("%d trials have no weights and are left out of the choice: %s", len(bare), first)
    without = {member.name for member in bare}
    return [member for member in members if member.name not in without]


def _damaged(member: OpenedMember) -> list[OpenedTrial]:
    return [trial for trial in member.opened if not trial.has_whole_best()]


def _nobody(prepared: Prepared, empty: Sequence[str], fold: int, study: str | None) -> str:
    split = prepared.competition.split.name
    where = f" in study {study!r}" if study else ""
    there = ", ".join(f"{name} ({n})" for name, n in sorted(count_finished(prepared.paths).items()))
    return (
        f"no finished trial of {', '.join(empty)} on fold {fold} of split {split!r}{where} for these data (finished trials "
        f"there: {there or 'none'}; --targets chooses among them); run: "
        f"python run_search.py {prepared.competition.name} --split {split} --targets {','.join(empty)}"
    )
