"""A competition's YAML: every mistake is found in one reading and said in words a person can act on."""

import pytest

from competitions.competition import Competition, with_split
from competitions.loading import known_competitions, load_competition, parse_competition
from system.errors import UserError

GOOD = """
title: Masks
columns: {image: id, group: person, role: split}
roles: {train: train, test: eval}
tasks:
  mask: {column: mask, classes: [wear, incorrect, normal]}
  age: {column: age, classes: [young, old]}
label: [mask, age]
submission: {id_column: ImageID, answers: {ans: label}}
"""


def faults_of(text, name="masks"):
    with pytest.raises(UserError) as caught:
        parse_competition(text, name, where=f"{name}.yaml")
    return caught.value.faults


def test_a_good_file_composes_its_tasks_first_most_significant():
    competition = parse_competition(GOOD, "masks", where="masks.yaml")
    assert competition.name == "masks"
    assert competition.label_classes[:3] == ("wear/young", "wear/old", "incorrect/young")
    assert competition.classes("age") == ("young", "old")
    assert len(competition.classes("label")) == 6


def test_three_mistakes_of_three_kinds_are_named_together():
    text = (
        GOOD.replace("submission:", "split: {folds: 1}\nsubmission:")
        .replace("ans: label", "ans: gender")
        .replace("title:", "tittle:")
    )
    faults = faults_of(text)
    assert len(faults) == 3
    assert any("split.folds must be at least 2, got 1" in f for f in faults)
    assert any("unknown answer in submission 'gender'" in f for f in faults)
    assert any("unknown setting 'tittle'; did you mean title" in f for f in faults)


def test_no_mistake_is_named_twice():
    faults = faults_of(GOOD.replace("title: Masks", "test_shares: {age: {young: 1}}"))
    assert len(faults) == len(set(faults)) == 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title: Masks", "reader: cvs", "unknown reader 'cvs'; did you mean csv"),
        ("title: Masks", "metric: macro-f1", "unknown metric 'macro-f1'; did you mean macro_f1"),
        ("title: Masks", "root: /data/masks", "root must be relative"),
        ("title: Masks", "images: ../other", "images must be relative"),
        ("title: Masks", "views: [hflip]", "views must begin with identity"),
        ("[young, old]", "[young, old], forbids: [hflip]", "tasks.age.forbids: unknown view of the competition 'hflip'"),
        ("[young, old]", "[young, old], forbids: [identity]", "tasks.age.forbids must not name identity"),
        ("[young, old]", "[young, old], forbids: [a, a]", "tasks.age.forbids must name each view once, got ['a', 'a']"),
        ("[young, old]", "[young, old], forbids: hflip", "tasks.age.forbids must be a list, got 'hflip'"),
        ("title: Masks", "name: other", "name must be the file's own, 'masks', got 'other'"),
        ("title: Masks", "tasks: {}", "these keys stand twice: tasks"),
        ("title: Masks", "image_size: big", "image_size must be a whole number, got 'big'"),
        ("title: Masks", "split: 5", "split must be a mapping, got 5"),
        ("age: {column", "index: {column", "task name 'index' is one of the manifest's own words"),
        ("label: [mask, age]", "label: [mask, agee]", "unknown task in label 'agee'; did you mean age"),
        ("label: [mask, age]", "label: [mask, mask]", "'mask' stands twice"),
        ("[young, old]", "[yes, no]", "class names must be quoted texts, got [True, False]"),
        ("[young, old]", "[young, young]", "class names must differ, these stand twice: young"),
        (
            "[young, old]",
            '[young, "young\\u200b"]',
            "class names must differ to the eye, these do not: 'young' in 2 spellings (signs",
        ),
        ("[young, old]", "['{young}', '']", "not empty"),
        ("[young, old]", "[young]", "tasks.age.classes must have at least 2 entries"),
        ("column: age", "colum: age", "tasks.age: unknown setting 'colum'; did you mean column"),
        ("column: age", "column: mask", "tasks must read different columns"),
        (", role: split", "", "roles have no effect without columns.role"),
        ("{train: train, test: eval}", "{test: eval}", "roles must give the table's word for train"),
        ("{train: train, test: eval}", "{train: train, trial: eval}", "roles.trial must be 'train', 'test' or 'unlabelled'"),
        (
            "{train: train, test: eval}",
            "{train: train, val: eval}",
            "to learn from the photos of val, write `train: [train, val]`",
        ),
        (
            "{train: train, test: eval}",
            "{train: [train, 3], test: eval}",
            "roles.train: must be a word or a list of words (quote them)",
        ),
        ("{train: train, test: eval}", "{train: [a, b], test: b}", "roles must have different words, got a, b, b"),
        ("answers: {ans: label}", "answers: {ans: [label]}", "submission.answers.ans must be a text"),
        ("submission: {id_column: ImageID, answers: {ans: label}}", "", "submission is missing"),
        ("title: Masks", "title: [", "is not YAML"),
        (
            "[young, old]",
            "[young, old], cuts: [30, 60]",
            "tasks.age: cuts must be one fewer than the classes they lie between, got 2",
        ),
        ("[young, old]", "[young, mid, old], cuts: [60, 30]", "tasks.age.cuts: numbers must increase, got 60, 30"),
        ("[young, old]", "[young, mid, old], cuts: [30, 30]", "numbers must increase"),
        ("[young, old]", "[young, old], cuts: [.nan]", "tasks.age.cuts.0 must be a finite number"),
        ("[young, old]", "[young, old], cuts: [.inf]", "tasks.age.cuts.0 must be a finite number"),
        ("[young, old]", "[young, old], cuts: ['30']", "tasks.age.cuts.0 must be a number, got '30'"),
        ("[young, old]", "[young, old], cuts: 30", "tasks.age.cuts must be a list"),
        ("[young, old]", "[young, old], cuts: [yes]", "tasks.age.cuts.0 must be a number"),
        ("column: age, ", "", "tasks.age.column is missing"),
        ("title: Masks", "reader: mask", "columns.image, columns.group, columns.role has no effect with the reader mask"),
        ("title: Masks", "reader: [csv]", "reader must be a text"),
        ("title: Masks", "split: {folds: 5, holdout: 0.1}", "folds and holdout exclude one another, got 5 and 0.1; drop one"),
        ("title: Masks", "split: {holdout: 0.6}", "split.holdout must be at most 0.5, got 0.6"),
        ("title: Masks", "splits: {a: {fold: 5}}", "splits.a: unknown setting 'fold'; did you mean folds"),
        ("title: Masks", "splits: {a: {name: b}}", "splits.a: name must be its key, got 'b'"),
        ("title: Masks", "splits: {groups: {folds: 3}}", "splits must have other names than `split`, which is called 'groups'"),
        (
            "title: Masks",
            "allows: [probe]",
            "allows.0 must be 'same_group_at_test' or 'test_shares'",
        ),
        ("title: Masks", "allows: [test_shares, test_shares]", "allows must name each rule once, 'test_shares' stands twice"),
        ("title: Masks", "allows: test_shares", "allows must be a list, got 'test_shares'"),
        (
            "title: Masks",
            "test_shares: {age: {young: 0.5, old: 0.5}}",
            "only where the rules say so; add `allows: [test_shares]`",
        ),
        ("title: Masks", "test_shares: {agee: {young: 1}}", "unknown task in test_shares 'agee'; did you mean age"),
        ("title: Masks", "test_shares: {label: {young: 1}}", "unknown task in test_shares 'label'"),
        (
            "title: Masks",
            "test_shares: {mask: {wear: 0.5, wron: 0.5}}",
            "test_shares.mask: unknown class 'wron'; did you mean",
        ),
        (
            "title: Masks",
            "test_shares: {mask: {wear: 1.0}}",
            "test_shares.mask must have a share for each class, incorrect, normal has none; write 0",
        ),
        ("title: Masks", "test_shares: {age: {young: 0.5, old: 0.502}}", "test_shares.age must sum to 1 (by at most 0.001 more"),
        ("title: Masks", "test_shares: {age: {young: 1.5, old: -0.5}}", "test_shares.age.old must be at least 0.0, got -0.5"),
        ("title: Masks", "test_shares: {age: {young: yes, old: 0}}", "test_shares.age.young must be a number, got True"),
        ("title: Masks", "test_shares: {age: {young: .nan, old: 1}}", "test_shares.age.young must be"),
        ("title: Masks", "test_shares: [0.5]", "test_shares must be a mapping"),
        ("column: age", "column: age, same_in_group: 1", "tasks.age.same_in_group must be true or false, got 1"),
    ],
)
def test_each_mistake_says_the_rule_the_value_and_the_way_out(old, new, says):
    assert old in GOOD
    faults = faults_of(GOOD.replace(old, new, 1))
    assert any(says in fault for fault in faults), faults
    assert all(fault.startswith("masks.yaml") and "\n" not in fault for fault in faults)


def test_a_view_that_a_task_forbids_is_left_out_for_it_and_for_the_label():
    text = GOOD.replace("[young, old]", "[young, old], forbids: [vflip]") + "views: [identity, hflip, vflip]\n"
    competition = parse_competition(text, "masks", where="masks.yaml")
    assert competition.views_for("mask") == ("identity", "hflip", "vflip") == competition.views
    assert competition.views_for("age") == competition.views_for("label") == ("identity", "hflip")
    assert Competition.model_validate(competition.model_dump(mode="json")) == competition


def test_a_task_that_forbids_nothing_is_recorded_as_before_there_was_the_setting():
    dumped = parse_competition(GOOD, "masks", where="masks.yaml").model_dump(mode="json")
    assert dumped["tasks"]["age"] == {"column": "age", "classes": ["young", "old"], "cuts": None}


def test_splits_are_named_by_their_keys_and_one_is_taken_by_name():
    text = GOOD + "split: {name: persons, folds: 4}\nsplits: {random: {folds: 3, by_group: false}, holdout10: {holdout: 0.1}}\n"
    competition = parse_competition(text, "masks", where="masks.yaml")
    assert {name: split.n_folds for name, split in competition.all_splits.items()} == {"persons": 4, "random": 3, "holdout10": 1}
    taken = with_split(competition, "holdout10")
    assert (taken.split.name, taken.split.holdout) == ("holdout10", 0.1)
    assert taken.all_splits == competition.all_splits
    assert with_split(taken, "persons").split == competition.split == with_split(competition, None).split
    for each in (competition, taken):
        assert Competition.model_validate(each.model_dump(mode="json")) == each
    with pytest.raises(UserError, match="unknown split 'holdout1'; did you mean holdout10"):
        with_split(competition, "holdout1")


def test_a_split_that_says_nothing_has_five_folds():
    assert parse_competition(GOOD, "masks", where="masks.yaml").split.n_folds == 5


def test_class_names_whose_compositions_read_alike_are_refused():
    text = GOOD.replace("[wear, incorrect, normal]", "[a, a/b]").replace("[young, old]", "[c, b/c]")
    assert any("composed classes must have different names" in f and "a/b/c" in f for f in faults_of(text))


def test_a_competition_made_in_python_is_checked_as_well():
    with pytest.raises(ValueError, match="unknown task in label 'b'"):
        Competition(
            name="x", tasks={"a": {"column": "a", "classes": ["p", "q"]}}, label=("b",), submission={"answers": {"a": "a"}}
        )


@pytest.mark.parametrize("text", ["", "- a\n- b", "1: 2", "tasks: 3", "tasks: {a: {classes: 7}}", "roles: [1]", "label: {a: 1}"])
def test_a_file_of_the_wrong_shape_is_the_users_fault_and_not_a_crash(text):
    assert faults_of(text)


def test_an_unknown_competition_names_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"unknown competition 'clothin'; did you mean clothing"):
        load_competition("clothin")
    (tmp_path / "masks.yaml").write_bytes("title: 마스크".encode("cp949"))
    with pytest.raises(UserError, match="not UTF-8"):
        load_competition(str(tmp_path / "masks.yaml"))
    (tmp_path / "masks.yaml").write_text(GOOD, encoding="utf-8-sig")
    assert load_competition(str(tmp_path / "masks.yaml")).name == "masks"


@pytest.mark.parametrize("name", known_competitions())
def test_every_competition_in_the_folder_loads(name):
    competition = load_competition(name)
    assert competition.name == name
    assert Competition.model_validate(competition.model_dump(mode="json")) == competition


def test_a_competition_survives_json_without_its_optional_settings():
    text = GOOD.replace("columns: {image: id, group: person, role: split}\nroles: {train: train, test: eval}\n", "")
    competition = parse_competition(text, "masks", where="masks.yaml")
    assert Competition.model_validate(competition.model_dump(mode="json")) == competition


RULES = "allows: [same_group_at_test, test_shares]\ntest_shares: {age: {young: 0.9996, old: 0}}\n"


def test_what_the_rules_allow_is_known_and_everything_is_off_unless_it_is_said():
    plain = parse_competition(GOOD, "masks", where="masks.yaml")
    assert (plain.allows, plain.test_shares, plain.tasks["age"].same_in_group) == ((), {}, False)
    told = parse_competition(GOOD.replace("column: age", "same_in_group: true, column: age") + RULES, "masks", where="masks.yaml")
    assert told.allows == ("same_group_at_test", "test_shares")
    assert told.test_shares == {"age": {"young": 0.9996, "old": 0}}
    assert told.tasks["age"].same_in_group
    assert Competition.model_validate(told.model_dump(mode="json")) == told
    assert Competition.model_validate(told.model_dump(exclude_unset=True)) == told


def test_a_file_without_these_settings_is_recorded_as_before_there_were_any():
    dumped = parse_competition(GOOD, "masks", where="masks.yaml").model_dump(mode="json")
    assert not {"allows", "test_shares"} & set(dumped)
    assert not any("same_in_group" in task for task in dumped["tasks"].values())


@pytest.mark.parametrize(("old", "new"), [("group: person, ", ""), ("columns: {image: id, group: person, role: split}\n", "")])
def test_one_answer_per_group_needs_groups(old, new):
    text = GOOD.replace("column: age", "same_in_group: true, column: age").replace(old, new)
    assert any(
        "tasks.age.same_in_group has no effect without groups; name the column (columns.group)" in f for f in faults_of(text)
    )
    folders = "reader: folders\ntasks: {age: {classes: [a, b], same_in_group: true}}\nsubmission: {answers: {ans: age}}\n"
    assert any("without groups; the reader folders knows none, or leave it out" in f for f in faults_of(folders))
