"""Repairing a study: what is damaged in its folder, or in those of its trials, goes to quarantine and is healed from what else is known.

    plan         from its copy
    events       damaged lines go; what the folders say is then true: the end of a trial is written again, one whose "pruned" was
                 lost goes on and is judged anew. A lost "started" is written again, else the study would train a trial too many
    suggestion   from its "started" event and the trial's settings; what the sampler drew is not known any more
    trial        `ledger.repair.trials`; one whose record is lost with both its checkpoints is trained again, to the same bits

Called by the study's driver, which holds its lease, before anything reads the study; trials are repaired under their claim.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ledger.reading import DAMAGE
from ledger.repair.trials import NameOf, needs_repair, repair_trial
from ledger.studies import END_EVENTS, STOPPED, StudyFolder, Suggestion
from ledger.trials import TrialFolder
from system.claims import claim, holder, wait_for
from system.errors import UserError, listed
from system.files import lines_text, read_json, replace_bytes, replace_sealed, sweep
from system.quarantine import quarantine_bytes, quarantine_copy

log = logging.getLogger("podium.ledger")
CLAIM_PATIENCE_S = 30.0
"""How long to wait for somebody who trains a damaged trial: a killed driver's workers live on for some seconds."""
BY_TRAINING = ("pruned", "failed", "retried", STOPPED)
"""Events of trials that this study itself trained; "finished" and "diverged" are, where they say an epoch."""
LOST = "lost"
"""The event after which a trial that had ended is one that waits: nothing of it is left."""


def repair_study(study: StudyFolder, trials: Path, name_of: NameOf) -> None:
    """Leave a study of which everything can be read, and its trials too.

    Args:
        study: The caller holds its lease.
        trials: The ledger's trial folders.
        name_of: Settings -> trial id.

    Raises:
        UserError: Neither the plan nor its copy can be read, or somebody trains a damaged trial.
    """
    for folder in (study.path, study.path / "suggestions"):
        sweep(folder)
    if not study.planned:
        return
    _repair_plan(study)
    _repair_journal(study)
    suggestions = _repair_suggestions(study, trials, name_of)
    _write_started(study, suggestions)
    for trial, settings in {suggestion.trial_id: suggestion.settings for suggestion in suggestions}.items():
        _repair_claimed(TrialFolder(trials / trial), name_of, settings)
    _name_lost(study, trials, suggestions)


def _repair_plan(study: StudyFolder) -> None:
    plan = study.plan()
    for path in study.plan_files:
        try:
            read_json(path)
        except FileNotFoundError:
            replace_sealed(path, plan)
        except ValueError as error:
            quarantine_copy(study.root, path, error, did="written again from its copy")
            replace_sealed(path, plan)


def _repair_journal(study: StudyFolder) -> None:
    """Take damaged lines out. A torn end is kept as well: it may be a write that was cut off, or the place where a file was cut."""
    lines, path = study.journal(), study.path / "events.jsonl"
    if not lines.damaged and not lines.torn:
        return
    for line in (*lines.damaged, *((lines.torn,) if lines.torn else ())):
        why = "it cannot be read" if line in lines.damaged else "its end is missing"
        quarantine_bytes(study.root, path, line, why, did="the other events stay")
    replace_bytes(path, b"".join(line + b"\n" for line in lines.whole))


def _repair_suggestions(study: StudyFolder, trials: Path, name_of: NameOf) -> list[Suggestion]:
    """Heal what can be healed; returns those that name a trial, oldest first."""
    readable, damaged = dict[int, Suggestion](), dict[Path, str]()
    for file in study.suggestion_files():
        try:
            readable[int(file.stem)] = Suggestion(**read_json(file))
        except (ValueError, TypeError) as error:
            damaged[file] = str(error)
    known = {suggestion.trial_id for suggestion in readable.values()}
    for file, fault in damaged.items():
        healed = readable[int(file.stem)] = _healed(study, trials, int(file.stem), known, name_of)
        did = (
            f"healed for trial {healed.trial_id}, without what the sampler drew" if healed.trial_id else "its number stays taken"
        )
        quarantine_copy(study.root, file, fault, did=did)
        study.write_suggestion(healed)
    return [readable[number] for number in sorted(readable) if readable[number].trial_id]


def _healed(study: StudyFolder, trials: Path, number: int, known: set[str], name_of: NameOf) -> Suggestion:
    """What the events say about a suggestion, and its trial's settings; without a trial where they say nothing."""
    events = study.events()
    started = [e for e in events if e["event"] == "started" and e.get("suggestion") == number]
    others = list(dict.fromkeys(e["trial_id"] for e in events if "trial_id" in e and e["trial_id"] not in known))
    name = started[0]["trial_id"] if started else others[0] if len(others) == 1 else ""
    settings = _settings(TrialFolder(trials / name), name_of) if name else None
    if settings is None:
        return Suggestion(number, "", "", {}, attributes={"params": {}})
    return Suggestion(number, str(settings["target"]), name, {}, attributes={"params": {}}, settings=settings)


def _settings(folder: TrialFolder, name_of: NameOf) -> dict[str, Any] | None:
    with suppress(Exception):  # settings that are no configuration, in whatever way the caller's own type says so
        settings = folder.config()
        return settings if name_of(settings) == folder.id else None
    return None


def _write_started(study: StudyFolder, suggestions: Sequence[Suggestion]) -> None:
    """Write lost "started" events again. Each suggestion but the last one has an event; where one has none, lines were lost."""
    events = study.events()
    first_of = {suggestion.trial_id: suggestion for suggestion in reversed(suggestions)}
    known = {event.get("trial_id") for event in events}
    silent = {trial for trial, suggestion in first_of.items() if trial not in known and suggestion.distributions}
    if not any(first_of[trial].number < suggestions[-1].number for trial in silent):
        silent = set()
    trained = {e["trial_id"] for e in events if e["event"] in BY_TRAINING or (e["event"] in END_EVENTS and "epoch" in e)}
    started = {event["trial_id"] for event in events if event["event"] == "started"}
    lost = sorted(((trained - started) & first_of.keys()) | silent, key=lambda trial: first_of[trial].number)
    if not lost:
        return
    log.warning(
        "study %s: the events of %d trials were lost, their start is written again: %s", study.name, len(lost), listed(lost)
    )
    then = min((event["time"] for event in events), default=0.0)
    again = [_started(first_of[trial], then) for trial in lost]
    replace_bytes(study.path / "events.jsonl", lines_text([*again, *events]))


def _started(suggestion: Suggestion, then: float) -> dict[str, Any]:
    return {
        "event": "started",
        "time": then,
        "trial_id": suggestion.trial_id,
        "target": suggestion.target,
        "suggestion": suggestion.number,
        "mended": True,
    }


def _repair_claimed(folder: TrialFolder, name_of: NameOf, settings: Mapping[str, Any]) -> None:
    """Repair a trial under its claim, after waiting for whoever trains it.

    Raises:
        UserError: It is still being trained, and its record cannot be read.
    """
    if not folder.path.is_dir() or not needs_repair(folder, name_of):
        return
    held = claim(folder.claim)
    if held is None:
        wait_for(folder.claim, lambda: not needs_repair(folder, name_of), timeout=CLAIM_PATIENCE_S)
        held = claim(folder.claim)
    if held is not None:
        with held:
            repair_trial(folder, name_of, settings or None)
    elif _unreadable(folder):
        other = holder(folder.claim)
        who = f"process {other.pid} on {other.host}" if other else "another process"
        raise UserError(f"trial {folder.id} is damaged and being trained by {who}; wait for it, then resume this study again")


def _unreadable(folder: TrialFolder) -> bool:
    try:
        folder.record()
    except DAMAGE:
        return True
    return False


def _name_lost(study: StudyFolder, trials: Path, suggestions: Sequence[Suggestion]) -> None:
    """Trials that ended and of which nothing is left wait to be trained again."""
    statuses = study.statuses()
    for trial in dict.fromkeys(suggestion.trial_id for suggestion in suggestions if suggestion.settings):
        if statuses[trial] in ("finished", "pruned", "diverged") and not (trials / trial / "record.json").exists():
            log.warning("trial %s ended as %s and nothing of it is left; it is trained again", trial, statuses[trial])
            study.log(LOST, trial, status=statuses[trial])
