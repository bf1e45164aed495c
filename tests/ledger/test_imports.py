"""Imports: the same answers are one import, whatever they were called; names are taken once; merges lose none and confuse none."""

import json
import logging
import shutil
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ledger.imports import (
    PROBABILITIES,
    Import,
    ImportedAnswers,
    Source,
    SourceFile,
    content_id,
    drop_import,
    find_import,
    imports_of,
    write_import,
)
from ledger.merge.discovery import find_ledgers
from ledger.merge.ledgers import merge
from system.errors import UserError
from system.files import read_json
from system.paths import CompetitionPaths

CLASSES = ("young", "middle", "old")
PHOTOS = tuple((f"p{n}", f"pixels {n}") for n in range(6))


def answers(seed: int = 0, n: int = 6, order: Any = slice(None), **heads: int) -> dict[str, ImportedAnswers]:
    """Heads with n validation photos, and the first of them with two test photos."""
    found = {}
    for number, (head, count) in enumerate((heads or {"age": n}).items()):
        probs = np.random.default_rng([seed, number]).dirichlet(np.ones(3), count).astype(np.float16)
        photos = list(np.array(PHOTOS, dtype=object)[:count][order].tolist())
        parts: dict[str, Any] = {"validation": ([tuple(photo) for photo in photos], probs[order])}
        if not number:
            parts["test"] = ([("t1", "x"), ("t0", "")], np.eye(3)[[seed % 3, 1]])
        found[head] = ImportedAnswers(PROBABILITIES, CLASSES, parts)
    return found


def source(name: str, author: str = "jin", **more: Any) -> Source:
    return Source(name, (SourceFile(f"{name}.csv", "0" * 64),), author=author, host="h", **more)


def keep(paths: CompetitionPaths, name: str, seed: int = 0, **more: Any) -> Import:
    return write_import(paths, answers(seed), source(name), **more)[0]


@pytest.fixture
def paths(tmp_path: Path) -> CompetitionPaths:
    return CompetitionPaths(tmp_path / "clothing")


def contents(paths: CompetitionPaths) -> dict[str, bytes]:
    return {path.relative_to(paths.root).as_posix(): path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}


def test_what_was_kept_is_read_by_ids(paths: CompetitionPaths) -> None:
    kept, new = write_import(paths, answers(age=4, mask=6), source("notebook", note="seed 3"))
    assert new
    assert [kept] == imports_of(paths) == [find_import(paths, kept.id)]
    assert {name: head.photos for name, head in kept.heads.items()} == {
        "age": {"validation": 4, "test": 2},
        "mask": {"validation": 6},
    }
    ids, probs = kept.read("age", "test")
    assert ids == ("t0", "t1")
    assert probs.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert kept.read("mask", "test")[1].shape == (0, 3)
    assert kept.fault() is None
    told = json.dumps(read_json(kept.folder / "source.json"))
    assert str(paths.root) not in told
    assert kept.source.imported.endswith("+00:00")
    assert json.loads(json.dumps(kept.json()))["note"] == "seed 3"
    with pytest.raises(UserError, match="import notebook: unknown head 'gender'"):
        kept.read("gender", "test")


def test_wanted_photos_come_in_their_order_and_say_whether_they_are_answered(paths: CompetitionPaths) -> None:
    kept = keep(paths, "notebook")
    wanted = [PHOTOS[4], ("unknown", "x"), PHOTOS[0], ("p1", "other pixels")]
    probs, known = kept.aligned("age", "validation", wanted, CLASSES)
    assert known.tolist() == [True, False, True, False]
    expected = answers()["age"].parts["validation"][1]
    np.testing.assert_array_equal(probs, [expected[4], np.zeros(3), expected[0], np.zeros(3)])
    assert probs.dtype == np.float16
    nothing, none = kept.aligned("age", "validation", [], CLASSES)
    assert (nothing.shape, none.shape) == ((0, 3), (0,))
    with pytest.raises(UserError, match=r"the classes of age were young, middle, old .* are old, middle, young now"):
        kept.aligned("age", "validation", wanted, CLASSES[::-1])


def test_the_id_is_of_the_answers_alone(paths: CompetitionPaths) -> None:
    first = content_id(answers())
    assert all(content_id(answers(order=list(order))) == first for order in list(permutations(range(6)))[:50])
    others = [
        answers(1),
        answers(n=5),
        {"mask": answers()["age"]},
        {"age": ImportedAnswers(PROBABILITIES, CLASSES[::-1], answers()["age"].parts)},
    ]
    assert len({first, *map(content_id, others)}) == 5
    kept = keep(paths, "first")
    again, new = write_import(paths, answers(order=[5, 0, 4, 1, 3, 2]), source("second"))
    assert (again, new) == (kept, False)


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced(paths: CompetitionPaths) -> None:
    kept, before = keep(paths, "notebook"), contents(paths)
    with pytest.raises(UserError, match=f"'notebook' has other answers already: {kept.id} .*--name, or --replace"):
        keep(paths, "notebook", 1)
    assert contents(paths) == before
    other = keep(paths, "notebook", 1, replacing=True)
    assert imports_of(paths) == [other]
    renamed = keep(paths, "baseline", 1, replacing=True)
    assert (renamed.id, renamed.name) == (other.id, "baseline")
    assert drop_import(paths, "baseline") == renamed
    assert list(paths.imports.iterdir()) == []
    with pytest.raises(UserError, match="unknown import 'baseline'"):
        drop_import(paths, "baseline")


@pytest.mark.parametrize("name", ["../x", "a b", "", "0123456789ab", "x@jin-0123abcd"])
def test_names_that_would_confuse_are_refused(name: str, paths: CompetitionPaths) -> None:
    with pytest.raises(UserError, match="import names"):
        keep(paths, name)
    assert not paths.root.exists()


def test_a_folder_that_a_kill_left_half_written_is_no_import_and_is_completed(paths: CompetitionPaths) -> None:
    kept = keep(paths, "notebook")
    (kept.folder / "source.json").unlink()
    assert imports_of(paths) == []
    again, new = write_import(paths, answers(), source("notebook"))
    assert new
    assert again.fault() is None


def test_damage_is_named_and_importing_again_heals_it(paths: CompetitionPaths, caplog: pytest.LogCaptureFixture) -> None:
    kept = keep(paths, "notebook")
    other = keep(paths, "other", 1)
    for path in sorted(file for file in kept.folder.rglob("*") if file.is_file()):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = imports_of(paths)
        if path.name == "source.json":
            assert found == [other]
            assert f"import {kept.id} is left out" in caplog.text
        else:
            assert "import notebook" in str(found[0].fault()), path.name
            with pytest.raises(UserError, match=r"notebook is damaged .*import its file again"):
                found[0].read("age", path.name.partition(".")[0])
        healed, _ = write_import(paths, answers(), source("notebook"))
        assert healed.fault() is None, path.name


def test_importing_again_renews_the_pixels_of_photos_that_changed(paths: CompetitionPaths) -> None:
    keep(paths, "notebook")
    newer = answers()
    photos, probs = newer["age"].parts["validation"]
    changed = [(image_id, "new pixels") for image_id, _ in photos]
    kept, new = write_import(
        paths,
        {"age": ImportedAnswers(PROBABILITIES, CLASSES, {**newer["age"].parts, "validation": (changed, probs)})},
        source("x"),
    )
    assert not new
    assert kept.aligned("age", "validation", changed, CLASSES)[1].all()


# ---- merging


def copied(paths: CompetitionPaths, to: Path) -> CompetitionPaths:
    shutil.copytree(paths.root, to / "clothing")
    return CompetitionPaths(to / "clothing")


def test_merging_is_commutative_associative_and_idempotent_and_tells_equal_names_apart(tmp_path: Path) -> None:
    said = {
        "a": [("x", 0, "jin"), ("y", 1, "jin")],
        "b": [("x", 2, "So Ra"), ("z", 1, "sora")],
        "c": [("x", 3, "min"), ("y", 1, "jin")],
    }
    ledgers = {}
    for who, entries in said.items():
        ledgers[who] = CompetitionPaths(tmp_path / who / "clothing")
        for name, seed, author in entries:
            write_import(ledgers[who], answers(seed), source(name, author))
    before = {who: contents(paths) for who, paths in ledgers.items()}
    ends = []
    for number, (first, *others) in enumerate(permutations("abc")):
        ours = copied(ledgers[first], tmp_path / str(number))
        for other in others:
            merge(ours, {other: ledgers[other]})
        ends.append(contents(ours))
        again = merge(ours, {other: ledgers[other] for other in others})
        assert again.imports == []
        assert contents(ours) == ends[-1]
    assert all(end == ends[0] for end in ends)
    pair = copied(ledgers["b"], tmp_path / "pair")
    merge(pair, {"c": ledgers["c"]})
    left = copied(ledgers["a"], tmp_path / "left")
    merge(left, {"pair": pair})
    assert contents(left) == ends[0]
    assert {who: contents(paths) for who, paths in ledgers.items()} == before, "another's ledger was written to"
    found = imports_of(left)
    assert len(found) == len({one.name for one in found}) == 4
    assert {one.name.rpartition("-")[0] for one in found if one.source.name == "x"} == {"x@jin", "x@So-Ra", "x@min"}
    assert all(find_import(left, one.name) == find_import(left, one.id) == one for one in found)
    with pytest.raises(UserError, match=r"'x' has other answers already: .*, .*; drop one of them"):
        write_import(left, answers(9), source("x"), replacing=True)


def test_a_merge_tells_what_it_brought_and_leaves_out_what_is_damaged(tmp_path: Path) -> None:
    ours, theirs = (CompetitionPaths(tmp_path / who / "clothing") for who in ("ours", "theirs"))
    good, cut, other = (keep(theirs, name, seed) for seed, name in enumerate(("good", "cut", "other")))
    array = next(cut.folder.rglob("*.npy"))
    array.write_bytes(array.read_bytes()[:-3])
    shutil.copytree(good.folder, theirs.imports / "0123456789ab")
    (other.folder / "source.json").write_text("{")
    report = merge(ours, find_ledgers(ours, [tmp_path / "theirs"])).json()
    assert report["imports"] == [
        {"id": good.id, "name": "good", "author": "jin", "what": "new", "from": str(tmp_path / "theirs")}
    ]
    assert {found["file"] for found in report["damaged"]} == {
        f"imports/{cut.id}",
        f"imports/{other.id}/source.json",
        "imports/0123456789ab/source.json",
    }
    assert [one.id for one in imports_of(ours)] == [good.id]
    damaged = next(find_import(ours, "good").folder.rglob("*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-3])
    merge(ours, {"theirs": theirs})
    assert find_import(ours, "good").fault() is None, "a whole copy heals ours"
