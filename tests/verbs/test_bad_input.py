"""Wrong input: exit code 2, every fault named with the way out, no traceback, nothing on stdout, nothing written."""

import importlib
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
from system.files import read_json
from tests.verbs.conftest import ROOT, YAML, Desk, Journey

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def here(new_desk: Callable[[], Desk]) -> Desk:
    """A prepared place without any trial."""
    desk = new_desk()
    desk.run("prepare_data.py", desk.yaml)
    return desk


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a verb's own `main` in this process, which has torch loaded already; returns code, stdout and stderr."""

    def call(desk: Desk, verb: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(desk.root)
        for name in ("PODIUM_DATA", "PODIUM_STORAGE", "HOME"):
            monkeypatch.setenv(name, desk.environment[name])
        filled = [str(argument).format(root=desk.root, yaml=desk.yaml, photos=desk.photos) for argument in arguments]
        monkeypatch.setattr(sys, "argv", [f"{verb}.py", *filled])
        capsys.readouterr()
        code = importlib.import_module(verb).main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def everything(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its time and size."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


def refused(run: Run, desk: Desk, verb: str, arguments: tuple[object, ...], texts: tuple[str, ...]) -> None:
    before = everything(desk.root)
    code, out, err = run(desk, verb, *arguments)
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith(f"{verb}.py: "), err
    missing = [text for text in texts if text not in err]
    assert not missing, err
    assert everything(desk.root) == before


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


def test_a_dry_run_shows_a_trial_of_each_target_and_writes_nothing(run: Run, here: Desk) -> None:
    before = everything(here.root)
    code, out, err = run(here, *SEARCH, "--dry-run", "--json")
    assert code == 0, err
    assert set(json.loads(out)["for_example"]) == {"colour", "shape"}
    assert everything(here.root) == before


# ---- with a ledger and a bundle


def test_unknown_names_are_answered_with_those_in_the_ledger(run: Run, journey: Journey) -> None:
    desk, study = journey.desk, journey.study
    refused(run, desk, "show_trials", ("tiny", "--target", "color"), ("unknown target 'color'", "did you mean colour?"))
    refused(run, desk, "show_trials", ("tiny", "--study", "smoke-1"), ("unknown study 'smoke-1'", study))
    refused(run, desk, "run_search", ("{yaml}", "--resume", study, "--trials", "0"), ("trials must be 1 or more, got 0",))
    one = next(row for row in journey.shown if row["target"] == "shape")["trial_id"]
    refused(run, desk, "show_trials", ("tiny", "--against", "abc"), ("unknown trial 'abc'", "show_trials.py tiny lists them"))
    refused(run, desk, "show_trials", ("tiny", "--against", one, "--target", "shape"), ("--target would have no effect",))
    around = ("{yaml}", "--space", "smoke", "--base", one)
    refused(
        run, desk, "run_search", (*around, "--vary", "los,batch_size"), ("did you mean loss", "never draws another batch_size")
    )
    refused(
        run,
        desk,
        "run_search",
        (*around, "--vary", "lr", "--targets", "colour", "--trials", "0"),
        ("--targets must be the base's own with --base, shape, got colour", "trials must be 1 or more"),
    )
    refused(run, desk, "run_search", ("{yaml}", "--all-data", "--base", one, "--trials", "2"), ("leave one out",))
    refused(run, desk, "run_search", ("{yaml}", "--study", study), ("study names must be new", f"--resume {study}"))
    refused(
        run,
        desk,
        "export_ensemble",
        ("{yaml}", "--to", "{root}/o", "--fold", "1"),
        ("no finished trial of colour, shape on fold 1",),
    )


def test_an_export_into_a_place_that_cannot_be_written_is_refused(run: Run, journey: Journey) -> None:
    refused(run, journey.desk, "export_ensemble", ("{yaml}", "--to", "{yaml}/below"), ("--to must be writable",))


def test_a_changed_byte_anywhere_in_a_bundle_is_found(run: Run, journey: Journey, tmp_path: Path) -> None:
    whole = tmp_path / "b"
    shutil.copytree(journey.bundle, whole)
    names = sorted(path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file())
    assert len(names) >= 9
    for name in names:
        path, content = whole / name, (whole / name).read_bytes()
        for place in (0, len(content) // 2, len(content) - 2):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            told = "bundle b is damaged" if name == "checksums.json" else f"{name} has changed"
            refused(run, journey.desk, "predict", (whole, "{photos}", "--out", tmp_path / "a.csv"), (told, "copy it again"))
        path.write_bytes(content)
    (whole / "plan.json").rename(whole / "plan.txt")
    texts = ("plan.json is missing", "plan.txt does not belong to it")
    refused(run, journey.desk, "predict", (whole, "{photos}", "--out", tmp_path / "a.csv"), texts)
    assert not (tmp_path / "a.csv").exists()


def test_photos_and_ids_that_cannot_be_answered_are_refused(run: Run, journey: Journey, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "column.csv").write_text("foto\nt00.png\n")
    (tmp_path / "twice.csv").write_text("photo\nt00.png\nt00.png\n../secret.png\n")
    (tmp_path / "none.csv").write_text("photo\n")
    bundle, out = journey.bundle, ("--out", tmp_path / "a.csv")
    cases: list[tuple[tuple[object, ...], tuple[str, ...]]] = [
        ((bundle, tmp_path / "empty", *out), ("PHOTOS must hold image files", "has none")),
        ((bundle, tmp_path / "nope", *out), ("PHOTOS must be a folder", "not there")),
        ((bundle, "{photos}", *out, "--ids", tmp_path / "column.csv"), ("column 'photo'", "did you mean foto?")),
        ((bundle, "{photos}", *out, "--ids", tmp_path / "twice.csv"), ("'t00.png' stands twice", "paths below PHOTOS")),
        ((bundle, "{photos}", *out, "--ids", tmp_path / "none.csv"), ("has no rows",)),
        ((bundle, "{photos}", *out, "--ids", tmp_path / "gone.csv"), ("--ids must be a CSV", "gone.csv")),
        ((bundle, "{photos}", "--out", tmp_path / "none.csv/a.csv"), ("--out must be writable",)),
    ]
    for arguments, texts in cases:
        refused(run, journey.desk, "predict", arguments, texts)


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


def test_the_leaderboard_of_300_trials_is_whole_and_ordered(run: Run, journey: Journey, new_desk: Callable[[], Desk]) -> None:
    desk = new_desk()
    model = journey.desk.kept / "trials" / journey.shown[0]["trial_id"]
    config, record = (read_json(model / name) for name in ("config.json", "record.json"))
    for number in range(300):
        folder = desk.kept / "trials" / f"{number:012x}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config | {"seed": number}))
        told = {"trial_id": folder.name, "score": number % 7 / 10 if number % 10 else None, "seed": number}
        (folder / "record.json").write_text(json.dumps(record | told))
    code, out, _ = run(desk, "show_trials", "tiny", "--json")
    rows = json.loads(out)
    assert (code, len(rows)) == (0, 300)
    keys = [(row["score"] is None, -(row["score"] or 0), row["trial_id"]) for row in rows]
    assert keys == sorted(keys)
    code, out, _ = run(desk, "show_trials", "tiny", "--json", "--limit", "7")
    assert (code, json.loads(out)) == (0, rows[:7])
    code, out, _ = run(desk, "show_trials", "tiny", "--sort", "epochs", "--limit", "0")
    assert (code, len(out.splitlines())) == (0, 301)
    code, out, _ = run(desk, "show_trials", "tiny")
    assert (code, len(out.splitlines())) == (0, 52)
    assert out.splitlines()[-1] == "and 250 more; --limit 0 shows all"
