"""From folders to rows: what the index keeps of one trial and of one study, and the tables it keeps them in."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple

from ledger.index.signatures import UNSURE, Signature, now_ns, settled, signature, study_signature
from ledger.reading import DAMAGE, readable_config, readable_record
from ledger.studies import StudyFolder, statuses_of
from ledger.trials import Record, TrialFolder
from system.files import fingerprint

log = logging.getLogger("podium.ledger")

OF_A_SPLIT = ("split", "data", "fold", "seed")
"""What may differ between trials of the same settings under several splits."""
TABLES = """
CREATE TABLE swept(names BLOB, signatures BLOB);
CREATE TABLE trial(
    n INTEGER PRIMARY KEY, trial_id TEXT UNIQUE, config_id TEXT, target TEXT, fold INTEGER, seed INTEGER, own_status TEXT, score,
    best_epoch INTEGER, epochs INTEGER, seconds, host TEXT, author TEXT, planned INTEGER, weights TEXT, data TEXT, metric TEXT,
    split TEXT, same TEXT
);
CREATE TABLE settings(n INTEGER PRIMARY KEY, config TEXT, curve TEXT);
CREATE TABLE study(name TEXT PRIMARY KEY, signatures TEXT);
CREATE TABLE suggestion(study TEXT, file TEXT, signature TEXT, trial_id TEXT, PRIMARY KEY(study, file)) WITHOUT ROWID;
CREATE TABLE asked(trial_id TEXT, study TEXT, status TEXT, PRIMARY KEY(trial_id, study)) WITHOUT ROWID;
CREATE INDEX trial_by_score ON trial(score IS NULL, score DESC, trial_id);
CREATE INDEX trial_by_target ON trial(target, score IS NULL, score DESC, trial_id);
CREATE INDEX trial_by_question ON trial(target, data, metric, fold, own_status, score DESC, trial_id);
CREATE INDEX trial_by_config ON trial(config_id, seed, fold, own_status);
CREATE INDEX trial_by_settings ON trial(same, split);
CREATE INDEX asked_by_study ON asked(study);
"""
INDEX_SCHEMA = 2
"""Raised with every change of the tables, or of what stands in them."""


class Entry(NamedTuple):
    """One trial. Without a readable record it has what its configuration says, and nothing done.

    Attributes:
        own_status: running, finished or diverged, as the record alone says.
        score: `None` too for a diverged trial.
        same: Fingerprint of the settings without `OF_A_SPLIT`.
        config: JSON.
        curve: JSON.
    """

    trial_id: str
    config_id: str
    target: str
    fold: int
    seed: int
    own_status: str
    score: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    host: str
    author: str
    planned: int
    weights: str | None
    data: str | None
    metric: str | None
    split: str | None
    same: str
    config: str
    curve: str


FROM_CONFIG = ("data", "metric", "split")
SAME_NAME = ("trial_id", "config_id", "target", "fold", "seed", "score", "best_epoch", "weights", "seconds", "author", "host")
OF_A_RECORD = {"epochs_planned": "planned", "epochs_done": "epochs", **{name: name for name in SAME_NAME}}
"""Field of a `Record` -> column; its curve is JSON."""
FIELD_TYPES: dict[str, Any] = {
    **dict.fromkeys(("fold", "seed", "epochs_planned", "epochs_done"), int),
    **dict.fromkeys(("weights", *FROM_CONFIG), (str, NoneType)),
    "score": (int, float, NoneType),
    "best_epoch": (int, NoneType),
    "curve": list,
    "diverged": bool,
    "seconds": (int, float),
}
"""Field of a record or a configuration -> what may stand in it; text where it is not named."""
INTEGER_LIMIT = 1 << 63


def read_trial(folder: TrialFolder) -> tuple[Entry | None, Signature]:
    """What the trial's folder says, and the signature to keep for it.

    What is damaged is warned about, and the signature is then `UNSURE`: the next query reads it again and warns again.

    Returns:
        `None` for the entry where the configuration cannot be read, or the folder is gone.
    """
    now, seen, good = now_ns(), signature(folder.path / "record.json"), True
    try:
        record = folder.record()
    except DAMAGE:
        record, good = readable_record(folder), False
    except OSError as error:
        log.warning("trial %s is shown without its record: %s", folder.id, error)
        record, good = None, False
    if not (folder.path / "config.json").exists() or (config := readable_config(folder)) is None:
        return None, UNSURE
    try:
        return entry_of(folder.id, config, record), settled(seen, now) if good else UNSURE
    except (ValueError, TypeError) as error:
        log.warning("trial %s is left out: %s; go on with its study to heal it", folder.id, error)
    try:
        return entry_of(folder.id, config, None), UNSURE
    except (ValueError, TypeError):
        return None, UNSURE


def entry_of(trial_id: str, config: Mapping[str, Any], record: Record | None) -> Entry:
    """The row of a trial.

    Raises:
        ValueError: A value is of the wrong kind, or missing.
    """
    if record is None and (missing := [name for name in ("target", "fold", "seed") if name not in config]):
        raise ValueError(f"config.json has no {', '.join(missing)}")
    done = record or Record(trial_id, "", config["target"], config["fold"], config["seed"], 0)
    values = vars(done) | {name: config.get(name) for name in FROM_CONFIG}
    wrong = [f"{name} is {value!r}" for name, value in values.items() if not _fits(value, FIELD_TYPES.get(name, str))]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}, which it cannot be")
    kept: dict[str, Any] = {column: values[name] for name, column in OF_A_RECORD.items()}
    kept |= {name: values[name] for name in FROM_CONFIG} | {"trial_id": trial_id, "score": None if done.diverged else done.score}
    return Entry(
        **kept,
        own_status="running" if record is None or not done.ended else "diverged" if done.diverged else "finished",
        same=fingerprint({key: value for key, value in config.items() if key not in OF_A_SPLIT}),
        config=json.dumps(config),
        curve=json.dumps(done.curve),
    )


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(value, str):
        return isinstance("", kind) and value == value.encode(errors="replace").decode()  # a lone surrogate is no text
    return isinstance(value, kind) and (not isinstance(value, int) or -INTEGER_LIMIT <= value < INTEGER_LIMIT)


Kept = dict[str, tuple[str, str]]
"""File of a suggestion -> its signature as JSON, and the trial it asked for."""


@dataclass(frozen=True)
class StudyRows:
    """One study.

    Attributes:
        signatures: To keep, as JSON.
        suggestions: Its files.
        statuses: Trial -> what the study last decided.
    """

    signatures: str
    suggestions: Kept
    statuses: dict[str, str]


def read_study(study: StudyFolder, kept: Kept) -> StudyRows:
    """What the study's folder says; only suggestions that are not `kept` as they are now are read.

    What is damaged is warned about, and its signature is then `UNSURE`, as for trials.
    """
    now, (events, folder) = now_ns(), study_signature(study)
    suggestions = {}
    for file in study.suggestion_files():
        seen, same = signature(file), kept.get(file.name)
        if same and same[0] == json.dumps(seen):
            trial = same[1]
        elif (read := study.suggestion(file)) is not None:
            trial = read.trial_id
        else:
            trial, seen, folder = "", UNSURE, UNSURE
        suggestions[file.name] = json.dumps(settled(seen, now)), trial
    lines = study.journal()
    if lines.damaged:
        events = UNSURE
    signatures = json.dumps([settled(events, now), settled(folder, now)])
    return StudyRows(signatures, suggestions, statuses_of((trial for _, trial in suggestions.values()), study.readable(lines)))
