"""Many photos and little time: five epochs of small networks from scratch, light augmentation.

    python run_search.py fashion_mnist --space brief --trials 6

About half an hour on two CPU cores for the 60,000 photos of Fashion-MNIST at 32 px. Scores: docs/results.md.
"""

from typing import Any

MAX_EPOCHS = 5
GRACE_EPOCHS = 1
REDUCTION = 2
FIRST = [
    {"backbone": "test_resnet", "lr": 4e-3, "batch_size": 64, "ema_decay": 0.99, "weight_decay": 0.01, "augmentation": "light"},
    {"backbone": "test_byobnet", "lr": 8e-3, "batch_size": 64, "ema_decay": 0.99, "weight_decay": 0.01, "augmentation": "none"},
]


def suggest(trial: Any) -> dict[str, Any]:
    return {
        "backbone": trial.suggest_categorical("backbone", ["test_resnet", "test_efficientnet", "test_byobnet"]),
        "epochs": MAX_EPOCHS,
        "batch_size": trial.suggest_categorical("batch_size", [64, 128]),
        "lr": trial.suggest_float("lr", 2e-3, 1.2e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 1e-1, log=True),
        "loss": "cross_entropy",
        "augmentation": trial.suggest_categorical("augmentation", ["none", "light"]),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.0, 0.99]),
    }
