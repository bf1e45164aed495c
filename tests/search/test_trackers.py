import getpass
import json
import os
import platform
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.trials import Record, TrialFolder, config_id, trial_id
from search import trackers
from search.trackers import TRACKERS, MirrorQueue, Tracker, close_wandb, mirror_wandb
from system.claims import claim
from system.paths import CompetitionPaths

REPOSITORY = Path(__file__).parents[2]
PLANTED_KEY = "feedc0ffee" * 4


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CompetitionPaths]:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.chdir(tmp_path)
    yield CompetitionPaths(tmp_path / "storage" / "demo")
    close_wandb()


def write_trial(
    paths: CompetitionPaths, *, seed: int = 0, epochs: int = 3, planned: int | None = None, **changes: Any
) -> TrialFolder:
    config = {"target": "age@mask=none", "fold": 1, "seed": seed, "lr": 0.01, "backbone": "test_vit", "epochs": planned or epochs}
    name = trial_id(config, {})
    folder = TrialFolder(paths.trials / name)
    curve = [0.5 + 0.1 * (epoch % 3) for epoch in range(1, epochs + 1)]
    best = max(range(epochs), key=lambda position: curve[position])
    record = Record(
        name, config_id(config, {}), config["target"], 1, seed, planned or epochs, epochs, curve[best], best + 1, curve
    )
    folder.write_config(config)
    folder.write_metrics(
        [{"epoch": epoch + 1, "loss": 1 / (epoch + 1), "score": curve[epoch], "seconds": 2.0} for epoch in range(epochs)]
    )
    folder.write_record(replace(record, weights=f"weights{epochs}", seconds=2.0 * epochs, **changes))
    return folder


def run_files(paths: CompetitionPaths, name: str = "") -> list[Path]:
    return sorted((paths.root / "wandb").glob(f"*run-*/run-{name}*.wandb"))


def read_run(path: Path) -> dict[str, Any]:
    """The run as `wandb sync` would send it, once the service has written its end: on a busy machine that is after `finish`."""
    end = time.monotonic() + 20
    while not (found := _records(path))["ended"] and time.monotonic() < end:
        time.sleep(0.05)
    assert found["ended"], f"{path.name} has no end"
    return found


def _records(path: Path) -> dict[str, Any]:
    """A LevelDB log (blocks of 32 KiB, heads of 7 bytes) of protobuf records."""
    from wandb.proto import wandb_internal_pb2

    data, position, whole = path.read_bytes(), 7, b""
    found: dict[str, Any] = {"history": [], "summary": {}, "config": {}, "ended": False}
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            _take(found, record)
    return found


def _take(found: dict[str, Any], record: Any) -> None:
    found["ended"] |= record.HasField("exit")
    if record.HasField("run"):
        found["run"] = record.run
        found["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    if record.HasField("history"):
        found["history"].append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item})
    if record.HasField("summary"):
        found["summary"] |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update}


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "podium.trackers"]


def service_processes() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line, status = (process / "cmdline").read_bytes(), (process / "stat").read_text()
        except OSError:
            continue
        if b"wandb-core" in line and f"--pid\0{os.getpid()}\0".encode() in line and ") Z " not in status:
            found.append(process.name)
    return found


def test_the_run_holds_id_config_curve_and_summary(paths: CompetitionPaths) -> None:
    folder = write_trial(paths, epochs=4)
    record = folder.record()
    assert record is not None
    assert mirror_wandb(folder, paths) == "mirrored"
    (file,) = run_files(paths)
    found = read_run(file)
    run = found["run"]
    assert (run.run_id, run.project, run.run_group) == (folder.id, "demo", record.config_id)
    assert "age@mask=none" in run.display_name
    assert set(run.tags) == {"target=age@mask=none", "fold=1", "seed=0"}
    assert {key: value for key, value in found["config"].items() if key != "_wandb"} == folder.config()
    assert [line["_step"] for line in found["history"]] == [1, 2, 3, 4]
    assert [line["score"] for line in found["history"]] == record.curve
    summary = found["summary"]
    assert (summary["score"], summary["best_epoch"], summary["diverged"], summary["seconds"]) == (record.score, 2, False, 8.0)


def test_a_diverged_trial_is_shown_as_such(paths: CompetitionPaths) -> None:
    folder = write_trial(paths, diverged=True, score=None, best_epoch=None)
    folder.write_metrics([{"epoch": 1, "loss": 0.5, "score": 0.6}, {"epoch": 2, "loss": None, "score": None}])
    assert mirror_wandb(folder, paths) == "mirrored"
    assert read_run(run_files(paths)[0])["summary"]["diverged"] is True


def test_mirroring_twice_gives_one_run(paths: CompetitionPaths) -> None:
    folder = write_trial(paths)
    assert mirror_wandb(folder, paths) == "mirrored"
    before = [(path, path.stat().st_mtime_ns) for path in run_files(paths)]
    assert mirror_wandb(folder, paths) == "unchanged"
    assert [(path, path.stat().st_mtime_ns) for path in run_files(paths)] == before
    marker = json.loads((paths.root / "wandb" / "mirrored" / f"{folder.id}.json").read_text())
    assert marker == {"lines": 3, "weights": "weights3", "mode": "offline"}


def test_a_trial_that_grew_replaces_its_run(paths: CompetitionPaths) -> None:
    folder = write_trial(paths, epochs=2, planned=5)
    assert mirror_wandb(folder, paths) == "mirrored"
    assert write_trial(paths, epochs=5) == folder
    assert mirror_wandb(folder, paths) == "mirrored"
    (file,) = run_files(paths)
    assert [line["_step"] for line in read_run(file)["history"]] == [1, 2, 3, 4, 5]


def test_nothing_written_tells_where_it_was_written_or_by_whom(paths: CompetitionPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", PLANTED_KEY)
    assert mirror_wandb(write_trial(paths), paths) == "mirrored"
    secrets = {
        PLANTED_KEY,
        str(paths.root.parent),
        str(Path.cwd()),
        str(REPOSITORY),
        sys.executable,
        sys.argv[0],
        platform.node(),
    }
    secrets |= {f'"{getpass.getuser()}"', "pytest"}
    files = [path for path in (paths.root / "wandb").rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        for secret in secrets:
            assert secret.encode() not in path.read_bytes(), f"{secret} in {path.name}"
    run = read_run(run_files(paths)[0])["run"]
    assert (run.host, run.git.remote_url, run.git.commit) == ("", "", "")


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_every_tracker_shows_an_ended_trial_however_often_it_is_called(paths: CompetitionPaths, name: str) -> None:
    tracker, folder = TRACKERS[name], write_trial(paths)
    try:
        first, second = (tracker.mirror(folder, paths) for _ in range(2))
    finally:
        tracker.close()
    assert first == "mirrored"
    assert second in ("mirrored", "unchanged")


def test_off_imports_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from system.paths import CompetitionPaths; from ledger.trials import TrialFolder\n"
        "from search.trackers import MirrorQueue\n"
        f"paths = CompetitionPaths(Path({str(tmp_path)!r}) / 'demo')\n"
        "with MirrorQueue('wandb', paths) as push: [push(TrialFolder(paths.trials / name)) for name in 'abc']\n"
        "sys.exit('wandb' in sys.modules)"
    )
    environment = {**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", [None, PLANTED_KEY])
def test_online_without_key_or_network_is_one_warning(
    paths: CompetitionPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str | None
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(trackers, "TRACKER_PATIENCE_S", 2.0)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    started = time.monotonic()
    assert mirror_wandb(write_trial(paths), paths, mode="online") == "failed"
    assert time.monotonic() - started < 10
    (line,) = warnings_in(caplog)
    assert "WANDB_MODE=offline" in line
    assert PLANTED_KEY not in line
    assert not (paths.root / "wandb" / "mirrored").is_dir() or not any((paths.root / "wandb" / "mirrored").iterdir())


def test_wandb_that_is_not_installed_is_one_warning(
    paths: CompetitionPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    folders = [write_trial(paths, seed=seed) for seed in range(3)]
    with MirrorQueue("wandb", paths) as push:
        for folder in folders:
            push(folder)
    failed, left = warnings_in(caplog)
    assert "pip install" in failed
    assert left.startswith("3 trials are not on wandb yet")


@pytest.mark.parametrize("content", ["{", '{"unknown": 1}', "[]"])
def test_a_broken_folder_is_a_warning_and_the_next_trial_is_mirrored(
    paths: CompetitionPaths, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    broken, whole = write_trial(paths, seed=1), write_trial(paths, seed=2)
    (broken.path / "record.json").write_text(content)
    with MirrorQueue("wandb", paths) as push:
        for folder in (broken, whole, broken):  # a trial that ends while the ledger is read waits twice
            push(folder)
    assert [path.name for path in run_files(paths)] == [f"run-{whole.id}.wandb"]
    (line,) = warnings_in(caplog)
    assert broken.id in line


def test_a_folder_that_cannot_be_written_is_one_warning(paths: CompetitionPaths, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_trial(paths)
    (paths.root / "wandb").write_text("a file stands where the folder should be")
    assert mirror_wandb(folder, paths) == "failed"
    assert "can be written" in caplog.text


def test_a_missing_trial_has_nothing_to_show(paths: CompetitionPaths) -> None:
    assert mirror_wandb(TrialFolder(paths.trials / "absent"), paths) == "unchanged"


def test_the_queue_mirrors_what_is_pushed_and_what_was_left_and_leaves_no_process(paths: CompetitionPaths) -> None:
    left_over, running = write_trial(paths, seed=1), write_trial(paths, seed=2, epochs=2, planned=9)
    held = claim(running.claim)
    assert held is not None
    with held, MirrorQueue("wandb", paths) as push:
        pushed = write_trial(paths, seed=3)
        push(pushed)
        push(pushed)
    names = {path.name for path in run_files(paths)}
    assert names == {f"run-{folder.id}.wandb" for folder in (left_over, pushed)}
    assert service_processes() == []
    with MirrorQueue("wandb", paths) as push:
        push(running)
    assert len(run_files(paths)) == 3, "nobody trains the third one any more"


def test_the_queue_gives_up_in_time_and_says_how_many_are_left(
    paths: CompetitionPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = threading.Event()

    def never(folder: TrialFolder, paths: CompetitionPaths) -> trackers.MirrorOutcome:
        stuck.wait(30)
        return "mirrored"

    monkeypatch.setitem(TRACKERS, "slow", Tracker(never, lambda: None))
    started = time.monotonic()
    with MirrorQueue("slow", paths, drain_s=0.2) as push:
        for seed in range(3):
            push(TrialFolder(paths.trials / f"trial{seed}"))
    stuck.set()
    assert time.monotonic() - started < 5
    (line,) = warnings_in(caplog)
    assert line.startswith("3 ")
    assert "next search" in line
