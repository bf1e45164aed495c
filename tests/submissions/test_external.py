"""Files from outside: however a file is ordered it says the same, what a trial says comes back bit by bit, and every fault is named."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from competitions.labels import Composition, decompose_probs
from competitions.prepare import Prepared
from ensemble.votes import RULES
from ledger.imports import Source, imports_of
from ledger.predictions import Predictions
from submissions.external.csv_file import read_file
from submissions.external.importing import Imported, import_files
from submissions.format import write_submission
from system.errors import UserError
from system.paths import CompetitionPaths
from tests.conftest import BROKEN_TEST

LABEL_CLASSES = ("red/disc", "red/square", "green/disc", "green/square", "blue/disc", "blue/square")
COLOURS = ("red", "green", "blue")
WHO = Source("", (), author="jin", host="h")


def photos(prepared: Prepared, role: str) -> list[str]:
    return [prepared.manifest.image_ids[row] for row in prepared.manifest.rows(role)]


def softmax(n: int, c: int, seed: int = 0) -> NDArray[np.float16]:
    """As a trial computes and keeps them: float32, then float16."""
    logits = np.random.default_rng(seed).normal(0, 4, (n, c)).astype(np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float16)


def text_of(header: Sequence[str], rows: Sequence[Sequence[object]], *, bom: bool = False, end: str = "\n") -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows([header, *rows])
    return (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode()


def probability_csv(ids: Sequence[str], classes: Sequence[str], probs: NDArray[Any], **form: Any) -> bytes:
    return text_of(
        ["image", *classes], [[name, *map(repr, map(float, row))] for name, row in zip(ids, probs, strict=True)], **form
    )


@pytest.fixture
def here(tiny: Prepared, tmp_path: Path) -> Prepared:
    """The tiny competition with a storage of this test's own."""
    return replace(tiny, paths=CompetitionPaths(tmp_path / "storage/tiny"))


def bring(prepared: Prepared, tmp_path: Path, files: Mapping[str, bytes | str], **how: Any) -> list[Imported]:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return import_files(prepared, [tmp_path / name for name in files], WHO, **how)


def refused(prepared: Prepared, tmp_path: Path, files: Mapping[str, bytes | str], **how: Any) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        bring(prepared, tmp_path, files, **how)
    assert imports_of(prepared.paths) == [], "nothing is kept of files of which one is refused"
    return caught.value.faults


def voted(probs: Sequence[NDArray[Any]]) -> list[int]:
    return RULES["hard"].vote(np.stack(probs), None).labels.tolist()


# ---- what is said, whatever the form


@settings(max_examples=20)
@given(data=st.data())
def test_any_order_of_rows_and_columns_and_any_form_is_the_same_import(tiny: Prepared, data: st.DataObject) -> None:
    ids = photos(tiny, "train")[:7] + photos(tiny, "test")
    seed = data.draw(st.integers(0, 5))
    raw = np.random.default_rng(seed).dirichlet(np.full(6, 0.3), len(ids)) * 1.004  # to be divided by their sums
    absent = [c for c in range(6) if data.draw(st.booleans())][:4]
    raw[:, absent] = 0
    raw /= np.maximum(raw.sum(axis=1, keepdims=True), 1e-9) / 1.004
    present = [c for c in range(6) if c not in absent]
    rows = data.draw(st.permutations(range(len(ids))))
    columns = data.draw(st.permutations(present if data.draw(st.booleans()) else list(range(6))))
    names = LABEL_CLASSES if data.draw(st.booleans()) else tuple("012345")
    moved = [ids[row] for row in rows]
    kept = []
    with TemporaryDirectory() as place:
        prepared = replace(tiny, paths=CompetitionPaths(Path(place) / "tiny"))
        form = {"bom": data.draw(st.booleans()), "end": data.draw(st.sampled_from(["\n", "\r\n"]))}
        np.savez(
            Path(place) / "c.npz", image_ids=np.array(moved), probs=raw[rows][:, columns], classes=[names[c] for c in columns]
        )
        files = {
            "a.csv": probability_csv(ids, LABEL_CLASSES, raw),
            "b.csv": probability_csv(moved, [names[c] for c in columns], raw[rows][:, columns], **form),
            "c.npz": (Path(place) / "c.npz").read_bytes(),
        }
        kept = bring(prepared, Path(place), files, head="label")
        assert [one.new for one in kept] == [True, False, False]
        assert len({one.kept.id for one in kept}) == len(imports_of(prepared.paths)) == 1
        told, probs = kept[0].kept.read("label", "test")
        expected = dict(zip(ids, raw / raw.sum(axis=1, keepdims=True), strict=True))
        np.testing.assert_allclose(probs, [expected[image_id] for image_id in told], rtol=2**-10, atol=2**-24)


def test_what_a_trial_says_comes_back_bit_by_bit_and_votes_identically(here: Prepared, tmp_path: Path) -> None:
    parts = {"validation": photos(here, "train")[::4], "test": photos(here, "test")}
    trial = Predictions(here.paths.trials / "0123456789ab/predictions/abcdef")
    pixels = dict(zip(here.manifest.image_ids, here.pixels, strict=True))
    for number, (part, ids) in enumerate(parts.items()):
        trial.write(part, "label", "identity", [(i, pixels[i]) for i in ids], softmax(len(ids), 6, number))
    files = {}
    for part in parts:
        ids, probs = trial.read(part, "label", "identity")
        files[f"{part}.csv"] = probability_csv(ids[::-1], LABEL_CLASSES[::-1], probs[::-1, ::-1])
    (brought,) = bring(here, tmp_path, files, name="copy")
    for part, ids in parts.items():
        wanted = [(i, pixels[i]) for i in ids]
        copied, known = brought.kept.aligned("label", part, wanted, LABEL_CLASSES)
        own = trial.read(part, "label", "identity")[1]
        assert known.all()
        assert copied.tobytes() == own.tobytes()
        others = [softmax(len(ids), 6, 10 + n) for n in range(3)]
        assert voted([own, *others]) == voted([copied, *others])
        table = Composition.of(here.competition)
        for task, share in decompose_probs(table, copied).items():
            np.testing.assert_array_equal(share, decompose_probs(table, own)[task])


@pytest.mark.parametrize("c", [2, 3, 18, 200])
def test_float16_rows_are_never_divided_by_their_sums(here: Prepared, tmp_path: Path, c: int) -> None:
    task = here.competition.tasks["colour"].model_copy(update={"classes": tuple(f"c{n}" for n in range(c))})
    competition = here.competition.model_copy(update={"tasks": {"colour": task}, "label": ()})
    probs, ids = softmax(400, c, c), [f"p{n}" for n in range(400)]
    assert (np.abs(probs.astype(np.float64).sum(axis=1) - 1) > 0).any()
    (tmp_path / "a.csv").write_bytes(probability_csv(ids, task.classes, probs))
    np.savez(tmp_path / "a.npz", image_ids=ids, probs=probs)
    for name in ("a.csv", "a.npz"):
        found = read_file(tmp_path / name, competition, "colour").heads["colour"]
        assert found.probs.tobytes() == probs.tobytes()


def test_a_submission_votes_with_one_hot_rows_whatever_head_its_columns_answer(here: Prepared, tmp_path: Path) -> None:
    ids = photos(here, "test")
    label = np.arange(len(ids)) % 6
    colour, shape = np.divmod(label, 2)
    write_submission(tmp_path / "own.csv", here.competition, ids, {"label": label})
    shapes = ("disc", "square")
    files: dict[str, tuple[bytes, str | None, str]] = {
        "own.csv": ((tmp_path / "own.csv").read_bytes(), None, "label"),
        "names.csv": (
            text_of(["image_id", "anything"], [(i, LABEL_CLASSES[n]) for i, n in zip(ids, label, strict=True)]),
            "label",
            "label",
        ),
        "colour.csv": (text_of(["image", "colour"], [(i, COLOURS[n]) for i, n in zip(ids, colour, strict=True)]), None, "colour"),
        "numbers.csv": (text_of(["pred", "image"], [(n, i) for i, n in zip(ids, colour, strict=True)]), "colour", "colour"),
        "shape.csv": (text_of(["image", "shape"], [(i, shapes[n]) for i, n in zip(ids, shape, strict=True)]), None, "shape"),
    }
    found = {}
    for name, (data, task, head) in files.items():
        (brought,) = bring(here, tmp_path, {name: data}, head=task)
        assert {head: "labels"} == {head: facts.kind for head, facts in brought.kept.heads.items()}
        told, probs = brought.kept.read(head, "test")
        found[name] = dict(zip(told, probs.argmax(axis=1).tolist(), strict=True))
        assert (np.sort(probs, axis=1)[:, -2:] == [0, 1]).all()
    assert found["own.csv"] == found["names.csv"] == dict(zip(ids, label.tolist(), strict=True))
    assert found["colour.csv"] == found["numbers.csv"] == dict(zip(ids, colour.tolist(), strict=True))
    assert found["shape.csv"] == dict(zip(ids, shape.tolist(), strict=True))
    assert len(imports_of(here.paths)) == 3, "names.csv and numbers.csv say what others said"
    both = text_of(["shape", "image", "colour"], [(shapes[s], i, COLOURS[c]) for i, s, c in zip(ids, shape, colour, strict=True)])
    (brought,) = bring(here, tmp_path, {"both.csv": both})
    assert set(brought.kept.heads) == {"colour", "shape"}


def test_files_of_one_name_are_joined_by_ids(here: Prepared, tmp_path: Path) -> None:
    train, test = photos(here, "train"), [i for i in photos(here, "test") if i != BROKEN_TEST]
    folds = {f"fold{n}.csv": probability_csv(train[n::4], COLOURS, softmax(len(train[n::4]), 3, n)) for n in range(3)}
    more = {
        "test.csv": probability_csv(test, COLOURS, softmax(len(test), 3, 9)),
        "shape.csv": text_of(["image", "shape"], [(train[0], 1)]),
    }
    (brought,) = bring(here, tmp_path, folds | more, name="notebook")
    counts = {head: facts.photos for head, facts in brought.kept.heads.items()}
    assert counts == {"colour": {"validation": 60, "test": 11}, "shape": {"validation": 1}}
    assert [file.name for file in brought.kept.source.files] == [*folds, *more]
    ids, probs = brought.kept.read("colour", "validation")
    assert set(ids) == {i for n in range(3) for i in train[n::4]}
    np.testing.assert_array_equal(probs[ids.index(train[5])], softmax(20, 3, 1)[1])
    wanted = [(i, here.pixels[here.manifest.image_ids.index(i)]) for i in photos(here, "test")]
    _, known = brought.kept.aligned("colour", "test", wanted, COLOURS)
    assert [i for (i, _), answered in zip(wanted, known, strict=True) if not answered] == [BROKEN_TEST]


# ---- what is refused


def test_all_faults_of_all_files_are_named_at_once(here: Prepared, tmp_path: Path) -> None:
    train, test = photos(here, "train"), photos(here, "test")
    faults = refused(
        here,
        tmp_path,
        {
            "a.csv": f"image,red,green,blue\n{train[0]},0.5,0.6,-0.1\n{train[1]},nan,0,1\n{train[2]},0.5,0.2,0.1\n{train[0]},1,0,0\n",
            "b.csv": "image,colour\n" + "".join(f"{i},red\n" for i in test[2:]),
            "c.csv": f"image,colour,\n{train[3]},rde,0\nnowhere,blue,1\n",
            "d e.csv": f"image,shape\n{train[3]},disc\nnowhere,square\n",
            "e.txt": "",
        },
    )
    wanted = [
        ("a.csv: 1 image ids stand more than once", train[0]),
        ("a.csv: probabilities must be numbers, 1 rows", train[1]),
        ("a.csv: probabilities must not be negative, 1 rows", train[0]),
        ("a.csv: a row's probabilities must sum to 1 within 0.01, 1 rows do not", train[2]),
        ("b.csv: colour must be answered for every test photo, 2 are missing", f"{test[0]}, {test[1]}"),
        ("c.csv: a column has no name", "index=False"),
        ("c.csv: column colour: unknown class 'rde'", "did you mean red"),
        ("c.csv: image ids must be training or test photos of tiny, 1 of 2 are not", "nowhere"),
        ("d e.csv: image ids must be training or test photos of tiny, 1 of 2 are not", "nowhere"),
        ("import names are letters", "'d e'; give one with --name"),
        ("e.txt: unknown kind of file '.txt'", ".csv, .npz"),
    ]
    for begins, holds in wanted:
        assert [fault for fault in faults if fault.startswith(begins) and holds in fault], (begins, faults)
    assert len(faults) == len(wanted)


def test_no_fault_hides_another_kind_of_fault(here: Prepared, tmp_path: Path) -> None:
    first, second, third, *_ = photos(here, "train")
    rows = f"{first},1,0,0\n{first},1,0,0\nnowhere,1,0,0\n,1,0,0\n{second},half,0,0\n{third},0.5,0.2,0\n{third},1\n"
    np.savez(
        tmp_path / "made.npz", image_ids=[first, first, "nowhere", third], probs=np.array([[1, 0, 0]] * 3 + [[2, -1, 0]]), odd=[1]
    )
    files: dict[str, bytes | str] = {
        "a.csv": f"image,red,green,blue\n{rows}",
        "b.csv": f"image,colour\n{second},rde\n{second},red\nelsewhere,red\n",
        "c.npz": (tmp_path / "made.npz").read_bytes(),
        "d.csv": f"image,rot\n{second},1\n{second},1\nnever,0\n",
        "e.csv": f"image,colour,rot\n{third},1,1\n",
    }
    faults = refused(here, tmp_path, files, name="all")
    for begins, holds in (
        ("a.csv: every row must have the header's 4 fields", "line 8 has 2"),
        ("a.csv: 1 image ids stand more than once", first),
        ("a.csv: an image id is empty", ""),
        ("a.csv: image ids must be training or test photos", "1 of 6 are not, among them nowhere"),
        ("a.csv: column red: probabilities must be numbers, got 'half' (1 rows)", ""),
        ("a.csv: a row's probabilities must sum to 1 within 0.01, 1 rows do not", third),
        ("b.csv: column colour: unknown class 'rde'", ""),
        ("b.csv: 1 image ids stand more than once", second),
        ("b.csv: image ids must be training or test photos", "elsewhere"),
        ("c.npz: unknown array 'odd'", ""),
        ("c.npz: 1 image ids stand more than once", first),
        ("c.npz: image ids must be training or test photos", "nowhere"),
        ("c.npz: probabilities must not be negative, 1 rows", third),
        ("d.csv: unknown column 'rot'", ""),
        ("d.csv: 1 image ids stand more than once", second),
        ("d.csv: image ids must be training or test photos", "never"),
        ("e.csv: unknown column 'rot'", ""),
        ("a.csv, b.csv, c.npz, e.csv: colour of", "is answered by more than one file"),
        ("a.csv, b.csv, c.npz, e.csv: colour must be answered by labels alone or by probabilities alone", ""),
    ):
        assert [fault for fault in faults if fault.startswith(begins) and holds in fault], (begins, faults)
    assert len(faults) == 19


def test_a_photo_that_stands_twice_in_one_file_is_not_said_to_stand_in_two(here: Prepared, tmp_path: Path) -> None:
    photo = photos(here, "train")[0]
    [fault] = refused(here, tmp_path, {"a.csv": f"image,shape\n{photo},0\n{photo},0\n"})
    assert fault.startswith("a.csv: 1 image ids stand more than once")


def test_a_file_of_a_thousand_faulty_columns_is_told_in_few_lines(here: Prepared, tmp_path: Path) -> None:
    photo = photos(here, "train")[0]
    names = [f"column{n}" for n in range(1000)]
    faults = refused(here, tmp_path, {"a.csv": text_of(["image", "colour", *names], [[photo, "red", *names]])})
    assert len(faults) == 11
    assert faults[-1] == "a.csv: and 990 more unknown columns"
    task = here.competition.tasks["colour"].model_copy(update={"classes": tuple(names)})
    many = here.competition.model_copy(update={"tasks": {"colour": task}, "label": ()})
    (tmp_path / "b.csv").write_bytes(text_of(["image", *names], [[photo, *names]]))
    told = read_file(tmp_path / "b.csv", many, "colour").faults
    assert len(told) == 11
    assert told[-1] == "and 990 more columns with texts that are no numbers"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,red,green\n{0},-0.1,1.1\n{1},inf,0\n{2},0.5,0.6\n{3},0.4,0.595\n",
            "must not be negative, 1 rows have one that is: {0}",
        ),
        ("image,red,green\n{0},-0.1,1.1\n{1},inf,0\n{2},0.5,0.6\n{3},0.4,0.595\n", "must be numbers, 1 rows .*: {1}"),
        (
            "image,red,green\n{0},-0.1,1.1\n{1},inf,0\n{2},0.5,0.6\n{3},0.4,0.595\n",
            r"must sum to 1 within 0.01, 1 rows do not: {2}",
        ),
        ("image,red,green\n{0},0.5,half\n", r"column green: probabilities must be numbers, got 'half' \(1 rows\)"),
        ("image,red,green\n{0},0,0\n", "must sum to 1"),
        ("image,red,gren\n{0},1,0\n", "unknown column 'gren'; did you mean green"),
        ("image,red,green,red\n{0},1,0,0\n", "column names must differ, these stand more than once: red"),
        ("image,0,1\n{0},1,0\n", "may be classes of colour or of shape or of label; say which with --task"),
        ("image,0,6\n{0},1,0\n", r"class numbers must be 0..5, got 0, 6"),
        ("foto,red,green\n{0},1,0\n", "ids is missing; it must be called image or image_id"),
        ("image\n{0}\n", "it answers nothing"),
        ("", "it answers nothing"),
        ("image,red,green\n", "there is no photo"),
        ("image,red,green\n{0},1\n", "every row must have the header's 3 fields; line 2 has 2"),
        ("image,colour,colours\n{0},red,red\n", "unknown column 'colours'; did you mean colour"),
        ("image,label\n{0},6\n", r"class numbers must be 0..5, got '6'"),
        ("image,label\n{0},red/disc\n", "class numbers must be 0..5, got 'red/disc'"),
        ("image,shape\n{0},disc\n{1},circle\n", "unknown class 'circle'"),
        ('image,shape\n{0},"disc\n', "not a CSV file"),
    ],
)
def test_a_faulty_csv_is_refused(here: Prepared, tmp_path: Path, text: str, message: str) -> None:
    ids = photos(here, "train")
    faults = refused(here, tmp_path, {"a.csv": text.format(*ids)})
    with pytest.raises(UserError, match=message.format(*ids)):
        raise UserError(*faults)


ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "ids as objects": ({"image_ids": np.array(["g00-0", 1], dtype=object)}, "objects are not read"),
    "ids as numbers": ({"image_ids": np.arange(2)}, "image_ids must be a list of texts"),
    "a table of ids": ({"image_ids": np.array([["g00-0", "g00-1"]])}, "image_ids must be a list of texts"),
    "flat": ({"probs": np.ones(2)}, "probs must be numbers"),
    "texts": ({"probs": np.array([["1", "0"]] * 2)}, "probs must be numbers"),
    "too few rows": ({"probs": np.eye(2)[:1]}, r"got shape \(1, 2\) for 2 image ids"),
    "too many classes": ({"classes": np.array(["disc", "square", "star"])}, "for 2 image ids and 3 classes"),
    "no such class": ({"classes": np.array(["disc", "squares"])}, "unknown column 'squares'; did you mean square"),
    "class twice": ({"classes": np.array(["disc", "disc"])}, "classes must differ, these stand twice: disc"),
    "no head has as many": ({"probs": np.eye(4)[:2]}, r"column for every class \(colour 3, shape 2, label 6\)"),
    "unknown array": ({"labels": np.arange(2)}, "unknown array 'labels'"),
    "not normal": ({"probs": np.eye(2) * 2}, "must sum to 1"),
    "not finite": ({"probs": np.eye(2) * np.nan}, "must be numbers"),
    "id twice": ({"image_ids": np.array(["g00-0", "g00-0"])}, "1 image ids stand more than once"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_faulty_archive_is_refused(here: Prepared, tmp_path: Path, name: str) -> None:
    change, message = ARRAYS[name]
    whole: dict[str, Any] = {"image_ids": np.array(["g00-0", "g00-1"]), "probs": np.eye(2)}
    np.savez(tmp_path / "whole.npz", **whole)
    np.savez(tmp_path / "a.npz", **(whole | change))
    with pytest.raises(UserError, match=message):
        import_files(here, [tmp_path / "a.npz"], WHO)
    assert import_files(here, [tmp_path / "whole.npz"], WHO)[0].kept.heads["shape"].photos == {"validation": 2}


@pytest.mark.parametrize("data", [b"", b"PK\3\4 no archive", b"\x93NUMPY\1\0"])
def test_what_is_no_archive_is_refused(here: Prepared, tmp_path: Path, data: bytes) -> None:
    assert refused(here, tmp_path, {"a.npz": data}) == ("a.npz: it is no .npz archive; save it with numpy.savez",)


def test_joined_files_may_not_answer_a_photo_twice_nor_mix_labels_and_probabilities(here: Prepared, tmp_path: Path) -> None:
    first, second, third = photos(here, "train")[:3]
    files = {"a.csv": f"image,colour\n{first},red\n{second},red\n", "b.csv": f"image,red\n{second},1\n{third},1\n"}
    faults = refused(here, tmp_path, files, name="both")
    assert len(faults) == 2
    assert f"a.csv, b.csv: colour of 1 photos is answered by more than one file, among them {second}" in faults
    assert "by labels alone or by probabilities alone" in faults[1]


def test_a_file_that_answers_another_task_than_it_is_said_to_is_refused(here: Prepared, tmp_path: Path) -> None:
    faults = refused(here, tmp_path, {"a.csv": f"image,shape\n{photos(here, 'train')[0]},0\n"}, head="colour")
    assert faults == ("a.csv: column shape answers shape, and --task says colour; leave --task out",)
    with pytest.raises(UserError, match="unknown task 'colur'; did you mean colour"):
        bring(here, tmp_path, {"a.csv": f"image,x\n{photos(here, 'train')[0]},0\n"}, head="colur")


def test_two_files_of_one_name_are_not_joined_by_chance(here: Prepared, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    files = {
        f"{place}a.csv": f"image,shape\n{photo},0\n" for place, photo in zip(("", "x/"), photos(here, "train"), strict=False)
    }
    assert "2 files are called 'a'" in refused(here, tmp_path, files)[0]
