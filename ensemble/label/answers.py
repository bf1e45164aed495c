"""The votes of all places `(N,)` each -> one vote per task, and for the composed label."""

from collections.abc import Mapping, Sequence

from competitions.labels import Composition, compose, compose_probs, decompose, decompose_probs
from competitions.manifest import LABEL
from ensemble.label.cascade import Subtask, answer_tasks
from ensemble.votes import Vote


def answer_all(
    table: Composition, subtasks: Sequence[Subtask], votes: Sequence[Vote], classes: Mapping[str, Sequence[str]]
) -> dict[str, Vote]:
    """The votes of all ensembles as one vote per task, and for the composed label.

    Args:
        table: How tasks and label belong together.
        subtasks: Of P ensembles.
        votes: Their P votes on the same photos.
        classes: Task -> class names.
    """
    answers = answer_tasks(subtasks, votes, classes)
    return answers | _derived(table, answers)


def _derived(table: Composition, votes: Mapping[str, Vote]) -> dict[str, Vote]:
    if LABEL in votes:
        whole = votes[LABEL]
        labels, shares = decompose(table, whole.labels), decompose_probs(table, whole.shares)
        return {task: Vote(labels[task], shares[task]) for task in table.tasks}
    label = compose(table, {task: votes[task].labels for task in table.tasks})
    return {LABEL: Vote(label, compose_probs(table, {task: votes[task].shares for task in table.tasks}))}
