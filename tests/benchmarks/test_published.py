"""The files of published competitions become a competition that can be read at once, and a submission that its grader accepts."""

from pathlib import Path

import pytest

from benchmarks.published.__main__ import draw, mended, take_part
from benchmarks.published.fixtures import PUBLISHED
from competitions.draft.write import write_competition
from competitions.loading import parse_competition
from competitions.readers.read import read

READABLE = [name for name, one in PUBLISHED.items() if one.draw is not None and not one.lacks]


@pytest.mark.parametrize("name", READABLE)
def test_a_published_folder_is_read_as_it_was_handed_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    page, one = draw(name, tmp_path / "data" / name), PUBLISHED[name]
    written = write_competition(page.root, path=tmp_path, labels=one.label)
    assert not written.faults
    text, _ = mended(written.text, one)
    asked, manifest = read(parse_competition(text, name, where=f"{name}.yaml"), page.root)
    ids = [manifest.image_ids[row] for row in manifest.rows("test")]
    assert sorted(ids) == sorted(page.truth)
    assert all(len(task.classes) >= 2 for task in asked.tasks.values())
    n_groups = len({manifest.groups[row] for row in manifest.rows("train")})
    grouped = {"ranzcr", "siim_isic", "iwildcam_2019", "iwildcam_2020", "mask", "conser_vision"}
    assert (n_groups < len(manifest.rows("train"))) == (name in grouped)


@pytest.mark.long
@pytest.mark.parametrize("name", ["paddy", "iwildcam_2020"])
def test_a_submission_is_accepted_by_the_grader(name: str, tmp_path: Path) -> None:
    found = take_part(name, tmp_path, read_only=False)
    assert found.verdict == "accepted", found
    assert found.by_hand <= 1
