"""Does everything run? Two epochs of the smallest networks at 32 px: seconds per trial on one CPU core.

    python run_search.py demo --space smoke --trials 2

Expect scores barely above chance.
"""

from typing import Any

MAX_EPOCHS = 2
GRACE_EPOCHS = 1
REDUCTION = 2
FIRST = [{"backbone": "test_byobnet", "lr": 3e-3, "augmentation": "none"}]


def suggest(trial: Any) -> dict[str, Any]:
    return {
        "backbone": trial.suggest_categorical("backbone", ["test_efficientnet", "test_byobnet"]),
        "epochs": MAX_EPOCHS,
        "image_size": 32,
        "lr": trial.suggest_float("lr", 1e-3, 6e-3, log=True),
        "loss": "cross_entropy",
        "augmentation": trial.suggest_categorical("augmentation", ["none", "light"]),
    }
