"""Oddities: a person with two ages is seen, a sender of several garments is not worth a word."""

import numpy as np
import pytest

from competitions.competition import ColumnForm, Competition, Submission, Task
from competitions.manifest import Manifest
from competitions.report import disagreeing_groups, judged_otherwise, mixed_groups


def manifest_of(labels: list[list[int]]) -> Manifest:
    rows = [(f"p{group}", label) for group, some in enumerate(labels) for label in some]
    ids = tuple(f"{k}" for k in range(len(rows)))
    groups = tuple(group for group, _ in rows)
    return Manifest(ids, ids, groups, ("train",) * len(ids), {"age": np.array([label for _, label in rows], np.int16)})


def test_one_person_of_fifty_with_two_ages_is_named_and_a_missing_label_is_no_second_class() -> None:
    [note] = mixed_groups(manifest_of([[0, 0]] * 48 + [[1, -1, 1]] + [[0, 2]]), {"age": ["young", "middle", "old"]})
    assert "each of 49 groups has one class, these have more: p49 (young and old)" in note


def test_nothing_is_said_where_groups_mix_by_nature_or_have_one_photo() -> None:
    assert not mixed_groups(manifest_of([[0, 0]] * 30 + [[0, 1]] * 20), {"age": ["young", "old"]})
    assert not mixed_groups(manifest_of([[0]] * 50), {"age": ["young", "old"]})


@pytest.mark.parametrize(("n_mixed", "told"), [(0, False), (2, False), (3, True), (20, True)])
def test_what_was_declared_of_groups_is_held_against_more_than_one_in_ten_of_them(n_mixed: int, told: bool) -> None:
    groups = [[0, 1]] * n_mixed + [[1, -1, 1]] * (20 - n_mixed) + [[2]] * 50  # a group of one photo says nothing
    notes = disagreeing_groups(manifest_of(groups), ["age"])
    assert bool(notes) == told
    assert all(f"age: declared same_in_group, and {n_mixed} of 20 training groups have photos of two classes" in n for n in notes)
    assert not disagreeing_groups(manifest_of(groups), []), "nothing was declared"


@pytest.mark.parametrize(("metric", "form", "notes"), [("log_loss", "", 1), ("log_loss", "probability", 0), ("accuracy", "", 0)])
def test_classes_that_a_metric_of_probabilities_would_judge_are_noted(metric: str, form: str, notes: int) -> None:
    submission = Submission(answers={"y": "sick"}, form=form, forms={"y": ColumnForm(of="1")} if form else {})
    tasks = {"sick": Task(column="sick", classes=("0", "1"))}
    asked = Competition(name="x", tasks=tasks, metric=metric, submission=submission)
    assert len(judged_otherwise(asked)) == notes
