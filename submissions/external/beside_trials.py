"""Probabilities `(N, C)` from outside, beside the best trial of the ledger: score against score, and what looks too good to be true.

An import is judged on all photos to learn from that it answers; beside a trial also on those alone that the trial was judged on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import METRICS, metric_of
from competitions.prepare import Prepared
from competitions.targets import Target, targets
from ledger.query import finished_trials

Rows = tuple[Sequence[str], NDArray[np.floating[Any]]]
"""N image ids and their probabilities `(N, C)`."""
TOO_GOOD, FAR_BELOW, ENOUGH = 0.995, 0.05, 20
"""From this share of right answers on at least so many photos, with a trial's score so far below, a file has likely seen the answers."""


def beside_trials(prepared: Prepared, answers: Mapping[str, Rows]) -> dict[str, dict[str, Any]]:
    """Per head with labelled photos what an import scores there.

    Args:
        prepared: The competition's data.
        answers: Head (a task, or `label`) -> what is answered of photos to learn from.

    Returns:
        JSON values: `photos`, `score` in the competition's metric, `accuracy`, and `best_trial` (`None`, or `trial_id`, `fold`,
        `score`, and under `same_photos` what the import scores on those of the fold's photos that it answers, `None` if undefined).
    """
    scores = {}
    for head, (image_ids, probs) in answers.items():
        rows, labels = _labelled(prepared, head, image_ids)
        known = np.flatnonzero(labels >= 0)
        if len(known):
            scores[head] = {
                **_scores(prepared, probs[known], labels[known]),
                "best_trial": _best(prepared, head, rows[known], probs[known], labels[known]),
            }
    return scores


def warnings(name: str, scores: Mapping[str, dict[str, Any]]) -> list[str]:
    """A sentence for each head whose answers look as if their author had learned from them."""
    sentences = []
    for head, facts in scores.items():
        best = facts["best_trial"]
        if best is None or facts["accuracy"] < TOO_GOOD or facts["photos"] < ENOUGH:
            continue
        score = facts["score"] if best["same_photos"] is None else best["same_photos"]
        if score - best["score"] >= FAR_BELOW:
            sentences.append(
                f"{name} answers {facts['accuracy']:.1%} of {facts['photos']} photos of {head} rightly, and the best trial scores "
                f"{best['score']:.4f}: its author has most likely learned from these photos; drop it, or import its test photos alone"
            )
    return sentences


def _labelled(prepared: Prepared, head: str, image_ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Manifest rows and labels `(N,)`; -1 for a photo that has none, or could not be decoded."""
    manifest = prepared.manifest
    row_of = {image_id: row for row, image_id in enumerate(manifest.image_ids)}
    rows = np.array([row_of[image_id] for image_id in image_ids], dtype=np.int64)
    sizes = {task: len(prepared.competition.classes(task)) for task in (*prepared.competition.composed, head)}
    composed = tuple((task, sizes[task]) for task in prepared.competition.composed)
    target = Target(head, {head: sizes[head]}, prepared.competition.metric, composed=composed)
    labels = prepared.labels(target)[head].astype(np.int64)[rows]
    return rows, np.where(prepared.usable()[rows], labels, -1)


def _scores(prepared: Prepared, probs: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> dict[str, Any]:
    score = metric_of(prepared.competition.metric)(probs, labels)
    return {"photos": len(labels), "score": score, "accuracy": METRICS["accuracy"](probs, labels)}


def _best(
    prepared: Prepared, head: str, rows: NDArray[np.int64], probs: NDArray[np.floating[Any]], labels: NDArray[np.int64]
) -> dict[str, Any] | None:
    """The best finished trial of any fold whose target asks for this head alone."""
    alone = [target for target in targets(prepared.competition).values() if set(target.heads) == {head} and not target.where]
    trials = [
        record
        for target in alone
        for record, _ in finished_trials(prepared.paths, target.name, prepared.data_fingerprint(target), target.metric)
    ]
    if not trials:
        return None
    best = min(trials, key=lambda record: (-(record.score or 0), record.trial_id))
    same = np.flatnonzero(prepared.folds.fold[rows] == best.fold)
    there = metric_of(prepared.competition.metric).of(probs[same], labels[same]) if len(same) else np.nan
    return {"trial_id": best.trial_id, "fold": best.fold, "score": best.score, "same_photos": None if np.isnan(there) else there}
