"""From finished trials to a bundle that answers on its own, on the tiny competition and on odd ones."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bundle.answer import answer, cached_test_probs
from bundle.export import CLAIM, check_target, export
from bundle.gather import gather
from bundle.members import find_members
from bundle.opened import Opened
from bundle.photos import read_ids
from bundle.pool import load_pool, subtasks_of
from bundle.predict import open_bundle
from competitions.competition import Competition
from competitions.loading import parse_competition
from competitions.prepare import Prepared, prepare
from competitions.targets import choose_targets, targets
from ensemble import choose as choosing
from ensemble.choose import Choice
from ensemble.label.cascade import Subtask
from ensemble.options import Options
from ensemble.plan.plan import EnsemblePlan
from ensemble.plan.task_ensemble import vote_task
from ledger.predictions import best_predictions
from ledger.trials import ALL_DATA, TrialFolder
from system.claims import claim
from system.errors import UserError
from system.paths import CompetitionPaths
from trainables.attach import attach
from trainables.config import Question, TrialConfig, resolve
from trainables.prediction import FEATURE_WIDTH, FEATURES, project
from trainables.training import run_trial


def choose(prepared: Prepared, options: Options | None = None, *, processes: int = 1) -> Choice:
    """What is chosen of all that is gathered for these options; what it needs of the test photos is cached then."""
    choice = choosing.choose(gather(Opened(prepared), options), options, processes=processes)
    answers_of(prepared, choice)
    return choice


def answers_of(prepared: Prepared, choice: Choice) -> dict[str, Any]:
    """What a choice answers for the test photos: task -> class numbers `int64 (N,)`."""
    return answer(Opened(prepared), choice.plan, choice.image_ids)


def train(prepared: Prepared, n: int, names: Sequence[str] | None = None) -> None:
    """n finished trials of these targets, one per task for `None`."""
    for target in choose_targets(prepared.competition, names):
        name = target.name
        question = Question("tiny", name, target.heads, target.metric, prepared.data_fingerprint(target), "groups", 0, 0, 32)
        for number in range(n):
            settings = {"backbone": "test_vit", "epochs": 1, "batch_size": 16, "augmentation": "none", "lr": 1e-3 * (number + 1)}
            config = resolve(settings, question)
            run_trial(config, attach(prepared, config))


@contextmanager
def trained(data: Path, competition: Competition, storage: Path, n: int, names: Sequence[str]) -> Iterator[Prepared]:
    """Prepared photos with n finished trials of these targets, while `PODIUM_DATA` is this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODIUM_DATA", str(data))
        patch.delenv("PODIUM_CACHE", raising=False)
        prepared = prepare(competition, CompetitionPaths(storage / "tiny"))
        train(prepared, n, names)
        yield prepared


def train_on_other_folds(prepared: Prepared, names: Sequence[str]) -> None:
    """The first trial of each of these targets on folds 1 to 3 as well."""
    for members in find_members(Opened(prepared), choose_targets(prepared.competition, names), folds=(0,), study=None).values():
        config = members[0].opened[0].config
        for fold in (1, 2, 3):
            run_trial(replace(config, fold=fold), attach(prepared, replace(config, fold=fold)))


@pytest.fixture(scope="module")
def here(tiny_data: Path, tiny_competition: Competition, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(prepared with two finished trials per target of every kind, `PODIUM_DATA`)."""
    with trained(tiny_data, tiny_competition, tmp_path_factory.mktemp("runs"), 2, ["all"]) as prepared:
        yield prepared, tiny_data


@pytest.fixture(scope="module")
def exported(here: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Choice, dict[str, Any], Path]:
    prepared, _ = here
    to = tmp_path_factory.mktemp("exported")
    choice = choose(prepared, Options(top=2))
    return choice, export(Opened(prepared), choice, to), to


WAYS = {
    "tasks": ("colour", "shape"),
    "heads": ("both",),
    "label": ("label",),
    "cascade": ("colour", "shape@red", "shape@rest"),
    "heads and tasks in one pool": ("colour", "shape", "both"),
}


@pytest.mark.parametrize("way", WAYS)
def test_targets_of_any_kind_vote_and_answer_from_a_bundle_as_single_tasks_do(here: Any, way: str, tmp_path: Path) -> None:
    prepared, data = here
    choice = choose(prepared, Options(targets=WAYS[way]))
    export(Opened(prepared), choice, tmp_path)
    names = [f"{name}.png" for name in choice.image_ids]
    answers = open_bundle(tmp_path / "bundle").predict(data / "tiny", choice.image_ids, names)
    assert set(answers_of(prepared, choice)) == set(choice.scores) == {"colour", "shape", "label"}
    for task, labels in answers_of(prepared, choice).items():
        np.testing.assert_array_equal(answers.labels[task], labels, err_msg=task)
        assert {"vote", "honest", "best_single"} <= set(choice.scores[task])
    own = answers_of(prepared, choice)
    np.testing.assert_array_equal(own["label"], own["colour"] * 2 + own["shape"])
    assert EnsemblePlan.from_json(choice.plan.to_json()) == choice.plan


def test_a_composed_label_on_subsets_is_routed_by_a_task_of_its_own(tiny_data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PODIUM_DATA", str(tiny_data))
    text = (Path(__file__).parents[1] / "conftest.py").read_text().split('TINY = """')[1].split('"""')[0]
    text = (
        text.replace("label: [colour, shape]", "label: [shape]").split("targets:")[0]
        + """targets:
  label@red: {heads: [label], where: {colour: red}}
  label@rest: {heads: [label], where: {colour: [green, blue]}}
image_size"""
        + text.split("image_size")[1]
    )
    prepared = prepare(parse_competition(text, "tiny", where="x"), CompetitionPaths(tmp_path / "tiny"))
    names = ["colour", "label@red", "label@rest"]
    train(prepared, 1, names)
    choice = choose(prepared, Options(targets=tuple(names)))
    assert set(answers_of(prepared, choice)) == set(choice.scores) == {"colour", "shape", "label"}
    np.testing.assert_array_equal(answers_of(prepared, choice)["label"], answers_of(prepared, choice)["shape"])


def test_a_cascade_takes_each_photo_s_answer_from_the_models_its_predicted_class_names(here: Any) -> None:
    prepared, _ = here
    cascade = choose(prepared, Options(targets=WAYS["cascade"], top=1, together="cascade", plain=True))
    parts = {str(e.subtask): e for e in cascade.plan.tasks}
    probs = cached_test_probs(Opened(prepared), cascade.plan)
    own = {name: vote_task(e, probs, cascade.image_ids).labels for name, e in parts.items()}
    red = answers_of(prepared, cascade)["colour"] == 0
    expected = np.where(red, own["shape@colour=red"], own["shape@colour=green|blue"])
    np.testing.assert_array_equal(answers_of(prepared, cascade)["shape"], expected)


def test_a_pool_of_tasks_and_heads_ranks_all_of_them_by_their_score_for_the_task(here: Any) -> None:
    prepared, _ = here
    options = choose_targets(prepared.competition, ["colour", "shape", "both"])
    own = subtasks_of(prepared, options)[Subtask("shape")]
    members = find_members(Opened(prepared), own, folds=(0,), study=None)
    everyone = [member for target in own for member in members[target.name]]
    views = prepared.competition.views
    pool = load_pool(Opened(prepared), Subtask("shape"), own, everyone, folds=(0,), views=views, n_whole=2, device="cpu")
    assert {member.name for member in pool.members} == {m.name for m in everyone}
    assert {member.target for member in pool.members} == {"shape", "both"}
    assert list(pool.scores) == sorted(pool.scores, reverse=True)
    assert pool.n_whole == 2
    for number, probs in enumerate(pool.candidates.probs):
        same = all((view == probs[0]).all() for view in probs)
        assert same == (number >= pool.n_whole), "who is not whole looks through the identity in each view's place"


def test_members_hand_their_test_votes_to_siblings_that_learned_from_all_data(here: Any, tmp_path: Path) -> None:
    prepared, data = here
    on_fold = choose(prepared, Options(targets=("label",), top=1))
    (member,) = {voter.member for voter in on_fold.plan.voters}
    with pytest.raises(UserError, match=f"run_search.py tiny --all-data --base {member}"):
        choose(prepared, Options(targets=("label",), top=1, all_data=True))
    config = replace(TrialConfig.from_json(TrialFolder(prepared.paths.trials / member).config()), fold=ALL_DATA)
    assert run_trial(config, attach(prepared, config)).score is None
    final = choose(prepared, Options(targets=("label",), top=1, all_data=True))
    assert {voter.member for voter in final.plan.voters} == {config.trial_id}
    assert final.scores == on_fold.scores, "a member without a score of its own takes those of the trial it stands for"
    assert on_fold.scores["label"]["best_single"]["trial_id"] == member
    whole = np.bincount(prepared.labels(targets(prepared.competition)["label"])["label"][prepared.usable()], minlength=6)
    np.testing.assert_allclose(final.plan.tasks[0].prior, whole / whole.sum())
    export(Opened(prepared), final, tmp_path)
    names = [f"{name}.png" for name in final.image_ids]
    answers = open_bundle(tmp_path / "bundle").predict(data / "tiny", final.image_ids, names)
    for task, labels in answers_of(prepared, final).items():
        np.testing.assert_array_equal(answers.labels[task], labels, err_msg=task)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["colour"], "no target answers shape"),
        (["label", "colour"], "colour would have no say"),
        (["colour", "shape@red"], "task shape needs one ensemble for colour=green, got none"),
        (["shape@red", "shape@rest"], "chosen by the answer for colour, which no ensemble of its own gives"),
        (["colour", "shape", "shape@red"], "task shape needs one ensemble for colour=green, got none"),
        (["colour", "shpae"], "did you mean shape"),
    ],
)
def test_targets_that_do_not_answer_everything_once_are_refused(here: Any, names: list[str], message: str) -> None:
    prepared, _ = here
    with pytest.raises(UserError, match=message):
        choose(prepared, Options(targets=tuple(names)))


def test_the_bundle_answers_what_the_cache_answered(here: Any, exported: Any) -> None:
    prepared, data = here
    choice, _, to = exported
    answers = open_bundle(to / "bundle").predict(data / "tiny", choice.image_ids, [f"{name}.png" for name in choice.image_ids])
    assert answers.image_ids == choice.image_ids
    for task, labels in answers_of(prepared, choice).items():
        np.testing.assert_array_equal(answers.labels[task], labels, err_msg=task)
    assert set(answers.broken) == {"t03"}


def test_the_same_choice_gives_the_same_bytes_in_any_number_of_processes(here: Any, exported: Any, tmp_path: Path) -> None:
    prepared, _ = here
    _, _, to = exported
    export(Opened(prepared), choose(prepared, Options(top=2), processes=3), tmp_path)
    for name in ("submission.csv", "bundle/plan.json", "bundle/models.json", "bundle/checksums.json"):
        assert (tmp_path / name).read_bytes() == (to / name).read_bytes(), name


def test_features_stand_beside_the_identity_view_and_are_narrow(here: Any, exported: Any) -> None:
    prepared, _ = here
    choice, _, _ = exported
    folder = TrialFolder(prepared.paths.trials / choice.plan.voters[0].member)
    record = folder.record()
    assert record is not None
    for part in ("validation", "test"):
        ids, features = best_predictions(folder, record).read(part, FEATURES, "identity")
        assert features.shape[0] == len(ids)
        assert features.shape[1] <= FEATURE_WIDTH
        assert np.isfinite(features).all()
        assert features.any()


def test_a_projection_keeps_distances() -> None:
    deep = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 512)).astype(np.float32))
    narrow = project(deep)
    assert narrow.shape == (50, FEATURE_WIDTH)
    ratio = torch.pdist(narrow) / torch.pdist(deep)
    assert ratio.min() > 0.6
    assert ratio.max() < 1.4
    torch.testing.assert_close(project(deep[:, :40]), deep[:, :40])


def test_wrong_folders_and_ids_are_refused_before_a_network_runs(exported: Any, tmp_path: Path) -> None:
    choice, _, to = exported
    bundle = open_bundle(to / "bundle")
    with pytest.raises(UserError, match=r"12 of 12 photos are not below"):
        bundle.predict(tmp_path, choice.image_ids, [f"{name}.png" for name in choice.image_ids])
    with pytest.raises(UserError, match="PHOTOS must be a folder"):
        bundle.predict(tmp_path / "nowhere", choice.image_ids)
    with pytest.raises(UserError, match="has none"):
        bundle.predict(tmp_path)
    table = tmp_path / "ids.csv"
    table.write_text("image,file\na,x.png\na,../y.png\n")
    with pytest.raises(UserError, match="stands twice") as twice:
        read_ids(table, "image", "file")
    assert any("../y.png" in fault for fault in twice.value.faults)
    with pytest.raises(UserError, match="unknown column 'nmae'"):
        read_ids(table, "nmae")


def test_one_flipped_byte_anywhere_is_named(exported: Any, tmp_path: Path) -> None:
    _, _, to = exported
    names = sorted(path.relative_to(to / "bundle") for path in (to / "bundle").rglob("*") if path.is_file())
    assert len(names) >= 8
    for name in names:
        copy = tmp_path / "bundle"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(to / "bundle", copy)
        damaged = bytearray((copy / name).read_bytes())
        damaged[len(damaged) // 2] ^= 1
        (copy / name).write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged"):
            open_bundle(copy)


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine.py").write_text("precious")
    with pytest.raises(UserError, match="is not a bundle"):
        check_target(tmp_path)


def test_numbers_and_names_out_of_range_are_all_named(here: Any) -> None:
    prepared, _ = here
    with pytest.raises(UserError) as wrong:
        choose(prepared, Options(top=0, vote="hrad", fold=9))
    assert len(wrong.value.faults) == 3
    with pytest.raises(UserError, match="no finished trial of colour, shape on fold 1"):
        choose(prepared, Options(fold=1))


def test_trials_judged_by_another_metric_are_no_members(here: Any) -> None:
    prepared, _ = here
    other = prepared.competition.model_copy(update={"metric": "accuracy"})
    with pytest.raises(UserError, match="no finished trial of colour, shape on fold 0"):
        choose(replace(prepared, competition=other))


def test_without_test_photos_there_is_a_bundle_and_no_submission(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data = here
    shutil.copytree(data / "tiny", tmp_path / "data" / "tiny")
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    table = tmp_path / "data" / "tiny" / "manifest.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if ",test," not in line) + "\n")
    competition = parse_competition(
        (Path(__file__).parents[1] / "conftest.py").read_text().split('TINY = """')[1].split('"""')[0], "tiny", where="x"
    )
    prepared = prepare(competition, CompetitionPaths(tmp_path / "runs" / "tiny"))
    train(prepared, 1)
    done = export(Opened(prepared), choose(prepared), tmp_path / "to")
    assert done["submission"] is None
    assert open_bundle(tmp_path / "to" / "bundle").plan == EnsemblePlan.from_json(done["plan"])


def test_shares_told_of_a_task_weigh_it_and_the_label_whoever_answers_it(here: Any) -> None:
    prepared, _ = here
    told = prepared.competition.model_copy(
        update={"allows": ("test_shares",), "test_shares": {"shape": {"disc": 0.9, "square": 0.1}}}
    )
    for way in ("label", "cascade", "heads"):
        weighed, plain = (
            choose(replace(prepared, competition=one), Options(targets=WAYS[way])) for one in (told, prepared.competition)
        )
        assert [task for task, said in weighed.scores.items() if said["weighed"]] == ["shape", "label"], way
        assert weighed.scores["colour"]["best_single"] == plain.scores["colour"]["best_single"]


def test_an_export_into_a_folder_that_another_one_writes_is_refused(here: Any, exported: Any, tmp_path: Path) -> None:
    prepared, _ = here
    other = claim(tmp_path / CLAIM)
    assert other is not None
    with other, pytest.raises(UserError, match=r"is being written by process \d+ on .*; wait for it, or give another folder"):
        export(Opened(prepared), exported[0], tmp_path)
    assert not list(tmp_path.iterdir())
    export(Opened(prepared), exported[0], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "submission.csv"]
