"""What a plan answers for the test photos: cached probabilities, those that are missing computed first -> a vote per task."""

from collections.abc import Sequence

from bundle.members import complete
from bundle.opened import TEST, Opened
from ensemble.align import Rows
from ensemble.plan.plan import EnsemblePlan, vote_all
from ensemble.plan.task_ensemble import Probs
from ensemble.votes import Ints, Vote


def vote_on_test(opened: Opened, plan: EnsemblePlan, ids: Sequence[str], device: str = "cpu") -> dict[str, Vote]:
    """What a plan answers for test photos `ids`: task -> labels `(N,)` and shares `(N, C)`. What is not cached is computed."""
    if not ids:
        return {}
    views: dict[str, list[str]] = {}
    for trial, _, view in plan.keys:
        if trial not in plan.imports and view not in views.setdefault(trial, []):
            views[trial].append(view)
    complete(opened, views, (TEST,), device)
    manifest = opened.prepared.manifest
    groups = dict(zip(manifest.image_ids, manifest.groups, strict=True))
    return vote_all(plan, cached_test_probs(opened, plan), ids, [groups[image_id] for image_id in ids])


def answer(opened: Opened, plan: EnsemblePlan, ids: Sequence[str], device: str = "cpu") -> dict[str, Ints]:
    """As `vote_on_test`: task -> labels `(N,)` alone."""
    return {task: vote.labels for task, vote in vote_on_test(opened, plan, ids, device).items()}


def cached_test_probs(opened: Opened, plan: EnsemblePlan) -> Probs:
    """The cached test probabilities of all that a plan needs, by (trial_id, head, view)."""
    found: dict[tuple[str, str, str], Rows] = {}
    for ensemble in plan.tasks:
        for trial, head, view in ensemble.keys:
            if trial in plan.imports:
                found[trial, head, view] = opened.all_test_rows(trial, head, ensemble.prior)
            else:
                found[trial, head, view] = opened.trial(trial).predictions.read(TEST, head, view)
    return found
