"""Questions to the ledger: which trials are there, how good are they, what did each study decide about them.

Answered by the index (`ledger.index.sqlite`), which says what the folders say at that moment.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ledger.index.rows import OF_A_RECORD, OF_A_SPLIT
from ledger.index.sqlite import ask
from ledger.reading import readable_record
from ledger.stopped import stopped_trials, undriven
from ledger.studies import STOPPED, study_folder
from ledger.trials import ALL_DATA, Record, TrialFolder
from system.errors import UserError, unknown
from system.files import fingerprint
from system.paths import CompetitionPaths

ORDERS = {
    "score": "trial.score IS NULL, trial.score DESC",
    "seconds": "trial.seconds",
    "epochs": "trial.epochs",
    "best_epoch": "trial.best_epoch IS NULL, trial.best_epoch",
    "target": "trial.target",
    "study": "asked.study IS NULL, asked.study",
    "trial_id": "trial.trial_id",
    "host": "trial.host",
    "author": "trial.author",
}
SORT_KEYS = tuple(ORDERS)
ROWS = "trial LEFT JOIN asked USING (trial_id)"
"""One row per trial and study that asked for it, and one for a trial that no study here asked for."""
STATUS = "coalesce(asked.status, trial.own_status)"


class Row(NamedTuple):
    """One trial as one study sees it; `study` is `None` for a trial that no study here asked for.

    Attributes:
        weights: Hash of its best weights, `None` before there are any; `ledger.retention.has_weights` says whether they are still there.
        settings: `config` as JSON: 10,000 rows are there four times sooner where nobody asks for their configurations.
    """

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
    weights: str | None
    settings: str

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings; parsed anew each time."""
        return dict(json.loads(self.settings))

    def json(self) -> dict[str, Any]:
        named = self._asdict()
        del named["settings"]
        return named | {"config": self.config}


COLUMNS = (
    "trial.trial_id, config_id, asked.study, target, fold, seed, "
    f"{STATUS}, score, best_epoch, epochs, seconds, host, author, trial.weights, settings.config"
)


@dataclass(frozen=True)
class Leaderboard:
    """The first rows, and how many there are in all."""

    rows: list[Row]
    total: int


def leaderboard(
    paths: CompetitionPaths, *, study: str | None = None, target: str | None = None, sort: str = "score", limit: int | None = None
) -> Leaderboard:
    """The leaderboard, best first.

    Args:
        paths: The competition's folders.
        study: Only what this study asked for.
        target: Only trials of this target.
        sort: One of `SORT_KEYS`; scores descend, the rest ascends, ties go by trial id.
        limit: How many rows; all of them for `None`.

    Raises:
        UserError: Unknown study, target or key.
    """
    if sort not in SORT_KEYS:
        raise UserError(unknown("sort key", sort, SORT_KEYS))
    if study is not None:
        study_folder(paths.studies, study)
    board, dead = ask(paths, lambda database: _leaderboard(database, study, target, sort, limit)), undriven(paths, patient=False)
    return Leaderboard([_as_cut_off(row) if row.study in dead else row for row in board.rows], board.total)


def _as_cut_off(row: Row) -> Row:
    """A row of a study whose driver was killed: what it trained is stopped, where it has something to vote with."""
    votes = row.status == "running" and row.weights is not None and row.score is not None
    return row._replace(status=STOPPED) if votes else row


def _leaderboard(
    database: sqlite3.Connection, study: str | None, target: str | None, sort: str, limit: int | None
) -> Leaderboard:
    known = [("asked.study = ?", study)] if study is not None else []
    if target is not None:
        _check_target(database, target, *_where(known))
        known.append(("trial.target = ?", target))
    where, values = _where(known)
    rows = database.execute(
        f"SELECT {COLUMNS} FROM {ROWS} JOIN settings USING (n) {where} "
        f"ORDER BY {ORDERS[sort]}, trial.trial_id, asked.study LIMIT ?",
        (*values, -1 if limit is None else limit),
    )
    listed = list(map(Row._make, rows))
    if limit is None:
        return Leaderboard(listed, len(listed))
    return Leaderboard(listed, database.execute(f"SELECT count(*) FROM {ROWS} {where}", values).fetchone()[0])


def _where(known: list[tuple[str, Any]]) -> tuple[str, tuple[Any, ...]]:
    """A WHERE clause in which all of these hold, and its values."""
    clause = " AND ".join(condition for condition, _ in known)
    return f"WHERE {clause}" if known else "", tuple(value for _, value in known)


def _check_target(database: sqlite3.Connection, target: str, where: str, values: tuple[Any, ...]) -> None:
    targets = {name for (name,) in database.execute(f"SELECT DISTINCT target FROM {ROWS} {where}", values)}
    if targets and target not in targets:
        raise UserError(unknown("target", target, targets))


def scores_by_split(paths: CompetitionPaths) -> list[dict[str, Any]]:
    """What the same settings scored under several splits, by target and best first.

    Returns:
        Per target and settings that were trained under at least two splits: `target`, `splits` (name -> `score`, the mean over
        folds and seeds, and `n` trials), `trials` and the settings they share under `config`.
    """
    by_settings: dict[str, list[tuple[Row, dict[str, Any]]]] = {}
    for row in ask(paths, _under_several_splits):
        config = row.config
        by_settings.setdefault(fingerprint({k: v for k, v in config.items() if k not in OF_A_SPLIT}), []).append((row, config))
    several = [rows for rows in by_settings.values() if len({config["split"] for _, config in rows}) > 1]
    compared = [
        {
            "target": rows[0][0].target,
            "splits": {name: _mean_of(rows, name) for name in sorted({config["split"] for _, config in rows})},
            "trials": sorted({row.trial_id for row, _ in rows}),
            "config": {key: value for key, value in rows[0][1].items() if key not in OF_A_SPLIT},
        }
        for rows in several
    ]
    return sorted(
        compared, key=lambda one: (one["target"], -max(split["score"] for split in one["splits"].values()), one["trials"])
    )


def _under_several_splits(database: sqlite3.Connection) -> list[Row]:
    """The leaderboard's finished rows with a score whose settings were trained under more than one split."""
    rows = database.execute(
        f"SELECT {COLUMNS} FROM {ROWS} JOIN settings USING (n) WHERE score IS NOT NULL AND {STATUS} = 'finished' "
        "AND same IN (SELECT same FROM trial GROUP BY same HAVING count(DISTINCT split) > 1) "
        f"ORDER BY {ORDERS['score']}, trial.trial_id, asked.study"
    )
    return list(map(Row._make, rows))


def _mean_of(rows: list[tuple[Row, dict[str, Any]]], split: str) -> dict[str, Any]:
    scores = {row.trial_id: row.score for row, config in rows if config["split"] == split and row.score is not None}
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
    """The finished trials (id, score) of one target that learned from these data and this fold; best first, ties by id.

    Args:
        paths: The competition's folders.
        target: The target's name.
        data: Fingerprint of its data and split (`TrialConfig.data`): scores on other photos do not compare.
        fold: The validation fold.
        metric: What the scores are in: those of another metric do not compare either.
        study: Only what this study asked for.
        stopped: Trials that were cut off stand among them with their best score so far (`ledger.stopped`).

    Raises:
        UserError: Unknown study.
    """
    if study is not None:
        study_folder(paths.studies, study)
    of_study = "" if study is None else "AND trial_id IN (SELECT trial_id FROM asked WHERE study = ?)"
    query = (
        "SELECT trial_id, score FROM trial WHERE target = ? AND data = ? AND metric = ? AND fold = ? AND own_status = 'finished' "
        f"AND score IS NOT NULL {of_study} ORDER BY score DESC, trial_id"
    )
    values = (target, data, metric, fold, *([] if study is None else [study]))
    dead = undriven(paths, patient=True) if stopped else set()

    def answer(database: sqlite3.Connection) -> list[tuple[str, float]]:
        found = database.execute(query, values).fetchall()
        if stopped:
            found += stopped_trials(database, paths.trials, (target, data, metric, fold), dead, study)
        return sorted(found, key=lambda one: (-one[1], one[0])) if stopped else found

    return ask(paths, answer)


def finished_trials(paths: CompetitionPaths, target: str, data: str, metric: str) -> list[tuple[Record, dict[str, Any]]]:
    """Record and configuration of the finished trials with a score, of every fold, that learned from these data; by id."""
    query = (
        f"SELECT {', '.join(OF_A_RECORD.values())}, curve, config FROM trial JOIN settings USING (n) WHERE target = ? AND data = ? "
        "AND metric = ? AND own_status = 'finished' AND score IS NOT NULL ORDER BY trial_id"
    )
    rows = ask(paths, lambda database: database.execute(query, (target, data, metric)).fetchall())
    return [
        (Record(**dict(zip(OF_A_RECORD, values, strict=True)), curve=json.loads(curve)), json.loads(config))
        for *values, curve, config in rows
    ]


def curves(paths: CompetitionPaths) -> dict[str, list[float]]:
    """Trial id -> the validation score after each epoch, of every trial of the ledger."""
    query = "SELECT trial_id, curve FROM trial JOIN settings USING (n)"
    rows = ask(paths, lambda database: database.execute(query).fetchall())
    return {trial: json.loads(curve) for trial, curve in rows}


def count_finished(paths: CompetitionPaths) -> dict[str, int]:
    """Per target how many finished trials the ledger has, whatever data and fold they are of."""
    query = "SELECT target, count(*) FROM trial WHERE own_status = 'finished' GROUP BY target"
    return ask(paths, lambda database: dict(database.execute(query).fetchall()))


def all_data_sibling(paths: CompetitionPaths, trial_id: str) -> str | None:
    """The finished trial that learned from all photos with the settings and the seed of this one; `None` where there is none.

    Raises:
        FileNotFoundError: There is no record of `trial_id`.
    """
    record = readable_record(TrialFolder(paths.trials / trial_id))
    if record is None:
        raise FileNotFoundError(f"trial {trial_id} has no record")
    query = "SELECT min(trial_id) FROM trial WHERE config_id = ? AND seed = ? AND fold = ? AND own_status = 'finished'"
    sibling: str | None = ask(
        paths, lambda database: database.execute(query, (record.config_id, record.seed, ALL_DATA)).fetchone()[0]
    )
    return sibling


def fold_siblings(paths: CompetitionPaths, trial_ids: Sequence[str]) -> dict[str, dict[int, str]]:
    """Per trial the finished trials with a score that have its settings and seed, by fold: one member's, itself included if finished.

    Were there two on a fold, as in a folder that was copied, the trial itself comes before others, and the smaller id before the larger.

    Args:
        paths: The competition's folders.
        trial_ids: Any trials; one that is not in the ledger has no siblings.

    Returns:
        Trial id, in the order given -> fold, ascending -> trial id. Those that learned from all photos have no score, so are not there.
    """
    query = (
        "SELECT own.trial_id, one.fold, coalesce(max(one.trial_id) FILTER (WHERE one.trial_id = own.trial_id), min(one.trial_id)) "
        "FROM trial AS own JOIN trial AS one USING (config_id, seed) WHERE own.trial_id IN (SELECT value FROM json_each(?)) "
        "AND one.own_status = 'finished' AND one.score IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    )
    siblings: dict[str, dict[int, str]] = {trial: {} for trial in trial_ids}
    for trial, fold, sibling in ask(paths, lambda database: database.execute(query, (json.dumps([*siblings]),)).fetchall()):
        siblings[trial][fold] = sibling
    return siblings


def count_looks(paths: CompetitionPaths, target: str, data: str, folds: Sequence[int]) -> int:
    """How often the validation photos of these folds were looked at: epochs of all trials of a target on these data, each scored once."""
    query = (
        "SELECT coalesce(sum(epochs), 0) FROM trial WHERE target = ? AND data = ? AND fold IN (SELECT value FROM json_each(?))"
    )
    n_looks: int = ask(paths, lambda database: database.execute(query, (target, data, json.dumps([*folds]))).fetchone()[0])
    return n_looks
