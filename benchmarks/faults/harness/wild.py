"""The study of R9: a space whose losses stop being numbers, and what must come of its trials."""

import json
from collections import Counter
from typing import Any

from benchmarks.faults.harness.studies import Place

WHAT = "losses NaN and infinite, a validation NaN"
CASES = ("sane", "overflow", "plus_infinity", "minus_infinity", "later_nan", "nan_gradient")
SPACE = f"""
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 3, 1, 2
CASES = {CASES!r}
FIRST = [{{"case": case, "lr": 3e-3}} for case in CASES] + [{{"case": case, "lr": 1e-3}} for case in ("sane", "overflow")]
def suggest(trial):
    case, lr = trial.suggest_categorical("case", CASES), trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    settings = {{"backbone": "test_byobnet", "epochs": MAX_EPOCHS, "batch_size": 16, "augmentation": "none", "lr": lr}}
    if case == "sane":
        return settings
    if case == "overflow":
        return settings | {{"optimizer": "sgd", "momentum": 0.99, "lr": 100.0, "weight_decay": 5 + lr}}
    # one batch per epoch: after it the weights are no numbers, and the next loss would be NaN
    return settings | {{"loss": case, "batch_size": 16 if case == "later_nan" else 128}}
"""
TRIALS = 8


def start(here: Place, seed: int, *arguments: object, study: str = "s") -> Any:
    """Start a study of this space, one trial at a time."""
    here.space("wild", SPACE)
    fixed = ("--space", "wild", "--targets", "kind", "--study", study, "--trials", TRIALS, "--seed", seed, "--json")
    return here.start("run_search.py", here.yaml, *fixed, *arguments)


def told(here: Place) -> tuple[str, bool]:
    """What came of the study, and whether no trial that diverged is best, votes or is left running."""
    suggested = [json.loads(path.read_text()) for path in sorted((here.kept / "studies/s/suggestions").glob("[0-9]*.json"))]
    wild = {one["trial_id"] for one in suggested if one["attributes"]["params"]["case"] != "sane"}
    records = {
        one["trial_id"]: json.loads((here.kept / "trials" / one["trial_id"] / "record.json").read_text()) for one in suggested
    }
    losses = Counter(line.loss for line in here.truth() if line.at == "end" and line.trial in wild and line.last)
    rows = {row["trial_id"]: row for row in here.verb("show_trials.py", "bench")}
    plan = here.verb("export_ensemble.py", here.yaml, "--top", 9, "--to", here.root / "exported")["plan"]
    voters = {member for task in plan["tasks"] for member, _ in task["voters"]}
    statuses = Counter(row["status"] for row in rows.values())
    held = (
        all(records[trial]["diverged"] and records[trial]["score"] is None for trial in wild)
        and all(rows[trial]["score"] is None and rows[trial]["status"] == "diverged" for trial in wild)
        and bool(voters)
        and not voters & wild
        and "running" not in statuses
        and not list(here.kept.glob("trials/*/claim.json"))
        and {"nan", "inf", "-inf"} <= set(losses)
    )
    ends = ", ".join(f"{n} {loss if loss in ('nan', 'inf', '-inf') else 'only validation'}" for loss, n in sorted(losses.items()))
    return (
        f"{len(wild)} diverged ({ends}): {len(voters & wild)} of them vote, {statuses['running']} left running, "
        f"best {max(row['score'] for row in rows.values() if row['score'] is not None):.2f}",
        held,
    )
