"""Questions to the ledger: which trials are there, how good are they, what did each study decide about them."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from ledger.errors import UserError, unknown
from ledger.files import fingerprint
from ledger.mending import readable_config, readable_record
from ledger.paths import CompetitionPaths
from ledger.studies import StudyFolder, study_folder, study_folders
from ledger.trials import ALL_DATA, Record, TrialFolder, trial_folders

SORT_KEYS = ("score", "seconds", "epochs", "best_epoch", "target", "study", "trial_id", "host", "author")
DESCENDING = ("score",)
OF_A_SPLIT = ("split", "data", "fold", "seed")
"""What may differ between trials of the same settings under several splits."""


@dataclass(frozen=True)
class Row:
    """One trial as one study sees it; `study` is `None` for a trial that no study here asked for."""

    trial_id: str
    config_id: str
    study: str | None
    target: str
    fold: int
    seed: int
    status: str
    score: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    host: str
    author: str
    config: dict[str, Any]

    def json(self) -> dict[str, Any]:
        return asdict(self)


def list_trials(
    paths: CompetitionPaths, *, study: str | None = None, target: str | None = None, sort: str = "score"
) -> list[Row]:
    """The leaderboard, best first.

    Args:
        paths: The competition's folders.
        study: Only what this study asked for.
        target: Only trials of this target.
        sort: One of `SORT_KEYS`; scores descend, the rest ascends, ties go by trial id.

    Raises:
        UserError: Unknown study, target or key.
    """
    if sort not in SORT_KEYS:
        raise UserError(unknown("sort key", sort, SORT_KEYS))
    studies = [study_folder(paths.studies, study)] if study else study_folders(paths.studies)
    rows = _rows(paths, studies, strays=study is None)
    if target is not None and rows:
        targets = {row.target for row in rows}
        if target not in targets:
            raise UserError(unknown("target", target, targets))
        rows = [row for row in rows if row.target == target]
    return sorted(rows, key=lambda row: _order(row, sort))


def scores_by_split(paths: CompetitionPaths) -> list[dict[str, Any]]:
    """What the same settings scored under several splits, by target and best first.

    Returns:
        Per target and settings that were trained under at least two splits: `target`, `splits` (name -> `score`, the mean over
        folds and seeds, and `n` trials), `trials` and the settings they share under `config`.
    """
    found: dict[str, list[Row]] = {}
    for row in list_trials(paths):
        if row.score is not None and row.status == "finished":
            found.setdefault(fingerprint({k: v for k, v in row.config.items() if k not in OF_A_SPLIT}), []).append(row)
    several = [rows for rows in found.values() if len({row.config["split"] for row in rows}) > 1]
    told = [
        {
            "target": rows[0].target,
            "splits": {name: _mean_of(rows, name) for name in sorted({row.config["split"] for row in rows})},
            "trials": sorted({row.trial_id for row in rows}),
            "config": {key: value for key, value in rows[0].config.items() if key not in OF_A_SPLIT},
        }
        for rows in several
    ]
    return sorted(told, key=lambda one: (one["target"], -max(split["score"] for split in one["splits"].values()), one["trials"]))


def _mean_of(rows: list[Row], split: str) -> dict[str, Any]:
    scores = {row.trial_id: row.score for row in rows if row.config["split"] == split and row.score is not None}
    return {"score": sum(scores.values()) / len(scores), "n": len(scores)}


def best_trials(
    paths: CompetitionPaths, target: str, data: str, fold: int, metric: str, *, study: str | None = None
) -> list[tuple[str, float]]:
    """The finished trials (id, score) of one target that learned from these data and this fold; best first, ties by id.

    Args:
        paths: The competition's folders.
        target: The target's name.
        data: Fingerprint of its data and split (`TrialConfig.data`): scores on other photos do not compare.
        fold: The validation fold.
        metric: What the scores are in: those of another metric do not compare either.
        study: Only what this study asked for.

    Raises:
        UserError: Unknown study.
    """
    asked = set(study_folder(paths.studies, study).statuses()) if study else None
    found = []
    for folder in trial_folders(paths.trials):
        record = readable_record(folder)
        if record is None or record.score is None or not record.finished or (asked is not None and folder.id not in asked):
            continue
        config = (readable_config(folder) if (record.target, record.fold) == (target, fold) else None) or {}
        if (config.get("data"), config.get("metric")) == (data, metric):
            found.append((folder.id, record.score))
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def count_finished(paths: CompetitionPaths) -> dict[str, int]:
    """Per target how many finished trials the ledger has, whatever data and fold they are of."""
    records = (readable_record(folder) for folder in trial_folders(paths.trials))
    return dict(Counter(record.target for record in records if record is not None and record.finished))


def all_data_sibling(paths: CompetitionPaths, trial_id: str) -> str | None:
    """The finished trial that learned from all photos with the settings and the seed of this one; `None` where there is none.

    Raises:
        FileNotFoundError: There is no record of `trial_id`.
    """
    own = readable_record(TrialFolder(paths.trials / trial_id))
    if own is None:
        raise FileNotFoundError(f"trial {trial_id} has no record")
    wanted = (own.config_id, own.seed, ALL_DATA)
    for folder in trial_folders(paths.trials):
        record = readable_record(folder)
        if record is not None and record.finished and (record.config_id, record.seed, record.fold) == wanted:
            return folder.id
    return None


def _rows(paths: CompetitionPaths, studies: list[StudyFolder], *, strays: bool) -> list[Row]:
    folders = {folder.id: folder for folder in trial_folders(paths.trials)}
    rows, seen = [], set()
    for study in studies:
        for trial, status in study.statuses().items():
            if trial in folders:
                rows.append(_row(folders[trial], study.name, status))
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
    return Row(
        trial_id=folder.id,
        config_id=record.config_id,
        study=study,
        target=record.target,
        fold=record.fold,
        seed=record.seed,
        status=status,
        score=None if record.diverged else record.score,
        best_epoch=record.best_epoch,
        epochs=record.epochs_done,
        seconds=record.seconds,
        host=record.host,
        author=record.author,
        config=config,
    )


def _order(row: Row, sort: str) -> tuple[bool, Any, str, str]:
    value = getattr(row, sort)
    missing = value is None
    if missing:
        value = 0
    elif sort in DESCENDING:
        value = -value
    return missing, value, row.trial_id, row.study or ""
