"""A whole competition on two CPU cores in minutes: small networks from scratch, every loss, optimizer and policy.

    python run_search.py demo --space quick --trials 8

The demo takes about four minutes with it. Scores: docs/results.md.
"""

from typing import Any

MAX_EPOCHS = 12
GRACE_EPOCHS = 4
REDUCTION = 2
_PLAIN = {"optimizer": "adamw", "weight_decay": 0.01, "loss": "cross_entropy", "class_weights": "sqrt", "augmentation": "light"}
FIRST = [
    {**_PLAIN, "backbone": "test_resnet", "adamw_lr": 3e-3, "ema_decay": 0.0},
    {**_PLAIN, "backbone": "test_efficientnet", "adamw_lr": 6e-3, "ema_decay": 0.0},
]


def suggest(trial: Any) -> dict[str, Any]:
    optimizer = trial.suggest_categorical("optimizer", ["adamw", "sgd"])
    loss = trial.suggest_categorical("loss", ["cross_entropy", "label_smoothing", "focal"])
    settings: dict[str, Any] = {
        "backbone": trial.suggest_categorical("backbone", ["test_resnet", "test_efficientnet", "test_byobnet"]),
        "epochs": MAX_EPOCHS,
        "batch_size": 32,
        "optimizer": optimizer,
        "lr": trial.suggest_float("adamw_lr", 2e-3, 8e-3, log=True)
        if optimizer == "adamw"
        else trial.suggest_float("sgd_lr", 3e-2, 2e-1, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
        "loss": loss,
        "class_weights": trial.suggest_categorical("class_weights", ["none", "sqrt"]),
        "augmentation": trial.suggest_categorical("augmentation", ["light", "strong"]),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.0, 0.98]),
    }
    if loss == "label_smoothing":
        settings["label_smoothing"] = trial.suggest_float("label_smoothing", 0.02, 0.2)
    if loss == "focal":
        settings["focal_gamma"] = trial.suggest_float("focal_gamma", 0.5, 3.0)
    return settings
