"""Which targets answer a competition where nobody names some: those that have trials."""

from competitions.prepare import Prepared
from competitions.targets import Target, targets
from ledger.query import best_trials


def usual_targets(prepared: Prepared, *, fold: int, study: str | None = None, stopped: bool = False) -> list[Target]:
    """Whose trials vote where nobody names targets: one per task; of a task without a trial, those of several heads that have some.

    Args:
        prepared: The competition's data.
        fold: On which trials were judged.
        study: Only its trials; the whole ledger for `None`.
        stopped: Trials that were cut off count.
    """

    def has_trials(target: Target) -> bool:
        asked = target.name, prepared.data_fingerprint(target), fold, target.metric
        return bool(best_trials(prepared.paths, *asked, study=study, stopped=stopped))

    known = targets(prepared.competition)
    single = [known[task] for task in prepared.competition.tasks]
    lacking = {target.name for target in single if not has_trials(target)}
    joint = [
        one for one in known.values() if lacking & set(one.heads) and len(one.heads) > 1 and not one.where and has_trials(one)
    ]
    answered = {head for one in joint for head in one.heads}
    return [target for target in single if target.name not in lacking & answered] + joint
