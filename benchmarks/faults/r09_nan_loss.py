"""R9: losses that stop being numbers in training, infinite ones, and a validation that does: never best, never a voter, never left running.

The losses really are computed: steps that are far too long overflow the weights, exponentials overflow to plus and minus infinity, one
loss is NaN from the second epoch on, and one has no slope, so that an epoch of a single batch ends with a finite loss and weights that
no validation survives.
"""

from collections import Counter

from benchmarks.faults.harness import short_form, wild
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import Place, place


def run(seed: int, short: bool) -> list[RuleRow]:
    if short:
        return [short_form.wild_row(seed)]
    with place() as here:
        wild.start(here, seed, "--scheduler", "asha").wait()
        ours = wild.told(here)
    with place() as here:
        control = _control(here, seed)
    return [RuleRow("R9", wild.WHAT, wild.TRIALS, ours[0], control, ours[1])]


def _control(here: Place, seed: int) -> str:
    """What OptunaSearch makes of the same: its study's own states and best value, and Tune's best result."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal = here.root / "optuna.log"
    fixed = ("--space", "wild", "--trials", 2 * wild.TRIALS, "--epochs", 3, "--scheduler", "fifo", "--seed", seed)
    child = here.control(*fixed, "--journal", journal)
    said = child.results()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="optuna", storage=JournalStorage(JournalFileBackend(str(journal))))
    states = Counter(trial.state.name.lower() for trial in study.trials)
    scores = Counter(str(result["score"]) if isinstance(result["score"], str) else "numbers" for result in said["results"])
    counted = ", ".join(f"{n} {score}" for score, n in sorted(scores.items()))
    return (
        f"scores {counted}: {states['running']} left running in Optuna's study, its best value {study.best_value}; "
        f"Tune's own best {said['best']['score']:.2f}"
    )
