"""docs/extend.md, done: in a copy of the code each example takes its one place, then the verb knows it and the contract tests pass."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import TINY

ROOT = Path(__file__).parents[2]
FOLDERS = ("system", "ledger", "competitions", "search_spaces", "trainables", "ensemble", "submissions", "search", "tests")
EXAMPLE = re.compile(r"^```python\n# (?P<path>\S+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINE = re.compile(r'^(?P<dict>[A-Z_]+) = \{\.\.\., (?P<entry>"(?P<name>\w+)": .*)\}\n', re.MULTILINE)
SETTINGS = {
    "LOSSES": "loss",
    "CLASS_WEIGHTS": "class_weights",
    "OPTIMIZERS": "optimizer",
    "SAMPLERS": "sampler",
    "AUGMENTATIONS": "augmentation",
    "MIXES": "mix",
}
CONTRACTS = (
    *(f"tests/trainables/test_{name}.py" for name in ("losses", "optimizers", "samplers", "augmentations", "mixing", "views")),
    "tests/trainables/probes/test_heads.py",
    "tests/competitions/test_layouts.py",
    "tests/competitions/test_metrics.py",
    "tests/competitions/test_readers.py",
    "tests/ensemble/test_votes.py",
    "tests/ensemble/selection/test_strategies.py",
    "tests/submissions/test_answers.py",
    "tests/search/test_request.py",
    "tests/search/test_trackers.py",
)
ELSEWHERE = ("ANSWERS", "PROBES", "READERS", "LAYOUTS", "RULES", "STRATEGIES")
"""Dicts of which a search of the tiny competition needs nothing, or whose settings go with no others."""


@dataclass(frozen=True)
class Copy:
    """The code with every example in it, and the names that the examples gave, by dict."""

    root: Path
    names: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PODIUM_DATA": str(self.root / "data"), "PODIUM_STORAGE": str(self.root / "runs")}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def extended(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root, names = tmp_path_factory.mktemp("extended"), {}
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run_search.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(tiny_data / "tiny", root / "data/tiny")
    for example in EXAMPLE.finditer((ROOT / "docs/extend.md").read_text()):
        path, line = root / example["path"], LINE.search(example["code"])
        if line is None:
            path.write_text(example["code"])
            continue
        text, count = path.read_text(), 0
        opening = re.compile(rf"^{line['dict']}: .* = \{{", re.MULTILINE)
        text, count = opening.subn(lambda found, line=line: f"{found[0]}{line['entry']}, ", text)
        assert count == 1, line["dict"]
        start = opening.search(text).start()  # type: ignore[union-attr]  # it was found just now
        path.write_text(text[:start] + LINE.sub("", example["code"]) + text[start:])
        names[line["dict"]] = line["name"]
    return Copy(root, names)


def test_the_verb_knows_every_new_name(extended: Copy) -> None:
    names = extended.names
    assert set(names) == {*SETTINGS, "VIEWS", "METRICS", "SEARCHERS", "SCHEDULERS", "TRACKERS", *ELSEWHERE}
    chosen = {setting: names[of] for of, setting in SETTINGS.items()}
    drawn = {"backbone": "test_vit", "epochs": 2, **chosen}
    space = f"MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 4, 1, 2\n\n\ndef suggest(trial):\n    return {drawn}\n"
    (extended.root / "search_spaces/planted.py").write_text(space)
    asked = TINY.replace("views: [identity,", f"views: [identity, {names['VIEWS']},") + f"metric: {names['METRICS']}\n"
    (extended.root / "tiny.yaml").write_text(asked)
    flags = ["--searcher", names["SEARCHERS"], "--scheduler", names["SCHEDULERS"], "--track", names["TRACKERS"]]
    done = extended.run("run_search.py", "tiny.yaml", "--space", "planted", "--targets", "colour", *flags, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)["for_example"]["colour"]["config"]
    assert {setting: config[setting] for setting in chosen} == chosen
    helped = extended.run("run_search.py", "--help").stdout
    assert all(names[of] in helped for of in ("SEARCHERS", "SCHEDULERS", "TRACKERS"))
    probe = f"from trainables.config import named; assert {names['PROBES']!r} in named()['probe']"
    assert extended.run("-c", probe).returncode == 0
    assert extended.run("-c", "from search_spaces import load_space; load_space('mine')").returncode == 0


@pytest.mark.long
def test_the_contract_tests_run_over_every_new_line_and_pass(extended: Copy) -> None:
    chosen = sorted(set(extended.names.values()))
    wanted = " or ".join([*chosen, "test_every_reader_is_laid_out_here"])
    done = extended.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", "-k", wanted, *CONTRACTS)
    assert done.returncode == 0, done.stdout[-3000:]
    assert all(re.search(rf"^PASSED .*\b{name}\b", done.stdout, re.MULTILINE) for name in chosen), done.stdout[-3000:]
