"""The files of published competitions become a competition that can be read at once, and a submission that its grader accepts."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.published.__main__ import SLACK, draw, mended, own_score, take_part
from benchmarks.published.drawing import Page
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


def invented(page: Page, name: str) -> list[dict[str, str]]:
    """A submission in the sample's form with answers drawn at random."""
    [sample] = [path for path in page.root.rglob("*.csv") if re.search("sample|submission", path.name) or path.name == "info.csv"]
    rows, chance = list(csv.DictReader(sample.open(encoding="utf-8"))), np.random.default_rng(1)
    first, *headers = rows[0]
    kinds = sorted({str(value) for value in page.truth.values()})
    for row in rows:
        if set(kinds) <= set(headers):
            row |= dict(zip(headers, map(repr, chance.dirichlet(np.ones(len(headers))).tolist()), strict=True))
        elif isinstance(page.truth[row[first]], str):
            row[headers[0]] = str(chance.choice(kinds))
        else:
            row |= {
                header: str(chance.integers(0, 2)) if name == "blocks" else repr(float(chance.random())) for header in headers
            }
    return rows


@pytest.mark.parametrize("name", READABLE)
def test_the_graders_score_is_that_of_podiums_own_metric(name: str, tmp_path: Path) -> None:
    one = PUBLISHED[name]
    page = draw(name, tmp_path / name)
    rows = invented(page, name)
    assert one.grade is not None
    assert one.grade(rows, page.truth) == pytest.approx(own_score(one.metric, rows, page.truth), abs=SLACK)


def test_a_grader_refuses_what_is_no_submission(tmp_path: Path) -> None:
    page, grade = draw("paddy", tmp_path / "paddy"), PUBLISHED["paddy"].grade
    assert grade is not None
    rows = invented(page, "paddy")
    for wrong, says in (
        ([{**row, "label": "rice"} for row in rows], "answers must be of"),
        (rows[1:], "the ids must be those of the 12 test photos"),
        ([{"id": row["image_id"], "label": row["label"]} for row in rows], "the columns must be image_id, label"),
    ):
        with pytest.raises(ValueError, match=says):
            grade(wrong, page.truth)
