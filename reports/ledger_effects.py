"""The effects of a ledger: trials by target become tables for `reports.effects`, and what is undecided becomes the command to run next."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from ledger.query import count_finished
from ledger.studies import StudyFolder
from reports.effects import EFFECT_UNDECIDED, effects
from reports.trial_table import BEGAN_AT, ReportedTrial, by_target, comparable, trial_table, varying
from system.errors import UserError, unknown
from system.paths import CompetitionPaths

VARIED_AS = {BEGAN_AT: "pretrained"}
"""Settings of the table that `--vary` calls by another name."""
USUAL_SPACE = "quick"
TRIALS_ASKED = 4
ENOUGH_FINISHED = 24


def ledger_effects(paths: CompetitionPaths, target: str | None = None, study: str | None = None) -> list[dict[str, Any]]:
    """What every setting and level did to the score of its target.

    Args:
        paths: The competition's folders.
        target: Only this target.
        study: Only trials that this study asked for.

    Returns:
        Rows with `target`, what `reports.effects.Effect` has, `of` (how many trials were compared), `after_epoch` (see `compared`), and for
        undecided ones `next`, the command that would settle them, and `seconds`, what it would take. Verdicts first within a target.

    Raises:
        UserError: Unknown study or target.
    """
    targets = by_target(trial_table(paths, study))
    if target is not None and target not in targets:
        raise UserError(unknown("target", target, {*targets, *count_finished(paths)}))
    rows: list[dict[str, Any]] = []
    for name, trials in targets.items():
        if target in (None, name):
            rows += [{"target": name, **row} for row in target_effects(paths, trials)]
    return rows


def target_effects(paths: CompetitionPaths, trials: Sequence[ReportedTrial]) -> list[dict[str, Any]]:
    """The rows of one target, whose trials are given best first."""
    trials, scores, epoch = compared(trials)
    names = list(varying(trials))
    found = effects(
        scores,
        [(trial.fold, trial.seed) for trial in trials],
        [trial.config_id for trial in trials],
        {name: [trial.settings.get(name) for trial in trials] for name in names},
    )
    each = median([trial.seconds for trial in trials] or [0.0])
    rows = []
    for one in found:
        undecided = one.verdict == EFFECT_UNDECIDED
        seconds = 2 * one.needs * each if one.needs is not None else None
        asked = next_command(paths, trials, one.setting) if undecided else None
        rows.append(
            {**one.json(), "of": len(trials), "after_epoch": epoch, "next": asked, "seconds": seconds if undecided else None}
        )
    return rows


def compared(trials: Sequence[ReportedTrial]) -> tuple[list[ReportedTrial], list[float], int | None]:
    """The trials of one target that compare, their scores, and after which epoch these are; `None`: each trial's best.

    Where fewer than `ENOUGH_FINISHED` trials finished, pruned ones count too, and all are compared by their best score up to the epoch
    that each of them reached. Otherwise a search that prunes could say little, and only about trials that had luck at its rungs.
    """
    finished = comparable(trials)
    question = next((trial.question for trial in (*finished, *trials)), None)
    pruned = [trial for trial in trials if trial.status == "pruned" and trial.curve and trial.question == question]
    if len(finished) >= ENOUGH_FINISHED or not pruned:
        return finished, [trial.score or 0.0 for trial in finished], None
    epoch = min(len(trial.curve) for trial in pruned)
    everyone = [trial for trial in (*finished, *pruned) if len(trial.curve) >= epoch]
    return everyone, [max(trial.curve[:epoch]) for trial in everyone], epoch


def next_command(paths: CompetitionPaths, trials: Sequence[ReportedTrial], setting: str) -> str:
    """The search that varies one setting of the best of these trials that has it, under a seed that none of them has."""
    best = next(trial for trial in trials if trial.settings.get(setting) is not None)
    space = _space(paths, best)
    seed = 1 + max(trial.seed for trial in trials)
    flags = [f"--base {best.trial_id}", f"--vary {VARIED_AS.get(setting, setting)}", f"--seed {seed}", f"--trials {TRIALS_ASKED}"]
    flags += [f"--space {space}"] if space not in (None, USUAL_SPACE) else []
    return f"run_search.py {paths.root.name} {' '.join(flags)}"


def _space(paths: CompetitionPaths, trial: ReportedTrial) -> str | None:
    """The space that drew a trial, where a study here says so."""
    for study in trial.studies:
        try:
            request = StudyFolder(paths.studies / study).plan().get("request", {})
        except UserError:
            continue
        if request.get("space"):
            return str(request["space"])
    return None
