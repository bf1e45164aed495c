"""Two ledgers' studies -> all of them, each once; of one that went on elsewhere the longer stays.

Two different studies of one name are both renamed, `<name>@<author>-<hash>`: were one of them to keep the name, `--resume <name>` would
go on with somebody else's study in one of the ledgers. The hash is of the shortest beginning of its events that the others do not share,
so it stays as the study grows, and every team-mate's ledger gives the same names.
"""

import os
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ledger.studies import StudyFolder, study_folders
from system.claims import Claim, claim
from system.errors import UserError
from system.files import fingerprint, lines_text, read_json, read_lines, replace_bytes, replace_sealed
from system.paths import CompetitionPaths

RENAMED = re.compile(r"(?P<base>.+)@[^@]*-[0-9a-f]{8}")
Tell = Callable[[str, dict[str, Any]], None]
"""Told (`studies`, `running` or `damaged`, facts)."""


@dataclass(frozen=True)
class StudyVersion:
    """One study folder: its plan, suggestions by file name, and events."""

    folder: StudyFolder
    plan: dict[str, Any]
    suggestions: dict[str, Any]
    events: tuple[dict[str, Any], ...]

    @property
    def base(self) -> str:
        return base_name(self.folder.name)

    @cached_property
    def key(self) -> str:
        return fingerprint([self.plan, self.suggestions, list(self.events)])

    @property
    def rank(self) -> tuple[int, str]:
        return -len(self.events), self.key

    @property
    def author(self) -> str:
        """Who ran it last, as part of a name."""
        made_of = self.plan.get("made_of") or {}
        names = (re.sub(r"[^A-Za-z0-9_.=]+", "-", str(made_of.get(key) or "")).strip("-") for key in ("author", "host"))
        return next((name for name in names if name), "unknown")

    def begins(self, other: "StudyVersion") -> bool:
        """Whether `other` goes on from this one; of two that differ in the plan alone one stays, by its fingerprint."""
        same = (self.suggestions, self.events) == (other.suggestions, other.events)
        if same and self._asks == other._asks:
            return fingerprint(self.plan) > fingerprint(other.plan)
        known = self.events == other.events[: len(self.events)]
        known &= all(other.suggestions.get(file) == suggestion for file, suggestion in self.suggestions.items())
        return not same and known and (bool(self.events) or self._asks == other._asks)

    @property
    def _asks(self) -> tuple[str, Any]:
        """What a study is about, whoever ran it and however long."""
        request = self.plan.get("request") or {}
        return fingerprint([self.plan.get("space"), self.plan.get("questions")]), request.get("seed")

    def beginning(self, others: Sequence["StudyVersion"]) -> str:
        """A name for the shortest beginning of its events that no other one shares."""
        shared = max((_common(self.events, other.events) for other in others), default=0)
        events = list(self.events[: shared + 1])
        return fingerprint(events if len(events) > shared else [*events, self.key], length=8)


def base_name(name: str) -> str:
    """The name that a study was started under.

    >>> base_name("smoke@jin-0123abcd"), base_name("age@mask")
    ('smoke', 'age@mask')
    """
    match = RENAMED.fullmatch(name)
    return match["base"] if match else name


def bring_studies(ours: CompetitionPaths, theirs: CompetitionPaths, stage: Path, running: Collection[str], tell: Tell) -> None:
    """Bring the studies of another ledger.

    Args:
        ours: Written to.
        theirs: Read.
        stage: A folder on our disk where new studies are assembled.
        running: Names of their studies that somebody drives now; left out.
        tell: The report.
    """
    there = _by_base(theirs, tell, here=False)
    here = _by_base(ours, tell, here=True)
    for base, versions in there.items():
        left_out = [version for version in versions if version.folder.name in running]
        for version in left_out:
            tell("running", {"study": version.folder.name, "why": "is being run there"})
        brought = [version for version in versions if version not in left_out]
        if brought:
            _bring(ours, here.get(base, []), brought, stage, tell)


def _by_base(paths: CompetitionPaths, tell: Tell, *, here: bool) -> dict[str, list[StudyVersion]]:
    by_base: dict[str, list[StudyVersion]] = {}
    for folder in study_folders(paths.studies):
        try:
            version = _read(folder)
            version.key  # noqa: B018  # what cannot be named cannot be kept
        except (ValueError, TypeError, UserError) as error:
            tell("damaged", {"file": f"studies/{folder.name}", "why": str(error), "where": "here" if here else "there"})
            continue
        by_base.setdefault(version.base, []).append(version)
    return by_base


def _read(folder: StudyFolder) -> StudyVersion:
    files = sorted((folder.path / "suggestions").glob("[0-9]*.json"))
    suggestions = {file.name: read_json(file) for file in files}
    return StudyVersion(folder, folder.plan(), suggestions, tuple(read_lines(folder.path / "events.jsonl")))


def _bring(ours: CompetitionPaths, here: Sequence[StudyVersion], there: Sequence[StudyVersion], stage: Path, tell: Tell) -> None:
    """Versions of one study, or different studies of one name."""
    versions = {version.key: version for version in (*there, *here)}
    kept = [version for version in versions.values() if not any(version.begins(other) for other in versions.values())]
    kept.sort(key=lambda version: version.rank)
    names, own_of = _names(kept), _own(kept, here)
    steps = [(names[version.key], version, own_of.get(version.key)) for version in kept]
    over = [mine for mine in here if mine not in own_of.values()]
    changed = [
        (name, version, mine) for name, version, mine in steps if mine is None or mine.folder.name != name or mine != version
    ]
    leases = _lease([*(mine.folder for _, _, mine in changed if mine is not None), *(mine.folder for mine in over)])
    if leases is None:
        tell("running", {"study": kept[0].base, "why": "is being run here"})
        return
    try:
        for name, version, mine in changed:
            _put(ours.studies / name, version, mine, stage, tell)
        for mine in over:  # the beginning of several that are here now
            shutil.rmtree(mine.folder.path)
    finally:
        for held in leases:
            held.release()


def _names(kept: Sequence[StudyVersion]) -> dict[str, str]:
    """Key -> name in every ledger that has exactly these."""
    if len(kept) == 1:
        return {kept[0].key: kept[0].base}
    return {
        version.key: f"{version.base}@{version.author}-{version.beginning([other for other in kept if other is not version])}"
        for version in kept
    }


def _own(kept: Sequence[StudyVersion], here: Sequence[StudyVersion]) -> dict[str, StudyVersion]:
    """Key -> our folder that this version is, or else goes on from; each of ours at most once."""
    present = {version.key: folder for version in kept for folder in here if folder.key == version.key}
    for folder in here:
        later = [version.key for version in kept if version.key not in present and folder.begins(version)]
        if later and folder not in present.values():
            present[later[0]] = folder
    return present


def _lease(folders: Sequence[StudyFolder]) -> list[Claim] | None:
    """The right to write these studies of ours; `None` where somebody drives one."""
    leases: list[Claim] = []
    for folder in folders:
        held = claim(folder.lease)
        if held is None:
            for other in leases:
                other.release()
            return None
        leases.append(held)
    return leases


def _put(place: Path, version: StudyVersion, present: StudyVersion | None, stage: Path, tell: Tell) -> None:
    """Give a study its name, and what it lacks of the longer version; events come last, so that a kill leaves a shorter study."""
    facts = {"study": place.name, "author": version.author, "host": (version.plan.get("made_of") or {}).get("host")}
    if present is None:
        if place.exists():
            tell("damaged", {"file": f"studies/{place.name}", "why": "it stands where another study belongs", "where": "here"})
            return
        folder = stage / f"study-{version.key}"
        shutil.rmtree(folder, ignore_errors=True)
        _write(folder, version)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, place)
        tell("studies", {**facts, "what": "new", "was": version.folder.name})
        return
    if present.folder.path != place:
        os.replace(present.folder.path, place)
        (place / "lease.json").unlink(missing_ok=True)
        tell("studies", {**facts, "what": "renamed", "was": present.folder.name})
    if present.key != version.key:
        _write(place, version)
        tell("studies", {**facts, "what": "longer", "was": present.folder.name})


def _write(folder: Path, version: StudyVersion) -> None:
    for name, value in version.suggestions.items():
        if not (folder / "suggestions" / name).exists():
            replace_sealed(folder / "suggestions" / name, value)
    StudyFolder(folder).write_plan(version.plan)
    if version.events:
        replace_bytes(folder / "events.jsonl", lines_text(list(version.events)))


def _common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many entries two sequences begin with in common."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
