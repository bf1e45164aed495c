"""Compiled loops: the same whole numbers as numpy, imported when first called, and kept for the next process where that is possible."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ensemble.selection.kernels import compiled, laid_out, name_largest, units_of

ROOT = Path(__file__).parents[3]
shapes = st.tuples(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 80), st.integers(2, 7), st.booleans())


def rows(seed: int, n: int, n_photos: int, n_classes: int, coarse: bool) -> NDArray[np.float16]:
    """Probabilities `(n, N, C)` float16, some of them exactly 0 and 1; coarse ones tie often."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 4, (n, n_photos, n_classes)) if coarse else rng.gamma(0.2, 1, (n, n_photos, n_classes))
    raw = raw + 4 * rng.integers(0, 2) * np.eye(n_classes)[rng.integers(0, n_classes, n_photos)]
    raw[..., 0] += raw.sum(axis=2) == 0
    return (raw / raw.sum(axis=2, keepdims=True)).astype(np.float16)


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_probabilities_are_laid_out_as_whole_numbers(shape: tuple[int, int, int, int, bool]) -> None:
    probs = rows(*shape)
    units = laid_out(probs)
    np.testing.assert_array_equal(units, units_of(probs).transpose(1, 2, 0))
    np.testing.assert_array_equal(units, probs.astype(np.float64).transpose(1, 2, 0) * 2**24)


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_each_view_names_its_most_probable_class_the_first_of_equals(shape: tuple[int, int, int, int, bool]) -> None:
    probs = rows(*shape)
    named = np.empty(probs.shape[:2], dtype=np.int8)
    name_largest(probs.view(np.uint16), named)
    np.testing.assert_array_equal(named, probs.argmax(axis=2))


def test_numba_is_imported_by_the_first_call_and_not_before() -> None:
    lines = [
        "import sys",
        "import numpy as np",
        "from ensemble.selection.greedy import Library, select",
        "before = 'numba' in sys.modules",
        "labels = np.arange(300) % 3",
        "assert select(Library.of(np.eye(3)[labels][None], labels), metric='accuracy').order == (0,)",
        "print(before, 'numba' in sys.modules)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False True"


def test_a_loop_that_numba_cannot_keep_on_disk_runs_all_the_same() -> None:
    made: dict[str, Any] = {}
    exec("def double(values):\n    for place in range(len(values)):\n        values[place] *= 2", made)
    values = np.arange(4)
    compiled(made["double"])(values)
    assert values.tolist() == [0, 2, 4, 6]
