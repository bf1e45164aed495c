"""The notes name every start, follow it to where it began, and guess no licence."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from bundle.licences import PACKAGES, licence_notes, package_note, start_note
from ledger.trials import TrialFolder
from system.files import file_hash
from system.paths import CompetitionPaths
from trainables.best_weights import best_header
from trainables.checkpoint import write_tensors
from trainables.config import Question, TrialConfig, resolve
from trainables.start.published import WEIGHT_PACKAGES

QUESTION = Question("tiny", "colour", {"colour": 3}, "macro_f1", "0123456789abcdef", "groups", 0, 0, 32)


@pytest.fixture
def paths(tmp_path: Path) -> CompetitionPaths:
    return CompetitionPaths(tmp_path / "tiny")


def config(weights: str = "", seed: int = 0, backbone: str = "test_vit", soup: tuple[str, ...] = ()) -> TrialConfig:
    drawn = resolve({"backbone": "test_vit"}, replace(QUESTION, seed=seed))
    return replace(drawn, weights=weights, backbone=backbone, soup=soup)


def kept(paths: CompetitionPaths, source: TrialConfig | None) -> str:
    """A weights file in the store, of a trial or of nobody knows whom; returns its hash."""
    made = paths.data / "weights" / "new.safetensors"
    header = best_header(source, 1) if source else {"format": "pt"}
    weights = write_tensors(made, {}, header)
    made.rename(made.with_name(f"{weights}.safetensors"))
    return weights


def test_every_way_to_start_is_named(paths: CompetitionPaths, tmp_path: Path) -> None:
    published = start_note(config("timm:a1_in1k", backbone="resnet18.a1_in1k"), paths)
    for part in ("`timm:a1_in1k`", "licence: apache-2.0", "architecture: resnet18", "arXiv:2110.00476", "timm/resnet18.a1_in1k"):
        assert part in published
    assert "licence: timm does not say" in start_note(config("timm:x", backbone="no_such_backbone"), paths)
    assert start_note(config(), paths) == "random start: no weights from outside"
    (tmp_path / "own.pth").write_bytes(b"own")
    theirs = file_hash(tmp_path / "own.pth")
    assert f"local weights file with SHA-256 `{theirs}`" in start_note(config(theirs), paths)
    assert "local weights file" in start_note(config(kept(paths, None)), paths)


def test_a_start_from_a_trial_is_followed_to_where_that_began(paths: CompetitionPaths) -> None:
    first = config("timm:r160_in1k", backbone="test_vit.r160_in1k")
    second = config(kept(paths, first), seed=1)
    third = config(kept(paths, second), seed=2)
    assert f"trial `{second.trial_id}`, which is not in this storage" in start_note(third, paths)
    for one in (first, second):
        TrialFolder(paths.trials / one.trial_id).write_config(one.json())
    note = start_note(third, paths)
    assert note.startswith(
        f"started from the weights of trial `{second.trial_id}` (started from the weights of trial `{first.trial_id}`"
    )
    assert "`timm:r160_in1k`" in note


def test_the_notes_name_all_and_do_not_depend_on_an_order(paths: CompetitionPaths) -> None:
    one, soup = config(), config(seed=3, soup=("0" * 12, "1" * 12))
    configs, sources = {one.trial_id: one, soup.trial_id: soup}, {"old_baseline": "the founding team's notebook", "b": ""}
    text = licence_notes(configs, sources, paths)
    backwards = licence_notes(dict(reversed(configs.items())), dict(reversed(sources.items())), paths)
    assert text == backwards
    assert text.endswith("\n")
    for part in (
        one.trial_id,
        f"{soup.trial_id}`, the mean of {'0' * 12}, {'1' * 12}",
        "`old_baseline`: the founding",
        "`b`: no source",
    ):
        assert part in text
    assert "competition's rules decide" in text
    assert all(f"* {name} {version(name)}: " in text for name in PACKAGES)
    assert licence_notes({}, {}, paths).count("* none") == 2


def test_a_package_that_is_not_there_is_said_so() -> None:
    assert package_note("no-such-package-of-podium") == "no-such-package-of-podium: not installed here"
    assert "BSD-3-Clause" in package_note("numpy")
    assert all("\n" not in package_note(name) for name in PACKAGES)


@pytest.mark.parametrize("backbone", WEIGHT_PACKAGES)
def test_a_start_from_a_package_is_named_with_its_licence(backbone: str, paths: CompetitionPaths) -> None:
    package = WEIGHT_PACKAGES[backbone]
    note = start_note(config(package.sha256, backbone=backbone), paths)
    assert all(part in note for part in (f"package `{package.package}`", package.licence, package.source))
