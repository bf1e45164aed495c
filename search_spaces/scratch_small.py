"""Photos of 28 to 64 px from scratch: small networks whose first convolution keeps every pixel, flips and shifts.

    python run_search.py fashion_mnist --space scratch_small --trials 3 --hours 0.5

With the usual stem, which halves a photo at once, `quick` reached 0.616 on a set of 32 px where six 3 x 3 convolutions of stride 1
reached 0.884. One CPU core trains 420 (`test_resnet`) to 740 (`test_byobnet`) photos of 32 px a second. Scores: docs/results.md.
"""

from typing import Any

MAX_EPOCHS = 12
GRACE_EPOCHS = 3
REDUCTION = 2
_PLAIN = {"weight_decay": 0.05, "loss": "label_smoothing", "label_smoothing": 0.05, "augmentation": "shifts", "ema_decay": 0.99}
FIRST = [
    {**_PLAIN, "backbone": "test_resnet", "lr": 4e-3, "mix": "none"},
    {**_PLAIN, "backbone": "test_byobnet", "lr": 6e-3, "mix": "none"},
]


def suggest(trial: Any) -> dict[str, Any]:
    return {**drawn(trial), "epochs": MAX_EPOCHS}


def drawn(trial: Any) -> dict[str, Any]:
    """Everything but the epochs."""
    loss = trial.suggest_categorical("loss", ["cross_entropy", "label_smoothing"])
    settings: dict[str, Any] = {
        "backbone": trial.suggest_categorical("backbone", ["test_resnet", "test_byobnet", "test_efficientnet"]),
        "stem_stride": 1,
        "layout": "auto",
        "batch_size": 64,
        "optimizer": "adamw",
        "lr": trial.suggest_float("lr", 2e-3, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 2e-1, log=True),
        "loss": loss,
        "augmentation": trial.suggest_categorical("augmentation", ["shifts", "light"]),
        "mix": trial.suggest_categorical("mix", ["none", "cutmix"]),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.0, 0.99]),
    }
    if loss == "label_smoothing":
        settings["label_smoothing"] = trial.suggest_float("label_smoothing", 0.02, 0.2)
    return settings
