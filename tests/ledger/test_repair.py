"""Whatever file of a trial is damaged, its record is what it was, the damage is in quarantine, and one line names it."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ledger.reading import OtherTrialError, readable_config, readable_record, readable_sessions
from ledger.repair.studies import repair_study
from ledger.repair.trials import needs_repair, repair_trial
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import Record, TrialFolder
from system import sealed_tensors
from system.claims import claim
from system.errors import UserError
from system.files import fingerprint, read_lines, replace_json

SETTINGS = {"target": "age", "fold": 0, "seed": 0, "epochs": 4, "lr": 0.1}
CURVE = [0.25, 0.5, 0.375]


def name_of(settings: Mapping[str, Any]) -> str:
    return fingerprint(dict(settings), length=12)


TRIAL = name_of(SETTINGS)


def record(epochs: int) -> Record:
    done = Record(TRIAL, "c", "age", 0, 0, 4, epochs_done=epochs, curve=CURVE[:epochs], score=max(CURVE[:epochs]), author="jin")
    return replace(done, weights="f" * 64, best_epoch=CURVE.index(max(CURVE[:epochs])) + 1)


def metrics(epochs: int) -> list[dict[str, Any]]:
    return [{"epoch": n + 1, "score": CURVE[n], "loss": 1 / 3} for n in range(epochs)]


def checkpoint(path: Path, epochs: int) -> None:
    """A sealed file of one tensor."""
    told = {"trial_id": TRIAL, "epoch": epochs, "record": asdict(record(epochs)), "metrics": metrics(epochs)}
    told |= {"sessions": [{"commit": "abc"}], "seal": sealed_tensors.UNSEALED}
    facts = {"__metadata__": {"podium": json.dumps(told)}, "x": {"dtype": "U8", "shape": [64], "data_offsets": [0, 64]}}
    header = json.dumps(facts).encode()
    path.write_bytes(sealed_tensors.seal(len(header).to_bytes(8, "little") + header + bytes(range(64))))


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    """A trial after three of four epochs."""
    made = TrialFolder(tmp_path / "bench/trials" / TRIAL)
    made.write_config(SETTINGS)
    checkpoint(made.last, 3)
    checkpoint(made.previous, 2)
    made.write_metrics(metrics(3))
    made.write_record(record(3))
    made.add_provenance({"commit": "abc"})
    return made


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "all but three bytes": lambda data: data[:-3],
    "first bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "a bit in the middle": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 2]) + data[len(data) // 2 + 1 :],
    "a bit near the end": lambda data: data[:-5] + bytes([data[-5] ^ 4]) + data[-4:],
}
SMALL = ("record.json", "config.json", "metrics.jsonl", "provenance.json")


def state(folder: TrialFolder) -> list[Any]:
    return [folder.record(), folder.config(), read_lines(folder.path / "metrics.jsonl"), folder.provenance()]


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", SMALL)
def test_a_damaged_file_is_healed_from_the_checkpoint_or_the_suggestion(
    name: str, how: str, folder: TrialFolder, caplog: pytest.LogCaptureFixture
) -> None:
    before, path = state(folder), folder.path / name
    assert not needs_repair(folder, name_of)
    damaged = DAMAGES[how](path.read_bytes())
    path.write_bytes(damaged)
    repair_trial(folder, name_of, SETTINGS)
    assert state(folder) == before
    (moved,) = (folder.root / "quarantine").rglob("*.*")
    assert moved.read_bytes() == damaged
    assert moved.relative_to(folder.root / "quarantine").as_posix().startswith(f"trials/{TRIAL}/{name}.")
    (said,) = (line for line in caplog.messages if line.startswith("damaged"))
    assert f"trials/{TRIAL}/{name}" in said
    caplog.clear()
    repair_trial(folder, name_of, SETTINGS)
    assert not caplog.messages, "once mended, nothing is left to say"


@pytest.mark.parametrize("how", DAMAGES)
def test_a_record_is_healed_from_the_checkpoint_before_where_the_last_one_is_damaged_too(how: str, folder: TrialFolder) -> None:
    for path in (folder.path / "record.json", folder.last):
        path.write_bytes(DAMAGES[how](path.read_bytes()))
    repair_trial(folder, name_of, SETTINGS)
    assert folder.record() == record(2)
    assert not folder.last.exists()
    assert len(list((folder.root / "quarantine").rglob("*.*"))) == 2


def test_a_killed_mending_is_completed_by_the_next(folder: TrialFolder) -> None:
    before = state(folder)
    for name in ("record.json", "config.json"):
        (folder.path / name).unlink()
    repair_trial(folder, name_of, SETTINGS)
    assert state(folder) == before


def test_readers_write_nothing_and_read_what_the_checkpoint_says(folder: TrialFolder, caplog: pytest.LogCaptureFixture) -> None:
    for name in SMALL:
        (folder.path / name).write_bytes(b"{")
    files = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}
    assert readable_record(folder) == record(3)
    assert (readable_config(folder), readable_sessions(folder)) == (None, [{"commit": "abc"}])
    folder.last.write_bytes(b"")
    assert readable_record(folder) == record(2)
    folder.previous.write_bytes(b"")
    assert (readable_record(folder), readable_sessions(folder)) == (None, [])
    assert "is left out" in caplog.text
    left = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}
    assert left == files | {folder.last: b"", folder.previous: b""}


def test_settings_of_another_trial_are_damage_and_another_trials_checkpoint_is_refused(folder: TrialFolder) -> None:
    replace_json(folder.path / "config.json", SETTINGS | {"lr": 0.2})  # of before there were seals
    repair_trial(folder, name_of, SETTINGS)
    assert folder.config() == SETTINGS
    other = TrialFolder(folder.path.with_name("0123456789ab"))
    shutil.copytree(folder.path, other.path)
    (other.path / "record.json").unlink()
    with pytest.raises(OtherTrialError, match=f"belongs to trial {TRIAL}"):
        repair_trial(other, name_of)


@pytest.fixture
def study(folder: TrialFolder) -> StudyFolder:
    """A study that asked for the trial, and let go of it after three epochs."""
    made = StudyFolder(folder.root / "studies/s")
    made.write_plan({"request": {"seed": 0}, "space": "x"})
    made.write_suggestion(Suggestion(1, "age", TRIAL, {"lr": 0.1}, {"lr": "{}"}, {"params": {"lr": 0.1}}, SETTINGS))
    made.log("started", TRIAL, target="age", suggestion=1)
    made.log("pruned", TRIAL, epoch=3)
    return made


def mend(study: StudyFolder) -> None:
    repair_study(study, study.root / "trials", name_of)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_plan_is_healed_from_its_copy_and_the_copy_from_it(how: str, study: StudyFolder) -> None:
    plan = study.plan()
    for path in study.plan_files:
        whole = path.read_bytes()
        path.write_bytes(DAMAGES[how](whole))
        assert study.plan() == plan
        mend(study)
        assert [path.read_bytes() for path in study.plan_files] == [whole, whole]
    for path in study.plan_files:
        path.write_bytes(b"{")
    with pytest.raises(UserError, match=r"plan\.json .*plan\.copy\.json .*start a new study"):
        mend(study)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_suggestion_is_healed_without_what_was_drawn(how: str, study: StudyFolder) -> None:
    path = study.path / "suggestions/000001.json"
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    assert study.suggestions() == []
    mend(study)
    assert study.suggestions() == [Suggestion(1, "age", TRIAL, {}, {}, {"params": {}}, SETTINGS)]
    assert study.statuses() == {TRIAL: "pruned"}


def test_a_suggestion_of_which_nothing_is_known_holds_its_number(study: StudyFolder) -> None:
    (study.path / "suggestions/000002.json").write_bytes(b"")
    mend(study)
    assert [(suggestion.number, suggestion.trial_id) for suggestion in study.suggestions()] == [(1, TRIAL), (2, "")]
    assert study.statuses() == {TRIAL: "pruned"}


def test_a_damaged_event_goes_and_a_lost_start_is_written_again(study: StudyFolder, caplog: pytest.LogCaptureFixture) -> None:
    path = study.path / "events.jsonl"
    started, pruned, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"{" + started + b"\n" + pruned + b"\n")
    assert [event["event"] for event in study.events()] == ["pruned"]
    mend(study)
    assert [event["event"] for event in study.events()] == ["started", "pruned"]
    assert study.started() == {TRIAL: 3}
    (moved,) = (study.root / "quarantine/studies/s").iterdir()
    assert moved.read_bytes() == b"{" + started
    assert "studies/s/events.jsonl" in caplog.text
    path.write_bytes(started + b"\n" + pruned[:-4] + b"\n")
    mend(study)
    assert study.statuses() == {TRIAL: "running"}, "a lost end is judged anew"


def test_a_journal_that_was_cut_says_again_what_the_study_started(study: StudyFolder) -> None:
    other = SETTINGS | {"seed": 1}
    study.write_suggestion(Suggestion(2, "age", name_of(other), {"lr": 0.1}, {"lr": "{}"}, {"params": {"lr": 0.1}}, other))
    (study.path / "events.jsonl").write_bytes(b"")
    mend(study)
    assert study.started() == {TRIAL: None, name_of(other): None}


def test_a_trial_of_which_nothing_is_left_is_trained_again(study: StudyFolder, folder: TrialFolder) -> None:
    shutil.rmtree(folder.path)
    mend(study)
    assert study.statuses() == {TRIAL: "running"}
    assert [event["event"] for event in study.events()] == ["started", "pruned", "lost"]
    mend(study)
    assert len(study.events()) == 3


def test_a_trial_that_somebody_trains_is_not_mended_by_others(
    study: StudyFolder, folder: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.repair.studies.CLAIM_PATIENCE_S", 0.2)
    (folder.path / "record.json").write_bytes(b"")
    with claim(folder.claim) or pytest.fail("held"), pytest.raises(UserError, match=f"{TRIAL} is damaged and being trained by"):
        mend(study)
    assert (folder.path / "record.json").read_bytes() == b""
    mend(study)
    assert folder.record() == record(3)


def test_mending_what_is_whole_writes_nothing(study: StudyFolder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in study.root.rglob("*") if path.is_file()}
    mend(study)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in study.root.rglob("*") if path.is_file()} == before
    assert not caplog.messages
