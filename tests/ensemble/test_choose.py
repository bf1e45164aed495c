"""A choice from arrays alone: no file, no path, no network."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from competitions.labels import Composition, compose
from competitions.manifest import MEAN_OF_TASKS
from competitions.metrics import METRICS, metric_of
from competitions.own_metrics import remember
from ensemble.choose import Choice, choose
from ensemble.label.cascade import Subtask
from ensemble.options import Options
from ensemble.plan.plan import EnsemblePlan, SubmissionForm, decide
from ensemble.pool import AllData, AskedPhotos, CompetitionFacts, LabelledPhotos, Member, Pool, Pools
from ensemble.selection.candidates import Candidates
from ensemble.selection.pareto import Cost
from system.errors import UserError

TABLE = Composition(("mask", "age"), (("yes", "no"), ("young", "middle", "old")))
N_PHOTOS, VIEWS = 60, ("identity", "hflip")
IDS = tuple(f"p{n:02}" for n in range(N_PHOTOS))
GROUPS = np.array([f"g{n // 3:02}" for n in range(N_PHOTOS)])


def pools_of(seed: int = 0, metric: str = "macro_f1") -> Pools:
    """Three members per task that are right more often than not, on photos of twenty people; no test photos."""
    rng = np.random.default_rng(seed)
    labels = {task: rng.integers(0, size, N_PHOTOS) for task, size in zip(TABLE.tasks, TABLE.sizes, strict=True)}
    pools = {}
    for task, size in zip(TABLE.tasks, TABLE.sizes, strict=True):
        logits = 1.5 * np.eye(size)[labels[task]] + rng.normal(0, 1, (3, len(VIEWS), N_PHOTOS, size))
        probs = (np.exp(logits) / np.exp(logits).sum(axis=3, keepdims=True)).astype(np.float16)
        names = tuple(f"{task}{n}" for n in range(3))
        candidates = Candidates(names, VIEWS, probs, labels[task], GROUPS, metric, width=3)
        members = tuple(Member(name, (name,), task) for name in names)
        pools[Subtask(task)] = Pool(Subtask(task), candidates, members, (0.0,) * 3, IDS, 3, prior=(1 / size,) * size)
    whole = labels | {"label": compose(TABLE, labels)}
    classes = dict(zip(TABLE.tasks, TABLE.classes, strict=True)) | {"label": TABLE.label_classes}
    form = SubmissionForm("photo", (("answer", "label"),), "index")
    return Pools(
        facts=CompetitionFacts("drawn", metric, classes, TABLE, form),
        pools=pools,
        labelled=LabelledPhotos(IDS, whole, np.ones(N_PHOTOS, dtype=bool)),
        test=AskedPhotos(),
        joint=(1 / 6,) * 6,
    )


@pytest.fixture(scope="module")
def choice() -> Choice:
    return choose(pools_of(), Options(top=2))


def test_arrays_with_ids_become_a_plan_that_answers_from_such_arrays(choice: Choice) -> None:
    assert set(choice.scores) == {"mask", "age", "label"}
    assert "there are no test photos" in str(choice.forecast["shift"])
    assert EnsemblePlan.from_json(choice.plan.to_json()) == choice.plan
    probs = {
        (name, head, view): (IDS, np.eye(len(choice.plan.classes(head)))[[0] * N_PHOTOS]) for name, head, view in choice.plan.keys
    }
    assert decide(choice.plan, probs, IDS)["label"].tolist() == [0] * N_PHOTOS


def test_the_same_arrays_give_the_same_plan_and_scores_in_any_number_of_processes(choice: Choice) -> None:
    again = choose(pools_of(), Options(top=2), processes=2)
    assert again.plan == choice.plan
    assert again.scores == choice.scores


@pytest.mark.parametrize("metric", ["qwk", "brier", "probabilistic_f1", "roc_auc", "own.py:mean_share"])
def test_a_metric_of_any_form_is_chosen_by_refined_and_judged(metric: str) -> None:
    if metric not in METRICS:
        source = "def mean_share(probs, labels):\n    return probs[range(len(labels)), labels].mean()\n"
        metric += f"@{hashlib.blake2b(source.encode(), digest_size=6).hexdigest()}"
        remember(metric, source)
    drawn = pools_of(1, metric)
    facts = replace(drawn.facts, task_weights={"mask": 0.75, "age": 0.25})
    made = choose(replace(drawn, facts=facts), Options(top=2))
    assert set(made.scores) == {"mask", "age", MEAN_OF_TASKS}
    found = {task: one["honest"] for task, one in made.scores.items()}
    for task in ("mask", "age"):
        assert found[task]["low"] < found[task]["mean"] < found[task]["high"]
        assert found[task]["n_resamples"] <= metric_of(metric).resamples(200)
        assert made.scores[task]["best_single"]["score"] > METRICS.get(metric, METRICS["accuracy"]).worst
    for end in ("low", "mean", "high"):
        assert found[MEAN_OF_TASKS][end] == pytest.approx(0.75 * found["mask"][end] + 0.25 * found["age"][end])
    assert json.loads(json.dumps(made.journal, allow_nan=False))
    assert (metric_of(metric).of_times is not None) == bool(made.forecast.get("limits"))


def test_a_budget_is_kept_with_the_costs_that_were_gathered() -> None:
    costs = {f"{task}{n}": Cost(1.0, 2.0) for task in TABLE.tasks for n in range(3)}
    held = choose(replace(pools_of(), costs=costs), Options(plain=True, max_megabytes=4.0))
    assert held.budget is not None
    assert held.budget["chosen"]["megabytes"] == 4.0
    assert [len(ensemble.members) for ensemble in held.plan.tasks] == [1, 1]


def test_members_hand_their_votes_on_and_who_has_nobody_to_hand_them_to_is_named() -> None:
    priors = {subtask: pool.prior for subtask, pool in pools_of().pools.items()}
    everyone = {f"{task}{n}": f"whole-{task}{n}" for task in TABLE.tasks for n in range(3)}
    handed = choose(replace(pools_of(), all_data=AllData(everyone, priors)), Options(plain=True, top=1))
    assert {member[:6] for ensemble in handed.plan.tasks for member in ensemble.members} == {"whole-"}
    with pytest.raises(UserError, match=r"run_search\.py drawn --all-data --base") as caught:
        choose(replace(pools_of(), all_data=AllData({}, priors)), Options(plain=True, top=1))
    assert len(caught.value.faults) == 2


def with_views_that_mislead(task: str) -> Pools:
    """Through two of its three views every member of a task names another class than the right one, and is sure of it."""
    pools = pools_of()
    pool = pools.pools[Subtask(task)]
    probs = np.concatenate([pool.candidates.probs, pool.candidates.probs[:, :1]], axis=1)
    probs[:, 1:] = np.roll(np.eye(probs.shape[3])[pool.candidates.labels], 1, axis=1)
    misled = replace(pool, candidates=replace(pool.candidates, views=(*VIEWS, "zoom_in"), probs=probs, _kept={}))
    return replace(pools, pools={**pools.pools, Subtask(task): misled})


def test_a_vote_that_is_worse_than_the_best_trial_gives_way_to_it_unless_it_is_asked_for() -> None:
    pools = with_views_that_mislead("age")
    forced = choose(pools, Options(vote="hard", plain=True))
    assert "worse than the best single trial" in forced.scores["age"]["verdict"]
    followed = choose(pools, Options(plain=True))
    by_force, spec = ({e.task: e.spec for e in made.plan.tasks} for made in (forced, followed))
    assert (len(spec["age"].voters), spec["age"].voters[0][1]) == (1, "identity")
    assert len(by_force["age"].voters) > 1
    assert spec["mask"] == by_force["mask"], "the other task keeps its vote"
    age = followed.scores["age"]
    assert age["vote"] == age["best_single"]["score"] > forced.scores["age"]["vote"]
    assert age["set_aside"] == forced.scores["age"]["against_best_single"]
    assert age["set_aside"]["high"] < 0
    assert "the best single trial is exported: the vote is worse by -" in age["verdict"]
    assert "set_aside" not in followed.scores["mask"]
    assert "best single trials" not in followed.scores["mask"]["verdict"] + followed.scores["label"]["verdict"]
    assert followed.scores["age"]["hard"] == forced.scores["age"]["hard"], "what the vote would have scored is still shown"


@pytest.mark.parametrize("more", [{"vote": "soft"}, {"top": 2}])
def test_whoever_asks_for_a_vote_or_a_number_of_members_gets_it(more: dict[str, Any]) -> None:
    asked = choose(with_views_that_mislead("age"), Options(plain=True, **more))
    assert all(len(ensemble.voters) > 1 for ensemble in asked.plan.tasks if ensemble.task == "age")
    assert not any("set_aside" in facts for facts in asked.scores.values())
