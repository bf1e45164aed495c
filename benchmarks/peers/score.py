"""What answers are worth: macro-F1 or accuracy of each task and of the composed label, against a table of the truth."""

import csv
from pathlib import Path

from sklearn.metrics import accuracy_score, f1_score

from benchmarks.peers.photos import described


def score(name: str, answers: Path, truth: Path) -> dict[str, float]:
    """Task -> score of a file with a column per task, and `label` for all of them together, as the competition's metric says."""
    asked = described(name)
    said, true = (_rows(path, asked["columns"]["image"]) for path in (answers, truth))
    if said.keys() != true.keys():
        raise ValueError(f"{answers.name} answers other photos than {truth.name} has: {len(said)} and {len(true)}")
    ids = sorted(true)
    columns = {
        task: (task if task in said[ids[0]] else about["column"], about["column"]) for task, about in asked["tasks"].items()
    }
    pairs = {task: ([true[i][theirs] for i in ids], [said[i][ours] for i in ids]) for task, (ours, theirs) in columns.items()}
    if len(pairs) > 1:
        pairs["label"] = tuple(["|".join(row) for row in zip(*sides, strict=True)] for sides in zip(*pairs.values(), strict=True))  # type: ignore[assignment]  # two lists
    if asked["metric"] == "accuracy":
        return {task: float(accuracy_score(*both)) for task, both in pairs.items()}
    return {task: float(f1_score(*both, average="macro", labels=sorted(set(both[0])))) for task, both in pairs.items()}


def _rows(path: Path, key: str) -> dict[str, dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {row[key]: row for row in csv.DictReader(file)}
