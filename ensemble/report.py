"""What an export says of its answers: the best single trial, the votes, the honest score, and whether any of it is more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.labels import Composition, decompose, decompose_probs
from competitions.manifest import LABEL
from ensemble.fit_subtask import Decided, Shares, class_weights
from ensemble.label.cascade import Subtask, answer_tasks
from ensemble.label.decode import LabelDecoder, decode_votes, voting_subtasks
from ensemble.label.decoders import ROUTES
from ensemble.pool import Pools
from ensemble.scoring.gain import Judge
from ensemble.scoring.honest import choose_together, honest_score, optimistic_score
from ensemble.selection.selector import Selector
from ensemble.votes import Choose, Ints, Vote

RESAMPLES = 200
HONEST_SEED = 0
"""Of the resamples; label decoders and the best single trial are compared on the first of those of the honest score, so that choices
are made once."""
COMPARED = 50
WON = ("before", "after", "gain", "low", "high")
KEPT = {name for name, route in ROUTES.items() if route.keeps}
"""Label decoders in which each task keeps its own vote; in all others the tasks follow from the label."""


@dataclass(frozen=True)
class JudgedPhotos:
    """One answer, judged on the photos that all subtasks it depends on have and that have a label for it.

    Attributes:
        task: A task, or the label.
        labels: `int64 (n,)`.
        groups: n group names.
        positions: Subtask -> `int64 (n,)`: the positions of these photos among its candidates' photos.
    """

    task: str
    labels: Ints
    groups: NDArray[np.str_]
    positions: Mapping[Subtask, Ints]


def judged_photos(pools: Pools, decided: Mapping[Subtask, Decided], subtasks: Sequence[Subtask], task: str) -> JudgedPhotos:
    """Bring the subtasks' photos together by their ids."""
    labels = pools.labelled.labels[task]
    label_of = dict(zip(pools.labelled.image_ids, labels.tolist(), strict=True))
    positions = {subtask: {i: position for position, i in enumerate(decided[subtask].pool.image_ids)} for subtask in subtasks}
    first = decided[subtasks[0]].pool
    ids = [i for i in first.image_ids if label_of[i] >= 0 and all(i in of for of in positions.values())]
    group_of = dict(zip(first.image_ids, first.candidates.groups, strict=True))
    return JudgedPhotos(
        task,
        np.array([label_of[i] for i in ids], dtype=np.int64),
        np.array([group_of[i] for i in ids]),
        {subtask: np.array([of[i] for i in ids], dtype=np.int64) for subtask, of in positions.items()},
    )


def weighing(
    decided: Mapping[Subtask, Decided], photos: JudgedPhotos, table: Composition, n_classes: int, given: Mapping[str, Shares]
) -> tuple[float, ...] | None:
    """By how much each of an answer's C classes counts, so that scores are those at the test photos' class shares.

    A task without an ensemble of its own has the shares given, or those that follow from the label's. Of the label without shares
    of its own it is the product over its tasks. `None` where nothing is known.
    """
    shares = {**given, **{subtask.task: one.shares for subtask, one in decided.items() if one.shares.new is not None}}
    if photos.task not in shares and photos.task in table.tasks and LABEL in shares:
        whole = np.array([shares[LABEL].new])
        shares[photos.task] = Shares(tuple(decompose_probs(table, whole)[photos.task][0].tolist()))
    if photos.task in shares:
        return class_weights(photos.labels, n_classes, shares[photos.task])
    parts = decompose(table, photos.labels) if photos.task == LABEL else {}
    classes = decompose(table, np.arange(n_classes)) if parts else {}
    found = np.ones(n_classes)
    for number, task in enumerate(parts):
        own = class_weights(parts[task], table.sizes[number], shares.get(task, Shares()))
        found *= 1.0 if own is None else np.array(own)[classes[task]]
    return None if (found == 1).all() else tuple(found.tolist())


def unseen(pools: Pools, photos: JudgedPhotos) -> list[str]:
    """Classes of an answer that labelled photos show, but none of those asked about: no score of these knows them."""
    labels = pools.labelled.labels[photos.task][pools.labelled.usable]
    there = set(np.unique(labels[labels >= 0]).tolist()) - set(photos.labels.tolist())
    return [pools.facts.classes[photos.task][number] for number in sorted(there)]


def needed(decoders: Sequence[LabelDecoder], table: Composition, subtasks: Sequence[Subtask], task: str) -> tuple[Subtask, ...]:
    """The subtasks whose votes decide a task, or the label, by one of these decoders."""
    all_deciding: set[Subtask] = set()
    inside = (*table.tasks, LABEL)
    for decoder in decoders:
        voting = voting_subtasks(decoder.way, subtasks, table)
        deciding = {subtask for subtask in voting if subtask.task == task}
        if task in inside and (task == LABEL or decoder.way not in KEPT):
            deciding = {subtask for subtask in voting if subtask.task in inside}
        routers = {router for subtask in deciding for router, _ in subtask.where}
        all_deciding |= deciding | {subtask for subtask in voting if subtask.task in routers}
    return tuple(subtask for subtask in subtasks if subtask in all_deciding)


def answering(
    selectors: Mapping[Subtask, Selector],
    photos: JudgedPhotos,
    decoder: LabelDecoder,
    table: Composition,
    classes: Mapping[str, Sequence[str]],
) -> Choose:
    """The choice of one answer: each subtask chooses, then the decoder joins their answers; rows are positions among these photos."""
    choices = {subtask: selectors[subtask].at(photos.positions[subtask]) for subtask in photos.positions}

    def answer(subtasks: Sequence[Subtask], votes: Sequence[Vote]) -> Vote:
        if photos.task in (*table.tasks, LABEL) and _answers_label(subtasks, table):
            return decode_votes(decoder, table, subtasks, votes, classes)[photos.task]
        return answer_tasks(subtasks, votes, classes)[photos.task]

    return choose_together(choices, answer)


def answer_report(
    decided: Mapping[Subtask, Decided],
    photos: JudgedPhotos,
    decoder: LabelDecoder,
    default: LabelDecoder,
    table: Composition,
    classes: Mapping[str, Sequence[str]],
    *,
    metric: str,
    weights: Sequence[float] | None = None,
) -> dict[str, Any]:
    """What is known about one answer.

    Args:
        decided: All subtasks.
        photos: Which answer, on which photos.
        decoder: How the plan comes to the label.
        default: How it would without having compared.
        table: How tasks and label belong together.
        classes: Task -> class names.
        metric: What it is judged in.
        weights: Of the answer's classes, in every score (`weighing`).
    """

    def choice(of: Mapping[Subtask, Selector], how: LabelDecoder = decoder) -> Choose:
        return answering(of, photos, how, table, classes)

    deciding = {subtask: decided[subtask] for subtask in photos.positions}
    whole = choice({subtask: one.selector for subtask, one in deciding.items()})
    single = choice({subtask: one.plain.by("single") for subtask, one in deciding.items()}, default)
    rules = {
        rule: choice({subtask: one.plain.by(rule, (len(one.plain.on().members),)) for subtask, one in deciding.items()}, default)
        for rule in ("hard", "soft")
    }
    seen = partial(optimistic_score, labels=photos.labels, metric=metric, class_weights=weights)
    scores = {name: seen(made) for name, made in rules.items()}
    best = "+".join(dict.fromkeys(one.pool.members[one.plain.by("single").on().members[0]].name for one in deciding.values()))
    vote = seen(whole)
    honest, against = None, None
    if len(np.unique(photos.groups)) > 1:
        how: dict[str, Any] = {"metric": metric, "seed": HONEST_SEED, "class_weights": weights}
        honest = asdict(honest_score(whole, photos.labels, photos.groups, n_resamples=RESAMPLES, **how))
        judge = Judge(photos.labels, photos.groups, n_resamples=COMPARED, **how)
        against = judge.compare("the vote", judge.group_results(single), judge.group_results(whole))
    return {
        "best_single": {"trial_id": best, "score": seen(single)},
        "vote": vote,
        **scores,
        "optimistic": vote,
        "honest": honest,
        "gap": None if honest is None else vote - honest["mean"],
        "weighed": weights is not None,
        "against_best_single": None if against is None else against.to_json(),
        "members": {str(subtask): len(one.selector.on().members) for subtask, one in deciding.items()},
        "enough": {str(subtask): one.smallest.k for subtask, one in deciding.items() if one.smallest is not None},
    }


def is_worse(facts: Mapping[str, Any]) -> bool:
    """Whether the ensemble is worse than its best single trial beyond noise."""
    gain = facts["against_best_single"]
    return gain is not None and gain["high"] < 0


def set_aside(gain: Mapping[str, Any]) -> str:
    """What is said where the best single trial is exported in place of a worse vote."""
    by = f"{gain['gain']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"
    return f"the best single trial is exported: the vote is worse by {by}; --vote hard or soft exports the vote all the same"


def mean_report(scores: Mapping[str, Mapping[str, Any]], parts: Mapping[str, float]) -> dict[str, Any]:
    """The weighted mean of the tasks' reports, in the form of one.

    An interval ends at the mean of the tasks' ends, as if all tasks were lucky on the same photos: it is rather too wide.

    Args:
        scores: Task -> what `answer_report` says.
        parts: Task -> its part, in sum 1.
    """

    def mean(*keys: str) -> float | None:
        total = 0.0
        for task, part in parts.items():
            found: Any = scores[task]
            for key in keys:
                found = None if found is None else found[key]
            if found is None:
                return None
            total += part * found
        return total

    def of_all(key: str, numbers: Sequence[str]) -> dict[str, Any] | None:
        first, found = scores[next(iter(parts))][key], {name: mean(key, name) for name in numbers}
        return None if None in found.values() else {**first, **found}

    gain = of_all("against_best_single", WON)
    trials = dict.fromkeys(trial for task in parts for trial in scores[task]["best_single"]["trial_id"].split("+"))
    return {
        "best_single": {"trial_id": "+".join(trials), "score": mean("best_single", "score")},
        "vote": mean("vote"),
        **{rule: mean(rule) for rule in ("hard", "soft")},
        "optimistic": mean("vote"),
        "honest": of_all("honest", ("mean", "low", "high")),
        "gap": mean("gap"),
        "weighed": any(scores[task]["weighed"] for task in parts),
        "against_best_single": None if gain is None else {**gain, "kept": gain["low"] > 0},
        "members": {name: n for task in parts for name, n in scores[task]["members"].items()},
        "enough": {name: n for task in parts for name, n in scores[task]["enough"].items()},
        "parts": dict(parts),
    }


def verdict(facts: Mapping[str, Any]) -> str:
    """Whether the ensemble is better than its best single trial, in words, and what is as good where it is not."""
    gain = facts["against_best_single"]
    if gain is None:
        return "photos of at least two groups are needed to say whether the vote helps"
    by = f"{gain['gain']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"
    if gain["low"] > 0:
        return f"better than the best single trial: {by}{_fewer(facts)}"
    if is_worse(facts):
        return f"worse than the best single trial: {by}; take --vote single --plain"
    smaller = _fewer(facts) or "; --vote single is as good and costs less"
    return f"no gain beyond noise over the best single trial: {by}{smaller}"


def _fewer(facts: Mapping[str, Any]) -> str:
    """Whether fewer members would do."""
    most = max(facts["members"].values())
    enough = max(facts["enough"].values(), default=most)
    return f"; {enough} of {most} members would do as well (--top {enough})" if enough < most else ""


def _answers_label(subtasks: Sequence[Subtask], table: Composition) -> bool:
    there = {subtask.task for subtask in subtasks}
    return LABEL in there or set(table.tasks) <= there
