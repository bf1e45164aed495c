"""The house rules of imports (docs/architecture.md): who may know whom, and what a question for help may load."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVELS = {
    "system": 0,
    "ledger": 1,
    "competitions": 2,
    "search_spaces": 3,
    "trainables": 3,
    "ensemble": 3,
    "submissions": 3,
    "search": 4,
    "bundle": 4,
    "reports": 5,
}
WITHOUT_TRAINING = ("system", "ledger", "competitions", "ensemble", "submissions")
TRAINING = {"torch", "torchvision", "timm", "ray"}
HEAVY = {*TRAINING, "pandas", "wandb", "albumentations", "cv2", "plotly", "optuna", "sklearn", "matplotlib"}
NOT_FOLDERS = {"tests", "benchmarks", "docs", "shared", "clusters", "exported", "runs"}
VERBS = sorted(path.name for path in ROOT.glob("*.py"))
MODULES = sorted(path for folder in LEVELS for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and first name of everything a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}:{node.lineno} imports relatively; name the folder"
            yield node.lineno, (node.module or "").split(".")[0]


def broken(rule: str, wrong: list[str]) -> str:
    return f"{rule}:\n" + "\n".join(wrong)


def test_every_folder_of_modules_has_a_level() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/*.py") if not path.parent.name.startswith(".")} - NOT_FOLDERS
    assert folders == set(LEVELS)
    assert len(MODULES) > 40


def test_a_folder_imports_from_lower_levels_only_and_never_from_one_beside_it() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name} (level {LEVELS[name]})"
        for path in MODULES
        for line, name in imported(path)
        if name in LEVELS and name != (own := path.relative_to(ROOT).parts[0]) and LEVELS[name] >= LEVELS[own]
    ]
    assert not wrong, broken("a folder imports only from lower levels", wrong)


def test_no_folder_imports_a_verb_or_a_test() -> None:
    above = {Path(verb).stem for verb in VERBS} | {"tests", "benchmarks"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}" for path in MODULES for line, name in imported(path) if name in above
    ]
    assert not wrong, broken("what is above knows what is below, not the other way round", wrong)


def test_only_search_tune_imports_ray() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in MODULES
        for line, name in imported(path)
        if name == "ray" and path.relative_to(ROOT).parts[:2] != ("search", "tune")
    ]
    assert not wrong, broken("only search/tune/ imports ray", wrong)


def test_what_does_not_train_imports_nothing_that_trains() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in MODULES
        if path.relative_to(ROOT).parts[0] in WITHOUT_TRAINING
        for line, name in imported(path)
        if name in TRAINING
    ]
    assert not wrong, broken(f"{', '.join(WITHOUT_TRAINING)} know no torch, timm or ray, not even inside a function", wrong)


def test_the_choice_knows_no_ledger() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in MODULES
        if path.relative_to(ROOT).parts[0] == "ensemble"
        for line, name in imported(path)
        if name == "ledger"
    ]
    assert not wrong, broken("ensemble/ turns arrays with ids into a plan; what reads the ledger stands in bundle/", wrong)


def test_who_predicts_from_a_bundle_loads_what_prediction_needs(tmp_path: Path) -> None:
    fixtures = ROOT / "tests" / "fixtures"
    names = f"' '.join(n for n in sys.modules if n.split('.')[0] in {tuple(LEVELS)})"
    code = f"""sys.modules["wandb"] = None  # timm loads it, and with it pydantic, where it is installed
from bundle.predict import open_bundle
answers = open_bundle({str(fixtures / "bundle")!r}).predict({str(fixtures / "data/drawn/test")!r}, ["t00"], ["t00.png"])
assert answers.image_ids == ("t00",) and not answers.broken and answers.labels
open("own", "w").write({names})"""
    loaded = loaded_by(code, tmp_path)
    assert not loaded & {"pydantic", "pandas", "ray"}
    modules = (tmp_path / "own").read_text().split()
    assert "ensemble.plan.plan" in modules
    assert len(modules) <= 60, sorted(modules)


def test_folders_that_do_not_train_load_nothing_heavy(tmp_path: Path) -> None:
    own = (*WITHOUT_TRAINING, "search_spaces")
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES if path.relative_to(ROOT).parts[0] in own]
    loaded = loaded_by("import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in names), tmp_path)
    assert not loaded & TRAINING


def loaded_by(code: str, folder: Path) -> set[str]:
    """The top-level names in `sys.modules` at the end of a program, whatever it printed and however it exited."""
    program = f"import sys, atexit\natexit.register(lambda: open('loaded', 'w').write(' '.join(sys.modules)))\n{code}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PODIUM_STORAGE": str(folder / "runs")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    return {name.split(".")[0] for name in (folder / "loaded").read_text().split()}


def as_verb(verb: str, *arguments: str) -> str:
    return f"import runpy\nsys.argv = {[verb, *arguments]}\nrunpy.run_path({str(ROOT / verb)!r}, run_name='__main__')"


@pytest.mark.parametrize("verb", VERBS)
def test_help_answers_without_loading_anything_heavy(verb: str, tmp_path: Path) -> None:
    loaded = loaded_by(as_verb(verb, "--help"), tmp_path)
    assert "argparse" in loaded, "the program did not run"
    assert not loaded & HEAVY


def test_the_leaderboard_loads_nothing_heavy(tmp_path: Path) -> None:
    from ledger.trials import Record, TrialFolder
    from system.paths import competition_paths

    folder = TrialFolder(competition_paths("demo", tmp_path / "runs").trials / "0123456789ab")
    folder.write_config({"target": "age", "fold": 0, "seed": 0, "backbone": "resnet18"})
    folder.write_record(Record(folder.id, "a" * 12, "age", 0, 0, 1, epochs_done=1, score=0.5, best_epoch=1, curve=[0.5]))
    for arguments in (["demo"], ["demo", "--json"], ["nowhere"]):
        loaded = loaded_by(as_verb("show_trials.py", *arguments), tmp_path)
        assert "ledger" in loaded
        assert not loaded & (HEAVY | {"numpy"})
