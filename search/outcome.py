"""What a search came to: the study's events and its trials' folders -> per target the trials by status, the best, and what was trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ledger.reading import readable_record, readable_sessions
from ledger.studies import StudyFolder
from ledger.trials import ALL_DATA, FROM, Record, TrialFolder
from search.optuna_trials import answers
from system.paths import CompetitionPaths
from trainables.config import Question


@dataclass(frozen=True)
class Outcome:
    """What a search came to, read from the ledger.

    Attributes:
        targets: Per target its trials by status, the best (trial_id, score), the epochs that it trained and their seconds. A study on
            all folds has no best, as scores of other folds do not compare, but its `members` by fold.
        interrupted: Ctrl-C ended it.
        failures: Why trials failed, one sentence each.
        full: The sentence about a full disk that ended it, else `None`.
        freed_bytes: What weights took that the quota dropped.
        latest: The export that is kept at `ensembles/latest`; `None` where the search has no deadline, or nothing to hand in.
    """

    study: str
    targets: dict[str, dict[str, Any]]
    seconds: float
    interrupted: bool
    failures: tuple[str, ...]
    full: str | None = None
    freed_bytes: int = 0
    latest: dict[str, Any] | None = None

    def json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "full"}


def outcome_of(study: StudyFolder, paths: CompetitionPaths, questions: Mapping[str, Question]) -> dict[str, dict[str, Any]]:
    """Per target what the study's trials came to; epochs and seconds are those that this study trained, and no other.

    The best is one of those whose scores compare with today's. Nobody may have mended the study yet: what cannot be read is left out.
    """
    statuses, started, by_target = study.statuses(), study.started(), {}
    suggestions = {suggestion.trial_id: suggestion for suggestion in study.suggestions()}
    for target, question in questions.items():
        trials = {
            trial: status for trial, status in statuses.items() if trial in suggestions and suggestions[trial].target == target
        }
        folders = [TrialFolder(paths.trials / trial) for trial in trials]
        records = {folder: record for folder in folders if (record := readable_record(folder)) is not None}
        comparable = [record for record in records.values() if answers(suggestions[record.trial_id].settings, question)]
        scored = [(record.score, record.trial_id) for record in comparable if record.score is not None and record.finished]
        best = max(scored, key=lambda pair: (pair[0], pair[1]), default=None)
        shares = [
            trained_by(study.name, record, readable_sessions(folder), unnamed=folder.id in started)
            for folder, record in records.items()
        ]
        by_target[target] = {
            "trials": dict(Counter(trials.values())),
            "best": None if best is None else {"trial_id": best[1], "score": best[0]},
            "on_all_data": any(record.fold == ALL_DATA for record in records.values()),
            "epochs": sum(epochs for epochs, _ in shares),
            "seconds": round(sum(seconds for _, seconds in shares), 1),
        }
    return by_target


def trained_by(study: str, record: Record, sessions: Sequence[Mapping[str, Any]], *, unnamed: bool) -> tuple[int, float]:
    """The epochs of a trial that a study trained, and their seconds.

    Args:
        study: Its name.
        record: The trial's.
        sessions: The trial's, oldest first; one says its study, and how much of the trial was there when it began.
        unnamed: Whether sessions that name no study, as those of earlier versions of Podium, are this study's.
    """
    begun = [(one.get("study", study if unnamed else None), one.get(FROM, {})) for one in sessions]
    begun = begun or [(study if unnamed else None, {})]
    ends = [*(there for _, there in begun[1:]), {"epochs": record.epochs_done, "seconds": record.seconds}]
    spans = [(start, end) for (name, start), end in zip(begun, ends, strict=True) if name == study]
    epochs, seconds = (
        sum(max(0, end.get(unit, 0) - start.get(unit, 0)) for start, end in spans) for unit in ("epochs", "seconds")
    )
    return int(epochs), float(seconds)
