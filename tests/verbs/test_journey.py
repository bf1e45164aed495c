"""The whole journey by its command lines: photos to trials, to a leaderboard, to a bundle, to a submission."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import predict
from tests.verbs.conftest import BROKEN_TEST, BROKEN_TRAIN, PHOTOS_EACH, ROOT, SECRET, TEST_PHOTOS, Desk, Journey

FRESH = """
import sys
from pathlib import Path
from competitions.prepare import load_prepared
from system.files import read_json
from system.paths import competition_paths
from trainables.attach import attach
from trainables.config import TrialConfig
from trainables.training import run_trial
key, trial, out = sys.argv[1:]
paths = competition_paths("tiny", None)
config = TrialConfig.from_json(read_json(paths.trials / trial / "config.json"))
prepared = load_prepared(paths, key)
run_trial(config, attach(prepared, config, trials=Path(out)))
"""


def train_afresh(desk: Desk, study: str, trial: str, out: Path) -> Path:
    """Train a trial of the ledger again in a process of its own, without Ray; returns its folder."""
    key = desk.json_of(f"studies/{study}/plan.json")["prepared"]
    subprocess.run(
        [sys.executable, "-c", FRESH, key, trial, str(out)],
        env={**desk.environment, "PYTHONPATH": str(ROOT)},
        cwd=desk.root,
        check=True,
        capture_output=True,
    )
    return out / trial


def files(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_preparation_reports_what_it_found(journey: Journey) -> None:
    found = journey.prepared
    assert found["images"] == {"train": 80, "test": TEST_PHOTOS, "unlabelled": 0}
    assert set(found["broken_files"]) == {BROKEN_TRAIN, BROKEN_TEST}
    assert sum(found["tasks"]["colour"].values()) == 79
    assert sorted(found["folds"]) == [19, 20, 20, 20]
    assert found["groups"] * PHOTOS_EACH == 80
    assert found["cache"]["size"] == 32
    assert Path(found["cache"]["path"]).stat().st_size == found["cache"]["bytes"]


def test_every_target_gets_its_trials_and_its_best(journey: Journey) -> None:
    for target in ("colour", "shape"):
        facts = journey.searched["targets"][target]
        assert facts["trials"] == {"finished": 3}
        assert facts["epochs"] == 6
        rows = [row for row in journey.shown if row["target"] == target]
        best = max(rows, key=lambda row: (row["score"], row["trial_id"]))
        assert facts["best"] == {"trial_id": best["trial_id"], "score": best["score"]}


def test_the_leaderboard_has_every_field_of_the_contract(journey: Journey) -> None:
    told = ["trial_id", "config_id", "study", "target", "fold", "seed", "status", "score", "best_epoch", "epochs", "seconds"]
    fields = [*told, "host", "author", "weights", "config"]
    assert len(journey.shown) == 6
    for row in journey.shown:
        assert list(row) == fields
        assert (row["study"], row["status"], row["epochs"], row["fold"]) == (journey.study, "finished", 2, 0)
        assert row["score"] == journey.desk.record(row["trial_id"])["score"]  # type: ignore[index]
        assert row["weights"] == "kept"
    scores = [row["score"] for row in journey.shown]
    assert scores == sorted(scores, reverse=True)


def test_every_ended_trial_is_mirrored_once(journey: Journey) -> None:
    mirrored = sorted(path.stem for path in journey.desk.root.rglob("run-*.wandb"))
    assert mirrored == sorted(f"run-{row['trial_id']}" for row in journey.shown)


def test_the_leaderboard_can_be_cut_and_sorted(journey: Journey) -> None:
    rows = journey.desk.run("show_trials.py", journey.desk.yaml, "--target", "shape", "--sort", "seconds", "--json").json
    assert {row["target"] for row in rows} == {"shape"}
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    assert journey.desk.run("show_trials.py", "tiny", "--study", journey.study, "--json").json == journey.shown


def test_the_export_says_what_it_chose_and_how_good_it_is(journey: Journey) -> None:
    value = journey.exported
    assert set(value["voters"]) == {"colour", "shape"}
    assert all(2 <= n <= 4 for n in value["voters"].values()), "two members, one view or both"
    for facts in value["scores"].values():
        assert facts["verdict"]
        assert facts["gap"] == facts["vote"] - facts["honest"]["mean"]
        assert 0 <= facts["honest"]["low"] <= facts["honest"]["high"] <= 1
        assert 0 <= facts["honest"]["mean"] <= 1
        assert 0 <= facts["best_single"]["score"] <= 1
        assert facts["optimistic"] == facts["vote"]
    best = {row["trial_id"] for row in journey.shown[:1]}
    assert best <= {member for task in value["plan"]["tasks"] for member, _ in task["voters"]}


def test_the_bundle_alone_gives_the_exported_submission_byte_for_byte(journey: Journey, tmp_path: Path) -> None:
    desk = journey.desk
    bundle, photos, out = tmp_path / "elsewhere/b", tmp_path / "photos", tmp_path / "answers.csv"
    shutil.copytree(journey.bundle, bundle)
    shutil.copytree(desk.photos, photos)
    hidden = desk.root.with_name(f"{desk.root.name}-moved")
    desk.root.rename(hidden)  # storage, data, home and the competition's file are gone
    try:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        command = [sys.executable, str(ROOT / "predict.py"), str(bundle), str(photos), "--out", str(out), "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    finally:
        hidden.rename(desk.root)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == Path(journey.exported["submission"]).read_bytes()
    said = json.loads(done.stdout)
    assert (said["rows"], list(said["broken_photos"])) == (TEST_PHOTOS, [BROKEN_TEST])


def test_every_test_photo_is_answered_the_broken_one_too(journey: Journey) -> None:
    with open(journey.exported["submission"]) as file:
        rows = list(csv.DictReader(file))
    assert [row["photo"] for row in rows] == [f"t{number:02d}.png" for number in range(TEST_PHOTOS)]
    assert all(int(row["answer"]) in range(6) for row in rows)


def test_asked_for_other_photos_in_another_order_the_bundle_answers_those(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["t11.png", BROKEN_TEST, "t02.png"]
    (tmp_path / "ids.csv").write_text("\n".join(["photo", *wanted]) + "\n")
    out = tmp_path / "some.csv"
    asked = ["predict.py", journey.bundle, journey.desk.photos, "--out", out, "--ids", tmp_path / "ids.csv"]
    monkeypatch.setattr(sys, "argv", [str(part) for part in asked])
    assert predict.main() == 0
    answers = dict(line.split(",") for line in Path(journey.exported["submission"]).read_text().splitlines())
    assert out.read_text().splitlines() == ["photo,answer", *(f"{name},{answers[name]}" for name in wanted)]


def test_no_record_holds_an_absolute_path_or_a_secret(journey: Journey) -> None:
    desk = journey.desk
    kept = files(desk.storage, desk.root / "exported")
    assert len(kept) > 60
    for path in kept:
        content = path.read_bytes()
        assert str(desk.root).encode() not in content, f"{path} names a folder of this machine"
        assert SECRET.encode() not in content, f"{path} holds a key"


def test_ray_leaves_nothing_in_the_storage_and_writes_no_key_anywhere(journey: Journey) -> None:
    study = journey.desk.kept / "studies" / journey.study
    assert {path.name for path in study.iterdir()} == {"plan.json", "plan.copy.json", "events.jsonl", "suggestions"}
    assert not [
        path for path in files(journey.desk.root / "r", journey.desk.root / "home") if SECRET.encode() in path.read_bytes()
    ]


def test_a_trial_after_others_in_one_actor_equals_one_in_a_fresh_process(journey: Journey, tmp_path: Path) -> None:
    last = _of(journey.desk.events(journey.study), "started")[-1]  # five were trained in that process before
    fresh = train_afresh(journey.desk, journey.study, last, tmp_path)
    ours = journey.desk.kept / "trials" / last
    assert (fresh / "best.safetensors").read_bytes() == (ours / "best.safetensors").read_bytes()
    kept = sorted(path.relative_to(fresh) for path in (fresh / "predictions/epochs").rglob("*.npy"))
    assert kept
    assert all((fresh / path).read_bytes() == (ours / path).read_bytes() for path in kept)


@pytest.mark.long
def test_the_same_search_again_trains_only_what_is_new(journey: Journey, new_desk: Callable[[], Desk]) -> None:
    desk = new_desk()
    shutil.copytree(journey.desk.storage, desk.storage)
    before = {path: path.stat().st_mtime_ns for path in files(desk.kept / "trials")}
    first = [s["trial_id"] for s in desk.suggestions(journey.study) if s["target"] == "colour"]
    again = ("--space", "smoke", "--scheduler", "fifo", "--cpus-per-trial", 2, "--targets", "colour", "--study", "again")
    said = desk.run("run_search.py", desk.yaml, *again, "--trials", 2, "--json").json
    ids = [s["trial_id"] for s in desk.suggestions("again")]
    assert ids[:3] == first  # the same questions are asked, and answered from the ledger
    assert len(ids) == len(set(ids)) == 5  # then N new ones
    assert _of(desk.events("again"), "answered") == first
    assert _of(desk.events("again"), "started") == ids[3:]
    assert said["targets"]["colour"]["trials"] == {"finished": 5}
    assert said["targets"]["colour"]["epochs"] == 4
    touched = {path.relative_to(desk.kept).parts[1] for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert not touched


def _of(events: list[dict[str, Any]], kind: str) -> list[str]:
    return [event["trial_id"] for event in events if event["event"] == kind]
