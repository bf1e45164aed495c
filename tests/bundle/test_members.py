"""Members of every kind through a whole export: files from outside, one trial per fold, what a budget leaves, what is decided together."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import export_ensemble
from bundle.answer import cached_test_probs
from bundle.export import export
from bundle.imported import importing
from bundle.members import find_members
from bundle.opened import Opened
from bundle.pool import load_pool
from bundle.predict import Answers, open_bundle
from competitions.answered import usual_targets
from competitions.competition import Competition
from competitions.prepare import Prepared
from competitions.targets import choose_targets
from ensemble.choose import Choice
from ensemble.fit_subtask import known_shares
from ensemble.label.cascade import Subtask
from ensemble.make_plan import named
from ensemble.options import Options
from ensemble.plan.plan import EnsemblePlan, decide
from ensemble.plan.spec import Correction, Spec
from ensemble.plan.task_ensemble import photos_name, vote_task
from ensemble.postprocess.calibration import Calibration
from ledger.imports import Source
from submissions.external.importing import import_files
from system.errors import UserError
from system.paths import CompetitionPaths
from tests.bundle.test_bundle import answers_of, choose, train, train_on_other_folds, trained

TASKS = ("colour", "shape")


@pytest.fixture(scope="module")
def here(tiny_data: Path, tiny_competition: Competition, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(prepared with two trials per task on fold 0, one of each on all four folds, `PODIUM_DATA`)."""
    with trained(tiny_data, tiny_competition, tmp_path_factory.mktemp("runs"), 2, TASKS) as prepared:
        train_on_other_folds(prepared, TASKS)
        yield prepared, tiny_data


@pytest.fixture(scope="module")
def on_all_folds(here: Any) -> Choice:
    return choose(here[0], Options(fold="all"))


def test_a_task_without_a_trial_of_its_own_is_answered_by_several_heads_where_nobody_names_targets(
    tiny_data: Path, tiny_competition: Competition, tmp_path: Path, here: Any
) -> None:
    def usual(prepared: Prepared) -> list[str]:
        return [one.name for one in usual_targets(prepared, fold=0, study=None, stopped=False)]

    assert usual(here[0]) == [*TASKS]
    with trained(tiny_data, tiny_competition, tmp_path, 1, ("both",)) as prepared:
        assert usual(prepared) == ["both"]
        assert {one.task for one in choose(prepared, Options()).plan.tasks} == {*TASKS}
        train(prepared, 1, ("shape",))
        assert usual(prepared) == ["shape", "both"]


def from_bundle(data: Path, prepared: Prepared, choice: Choice, to: Path) -> Answers:
    """What the exported bundle says of the test photos."""
    export(Opened(prepared), choice, to)
    names = [f"{name}.png" for name in choice.image_ids]
    return open_bundle(to / "bundle").predict(data / "tiny", choice.image_ids, names)


def copied(prepared: Prepared, to: Path) -> Prepared:
    """The same photos and trials in a storage of their own."""
    shutil.copytree(prepared.paths.root, to / "runs" / "tiny")
    return replace(prepared, paths=CompetitionPaths(to / "runs" / "tiny"))


def copy_out(prepared: Prepared, trial: str, task: str, file: Path) -> None:
    """A trial's cached probabilities as somebody's file, rows in another order."""
    kept = Opened(prepared).trial(trial).predictions
    rows = [row for part in ("validation", "test") for row in zip(*kept.read(part, task, "identity"), strict=True)]
    order = np.random.default_rng(0).permutation(len(rows))
    np.savez(file, image_ids=np.array([rows[n][0] for n in order]), probs=np.stack([rows[n][1] for n in order]))


def test_an_imported_copy_of_a_trial_votes_like_it_and_the_bundle_needs_no_more(here: Any, tmp_path: Path) -> None:
    first, data = here
    prepared = copied(first, tmp_path)
    (target,) = choose_targets(prepared.competition, ["colour"])
    native = find_members(Opened(prepared), [target], folds=(0,), study=None)["colour"][0]
    choose(prepared, Options(plain=True))  # computes the test predictions
    copy_out(prepared, native.name, "colour", tmp_path / "mine.npz")
    import_files(prepared, [tmp_path / "mine.npz"], Source("mine", ()), name="mine", head="colour")
    outside = importing(Opened(prepared), Subtask("colour"), [target], (0,), None)
    views = prepared.competition.views
    pool = load_pool(
        Opened(prepared), Subtask("colour"), [target], [native, *outside], folds=(0,), views=views, n_whole=1, device="cpu"
    )
    at = [pool.candidates.members.index(member.name) for member in (native, outside[0])]
    np.testing.assert_array_equal(pool.candidates.probs[at[0], 0], pool.candidates.probs[at[1], 0])
    choice = choose(prepared, Options(top=3, plain=True))
    assert choice.plan.imports == {outside[0].name: "mine"}
    for rule in ("hard", "soft"):
        both = [
            named(pool, Spec(((one, 0),), rule), classes=("red", "green", "blue"), prior=(0.4, 0.3, 0.3), score=0.0) for one in at
        ]
        plans = [replace(choice.plan, tasks=(one, choice.plan.tasks[1]), imports=imports(one, outside[0].name)) for one in both]
        answers = [decide(plan, cached_test_probs(Opened(prepared), plan), choice.image_ids)["colour"] for plan in plans]
        np.testing.assert_array_equal(answers[0], answers[1])
    answers = from_bundle(data, prepared, choice, tmp_path / "to")
    for task, labels in answers_of(prepared, choice).items():
        np.testing.assert_array_equal(answers.labels[task], labels)
    other = open_bundle(tmp_path / "to" / "bundle").predict(data / "tiny", ["t00", "g00-0"], ["t00.png", "g00-0.png"])
    assert (answers.without_imports, other.without_imports) == (0, 1)
    assert other.labels["colour"][0] == answers_of(prepared, choice)["colour"][choice.image_ids.index("t00")]
    with pytest.raises(UserError, match="unknown import 'theirs'"):
        choose(prepared, Options(imports=("theirs",)))
    assert not choose(prepared, Options(imports=(), plain=True)).plan.imports


def test_tasks_of_an_import_may_answer_other_photos_broken_ones_among_them(here: Any, tmp_path: Path) -> None:
    first, data = here
    prepared = copied(first, tmp_path)
    manifest = prepared.manifest
    test = [manifest.image_ids[row] for row in manifest.rows("test")]
    fold = [manifest.image_ids[row] for row in manifest.rows("train") if prepared.folds.fold[row] == 0]
    own = {"colour": (fold[:8], [name for name in test if name not in prepared.broken]), "shape": (fold[8:], test)}
    for task, (taught, options) in own.items():
        rows = "".join(f"{name},0\n" for name in (*taught, *options))
        (tmp_path / f"{task}.csv").write_text(f"image,{task}\n{rows}")
    import_files(prepared, [tmp_path / f"{task}.csv" for task in own], Source("two", ()), name="two")
    choice = choose(prepared, Options(imports=("two",), top=3, plain=True))
    assert set(choice.plan.imports.values()) == {"two"}
    assert "share no labelled photo" in str(choice.forecast["shift"])
    answers = from_bundle(data, prepared, choice, tmp_path / "to")
    for task, labels in answers_of(prepared, choice).items():
        np.testing.assert_array_equal(answers.labels[task], labels)


def test_shares_told_of_all_test_photos_are_not_taken_for_those_of_a_subset() -> None:
    told: Any = SimpleNamespace(facts=SimpleNamespace(test_shares={"shape": (0.9, 0.1)}), test=None)
    pools: Any = (SimpleNamespace(subtask=Subtask("shape", where)) for where in ((), (("colour", ("red",)),)))
    whole, part = (known_shares(told, pool, shift=None, method="em").new for pool in pools)
    assert whole == (0.9, 0.1)
    assert part is None


def test_old_submissions_without_out_of_fold_answers_vote_unjudged_where_asked(here: Any, tmp_path: Path) -> None:
    first, data = here
    prepared = copied(first, tmp_path)
    ids = [prepared.manifest.image_ids[row] for row in prepared.manifest.rows("test")]
    for number, ending in enumerate(("\n", "\r\n")):  # class 5 of 6 is blue/square
        rows = ["image,label", *(f"{image_id},5" for image_id in sorted(ids, reverse=bool(number)))]
        (tmp_path / f"old{number}.csv").write_bytes((ending.join(rows) + ending).encode())
    import_files(prepared, [tmp_path / "old0.csv"], Source("old0", ()), name="old0")
    (tmp_path / "other.csv").write_text("image,label\n" + "".join(f"{i},{5 - (n == 0)}\n" for n, i in enumerate(ids)))
    import_files(prepared, [tmp_path / "other.csv"], Source("other", ()), name="other")
    plain = choose(prepared, Options(top=1, plain=True))
    assert not plain.plan.imports, "unasked they do not vote"
    choice = choose(prepared, Options(top=1, plain=True, unjudged=("old0", "other")))
    assert set(choice.plan.imports.values()) == {"old0", "other"}
    assert choice.scores == plain.scores, "no score knows them"
    assert set(answers_of(prepared, choice)["colour"][1:]) == {2}, (
        "two of three have the majority, however many views the trial has"
    )
    answers = from_bundle(data, prepared, choice, tmp_path / "to")
    for task, labels in answers_of(prepared, choice).items():
        np.testing.assert_array_equal(answers.labels[task], labels)
    with pytest.raises(UserError, match="unknown import 'odl0'"):
        choose(prepared, Options(unjudged=("odl0",)))
    again = import_files(prepared, [tmp_path / "old1.csv"], Source("again", ()), name="again")
    assert not again[0].new, "the same answers in another order and with other line ends are the same import"


def imports(ensemble: Any, name: str) -> dict[str, str]:
    return {name: "mine"} if name in ensemble.members else {}


def test_with_all_folds_every_photo_is_judged_by_the_trial_that_did_not_learn_it(
    here: Any, on_all_folds: Choice, tmp_path: Path
) -> None:
    prepared, data = here
    targets = choose_targets(prepared.competition, ["colour"])
    (member,) = find_members(Opened(prepared), targets, folds=(0, 1, 2, 3), study=None)["colour"]
    assert len(set(member.trials)) == 4
    pool = load_pool(
        Opened(prepared), Subtask("colour"), targets, [member], folds=(0, 1, 2, 3), views=("identity",), n_whole=1, device="cpu"
    )
    assert len(pool.image_ids) == 79
    for fold, trial in enumerate(member.trials):
        ids, probs = Opened(prepared).trial(trial).predictions.read("validation", "colour", "identity")
        seats = [pool.image_ids.index(image_id) for image_id in ids]
        np.testing.assert_array_equal(pool.candidates.probs[0, 0, seats], probs)
        assert pool.candidates.models is not None
        assert set(pool.candidates.models[seats]) == {fold}
    assert [len(e.models) for e in on_all_folds.plan.tasks] == [1, 1]
    answers = from_bundle(data, prepared, on_all_folds, tmp_path)
    for task, labels in answers_of(prepared, on_all_folds).items():
        np.testing.assert_array_equal(answers.labels[task], labels)
    with pytest.raises(UserError, match="--all-data goes with one fold"):
        choose(prepared, Options(fold="all", all_data=True))


def test_a_plan_with_everything_goes_through_json_and_answers_from_the_bundle_as_from_the_cache(
    here: Any, on_all_folds: Choice, tmp_path: Path
) -> None:
    prepared, data = here
    rng = np.random.default_rng(0)
    tasks = []
    for ensemble in on_all_folds.plan.tasks:
        n, shares = len(ensemble.classes), tuple(np.full(len(ensemble.classes), 1 / len(ensemble.classes)).tolist())
        fitted = {
            member: tuple(
                Calibration(tuple(rng.uniform(0.5, 2, n).tolist()), tuple(rng.normal(0, 0.5, n).tolist()))
                for _ in ensemble.trials_of(member)
            )
            for member in ensemble.members
        }
        tasks.append(
            replace(
                ensemble,
                spec=replace(
                    ensemble.spec,
                    calibration=fitted,
                    correction=Correction(tuple(ensemble.prior), shares, "known"),
                    offsets=tuple(rng.normal(0, 0.3, n).tolist()),
                    weights=tuple(tuple(rng.uniform(0.5, 2, n).tolist()) for _ in ensemble.voters),
                    quota=shares,
                ),
                quota_of=photos_name(on_all_folds.image_ids),
                accounts=({"step": "quota", "gain": 0.1},),
            )
        )
    tasks[0] = replace(tasks[0], spec=replace(tasks[0].spec, same_group="logs", quota=None), quota_of=None)
    plan = replace(on_all_folds.plan, tasks=tuple(tasks))
    again = EnsemblePlan.from_json(plan.to_json())
    assert again == plan
    assert again.plan_id == plan.plan_id
    ids = on_all_folds.image_ids
    groups = [str(number // 4) for number in range(len(ids))]
    cached = cached_test_probs(Opened(prepared), plan)
    said = decide(plan, cached, ids, groups)
    export(Opened(prepared), replace(on_all_folds, plan=plan), tmp_path)
    names = [f"{name}.png" for name in ids]
    answers = open_bundle(tmp_path / "bundle").predict(data / "tiny", ids, names, groups=groups)
    for task, labels in said.items():
        np.testing.assert_array_equal(answers.labels[task], labels)
    assert [len(set(said["colour"][[at for at, g in enumerate(groups) if g == one]])) for one in sorted(set(groups))] == [1, 1, 1]
    assert np.bincount(said["shape"]).tolist() == [6, 6]
    order = np.random.default_rng(1).permutation(len(ids))
    shuffled = decide(plan, cached, [ids[n] for n in order], [groups[n] for n in order])
    np.testing.assert_array_equal(shuffled["label"], said["label"][order])
    some = open_bundle(tmp_path / "bundle").predict(data / "tiny", ids[:5], names[:5])
    assert some.without_quota == tuple(ensemble.task for ensemble in plan.tasks[1:])
    free = tuple(replace(one, spec=replace(one.spec, same_group=None, quota=None), quota_of=None) for one in tasks)
    alone = decide(replace(plan, tasks=free), cached, ids)
    np.testing.assert_array_equal(some.labels["shape"], alone["shape"][:5], "shares of all photos are not those of five")
    assert answers.without_quota == ()
    with pytest.raises(UserError, match="at least one photo"):
        open_bundle(tmp_path / "bundle").predict(data / "tiny", ())


def test_models_are_calibrated_before_they_are_averaged(on_all_folds: Choice, here: Any) -> None:
    ensemble = on_all_folds.plan.tasks[0]
    voter = ensemble.voters[0]
    plain = Calibration((1.0,) * 3, (0.0,) * 3)
    sure = Calibration((1.0,) * 3, (0.0, 0.0, 20.0))
    trials = ensemble.trials_of(voter.member)
    ids, rows = ("a",), np.array([[0.8, 0.1, 0.1]], dtype=np.float16)
    fitted = {voter.member: (sure, *(plain,) * (len(trials) - 1))}
    one = replace(ensemble.spec, rule="soft", voters=(voter.key,), weights=None, calibration=fitted)
    probs = {(trial, ensemble.task, voter.view): (ids, rows) for trial in trials}
    shares = vote_task(
        replace(ensemble, spec=one, tie_rule="the first of the tied classes in the competition's order"), probs, ids
    ).shares
    np.testing.assert_allclose(shares[0], np.array([0.8, 0.1, 0.1]) * 3 / 4 + np.array([0, 0, 1]) / 4, atol=2e-3)


def test_a_budget_is_kept_and_what_nothing_keeps_is_refused_with_the_cheapest(here: Any) -> None:
    prepared, _ = here
    free = choose(prepared, Options(top=None, front=True, plain=True))
    assert free.budget is not None
    assert free.budget["chosen"] is None
    smallest = min(point["megabytes"] for point in free.budget["front"])
    held = choose(prepared, Options(max_megabytes=smallest * 1.01, plain=True))
    assert held.budget is not None
    assert held.budget["chosen"]["megabytes"] <= smallest * 1.01
    assert all(len(ensemble.members) == 1 for ensemble in held.plan.tasks)
    with pytest.raises(UserError, match=r"nothing keeps --max-megabytes 0\.0001"):
        choose(prepared, Options(max_megabytes=1e-4, plain=True))
    with pytest.raises(UserError, match="a budget and --front compare hard or soft votes"):
        choose(prepared, Options(max_megabytes=1.0, vote="stacked"))


@pytest.mark.parametrize(
    "vote", ["soft", "greedy-soft", pytest.param("stacked", marks=pytest.mark.long), pytest.param("best", marks=pytest.mark.long)]
)
def test_other_ways_to_vote_are_exported_and_answer_from_their_bundle(here: Any, vote: str, tmp_path: Path, capsys: Any) -> None:
    prepared, data = here
    choice = choose(prepared, Options(vote=vote, plain=vote != "best"))
    answers = from_bundle(data, prepared, choice, tmp_path)
    export_ensemble.show(export(Opened(prepared), choice, tmp_path))
    assert ("every way to choose" in capsys.readouterr().out) == (vote == "best")
    for task, labels in answers_of(prepared, choice).items():
        np.testing.assert_array_equal(answers.labels[task], labels)
    for facts in choice.scores.values():
        assert {"hard", "soft", "best_single", "vote", "honest", "gap", "against_best_single", "verdict"} <= set(facts)
    assert choice.forecast["validation_looked_at"] == {"colour": 2, "shape": 2}


@pytest.mark.parametrize("shares", [(0.333, 0.333, 0.333), (0.8, 0.1, 0.1)])
def test_known_class_shares_need_not_be_exact_and_every_score_is_at_them(here: Any, tmp_path: Path, shares: Any) -> None:
    prepared, data = here
    told = dict(zip(prepared.competition.classes("colour"), shares, strict=True))
    competition = prepared.competition.model_copy(update={"allows": ("test_shares",), "test_shares": {"colour": told}})
    own = replace(prepared, competition=competition)
    choice, plain = choose(own, Options(top=2)), choose(own, Options(top=2, plain=True))
    answers = from_bundle(data, own, choice, tmp_path)
    np.testing.assert_array_equal(answers.labels["colour"], answers_of(prepared, choice)["colour"])
    assert [task for task, said in choice.scores.items() if said["weighed"]] == ["colour", "label"]
    assert "at the test photos' class shares" in choice.forecast["words"]
    assert sum(choice.forecast["test_shares"]["colour"]["shares"]) == pytest.approx(1, abs=1e-12)
    assert not any(said["weighed"] for said in plain.scores.values()), "--plain looks at no shares"
    if shares[0] > 0.5:
        assert choice.scores["colour"]["hard"] != plain.scores["colour"]["hard"]


def test_what_has_no_effect_is_refused(here: Any) -> None:
    for vote, top in (("single", 2), ("subset", 6), ("greedy-soft", 1), ("bagged-greedy-hard", 5)):
        with pytest.raises(UserError, match=f"--top {top} has no effect with --vote {vote}"):
            choose(here[0], Options(vote=vote, top=top))
    with pytest.raises(UserError, match="a budget and --front compare hard or soft votes"):
        choose(here[0], Options(vote="greedy-soft", front=True))


def test_an_imported_file_votes_in_a_cascade(here: Any, tmp_path: Path) -> None:
    first, _ = here
    prepared = copied(first, tmp_path)
    (target,) = choose_targets(prepared.competition, ["shape"])
    native = find_members(Opened(prepared), [target], folds=(0,), study=None)["shape"][0]
    choose(prepared, Options(plain=True))
    train(prepared, 1, ["shape@red", "shape@rest"])
    copy_out(prepared, native.name, "shape", tmp_path / "mine.npz")
    import_files(prepared, [tmp_path / "mine.npz"], Source("mine", ()), name="mine", head="shape")
    cascade = Options(targets=("colour", "shape@red", "shape@rest"), top=2, plain=True)
    with_it, without = (choose(prepared, replace(cascade, imports=imports)) for imports in (("mine",), ()))
    for subtask in ("shape@colour=red", "shape@colour=green|blue"):
        both = [choice.journal["places"][subtask]["members_compared"] for choice in (with_it, without)]
        assert both[0] == both[1] + 1, subtask
    (red,) = choose_targets(prepared.competition, ["shape@red"])
    narrow = find_members(Opened(prepared), [red], folds=(0,), study=None)["shape@red"][0]
    copy_out(prepared, narrow.name, "shape", tmp_path / "red.npz")
    import_files(prepared, [tmp_path / "red.npz"], Source("red", ()), name="red", head="shape")
    again = choose(prepared, replace(cascade, imports=None))
    assert "red" not in again.plan.imports.values(), "it answers red photos only, and any photo may be taken for a red one"
