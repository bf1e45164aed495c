"""What settings make of tables: path rules, test rows and labels in tables of their own, one column per class, columns from names."""

from pathlib import Path

import pytest

from competitions.competition import Competition
from competitions.loading import parse_competition
from competitions.manifest import Manifest
from competitions.readers.path_rules import filled, rule_faults
from competitions.readers.read import read
from system.errors import UserError

SUBMISSION = "submission: {sample: sample.csv}\n"


def lay_out(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def read_as(yaml: str, root: Path) -> tuple[Competition, Manifest]:
    return read(parse_competition(yaml, "x", where="x.yaml"), root)


def faults_of(yaml: str, root: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_as(yaml, root)
    return "\n".join(caught.value.faults)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("{id}.jpg", "a7.jpg"),
        ("{chain}/{image}", "87/a7.png"),
        ("{id[0]}/{id[:2]}/{id[-1]}{id[1:]}.npy", "a/a7/77.npy"),
        ("plain/{image}", "plain/a7.png"),
    ],
)
def test_a_rule_says_where_each_photo_is(rule: str, path: str) -> None:
    assert not rule_faults(rule)
    assert filled(rule, {"key": ["a7"], "chain": ["87"], "image": ["a7.png"]}, "key") == [path]


@pytest.mark.parametrize("rule", ["{id", "{}", "id}", "{id.__class__}/{id[0}", "{id[x]}", "{id[]}"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    assert "a path rule must name columns in braces" in rule_faults(rule)[0]


SETI = """
table: labels.csv
columns: {image: id, path: "{id[0]}/{id}.jpg"}
images: train
test_images: test
tasks: {target: {column: target}}
submission: {sample: sample.csv}
"""


def test_a_rule_holds_for_the_photos_of_a_sample_too(tmp_path: Path) -> None:
    files = ["train/a/ab.jpg", "train/c/cd.jpg", "test/e/ef.jpg", "test/a/ab.jpg"]
    tables = {"labels.csv": "id,target\nab,0\ncd,1\n", "sample.csv": "id,target\nef,0.5\nab,0.5\n"}
    lay_out(tmp_path, {**tables, **dict.fromkeys(files, "x")})
    asked, manifest = read_as(SETI, tmp_path)
    assert manifest.paths == tuple(files)
    assert manifest.image_ids == ("train/ab", "train/cd", "ef", "ab")
    assert len(set(manifest.groups)) == 4
    assert "1 ids stand for a training photo and for a test photo (ab)" in manifest.notes[0]
    assert asked.tasks["target"].classes == ("0", "1")
    assert "columns.path {chain}/{id}, chain: unknown column 'chain'" in faults_of(
        SETI.replace("{id[0]}/{id}.jpg", "{chain}/{id}"), tmp_path
    )


TABLES = """
table: train_features.csv
test_table: test_features.csv
join: {train_labels.csv: id}
columns: {image: id, path: filepath, group: site}
tasks: {animal: {columns: [bird, blank, cat]}}
submission: {id_column: id, answers: {animal: animal}}
"""
FILES = {
    "train_features.csv": "id,filepath,site\na,f/a.jpg,s1\nb,f/b.jpg,s2\nc,f/c.jpg,s1\n",
    "train_labels.csv": "id,bird,blank,cat\nc,0.0,1.0,0.0\nb,0,0,1\na,1,0,0\n",
    "test_features.csv": "id,filepath,site\nz,f/z.jpg,s9\n",
    **dict.fromkeys(["f/a.jpg", "f/b.jpg", "f/c.jpg", "f/z.jpg"], "x"),
}


def test_labels_and_test_rows_may_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    lay_out(tmp_path, FILES)
    asked, manifest = read_as(TABLES, tmp_path)
    assert manifest.image_ids == ("a", "b", "c", "z")
    assert manifest.roles == ("train", "train", "train", "test")
    assert manifest.labels["animal"].tolist() == [0, 2, 1, -1]
    assert manifest.groups == ("s1", "s2", "s1", "s9")
    assert asked.tasks["animal"].classes == ("bird", "blank", "cat")
    assert Competition.model_validate(asked.model_dump(mode="json")) == asked


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("train_labels.csv", "id,bird,blank,cat\na,1,1,0\nb,0,0,1\nc,0,1,0\n", "in 1 rows more do: row 1 (bird and blank)"),
        ("train_labels.csv", "id,bird,blank,cat\na,1,2,0\nb,0,0,1\nc,0,1,0\n", "must hold 0 or 1, got '2' in 1 fields"),
        ("train_labels.csv", "id,bird,blank,cat\na,1,0,0\na,0,0,1\n", "each 'id' must stand once to be joined"),
        ("train_labels.csv", "key,bird,blank,cat\na,1,0,0\n", "train_labels.csv: join by unknown column 'id'"),
        ("train_labels.csv", "id,bird,blank,site\na,1,0,0\n", "its columns site stand in train_features.csv too"),
        ("train_labels.csv", "id,bird,blank,cat\nx,1,0,0\n", "not one row has a 'id' of train_features.csv"),
        (
            "train_labels.csv",
            "id,bird,blank,cat\na,1,0,0\nb,0,1,0\n",
            "at least one task, these have none: 'c'",
        ),
        ("test_features.csv", "name,filepath\nz,f/z.jpg\n", "test_table test_features.csv: unknown column 'id'"),
    ],
)
def test_tables_that_do_not_fit_say_why(tmp_path: Path, name: str, text: str, says: str) -> None:
    lay_out(tmp_path, FILES | {name: text})
    assert says in faults_of(TABLES, tmp_path)


CATS = """
reader: files
images: train
pattern: '^(?P<animal>cat|dog)\\.\\d+'
test_images: test
tasks: {animal: {column: animal}}
submission: {sample: sample.csv}
"""


def test_the_class_may_stand_in_the_name(tmp_path: Path) -> None:
    photos = ["train/cat.0.jpg", "train/cat.1.jpg", "train/dog.0.jpg", "test/1.jpg", "test/2.jpg"]
    lay_out(tmp_path, {"sample.csv": "id,label\n1,0.5\n2,0.5\n", **dict.fromkeys(photos, "x")})
    _, manifest = read_as(CATS, tmp_path)
    assert manifest.image_ids == ("cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "1", "2")
    assert manifest.labels["animal"].tolist() == [0, 0, 1, -1, -1]
    (tmp_path / "train/fox.jpg").write_text("x")
    assert "1 of 4 paths do not match" in faults_of(CATS, tmp_path)
    inside = (
        CATS.replace("images: train\n", "images: ''\n").replace("^", "^train/").replace("|dog", "|dog|fox").replace("\\.\\d+", "")
    )
    assert read_as(inside, tmp_path)[1].roles == ("train",) * 4 + ("test",) * 2


def test_a_group_may_stand_in_the_path_of_a_table_row(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {"t.csv": "image,kind\np1_a.jpg,x\np1_b.jpg,y\np2_a.jpg,x\n", **dict.fromkeys(["p1_a.jpg", "p1_b.jpg", "p2_a.jpg"], "x")},
    )
    head, rest = (
        "table: t.csv\npattern: '^(?P<who>p\\d+)_'\n",
        "tasks: {kind: {column: kind}}\nsubmission: {answers: {kind: kind}}\n",
    )
    yaml = f"{head}columns: {{group: who}}\n{rest}"
    assert read_as(yaml, tmp_path)[1].groups == ("p1", "p1", "p2")
    assert "its names kind are columns of t.csv already" in faults_of(
        yaml.replace("<who>", "<kind>").replace("group: who", "group: kind"), tmp_path
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("(?P<animal>cat|dog)", "(cat|dog)", "pattern must name what it reads"),
        ("(?P<animal>cat|dog)", "(?P<animal>cat", "pattern must be a regular expression"),
        ("images: train\n", "images: train\ntable: t.csv\n", "table has no effect with the reader files"),
        ("images: train\n", "images: train\njoin: {t.csv: id}\n", "join has no effect with the reader files"),
        ("reader: files", "reader: folders", "pattern has no effect with the reader folders"),
        ("{column: animal}", "{columns: [cat, dog], column: animal}", "columns excludes column and cuts"),
        (
            "{column: animal}",
            "{columns: [cat, dog], classes: [a, b, c]}",
            "classes must be as many as columns, got 3 for 2 columns",
        ),
        ("{column: animal}", "{}", "tasks.animal.column is missing"),
        (
            "test_images: test",
            "test_images: test\ncolumns: {path: '{id'}",
            "columns.path: a path rule must name columns in braces",
        ),
        ("reader: files", "reader: csv\ntest_table: ../t.csv", "test_table must be relative"),
        ("reader: files", "reader: csv\njoin: {/t.csv: id}", "join must be relative"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_the_file(old: str, new: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_competition(CATS.replace(old, new), "x", where="x.yaml")
    assert any(says in fault for fault in caught.value.faults), caught.value.faults


def test_a_coco_file_that_is_none_says_why(tmp_path: Path) -> None:
    head = "reader: coco\ntable: t.json\ncolumns: {image: id, path: file_name}\n"
    yaml = f"{head}tasks: {{kind: {{column: category_name}}}}\nsubmission: {{answers: {{kind: kind}}}}\n"
    image = '{"images": [{"id": 1, "file_name": "a.jpg"}]'
    for text, says in (
        ("{", "t.json is no JSON"),
        ("[]", "must be a COCO file"),
        ('{"images": [{"file_name": "a.jpg"}]}', "its images have no `id`"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}]}', "unknown column 'category_name'"),
        (
            image + ', "annotations": [{"image_id": 1, "category_id": 2}, {"image_id": 1, "category_id": 3}], '
            '"categories": [{"id": 2, "name": "x"}, {"id": 3, "name": "y"}]}',
            "those of 1 photos name more: 1",
        ),
        (
            image + ', "annotations": [{"image_id": 1, "category_id": 2}], "categories": [{"id": 3, "name": "y"}]}',
            "annotations name categories that are not there: 2",
        ),
    ):
        lay_out(tmp_path, {"t.json": text})
        assert says in faults_of(yaml, tmp_path)
