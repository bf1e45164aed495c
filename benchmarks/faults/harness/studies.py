"""A tiny competition on disk, and verbs started on it as people start them, killed by SIGKILL, and waited for.

Every child has a session of its own, so that what it started can be found and ended without naming any program.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import _photos
from benchmarks.faults.harness import truth

ROOT = Path(__file__).parents[3]
HOOK = ROOT / "benchmarks/faults/hook"
VERB = Path(__file__).parent / "verb.py"
PHOTOS, TEST_PHOTOS, SIDE, SIZE = 160, 20, 48, 32
NAME = "bench"
TARGET = "kind"
SPACE = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 6, 2, 2
def suggest(trial):
    return {
        "backbone": trial.suggest_categorical("backbone", ["test_efficientnet", "test_byobnet"]),
        "epochs": MAX_EPOCHS,
        "batch_size": 16,
        "lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.0, 0.9]),
        "augmentation": "light",
    }
"""
"""Six epochs of 0.1 to 0.3 s each on one core; rungs after 2 and 4."""
EPOCHS = 6


@dataclass
class Child:
    """A started program; what it says goes into files, so that it never waits for a reader."""

    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path

    def kill(self) -> None:
        """SIGKILL for the program alone, as the kernel does when memory runs out."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_all(self) -> None:
        """SIGKILL for everything in its session, as a machine that loses power does."""
        while members := session(self.process.pid):
            for member in members:
                _kill(member)
            self.process.poll()
            time.sleep(0.01)
        self.process.wait()

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, *, code: int | None = 0, timeout: float = 1200.0) -> str:
        """Wait for its end and return what it printed on stdout.

        Raises:
            RuntimeError: It ended with another exit code than this one; `None` takes any.
        """
        self.process.wait(timeout)
        if code is not None and self.process.returncode != code:
            raise RuntimeError(f"exit {self.process.returncode}, not {code}: {self.out.read_text()}\n{self.err.read_text()}")
        return self.out.read_text()

    def json(self, *, timeout: float = 1200.0) -> Any:
        """Wait for a verb's end and return its one document."""
        return json.loads(self.wait(timeout=timeout))

    def results(self, *, timeout: float = 1200.0) -> Any:
        """Wait for the control's end and return its document, one line on its stdout; Tune prints there too, before it and behind it."""
        return document(self.wait(timeout=timeout))

    @property
    def said(self) -> str:
        """What it wrote on stderr so far."""
        return self.err.read_text()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None


def document(out: str) -> Any:
    """The one line with results among all that a control printed.

    Raises:
        RuntimeError: There is none.
    """
    found = [line for line in out.splitlines() if line.startswith('{"results": ')]
    if not found:
        raise RuntimeError(f"the control told no results: {out[-400:]}")
    return json.loads(found[-1])


@dataclass
class Place:
    """One user's place: a competition, its photos, a storage, and a shell to run verbs in.

    Attributes:
        cpus: How many cores a Ray started here hands out: 1 makes one trial at a time, whatever the machine has.
    """

    root: Path
    cpus: int = 1
    storage_name: str = "storage"
    children: list[Child] = field(default_factory=list)

    @property
    def yaml(self) -> Path:
        return self.root / f"{NAME}.yaml"

    @property
    def storage(self) -> Path:
        return self.root / self.storage_name

    @property
    def kept(self) -> Path:
        """The competition's folder in the storage."""
        return self.storage / NAME

    @property
    def truth_file(self) -> Path:
        return self.root / "truth.jsonl"

    def truth(self) -> list[truth.Line]:
        return truth.read(self.truth_file)

    def space(self, name: str, text: str) -> None:
        """Put a search space where `verb` and `start` find it."""
        (self.root / "spaces" / f"{name}.py").write_text(text)

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.root / "home"),
            "PODIUM_DATA": str(self.root / "data"),
            "PODIUM_STORAGE": str(self.storage),
            "PYTHONPATH": str(HOOK),
            "FAULTS_TRUTH": str(self.truth_file),
            "RAY_TMPDIR": str(self.root / "r"),
            "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": self.cpus}),
            "RAY_USAGE_STATS_ENABLED": "0",
            "HF_HUB_OFFLINE": "1",
            **extra,
        }

    def start(self, verb: str, *arguments: object, cwd: Path | None = None, **environment: str) -> Child:
        """Start a verb of this repository."""
        return self.run([str(VERB), str(self.root / "spaces"), str(ROOT / verb), *arguments], cwd, environment)

    def verb(self, verb: str, *arguments: object) -> Any:
        """Run a verb to its end; returns its document."""
        return self.start(verb, *arguments, "--json").json()

    def search(self, *arguments: object, **keywords: Any) -> Child:
        """Start a study `s` of the space `steps`, one core per trial."""
        fixed = ("--space", "steps", "--targets", TARGET, "--study", "s", "--json")
        return self.start("run_search.py", self.yaml, *fixed, *arguments, **keywords)

    def resume(self, *arguments: object, **keywords: Any) -> Child:
        """Go on with study `s`."""
        return self.start("run_search.py", self.yaml, "--resume", "s", "--json", *arguments, **keywords)

    def control(self, *arguments: object, **environment: str) -> Child:
        """Start, or go on with, the bare Ray Tune in this storage (see `tune`); its results come as one document."""
        path = os.pathsep.join([str(HOOK), str(ROOT)])
        command = ["-m", "benchmarks.faults.harness.tune", self.storage, "--photos", self.control_photos(), *arguments]
        return self.run(command, ROOT, {"PYTHONPATH": path, "RAY_AUTH_MODE": "disabled", **environment})

    def control_photos(self) -> Path:
        """The training photos for the control, decoded once: images, labels, and the rows to train and to judge on."""
        import numpy as np
        from PIL import Image

        path = self.root / "photos.npz"
        if not path.exists():
            files = sorted((self.root / "data" / NAME / "photos").iterdir())[:PHOTOS]
            images = np.stack([np.asarray(Image.open(file).resize((SIZE, SIZE))) for file in files])
            rows = np.arange(PHOTOS)
            judged = rows // 4 % 4 == 0  # whole persons, a quarter of them, as in a fold of the study
            np.savez(path, images=images, labels=rows % 3, training=rows[~judged], validation=rows[judged])
        return path

    def run(self, arguments: list[object], cwd: Path | None, environment: Mapping[str, str]) -> Child:
        """Start this Python with these arguments in a session of its own."""
        number = len(self.children)
        out, err = self.root / f"out{number}.txt", self.root / f"err{number}.txt"
        with open(out, "wb") as to_out, open(err, "wb") as to_err:
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=cwd or self.root,
                env=self.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
                start_new_session=True,
            )
        self.children.append(Child(process, out, err))
        return self.children[-1]

    def close(self) -> None:
        for child in self.children:
            child.kill_all()


@contextmanager
def place(*, cpus: int = 1) -> Iterator[Place]:
    """A place with photos drawn and the space `steps`; everything that was started in it ends with the block."""
    made = Place(Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp")), cpus)  # short: Ray's socket names may have 107 characters
    try:
        for folder in ("home", "r", "spaces", "data"):
            (made.root / folder).mkdir()
        _photos.draw(made.root / "data", n=PHOTOS, side=SIDE, size=SIZE, test=TEST_PHOTOS)
        text = _photos.YAML.replace("SIZE", str(SIZE)) + "split: {name: persons, folds: 4}\nviews: [identity, hflip]\n"
        made.yaml.write_text(text)
        made.space("steps", SPACE)
        yield made
    finally:
        made.close()
        shutil.rmtree(made.root, ignore_errors=True)


def eventually(holds: Callable[[], Any], what: str, *, child: Child | None = None, timeout: float = 600.0) -> Any:
    """The first true value of `holds()`.

    Raises:
        RuntimeError: It never came, or the child that was to bring it about ended before.
    """
    end = time.monotonic() + timeout
    while not (value := holds()):
        over = child is not None and child.ended
        if (over and not (value := holds())) or time.monotonic() > end:
            said = child.said if child is not None else ""
            raise RuntimeError(f"{what}: did not happen{' before the program ended' if over else ''}\n{said}")
        if value:
            break
        time.sleep(0.005)
    return value


def session(leader: int) -> list[int]:
    """The processes in the session of a child that was started as its leader, zombies left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
