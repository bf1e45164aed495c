"""A small competition of our own, and the verbs run on it as people run them: by their command lines, in processes of their own."""

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from system.files import read_json, read_lines
from tests.fixtures.make import WITH_SPACES

ROOT = Path(__file__).parents[2]
SECRET = "planted-key-0123456789abcdef"
PERSONS, PHOTOS_EACH, TEST_PHOTOS, SIDE = 20, 4, 20, 48
BROKEN_TRAIN, BROKEN_TEST = "p03/2.png", "t07.png"
COLOURS, SHAPES = ("red", "blue"), ("square", "stripe", "cross")
YAML = """\
root: tiny
columns: {image: photo, path: file, group: person, role: role}
tasks:
  colour: {column: colour, classes: [red, blue]}
  shape: {column: shape, classes: [square, stripe, cross]}
targets:
  both: {heads: [shape, colour]}
  label: {heads: [label]}
  shape@red: {heads: [shape], where: {colour: red}}
  shape@blue: {heads: [shape], where: {colour: blue}}
image_size: 32
split: {name: persons, folds: 4}
views: [identity, hflip]
submission: {id_column: photo, answers: {answer: label}, values: index}
"""


@dataclass(frozen=True)
class Done:
    """A verb that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout; anything beside it fails."""
        return json.loads(self.out)


@dataclass
class Desk:
    """One user's place: a competition, its photos, a storage, and a shell to run verbs in."""

    root: Path
    environment: dict[str, str]
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def yaml(self) -> Path:
        return self.root / "tiny.yaml"

    @property
    def photos(self) -> Path:
        return self.root / "data/tiny/test"

    @property
    def storage(self) -> Path:
        return self.root / "storage"

    @property
    def kept(self) -> Path:
        return self.storage / "tiny"

    def space(self, name: str, text: str) -> None:
        """Put a search space where `start` and `run` find it."""
        (self.root / "spaces" / f"{name}.py").write_text(text)

    def start(self, verb: str, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        """Start a verb in a session of its own, as a terminal does."""
        command = [sys.executable, "-c", WITH_SPACES, str(self.root / "spaces"), str(ROOT / verb), *map(str, arguments)]
        child = subprocess.Popen(
            command,
            cwd=self.root,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(child)
        return child

    def run(self, verb: str, *arguments: object, code: int = 0, timeout: float = 240.0, **environment: str) -> Done:
        """Run a verb to its end and expect its exit code."""
        return self.wait(self.start(verb, *arguments, **environment), code=code, timeout=timeout)

    def wait(self, child: "subprocess.Popen[str]", *, code: int = 0, timeout: float = 240.0) -> Done:
        """Wait for a started verb and expect its exit code."""
        out, err = child.communicate(timeout=timeout)
        assert child.returncode == code, f"exit {child.returncode}\n{out}\n{err}"
        return Done(child.returncode, out, err)

    def signal(self, child: "subprocess.Popen[str]", number: int) -> None:
        """Send a signal to the verb and everything in its session's process group, as Ctrl-C does."""
        os.killpg(child.pid, number)

    def close(self) -> None:
        """End what is still there of what was started."""
        for child in self.started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()

    # ---- what is on disk

    def json_of(self, path: str) -> Any:
        return read_json(self.kept / path)

    def record(self, trial: str) -> dict[str, Any] | None:
        path = self.kept / "trials" / trial / "record.json"
        return read_json(path) if path.exists() else None

    def trials(self) -> list[str]:
        return sorted(path.name for path in (self.kept / "trials").glob("*/"))

    def suggestions(self, study: str) -> list[dict[str, Any]]:
        return [read_json(path) for path in sorted((self.kept / "studies" / study / "suggestions").glob("*.json"))]

    def events(self, study: str) -> list[dict[str, Any]]:
        path = self.kept / "studies" / study / "events.jsonl"
        return read_lines(path)

    def epochs_done(self) -> dict[str, int]:
        """Trial id -> epochs on disk."""
        return {trial: (self.record(trial) or {"epochs_done": 0})["epochs_done"] for trial in self.trials()}


def eventually(holds: Callable[[], Any], *, timeout: float = 90.0, what: str = "it") -> Any:
    """The first true value of `holds()`."""
    end = time.monotonic() + timeout
    while not (value := holds()):
        assert time.monotonic() < end, f"{what} did not happen within {timeout} s"
        time.sleep(0.02)
    return value


def draw(folder: Path) -> None:
    """Write `tiny/`: 80 training photos of 20 persons, 20 test photos of others, one broken file in each."""
    rng = np.random.default_rng(7)
    rows = ["photo,file,person,role,colour,shape"]
    for number in range(PERSONS * PHOTOS_EACH):
        person, photo = divmod(number, PHOTOS_EACH)
        colour, shape = person % 2, (person + photo) % 3
        name = f"p{person:02d}/{photo}.png"
        _write(folder / "train" / name, _photo(rng, colour, shape))
        rows.append(f"{name},train/{name},p{person:02d},train,{COLOURS[colour]},{SHAPES[shape]}")
    for number in range(TEST_PHOTOS):
        name = f"t{number:02d}.png"
        _write(folder / "test" / name, _photo(rng, number % 2, number % 3))
        rows.append(f"{name},test/{name},,test,,")
    for broken in (folder / "train" / BROKEN_TRAIN, folder / "test" / BROKEN_TEST):
        broken.write_bytes(broken.read_bytes()[:60])
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")


def _photo(rng: np.random.Generator, colour: int, shape: int) -> np.ndarray[Any, Any]:
    image = rng.integers(0, 90, (SIDE, SIDE, 3))
    where = np.zeros((SIDE, SIDE), bool)
    where[14:34, 14:34] = shape == 0
    where[20:28, :] |= shape > 0
    where[:, 20:28] |= shape == 2
    image[where, 2 * colour] += 150
    return image.astype(np.uint8)


def _write(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `tiny/`, drawn once."""
    folder = tmp_path_factory.mktemp("drawn") / "tiny"
    draw(folder)
    return folder


@pytest.fixture(scope="session")
def new_desk(photos: Path) -> Iterator[Callable[[], Desk]]:
    """Makes a place of its own for whoever asks; all of them are cleared away at the end."""
    made: list[Desk] = []

    def make() -> Desk:
        root = Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))  # short: Ray's socket names may have 107 characters
        shutil.copytree(photos, root / "data/tiny")
        (root / "spaces").mkdir()
        shutil.copy(ROOT / "search_spaces/smoke.py", root / "spaces")
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        named = {
            "HOME": root / "home",
            "PODIUM_DATA": root / "data",
            "PODIUM_STORAGE": root / "storage",
            "RAY_TMPDIR": root / "r",
        }
        for folder in ("home", "r"):
            (root / folder).mkdir()
        secrets = {"WANDB_API_KEY": SECRET, "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        desk = Desk(root, {**kept, **secrets, **{name: str(path) for name, path in named.items()}})
        desk.yaml.write_text(YAML)
        made.append(desk)
        return desk

    yield make
    for desk in made:
        desk.close()
    for desk in made:
        shutil.rmtree(desk.root, ignore_errors=True)


@pytest.fixture
def desk(new_desk: Callable[[], Desk]) -> Desk:
    """A place of one test's own."""
    return new_desk()


@dataclass(frozen=True)
class Journey:
    """Prepared, searched, shown, exported: what each verb said."""

    desk: Desk
    prepared: Any
    searched: Any
    shown: Any
    exported: Any

    @property
    def study(self) -> str:
        return str(self.searched["study"])

    @property
    def bundle(self) -> Path:
        return self.desk.root / "exported/bundle"


@pytest.fixture(scope="session")
def journey(new_desk: Callable[[], Desk]) -> Journey:
    """The whole way up to an exported bundle, walked once by one actor (two cores per trial); tests only read it."""
    desk = new_desk()
    search = ("--space", "smoke", "--trials", 3, "--scheduler", "fifo", "--cpus-per-trial", 2, "--track", "wandb", "--json")
    return Journey(
        desk,
        desk.run("prepare_data.py", desk.yaml, "--json").json,
        desk.run("run_search.py", desk.yaml, *search).json,
        desk.run("show_trials.py", "tiny", "--json").json,
        desk.run("export_ensemble.py", desk.yaml, "--top", 2, "--to", desk.root / "exported", "--json").json,
    )


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a verb's own `main` in this process, which has torch loaded already; returns code, stdout and stderr."""

    def call(desk: Desk, verb: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(desk.root)
        for name in ("PODIUM_DATA", "PODIUM_STORAGE", "HOME"):
            monkeypatch.setenv(name, desk.environment[name])
        filled = [str(argument).format(root=desk.root, yaml=desk.yaml, photos=desk.photos) for argument in arguments]
        monkeypatch.setattr(sys, "argv", [f"{verb}.py", *filled])
        capsys.readouterr()
        code = importlib.import_module(verb).main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def everything(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its time and size."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


def refused(run: Run, desk: Desk, verb: str, arguments: tuple[object, ...], texts: tuple[str, ...]) -> None:
    before = everything(desk.root)
    code, out, err = run(desk, verb, *arguments)
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith(f"{verb}.py: "), err
    missing = [text for text in texts if text not in err]
    assert not missing, err
    assert everything(desk.root) == before
