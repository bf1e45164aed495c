"""Stopped trials: what time or Ctrl-C cut off has best weights, and these may vote until the trial goes on.

The driver says so in its study's events once nothing trains any more. A driver that was killed says nothing; the lease that it leaves
behind does.
"""

import json
import sqlite3
from contextlib import suppress
from pathlib import Path

from ledger.reading import readable_record
from ledger.studies import STOPPED, StudyFolder, study_folders
from ledger.trials import TrialFolder
from system.claims import gone, held_elsewhere, holder
from system.paths import CompetitionPaths

CUT_OFF = (
    "SELECT trial_id, score FROM trial WHERE target = ? AND data = ? AND metric = ? AND fold = ? AND own_status = 'running' "
    "AND score IS NOT NULL AND weights IS NOT NULL AND trial_id NOT IN (SELECT trial_id FROM asked WHERE status = 'pruned') "
    "AND trial_id IN (SELECT trial_id FROM asked WHERE "
    "(status = 'stopped' OR (status = 'running' AND study IN (SELECT value FROM json_each(?)))) AND (? IS NULL OR study = ?))"
)


def mark_stopped(study: StudyFolder, trials: Path) -> None:
    """Write down which of a study's trials were cut off and can vote. On a full disk nothing is written, and they wait as before.

    Args:
        study: Its driver holds the lease, and nothing of it trains any more.
        trials: The ledger's trial folders.
    """
    started = study.started()
    with suppress(OSError):
        for trial, status in study.statuses().items():
            record = readable_record(TrialFolder(trials / trial)) if status == "running" and trial in started else None
            if record is not None and record.can_vote and not record.ended:
                facts = {"epoch": record.epochs_done, "epochs": record.epochs_planned, "score": record.score}
                study.log(STOPPED, trial, **facts)


def undriven(paths: CompetitionPaths, *, patient: bool) -> set[str]:
    """The studies whose driver was killed: their lease is still there.

    Args:
        paths: The competition's folders.
        patient: Wait up to five seconds to see whether leases from other machines are alive; else they count as alive.
    """
    leases = [study.lease for study in study_folders(paths.studies) if study.lease.exists()]
    alive = held_elsewhere(leases) if patient else {lease for lease in leases if not is_gone(lease)}
    return {lease.parent.name for lease in leases if lease not in alive and lease.exists()}


def is_gone(claim: Path) -> bool:
    """Whether nobody holds this claim, or a process of this machine that has ended."""
    seen = holder(claim)
    return seen is None or gone(seen)


def stopped_trials(
    database: sqlite3.Connection, trials: Path, question: tuple[str, str, str, int], dead: set[str], study: str | None
) -> list[tuple[str, float]]:
    """The trials (id, score) that were cut off, that no study pruned, and that nobody trains now.

    Args:
        database: As `ledger.index.sqlite.ask` gives it.
        trials: The ledger's trial folders.
        question: Target, data, metric and fold.
        dead: The studies that `undriven` names.
        study: Only what this study asked for.
    """
    found = database.execute(CUT_OFF, (*question, json.dumps(sorted(dead)), study, study)).fetchall()
    claims = {TrialFolder(trials / trial).claim: (trial, score) for trial, score in found}
    taken = held_elsewhere(claims)
    return [one for claim, one in claims.items() if claim not in taken]
