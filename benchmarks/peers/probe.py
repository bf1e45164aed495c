"""A competitor's probe: features of published EfficientNet-Lite0, frozen, of each photo and its mirror image, and logistic regression.

    python -m benchmarks.peers.probe clothing --data ../shared/data --out answers.csv

The regularisation is chosen for each task by cross-validation over groups; classes are weighted where the metric counts them evenly.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from benchmarks.peers.photos import Photos, lite0, metric_of, read, seconds, write

BATCH, STRENGTHS = 64, (1e-3, 3e-3, 1e-2, 3e-2)


def features(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`(N, S, S, 3) uint8` to `(2, N, 1280) float32`: what the last layer sees of a photo, and of its mirror image."""
    model, found = lite0(2).eval(), []
    with torch.inference_mode():
        for start in range(0, len(photos), BATCH):
            seen = torch.from_numpy(photos[start : start + BATCH]).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
            both = [model.forward_head(model.forward_features(one), pre_logits=True).numpy() for one in (seen, seen.flip(3))]
            found.append(np.stack(both))
    return np.concatenate(found, axis=1)


def fit(given: NDArray[np.float32], labels: NDArray[np.int64], strength: float, balanced: bool) -> LogisticRegression:
    model = LogisticRegression(C=strength, class_weight="balanced" if balanced else None, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 200 steps are enough, whether or not they end
        return model.fit(given, labels)


def answer(
    photos: Photos, learned: NDArray[np.float32], asked: NDArray[np.float32], metric: str
) -> dict[str, NDArray[np.float64]]:
    """Task -> probabilities `(M, C)`, each task by the strength that was best on groups left out."""
    scale = StandardScaler().fit(learned[0])
    both, mirrored = (np.concatenate([scale.transform(one) for one in sides]) for sides in (learned, learned[:1]))
    balanced, probs = metric == "macro_f1", {}
    for task, labels in photos.labels.items():
        folds = list(GroupKFold(3).split(mirrored, labels, photos.groups))[:1]
        best, of = -1.0, STRENGTHS[0]
        for strength in STRENGTHS:
            for train, judged in folds:
                said = fit(mirrored[train], labels[train], strength, balanced).predict(mirrored[judged])
                judge = f1_score(labels[judged], said, average="macro") if balanced else accuracy_score(labels[judged], said)
                best, of = max((best, of), (float(judge), strength))
        model = fit(both, np.concatenate([labels, labels]), of, balanced)
        probs[task] = np.zeros((asked.shape[1], len(photos.classes[task])))
        probs[task][:, model.classes_] = np.mean([model.predict_proba(scale.transform(one)) for one in asked], axis=0)
    return probs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("competition")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    begun = time.monotonic() if given.clock == "wall" else 0.0
    torch.set_num_threads(1)
    photos = read(given.competition, given.data, given.size)
    learned, asked = features(photos.images), features(photos.test)
    print(f"features after {seconds(given.clock) - begun:.0f} s", flush=True)
    write(given.out, photos, answer(photos, learned, asked, metric_of(given.competition)))
    print(f"{seconds(given.clock) - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
