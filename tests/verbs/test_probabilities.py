"""A log-loss competition by its command lines: the sample's headers are the classes, and what is handed in are their probabilities."""

import csv
import json
from pathlib import Path

import numpy as np

from ensemble.plan.near_ties import MARGIN
from tests.verbs.conftest import SHAPES, TEST_PHOTOS, Desk, Run

YAML = """
root: tiny
columns: {image: photo, path: file, group: person, role: role}
tasks:
  shape: {column: shape, classes: [SHAPES]}
metric: log_loss
image_size: 32
split: {folds: 2}
submission: {sample: sample_submission.csv}
"""


def rows(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    header, *lines = csv.reader(path.read_text().splitlines())
    return header, [line[0] for line in lines], np.array([line[1:] for line in lines], dtype=np.float64)


def test_probabilities_from_the_photos_to_a_checked_file(desk: Desk, run: Run) -> None:
    ids = [f"t{number:02d}.png" for number in reversed(range(TEST_PHOTOS))]
    sample = desk.root / "data/tiny/sample_submission.csv"
    uniform = ",".join(["0.25", *["0.375"] * (len(SHAPES) - 1)])
    sample.write_text("\n".join([f"ID,{','.join(sorted(SHAPES))}", *(f"{i},{uniform}" for i in ids)]) + "\n")
    desk.yaml.write_text(YAML.replace("SHAPES", ", ".join(SHAPES)))
    code, out, err = run(desk, "prepare_data", "{yaml}", "--json")
    assert code == 0, err
    assert any("a probability for each class of shape (form: probabilities)" in note for note in json.loads(out)["notes"])
    desk.run("run_search.py", desk.yaml, "--space", "smoke", "--trials", 1, "--scheduler", "fifo", "--cpus-per-trial", 2)
    code, out, err = run(desk, "export_ensemble", "{yaml}", "--to", "{root}/exported", "--json")
    assert code == 0, err
    assert {task["rule"] for task in json.loads(out)["plan"]["tasks"]} == {"soft"}
    header, found, numbers = rows(desk.root / "exported/submission.csv")
    assert (header, found) == (["ID", *sorted(SHAPES)], ids)
    assert np.abs(numbers.sum(axis=1) - 1).max() < 1e-6
    assert len(np.unique(numbers)) > TEST_PHOTOS, "no decision is handed in"
    again = ("{root}/exported/bundle", "{photos}", "--out", "{root}/again.csv", "--ids", str(sample))
    assert run(desk, "predict", *again)[0] == 0
    assert rows(desk.root / "again.csv")[:2] == (header, found)
    assert np.abs(rows(desk.root / "again.csv")[2] - numbers).max() <= MARGIN
    code, out, err = run(desk, "check_submission", "{yaml}", "{root}/again.csv", "--json")
    assert code == 0, err
    assert (json.loads(out)["rows"], json.loads(out)["notes"]) == (TEST_PHOTOS, [])
    (desk.root / "odd.csv").write_text(
        (desk.root / "again.csv").read_text().replace(f"{ids[0]},", "t99.png,").replace("0.", "7.", 1)
    )
    code, _, err = run(desk, "check_submission", "{yaml}", "{root}/odd.csv")
    assert code == 2
    assert all(text in err for text in ("1 ids are no test photos", "1 test photos have no row", "must lie in 0..1"))
    code, out, err = run(desk, "import_predictions", "{yaml}", "{root}/exported/submission.csv", "--json")
    assert code == 0, err
    assert json.loads(out)["imports"][0]["heads"]["shape"]["kind"] == "probabilities"
