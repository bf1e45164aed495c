"""Class-per-folder: what the folders say is read, and each folder that says nothing is named."""

import os
from unicodedata import normalize

import pytest

from competitions.loading import parse_competition
from competitions.readers.read import READERS
from system.errors import UserError

YAML = "reader: folders\nimages: photos\ntasks: {kind: {classes: [cat, dog]}}\nsubmission: {answers: {kind: kind}}\n"
FILES = ("train/cat/1.jpg", "train/cat/deep/er/1.PNG", "train/dog/1.jpg", "test/b/1.jpg", "test/a.jpeg", "unlabelled/1.jpg")


def lay_out(root, *files):
    for file in files:
        path = root / "photos" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def manifest_of(root, yaml=YAML):
    return READERS["folders"](parse_competition(yaml, "x", where="x.yaml"), root)


def faults_of(root, yaml=YAML):
    with pytest.raises(UserError) as caught:
        manifest_of(root, yaml)
    return caught.value.faults


def test_ids_begin_with_the_role_but_for_test_photos_whose_ids_are_handed_in(tmp_path):
    lay_out(tmp_path, *FILES, "train/cat/._1.jpg", "train/.cache/1.jpg", "train/dog/notes.txt", "valid/cat/1.jpg")
    manifest = manifest_of(tmp_path)
    assert dict(zip(manifest.image_ids, manifest.roles, strict=True)) == {
        "train/cat/1.jpg": "train",
        "train/cat/deep/er/1.PNG": "train",
        "train/dog/1.jpg": "train",
        "b/1.jpg": "test",
        "a.jpeg": "test",
        "unlabelled/1.jpg": "unlabelled",
    }
    assert manifest.labels["kind"].tolist() == [0, 0, 1, -1, -1, -1]
    assert manifest.paths[0] == "photos/train/cat/1.jpg"
    assert manifest.notes[0] == (
        "the folder valid holds 1 photos and no role names it, so they are passed over; "
        "to learn from them as well, write `roles: {unlabelled: unlabelled, train: [train, valid], test: test}`"
    )
    assert all((tmp_path / path).is_file() for path in manifest.paths)


def test_roles_name_other_folders_also_deeper_ones_and_may_leave_the_test_out(tmp_path):
    lay_out(tmp_path, "seg/learn/cat/1.jpg", "seg/learn/dog/1.jpg")
    assert manifest_of(tmp_path, f"roles: {{train: seg/learn}}\n{YAML}").roles == ("train", "train")


def test_every_fault_of_the_folders_is_named_at_once(tmp_path):
    lay_out(tmp_path, "train/cta/1.jpg", "train/dog/notes.txt", "train/loose.jpg", "test/empty.txt")
    found = faults_of(tmp_path)
    for says in (
        "unknown class 'cta'; did you mean cat",
        "the class 'cat' has no folder",
        "the class 'dog' has no photo",
        "these do not: loose.jpg",
        "the test folder 'test' holds no photo",
    ):
        assert any(says in fault for fault in found), (says, found)
    assert len(found) == 5


def test_a_role_without_its_folder_and_one_inside_another_are_named(tmp_path):
    lay_out(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg")
    assert "there is no folder 'test' for the role test" in faults_of(tmp_path)[0]
    assert "folders there: train" in faults_of(tmp_path)[0]
    assert any("may stand in another's" in f for f in faults_of(tmp_path, f"roles: {{train: train, test: train/dog}}\n{YAML}"))
    assert any("must name a folder below" in f for f in faults_of(tmp_path, f"roles: {{train: ../train}}\n{YAML}"))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_korean_folders_and_names_have_the_same_id_in_either_form(tmp_path, form):
    lay_out(tmp_path, *(normalize(form, f) for f in ("train/고양이/사진.jpg", "train/dog/1.jpg", "test/사진.jpg")))
    manifest = manifest_of(tmp_path, YAML.replace("cat", "고양이"))
    assert manifest.image_ids == ("train/고양이/사진.jpg", "train/dog/1.jpg", "사진.jpg")
    assert all((tmp_path / path).is_file() for path in manifest.paths)


def test_links_are_followed_and_a_circle_of_links_stops(tmp_path):
    lay_out(tmp_path, *FILES, "../elsewhere/1.jpg")
    (tmp_path / "photos/train/cat/linked").symlink_to(tmp_path / "elsewhere")
    assert "train/cat/linked/1.jpg" in manifest_of(tmp_path).image_ids
    (tmp_path / "photos/train/cat/round").symlink_to("..")
    assert "reached twice through links" in faults_of(tmp_path)[0]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("table: t.csv", "table has no effect with the reader folders"),
        ("columns: {group: person}", "columns.group has no effect with the reader folders"),
        ("tasks: {a: {classes: [x, y]}, b: {classes: [z, w]}}", "one task, got a, b; use a table"),
        ("tasks: {a: {column: a, classes: [x, y]}}", "tasks.a.column has no effect"),
        ("tasks: {a: {cuts: [1], classes: [x, y]}}", "tasks.a.cuts has no effect"),
    ],
)
def test_settings_that_mean_nothing_to_folders_are_faults(line, says):
    rest = "\n".join(row for row in YAML.splitlines() if not row.startswith(line[:6]))
    with pytest.raises(UserError) as caught:
        parse_competition(f"{line}\n{rest}", "x", where="x.yaml")
    assert any(says in fault for fault in caught.value.faults), caught.value.faults


def test_files_that_do_not_end_like_a_photo_are_counted_and_named_where_a_class_has_no_other(tmp_path):
    lay_out(tmp_path, *FILES, "train/dog/2.ppm", "train/dog/3.PPM", "test/notes.txt", "train/dog/._1.ppm", "unlabelled/README")
    [note] = manifest_of(tmp_path).notes
    assert note.startswith("4 files do not end like a photo and are passed over: .ppm (2), ")
    assert ".txt (1)" in note
    assert "no ending (1)" in note
    assert ".jpg" in note.partition("known: ")[2]
    (tmp_path / "photos/train/dog/1.jpg").unlink()
    [fault] = faults_of(tmp_path)
    assert "the class 'dog' has no photo; 2 files do not end like a photo and are passed over: .ppm (2)" in fault


@pytest.mark.parametrize("folder", ["train/cat", "test", "unlabelled/deep"])
def test_names_that_are_no_utf8_are_named_with_their_old_reading(tmp_path, folder):
    lay_out(tmp_path, *FILES)
    place = tmp_path / "photos" / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / os.fsdecode("고양이.png".encode("cp949"))).write_bytes(b"x")
    told = "; ".join(faults_of(tmp_path))
    assert "file names must be UTF-8 text, 1 are not" in told
    assert f"as cp949 they read {folder}/고양이.png" in told
    assert "`unzip -O cp949`" in told


def test_a_class_folder_that_is_no_utf8_is_named_with_its_old_reading(tmp_path):
    lay_out(tmp_path, *FILES)
    (tmp_path / "photos/train" / os.fsdecode("개".encode("cp949"))).mkdir()
    [fault] = faults_of(tmp_path)
    assert "the classes' folders must be UTF-8 text" in fault
    assert "as cp949 they read train/개" in fault


def test_two_folders_of_one_class_in_two_unicode_forms_are_refused_instead_of_one_being_lost(tmp_path):
    yaml = YAML.replace("cat", "고양이")
    for form in ("NFC", "NFD"):
        lay_out(tmp_path, normalize(form, "train/고양이/1.jpg"), "train/dog/1.jpg", "test/1.jpg")
    assert any("'고양이' in 2 spellings (Unicode form)" in normalize("NFC", fault) for fault in faults_of(tmp_path, yaml))


@pytest.mark.parametrize("folder", ["val", "Validation", "more", "data/dev"])
def test_labelled_photos_that_no_role_names_are_noted_and_learned_from_once_they_are_named(tmp_path, folder):
    train = "data/train" if "/" in folder else "train"
    lay_out(tmp_path, f"{train}/cat/1.jpg", f"{train}/dog/1.jpg", f"{folder}/cat/2.jpg", "docs/a/1.jpg", "empty/cat/x.txt")
    roles = f"roles: {{train: {train}}}\n"
    assert [note.split(" holds ")[0] for note in manifest_of(tmp_path, roles + YAML).notes] == [f"the folder {folder}"]
    [way_out] = [note.split("`")[1] for note in manifest_of(tmp_path, roles + YAML).notes]
    manifest = manifest_of(tmp_path, f"{way_out}\n{YAML}")
    assert manifest.notes == ()
    assert manifest.image_ids == (f"{train}/cat/1.jpg", f"{train}/dog/1.jpg", f"{folder}/cat/2.jpg")
    assert (manifest.roles, manifest.labels["kind"].tolist()) == (("train",) * 3, [0, 1, 0])


def test_of_several_training_folders_one_must_have_each_class(tmp_path):
    lay_out(tmp_path, "a/cat/1.jpg", "b/cat/1.jpg", "c/1.jpg", "d/1.jpg")
    yaml = f"roles: {{train: [a, b], test: [c, d]}}\n{YAML}"
    assert faults_of(tmp_path, yaml) == (
        "a and b: the class 'dog' has no folder; check the upload, or take the class out of the YAML",
    )
    lay_out(tmp_path, "b/dog/1.jpg")
    assert any("these stand more than once: '1.jpg'" in fault for fault in faults_of(tmp_path, yaml))
    assert any("in another's" in fault for fault in faults_of(tmp_path, f"roles: {{train: [a, a/cat]}}\n{YAML}"))
