"""Ingredients: what a trial was made of, as its folder says -> what today's code, packages, data and machine are, and where they differ.

They are compared in the order in which one explains the next (`ORDER`). A file that is damaged is named as such, and what only it knew is
not compared. Only what training runs is compared: code of the folders in `CODE`, and packages that compute.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from competitions.prepare import Prepared, load_prepared
from competitions.targets import targets
from ledger.reading import Sessions, readable_record
from ledger.reproducibility import computing, device_of, differing, hardware_of
from ledger.studies import study_folders
from ledger.trials import Record, TrialFolder
from system.files import fingerprint, read_json
from system.paths import CompetitionPaths
from trainables.config import RECIPE, TrialConfig
from trainables.provenance import REPOSITORY

CODE = ("competitions", "ledger", "system", "trainables")
"""The folders whose code a training runs."""
ORDER = ("provenance", "code", "package", "data", "split", "seed", "settings", "soup", "threads", "hardware")
FILE = re.compile(r"diff --git a/(\S+) b/")
MOST_PHOTOS = 100
Session = Mapping[str, Any]


@dataclass(frozen=True)
class Ingredient:
    """Something that is not as it was.

    Attributes:
        ingredient: One of `ORDER`; `provenance` is the file that should say what the trial was made of.
        then: What it was.
        now: What it is.
        sessions: The numbers, from 1, of the trial's sessions that had `then`; empty for what all of them share.
    """

    ingredient: str
    then: Any
    now: Any
    sessions: tuple[int, ...] = ()

    def json(self) -> dict[str, Any]:
        value = {key: value for key, value in asdict(self).items() if key != "sessions"}
        return value | ({"sessions": list(self.sessions)} if self.sessions else {})


def of_sessions(sessions: Sequence[Session], today: Session, config: TrialConfig) -> dict[str, list[Ingredient]]:
    """Code, packages, threads and hardware of each session that differ from today's; equal differences are told once.

    Args:
        sessions: Of `provenance.json`, oldest first: a trial that was continued elsewhere has several.
        today: The session that would be added now.
        config: The trial's.
    """
    compared = {"code": _code, "package": _packages, "threads": _threads, "hardware": _hardware}
    found: dict[str, list[Ingredient]] = {}
    for name, compare in compared.items():
        several: list[tuple[Any, Any, list[int]]] = []
        for number, session in enumerate(sessions, start=1):
            then, now = compare(session, today, config)
            if then == now:
                continue
            known = next((entry for entry in several if entry[:2] == (then, now)), None)
            if known is None:
                several.append((then, now, [number]))
            else:
                known[2].append(number)
        numbered = len(sessions) > 1
        found[name] = [Ingredient(name, then, now, tuple(numbers) if numbered else ()) for then, now, numbers in several]
    return found


def of_provenance(sessions: Sessions, config: TrialConfig) -> list[Ingredient]:
    """What is wrong with `provenance.json`, and what is compared in spite of it."""
    if sessions.fault is None:
        return []
    if sessions.sessions:
        return [Ingredient("provenance", sessions.fault, f"read from {sessions.source}, so everything is compared")]
    unknown = "code, packages, threads and hardware" + (", and the weights of its soup," if config.soup else "")
    return [Ingredient("provenance", sessions.fault, f"{unknown} cannot be compared; data, split, seed and settings are")]


def of_data(paths: CompetitionPaths, prepared: Prepared, config: TrialConfig) -> list[Ingredient]:
    """Data and split where the trial's rows are not what they were, as far as the preparation it learned from was kept."""
    target = targets(prepared.competition)[config.target]
    now = prepared.data_fingerprint(target)
    if now == config.data and target.heads == config.heads:
        return []
    kept, damaged = _kept(paths, config)
    if kept is None:
        note = "the preparation it learned from is not kept, so photos cannot be compared"
        if damaged:
            note = f"{'; '.join(damaged)}; no other is the one it learned from, so photos cannot be compared"
        return [Ingredient("data", {"fingerprint": config.data, "note": note}, {"fingerprint": now})]
    found = []
    then_rows, now_rows = _rows(kept), _rows(prepared)
    changed = [photo for photo in sorted({*then_rows, *now_rows}) if then_rows.get(photo) != now_rows.get(photo)]
    if changed:
        found.append(Ingredient("data", _facts(then_rows, changed, now_rows), _facts(now_rows, changed, then_rows)))
    then_split, now_split = (one.competition.split.model_dump() for one in (kept, prepared))
    before, after = _folds(kept), _folds(prepared)
    moved = sorted(photo for photo in before if photo in after and before[photo] != after[photo])
    if then_split != now_split or (moved and not changed):
        found.append(
            Ingredient(
                "split",
                {**then_split, "moved": {photo: before[photo] for photo in moved[:MOST_PHOTOS]}},
                {**now_split, "moved": {photo: after[photo] for photo in moved[:MOST_PHOTOS]}, "n_moved": len(moved)},
            )
        )
    return found or [
        Ingredient("data", {"fingerprint": config.data, "heads": config.heads}, {"fingerprint": now, "heads": target.heads})
    ]


def of_settings(paths: CompetitionPaths, trial_id: str, record: Record, config: TrialConfig) -> list[Ingredient]:
    """Seed and other settings of `config.json` that are not those the trial's name stands for."""
    if config.trial_id == trial_id and record.seed == config.seed:
        return []
    then = _suggested(paths, trial_id)
    now = config.json()
    if then is None:
        if record.seed != config.seed:
            return [Ingredient("seed", record.seed, config.seed)]
        return [Ingredient("settings", {"trial_id": trial_id}, {"trial_id": config.trial_id})]
    changed = [name for name in then if then[name] != now.get(name)]
    named = [Ingredient(name, then[name], now[name]) for name in ("seed", "threads") if name in changed]
    rest = [name for name in changed if name not in ("seed", "threads")]
    more = [Ingredient("settings", {name: then[name] for name in rest}, {name: now.get(name) for name in rest})] if rest else []
    return [*named, *more]


def of_soup(paths: CompetitionPaths, sessions: Sequence[Session]) -> list[Ingredient]:
    """The trials of a soup whose weights are no longer those that were averaged."""
    then = {str(one["trial_id"]): one["weights"] for session in sessions[-1:] for one in session.get("soup", ())}
    records = {trial: readable_record(TrialFolder(paths.trials / trial)) for trial in then}
    now = {trial: record.weights if record is not None else None for trial, record in records.items()}
    other = differing(then, now)
    return [Ingredient("soup", {name: then[name] for name in other}, {name: now[name] for name in other})] if other else []


def _code(session: Session, today: Session, config: TrialConfig) -> tuple[Any, Any]:
    """Commit, recipe, and the files of `CODE` that differ; nothing where none of them does."""
    then: dict[str, Any] = {"commit": session.get("commit")}
    now: dict[str, Any] = {"commit": today.get("commit")}
    before, after = _changes(session), _changes(today)
    differ = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    if then["commit"] != now["commit"]:
        between = _files_between(then["commit"], now["commit"])
        if between is None:  # a commit that this clone does not know
            between = ["?"]
        differ |= set(between)
    if config.recipe != RECIPE:
        then, now = then | {"recipe": config.recipe}, now | {"recipe": RECIPE}
    elif not differ:
        return None, None
    listed = sorted(differ)
    then["files"] = {name: before.get(name, "as committed") for name in listed}
    now["files"] = {name: after.get(name, "as committed") for name in listed}
    return then, now


def _changes(session: Session) -> dict[str, str]:
    """File of `CODE` -> what of it was not committed: its diff, or the hash of a new one."""
    sections = re.split(r"^(?=diff --git )", str(session.get("diff") or ""), flags=re.MULTILINE)
    found = {name[1]: section.strip() for section in sections if (name := FILE.match(section))}
    found |= {str(name): f"new, {hashed[:16]}" for name, hashed in (session.get("new_files") or {}).items()}
    return {name: change for name, change in found.items() if name.split("/")[0] in CODE}


def _files_between(then: str | None, now: str | None) -> list[str] | None:
    """The Python files of `CODE` that differ between two commits; `None` where git cannot tell."""
    if not then or not now:
        return None
    command = ["git", "diff", "--name-only", then, now, "--", *(f"{folder}/*.py" for folder in CODE)]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split() if done.returncode == 0 else None


def _packages(session: Session, today: Session, config: TrialConfig) -> tuple[Any, Any]:
    then, now = (
        {**computing(one.get("packages") or {}), **({"python": one["python"]} if "python" in one else {})}
        for one in (session, today)
    )
    other = differing(then, now)
    return {name: then[name] for name in other}, {name: now[name] for name in other}


def _threads(session: Session, today: Session, config: TrialConfig) -> tuple[Any, Any]:
    return session.get("threads", config.threads), today["threads"]


def _hardware(session: Session, today: Session, config: TrialConfig) -> tuple[Any, Any]:
    then, now = hardware_of(session, config.precision), hardware_of(today, config.precision)
    if device_of(session, config.precision) != device_of(today):
        return then, now
    other = differing(then, now)
    return {name: then[name] for name in other}, {name: now[name] for name in other}


def _kept(paths: CompetitionPaths, config: TrialConfig) -> tuple[Prepared | None, list[str]]:
    """The preparation that the trial learned from, and what is wrong with those that cannot be read."""
    damaged = []
    for path in sorted((paths.data / "prepared").glob("*.json")):
        try:
            if fingerprint(read_json(path)) != path.stem:
                raise ValueError("its content is not what its name says")
            prepared = load_prepared(paths, path.stem)
            if _is_of(prepared, config):
                return prepared, []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            damaged.append(f"data/prepared/{path.name} is damaged ({str(error).splitlines()[0]})")
    return None, damaged


def _is_of(kept: Prepared, config: TrialConfig) -> bool:
    target = targets(kept.competition).get(config.target)
    if target is None or target.heads != config.heads or kept.competition.split.name != config.split:
        return False
    return kept.data_fingerprint(target) == config.data


def _rows(prepared: Prepared) -> dict[str, dict[str, str | None]]:
    """Training photo -> what learning can see of it: pixels, group and the class of every task."""
    manifest, competition = prepared.manifest, prepared.competition
    found = {}
    for row in np.flatnonzero(np.array(manifest.roles) == "train"):
        numbers = {task: int(labels[row]) for task, labels in manifest.labels.items()}
        labels = {task: competition.classes(task)[number] if number >= 0 else None for task, number in numbers.items()}
        found[manifest.image_ids[row]] = {"pixels": prepared.pixels[row][:16], "group": manifest.groups[row], **labels}
    return found


def _facts(
    rows: Mapping[str, Mapping[str, Any]], changed: Sequence[str], other: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Of each changed photo what is not alike on both sides; `None` for one that is not there."""
    told: dict[str, Any] = {}
    for photo in changed[:MOST_PHOTOS]:
        own, theirs = rows.get(photo), other.get(photo, {})
        told[photo] = None if own is None else {key: value for key, value in own.items() if theirs.get(key, ...) != value}
    return {"photos": len(rows), "n_changed": len(changed), "changed": told}


def _folds(prepared: Prepared) -> dict[str, int]:
    return dict(zip(prepared.manifest.image_ids, prepared.folds.fold.tolist(), strict=True))


def _suggested(paths: CompetitionPaths, trial_id: str) -> dict[str, Any] | None:
    """The settings under which a study asked for this trial."""
    suggestions = (suggestion for study in study_folders(paths.studies) for suggestion in study.suggestions())
    return next((one.settings for one in suggestions if one.trial_id == trial_id and one.settings), None)


def ordered(parts: Iterable[Ingredient]) -> list[Ingredient]:
    """What differs, the first cause first."""
    return sorted(parts, key=lambda part: ORDER.index(part.ingredient))
