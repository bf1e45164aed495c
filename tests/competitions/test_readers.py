"""Readers: what real tables and folders hold arrives unchanged, and what cannot be used is said all at once."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from competitions.loading import parse_competition
from competitions.readers.read import READERS
from competitions.readers.rows import PhotoRows, manifest_of
from system.errors import UserError

YAML = """
reader: csv
table: table.csv
images: photos
columns: {image: id, path: file, group: person, role: split}
roles: {train: train, test: eval, unlabelled: extra}
tasks:
  mask: {column: Mask, classes: ["NA", wear, "1"]}
  age: {column: age, classes: [young, old]}
submission: {answers: {mask: mask}}
"""
ROWS = ["id,split,person,Mask,age,file", "001,train,p1,NA,young,a.jpg", "1e3,train,,1,,b.jpg", "1000,eval,p2,odd,odd,c.jpg"]


def competition(yaml=YAML):
    return parse_competition(yaml, "masks", where="masks.yaml")


def write(root, rows, *, encoding="utf-8", end="\n", files=("a.jpg", "b.jpg", "c.jpg"), table="table.csv"):
    (root / "photos").mkdir(exist_ok=True)
    for name in files:
        (root / "photos" / name).write_bytes(b"x")
    (root / table).write_bytes((end.join(rows) + end).encode(encoding))


def read(root, yaml=YAML):
    asked = competition(yaml)
    return READERS[asked.reader](asked, root)


def faults(root, yaml=YAML):
    with pytest.raises(UserError) as caught:
        read(root, yaml)
    assert all("\n" not in fault for fault in caught.value.faults)
    return caught.value.faults


def test_a_class_called_na_an_id_001_and_an_empty_label_stay_what_they_are(tmp_path):
    write(tmp_path, ROWS)
    manifest = read(tmp_path)
    assert manifest.image_ids == ("001", "1e3", "1000")
    assert manifest.roles == ("train", "train", "test")
    assert manifest.paths == ("photos/a.jpg", "photos/b.jpg", "photos/c.jpg")
    assert manifest.groups == ("p1", "~1e3", "p2")
    assert {t: (v.tolist(), v.dtype) for t, v in manifest.labels.items()} == {
        "mask": ([0, 2, -1], np.dtype(np.int16)),
        "age": ([0, -1, -1], np.dtype(np.int16)),
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_encoding_and_line_end_reads_the_same(tmp_path, encoding, end):
    rows = [row.replace("p1", "민지 \u00b7").replace("p2", '"a,b"') for row in ROWS]
    write(tmp_path, rows, encoding=encoding, end=end)
    assert read(tmp_path).groups == ("민지 \u00b7", "~1e3", "a,b")


def other_spellings(text):
    forms = [normalize(form, text) for form in ("NFC", "NFD")]
    return st.tuples(
        st.sampled_from(("", " ", "\u200b", "\ufeff")), st.sampled_from(forms), st.sampled_from(("", "\u00a0", "\u200e"))
    )


PEOPLE = ("박지민", "김하늘", "Zoë", "Đặng Văn", "p1", "p2")


@given(
    st.lists(
        st.sampled_from(PEOPLE).flatmap(lambda name: st.tuples(st.just(name), other_spellings(name).map("".join))), min_size=2
    ),
    st.data(),
)
def test_however_a_group_is_spelled_it_is_never_cut_apart(people, data):
    n = len(people)
    ids = [f"{row}.jpg" for row in range(n)]
    colours = ["고양이" if row % 2 else "강아지" for row in range(n)]
    rows = PhotoRows(
        name="table",
        ids=ids,
        paths=ids,
        groups=[spelling for _, spelling in people],
        roles=("train",) * n,
        fields={"kind": ["".join(data.draw(other_spellings(colour))) for colour in colours]},
    )
    yaml = "columns: {image: id, group: person}\ntasks: {kind: {column: kind, classes: [강아지, 고양이]}}\n"
    yaml += "submission: {answers: {kind: kind}}\n"
    manifest = manifest_of(competition(yaml), rows, Path(), lambda root, paths: (list(paths), []))
    first = {}
    for name, spelling in people:
        first.setdefault(name, spelling)
    assert manifest.groups == tuple(first[name] for name, _ in people)
    assert manifest.labels["kind"].tolist() == [row % 2 for row in range(n)]
    several = {name for name, spelling in people if spelling != first[name]}
    assert bool(several) == any(f"{len(several)} groups are written in more than one way" in note for note in manifest.notes)


def test_nothing_is_noted_where_texts_differ_to_the_eye(tmp_path):
    write(tmp_path, [row.replace("p2", "P1") for row in ROWS])
    assert read(tmp_path).notes == ()
    assert read(tmp_path).groups == ("p1", "~1e3", "P1")


def test_ids_that_look_equal_are_refused_and_headers_and_words_that_do_are_taken(tmp_path):
    header, *rows = ROWS
    write(
        tmp_path,
        [header.replace("Mask", "Mask\u200b").replace("split", " split"), *(row.replace(",train,", ",train ,") for row in rows)],
    )
    assert read(tmp_path).roles == ("train", "train", "test")
    write(tmp_path, [header, rows[0].replace("001", "é"), rows[1].replace("1e3", "e\u0301"), rows[2].replace("1000", "é\u00a0")])
    [fault] = faults(tmp_path)
    assert "image ids must differ to the eye, these do not: 'é' in 3 spellings (Unicode form, spaces); rename" in fault


def test_numbers_to_cut_may_have_signs_that_show_nothing(tmp_path):
    yaml = YAML.replace("age: {column: age, classes: [young, old]}", "age: {column: age, classes: [young, old], cuts: [30]}")
    write(tmp_path, [row.replace("young", "\u200b29\u00a0").replace(",1,,", ",1,31,") for row in ROWS])
    assert read(tmp_path, yaml).labels["age"].tolist() == [0, 1, -1]


def test_a_role_may_have_several_words_and_an_unknown_one_says_how_to_learn_from_it(tmp_path):
    write(tmp_path, [row.replace("1e3,train", "1e3,val") for row in ROWS])
    [fault] = faults(tmp_path)
    way_out = "roles: {train: [train, val], test: eval, unlabelled: extra}"
    assert fault.endswith(f"in 1 rows; change the rows, or learn from them: `{way_out}`")
    yaml = YAML.replace("roles: {train: train, test: eval, unlabelled: extra}", way_out)
    assert read(tmp_path, yaml).roles == ("train", "train", "test")
    assert competition(yaml).model_validate(competition(yaml).model_dump(mode="json")) == competition(yaml)
    assert competition().model_dump(mode="json")["roles"] == {"train": "train", "test": "eval", "unlabelled": "extra"}


def test_a_column_and_a_table_of_validation_photos_that_nothing_names_are_noted(tmp_path):
    yaml = YAML.replace("roles: {train: train, test: eval, unlabelled: extra}\n", "").replace(", role: split", "")
    rows = [row.replace("eval", "val").replace("odd", "wear").replace("wear,wear", "wear,old") for row in ROWS]
    write(tmp_path, rows)
    write(tmp_path, rows, table="Valid.csv")
    write(tmp_path, rows, table="other.csv")
    column, table = read(tmp_path, yaml).notes
    assert column.startswith("the column 'split' says train, val, no setting names it, and all rows are learned from")
    assert "write `columns: {role: split}`" in column
    assert table.startswith("the table Valid.csv is there and its rows are passed over")
    write(tmp_path, ROWS)
    assert read(tmp_path).notes == ()  # the role's column is named


def test_a_thousand_groups_in_two_spellings_are_one_short_note(tmp_path):
    rows = [f"{n}-{end!r},train,person number {n}{end},NA,young,a.jpg" for n in range(1000) for end in ("", " ")]
    write(tmp_path, [ROWS[0], *rows])
    [note] = read(tmp_path).notes
    assert note.startswith("1000 groups are written in more than one way")
    assert len(note) < 700


def test_a_tsv_is_cut_at_tabs(tmp_path):
    write(tmp_path, [row.replace(",", "\t") for row in ROWS], table="table.tsv")
    assert len(read(tmp_path, YAML.replace("table.csv", "table.tsv"))) == 3


@pytest.mark.parametrize(("stored", "written"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_a_korean_file_name_is_found_in_either_form_and_read_as_stored(tmp_path, stored, written):
    folder, name = "사진", "민지.jpg"
    write(tmp_path, [r.replace("a.jpg", normalize(written, f"{folder}/{name}")) for r in ROWS])
    (tmp_path / "photos" / normalize(stored, folder)).mkdir()
    (tmp_path / "photos" / normalize(stored, folder) / normalize(stored, name)).write_bytes(b"x")
    path = read(tmp_path).paths[0]
    assert path == normalize(stored, f"photos/{folder}/{name}")
    assert (tmp_path / path).is_file()


def test_backslashes_become_slashes(tmp_path):
    write(tmp_path, [row.replace("b.jpg", r".\sub\b.jpg") for row in ROWS])
    (tmp_path / "photos" / "sub").mkdir()
    (tmp_path / "photos" / "sub" / "b.jpg").write_bytes(b"x")
    assert read(tmp_path).paths[1] == "photos/sub/b.jpg"


def test_without_role_group_and_path_columns_every_row_is_a_training_photo_of_its_own_group(tmp_path):
    write(tmp_path, ["id,Mask,age", "a.jpg,wear,old", "b.jpg,1,old"])
    yaml = YAML.replace("roles: {train: train, test: eval, unlabelled: extra}\n", "")
    manifest = read(tmp_path, yaml.replace("{image: id, path: file, group: person, role: split}", "{image: id}"))
    assert manifest.roles == ("train", "train")
    assert manifest.groups == ("~a.jpg", "~b.jpg")
    assert manifest.paths == ("photos/a.jpg", "photos/b.jpg")


def test_all_faults_of_the_rows_are_named_together(tmp_path):
    rows = [
        "id,split,person,Mask,age,file",
        "a,train,p,Wear,young,a.jpg",
        "a,train,p,Wear,young,b.jpg",
        "b,trian,p,wear,young,missing.jpg",
        "c,train,p,,,c.jpg",
        ",train,p,wear,,c.jpg",
        '"d\ne",train,p,wear,,c.jpg',
    ]
    write(tmp_path, rows)
    found = faults(tmp_path)
    for says in (
        "image ids must differ, these stand more than once: 'a'",
        "1 of 6 rows have none",
        r"must be one line of text, got 'd\ne'",
        "unknown word 'trian'; did you mean train",
        "task mask: unknown class 'Wear'; did you mean wear? (known: 1, NA, wear) in 2 rows",
        "these have none: 'c'",
        "1 of 6 image files",
    ):
        assert any(says in fault for fault in found), (says, found)
    assert len(found) == 7
    assert all(fault.startswith("table.csv: ") for fault in found)


def test_a_thousand_missing_files_are_ten_examples_and_a_count(tmp_path):
    write(tmp_path, [ROWS[0]] + [f"{i},train,p,wear,old,no{i}.jpg" for i in range(1000)])
    [fault] = faults(tmp_path)
    assert "1000 of 1000 image files" in fault
    assert "and 990 more" in fault
    assert len(fault) < 700


def test_missing_columns_name_the_nearest_ones_all_at_once(tmp_path):
    write(tmp_path, ["image_id,split,Person,mask,age,file", *ROWS[1:]])
    found = faults(tmp_path)
    assert any("columns.group: unknown column 'person'; did you mean Person" in f for f in found)
    assert any("tasks.mask.column: unknown column 'Mask'; did you mean mask" in f for f in found)
    assert any("columns.image: unknown column 'id'" in f for f in found)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([""], "the table is empty"),
        (ROWS[:1], "a header and no rows"),
        ([ROWS[0], ROWS[3]], "no row has the role train"),
        ([ROWS[0], "a,train"], "line 2 has 2"),
        ([ROWS[0] + ",age", ROWS[1] + ",x"], "these stand more than once: age"),
        ([row.replace(",", ";") for row in ROWS], "fields must be separated by commas"),
        ([*ROWS, '"x,train'], "quote may be left open"),
        ([row.replace("a.jpg", "/data/a.jpg") for row in ROWS], "got absolute '/data/a.jpg'"),
        ([row.replace("a.jpg", "C:\\data\\a.jpg") for row in ROWS], "got absolute 'C:/data/a.jpg'"),
        ([row.replace("a.jpg", "x/../../../a.jpg") for row in ROWS], "must stay inside"),
    ],
)
def test_each_unusable_table_says_what_is_wrong(tmp_path, rows, says):
    write(tmp_path, rows)
    assert any(says in fault for fault in faults(tmp_path))


def test_a_missing_folder_says_what_podium_data_is_and_a_missing_table_names_those_there(tmp_path):
    [fault] = faults(tmp_path / "nowhere")
    assert "competition 'masks'" in fault
    assert "PODIUM_DATA" in fault
    assert ".env" in fault
    write(tmp_path, ROWS, table="other.csv")
    [fault] = faults(tmp_path)
    assert "no table 'table.csv'" in fault
    assert "other.csv" in fault


def test_bytes_that_are_no_text_are_refused(tmp_path):
    write(tmp_path, ROWS)
    (tmp_path / "table.csv").write_bytes(b"id\xff\xff\x00")
    assert "is not UTF-8 text (invalid start byte at byte 2), and not cp949" in faults(tmp_path)[0]


def test_a_number_on_a_cut_belongs_to_the_class_above_it_and_an_empty_field_has_none(tmp_path):
    numbers = ["29.9", "30", "59", "60", "-1e2", "", " 30"]
    yaml = YAML.replace("classes: [young, old]", "classes: [young, middle, old], cuts: [30, 60]")
    write(tmp_path, [ROWS[0], *(f"{k},train,p,wear,{number},a.jpg" for k, number in enumerate(numbers))])
    assert read(tmp_path, yaml).labels["age"].tolist() == [0, 1, 1, 2, 0, -1, 1]
    write(tmp_path, [ROWS[0], *(f"{k},train,p,wear,{text},a.jpg" for k, text in enumerate(["old", "old", "nan", "1_0", "inf"]))])
    [fault] = faults(tmp_path, yaml)
    assert "task age: its cuts need numbers, got 'old' in 2 rows, 'nan' in 1 rows, '1_0' in 1 rows, 'inf' in 1 rows" in fault


# ---- a line per reader

SETTINGS = {
    "table": "table: other.csv",
    "images": "images: elsewhere",
    "test_table": "test_table: other.csv",
    "join": "join: {other.csv: id}",
    "pattern": "pattern: '(?P<who>x)'",
    "columns": "columns: {image: photo}",
    "roles": "roles: {train: learn}",
    "column": "tasks: {a: {column: a, classes: [x, y]}}",
    "cuts": "tasks: {a: {column: a, cuts: [1], classes: [x, y]}}",
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_names_a_folder_that_is_not_there_and_refuses_settings_without_effect(tmp_path, name):
    reader = READERS[name]
    assert set(reader.unused) <= set(SETTINGS)
    column = "" if "column" in reader.unused else "column: a, "
    least = f"reader: {name}\ntasks: {{a: {{{column}classes: [x, y]}}}}\nsubmission: {{answers: {{a: a}}}}\n"
    asked = parse_competition(least, "x", where="x.yaml")
    if not reader.draws:
        with pytest.raises(UserError, match="PODIUM_DATA is the folder"):
            reader(asked, tmp_path / "nowhere")
    for setting in reader.unused:
        text = "".join(f"{row}\n" for row in least.splitlines() if not row.startswith(SETTINGS[setting][:6])) + SETTINGS[setting]
        with pytest.raises(UserError, match=f"has no effect with the reader {name}"):
            parse_competition(text, "x", where="x.yaml")
    if reader.one_task:
        two = least.replace("tasks: {", "tasks: {b: {classes: [x, y]}, ")
        with pytest.raises(UserError, match=f"the reader {name} knows one class per photo"):
            parse_competition(two, "x", where="x.yaml")


def test_a_line_in_readers_is_all_that_a_new_reader_needs(tmp_path):
    """A copy of the code with one line more: `prepare_data.py` knows it, reads with it and checks what it makes of the settings."""
    root = Path(__file__).parents[2]
    for folder in ("competitions", "ledger", "system", "trainables"):
        shutil.copytree(root / folder, tmp_path / folder)
    shutil.copy(root / "prepare_data.py", tmp_path)
    place = tmp_path / "competitions/readers/read.py"
    line = '    "listed": Reader(read_csv, unused=("roles",), one_task=True),\n'
    place.write_text(place.read_text().replace('    "csv": Reader(read_csv),\n', '    "csv": Reader(read_csv),\n' + line))
    (tmp_path / "data/mine").mkdir(parents=True)
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"data/mine/{number}.png")
    (tmp_path / "data/mine/manifest.csv").write_text("image,a\n" + "".join(f"{k}.png,{'xy'[k % 2]}\n" for k in range(8)))
    yaml = "reader: listed\nsplit: {folds: 2}\ntasks: {a: {column: a, classes: [x, y]}}\nsubmission: {answers: {a: a}}\nimage_size: 16\n"
    (tmp_path / "mine.yaml").write_text(yaml)
    (tmp_path / "odd.yaml").write_text(yaml + "roles: {train: learn}\n")

    def prepared(name):
        command = [sys.executable, "prepare_data.py", name, "--json", "--storage", "runs"]
        environment = {**os.environ, "PODIUM_DATA": str(tmp_path / "data"), "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)

    done = prepared("mine.yaml")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"]["train"] == 8
    refused = prepared("odd.yaml")
    assert refused.returncode == 2
    assert "roles has no effect with the reader listed" in refused.stderr


# ---- packed photos

NPZ = """
reader: npz
table: table.csv
columns: {image: id, role: split}
tasks:
  mask: {column: Mask, classes: [wear, normal]}
submission: {answers: {mask: mask}}
"""


def write_npz(root, *paths, **arrays):
    np.savez(root / "images.npz", **arrays)
    (root / "table.csv").write_text("id,split,Mask\n" + "".join(f"{p},train,wear\n" for p in paths))


def test_packed_photos_keep_their_address_as_path(tmp_path):
    write_npz(tmp_path, "images.npz#train/0", "images.npz#train/2", train=np.zeros((3, 4, 4), np.uint8))
    assert read(tmp_path, NPZ).paths == ("images.npz#train/0", "images.npz#train/2")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("images.npz#train/3", "has rows 0..2, the table asks for row 3"),
        ("images.npz#trian/0", "unknown array 'trian'; did you mean train"),
        ("images.npz#train/-1", "must read archive.npz#array/row"),
        ("images.npz", "must read archive.npz#array/row"),
        ("other.npz#train/0", "there is no archive 'other.npz'"),
        ("broken.npz#train/0", "is not a readable .npz archive"),
        ("images.npz#wide/0", "must be uint8"),
        ("images.npz#objects/0", "must be uint8"),
        ("../images.npz#train/0", "must stay inside"),
    ],
)
def test_each_unusable_address_says_what_is_wrong(tmp_path, path, says):
    arrays = {"train": np.zeros((3, 4, 4), np.uint8), "wide": np.zeros((3, 4, 4)), "objects": np.array([{}, {}, {}])}
    write_npz(tmp_path, path, **arrays)
    np.save(tmp_path / "broken.npy", arrays["train"])
    (tmp_path / "broken.npy").rename(tmp_path / "broken.npz")
    assert any(says in fault for fault in faults(tmp_path, NPZ))


# ---- the shared data

SHARED = Path(os.environ.get("PODIUM_DATA") or Path(__file__).parents[2].parent / "shared" / "data")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("clothing", {"train": 3816, "test": 1280, "unlabelled": 660}),
        ("fashion_mnist", {"train": 60000, "test": 10000}),
        ("setgame", {"train": 9855, "test": 3294}),
        ("setgame_few", {"train": 486, "test": 9261}),
    ],
)
def test_the_shared_sets_read_whole_and_quickly(name, counts):
    from competitions.loading import load_competition

    asked = load_competition(name)
    if not (SHARED / asked.root).is_dir():
        pytest.skip(f"{SHARED / asked.root} is not there; PODIUM_DATA names the folder that holds it")
    start = time.process_time()
    manifest = READERS[asked.reader](asked, SHARED / asked.root)
    assert time.process_time() - start < 3
    assert {role: len(manifest.rows(role)) for role in counts} == counts
    for task, labels in manifest.labels.items():
        assert (labels[manifest.rows("train")] >= 0).all()
        assert (labels[manifest.rows("test")] == -1).all()
        assert (labels[manifest.rows("unlabelled")] == -1).all()
        assert len(np.unique(labels)) == len(asked.classes(task)) + 1
