"""A first answer in minutes: published EfficientNet-Lite networks stay as they are, and last layers are fitted on their features.

    python run_search.py COMPETITION --space probe --trials 12

Features are computed once per network and size, for all tasks, folds and trials (docs/probes.md). About 70 photos a second on a CPU core
at 128 px: clothing (5,096 photos of training and test) takes 71 s of one core, and a fit 0.4 to five. With --trials 4 --seed 0 and
`export_ensemble.py clothing --views identity`, macro-F1 on its 1,280 test photos: garment 0.530, kids 0.654, composed 0.333.
"""

from typing import Any

MAX_EPOCHS = 1
GRACE_EPOCHS = 1
REDUCTION = 2
_QUICK = {"backbone": "tf_efficientnet_lite0", "image_size": 128}
HEADS: list[dict[str, Any]] = [
    {"probe": "logistic", "logistic_c": 1e-2, "class_weights": "sqrt"},
    {"probe": "lda", "class_weights": "none"},
    {"probe": "logistic", "logistic_c": 3e-3, "class_weights": "balanced"},
    {"probe": "ridge", "ridge_c": 1e-3, "class_weights": "sqrt"},
]
FIRST = [{**_QUICK, **head} for head in HEADS]


def suggest(trial: Any) -> dict[str, Any]:
    backbones = ["tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"]
    return {
        "backbone": trial.suggest_categorical("backbone", backbones),
        "pretrained": True,
        "image_size": trial.suggest_categorical("image_size", [128, 192]),
        **drawn(trial),
    }


def drawn(trial: Any) -> dict[str, Any]:
    """The last layer alone."""
    probe = trial.suggest_categorical("probe", ["logistic", "lda", "ridge", "svm"])
    settings: dict[str, Any] = {
        "probe": probe,
        "class_weights": trial.suggest_categorical("class_weights", ["none", "sqrt", "balanced"]),
    }
    if probe == "logistic":
        settings["probe_c"] = trial.suggest_float("logistic_c", 1e-4, 1e-1, log=True)
    if probe == "ridge":
        settings["probe_c"] = trial.suggest_float("ridge_c", 1e-5, 1e-1, log=True)
    if probe == "svm":
        settings["probe_c"] = trial.suggest_float("svm_c", 1e-6, 1e-4, log=True)
    return settings
