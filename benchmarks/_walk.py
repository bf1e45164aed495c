"""The ledger's questions answered by reading every folder, as they were before there was an index: the counterpart of `ledger.query`."""

from collections import Counter
from typing import Any

from ledger.index.rows import OF_A_SPLIT
from ledger.reading import readable_config, readable_record
from ledger.studies import StudyFolder, study_folder, study_folders
from ledger.trials import ALL_DATA, Record, TrialFolder, trial_folders
from system.files import fingerprint
from system.paths import CompetitionPaths

DESCENDING = ("score",)
Row = dict[str, Any]


def list_trials(
    paths: CompetitionPaths, *, study: str | None = None, target: str | None = None, sort: str = "score"
) -> list[Row]:
    studies = [study_folder(paths.studies, study)] if study else study_folders(paths.studies)
    rows = [row for row in _rows(paths, studies, strays=study is None) if target in (None, row["target"])]
    return sorted(rows, key=lambda row: _order(row, sort))


def scores_by_split(paths: CompetitionPaths) -> list[dict[str, Any]]:
    found: dict[str, list[Row]] = {}
    for row in list_trials(paths):
        if row["score"] is not None and row["status"] == "finished":
            found.setdefault(fingerprint({k: v for k, v in row["config"].items() if k not in OF_A_SPLIT}), []).append(row)
    several = [rows for rows in found.values() if len({row["config"]["split"] for row in rows}) > 1]
    told = [
        {
            "target": rows[0]["target"],
            "splits": {name: _mean_of(rows, name) for name in sorted({row["config"]["split"] for row in rows})},
            "trials": sorted({row["trial_id"] for row in rows}),
            "config": {key: value for key, value in rows[0]["config"].items() if key not in OF_A_SPLIT},
        }
        for rows in several
    ]
    return sorted(told, key=lambda one: (one["target"], -max(split["score"] for split in one["splits"].values()), one["trials"]))


def _mean_of(rows: list[Row], split: str) -> dict[str, Any]:
    scores = {row["trial_id"]: row["score"] for row in rows if row["config"]["split"] == split}
    return {"score": sum(scores.values()) / len(scores), "n": len(scores)}


def best_trials(
    paths: CompetitionPaths,
    target: str,
    data: str,
    fold: int,
    metric: str,
    *,
    study: str | None = None,
    stopped: bool = False,
) -> list[tuple[str, float]]:
    asked = set(study_folder(paths.studies, study).statuses()) if study else None
    said = {(row["trial_id"], row["status"]) for row in list_trials(paths)} if stopped else set()
    found = []
    for folder in trial_folders(paths.trials):
        record = readable_record(folder)
        votes = record is not None and (
            record.finished or (record.can_vote and (folder.id, "stopped") in said and (folder.id, "pruned") not in said)
        )
        if record is None or record.score is None or not votes or (asked is not None and folder.id not in asked):
            continue
        config = (readable_config(folder) if (record.target, record.fold) == (target, fold) else None) or {}
        if (config.get("data"), config.get("metric")) == (data, metric):
            found.append((folder.id, record.score))
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def count_finished(paths: CompetitionPaths) -> dict[str, int]:
    records = (readable_record(folder) for folder in trial_folders(paths.trials))
    return dict(Counter(record.target for record in records if record is not None and record.finished))


def all_data_sibling(paths: CompetitionPaths, trial_id: str) -> str | None:
    own = TrialFolder(paths.trials / trial_id).record()
    assert own is not None, "asked of trials with a record"
    wanted = (own.config_id, own.seed, ALL_DATA)
    for folder in trial_folders(paths.trials):
        record = readable_record(folder)
        if record is not None and record.finished and (record.config_id, record.seed, record.fold) == wanted:
            return folder.id
    return None


def fold_siblings(paths: CompetitionPaths, trial_id: str) -> dict[int, str]:
    records = {folder.id: readable_record(folder) for folder in trial_folders(paths.trials)}
    own, found = records[trial_id], dict[int, str]()
    if own is None:
        return found
    for name in sorted(records, key=lambda name: (name != trial_id, name)):
        record = records[name]
        if record is None or not record.finished or record.score is None:
            continue
        if (record.config_id, record.seed) == (own.config_id, own.seed):
            found.setdefault(record.fold, name)
    return found


def _rows(paths: CompetitionPaths, studies: list[StudyFolder], *, strays: bool) -> list[Row]:
    folders = {folder.id: folder for folder in trial_folders(paths.trials)}
    rows, seen = [], set()
    for study in studies:
        for trial, status in study.statuses().items():
            if trial in folders:
                row = _row(folders[trial], study.name, status)
                cut = row and status == "running" and study.lease.exists() and row["score"] is not None and row["weights"]
                rows.append({**row, "status": "stopped"} if row and cut else row)
                seen.add(trial)
    if strays:
        rows += [_row(folder, None, _own_status(folder)) for trial, folder in folders.items() if trial not in seen]
    return [row for row in rows if row is not None]


def _own_status(folder: TrialFolder) -> str:
    record = readable_record(folder)
    if record is None or not record.ended:
        return "running"
    return "diverged" if record.diverged else "finished"


def _row(folder: TrialFolder, study: str | None, status: str) -> Row | None:
    config = readable_config(folder)
    if config is None:
        return None
    record = readable_record(folder) or Record(folder.id, "", config["target"], config["fold"], config["seed"], config["epochs"])
    return {
        "trial_id": folder.id,
        "config_id": record.config_id,
        "study": study,
        "target": record.target,
        "fold": record.fold,
        "seed": record.seed,
        "status": status,
        "score": None if record.diverged else record.score,
        "best_epoch": record.best_epoch,
        "epochs": record.epochs_done,
        "seconds": record.seconds,
        "host": record.host,
        "author": record.author,
        "weights": record.weights,
        "config": config,
    }


def _order(row: Row, sort: str) -> tuple[bool, Any, str, str]:
    value = row[sort]
    missing = value is None
    if missing:
        value = 0
    elif sort in DESCENDING:
        value = -value
    return missing, value, row["trial_id"], row["study"] or ""
