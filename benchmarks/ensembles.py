"""Ensemble against best single trial on truth that nobody chose on, over several studies of one ledger.

    python run_search.py clothing --space varied --trials 4 --seed 1 --study seed1        (and 2, 3, ...)
    python -m benchmarks.ensembles clothing --studies seed1,seed2 --truth ../shared/data/clothing/eval_labels.csv

Each study is a pool of its own. The export chooses as `export_ensemble.py` does; then, and only then, the truth is read: of the best
single trial, of the hard and the soft vote of all views of the members, and of what was exported; exported less single with a 90 %
interval over the test photos' groups; whether the truth lies in the forecast's interval; whether a shift was announced.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.journey import read_truth
from system import verbs
from system.errors import UserError

ANSWERS_SHOWN = ("single", "hard", "soft", "exported")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Every study of the list."""
    from competitions.loading import load_competition
    from competitions.prepare import prepare, root_of
    from system.paths import competition_paths

    competition = load_competition(given.competition, given.split)
    paths = competition_paths(competition.name, given.storage)
    truth = Path(given.truth) if given.truth else root_of(competition, paths) / "truth.csv"
    if not truth.is_file():
        raise UserError(f"--truth must be a CSV with the labels of the test photos, got {truth}, which is not there")
    prepared = prepare(competition, paths)
    rows = [_study(prepared, study, truth, given.thorough) for study in given.studies.split(",")]
    return {"competition": competition.name, "metric": competition.metric, "studies": rows}


def _study(prepared: Any, study: str, truth_file: Path, thorough: bool) -> dict[str, Any]:
    from bundle.answer import answer
    from bundle.gather import gather
    from bundle.opened import Opened
    from competitions.metrics import METRICS
    from ensemble.choose import choose
    from ensemble.options import Options

    started = time.process_time()
    options = Options(study=study, thorough=thorough, vote="best" if thorough else "hard")
    choice = choose(gather(Opened(prepared), options, tell=_tell), options, tell=_tell)
    seconds = time.process_time() - started
    competition = prepared.competition
    ids, truth = read_truth(truth_file, competition)
    tested = {prepared.manifest.image_ids[row] for row in prepared.manifest.rows("test")}
    strange = [image_id for image_id in ids if image_id not in tested]
    if strange:
        raise UserError(f"--truth must be of test photos of {competition.name}, {len(strange)} are not, among them {strange[0]}")
    answers = {name: answer(Opened(prepared), plan, ids) for name, plan in {**choice.beside, "exported": choice.plan}.items()}
    groups = dict(zip(prepared.manifest.image_ids, prepared.manifest.groups, strict=True))
    tasks = [*competition.tasks, *(["label"] if len(competition.composed) > 1 else [])]
    found = {}
    for task in tasks:
        n, said = len(competition.classes(task)), choice.scores[task]
        true = {name: METRICS[competition.metric](np.eye(n)[answers[name][task]], truth[task]) for name in ANSWERS_SHOWN}
        single, exported = (np.eye(n, dtype=np.float16)[answers[name][task]] for name in ("single", "exported"))
        difference = _difference(ids, [groups[i] for i in ids], truth[task], single, exported, competition.metric)
        honest = said["honest"]
        found[task] = {
            "validation_single": said["best_single"]["score"],
            "validation_exported": said["vote"],
            "honest": honest,
            "truth": true,
            "exported_less_single": difference,
            "covered": None if honest is None else bool(honest["low"] <= true["exported"] <= honest["high"]),
            "stated": said["against_best_single"],
            "verdict": said["verdict"],
            "unseen": said["unseen"],
            "weighed": said["weighed"],
            "members": said["members"],
        }
    kept = {subtask: [a["step"] for a in one["refinements"] if a["kept"]] for subtask, one in choice.journal["places"].items()}
    way = "as they are" if choice.plan.decodes_by_default else choice.plan.decoder.way
    shift = choice.forecast["shift"]
    evidence = {name: [one["auc"], one["p"]] for name, one in shift["evidence"].items()}
    return {
        "study": study,
        "tasks": found,
        "kept": kept,
        "together": way,
        "shift": shift["announced"],
        "evidence": evidence,
        "cpu_seconds": seconds,
    }


def _difference(ids: Any, groups: list[str], labels: Any, before: Any, after: Any, metric: str) -> dict[str, float]:
    from ensemble.scoring.paired import Pair, compare

    pair = Pair(tuple(ids), tuple(groups), {"task": labels}, {"task": before}, {"task": after})
    found = compare([pair], metric=metric, seed=0)
    return {"mean": found.mean, "low": found.low, "high": found.high}


def show(value: Mapping[str, Any]) -> None:
    """A line per study and task, and what they come to."""
    rows, all_rows = [], []
    for study in value["studies"]:
        for task, one in study["tasks"].items():
            honest, gain = one["honest"], one["exported_less_single"]
            said = "" if honest is None else f"{honest['mean']:.3f} ({honest['low']:.3f} to {honest['high']:.3f})"
            less = f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
            rows.append(
                [study["study"], task, one["validation_single"], said, *(one["truth"][name] for name in ANSWERS_SHOWN), less]
            )
            all_rows.append((task, one))
        kept = "; ".join(f"{subtask}: {', '.join(steps)}" for subtask, steps in study["kept"].items() if steps)
        print(
            f"{study['study']}: shift announced: {study['shift']} {study['evidence']}; together: {study['together']}; "
            f"kept: {kept or 'nothing'}; {study['cpu_seconds']:.0f} CPU-s"
        )
    print(verbs.table(rows, ["study", "task", "single, validation", "honest (90 %)", *ANSWERS_SHOWN, "exported less single"]))
    for task in dict.fromkeys(task for task, _ in all_rows):
        own = [one for name, one in all_rows if name == task]
        means = ", ".join(f"{name} {np.mean([one['truth'][name] for one in own]):.4f}" for name in ANSWERS_SHOWN)
        worse = sum(one["exported_less_single"]["high"] < 0 for one in own)
        better = sum(one["exported_less_single"]["low"] > 0 for one in own)
        over = _over_studies([one["exported_less_single"]["mean"] for one in own])
        below = sum(one["stated"] is not None and one["exported_less_single"]["mean"] < one["stated"]["low"] for one in own)
        covered = [one["covered"] for one in own if one["covered"] is not None]
        print(
            f"{task}: truth {means}; exported less single over studies {over}; in {better} of {len(own)} better beyond its own interval, "
            f"in {worse} worse; in {below} less than the export's own interval of the gain says; "
            f"truth in the forecast's interval in {sum(covered)} of {len(covered)}; "
            f"classes without a validation photo: {', '.join(str(len(one['unseen'])) for one in own)}"
        )


def _over_studies(gains: Sequence[float]) -> str:
    """The mean with Student's 90 % interval over the studies."""
    from scipy.stats import t

    mean, n = float(np.mean(gains)), len(gains)
    if n < 2:
        return f"{mean:+.4f} (n=1)"
    half = float(t.ppf(0.95, n - 1) * np.std(gains, ddof=1) / n**0.5)
    return f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f}, n={n})"


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> int:
    made = verbs.parser(__doc__ or "", "python -m benchmarks.ensembles demo --studies seed0")
    made.add_argument("competition", help="name of a file in competitions/")
    made.add_argument("--studies", required=True, help="names of studies in the ledger, each a pool of its own")
    made.add_argument("--truth", help="CSV with the true labels of the test photos (the demo knows its own)")
    made.add_argument("--split", help="the split of the studies")
    made.add_argument("--thorough", action="store_true", help="with the tournament's winner in place of the hard vote")
    return verbs.run(made, measure, show)


if __name__ == "__main__":
    sys.exit(main())
