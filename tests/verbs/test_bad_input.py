"""Wrong input: exit code 2, every fault named with the way out, no traceback, nothing on stdout, nothing written."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import search_spaces
from tests.verbs.conftest import ROOT, YAML, Desk, Run, everything, refused


@pytest.fixture(scope="module")
def here(new_desk: Callable[[], Desk]) -> Desk:
    """A prepared place without any trial."""
    desk = new_desk()
    desk.run("prepare_data.py", desk.yaml)
    return desk


SEARCH = ("run_search", "{yaml}", "--space", "smoke")
REQUESTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prepare_unknown": (("prepare_data", "clothin"), ("unknown competition 'clothin'", "did you mean clothing?")),
    "prepare_no_such_file": (("prepare_data", "{root}/tini.yaml"), ("unknown competition", "tini.yaml")),
    "prepare_nothing": (("prepare_data",), ("arguments are required: competition", "--help")),
    "prepare_unknown_flag": (("prepare_data", "{yaml}", "--fast"), ("unrecognized arguments: --fast",)),
    "storage_below_a_file": (
        ("prepare_data", "{yaml}", "--storage", "{yaml}/below"),
        ("storage must be a folder that can be written", "--storage DIR or PODIUM_STORAGE"),
    ),
    "search_unknown": (("run_search", "fashon_mnist"), ("unknown competition", "did you mean fashion_mnist?")),
    "search_space": (("run_search", "{yaml}", "--space", "smoek"), ("unknown space 'smoek'", "did you mean smoke?")),
    "search_target": ((*SEARCH, "--targets", "colour,shap"), ("unknown target 'shap'", "did you mean shape")),
    "search_zero_trials": ((*SEARCH, "--trials", "0"), ("trials must be 1 or more, got 0",)),
    "search_negative_trials": ((*SEARCH, "--trials", "-3"), ("trials must be 1 or more, got -3",)),
    "search_text_for_number": ((*SEARCH, "--trials", "many"), ("argument --trials: invalid int value: 'many'",)),
    "search_fold": ((*SEARCH, "--fold", "9"), ("fold must be 0..3, got 9; split 'persons' has 4 folds",)),
    "search_hours": ((*SEARCH, "--hours", "0"), ("hours must be above 0, got 0",)),
    "search_storage": ((*SEARCH, "--storage", "{yaml}"), ("storage must be a folder that can be written",)),
    "search_study_name": ((*SEARCH, "--study", "../up"), ("study names are letters, digits", "'../up'")),
    "search_all_at_once": (
        ("run_search", "{yaml}", "--space", "x", "--targets", "y", "--trials", "0", "--seed", "-1", "--fold", "4"),
        ("unknown space 'x'", "unknown target 'y'", "trials must", "seed must", "fold must"),
    ),
    "search_more_at_once": (
        (
            *SEARCH,
            "--searcher",
            "tp",
            "--scheduler",
            "ashes",
            "--track",
            "wandbb",
            "--cpus-per-trial",
            "0",
            "--gpus-per-trial",
            "-1",
        ),
        ("did you mean tpe?", "did you mean asha?", "did you mean wandb?", "cpus-per-trial must", "gpus-per-trial must"),
    ),
    "resume_with_flags": (
        ("run_search", "{yaml}", "--resume", "nope", "--seed", "7", "--space", "smoke"),
        ("--space, --seed cannot be changed with --resume",),
    ),
    "resume_with_split": (
        ("run_search", "{yaml}", "--resume", "nope", "--split", "persons"),
        ("--split cannot be changed with --resume",),
    ),
    "search_split": (
        ("run_search", "{yaml}", "--space", "smoke", "--split", "person"),
        ("unknown split 'person'", "did you mean persons?"),
    ),
    "prepare_split": (("prepare_data", "{yaml}", "--split", "person"), ("unknown split 'person'", "did you mean persons?")),
    "leak_without_random": (
        ("prepare_data", "{yaml}", "--show-leak"),
        ("tiny's YAML has no random one", "add `splits: {random:"),
    ),
    "export_split": (("export_ensemble", "{yaml}", "--to", "{root}/out", "--split", "person"), ("unknown split 'person'",)),
    "base_alone": ((*SEARCH, "--base", "abc"), ("unknown trial 'abc'", "--base abc needs --vary", "--all-data")),
    "vary_alone": ((*SEARCH, "--vary", "loss"), ("--vary needs --base TRIAL_ID",)),
    "all_data_with_what_has_no_effect": (
        (*SEARCH, "--all-data", "--fold", "1", "--seed", "0"),
        ("--space, --seed would have no effect with --all-data",),
    ),
    "all_data_and_vary": (
        ("run_search", "{yaml}", "--all-data", "--vary", "loss"),
        ("--vary changes settings and --all-data keeps",),
    ),
    "all_data_without_trials": (
        ("run_search", "{yaml}", "--all-data"),
        ("no finished trial of colour, shape on fold 0", "run_search.py tiny --targets colour,shape"),
    ),
    "all_folds_with_what_has_no_effect": (
        (*SEARCH, "--all-folds", "--fold", "1", "--scheduler", "asha"),
        ("--space, --scheduler would have no effect with --all-folds",),
    ),
    "resume_with_all_folds": (
        ("run_search", "{yaml}", "--resume", "nope", "--all-folds"),
        ("--all-folds cannot be changed with --resume",),
    ),
    "resume_around_a_base": (
        ("run_search", "{yaml}", "--resume", "nope", "--base", "abc", "--all-data"),
        ("--base, --all-data cannot be changed with --resume",),
    ),
    "warm_start_and_what_it_cannot_go_with": (
        (*SEARCH, "--warm-start", "--base", "abc", "--vary", "lr"),
        ("--warm-start begins a search of a whole space; leave it out with --base, --all-data and --all-folds",),
    ),
    "warm_start_without_effect": (
        (*SEARCH, "--warm-start", "--searcher", "random", "--scheduler", "fifo"),
        ("--warm-start would have no effect with --searcher random and --scheduler fifo",),
    ),
    "resume_only_flags": (
        (*SEARCH, "--retry-failed", "--accept-change"),
        (
            "--retry-failed runs the failed trials of a study",
            "give it with --resume STUDY",
            "--accept-change goes on with a study",
        ),
    ),
    "retry_and_more": (
        ("run_search", "{yaml}", "--resume", "nope", "--retry-failed", "--trials", "3", "--warm-start"),
        ("--warm-start cannot be changed with --resume", "and without --trials"),
    ),
    "resume_unknown": (("run_search", "{yaml}", "--resume", "nope"), ("unknown study 'nope'", "start one first")),
    "show_unknown": (("show_trials", "tinny"), ("unknown competition in this storage 'tinny'", "did you mean tiny?")),
    "show_sort": (("show_trials", "tiny", "--sort", "scores"), ("unknown sort key 'scores'", "did you mean score")),
    "show_study": (("show_trials", "tiny", "--study", "nope"), ("unknown study 'nope'",)),
    "show_limit": (("show_trials", "tiny", "--limit", "-3"), ("limit must be 0 (all) or more, got -3",)),
    "show_limit_in_words": (("show_trials", "tiny", "--limit", "all"), ("--limit: invalid int value: 'all'",)),
    "show_effects_sorted": (
        ("show_trials", "tiny", "--effects", "--sort", "epochs"),
        ("--sort would have no effect with --effects",),
    ),
    "report_unknown": (("make_report", "tinny", "--study", "nope"), ("unknown study 'nope'",)),
    "show_limit_without_effect": (("show_trials", "tiny", "--splits", "--limit", "3"), ("--limit would have no effect here",)),
    "export_all_at_once": (
        ("export_ensemble", "{yaml}", "--to", "{root}/out", "--top", "0", "--vote", "hrd", "--fold", "9"),
        ("top must be 1 or more, got 0", "unknown voting rule 'hrd'", "did you mean hard?", "fold must be 0..3 or all, got 9"),
    ),
    "export_device": (
        ("export_ensemble", "{yaml}", "--to", "{root}/out", "--device", "tpu9"),
        ("argument --device: invalid choice: 'tpu9'", "cpu", "cuda"),
    ),
    "predict_device": (
        ("predict", "{root}/nope", "{photos}", "--out", "{root}/a.csv", "--device", "tpu9"),
        ("argument --device: invalid choice: 'tpu9'", "cpu", "cuda"),
    ),
    "export_without_to": (("export_ensemble", "{yaml}"), ("arguments are required: --to",)),
    "export_study": (("export_ensemble", "{yaml}", "--to", "{root}/out", "--study", "nope"), ("unknown study 'nope'",)),
    "export_no_trials": (
        ("export_ensemble", "{yaml}", "--to", "{root}/out"),
        ("no finished trial of colour, shape on fold 0", "run_search.py"),
    ),
    "predict_columns_of_no_table": (
        ("predict", "{root}/nope", "{photos}", "--out", "{root}/a.csv", "--path-column", "file", "--group-column", "person"),
        ("--path-column names a column of the table that --ids gives", "--group-column names a column", "give --ids"),
    ),
    "predict_nothing": (("predict",), ("arguments are required: bundle, photos, --out",)),
    "reproduce_unknown": (("reproduce_trial", "{yaml}", "0123456789ab"), ("unknown trial '0123456789ab'; there is none",)),
    "reproduce_competition": (("reproduce_trial", "tini", "0123456789ab"), ("unknown competition 'tini'",)),
    "reproduce_nothing": (("reproduce_trial", "{yaml}"), ("arguments are required: TRIAL_ID",)),
    "merge_nothing": (("merge_ledgers", "tiny"), ("arguments are required: OTHER",)),
    "merge_all_at_once": (
        ("merge_ledgers", "tiny", "{root}/nope", "{root}/storage", "{root}/data"),
        ("'{root}/nope', which is not there", "'{root}/storage' is this one", "'{root}/data' has neither"),
    ),
    "predict_no_bundle": (
        ("predict", "{root}/nope", "{photos}", "--out", "{root}/a.csv"),
        ("is not a bundle", "export_ensemble.py"),
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_wrong_request_is_refused(name: str, run: Run, here: Desk) -> None:
    (verb, *arguments), texts = REQUESTS[name]
    refused(run, here, verb, tuple(arguments), tuple(text.replace("{root}", str(here.root)) for text in texts))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(run: Run, here: Desk) -> None:
    told = ("device must be one of this machine, where PyTorch finds no GPU (cpu), got 'cuda'",)
    refused(run, here, "export_ensemble", ("{yaml}", "--to", "{root}/out", "--device", "cuda"), told)
    refused(run, here, "predict", ("{root}/nope", "{photos}", "--out", "{root}/a.csv", "--device", "cuda"), told)


def _row(desk: Desk, number: int, change: Callable[[list[str]], object]) -> None:
    path = desk.root / "data/tiny/manifest.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    change(rows[number])
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")


def _yaml(desk: Desk, *changes: tuple[str, str]) -> None:
    text = YAML
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    desk.yaml.write_text(text)


DATA: dict[str, tuple[Callable[[Desk], object], tuple[str, ...]]] = {
    "three_faults_in_the_yaml": (
        lambda desk: _yaml(desk, ("folds: 4", "folds: 1"), ("image_size", "image_sise"), ("answer: label", "answer: labels")),
        (
            "split.folds must be at least 2, got 1",
            "'image_sise'; did you mean image_size",
            "unknown answer in submission 'labels'",
        ),
    ),
    "not_yaml": (lambda desk: desk.yaml.write_text("tasks: [a, b"), ("tiny.yaml is not YAML",)),
    "missing_image": (lambda desk: (desk.photos / "t05.png").unlink(), ("1 of 100 image files", "test/t05.png")),
    "image_in_another_case": (
        lambda desk: (desk.photos / "t05.png").rename(desk.photos / "T05.PNG"),
        ("1 of 100 image files", "in another case: 'test/T05.PNG' for 'test/t05.png'; write the paths as the files are called"),
    ),
    "one_person_in_two_spellings_on_both_sides": (
        lambda desk: _row(desk, 90, lambda row: row.__setitem__(2, "p01\u200b")),
        ("group 'p01' stands in train and in test",),
    ),
    "unknown_role": (
        lambda desk: _row(desk, 1, lambda row: row.__setitem__(3, "val")),
        ("unknown word 'val'", "`roles: {train: [train, val], test: test}`"),
    ),
    "duplicate_id": (
        lambda desk: _row(desk, 2, lambda row: row.__setitem__(0, "p00/0.png")),
        ("image ids must differ", "'p00/0.png'", "keep one row per photo"),
    ),
    "empty_table": (
        lambda desk: (desk.root / "data/tiny/manifest.csv").write_text("photo,file,person,role,colour,shape\n"),
        ("a header and no rows",),
    ),
    "unknown_column": (
        lambda desk: _yaml(desk, ("column: shape", "column: shapes")),
        ("unknown column 'shapes'", "did you mean shape"),
    ),
    "unknown_class": (
        lambda desk: _row(desk, 1, lambda row: row.__setitem__(4, "rde")),
        ("task colour: unknown class 'rde'", "did you mean red?", "in 1 rows"),
    ),
    "person_on_both_sides": (
        lambda desk: _row(desk, 90, lambda row: row.__setitem__(2, "p01")),
        ("group 'p01' stands in train and in test",),
    ),
    "no_data": (lambda desk: shutil.rmtree(desk.root / "data"), ("is not a folder", "PODIUM_DATA")),
}


@pytest.mark.parametrize("name", DATA)
def test_wrong_data_are_refused(name: str, run: Run, desk: Desk) -> None:
    spoil, texts = DATA[name]
    spoil(desk)
    refused(run, desk, "prepare_data", ("{yaml}",), texts)
    refused(run, desk, "run_search", ("{yaml}", "--space", "smoke"), texts)


@dataclass(frozen=True)
class _Spaces:
    folder: Path

    def write(self, name: str, body: str, epochs: str = "MAX_EPOCHS = 2") -> None:
        (self.folder / f"{name}.py").write_text(f"{epochs}\nGRACE_EPOCHS = 1\nREDUCTION = 2\ndef suggest(trial):\n    {body}\n")


@pytest.fixture
def spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Spaces]:
    """A folder of search spaces of this test's own."""
    monkeypatch.setattr(search_spaces, "FOLDER", tmp_path)
    monkeypatch.setattr(search_spaces, "__path__", [str(tmp_path)])
    yield _Spaces(tmp_path)
    for name in [name for name in sys.modules if name.startswith("search_spaces.")]:
        del sys.modules[name]


SPACES: dict[str, tuple[str, tuple[str, ...]]] = {
    "unknown_backbone": ('return {"backbone": "resnet81"}', ("unknown backbone 'resnet81'", "did you mean", "resnet18")),
    "unknown_setting": ('return {"learning_rate": 0.1}', ("unknown setting 'learning_rate'", "known:")),
    "several": (
        'return {"loss": "focall", "lr": -1.0, "focal_gamma": 2.0, "epochs": 2.5}',
        (
            "unknown loss 'focall'",
            "did you mean focal",
            "lr must be a number",
            "focal_gamma has an effect only with",
            "epochs must be",
        ),
    ),
    "size": (
        'return {"backbone": "test_vit", "image_size": 40}',
        ("'test_vit' cannot take image_size 40", "sizes near it that work: 32, 64"),
    ),
    "missing_weights": ('return {"weights_file": "/nowhere/w.pt"}', ("weights_file must be a file of weights", "not there")),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_wrong_space_is_refused_before_the_first_trial(name: str, run: Run, here: Desk, spaces: _Spaces) -> None:
    body, texts = SPACES[name]
    spaces.write(name, body)
    refused(run, here, "run_search", ("{yaml}", "--space", name), texts)


def test_a_space_without_its_numbers_is_refused(run: Run, here: Desk, spaces: _Spaces) -> None:
    spaces.write("bare", "return {}", epochs="")
    refused(run, here, "run_search", ("{yaml}", "--space", "bare"), ("it lacks MAX_EPOCHS",))


@pytest.mark.parametrize("space", ["smoke", "finetune"])  # without and with start weights
def test_a_dry_run_shows_a_trial_of_each_target_and_writes_nothing(run: Run, here: Desk, space: str) -> None:
    before = everything(here.root)
    code, out, err = run(here, *SEARCH, "--space", space, "--dry-run", "--json")
    assert code == 0, err
    assert set(json.loads(out)["for_example"]) == {"colour", "shape"}
    assert everything(here.root) == before


# ---- in processes of their own


@pytest.mark.parametrize(
    "command",
    [
        ["run_search.py", "nope", "--trials", "0"],
        ["show_trials.py", "nope"],
        ["predict.py", "nope", "nope", "--out", "x.csv", "--json"],
    ],
    ids=" ".join,
)
def test_a_verb_exits_with_2_and_an_empty_stdout(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / command[0]), *command[1:]],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{command[0]}: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_more_than_the_machine_has_is_refused_and_leaves_no_study(here: Desk) -> None:
    done = here.run("run_search.py", here.yaml, "--space", "smoke", "--cpus-per-trial", 4096, "--gpus-per-trial", 64, code=2)
    assert "cpus-per-trial must be at most" in done.err
    assert "gpus-per-trial must be at most" in done.err
    assert "Traceback" not in done.err
    assert (done.out, list((here.kept / "studies").iterdir())) == ("", [])
