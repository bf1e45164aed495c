"""Classes that a file leaves out are read from the labels, kept, and mean from then on what they meant at first."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from competitions.competition import Competition
from competitions.loading import parse_competition
from competitions.prepare import load_prepared, prepare
from competitions.readers.read import read
from competitions.readers.rows import in_order
from competitions.targets import targets
from system.errors import UserError
from system.paths import CompetitionPaths
from tests.competitions.test_layouts import LAYOUTS, SQUARE, invent
from tests.conftest import TINY

LEFT_OUT = TINY.replace(", classes: [red, green, blue]", "").replace(", classes: [disc, square]", "")


@pytest.fixture
def copied(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(tiny_data, tmp_path / "data")
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    return tmp_path / "data/tiny/manifest.csv"


def tiny_without(text: str = LEFT_OUT) -> Competition:
    return parse_competition(text, "tiny", where="tiny.yaml")


@given(st.lists(st.one_of(st.integers(-99, 999).map(str), st.text("ab", min_size=1)), unique=True))
def test_the_order_of_classes_hangs_on_their_names_alone(names: list[str]) -> None:
    assert in_order(names) == in_order(reversed(names))
    assert in_order(str(k) for k in reversed(range(12))) == tuple(map(str, range(12)))


def test_left_out_or_written_the_classes_are_the_same_competition(copied: Path, tmp_path: Path) -> None:
    paths = CompetitionPaths(tmp_path / "tiny")
    found = prepare(tiny_without(), paths)
    assert found.competition.tasks["colour"].classes == ("blue", "green", "red")
    assert (paths.data / "classes.json").is_file()
    assert load_prepared(paths, found.save()).competition == found.competition
    written = tiny_without(TINY.replace("[red, green, blue]", "[blue, green, red]"))
    again = prepare(written, CompetitionPaths(tmp_path / "other"))
    assert again.key() == found.key()
    assert not (tmp_path / "other/data/classes.json").exists()
    for name in ("colour", "label", "shape@red"):
        target = targets(found.competition)[name]
        assert found.data_fingerprint(target) == again.data_fingerprint(targets(again.competition)[name])


def test_a_later_unpack_with_other_labels_is_refused_by_name(copied: Path, tmp_path: Path) -> None:
    prepare(tiny_without(), CompetitionPaths(tmp_path / "tiny"))
    copied.write_text(copied.read_text().replace(",red,", ",pink,"))
    with pytest.raises(UserError) as caught:
        prepare(tiny_without(LEFT_OUT.replace("colour: red", "colour: pink")), CompetitionPaths(tmp_path / "tiny"))
    [fault] = caught.value.faults
    assert "task colour: its labels name other classes than when they were first read: 1 came (pink) and 1 went (red)" in fault
    assert "copy the data again" in fault


def test_settings_that_name_classes_are_checked_once_the_classes_are_known(copied: Path) -> None:
    with pytest.raises(UserError, match=r"tiny, with the classes that its labels name: .*where.colour: unknown class 'crimson'"):
        read(tiny_without(LEFT_OUT.replace("where: {colour: red}", "where: {colour: crimson}")), copied.parent)
    with pytest.raises(UserError, match=r"where\.shape must name some of the classes, not none, not all"):
        read(
            tiny_without(
                LEFT_OUT.replace("heads: [shape], where: {colour: red}", "heads: [colour], where: {shape: [disc, square]}")
            ),
            copied.parent,
        )


def test_what_cannot_be_classes_says_why(copied: Path) -> None:
    same = LEFT_OUT.replace("{column: colour}", "{column: role}")
    with pytest.raises(UserError, match="task colour: all training labels are 'train', and a task needs two classes"):
        read(tiny_without(same), copied.parent)
    with pytest.raises(UserError, match="classes must be written where there are cuts"):
        tiny_without(LEFT_OUT.replace("{column: colour}", "{column: colour, cuts: [1]}"))
    with pytest.raises(UserError, match="classes must have at least 2 entries"):
        tiny_without(LEFT_OUT.replace("{column: colour}", "{column: colour, classes: [red]}"))


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_reader_reads_the_classes(tmp_path: Path, layout: str) -> None:
    photos = invent([("male", 20), ("female", 70)], 2, 0, SQUARE)
    written = LAYOUTS[layout](tmp_path, photos)
    bare = written.yaml.replace("classes: [wear, incorrect, normal]", "forbids: []")
    asked, manifest = read(parse_competition(bare, "x", where="x.yaml"), tmp_path)
    wanted = ("0", "1", "2") if layout == "idx" else ("incorrect", "normal", "wear")
    assert asked.tasks["mask"].classes == wanted
    state = {p.name: p.state for p in photos}
    for image_id, role, number in zip(manifest.image_ids, manifest.roles, manifest.labels["mask"].tolist(), strict=True):
        name = wanted[number] if role == "train" else ""
        expected = state[written.names[image_id]]
        assert name == (str(("wear", "incorrect", "normal").index(expected)) if name and layout == "idx" else expected)
