"""Tasks together: each route against its formula, pools that keep what all say, and a choice that noise does not move."""

import json
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.labels import Composition, compose, compose_probs, decompose, decompose_probs
from competitions.metrics import METRICS
from ensemble.label.cascade import Subtask, answer_tasks
from ensemble.label.choose import DecoderAccount, choose_decoder
from ensemble.label.decode import LabelDecoder, decode_votes, default_decoder, label_decoders, needs_joint, voting_subtasks
from ensemble.label.decoders import LABEL_DECODERS, ROUTES, fit_joint, routes
from ensemble.plan.reader import read
from ensemble.scoring.gain import Judge
from ensemble.scoring.honest import Choose
from ensemble.votes import RULES, Floats, Ints, Vote
from system.errors import UserError

TABLE = Composition(("mask", "gender", "age"), (("wear", "incorrect", "none"), ("male", "female"), ("young", "middle", "old")))
CLASSES: dict[str, tuple[str, ...]] = {
    **dict(zip(TABLE.tasks, TABLE.classes, strict=True)),
    "label": TABLE.label_classes,
    "light": ("day", "night"),
}
N_PHOTOS = 40
WHOLE = [Subtask(task) for task in TABLE.tasks]
BY_MASK = [Subtask("age", (("mask", (name,)),)) for name in TABLE.classes[0]]
BY_TWO = [
    Subtask("age", (("mask", ("wear",)), ("gender", ("male",)))),
    Subtask("age", (("gender", ("female",)), ("mask", ("wear",)))),
    Subtask("age", (("mask", ("incorrect", "none")),)),
]
LABEL_BY_MASK = [Subtask("label", (("mask", ("wear", "none")),)), Subtask("label", (("mask", ("incorrect",)),))]
BY_LIGHT = [Subtask(task, (("light", (name,)),)) for task in ("mask", "age") for name in CLASSES["light"]]
ALONE = {  # subtasks of which each gives one answer only, as plans had them before, and their route
    "tasks": WHOLE,
    "tasks and another": [*WHOLE, Subtask("light")],
    "cascade": [*WHOLE[:2], *BY_MASK],
    "two routers": [*WHOLE[:2], *BY_TWO],
    "a router outside": [Subtask("light"), WHOLE[1], *BY_LIGHT],
    "label": [Subtask("label")],
    "label by a router outside": [Subtask("light"), *(Subtask("label", (("light", (name,)),)) for name in CLASSES["light"])],
}
EVERYTHING = [*WHOLE, *BY_TWO, Subtask("label"), *LABEL_BY_MASK, Subtask("light")]
PLACES = ALONE | {
    "everything": EVERYTHING,
    "label by a task": [Subtask("mask"), *LABEL_BY_MASK],
    "two tasks by light": [*WHOLE, Subtask("light"), *BY_LIGHT],
    "subsets beside the label": [*WHOLE[:2], *BY_MASK, Subtask("label")],
}
seeds = st.integers(0, 10**6)
every_rule = st.sampled_from(sorted(RULES))
whole_rows = st.sampled_from(["geometric", "hard"])  # rows of soft votes sum to 1 within float16
few = settings(max_examples=4)
every_setting = pytest.mark.parametrize("name", sorted(PLACES))


def votes_of(subtasks: list[Subtask], seed: int, rule: str = "soft") -> list[Vote]:
    """A vote of three voters of each subtask, another for each subtask but the same wherever it stands."""
    found = []
    for subtask in subtasks:
        rng = np.random.default_rng([seed, *map(ord, str(subtask))])
        found.append(RULES[rule].vote(rng.dirichlet(np.ones(len(CLASSES[subtask.task])), (3, N_PHOTOS)).astype(np.float16), None))
    return found


def joint_of(seed: int) -> tuple[float, ...]:
    return fit_joint(TABLE, np.random.default_rng(seed).integers(0, 10, 50))


def decoder_of(name: str, subtasks: list[Subtask], seed: int = 0) -> LabelDecoder:
    return LabelDecoder(name, joint_of(seed) if needs_joint(name, subtasks, TABLE) else None)


def answers_of(name: str, subtasks: list[Subtask], seed: int, rule: str = "soft") -> dict[str, Vote]:
    return decode_votes(decoder_of(name, subtasks), TABLE, subtasks, votes_of(subtasks, seed, rule), CLASSES)


def answers_without_decoder(subtasks: list[Subtask], votes: list[Vote]) -> dict[str, Vote]:
    """Each task's own vote, or that of the label, and what follows from it."""
    answers = answer_tasks(subtasks, votes, CLASSES)
    if "label" in answers:
        labels, shares = decompose(TABLE, answers["label"].labels), decompose_probs(TABLE, answers["label"].shares)
        return answers | {task: Vote(labels[task], shares[task]) for task in TABLE.tasks}
    label = compose(TABLE, {task: answers[task].labels for task in TABLE.tasks})
    return answers | {"label": Vote(label, compose_probs(TABLE, {task: answers[task].shares for task in TABLE.tasks}))}


def assert_equal(one: dict[str, Vote], other: dict[str, Vote]) -> None:
    assert set(one) == set(other)
    for task in one:
        np.testing.assert_array_equal(one[task].labels, other[task].labels)
        np.testing.assert_array_equal(one[task].shares, other[task].shares)


@pytest.mark.parametrize("name", sorted(ALONE))
@few
@given(seed=seeds, rule=every_rule)
def test_the_default_is_bit_equal_to_what_a_plan_answers(name: str, seed: int, rule: str) -> None:
    subtasks = ALONE[name]
    whole = answers_without_decoder(subtasks, votes_of(subtasks, seed, rule))
    assert_equal(answers_of(default_decoder(subtasks, TABLE), subtasks, seed, rule), whole)


@every_setting
@few
@given(seed=seeds, rule=every_rule)
def test_tasks_and_label_never_contradict_one_another_and_shares_decide(name: str, seed: int, rule: str) -> None:
    subtasks = PLACES[name]
    for name in label_decoders(subtasks, TABLE):
        answers = answers_of(name, subtasks, seed, rule)
        assert {*TABLE.tasks, "label"} <= set(answers)
        labels = compose(TABLE, {task: answers[task].labels for task in TABLE.tasks})
        np.testing.assert_array_equal(answers["label"].labels, labels)
        for vote in answers.values():
            np.testing.assert_allclose(vote.shares.sum(axis=1), 1, atol=5e-3)
        if name not in ("tasks", "cascade"):
            np.testing.assert_array_equal(answers["label"].shares.argmax(axis=1), labels)
            for task, shares in decompose_probs(TABLE, answers["label"].shares).items():
                np.testing.assert_array_equal(answers[task].shares, shares)


@every_setting
@few
@given(seed=seeds, order=st.permutations(range(12)))
def test_the_order_of_the_subtasks_changes_nothing(name: str, seed: int, order: list[int]) -> None:
    subtasks = PLACES[name]
    shuffled = [subtasks[k] for k in order if k < len(subtasks)]
    assert label_decoders(shuffled, TABLE) == label_decoders(subtasks, TABLE)
    for name in label_decoders(subtasks, TABLE):
        assert_equal(answers_of(name, subtasks, seed, "hard"), answers_of(name, shuffled, seed, "hard"))


@every_setting
def test_subtasks_that_have_no_say_can_be_left_out(name: str) -> None:
    subtasks = PLACES[name]
    for name in label_decoders(subtasks, TABLE):
        asked = list(voting_subtasks(name, subtasks, TABLE))
        if name in ROUTES:
            assert_equal(answers_of(name, subtasks, 1), answers_of(name, asked, 1))
    assert voting_subtasks("tasks", EVERYTHING, TABLE) == (*WHOLE, Subtask("light"))
    assert voting_subtasks("label", EVERYTHING, TABLE) == (Subtask("label"), Subtask("light"))
    assert Subtask("age") not in voting_subtasks("soft-cascade", EVERYTHING, TABLE)
    assert voting_subtasks("pool-soft", EVERYTHING, TABLE) == tuple(EVERYTHING)


def test_subtasks_allow_the_routes_they_can_walk() -> None:
    found = {name: routes(subtasks, TABLE) for name, subtasks in PLACES.items()}
    assert set(found["everything"]) == set(ROUTES)
    assert found["tasks"] == found["tasks and another"] == ("tasks", "experts")
    assert found["cascade"] == found["two routers"] == found["a router outside"] == ("cascade", "soft-cascade")
    assert found["label"] == ("label",)
    assert found["label by a task"] == ("label-cascade", "soft-label-cascade")
    assert found["subsets beside the label"] == ("cascade", "label", "soft-cascade")
    assert routes(WHOLE[:2], TABLE) == routes([*WHOLE[1:], *BY_MASK[:1]][1:], TABLE) == ()
    assert label_decoders([Subtask("label")], TABLE) == ("label",)
    assert "pool-hard" not in label_decoders(WHOLE, TABLE), "a vote of two always goes to the senior"
    assert list(LABEL_DECODERS)[: len(ROUTES)] == list(ROUTES)


@few
@given(seed=seeds, rule=whole_rows)
def test_the_soft_cascade_is_the_sum_over_masks(seed: int, rule: str) -> None:
    subtasks = [*WHOLE[:2], *BY_MASK]
    mask, gender, *ages = (vote.shares for vote in votes_of(subtasks, seed, rule))
    answers = answers_of("soft-cascade", subtasks, seed, rule)
    expected = sum(mask[:, [m]] * ages[m] for m in range(3))
    np.testing.assert_allclose(answers["age"].shares, expected, atol=1e-5)  # a tie is tipped by 1e-6
    for m, g, a in product(range(3), range(2), range(3)):
        np.testing.assert_allclose(
            answers["label"].shares[:, m * 6 + g * 3 + a], mask[:, m] * gender[:, g] * ages[m][:, a], atol=1e-5
        )


@few
@given(seed=seeds, rule=whole_rows)
def test_the_soft_cascade_sums_over_two_routers_routers_outside_and_labels(seed: int, rule: str) -> None:
    subtasks = [*WHOLE[:2], *BY_TWO]
    mask, gender, male, female, rest = (vote.shares for vote in votes_of(subtasks, seed, rule))
    wear = mask[:, :1] * (gender[:, :1] * male + gender[:, 1:] * female)
    np.testing.assert_allclose(
        answers_of("soft-cascade", subtasks, seed, rule)["age"].shares, wear + (mask[:, 1:2] + mask[:, 2:]) * rest, atol=1e-5
    )

    subtasks = [Subtask("light"), WHOLE[1], *BY_LIGHT]
    light, gender, *by = (vote.shares for vote in votes_of(subtasks, seed, rule))
    expected = sum(light[:, [k]] * compose_probs(TABLE, {"mask": by[k], "gender": gender, "age": by[2 + k]}) for k in range(2))
    np.testing.assert_allclose(answers_of("soft-cascade", subtasks, seed, rule)["label"].shares, expected, atol=1e-5)

    subtasks = [Subtask("mask"), *LABEL_BY_MASK]
    mask, worn, wrong = (vote.shares for vote in votes_of(subtasks, seed, rule))
    expected = (mask[:, :1] + mask[:, 2:]) * worn + mask[:, 1:2] * wrong
    np.testing.assert_allclose(answers_of("soft-label-cascade", subtasks, seed, rule)["label"].shares, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["cascade", "two routers", "a router outside", "everything"])
@few
@given(seed=seeds, rule=every_rule)
def test_routers_that_are_sure_make_the_soft_cascade_the_hard_one(name: str, seed: int, rule: str) -> None:
    subtasks = PLACES[name]
    routers = {router for subtask in subtasks for router, _ in subtask.where}
    votes = [
        Vote(vote.labels, np.eye(vote.shares.shape[1])[vote.labels]) if not subtask.where and subtask.task in routers else vote
        for subtask, vote in zip(subtasks, votes_of(subtasks, seed, rule), strict=True)
    ]
    for hard in {"cascade", "label-cascade"} & set(label_decoders(subtasks, TABLE)):
        one, other = (
            decode_votes(LabelDecoder(name), TABLE, subtasks, votes, CLASSES)["label"] for name in (hard, f"soft-{hard}")
        )
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.shares, other.shares, atol=1e-5)


@few
@given(seed=seeds, rule=whole_rows)
def test_experts_without_dependence_are_the_tasks_by_themselves(seed: int, rule: str) -> None:
    rng = np.random.default_rng(seed)
    apart = {task: rng.dirichlet(np.full(size, 5.0), 1) for task, size in zip(TABLE.tasks, TABLE.sizes, strict=True)}
    votes = votes_of(WHOLE, seed, rule)
    joint = tuple(compose_probs(TABLE, apart)[0].tolist())
    experts = decode_votes(LabelDecoder("experts", joint), TABLE, WHOLE, votes, CLASSES)
    tasks = decode_votes(LabelDecoder("tasks"), TABLE, WHOLE, votes, CLASSES)
    np.testing.assert_allclose(experts["label"].shares, tasks["label"].shares, atol=1e-5)
    np.testing.assert_array_equal(experts["label"].labels, tasks["label"].labels)


@few
@given(seeds)
def test_experts_are_bayes_where_evidence_is_independent_given_the_label(seed: int) -> None:
    rng = np.random.default_rng(seed)
    joint = np.array(joint_of(seed))
    prior = {task: shares[0] for task, shares in decompose_probs(TABLE, joint[None]).items()}
    evidence = {task: rng.random((N_PHOTOS, size)) for task, size in zip(TABLE.tasks, TABLE.sizes, strict=True)}
    votes = []
    for task in TABLE.tasks:
        shares = evidence[task] * prior[task]
        shares /= shares.sum(axis=1, keepdims=True)
        votes.append(Vote(shares.argmax(axis=1), shares))
    expected = compose_probs(TABLE, evidence) * joint
    answers = decode_votes(LabelDecoder("experts", tuple(joint.tolist())), TABLE, WHOLE, votes, CLASSES)
    np.testing.assert_allclose(answers["label"].shares, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)


@few
@given(seeds)
def test_the_label_route_sums_the_label_up(seed: int) -> None:
    (vote,) = votes_of([Subtask("label")], seed)
    answers = answers_of("label", [*WHOLE, Subtask("label")], seed)
    np.testing.assert_array_equal(answers["label"].shares, vote.shares)
    cube = vote.shares.reshape(N_PHOTOS, 3, 2, 3)
    np.testing.assert_allclose(answers["gender"].shares, cube.sum(axis=(1, 3)))
    assert answers["age"].labels.tolist() == (vote.labels % 3).tolist()


@pytest.mark.parametrize("name", sorted(set(LABEL_DECODERS) - set(ROUTES)))
@few
@given(seed=seeds, n_routes=st.integers(3, 7))
def test_equal_routes_pool_to_that_route(name: str, seed: int, n_routes: int) -> None:
    (vote,) = votes_of([Subtask("label")], seed, "geometric")
    pooled = LABEL_DECODERS[name].decide([vote] * n_routes)
    np.testing.assert_array_equal(pooled.labels, vote.labels)
    if name != "pool-hard":
        np.testing.assert_allclose(pooled.shares, vote.shares, atol=1e-5)


@few
@given(seeds)
def test_a_hard_pool_is_a_majority_and_a_tie_goes_to_the_most_senior_route(seed: int) -> None:
    named = np.random.default_rng(seed).integers(0, 3, (4, N_PHOTOS))
    pooled = LABEL_DECODERS["pool-hard"].decide([Vote(labels, np.eye(3)[labels]) for labels in named])
    for photo, label in enumerate(pooled.labels):
        counts = np.bincount(named[:, photo], minlength=3)
        assert label == next(one for one in named[:, photo] if counts[one] == counts.max())


@few
@given(seeds, st.integers(0, 60))
def test_the_joint_prior_is_the_shares_and_unseen_combinations_are_as_rare_as_their_parts(seed: int, n_photos: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([rng.integers(-1, 18, n_photos), [-1]])
    joint = fit_joint(TABLE, labels)
    assert sum(joint) == sum(reversed(joint)) == 1
    assert min(joint) > 0
    assert joint == fit_joint(TABLE, rng.permutation(labels)) == tuple(json.loads(json.dumps(joint)))
    many = fit_joint(TABLE, np.tile(labels, 10_000))
    known = labels[labels >= 0]
    if len(known):
        np.testing.assert_allclose(many, np.bincount(known, minlength=18) / len(known), atol=1e-3)


def test_an_unseen_combination_is_likelier_where_its_parts_are() -> None:
    table = Composition(("a", "b"), (("x", "y"), ("x", "y", "z")))
    joint = fit_joint(table, np.array([0, 1] * 50 + [3] * 10))
    assert joint[4] > joint[5], "of class y, b=y is seen elsewhere and b=z nowhere"
    assert fit_joint(table, np.array([-1])) == pytest.approx([1 / 6] * 6)


@pytest.mark.parametrize("name", sorted(LABEL_DECODERS))
def test_a_label_decoder_goes_to_json_and_back_bit_equal(name: str) -> None:
    together = decoder_of(name, EVERYTHING, 3)
    assert read(LabelDecoder, json.loads(json.dumps(together.to_json())), "together") == together
    assert together.faults(EVERYTHING, TABLE, CLASSES) == []
    assert LABEL_DECODERS[name].text


@pytest.mark.parametrize(
    ("together", "subtasks", "message"),
    [
        (LabelDecoder("pool-sfot"), WHOLE, "did you mean pool-soft"),
        (LabelDecoder("soft-cascade"), WHOLE, r"do not allow it \(tasks, experts\)"),
        (LabelDecoder("pool-hard"), WHOLE, "do not allow it"),
        (LabelDecoder("tasks"), WHOLE[1:], r"do not allow it \(none\)"),
        (LabelDecoder("experts"), WHOLE, "needs a joint prior, 18 shares"),
        (LabelDecoder("pool-soft"), WHOLE, "needs a joint prior, 18 shares"),
        (LabelDecoder("experts", (1.0, *(0.0,) * 17)), WHOLE, "above 0"),
        (LabelDecoder("experts", (1 / 18,) * 17), WHOLE, "needs a joint prior"),
        (LabelDecoder("tasks", (1 / 18,) * 18), WHOLE, "leave it out"),
        (LabelDecoder("tasks"), [*WHOLE, WHOLE[0]], "mask stands twice"),
        (LabelDecoder("tasks"), [*WHOLE, Subtask("light"), Subtask("light", (("mask", ("wear",)),))], "task light stands twice"),
        (LabelDecoder("cascade"), [*WHOLE, *BY_MASK[:2]], "needs one ensemble for mask=none, got none"),
        (LabelDecoder("cascade"), [*WHOLE, *BY_MASK, *BY_TWO], "needs one ensemble for"),
    ],
)
def test_a_way_that_cannot_answer_says_why(together: LabelDecoder, subtasks: list[Subtask], message: str) -> None:
    with pytest.raises(UserError, match=message):
        decode_votes(together, TABLE, subtasks, votes_of(subtasks, 0), CLASSES)


@pytest.mark.parametrize(
    "value",
    [None, {"way": "tasks"}, {"way": 3, "joint": None}, {"way": "tasks", "joint": ["1"]}, {"way": "a", "joint": None, "b": 1}],
)
def test_a_value_that_is_no_way_is_refused(value: object) -> None:
    with pytest.raises(UserError, match="together"):
        read(LabelDecoder, value, "together")


SMALL = Composition(("mask", "age"), (("wear", "none"), ("young", "middle", "old")))
SMALL_CLASSES = dict(zip(SMALL.tasks, SMALL.classes, strict=True)) | {"label": SMALL.label_classes}
SMALL_PLACES = [
    Subtask("mask"),
    Subtask("age"),
    *(Subtask("age", (("mask", (name,)),)) for name in SMALL.classes[0]),
    Subtask("label"),
]
DIAGONAL = np.array([0.45, 0.04, 0.01, 0.01, 0.04, 0.45])


@dataclass(frozen=True)
class World:
    """People of three photos each, and models that see each task with noise of their own.

    Attributes:
        joint: Shares of the six composed classes.
        signal: How much of a class the models see; 0: pure noise.
        n_groups: People.
    """

    joint: Floats
    signal: float
    n_groups: int = 60

    def draw(self, seed: int, subtasks: list[Subtask]) -> tuple[dict[Subtask, Choose], Ints, np.ndarray]:
        """Fixed decisions per place, composed labels, groups; each model calibrated for its own task's shares."""
        rng = np.random.default_rng([seed, 7])
        labels = np.repeat(rng.choice(6, self.n_groups, p=self.joint), 3)
        truth = decompose(SMALL, labels) | {"label": labels}
        prior = {task: shares[0] for task, shares in decompose_probs(SMALL, self.joint[None]).items()} | {"label": self.joint}
        choices = {}
        for subtask in subtasks:
            size = len(prior[subtask.task])
            seen = self.signal * np.eye(size)[truth[subtask.task]] + rng.normal(size=(len(labels), size))
            shares = prior[subtask.task] * np.exp(max(self.signal, 1.0) * seen)
            shares /= shares.sum(axis=1, keepdims=True)
            choices[subtask] = fixed(shares)
        return choices, labels, np.repeat([f"g{number}" for number in range(self.n_groups)], 3)


def fixed(shares: Floats) -> Choose:
    """No choice: these shares, whatever chose."""
    whole = Vote(shares.argmax(axis=1), shares)
    return lambda rows: lambda others: Vote(whole.labels[others], whole.shares[others])


def chosen(
    world: World, seed: int, subtasks: list[Subtask], metric: str = "macro_f1", n_resamples: int = 20
) -> tuple[LabelDecoder, tuple[DecoderAccount, ...]]:
    choices, labels, groups = world.draw(seed, subtasks)
    return choose_decoder(choices, SMALL, SMALL_CLASSES, labels, groups, metric=metric, seed=seed, n_resamples=n_resamples)


def test_dependent_tasks_are_better_answered_as_experts_and_that_way_is_chosen() -> None:
    world = World(DIAGONAL, 1.2, 150)
    found = [chosen(world, seed, SMALL_PLACES[:2], "accuracy") for seed in range(10)]
    assert sum(together.way in ("experts", "pool-soft", "pool-geometric") for together, _ in found) >= 9
    assert sum(together.way == "experts" for together, _ in found) >= 8
    gains = [account.gain for _, accounts in found for account in accounts if account.way == "experts"]
    assert np.mean(gains) > 0.05
    together, accounts = found[0]
    assert together.joint == pytest.approx(DIAGONAL, abs=0.06)
    assert [account.way for account in accounts] == list(label_decoders(SMALL_PLACES[:2], SMALL))
    assert json.loads(json.dumps([account.to_json() for account in accounts]))[0]["gain"] == 0
    assert sum(account.kept for account in accounts) == 1


NULLS = {"three routes": SMALL_PLACES[:2] + SMALL_PLACES[4:], "every route": SMALL_PLACES}


@cache
def false_choices(name: str, metric: str, n_cases: int) -> float:
    """How often a decoder other than the default is taken where all know nothing, and no task says anything about another."""
    world = World(np.full(6, 1 / 6), 0.0)
    moved = [chosen(world, seed, NULLS[name], metric)[0].way != "tasks" for seed in range(n_cases)]
    return float(np.mean(moved))


def test_on_noise_the_default_stays() -> None:
    assert false_choices("every route", "macro_f1", 30) <= 0.14, "nominally 5 %; the long test counts 1,000 cases"


@pytest.mark.long
@pytest.mark.parametrize("metric", ["macro_f1", "accuracy"])  # in log loss a mean of noise truly is better than one noise
@pytest.mark.parametrize("name", sorted(NULLS))
def test_of_1000_cases_of_noise_at_most_75_leave_the_default(name: str, metric: str) -> None:
    assert false_choices(name, metric, 1000) <= 0.075


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_every_subtask_is_chosen_once_per_resample_on_drawn_groups_and_asked_about_those_left_out(metric: str) -> None:
    choices, labels, groups = World(DIAGONAL, 1.0, 20).draw(0, SMALL_PLACES)
    asked: dict[Subtask, int] = dict.fromkeys(choices, 0)

    def watched(subtask: Subtask) -> Choose:
        def choose(rows: Ints):  # type: ignore[no-untyped-def]
            asked[subtask] += 1

            def decide(others: Ints) -> Vote:
                assert not set(groups[rows]) & set(groups[others])
                return choices[subtask](rows)(others)

            return decide

        return choose

    options = {"metric": metric, "seed": 1, "n_resamples": 12}
    spied = choose_decoder({p: watched(p) for p in choices}, SMALL, SMALL_CLASSES, labels, groups, **options)  # type: ignore[arg-type]
    assert set(asked.values()) == {12}
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = {subtask: fixed(choice(np.arange(1))(order).shares) for subtask, choice in choices.items()}
    again = choose_decoder(shuffled, SMALL, SMALL_CLASSES, labels[order], groups[order], **options)  # type: ignore[arg-type]
    assert again[0] == spied[0], "the order of photos changes nothing"
    for one, other in zip(spied[1], again[1], strict=True):
        assert (one.way, one.kept) == (other.way, other.kept)
        np.testing.assert_allclose([one.score, one.gain, one.low], [other.score, other.gain, other.low], atol=1e-4)


def test_one_way_needs_no_choice_and_no_way_is_refused() -> None:
    choices, labels, groups = World(DIAGONAL, 1.0).draw(0, SMALL_PLACES)
    options = {"metric": "macro_f1", "seed": 0}
    alone = {Subtask("label"): choices[Subtask("label")]}
    assert choose_decoder(alone, SMALL, SMALL_CLASSES, labels, groups, **options) == (LabelDecoder("label"), ())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="do not answer the label by any route: mask"):
        choose_decoder({Subtask("mask"): choices[Subtask("mask")]}, SMALL, SMALL_CLASSES, labels, groups, **options)  # type: ignore[arg-type]


def test_comparing_more_ways_asks_for_more() -> None:
    choices, labels, groups = World(DIAGONAL, 1.2).draw(1, SMALL_PLACES)
    judge = Judge(labels, groups, metric="macro_f1", seed=0, n_resamples=20)
    before = judge.group_results(choices[Subtask("label")])
    truth = fixed(np.eye(6)[labels])
    several = judge.results_of_several(lambda rows: lambda others: [choices[Subtask("label")](rows)(others), truth(rows)(others)])
    after = judge.group_results(truth)
    for found, alone in zip(several, (before, after), strict=True):
        np.testing.assert_array_equal(found.keys, alone.keys)
        np.testing.assert_array_equal(found.values, alone.values)
    one, many = (judge.compare("truth", before, after, n_compared=n) for n in (1, 10**9))
    assert (one.low, one.gain, one.high) == (many.low, many.gain, many.high)
    assert one.kept
    assert not many.kept


def test_every_label_decoder_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "choice.md").read_text(encoding="utf-8")
    for name in LABEL_DECODERS:
        assert f"`{name}`" in page
