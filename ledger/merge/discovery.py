"""Finding other ledgers: folders that somebody names -> their ledgers of one competition, or what is wrong with each."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ledger.studies import study_folders
from ledger.trials import trial_folders
from system.errors import UserError, unknown
from system.paths import CompetitionPaths, expanded

LEDGER_FOLDERS = ("trials", "studies", "conflicts", "imports")


def find_ledgers(paths: CompetitionPaths, others: Sequence[str | Path]) -> dict[str, CompetitionPaths]:
    """Other -> its ledger of this competition.

    Args:
        paths: Ours; its folder is named like the competition.
        others: Storage folders of others, or their folders of the competition.

    Raises:
        UserError: One is no ledger, of another competition, or ours; all faults at once.
    """
    faults, ledgers = [], {}
    for other in others:
        place = _competition_folder(expanded(other), paths.root.name)
        fault = _fault(other, place, paths.root)
        if fault:
            faults.append(fault)
        else:
            ledgers[str(other)] = CompetitionPaths(place.absolute())
    if faults:
        raise UserError(*faults)
    return ledgers


def _competition_folder(other: Path, competition: str) -> Path:
    inside = other / competition
    return inside if inside.is_dir() and not _is_ledger(other) else other


def _is_ledger(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in LEDGER_FOLDERS)


def _fault(other: str | Path, place: Path, ours: Path) -> str | None:
    competition = ours.name
    if not place.is_dir():
        return f"OTHER must be a storage folder or its folder of {competition}, got {str(other)!r}, which is not there"
    if ours.is_dir() and place.samefile(ours):
        return f"OTHER must be another ledger, {str(other)!r} is this one; give the team-mate's storage"
    if not _is_ledger(place):
        there = sorted(path.name for path in place.iterdir() if path.is_dir() and _is_ledger(path))
        if there:
            return f"{str(other)!r} has no ledger of {competition}: {unknown('competition', competition, there)}"
        return f"OTHER must hold trials/ or studies/, {str(other)!r} has neither; give a storage folder of run_search.py"
    named = _competition_of(CompetitionPaths(place)) or place.name
    if named != competition:
        return f"{str(other)!r} is a ledger of {named}, not of {competition}; trials of two competitions do not compare"
    return None


def _competition_of(paths: CompetitionPaths) -> str | None:
    """The competition that its first readable trial or study names."""
    for read in (
        *(folder.config for folder in trial_folders(paths.trials)),
        *((lambda study=study: study.plan()["request"]) for study in study_folders(paths.studies)),
    ):
        with suppress(ValueError, TypeError, KeyError, OSError, UserError):  # who is damaged is named when it is brought
            if named := read().get("competition"):
                return str(named)
    return None
