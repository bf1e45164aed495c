"""Targets of every kind are labels per head of the same photos."""

import numpy as np
import pytest

from competitions.competition import Competition
from competitions.loading import parse_competition
from competitions.prepare import Prepared
from competitions.targets import choose_targets, targets
from system.errors import UserError
from tests.conftest import TINY


def test_tasks_come_first_and_are_what_a_search_takes_by_itself(tiny_competition: Competition) -> None:
    assert list(targets(tiny_competition)) == ["colour", "shape", "both", "label", "shape@red", "shape@rest"]
    assert [t.name for t in choose_targets(tiny_competition, None)] == ["colour", "shape"]
    assert [t.name for t in choose_targets(tiny_competition, ["all"])] == list(targets(tiny_competition))
    with pytest.raises(UserError, match="did you mean shape@red"):
        choose_targets(tiny_competition, ["shape@rde"])


def test_heads_are_the_tasks_labels_and_the_label_is_composed_row_major(tiny: Prepared) -> None:
    known = targets(tiny.competition)
    single, label = tiny.manifest.labels, tiny.labels(known["label"])["label"]
    both = tiny.labels(known["both"])
    assert list(both) == list(known["both"].heads) == ["colour", "shape"], "by name, in whatever order they were declared"
    for task in both:
        np.testing.assert_array_equal(both[task], single[task])
    rows = tiny.manifest.rows("train")
    np.testing.assert_array_equal(label[rows], single["colour"][rows] * 2 + single["shape"][rows])
    assert set(label[tiny.manifest.rows("test")]) == {-1}


def test_a_subset_and_what_it_leaves_out_make_up_the_whole_fold(tiny: Prepared) -> None:
    known = targets(tiny.competition)
    for name, numbers in (("shape@red", [0]), ("shape@rest", [1, 2])):
        training, validation = tiny.rows(known[name], 1)
        for rows in (training, validation):
            assert set(tiny.manifest.labels["colour"][rows]) == set(numbers)
        whole = tiny.rows(known["shape"], 1)[1]
        outside = tiny.outside(known[name], 1)
        assert not set(outside) & set(validation)
        np.testing.assert_array_equal(np.union1d(outside, validation), whole)
        labels = tiny.labels(known[name])["shape"]
        assert (labels[outside] == -1).all()
        np.testing.assert_array_equal(labels[validation], tiny.manifest.labels["shape"][validation])
    prior = tiny.priors(known["shape@red"], tiny.rows(known["shape@red"], 1)[0])["shape"]
    assert prior.sum() == pytest.approx(1)


def test_every_target_has_data_of_its_own_name_and_declaring_some_renames_none(tiny: Prepared) -> None:
    known = targets(tiny.competition)
    names = {name: tiny.data_fingerprint(target) for name, target in known.items()}
    assert len(set(names.values())) == len(names)
    bare = parse_competition(TINY.split("targets:")[0] + "image_size" + TINY.split("image_size")[1], "tiny", where="x")
    assert {name: tiny.data_fingerprint(t) for name, t in targets(bare).items()} == {n: names[n] for n in ("colour", "shape")}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("both: {heads: [colour, shpae]}", "targets.both: unknown head 'shpae'; did you mean shape"),
        ("both: {heads: []}", "targets.both.heads must have at least 1 entries"),
        ("both: {heads: [shape, shape]}", "heads must differ, 'shape' stands twice"),
        ("shape: {heads: [shape, colour]}", "the name is that of a task"),
        ("odd: {heads: [shape], where: {colur: red}}", "did you mean colour"),
        ("odd: {heads: [shape], where: {colour: rde}}", "did you mean red"),
        ("odd: {heads: [shape], where: {colour: [red, green, blue]}}", "must name some of the classes, not none, not all"),
        ("odd: {heads: [shape], where: {shape: disc}}", "the target's own heads ask for shape"),
        ("odd: {heads: [label], where: {colour: red}}", "the target's own heads ask for colour"),
        ("all: {heads: [shape]}", "the name means every target"),
        ("a b: {heads: [shape]}", "must begin with a letter or digit"),
        ("odd: {heads: [shape], were: {colour: red}}", "targets.odd: unknown setting 'were'; did you mean where"),
    ],
)
def test_mistakes_in_a_target_are_named(entry: str, message: str) -> None:
    text = TINY.replace("  both: {heads: [shape, colour]}", f"  {entry}")
    with pytest.raises(UserError) as wrong:
        parse_competition(text, "tiny", where="tiny.yaml")
    assert message in str(wrong.value), wrong.value
