"""Export: a choice to a folder that anyone can run: submission, plan, weights, preprocessing, provenance, checksums."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bundle.answer import vote_on_test
from bundle.layout import BUNDLE_SCHEMA, CHECKSUMS, IMPORTED, checksums, set_aside
from bundle.licences import licence_notes
from bundle.opened import TEST, Opened
from competitions.images.decode import CONTAINER_BITS
from ensemble.choose import Choice
from ledger.predictions import Predictions
from ledger.reading import readable_sessions
from ledger.trials import Record
from submissions.format import write_submission
from system.claims import claim_or_refuse
from system.disk import FullDiskError, writing
from system.errors import UserError
from system.files import copy_file, replace_bytes, replace_json, sweep
from trainables.attach import OpenedTrial, priors
from trainables.backbones import expected_by
from trainables.best_weights import lost_weights
from trainables.config import TrialConfig

CLAIM = ".bundle.claim"
"""Of the export that writes into a folder: two at once would fill the same half bundle."""
README = """This folder predicts for competition {competition}. With Podium installed:

    python predict.py {name} PHOTOS --out submission.csv

or, in Python:

    from bundle.predict import open_bundle
    answers = open_bundle("{name}").predict("PHOTOS")
    print(answers.image_ids, answers.labels["label"])

plan.json says who votes how, models.json how each network was made, provenance.json where the weights come from, forecast.json what
to expect of the answers and whether it holds, LICENCES.md whose licences apply.
"""


def export(
    opened: Opened, choice: Choice, to: Path, *, device: str = "cpu", tell: Callable[[str], object] = lambda text: None
) -> dict[str, Any]:
    """Answer the test photos, write `to/submission.csv` and `to/bundle/`, and keep the plan in the storage.

    Args:
        opened: The competition's data, and what `gather` has opened of its ledger.
        choice: What was chosen.
        to: A folder; made where it is missing. A bundle in it is replaced whole.
        device: Where missing predictions of test photos are computed.
        tell: Told what is being done.

    Returns:
        The facts `export_ensemble.py` prints.

    Raises:
        FullDiskError: There is no room; what was exported before stays.
        UserError: The folder cannot be written, another export writes into it, or the weights of a member are gone.
    """
    plan, paths = choice.plan, opened.prepared.paths
    tell("answering the test photos")
    votes = vote_on_test(opened, plan, choice.image_ids, device)
    submission = to / "submission.csv" if choice.image_ids else None
    try:
        busy = "an export into {} is being written by {}; wait for it, or give another folder"
        with claim_or_refuse(to / CLAIM, partial(busy.format, to)):
            bundle = _write_bundle(opened, choice, to)
            if submission is not None:
                labels = {task: vote.labels for task, vote in votes.items()}
                shares = {task: votes[task].shares for task in plan.submission.written_by_shares}
                write_submission(submission, plan, choice.image_ids, labels, shares, _units(opened, choice.image_ids))
            sweep(to)
        sweep(paths.ensembles / plan.plan_id)
        replace_json(paths.ensembles / plan.plan_id / "plan.json", plan.to_json())
        replace_json(paths.ensembles / plan.plan_id / "scores.json", choice.scores)
        replace_json(paths.ensembles / plan.plan_id / "forecast.json", choice.forecast)
        replace_json(paths.ensembles / plan.plan_id / "journal.json", choice.journal)
        beside = {name: one.to_json() for name, one in choice.beside.items()}
        replace_json(paths.ensembles / plan.plan_id / "beside.json", beside)
    except FullDiskError:
        raise
    except OSError as error:
        raise UserError(f"the folder given by --to must be writable, got {to} ({error.strerror or error})") from error
    return {
        "ensemble": plan.plan_id,
        "plan": plan.to_json(),
        "stopped": [_stopped(record) for record in opened.cut_off(plan.trials)],
        "voters": {str(ensemble.subtask): len(ensemble.voters) for ensemble in plan.tasks},
        "scores": choice.scores,
        "forecast": choice.forecast,
        **_compared(choice.journal),
        "budget": choice.budget,
        "submission": None if submission is None else str(submission),
        "bundle": str(bundle),
    }


def _units(opened: Opened, ids: Sequence[str]) -> list[str] | None:
    """What test photos of one row have in common, where they have."""
    manifest = opened.prepared.manifest
    unit_of = dict(zip(manifest.image_ids, manifest.units, strict=False))
    return [unit_of[image_id] for image_id in ids] if manifest.units else None


def _stopped(record: Record) -> dict[str, Any]:
    """What is said of a trial that votes and was cut off."""
    done = {"epochs_done": record.epochs_done, "epochs_planned": record.epochs_planned, "best_epoch": record.best_epoch}
    return {"trial_id": record.trial_id, "target": record.target, **done, "score": record.score}


def _compared(journal: Mapping[str, Any]) -> dict[str, Any]:
    """What was compared, without the rows of every combination: those stand in the ensemble's `journal.json`."""
    subtasks = journal["places"]
    return {
        "refinements": {subtask: found["refinements"] for subtask, found in subtasks.items()},
        "views_that_hurt": {subtask: found["tta"]["hurts"] for subtask, found in subtasks.items() if found["tta"]},
        "tournament": {subtask: found["tournament"] for subtask, found in subtasks.items() if found["tournament"]},
        "together": journal["together"],
    }


def check_target(to: Path) -> None:
    """Refuse a folder whose `bundle` is something else, before anything is computed.

    Raises:
        UserError: It would be replaced, or `to` is no folder.
    """
    there = to / "bundle"
    if to.exists() and not to.is_dir():
        raise UserError(f"--to must be a folder, and {to} is a file; give another name")
    if there.exists() and not (there / CHECKSUMS).is_file():
        raise UserError(f"--to must be a folder for exports, and {there} is there and is not a bundle; give another folder")


def _write_bundle(opened: Opened, choice: Choice, to: Path) -> Path:
    """Everything is written beside and then renamed, so that a half bundle is never taken for one.

    Between the two renames there is none by its name; until the next export, `open_bundle` finds the old one.
    """
    final, beside, old = to / "bundle", to / ".bundle.part", set_aside(to / "bundle")
    if old.is_dir() and not final.exists():
        old.rename(final)
    for left in (beside, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        with writing(to):
            _fill_bundle(opened, choice, beside)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if final.exists():
        final.rename(old)
    beside.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    return final


def _fill_bundle(opened: Opened, choice: Choice, beside: Path) -> None:
    (beside / "weights").mkdir(parents=True)
    models: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    configs = {name: opened.trial(name).config for name in sorted(choice.plan.trials)}
    for name, config in configs.items():
        trial = opened.trial(name)
        best = trial.folder.best  # read here, for nothing before has read the weights of all that were chosen
        copied = copy_file(best, beside / "weights" / f"{name}.safetensors") if best.is_file() else ""
        if trial.record is None or copied != trial.record.weights:
            raise UserError(lost_weights(trial.folder))
        shares = {head: prior.tolist() for head, prior in priors(opened.prepared, config).items()}
        models[name] = {"config": trial.settings, "preprocessing": _preprocessing(config), "priors": shares}
        sources[name] = _source(trial)
    imports = {name: opened.imports[name] for name in sorted(choice.plan.imports)}
    sources |= {name: asdict(found.source) for name, found in imports.items()}
    _keep_imported(opened, choice, beside)
    replace_json(beside / "plan.json", choice.plan.to_json())
    described: dict[str, Any] = {"schema": BUNDLE_SCHEMA, "models": models}
    if opened.prepared.manifest.ids_without_endings:
        described["ids_without_endings"] = True  # only where it is so: other bundles are as they were
    if opened.prepared.bits != CONTAINER_BITS:
        described["bits"] = opened.prepared.bits
    if opened.prepared.competition.values is not None:
        described["values"] = list(opened.prepared.competition.values)
    replace_json(beside / "models.json", described)
    replace_json(beside / "provenance.json", sources)
    replace_json(beside / "scores.json", choice.scores)
    replace_json(beside / "forecast.json", choice.forecast)
    named = {
        found.name: "; ".join(filter(None, [*(f.name for f in found.source.files), found.source.note]))
        for found in imports.values()
    }
    replace_bytes(beside / "LICENCES.md", licence_notes(configs, named, opened.prepared.paths).encode())
    replace_bytes(beside / "README.txt", README.format(competition=choice.plan.competition, name="bundle").encode())
    replace_json(beside / CHECKSUMS, checksums(beside))


def _keep_imported(opened: Opened, choice: Choice, beside: Path) -> None:
    """The test answers of the imports that vote: all that they have in place of weights."""
    for ensemble in choice.plan.tasks:
        for name, head, view in ensemble.keys:
            if name in choice.plan.imports:
                ids, probs = opened.all_test_rows(name, head, ensemble.prior)
                Predictions(beside / IMPORTED / name).write(TEST, head, view, [(image_id, "") for image_id in ids], probs)


def _preprocessing(config: TrialConfig) -> dict[str, Any]:
    return {"resize": "stretch", **asdict(expected_by(config.backbone, config.image_size))}


def _source(trial: OpenedTrial) -> Mapping[str, Any]:
    told = readable_sessions(trial.folder)
    sessions = [{name: value for name, value in session.items() if name != "diff"} for session in told]
    return {"record": None if trial.record is None else asdict(trial.record), "sessions": sessions}
