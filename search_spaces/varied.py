"""Many different small networks at 32 px: what ensembles are measured with.

    python run_search.py setgame_few --space varied --trials 5

Eight epochs, three families, three losses, both optimizers: seconds per trial on one CPU core for a few thousand photos.
Scores: docs/results.md.
"""

from typing import Any

MAX_EPOCHS = 8
GRACE_EPOCHS = 2
REDUCTION = 2
_PLAIN = {"optimizer": "adamw", "loss": "cross_entropy", "class_weights": "none", "augmentation": "light"}
FIRST = [
    {**_PLAIN, "backbone": "test_byobnet", "adamw_lr": 6e-3, "ema_decay": 0.0},
    {**_PLAIN, "backbone": "test_resnet", "adamw_lr": 4e-3, "ema_decay": 0.0},
]


def suggest(trial: Any) -> dict[str, Any]:
    optimizer = trial.suggest_categorical("optimizer", ["adamw", "sgd"])
    return {
        "backbone": trial.suggest_categorical("backbone", ["test_byobnet", "test_resnet", "test_efficientnet"]),
        "epochs": MAX_EPOCHS,
        "image_size": 32,
        "batch_size": 32,
        "optimizer": optimizer,
        "lr": trial.suggest_float("adamw_lr", 2e-3, 8e-3, log=True)
        if optimizer == "adamw"
        else trial.suggest_float("sgd_lr", 3e-2, 2e-1, log=True),
        "loss": trial.suggest_categorical("loss", ["cross_entropy", "label_smoothing", "focal"]),
        "class_weights": trial.suggest_categorical("class_weights", ["none", "sqrt"]),
        "augmentation": trial.suggest_categorical("augmentation", ["none", "light"]),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.0, 0.98]),
    }
