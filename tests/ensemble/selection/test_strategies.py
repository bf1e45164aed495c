"""The contract of `STRATEGIES`: a function and one line are a strategy, for the verb and for the comparison."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ensemble.selection.strategies import STRATEGIES

ROOT = Path(__file__).parents[3]
SEES = """
import numpy as np
from ensemble.options import Options, heeding
from ensemble.scoring.gain import Judge
from ensemble.selection.candidates import Candidates
from ensemble.selection.compare import compare_strategies
labels, rng = np.arange(40) % 2, np.random.default_rng(0)
probs = rng.dirichlet(np.ones(2), (3, 1, 40)).astype(np.float16)
groups = np.array([f"g{number // 4}" for number in range(40)])
candidates = Candidates(("a", "b", "c"), ("identity",), probs, labels, groups, "accuracy")
judge = Judge(labels, groups, metric="accuracy", seed=0, n_resamples=5)
found = compare_strategies(candidates, sizes=(1, 2), judge=judge, strategies=("newest", "single"))
print("newest" in heeding(Options()), found.of("newest").words, found.of("newest").members)
"""


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_each_says_what_it_does_and_how_many_members_it_takes(name: str) -> None:
    strategy = STRATEGIES[name]
    assert strategy.words
    assert (strategy.most is None) == (not strategy.takes), "who does not heed every number says how many it takes"


@pytest.mark.long
def test_a_line_is_enough_for_the_verb_and_the_comparison(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    folders = ("bundle", "competitions", "ensemble", "ledger", "search", "submissions", "system", "trainables")
    for folder in folders:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "export_ensemble.py", tmp_path)
    path = tmp_path / "ensemble" / "selection" / "strategies.py"
    path.write_text(path.read_text() + 'STRATEGIES["newest"] = Strategy("the best trial again", single, "one trial", 1)\n')

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)

    seen = run("-c", SEES)
    assert seen.stdout.startswith("True the best trial again ("), seen.stderr
    refused = run(
        "export_ensemble.py", "demo", "--vote", "newest", "--top", "3", "--to", "out", "--storage", str(tmp_path / "runs")
    )
    assert refused.returncode == 2
    assert "--top 3 has no effect with --vote newest, which takes one trial" in refused.stderr
