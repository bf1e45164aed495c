"""Compiled loops: the same whole numbers as numpy, and only where they pay."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competitions.metrics import METRICS
from ensemble.selection.greedy import Library, select
from ensemble.selection.kernels import installed, only
from ensemble.views.subsets import RULES, subset_votes
from ensemble.votes import Floats

ROOT = Path(__file__).parents[2]
COUNTED = [name for name, metric in METRICS.items() if metric.of_many]
needs_numba = pytest.mark.skipif(not installed(), reason="numba, which is optional, is not installed")
shapes = st.tuples(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 80), st.integers(2, 7), st.booleans())


def rows(seed: int, n: int, n_photos: int, n_classes: int, coarse: bool) -> Floats:
    """Probabilities `(n, N, C)` float16, some of them exactly 0 and 1; coarse ones tie often."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 4, (n, n_photos, n_classes)) if coarse else rng.gamma(0.2, 1, (n, n_photos, n_classes))
    raw = raw + 4 * rng.integers(0, 2) * np.eye(n_classes)[rng.integers(0, n_classes, n_photos)]
    raw[..., 0] += raw.sum(axis=2) == 0
    return (raw / raw.sum(axis=2, keepdims=True)).astype(np.float16)


@needs_numba
@settings(max_examples=40)
@given(shapes, st.sampled_from(COUNTED))
def test_compiled_selection_equals_that_of_numpy(shape: tuple[int, int, int, int, bool], metric: str) -> None:
    probs = rows(*shape)
    rng = np.random.default_rng(shape[0])
    labels, times = rng.integers(0, probs.shape[2], probs.shape[1]), rng.integers(0, 3, probs.shape[1])
    times[0] = 1
    found = []
    for who in ("numpy", "numba"):
        with only(who):
            library = Library.of(probs, labels)
            found.append((library.units.tolist(), select(library, metric=metric, rounds=12, times=times)))
    assert found[0] == found[1]


@needs_numba
@settings(max_examples=40)
@given(shapes, st.sampled_from(RULES), st.sampled_from(COUNTED))
def test_compiled_subsets_of_views_equal_those_of_numpy(shape: tuple[int, int, int, int, bool], rule: str, metric: str) -> None:
    probs = rows(*shape)
    rng = np.random.default_rng(shape[0])
    labels, times = rng.integers(-1, probs.shape[2], probs.shape[1]), rng.integers(0, 3, probs.shape[1])
    labels[0], times[0] = 0, 1
    found = []
    for who in ("numpy", "numba"):
        with only(who):
            votes = subset_votes(probs, rule)
            scores = votes.scores(labels, metric=metric, times=times)
        found.append([part.tolist() for part in (votes.constant, votes.rows, votes.named, scores)])
    assert found[0] == found[1]


@needs_numba
def test_numba_is_imported_once_it_pays_and_not_before() -> None:
    assert _told("print('numba' in sys.modules, ready(PAYS_AFTER) is not None, 'numba' in sys.modules)") == "False True True"


def test_without_numba_all_is_as_with_it() -> None:
    assert _told("print(ready(2 * PAYS_AFTER))", before="sys.modules['numba'] = None") == "None"


def _told(last: str, before: str = "") -> str:
    """What a fresh process says after a small selection."""
    lines = [
        "import sys",
        before,
        "import numpy as np",
        "from ensemble.selection.greedy import Library, select",
        "from ensemble.selection.kernels import PAYS_AFTER, ready",
        "labels = np.arange(300) % 3",
        "assert select(Library.of(np.eye(3)[labels][None], labels), metric='accuracy').order == (0,)",
        last,
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
