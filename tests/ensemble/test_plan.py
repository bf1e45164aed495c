"""Plans go to JSON and back equal, wrong ones are refused whole, and decisions follow ids."""

import json
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from competitions.labels import Composition
from ensemble.align import Rows
from ensemble.plan.plan import EnsemblePlan, SubmissionForm, decide, vote_all
from ensemble.plan.spec import NamedSpec
from ensemble.plan.task_ensemble import TaskEnsemble, without
from ensemble.postprocess.stacking import Stacking
from ensemble.votes import FIRST_CLASS, RULES
from system.errors import UserError

TABLE = Composition(("mask", "age"), (("yes", "no"), ("young", "middle", "old")))
IDS = [f"p{i}" for i in range(12)]
FORM = SubmissionForm("ImageID", (("ans", "label"), ("a age", "age")), "index")


def ensemble(task: str, *members: str, **changes: Any) -> TaskEnsemble:
    """Voters of every member through two views."""
    classes = TABLE.label_classes if task == "label" else dict(zip(TABLE.tasks, TABLE.classes, strict=True))[task]
    voters = tuple((member, view) for member in members for view in ("identity", "flip"))
    return changed(TaskEnsemble(task, classes, NamedSpec(voters), (1 / len(classes),) * len(classes), score=0.5), **changes)


def changed(whole: TaskEnsemble, **changes: Any) -> TaskEnsemble:
    """The ensemble with other fields, its spec's among them."""
    own = {name: changes.pop(name) for name in list(changes) if hasattr(whole.spec, name)}
    return replace(whole, spec=replace(whole.spec, **own), **changes)


def plan(*tasks: TaskEnsemble) -> EnsemblePlan:
    """A plan for two tasks, or for the label."""
    return EnsemblePlan("faces", "macro_f1", tasks or (ensemble("mask", "m1"), ensemble("age", "a1", "a2")), TABLE, FORM)


def predictions(whole: EnsemblePlan, seed: int = 0) -> dict[tuple[str, str, str], Rows]:
    """Probabilities `float16 (12, C)` for all voters, each in an order of its own."""
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str, str], Rows] = {}
    for task in whole.tasks:
        for key in task.keys:
            order = rng.permutation(len(IDS))
            rows = rng.dirichlet(np.ones(len(task.classes)), len(IDS)).astype(np.float16)
            found[key] = ([IDS[i] for i in order], rows[order])
    return found


def test_round_trip_is_equal() -> None:
    told = json.dumps(plan().to_json())
    again = EnsemblePlan.from_json(json.loads(told))
    assert again == plan()
    assert again.plan_id == plan().plan_id
    assert json.dumps(again.to_json()) == told
    assert [header for header, _ in again.submission.answers] == ["ans", "a age"], "columns keep their order"


def test_numpy_numbers_give_the_same_plan() -> None:
    prior = tuple(np.full(2, 0.5, np.float32))
    assert plan(ensemble("mask", "m1", prior=prior, score=np.float64(0.5)), ensemble("age", "a1", "a2")).plan_id == plan().plan_id


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_can_stand_in_a_plan(rule: str) -> None:
    made = plan(*(changed(e, rule=rule, tie_rule=RULES[rule].tie_rule, weights=(2.0,) * len(e.voters)) for e in plan().tasks))
    assert EnsemblePlan.from_json(made.to_json()) == made
    assert set(decide(made, predictions(made), IDS)) == {"mask", "age", "label"}


def test_plan_names_voters_views_and_classes() -> None:
    assert plan().views == ("flip", "identity")
    assert [v.member for v in plan().voters] == ["m1", "m1", "a1", "a1", "a2", "a2"]
    assert plan().classes("age") == ("young", "middle", "old")
    assert plan().classes("label")[5] == "no/old"


MUTATIONS: dict[str, tuple[list[Any], Any, str]] = {
    "schema": (["schema"], 2, "schema must be 1, got 2"),
    "field": (["colour"], "red", "unknown field 'colour'"),
    "task field": (["tasks", 0, "colour"], "red", "unknown field 'colour'"),
    "rule": (["tasks", 0, "rule"], "hrad", "did you mean hard"),
    "tie rule": (["tasks", 0, "tie_rule"], FIRST_CLASS, "tie_rule of hard is"),
    "metric": (["metric"], "macro_f9", "did you mean macro_f"),
    "no voters": (["tasks", 0, "voters"], [], "voters must be"),
    "half a voter": (["tasks", 0, "voters"], [["m1"]], "voters must be"),
    "a path": (["tasks", 0, "voters"], [["../m1", "flip"]], "voters must be"),
    "voter twice": (["tasks", 0, "voters"], [["m1", "flip"]] * 2, "stands twice"),
    "classes": (["tasks", 0, "classes"], ["yes", "maybe"], "in the composition"),
    "more classes": (["tasks", 1, "classes"], ["young", "middle", "old", "older"], "prior must be 4 shares"),
    "weights": (["tasks", 0, "weights"], [1.0], "weights must be 2"),
    "negative weights": (["tasks", 0, "weights"], [1.0, -1.0], "weights must be 2"),
    "prior sum": (["tasks", 0, "prior"], [0.5, 0.6], "sum to 1"),
    "prior NaN": (["tasks", 0, "prior"], [0.5, float("nan")], "prior must be a list of numbers"),
    "score": (["tasks", 0, "score"], float("inf"), "score must be"),
    "score text": (["tasks", 0, "score"], "0.9", "score must be"),
    "a huge score": (["tasks", 0, "score"], 10**400, "score must be"),
    "task name": (["tasks", 0, "task"], "msak", "task mask of the composed label has no ensemble"),
    "task twice": (["tasks", 1, "task"], "mask", "stands twice"),
    "answer": (["submission", "answers"], [["ans", "labbel"]], "did you mean label"),
    "header twice": (["submission", "answers"], [["ans", "label"], ["ans", "age"]], "headers different"),
    "values": (["submission", "values"], "number", "name or index"),
    "table": (["composition", "tasks"], ["mask"], "composition must name different tasks"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_plan_is_refused(name: str) -> None:
    (*path, last), value, message = MUTATIONS[name]
    changed = deepcopy(plan().to_json())
    subtask = changed
    for step in path:
        subtask = subtask[step]
    subtask[last] = value
    with pytest.raises(UserError, match=message):
        EnsemblePlan.from_json(changed)


JUNK = st.sampled_from([None, True, -1, 1.5, float("nan"), "", "x", [], [1], [[1]], {}, {"a": 1}, ["x", "x"]])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), JUNK)
def test_any_junk_is_a_user_error_or_a_plan(data: st.DataObject, junk: Any) -> None:
    changed = deepcopy(plan().to_json())
    subtask: Any = changed
    while True:
        keys = sorted(subtask) if isinstance(subtask, dict) else list(range(len(subtask)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(subtask[key], dict | list) and subtask[key]) or data.draw(st.booleans()):
            break
        subtask = subtask[key]
    subtask[key] = junk
    with suppress(UserError):
        assert EnsemblePlan.from_json(changed).plan_id


@pytest.mark.parametrize("field", sorted(plan().to_json()))
def test_a_missing_field_is_named(field: str) -> None:
    changed = plan().to_json()
    del changed[field]
    with pytest.raises(UserError, match=f"lacks the field '{field}'"):
        EnsemblePlan.from_json(changed)


def test_all_mistakes_are_named_at_once() -> None:
    changed = plan().to_json()
    changed["metric"], changed["tasks"][0]["rule"], changed["tasks"][1]["prior"] = "f1", "loud", [1.0]
    with pytest.raises(UserError) as caught:
        EnsemblePlan.from_json(changed)
    assert len(caught.value.faults) == 3


@given(st.permutations(range(12)), st.integers(0, 20))
def test_shuffling_images_with_their_ids_changes_nothing(order: list[int], seed: int) -> None:
    probs = predictions(plan(), seed)
    shuffled = {key: ([ids[i] for i in order], rows[order]) for key, (ids, rows) in probs.items()}
    straight, other = decide(plan(), probs, IDS), decide(plan(), shuffled, [IDS[i] for i in order])
    for task, labels in straight.items():
        assert labels[order].tolist() == other[task].tolist()
    assert (straight["label"] == straight["mask"] * 3 + straight["age"]).all()


def test_one_voter_decides_alone() -> None:
    tasks = [changed(e, voters=e.spec.voters[:1]) for e in plan().tasks]
    probs = predictions(plan(*tasks))
    ids, rows = probs["a1", "age", "identity"]
    assert decide(plan(*tasks), probs, ids)["age"].tolist() == rows.argmax(axis=1).tolist()


def test_voters_of_the_label_itself_answer_the_tasks_too() -> None:
    whole = plan(ensemble("label", "x1", "x2"))
    votes = vote_all(whole, predictions(whole), IDS)
    assert (votes["label"].labels == votes["mask"].labels * 3 + votes["age"].labels).all()
    assert votes["age"].shares.shape == (12, 3)
    assert EnsemblePlan.from_json(whole.to_json()) == whole
    with pytest.raises(UserError, match="age is answered by its own ensemble and by that of the label"):
        plan(ensemble("label", "x1"), ensemble("age", "a1"))


def test_a_broken_photo_votes_as_the_prior() -> None:
    prior = (0.2, 0.3, 0.5)
    whole = plan(ensemble("mask", "m1"), ensemble("age", "a1", "a2", prior=prior))
    probs = {key: (ids, np.array([prior] * 12) if key[0][0] == "a" else rows) for key, (ids, rows) in predictions(whole).items()}
    assert decide(whole, probs, IDS)["age"].tolist() == [2] * 12


def test_every_missing_voter_is_named() -> None:
    probs = predictions(plan())
    del probs["m1", "mask", "flip"], probs["a2", "age", "identity"]
    with pytest.raises(UserError) as caught:
        decide(plan(), probs, IDS)
    assert [f.split("voter ")[1] for f in caught.value.faults] == [
        f"{v} has no predictions" for v in ("m1 (flip)", "a2 (identity)")
    ]


def test_voters_with_other_classes_or_photos_are_refused() -> None:
    probs = predictions(plan())
    ids, rows = probs["m1", "mask", "flip"]
    with pytest.raises(UserError, match=r"m1 \(flip\): 1 of 12 photos"):
        decide(plan(), {**probs, ("m1", "mask", "flip"): (ids[1:], rows[1:])}, IDS)
    with pytest.raises(UserError, match=r"m1 \(flip\): rows have the shape"):
        decide(plan(), {**probs, ("m1", "mask", "flip"): (ids, rows[:, :1])}, IDS)
    wide = {("m1", "mask", view): (ids, np.zeros((12, 3))) for view in ("identity", "flip")}
    with pytest.raises(UserError, match="task mask has 2 classes"):
        decide(plan(), {**probs, **wide}, IDS)


def test_members_leave_where_they_vote_and_a_stacking_only_minds_its_own() -> None:
    stacking = Stacking(3, (0, 1, 2), ((0.0,) * 3,) * 12, (0.0,) * 3, 1.0)
    stacked = ensemble("age", "a1", "a2", stacking=stacking)
    assert without(stacked, {"m1"}) is stacked
    assert without(ensemble("age", "a1", "a2"), {"a1"}).members == ("a2",)
    with pytest.raises(UserError, match="its stacking asks all of its voters"):
        without(stacked, {"a1"})
    with pytest.raises(UserError, match="no other member can answer"):
        without(ensemble("mask", "m1"), {"m1"})
