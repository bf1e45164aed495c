"""docs/tutorial.md, typed by nobody: its files are written, its edits made, its commands run, and what it shows is what they print.

A block that names its file in the first line becomes that file; a `diff` is an edit; each `sh` is run, and a `text` after it must be
found in what it printed, line by line and in order, `...` standing for anything. `# exit code N` at a block's end is its exit code.
"""

import contextlib
import csv
import gzip
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial.md"
FASHION = Path(os.environ.get("PODIUM_DATA") or ROOT.parent / "shared" / "data") / "fashion_mnist"
FILES, EDIT, COMMANDS, SHOWN = ("yaml", "python"), "diff", "sh", "text"
BLOCK_S = 1200  # for what hangs; a block takes a few minutes


@dataclass(frozen=True)
class Block:
    """What stands between two fences, and the kind that the first of them names."""

    kind: str
    text: str

    @property
    def code(self) -> int:
        """The exit code the page gives for these commands."""
        found = re.search(r"# exit code (\d+)\s*\Z", self.text)
        return int(found[1]) if found else 0


@dataclass(frozen=True)
class Folder:
    """A copy of the repository, as a newcomer has it."""

    root: Path
    environment: dict[str, str]

    def write(self, block: Block) -> None:
        """Make the file that the block's first line names."""
        named = re.match(r"# (\S+)\n", block.text)
        assert named, f"a {block.kind} block must name its file in the first line:\n{block.text}"
        assert not (self.root / named[1]).exists(), f"{named[1]} is there already; the page should show the edit"
        (self.root / named[1]).write_text(block.text)

    def run(self, commands: str) -> tuple[int, str]:
        """Exit code and everything printed, as bash gives them to somebody who stops at the first command that fails."""
        child = subprocess.Popen(
            ["bash", "-e", "-c", commands],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            printed, _ = child.communicate(timeout=BLOCK_S)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        return child.returncode, printed

    def edit(self, block: Block) -> None:
        """Change what the page's diff changes; it must fit without guessing."""
        done = subprocess.run(
            ["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch"],
            cwd=self.root,
            input=block.text,
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, f"{done.stdout}\n{block.text}"


def blocks_of(page: str) -> list[Block]:
    """All blocks of a page, in order; what would be a command outside of them is refused."""
    found = [Block(kind, text) for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    outside = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"^( {4}|\t)", outside, re.MULTILINE), "an indented block is run by nobody; make it ```sh"
    assert "```" not in outside
    return found


def missing_line(shown: str, printed: str) -> str | None:
    """The first line shown that does not follow the ones before it in what was printed; blanks count as one."""
    lines = iter([" ".join(line.split()) for line in printed.replace("\r", "\n").splitlines()])
    for line in shown.splitlines():
        pattern = re.compile(".*".join(re.escape(part) for part in " ".join(line.split()).split("...")))
        if not any(pattern.fullmatch(one) for one in lines):
            return line
    return None


@pytest.fixture
def folder() -> Iterator[Folder]:
    """The repository's files, known to a git of their own, in a short place: Ray's socket names may have 107 characters."""
    place = Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))
    root = place / "podium"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    (root / ".venv").symlink_to(sys.prefix)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    own = {"HOME": str(place / "home"), "RAY_TMPDIR": str(place / "r"), "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    for name in ("home", "r"):
        (place / name).mkdir()
    made = Folder(root, {**kept, **own})
    code, said = made.run("git init -q && git add .")
    assert code == 0, said
    yield made
    shutil.rmtree(place, ignore_errors=True)


def lay_out(folder: Path) -> None:
    """Fashion-MNIST as it is published, four packed idx files, from the arrays and tables of its copy here."""
    folder.mkdir(parents=True)
    classes = yaml.safe_load((ROOT / "competitions/fashion_mnist.yaml").read_text())["tasks"]["article"]["classes"]
    with np.load(FASHION / "images.npz") as packed:
        photos = {"train": packed["train"], "t10k": packed["eval"]}
    for part, table in (("train", "manifest.csv"), ("t10k", "eval_labels.csv")):
        with open(FASHION / table, newline="") as file:
            named = {row["image"]: row["article"] for row in csv.DictReader(file)}
        key = {"train": "train", "t10k": "eval"}[part]
        labels = [classes.index(named[f"images.npz#{key}/{row}"]) for row in range(len(photos[part]))]
        for name, array in (("images-idx3", photos[part]), ("labels-idx1", np.array(labels, np.uint8))):
            header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes(), 1))


def test_every_block_is_a_file_an_edit_that_fits_a_command_or_what_it_prints(folder: Folder) -> None:
    blocks = blocks_of(PAGE.read_text())
    for before, block in zip([None, *blocks], blocks, strict=False):
        assert block.kind in (*FILES, EDIT, COMMANDS, SHOWN), f"a block of kind {block.kind!r}:\n{block.text}"
        assert block.kind != SHOWN or (before is not None and before.kind == COMMANDS), f"nothing printed this:\n{block.text}"
        if block.kind in FILES:
            folder.write(block)
        if block.kind == EDIT:
            folder.edit(block)
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link


@pytest.mark.long
def test_the_first_hour_goes_as_the_page_says(folder: Folder) -> None:
    if not FASHION.is_dir():
        pytest.skip(f"{FASHION} is not there; PODIUM_DATA names the folder that holds it")
    lay_out(folder.root / "data/first")
    page, ran, printed = PAGE.read_text(), 0, ""
    for block in blocks_of(page):
        if block.kind in FILES:
            folder.write(block)
        elif block.kind == EDIT:
            folder.edit(block)
        elif block.kind == COMMANDS:
            code, printed = folder.run(block.text)
            assert code == block.code, f"exit {code}\n$ {block.text}\n{printed}"
            ran += 1
        else:
            line = missing_line(block.text, printed)
            assert line is None, f"not printed: {line}\n{printed}"
    assert ran == page.count("```sh\n")
