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
from system.files import read_json
from tests.verbs.conftest import BROKEN_TEST, BROKEN_TRAIN, PHOTOS_EACH, ROOT, SECRET, TEST_PHOTOS, Desk, Journey, Run, refused

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


def test_pages_and_effects_are_made_of_the_whole_journey(journey: Journey) -> None:
    made = journey.desk.run("make_report.py", journey.desk.yaml, "--sheets", "--json").json
    assert set(made["pages"]) == {"study", "ensemble", "data"}
    assert made["left_out"] == {}
    for path in map(Path, [*made["pages"].values(), *made["sheets"]]):
        assert path.is_relative_to(journey.desk.kept / "reports")
        assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert journey.exported["ensemble"] in Path(made["pages"]["ensemble"]).read_text(encoding="utf-8")
    rows = journey.desk.run("show_trials.py", "tiny", "--effects", "--json").json
    assert {row["verdict"] for row in rows} <= {"helps", "hurts", "undecided"}
    assert all(row["next"].startswith("run_search.py tiny --base ") for row in rows if row["verdict"] == "undecided")


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


# ---- wrong input, with a ledger and a bundle


def test_unknown_names_are_answered_with_those_in_the_ledger(run: Run, journey: Journey) -> None:
    desk, study = journey.desk, journey.study
    refused(run, desk, "show_trials", ("tiny", "--target", "color"), ("unknown target 'color'", "did you mean colour?"))
    refused(run, desk, "show_trials", ("tiny", "--study", "smoke-1"), ("unknown study 'smoke-1'", study))
    refused(run, desk, "run_search", ("{yaml}", "--resume", study, "--trials", "0"), ("trials must be 1 or more, got 0",))
    one = next(row for row in journey.shown if row["target"] == "shape")["trial_id"]
    refused(run, desk, "show_trials", ("tiny", "--against", "abc"), ("unknown trial 'abc'", "show_trials.py tiny lists them"))
    refused(run, desk, "show_trials", ("tiny", "--against", one, "--target", "shape"), ("--target would have no effect",))
    around = ("{yaml}", "--space", "smoke", "--base", one)
    refused(
        run, desk, "run_search", (*around, "--vary", "los,batch_size"), ("did you mean loss", "never draws another batch_size")
    )
    refused(
        run,
        desk,
        "run_search",
        (*around, "--vary", "lr", "--targets", "colour", "--trials", "0"),
        ("--targets must be the base's own with --base, shape, got colour", "trials must be 1 or more"),
    )
    refused(run, desk, "run_search", ("{yaml}", "--all-data", "--base", one, "--trials", "2"), ("leave one out",))
    refused(run, desk, "run_search", ("{yaml}", "--study", study), ("study names must be new", f"--resume {study}"))
    refused(
        run,
        desk,
        "export_ensemble",
        ("{yaml}", "--to", "{root}/o", "--fold", "1"),
        ("no finished trial of colour, shape on fold 1",),
    )


def test_an_export_into_a_place_that_cannot_be_written_is_refused(run: Run, journey: Journey) -> None:
    refused(run, journey.desk, "export_ensemble", ("{yaml}", "--to", "{yaml}/below"), ("--to must be writable",))


def test_a_changed_byte_anywhere_in_a_bundle_is_found(run: Run, journey: Journey, tmp_path: Path) -> None:
    whole = tmp_path / "b"
    shutil.copytree(journey.bundle, whole)
    names = sorted(path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file())
    assert len(names) >= 9
    for name in names:
        path, content = whole / name, (whole / name).read_bytes()
        for place in (0, len(content) // 2, len(content) - 2):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            told = "bundle b is damaged" if name == "checksums.json" else f"{name} has changed"
            refused(run, journey.desk, "predict", (whole, "{photos}", "--out", tmp_path / "a.csv"), (told, "copy it again"))
        path.write_bytes(content)
    (whole / "plan.json").rename(whole / "plan.txt")
    texts = ("plan.json is missing", "plan.txt does not belong to it")
    refused(run, journey.desk, "predict", (whole, "{photos}", "--out", tmp_path / "a.csv"), texts)
    assert not (tmp_path / "a.csv").exists()


def test_photos_and_ids_that_cannot_be_answered_are_refused(run: Run, journey: Journey, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "column.csv").write_text("foto\nt00.png\n")
    (tmp_path / "twice.csv").write_text("photo\nt00.png\nt00.png\n../secret.png\n")
    (tmp_path / "none.csv").write_text("photo\n")
    bundle, out = journey.bundle, ("--out", tmp_path / "a.csv")
    cases: list[tuple[tuple[object, ...], tuple[str, ...]]] = [
        ((bundle, tmp_path / "empty", *out), ("PHOTOS must hold image files", "has none")),
        ((bundle, tmp_path / "nope", *out), ("PHOTOS must be a folder", "not there")),
        ((bundle, "{photos}", *out, "--ids", tmp_path / "column.csv"), ("column 'photo'", "did you mean foto?")),
        ((bundle, "{photos}", *out, "--ids", tmp_path / "twice.csv"), ("'t00.png' stands twice", "paths below PHOTOS")),
        ((bundle, "{photos}", *out, "--ids", tmp_path / "none.csv"), ("has no rows",)),
        ((bundle, "{photos}", *out, "--ids", tmp_path / "gone.csv"), ("--ids must be a CSV", "gone.csv")),
        ((bundle, "{photos}", "--out", tmp_path / "none.csv/a.csv"), ("--out must be writable",)),
    ]
    for arguments, texts in cases:
        refused(run, journey.desk, "predict", arguments, texts)


def test_the_leaderboard_of_300_trials_is_whole_and_ordered(run: Run, journey: Journey, new_desk: Callable[[], Desk]) -> None:
    desk = new_desk()
    model = journey.desk.kept / "trials" / journey.shown[0]["trial_id"]
    config, record = (read_json(model / name) for name in ("config.json", "record.json"))
    for number in range(300):
        folder = desk.kept / "trials" / f"{number:012x}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config | {"seed": number}))
        told = {"trial_id": folder.name, "score": number % 7 / 10 if number % 10 else None, "seed": number}
        (folder / "record.json").write_text(json.dumps(record | told))
    code, out, _ = run(desk, "show_trials", "tiny", "--json")
    rows = json.loads(out)
    assert (code, len(rows)) == (0, 300)
    keys = [(row["score"] is None, -(row["score"] or 0), row["trial_id"]) for row in rows]
    assert keys == sorted(keys)
    code, out, _ = run(desk, "show_trials", "tiny", "--json", "--limit", "7")
    assert (code, json.loads(out)) == (0, rows[:7])
    code, out, _ = run(desk, "show_trials", "tiny", "--sort", "epochs", "--limit", "0")
    assert (code, len(out.splitlines())) == (0, 301)
    code, out, _ = run(desk, "show_trials", "tiny")
    assert (code, len(out.splitlines())) == (0, 52)
    assert out.splitlines()[-1] == "and 250 more; --limit 0 shows all"
