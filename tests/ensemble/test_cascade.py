"""Cascades: every photo is answered by exactly the ensemble its other answers send it to, and gaps and overlaps are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.label.cascade import Subtask, answer_tasks, subtask_faults
from ensemble.votes import Vote

CLASSES = {"mask": ("wear", "incorrect", "none"), "gender": ("male", "female"), "age": ("young", "middle", "old")}
BY_MASK = [Subtask("age", (("mask", (name,)),)) for name in CLASSES["mask"]]


def vote(labels: list[int], n_classes: int) -> Vote:
    """A vote that is sure of these labels."""
    return Vote(np.array(labels, dtype=np.int64), np.eye(n_classes)[labels])


labels = st.lists(st.tuples(*[st.integers(0, 2)] * 4), min_size=1, max_size=30)


@given(labels)
def test_each_photo_takes_the_answer_of_its_predicted_class(drawn: list[tuple[int, ...]]) -> None:
    mask, *ages = (list(column) for column in zip(*drawn, strict=True))
    subtasks, votes = [Subtask("mask"), *BY_MASK], [vote(mask, 3), *(vote(age, 3) for age in ages)]
    answers = answer_tasks(subtasks, votes, CLASSES)
    assert answers["age"].labels.tolist() == [ages[m][row] for row, m in enumerate(mask)]
    assert answers["age"].shares.argmax(axis=1).tolist() == answers["age"].labels.tolist()
    assert votes[1].labels.tolist() == ages[0], "a vote that goes in is not changed"


@given(labels, st.permutations(range(4)))
def test_the_order_of_the_ensembles_changes_nothing(drawn: list[tuple[int, ...]], order: list[int]) -> None:
    columns = [list(column) for column in zip(*drawn, strict=True)]
    subtasks, votes = [Subtask("mask"), *BY_MASK], [vote(column, 3) for column in columns]
    straight = answer_tasks(subtasks, votes, CLASSES)
    other = answer_tasks([subtasks[k] for k in order], [votes[k] for k in order], CLASSES)
    assert straight["age"].labels.tolist() == other["age"].labels.tolist()


def test_equal_models_in_every_branch_are_that_model() -> None:
    age = vote([0, 1, 2, 1], 3)
    answers = answer_tasks([Subtask("mask"), *BY_MASK], [vote([0, 1, 2, 0], 3), age, age, age], CLASSES)
    assert answers["age"].labels.tolist() == age.labels.tolist()


def test_two_conditions_and_several_classes_route_too() -> None:
    subtasks = [
        Subtask("mask"),
        Subtask("gender"),
        Subtask("age", (("mask", ("wear",)), ("gender", ("male",)))),
        Subtask("age", (("mask", ("wear",)), ("gender", ("female",)))),
        Subtask("age", (("mask", ("incorrect", "none")),)),
    ]
    assert subtask_faults(subtasks, CLASSES) == []
    votes = [vote([0, 0, 1, 2], 3), vote([0, 1, 0, 1], 2), *(vote([k] * 4, 3) for k in range(3))]
    assert answer_tasks(subtasks, votes, CLASSES)["age"].labels.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("subtasks", "message"),
    [
        ([Subtask("mask"), *BY_MASK[:2]], "needs one ensemble for mask=none, got none"),
        ([Subtask("mask"), *BY_MASK, BY_MASK[0]], "needs one ensemble for mask=wear, got age@mask=wear, age@mask=wear"),
        ([Subtask("mask"), Subtask("age"), *BY_MASK], "task age stands twice"),
        (BY_MASK, "chosen by the answer for mask, which no ensemble of its own gives"),
        ([Subtask("mask"), Subtask("age", (("mask", ("waer",)),))], "did you mean wear"),
        ([Subtask("mask", (("mask", ("wear",)),))], "which no ensemble of its own gives"),
    ],
)
def test_gaps_overlaps_and_circles_are_named(subtasks: list[Subtask], message: str) -> None:
    assert any(message in fault for fault in subtask_faults(subtasks, CLASSES)), subtask_faults(subtasks, CLASSES)


def test_names_say_the_condition() -> None:
    assert str(BY_MASK[2]) == "age@mask=none"
    assert str(Subtask("age", (("mask", ("a", "b")), ("gender", ("male",))))) == "age@mask=a|b,gender=male"
