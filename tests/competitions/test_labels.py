"""The composition table: row-major, there and back."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competitions.labels import Composition, compose, compose_probs, decompose, decompose_probs

FACES = Composition(("mask", "gender", "age"), (("wear", "incorrect", "none"), ("male", "female"), ("young", "middle", "old")))


@st.composite
def tables(draw: st.DrawFn) -> Composition:
    """Tables of one to four tasks."""
    sizes = draw(st.lists(st.integers(2, 4), min_size=1, max_size=4))
    return Composition(tuple(f"t{i}" for i in range(len(sizes))), tuple(tuple(f"c{c}" for c in range(n)) for n in sizes))


def test_first_task_is_most_significant() -> None:
    mask, gender, age = np.array(list(product(range(3), range(2), range(3)))).T
    label = compose(FACES, {"age": age, "mask": mask, "gender": gender})
    assert label.tolist() == (mask * 6 + gender * 3 + age).tolist() == list(range(18))
    assert FACES.label_classes[9] == "incorrect/female/young"
    assert FACES.n_classes == 18


@given(tables())
def test_there_and_back_is_the_same(table: Composition) -> None:
    labels = np.arange(-1, table.n_classes)
    parts = decompose(table, labels)
    assert compose(table, parts).tolist() == labels.tolist()
    names = ["/".join(table.classes[i][parts[t][row]] for i, t in enumerate(table.tasks)) for row in range(1, len(labels))]
    assert tuple(names) == table.label_classes


def test_a_photo_without_one_label_has_no_composed_label() -> None:
    assert compose(FACES, {"mask": np.array([0, 2]), "gender": np.array([-1, 1]), "age": np.array([1, 2])}).tolist() == [-1, 17]


@given(tables(), st.integers(0, 99))
def test_outer_product_agrees_with_labels_and_sums_back(table: Composition, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs = {task: rng.dirichlet(np.ones(size), 5) for task, size in zip(table.tasks, table.sizes, strict=True)}
    joint = compose_probs(table, probs)
    assert joint.shape == (5, table.n_classes)
    assert joint.argmax(axis=1).tolist() == compose(table, {t: p.argmax(axis=1) for t, p in probs.items()}).tolist()
    for task, back in decompose_probs(table, joint).items():
        np.testing.assert_allclose(back, probs[task])


def test_class_nineteen_is_refused() -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        decompose(FACES, np.array([18]))
