"""A folder becomes a YAML that says how it was decided; what is ambiguous is named, and nothing is overwritten."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import new_competition
from competitions.draft.write import WrittenDraft, write_competition
from competitions.loading import parse_competition
from system.errors import UserError


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    (tmp_path / "data/mine").mkdir(parents=True)
    return tmp_path / "data/mine"


def photos(root: Path, *names: str, side: int = 40) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)


def drafted(root: Path, *labels: str) -> WrittenDraft:
    return write_competition(root, labels=labels, path=root.parents[1])


def table(root: Path, name: str, header: str, rows: list[str]) -> None:
    (root / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["new_competition.py", *arguments])
    code = new_competition.main()
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_verb_writes_once_says_what_it_found_and_never_overwrites(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(data, *(f"train/{k}.png" for k in range(6)), "test/a.png")
    table(data, "train.csv", "id,kind", [f"{k},{'xy'[k % 2]}" for k in range(6)])
    table(data, "sample_submission.csv", "id,kind", ["a,x"])
    to = data.parents[1] / "yaml.yaml"
    code, out, _ = run(capsys, monkeypatch, str(data), "--to", str(to))
    assert code == 0
    assert "yaml: wrote" in out
    assert "look at this: metric: " in out
    assert out.endswith("next: python prepare_data.py yaml\n")
    before = to.read_text()
    code, _, err = run(capsys, monkeypatch, str(data), "--to", str(to))
    assert code == 2
    assert "is there already and is never overwritten; give another --name" in err
    assert to.read_text() == before
    code, out, _ = run(capsys, monkeypatch, str(data), "--to", str(data.parents[1]), "--name", "other", "--json")
    assert json.loads(out)["name"] == "other"
    assert json.loads(out)["faults"] == []


def test_a_folder_that_is_elsewhere_empty_or_not_there_says_the_way_out(data: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    with pytest.raises(UserError, match=r"must stand below PODIUM_DATA.*write PODIUM_DATA=.* into \.env"):
        write_competition(tmp_path / "far", path=tmp_path)
    with pytest.raises(UserError, match="holds no photo and no table"):
        drafted(data)
    with pytest.raises(UserError, match="which is not there"):
        write_competition(data / "no", path=tmp_path)
    (data / "train.zip").write_bytes(b"x")
    with pytest.raises(UserError, match=r"archives are there: train\.zip: unpack them"):
        drafted(data)
    photos(data, "a.png", "b.png")
    with pytest.raises(UserError, match=r"nothing in .* says what the photos show"):
        drafted(data)


def test_what_is_ambiguous_is_a_comment_and_is_named(data: Path) -> None:
    photos(data, *(f"{k}.png" for k in range(24)))
    rows = [f"{k}.png,p{k // 2},s{k // 4},{'xy'[k % 2]},{'uvw'[k % 3]}" for k in range(24)]
    table(data, "t.csv", "image,patient,site,shade,form", rows)
    written = drafted(data)
    said = "\n".join(written.choices)
    assert "groups: 'site' was taken, the coarsest of the columns that repeat; 'patient' could be it too" in said
    assert "label: 'shade' was taken; 'form' could be it too (--label COLUMN says it)" in said
    assert "no sample submission was found" in said
    assert "# group: patient  # 12 groups" in written.text
    assert "# form: {column: form}" in written.text
    assert not written.faults
    other = write_competition(data, name="other", labels=["form", "shade"], path=data.parents[1])
    assert list(parse_competition(other.text, "other", where="x").tasks) == ["form", "shade"]
    with pytest.raises(UserError, match="--label: unknown column 'colour'"):
        write_competition(data, name="third", labels=["colour"], path=data.parents[1])


def test_groups_that_stand_in_the_test_rows_too_are_not_taken(data: Path) -> None:
    photos(data, *(f"train/{k}.png" for k in range(20)), *(f"test/t{k}.png" for k in range(4)))
    table(data, "train.csv", "id,camera,kind", [f"{k},c{k % 6},{'xy'[k % 2]}" for k in range(20)])
    table(data, "test.csv", "id,camera", [f"t{k},c{k}" for k in range(4)])
    table(data, "sample_submission.csv", "id,kind", [f"t{k},x" for k in range(4)])
    written = drafted(data)
    assert any("'camera' repeats, and its values stand in the test rows too" in choice for choice in written.choices)
    assert "group" not in parse_competition(written.text, "mine", where="x").columns.model_dump(exclude_none=True)
    assert not written.faults


def test_beginnings_of_names_are_proposed_as_groups_and_not_taken(data: Path) -> None:
    photos(data, *(f"p{k // 4:02}_{k}.png" for k in range(40)))
    table(data, "t.csv", "image,kind", [f"p{k // 4:02}_{k}.png,{'xy'[k % 2]}" for k in range(40)])
    written = drafted(data)
    assert "# names share 10 beginnings, such as p00, p01, p02" in written.text
    assert parse_competition(written.text, "mine", where="x").columns.group is None
    pattern = (
        next(row for row in written.text.splitlines() if row.startswith("# pattern: ")).partition("   (")[0].removeprefix("# ")
    )
    text = written.text.replace("columns: {image: image}", f"{pattern}\ncolumns: {{image: image, group: prefix}}")
    assert parse_competition(text, "mine", where="x").pattern


@pytest.mark.parametrize("name", ["yes", "a: b", "#1", "'", "나무", "-", "1", "{x}", "a\tb", "null"])
def test_hostile_headers_are_quoted(data: Path, name: str) -> None:
    photos(data, *(f"{k}.png" for k in range(8)))
    (data / "t.csv").write_text(f'image,"{name}"\n' + "".join(f"{k}.png,{'xy'[k % 2]}\n" for k in range(8)), encoding="utf-8")
    written = drafted(data, name)
    assert not written.faults, written.text
    [task] = parse_competition(written.text, "mine", where="x").tasks.values()
    assert task.column == name


@pytest.mark.parametrize(("side", "size"), [(20, 32), (40, 32), (100, 96), (300, 128)])
def test_the_size_follows_the_photos(data: Path, side: int, size: int) -> None:
    photos(data, *(f"train/{kind}/{k}.png" for kind in "xy" for k in range(3)), "test/1.png", side=side)
    assert f"image_size: {size}  # the shorter sides of 7 photos are {side} to {side} pixels" in drafted(data).text


def test_class_folders_beside_the_test_folder_are_told_apart(data: Path) -> None:
    photos(data, *(f"{kind}/{k}.png" for kind in ("healthy", "rust") for k in range(4)), "test/7.png", "test/8.png")
    table(data, "sample_submission.csv", "id,kind", ["7,healthy", "8,healthy"])
    written = drafted(data)
    assert not written.faults, written.faults
    asked = parse_competition(written.text, "mine", where="x")
    assert (asked.reader, asked.test_images) == ("files", "test")


def test_a_column_that_says_the_part_becomes_roles(data: Path) -> None:
    words = ["train", "val", "Test", "unlabelled"]
    photos(data, *(f"{k}.png" for k in range(16)))
    table(
        data, "t.csv", "image,part,kind", [f"{k}.png,{words[k % 4]},{'xy'[k // 4 % 2] if k % 4 < 2 else ''}" for k in range(16)]
    )
    written = drafted(data)
    assert not written.faults
    asked = parse_competition(written.text, "mine", where="x")
    assert asked.words == {"train": ("train", "val"), "test": ("Test",), "unlabelled": ("unlabelled",)}
    assert "roles: the photos called val are learned from too" in "\n".join(written.choices)
    assert "# split: {given: part}  # the part that was handed out judges" in written.text
    (data / "t.csv").write_text(
        (data / "t.csv").read_text().replace("Test", "eval").replace("val,", "train,").replace("etrain", "eval")
    )
    other = write_competition(data, name="other", path=data.parents[1])
    assert parse_competition(other.text, "other", where="x").words["test"] == ("eval",)


def test_photos_in_archives_are_read_from_them(data: Path) -> None:
    np.savez(data / "images.npz", all=np.random.default_rng(0).integers(0, 256, (8, 28, 28), dtype=np.uint8))
    table(data, "t.csv", "image,kind", [f"images.npz#all/{k},{'xy'[k % 2]}" for k in range(8)])
    written = drafted(data)
    assert not written.faults, written.faults
    assert "reader: npz" in written.text
    assert "image_size: 32" in written.text


def test_cells_that_are_sets_are_named(data: Path) -> None:
    tags = [
        "haze primary",
        "clear primary",
        "clear primary water",
        "haze water",
        "clear water",
        "haze",
        "clear",
        "haze primary water",
    ]
    photos(data, *(f"{k}.png" for k in range(32)))
    table(data, "t.csv", "image,tags", [f"{k}.png,{tags[k % 8]}" for k in range(32)])
    assert "its cells name several of 4 things at once, such as 'clear primary'" in "\n".join(drafted(data).choices)
