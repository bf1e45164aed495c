"""A study is of one split: its record names it, and whoever goes on with the study gets it without asking."""

from pathlib import Path

import pytest

from competitions.loading import load_competition
from competitions.metrics import OWN_METRICS, metric_of
from competitions.prepare import load_prepared, prepare
from competitions.targets import targets
from ledger.studies import RETRYING, Suggestion
from ledger.trials import ALL_DATA, TrialFolder
from search.plan import make_plan, plan_json
from search.request import Request
from search.tune.run import run_study
from system.errors import UserError
from system.paths import competition_paths
from tests.conftest import TINY
from trainables.attach import attach
from trainables.config import Question, resolve
from trainables.training import run_trial


@pytest.fixture
def yaml(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny competition's file with two more splits."""
    monkeypatch.setenv("PODIUM_DATA", str(tiny_data))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY + "splits: {random: {folds: 3, by_group: false}, holdout20: {holdout: 0.2}}\n")
    return path


def test_a_study_goes_on_with_the_split_it_began_with(yaml: Path, tmp_path: Path) -> None:
    begun = make_plan(Request(str(yaml), space="smoke", study="held", split="holdout20"), tmp_path / "runs")
    assert {question.split for question in begun.questions.values()} == {"holdout20"}
    begun.study.write_plan(plan_json(begun, "key"))
    gone_on = make_plan(Request(str(yaml), study="held", resume=True), tmp_path / "runs")
    assert gone_on.questions == begun.questions
    assert gone_on.prepared.competition.split.name == "holdout20"


def test_a_space_that_looks_at_the_data_decides_by_the_facts_that_the_plan_keeps(yaml: Path, tmp_path: Path) -> None:
    begun = make_plan(Request(str(yaml), study="a", hours=1.0), tmp_path / "runs")
    assert (begun.space.name, list(begun.questions)) == ("auto", ["both"])
    assert begun.space.facts is not None
    assert begun.space.facts.hours == 1.0
    begun.study.write_plan(plan_json(begun, "key"))
    gone_on = make_plan(Request(str(yaml), study="a", resume=True, hours=9.0), tmp_path / "runs")
    assert (gone_on.space.facts, gone_on.questions) == (begun.space.facts, begun.questions)
    named = make_plan(Request(str(yaml), study="b", targets=("shape",)), tmp_path / "runs")
    assert list(named.questions) == ["shape"]


def test_a_name_is_free_again_when_its_driver_was_killed_before_there_was_a_plan(yaml: Path, tmp_path: Path) -> None:
    request = Request(str(yaml), space="smoke", study="s")
    plan = make_plan(request, tmp_path / "runs")
    plan.study.path.mkdir(parents=True)
    plan.study.lease.write_text("{}")
    again = make_plan(request, tmp_path / "runs")
    again.study.write_plan(plan_json(again, "key"))
    with pytest.raises(UserError, match="study names must be new, 's' is there already; go on with it by --resume s"):
        make_plan(request, tmp_path / "runs")


def test_each_split_has_data_of_its_own_and_the_record_names_the_default(yaml: Path, tmp_path: Path) -> None:
    plans = [
        make_plan(Request(str(yaml), space="smoke", study="s", split=s), tmp_path / "runs") for s in (None, "random", "holdout20")
    ]
    assert len({plan.questions["colour"].data for plan in plans}) == 3
    assert [plan_json(plan, "key")["request"]["split"] for plan in plans] == ["groups", "random", "holdout20"]


def test_a_fold_that_the_split_does_not_have_is_refused(yaml: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fold must be 0..0, got 3; split 'holdout20' has 1 fold"):
        make_plan(Request(str(yaml), space="smoke", fold=3, split="holdout20"), tmp_path / "runs")


def train(yaml: Path, storage: Path, target: str, fold: int) -> str:
    """The id of a finished trial of one epoch."""
    competition = load_competition(str(yaml))
    prepared = prepare(competition, competition_paths("tiny", storage))
    one = targets(competition)[target]
    question = Question("tiny", target, one.heads, one.metric, prepared.data_fingerprint(one), "groups", fold, 0, 32)
    config = resolve({"backbone": "test_vit", "epochs": 1, "batch_size": 16, "augmentation": "none"}, question)
    assert run_trial(config, attach(prepared, config)).finished
    return config.trial_id


def test_a_file_metric_judges_trials_in_any_process_and_is_asked_before_anything_is_trained(yaml: Path, tmp_path: Path) -> None:
    storage, file = tmp_path / "runs", tmp_path / "mine.py"
    yaml.write_text(yaml.read_text() + "metric: mine.py:score\n")
    file.write_text("def score(probs, labels):\n    return 7.0 if probs.shape[1] == 3 else float('nan')\n")
    paths = competition_paths("tiny", storage)
    folder = TrialFolder(paths.trials / train(yaml, storage, "both", 0))
    record = folder.record()
    assert record is not None
    assert record.score == 7.0, "shape is left out of the mean"
    assert set(make_plan(Request(str(yaml), space="smoke", targets=("both",)), storage).questions) == {"both"}
    with pytest.raises(UserError, match=r"^shape of shape: mine\.py:score@[0-9a-f]{12} is undefined on \d+ photos of 2 classes"):
        make_plan(Request(str(yaml), space="smoke", targets=("colour", "shape")), storage)
    key = prepare(load_competition(str(yaml)), paths).save()
    OWN_METRICS.clear()
    load_prepared(paths, key)
    assert metric_of(folder.config()["metric"]).name == folder.config()["metric"]


def test_no_trial_starts_from_one_that_learned_the_photos_it_is_judged_on(yaml: Path, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    same, other, whole = (train(yaml, storage, "colour", fold) for fold in (0, 1, ALL_DATA))
    asked = Request(str(yaml), space="smoke", targets=("both",), study="s", init_from=same)
    question = make_plan(asked, storage).questions["both"]
    assert (question.start_backbone, len(question.start_weights)) == ("test_vit", 64)
    for source, said in ((other, "with fold 1 of split 'groups' held out"), (whole, "with none of split 'groups' held out")):
        with pytest.raises(UserError, match=said):
            make_plan(Request(str(yaml), space="smoke", targets=("both",), init_from=source), storage)
    with pytest.raises(UserError, match="on other photos, labels or folds than today"):
        make_plan(Request(str(yaml), space="smoke", targets=("both",), split="holdout20", init_from=same), storage)


def test_a_study_goes_on_from_its_recorded_start_when_the_source_is_gone(yaml: Path, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    source = train(yaml, storage, "colour", 0)
    begun = make_plan(Request(str(yaml), space="smoke", targets=("both",), study="s", init_from=source), storage)
    begun.study.write_plan(plan_json(begun, "key"))
    (begun.paths.trials / source).rename(tmp_path / "gone")
    assert make_plan(Request(str(yaml), study="s", resume=True), storage).questions == begun.questions


def test_targets_that_the_file_gains_are_no_part_of_a_study_and_lost_ones_are_named(yaml: Path, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    begun = make_plan(Request(str(yaml), space="smoke", targets=("all",), study="s"), storage)
    begun.study.write_plan(plan_json(begun, "key"))
    text = yaml.read_text()
    yaml.write_text(text.replace("  label: {heads: [label]}\n", "  label: {heads: [label]}\n  more: {heads: [shape, colour]}\n"))
    assert set(make_plan(Request(str(yaml), study="s", resume=True), storage).questions) == set(begun.questions)
    yaml.write_text(text.replace("  label: {heads: [label]}\n", ""))
    with pytest.raises(UserError, match="unknown target 'label'"):
        make_plan(Request(str(yaml), study="s", resume=True), storage)


def test_a_base_whose_target_has_other_heads_today_is_refused(yaml: Path, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    base = train(yaml, storage, "both", 0)
    yaml.write_text(yaml.read_text().replace("both: {heads: [shape, colour]}", "both: {heads: [label]}"))
    with pytest.raises(UserError, match="for target both with heads colour, shape, and tiny has heads label today"):
        make_plan(Request(str(yaml), space="smoke", base=base, vary=("lr",)), storage)


def test_a_retry_that_was_cut_off_is_still_to_be_retried(yaml: Path, tmp_path: Path) -> None:
    begun = make_plan(Request(str(yaml), space="smoke", study="s"), tmp_path / "runs")
    begun.study.write_plan(plan_json(begun, "key"))
    question = begun.questions["colour"]
    settings = [resolve({"backbone": "test_vit", "epochs": n}, question).json() for n in (1, 2, 3)]
    for number, own in enumerate(settings, start=1):
        begun.study.write_suggestion(Suggestion(number, "colour", f"t{number}", {}, settings=own))
        begun.study.log("started", f"t{number}")
    begun.study.write_suggestion(Suggestion(4, "", "", {}))  # was damaged: it only holds its number
    for event in ("failed", RETRYING, "started"):
        begun.study.log(event, "t1")
    begun.study.log("failed", "t2", reason="OSError: gone")
    assert begun.failed() == {"t1", "t2"}
    begun.study.log("finished", "t1", epoch=1)
    assert begun.failed() == {"t2"}


def test_what_a_study_came_to_is_told_before_anybody_mended_it(yaml: Path, tmp_path: Path) -> None:
    begun = make_plan(Request(str(yaml), space="smoke", study="s"), tmp_path / "runs")
    begun.study.write_plan(plan_json(begun, begun.prepared.save()))
    config = resolve({"backbone": "test_vit", "epochs": 1}, begun.questions["colour"])
    begun.study.write_suggestion(Suggestion(1, "colour", config.trial_id, {}, settings=config.json()))
    begun.study.log("finished", config.trial_id, epoch=1)
    folder = TrialFolder(begun.paths.trials / config.trial_id)
    folder.path.mkdir(parents=True)
    (folder.path / "record.json").write_bytes(b"")
    resumed = make_plan(Request(str(yaml), study="s", resume=True, retry_failed=True), tmp_path / "runs")
    assert resumed.request.competition == str(yaml), "who exports for it has to find the file"
    assert run_study(resumed).targets["colour"]["trials"] == {"finished": 1}


def test_a_study_goes_on_with_another_share_of_a_gpu_and_never_on_another_kind_of_device(yaml: Path, tmp_path: Path) -> None:
    begun = make_plan(Request(str(yaml), space="smoke", study="fast", gpus_per_trial=1.0), tmp_path / "runs")
    begun.study.write_plan(plan_json(begun, begun.prepared.save()))
    shares = [
        make_plan(Request(str(yaml), study="fast", resume=True, gpus_per_trial=share), tmp_path / "runs") for share in (0.0, 0.5)
    ]
    assert [plan.request.gpus_per_trial for plan in shares] == [1.0, 0.5]
    assert [(plan.changes, plan.questions) for plan in shares] == [((), begun.questions)] * 2
    slow = make_plan(Request(str(yaml), space="smoke", study="slow"), tmp_path / "runs")
    slow.study.write_plan(plan_json(slow, slow.prepared.save()))
    with pytest.raises(UserError, match=r"study 'slow' learns on the CPU, .*; leave --gpus-per-trial out, or start a new study"):
        make_plan(Request(str(yaml), study="slow", resume=True, gpus_per_trial=0.5), tmp_path / "runs")
