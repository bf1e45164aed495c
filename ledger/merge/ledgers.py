"""Merging: a team-mate's ledger and ours -> ours with everything that either has. Commutative, associative and idempotent.

Every fact is joined by its content alone, never by whose it is: of two versions of a trial where one goes on from the other the longer
stays; others stay side by side (`ledger.merge.versions`); of equal versions the one with the smaller fingerprint says author and host;
predictions of a trial are united by weights, part and view. Nothing in the other ledger is written to.

Safe against a kill: a version is assembled under `merging/`, then moved to its place; one that has to leave `trials/<id>` moves to
`conflicts/<id>/` first. Whatever a kill leaves is a ledger, and the same merge again completes it.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ledger.merge.imports import bring_imports
from ledger.merge.predictions import unite_parts
from ledger.merge.studies import bring_studies
from ledger.merge.versions import DamagedError, Version, conflicts, difference, longest, read_version, trial_ids, versions_of
from ledger.predictions import EPOCHS, WEIGHTS_LENGTH
from ledger.studies import study_folders
from ledger.trials import TrialFolder
from system import sealed_tensors
from system.claims import Claim, claim, claim_or_refuse, held_elsewhere
from system.files import copy_file, file_hash, fingerprint, read_json, replace_json, replace_sealed
from system.paths import CompetitionPaths

log = logging.getLogger("podium.merge")


@dataclass
class MergeReport:
    """What a merge did; each entry says `from` which ledger.

    Attributes:
        new_trials: Trials that were not here.
        longer: Trials of which the other ledger had more epochs.
        already_there: How many trials were here as they are there, or further.
        conflicts: Trials with versions that differ more than may be expected; all versions are kept.
        alike: Trials with versions that differ no more than two kinds of machine may; all are kept.
        studies: Studies that are new, longer, or stand under another name now.
        damaged: Files that could not be read and were left out; `where` is the ledger they stand in.
        running: Trials and studies left out because somebody works on them.
        predictions: Files of predictions that came along.
        weights: Start weights that came along.
        prepared: Preparations that came along.
        imports: Imports that are new, or say another source now.
    """

    new_trials: list[dict[str, Any]] = field(default_factory=list)
    longer: list[dict[str, Any]] = field(default_factory=list)
    already_there: int = 0
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    alike: list[dict[str, Any]] = field(default_factory=list)
    studies: list[dict[str, Any]] = field(default_factory=list)
    damaged: list[dict[str, Any]] = field(default_factory=list)
    running: list[dict[str, Any]] = field(default_factory=list)
    predictions: int = 0
    weights: int = 0
    prepared: int = 0
    imports: list[dict[str, Any]] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return asdict(self)


def merge(
    paths: CompetitionPaths,
    others: Mapping[str, CompetitionPaths],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> MergeReport:
    """Bring everything of other ledgers into ours.

    Args:
        paths: Ours.
        others: Name for the report -> ledger.
        progress: Told (done, total) while trials are brought.

    Raises:
        UserError: Another merge into this ledger is running.
    """
    report = MergeReport()
    with _merging(paths):
        for name, theirs in others.items():
            _Merge(paths, theirs, name, report).run(progress)
    return report


@contextmanager
def _merging(paths: CompetitionPaths) -> Iterator[None]:
    """One merge at a time; what a killed one assembled is taken away."""
    name = paths.root.name
    with claim_or_refuse(paths.root / "merging.json", lambda who: f"a merge into {name} is being run by {who}; wait for it"):
        shutil.rmtree(_stage(paths), ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(_stage(paths), ignore_errors=True)


def _stage(paths: CompetitionPaths) -> Path:
    return paths.root / "merging"


@dataclass(frozen=True)
class _Merge:
    """One other ledger into ours."""

    ours: CompetitionPaths
    theirs: CompetitionPaths
    name: str
    report: MergeReport

    def run(self, progress: Callable[[int, int], object]) -> None:
        """Data first, then trials, then the studies that name them."""
        self._bring_data()
        self.report.imports += [
            {**brought, "from": self.name} for brought in bring_imports(self.ours, self.theirs, self._damaged)
        ]
        ids = trial_ids(self.theirs)
        watched = [folder.claim for name in ids if not _ended(folder := TrialFolder(self.theirs.trials / name))]
        leases = [study.lease for study in study_folders(self.theirs.studies)]
        alive = held_elsewhere([*watched, *leases])
        for done, trial in enumerate(ids, start=1):
            if TrialFolder(self.theirs.trials / trial).claim in alive:
                self._leave("trial", trial, "is being trained there")
            else:
                self._bring_trial(trial)
            progress(done, len(ids))
        bring_studies(
            self.ours, self.theirs, _stage(self.ours), {lease.parent.name for lease in leases if lease in alive}, self._study
        )

    # ---- the report

    def _study(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "damaged":
            facts = {**facts, "where": "here" if facts["where"] == "here" else self.name}
        getattr(self.report, kind).append(facts if kind == "damaged" else {**facts, "from": self.name})

    def _leave(self, what: str, name: str, why: str) -> None:
        log.warning("%s %s %s and is left out; merge again when it has ended", what, name, why)
        self.report.running.append({what: name, "why": why, "from": self.name})

    def _damaged(self, place: Path, why: str, *, here: bool = False) -> None:
        root = (self.ours if here else self.theirs).root
        entry = {"file": place.relative_to(root).as_posix(), "why": why, "where": "here" if here else self.name}
        if entry not in self.report.damaged:
            self.report.damaged.append(entry)

    # ---- data

    def _bring_data(self) -> None:
        for path in _files(self.theirs.data / "weights"):
            target = self.ours.data / "weights" / path.name
            if not any(target.parent.glob(f"{path.stem}.*")):
                if file_hash(path) != path.stem or copy_file(path, target) != path.stem:
                    self._damaged(path, "its bytes are not those that its name says")
                else:
                    self.report.weights += 1
        for path in _files(self.theirs.data / "prepared"):
            target = self.ours.data / "prepared" / path.name
            if not target.exists():
                try:
                    value = read_json(path)
                except ValueError as error:
                    self._damaged(path, str(error))
                    continue
                if fingerprint(value) != path.stem:
                    self._damaged(path, "its content is not what its name says")
                else:
                    replace_json(target, value)
                    self.report.prepared += 1

    # ---- one trial

    def _bring_trial(self, trial: str) -> None:
        theirs = self._read(self.theirs, trial)
        if not theirs:
            return
        ours = self._read(self.ours, trial, here=True)
        groups: dict[str, list[Version]] = {}
        for version in (*ours.values(), *theirs.values()):
            groups.setdefault(version.key, []).append(version)
        kept = longest({key: group[0] for key, group in groups.items()})
        before = ours.get(self.ours.trials / trial)
        differences = [difference(groups[kept[0]][0], groups[key][0]) for key in kept[1:]]
        if not self._place(trial, {key: groups[key] for key in kept}, ours):
            self._leave("trial", trial, "is being trained here")
            return
        self._pool(trial, kept, [*(place for place, _ in versions_of(self.ours, trial)), *theirs])
        self._drop(trial, kept)
        self._report_trial(trial, before, groups[kept[0]][0], differences)

    def _read(self, paths: CompetitionPaths, trial: str, *, here: bool = False) -> dict[Path, Version]:
        """Place -> version; what is damaged is named."""
        versions = {}
        for place, version in versions_of(paths, trial):
            if isinstance(version, DamagedError):
                self._damaged(place, str(version), here=here)
                continue
            for fault in version.faults:
                self._damaged(place, fault, here=here)
            versions[place] = version
        return versions

    def _place(self, trial: str, kept: Mapping[str, list[Version]], ours: Mapping[Path, Version]) -> bool:
        """Put each version where it belongs; False where somebody trains this trial here."""
        home, beside = self.ours.trials / trial, conflicts(self.ours) / trial
        wanted = {key: home if n == 0 else beside / key for n, key in enumerate(kept)}
        there = {version.key: place for place, version in reversed(list(ours.items()))}
        if all(there.get(key) == place and not _has_to_change(ours[place], kept[key]) for key, place in wanted.items()):
            for key, place in wanted.items():
                self._join(place, kept[key])
            return True
        with _claimed(home) as free:
            if not free:
                return False
            for key in wanted:  # before anything moves: versions are read where they stand
                if key in there:
                    self._join(there[key], kept[key])
                else:
                    there[key] = self._assemble(trial, key, kept[key])
            first = next(iter(wanted))
            if home.is_dir() and there[first] != home:
                _move(home, beside / (ours[home].key if home in ours else f"damaged-{os.urandom(4).hex()}"))
            for key, place in wanted.items():
                if there[key] not in (place, home):
                    _move(there[key], place)
        return True

    def _assemble(self, trial: str, key: str, group: Sequence[Version]) -> Path:
        """A new folder of this version, whole, beside the ledger's."""
        folder = _stage(self.ours) / f"{trial}-{key}"
        folder.mkdir(parents=True)
        self._join(folder, group)
        for version in group:
            self._unite(folder / "predictions", version.folder.predictions, only=_own_weights(version))
        return folder

    def _join(self, place: Path, group: Sequence[Version]) -> None:
        """Bring a folder to the join of equal versions."""
        folder, chosen = TrialFolder(place), min(group, key=lambda version: version.unit)
        present = read_version(place, chosen.id) if (place / "config.json").is_file() else None
        if present is None or present.unit != chosen.unit:
            if chosen.sessions:
                replace_sealed(place / "provenance.json", {"sessions": list(chosen.sessions)})
            if chosen.record is not None:
                folder.write_metrics(list(chosen.metrics))
                folder.write_record(chosen.record)
            replace_sealed(place / "config.json", chosen.config)
        lasts = [version for version in group if version.last is not None]
        for last in sorted(lasts, key=lambda version: fingerprint(version.last)):
            if (present is not None and present.last == last.last) or self._bring_last(folder, last):
                break
        if chosen.record is not None and chosen.record.ended:
            folder.previous.unlink(missing_ok=True)
        if chosen.record is not None and chosen.record.weights and not folder.best.is_file():
            self._bring_best(folder, chosen.record.weights, group)
        for version in group:
            if version.folder.path != place:
                self._unite_folder(folder.predictions / EPOCHS, version.folder.predictions / EPOCHS)

    def _bring_last(self, folder: TrialFolder, version: Version) -> bool:
        """Whether the other's `last` is whole, tensors too, and stands here now."""
        try:
            sealed_tensors.check(version.folder.last)
        except ValueError as error:
            self._damaged(version.folder.last, str(error), here=version.folder.path.is_relative_to(self.ours.root))
            return False
        copy_file(version.folder.last, folder.last)
        return True

    def _bring_best(self, folder: TrialFolder, weights: str, group: Sequence[Version]) -> None:
        for version in group:
            if version.best is None or version.best == folder.best:
                continue
            if file_hash(version.best) == weights and copy_file(version.best, folder.best) == weights:
                return
            if version.best.is_relative_to(self.theirs.root):
                self._damaged(version.best, "its bytes are not those of the record's weights")

    def _pool(self, trial: str, kept: Sequence[str], places: Sequence[Path]) -> None:
        """All predictions of a trial, whatever the weights, stand in `trials/`; a version beside has those of its own weights."""
        home = self.ours.trials / trial
        for place in places:
            if place != home:
                self._unite(home / "predictions", place / "predictions")
        for key in kept[1:]:
            place = conflicts(self.ours) / trial / key
            weights = _own_weights(read_version(place, trial))
            self._unite(place / "predictions", home / "predictions", only=weights)
            for other in _folders(place / "predictions"):
                if other.name not in (weights, EPOCHS):
                    shutil.rmtree(other)

    def _unite(self, target: Path, source: Path, *, only: str | None = None) -> None:
        for folder in _folders(source):
            if folder.name != EPOCHS and only in (None, folder.name):
                self._unite_folder(target / folder.name, folder)

    def _unite_folder(self, target: Path, source: Path) -> None:
        here = source.is_relative_to(self.ours.root)
        count = unite_parts(target, source, lambda path, why: self._damaged(path, why, here=here))
        self.report.predictions += 0 if here else count

    def _drop(self, trial: str, kept: Sequence[str]) -> None:
        """Take away what is the beginning of another by now; what is damaged stays."""
        beside = conflicts(self.ours) / trial
        for place, version in versions_of(self.ours, trial):
            if isinstance(version, Version) and place.parent == beside and place.name not in kept[1:]:
                shutil.rmtree(place)
        for folder in (beside, beside.parent):
            with suppress(OSError):
                folder.rmdir()

    def _report_trial(self, trial: str, before: Version | None, first: Version, differences: Sequence[dict[str, Any]]) -> None:
        record, target = first.record, first.config.get("target")
        facts = {"trial_id": trial, "target": target, "from": self.name}
        if record is not None:
            facts |= {"epochs": record.epochs_done, "score": record.score, "author": record.author, "host": record.host}
        if before is None:
            self.report.new_trials.append(facts)
        elif before.begins(first):
            self.report.longer.append({**facts, "epochs_before": len(before.trace)})
        else:
            self.report.already_there += 1
        for differing in differences:
            entry = {"trial_id": trial, "target": target, **differing, "from": self.name}
            (self.report.conflicts if differing["beyond"] else self.report.alike).append(entry)


def _has_to_change(present: Version, group: Sequence[Version]) -> bool:
    """Whether what its one writer writes (record, metrics, last) has to change."""
    others = [version for version in group if version.last is not None]
    least = min((fingerprint(version.last) for version in others), default=None)
    last = None if present.last is None else fingerprint(present.last)
    return present.unit != min(version.unit for version in group) or last != least


def _own_weights(version: Version) -> str:
    return ((version.record.weights or "") if version.record else "")[:WEIGHTS_LENGTH] or "none"


def _ended(folder: TrialFolder) -> bool:
    """Whether nobody can be writing the trial; a record that cannot be read says nothing."""
    if not folder.claim.exists():
        return True
    try:
        record = folder.record()
    except (ValueError, TypeError):
        return False
    return record is not None and record.ended


@contextmanager
def _claimed(home: Path) -> Iterator[bool]:
    """The right to write a trial of ours; False where somebody trains it."""
    held: Claim | None = None
    if home.is_dir():
        held = claim(home / "claim.json")
        if held is None:
            yield False
            return
    try:
        yield True
    finally:
        if held is not None:
            held.release()


def _move(folder: Path, place: Path) -> None:
    """Give a version its place; one that a killed merge left there is the same and makes room."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        shutil.rmtree(place)
    (folder / "claim.json").unlink(missing_ok=True)
    os.replace(folder, place)


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."] if folder.is_dir() else []


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."] if folder.is_dir() else []
