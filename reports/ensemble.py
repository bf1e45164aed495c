"""The ensemble page: who votes and why, where they disagree, what was tried on top, and what to expect of the answers.

Everything is read from what the export kept and from cached predictions; nothing is computed by a network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.kept_labels import prepared_of
from competitions.metrics import confusion, metric_of
from competitions.prepare import Prepared
from ensemble.align import Rows, shared_photos
from ensemble.plan.plan import EnsemblePlan, decide
from ensemble.plan.task_ensemble import Probs, TaskEnsemble, vote_task, voter_rows, without
from ensemble.votes import Vote
from ledger.predictions import predictions_of
from ledger.reading import readable_config, readable_record
from ledger.trials import TrialFolder, is_trial
from reports.charts import MUTED, PALETTE, chart
from reports.page import Chart, render
from reports.photo_labels import class_numbers
from reports.tables import count_cells, most_confused, share_cells
from system.errors import UserError, unknown
from system.files import read_json
from system.paths import CompetitionPaths

MOST_IN_A_MATRIX = 20
"""A confusion matrix of more classes than this cannot be read; then the pairs that are confused most are listed."""
MOST_PAIRS = 20
MOST_COMBINATIONS = 12
SHOWN_SETTINGS_OF_A_MEMBER = ("backbone", "probe", "loss", "augmentation", "image_size")
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class _Judged:
    """One subtask on the labelled photos that all of its voters were judged on; N of them."""

    ensemble: TaskEnsemble
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: Numbers
    probs: Probs
    single: TaskEnsemble | None

    def vote(self, ensemble: TaskEnsemble) -> Vote:
        return vote_task(ensemble, self.probs, self.ids, self.groups)


def newest_ensemble(paths: CompetitionPaths) -> str | None:
    """The name of the export that was written last; `None` where there is none."""
    written = {path.parent.name: path.stat().st_mtime for path in paths.ensembles.glob("*/plan.json")}
    return max(written, key=lambda name: (written[name], name), default=None)


def ensemble_page(paths: CompetitionPaths, name: str, written: str) -> str:
    """The page of one export, as HTML.

    Raises:
        UserError: There is no such export, or what it was made of is gone.
    """
    folder = paths.ensembles / name
    if not (folder / "plan.json").is_file():
        known = [path.parent.name for path in paths.ensembles.glob("*/plan.json")]
        raise UserError(unknown("ensemble", name, known) + f"; export_ensemble.py {paths.root.name} --to DIR makes one")
    plan, beside = EnsemblePlan.from_json(read_json(folder / "plan.json")), read_json(folder / "beside.json")
    scores, forecast, journal = (read_json(folder / f"{part}.json") for part in ("scores", "forecast", "journal"))
    single = EnsemblePlan.from_json(beside["single"])
    prepared = _prepared(paths, plan)
    charts: dict[str, Chart] = {}
    sections = []
    for number, ensemble in enumerate(plan.tasks):
        of_single = next((one for one in single.tasks if one.subtask == ensemble.subtask), None)
        section = _section(paths, prepared, ensemble, of_single, plan.metric)
        found = journal["places"].get(str(ensemble.subtask), {})
        sections.append({"name": str(ensemble.subtask), "ensemble": ensemble, **section, **_tried(found)})
        if section["right"]:
            charts[f"right{number}"] = section["right"]
    answered = _test_answers(paths, prepared, plan)
    for number, task in enumerate(answered):
        charts[f"shares{number}"] = _share_chart(task, answered[task], plan, prepared, forecast["test_shares"].get(task))
    values = {
        "competition": paths.root.name,
        "name": name,
        "written": written,
        "metric": plan.metric,
        "scores": scores,
        "forecast": forecast,
        "sections": sections,
        "together": journal["together"],
        "answered": {task: f"shares{number}" for number, task in enumerate(answered)},
        "most_classes": MOST_IN_A_MATRIX,
    }
    return render("ensemble", values, charts)


def _prepared(paths: CompetitionPaths, plan: EnsemblePlan) -> Prepared:
    """The labelled photos that the plan's trials were judged on."""
    for trial in plan.trials:
        config = readable_config(TrialFolder(paths.trials / trial)) if is_trial(paths.trials, trial) else None
        if config is not None:
            return prepared_of(paths, str(config["target"]), str(config["data"]))
    raise UserError(f"no trial of ensemble {plan.plan_id} is in this storage; export again")


def _section(
    paths: CompetitionPaths, prepared: Prepared, ensemble: TaskEnsemble, single: TaskEnsemble | None, metric: str
) -> dict[str, Any]:
    judged = _judged(paths, prepared, ensemble, single)
    if judged is None:
        return {"judged": 0, "members": _members(paths, ensemble, {}), "agreement": None, "confusion": None, "right": None}
    own = judged.ensemble
    whole = judged.vote(own)
    full = _score(whole, judged.labels, metric)
    effects = {}
    for member in own.members:
        alone = judged.vote(without(own, {*own.members} - {member})) if own.spec.stacking is None else None
        others = judged.vote(without(own, {member})) if len(own.members) > 1 and own.spec.stacking is None else None
        effects[member] = {
            "alone": None if alone is None else _score(alone, judged.labels, metric),
            "without": _difference(full, None if others is None else _score(others, judged.labels, metric)),
        }
    before = judged.vote(judged.single) if judged.single is not None else whole
    return {
        "judged": len(judged.ids),
        "score": full,
        "corrected": ensemble.spec.correction is not None or ensemble.spec.quota is not None,
        "members": _members(paths, ensemble, effects),
        "agreement": _agreement(judged),
        "confusion": _confusion(judged, before, whole),
        "right": _right_chart(judged, before, whole),
    }


def _judged(paths: CompetitionPaths, prepared: Prepared, ensemble: TaskEnsemble, single: TaskEnsemble | None) -> _Judged | None:
    """The labelled photos and cached predictions; `None` where no photo was judged by all voters, or a file votes.

    Of a member with a model per fold the models of one fold stand for it: that with the most photos. Corrections to the test
    photos' class shares are left out, for labelled photos have their own.
    """
    folders = {trial: TrialFolder(paths.trials / trial) for one in (ensemble, single) if one for trial, _, _ in one.keys}
    records = {
        trial: record
        for trial, folder in folders.items()
        if is_trial(paths.trials, trial) and (record := readable_record(folder)) is not None
    }
    if len(records) < len(folders):
        return None
    folds = sorted({record.fold for record in records.values()})
    sides = [one for one in (ensemble, single) if one is not None]
    for fold in folds:
        of_fold = [_of_fold(one, {trial: record.fold for trial, record in records.items()}, fold) for one in sides]
        if any(one is None for one in of_fold):
            continue
        keys = dict.fromkeys(key for one in of_fold if one is not None for key in one.keys)
        probs: dict[tuple[str, str, str], Rows] = {}
        try:
            for trial, head, view in keys:
                read = predictions_of(folders[trial].predictions, records[trial].weights or "").read
                probs[trial, head, view] = read("validation", head, view)
        except (OSError, ValueError):
            continue
        ids = shared_photos({str(key): rows[0] for key, rows in probs.items()})
        return _labelled(prepared, of_fold, ids, probs)
    return None


def _labelled(prepared: Prepared, sides: Sequence[TaskEnsemble | None], ids: Sequence[str], probs: Probs) -> _Judged | None:
    ensemble, single = (*sides, None)[:2]
    assert ensemble is not None, "a fold that a member lacks is passed over"
    known = class_numbers(prepared, ensemble.task)
    row_of = {image_id: row for row, image_id in enumerate(prepared.manifest.image_ids)}
    kept = [image_id for image_id in ids if known[row_of[image_id]] >= 0]
    if not kept:
        return None
    rows = [row_of[image_id] for image_id in kept]
    groups = tuple(prepared.manifest.groups[row] for row in rows)
    return _Judged(ensemble, tuple(kept), groups, known[rows], probs, single)


def _of_fold(ensemble: TaskEnsemble, fold_of: Mapping[str, int], fold: int) -> TaskEnsemble | None:
    """The ensemble with each member's model of this fold alone; `None` where a member has none."""
    models, calibration = {}, {}
    for member in ensemble.members:
        trials = ensemble.trials_of(member)
        at = next((n for n, trial in enumerate(trials) if fold_of.get(trial) == fold), None)
        if at is None:
            return None
        models[member] = (trials[at],)
        if member in ensemble.spec.calibration:
            calibration[member] = (ensemble.spec.calibration[member][at],)
    kept = {member: own for member, own in models.items() if own != (member,)}
    spec = replace(ensemble.spec, calibration=calibration, correction=None, quota=None)
    return replace(ensemble, spec=spec, models=kept, quota_of=None)


def _score(vote: Vote, labels: Numbers, metric: str) -> float | None:
    """The metric of a vote: of its answers, or of its shares where the metric judges those; `None` where it is undefined."""
    judge = metric_of(metric)
    score = judge.of_named(vote.labels, labels, vote.shares.shape[1]) if judge.judges_labels else judge.of(vote.shares, labels)
    return None if np.isnan(score) else score


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _members(paths: CompetitionPaths, ensemble: TaskEnsemble, effects: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per member, most senior first: its views, weight, settings, and what the vote would be without it."""
    weights = ensemble.spec.weights
    flat = [1.0] * len(ensemble.voters) if weights is None else [float(np.mean(weight)) for weight in weights]
    rows = []
    for member in ensemble.members:
        trials = ensemble.trials_of(member)
        first = TrialFolder(paths.trials / trials[0])
        there = is_trial(paths.trials, trials[0])
        config, record = (readable_config(first), readable_record(first)) if there else (None, None)
        own = [(voter.view, weight) for voter, weight in zip(ensemble.voters, flat, strict=True) if voter.member == member]
        named = [str(config[key]) for key in SHOWN_SETTINGS_OF_A_MEMBER if config and config.get(key) not in (None, "none")]
        rows.append(
            {
                "member": member,
                "trials": len(trials),
                "views": [view for view, _ in own],
                "weight": sum(weight for _, weight in own) / (sum(flat) or 1.0),
                "settings": ", ".join(named) or "a file from outside",
                "score": None if record is None else record.score,
                "calibrated": member in ensemble.spec.calibration,
                **effects.get(member, {"alone": None, "without": None}),
            }
        )
    return rows


def _agreement(judged: _Judged) -> dict[str, Any] | None:
    """How often members give the same answer, `(M, M)` shares of photos, each by the mean of its views."""
    members = judged.ensemble.members
    if len(members) < 2:
        return None
    rows = voter_rows(judged.ensemble, judged.probs, judged.ids).astype(np.float64)
    of_member = np.array([voter.member for voter in judged.ensemble.voters])
    answers = np.array([rows[of_member == member].mean(axis=0).argmax(axis=1) for member in members])
    same = (answers[:, None] == answers[None]).mean(axis=2)
    return {"members": members, "cells": share_cells(same)}


def _confusion(judged: _Judged, before: Vote, after: Vote) -> dict[str, Any]:
    classes = judged.ensemble.classes
    then, now = (confusion(vote.labels, judged.labels, len(classes)) for vote in (before, after))
    pairs = most_confused(then, now, classes, MOST_PAIRS)
    tables = [count_cells(then), count_cells(now)] if len(classes) <= MOST_IN_A_MATRIX else None
    return {"classes": classes, "tables": tables, "pairs": pairs}


def _right_chart(judged: _Judged, before: Vote, after: Vote) -> Chart:
    """The share of each class's photos that is answered right, before and after."""
    classes = judged.ensemble.classes
    n = np.maximum(np.bincount(judged.labels, minlength=len(classes)), 1)
    data = []
    for name, vote, colour in (("best single trial", before, MUTED), ("the vote", after, PALETTE[0])):
        right = np.bincount(judged.labels[vote.labels == judged.labels], minlength=len(classes)) / n
        data.append({"type": "bar", "name": name, "x": list(classes), "y": right.round(4).tolist(), "marker": {"color": colour}})
    layout = {"xaxis": {"type": "category"}, "yaxis": {"title": {"text": "share answered right"}, "range": [0, 1]}}
    return chart(f"Share of each class answered right, {judged.ensemble.subtask}", data, layout, 280)


def _tried(found: Mapping[str, Any]) -> dict[str, Any]:
    """The journal of a subtask: refinements, views, the tournament."""
    tta = found.get("tta")
    return {
        "compared": found.get("members_compared"),
        "refinements": found.get("refinements", []),
        "views": [] if tta is None else tta["effects"],
        "combinations": [] if tta is None else tta["combinations"][:MOST_COMBINATIONS],
        "n_combinations": 0 if tta is None else len(tta["combinations"]),
        "tournament": found.get("tournament"),
    }


def _test_answers(paths: CompetitionPaths, prepared: Prepared, plan: EnsemblePlan) -> dict[str, Numbers]:
    """What the plan answers for the test photos: task -> `int64 (N,)`; empty where predictions are not in this storage."""
    probs: dict[tuple[str, str, str], Rows] = {}
    for trial, head, view in plan.keys:
        record = readable_record(TrialFolder(paths.trials / trial)) if is_trial(paths.trials, trial) else None
        if record is None or record.weights is None:
            return {}
        try:
            probs[trial, head, view] = predictions_of(paths.trials / trial / "predictions", record.weights).read(
                "test", head, view
            )
        except (OSError, ValueError):
            return {}
    ids = shared_photos({str(key): rows[0] for key, rows in probs.items()}) if probs else ()
    if not ids:
        return {}
    group_of = dict(zip(prepared.manifest.image_ids, prepared.manifest.groups, strict=True))
    return decide(plan, probs, ids, [group_of.get(image_id, image_id) for image_id in ids])


def _share_chart(task: str, answered: Numbers, plan: EnsemblePlan, prepared: Prepared, shares: Mapping[str, Any] | None) -> Chart:
    """How frequent each class is: among labelled photos, among the answers, and in the test photos as known or estimated."""
    classes = plan.classes(task)
    labels = class_numbers(prepared, task)[prepared.usable()]
    bars = [
        ("labelled photos", _shares(labels[labels >= 0], len(classes)), MUTED, None),
        ("answers for the test photos", _shares(answered, len(classes)), PALETTE[0], None),
    ]
    if shares is not None and shares.get("shares") is not None:
        bars.append(("test photos, as they are known to be", list(shares["shares"]), PALETTE[1], None))
    elif shares is not None and shares.get("estimate"):
        found = shares["estimate"]
        bars.append((f"test photos, estimated by {found['method']} (90 %)", found["prior"], PALETTE[1], found))
    data = []
    for name, values, colour, found in bars:
        trace: dict[str, Any] = {"type": "bar", "name": name, "x": list(classes), "y": values, "marker": {"color": colour}}
        if found is not None:
            up = [max(0.0, high - at) for high, at in zip(found["high"], values, strict=True)]
            down = [max(0.0, at - low) for low, at in zip(found["low"], values, strict=True)]
            trace["error_y"] = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1}
        data.append(trace)
    layout = {"xaxis": {"type": "category"}, "yaxis": {"title": {"text": "share of photos"}, "rangemode": "tozero"}}
    return chart(f"Class shares of {task}: labelled photos, answers and test photos", data, layout, 320)


def _shares(labels: Numbers, n_classes: int) -> list[float]:
    counts = np.bincount(labels, minlength=n_classes)
    return (counts / max(1, counts.sum())).round(5).tolist()  # type: ignore[no-any-return]  # numpy says Any
