"""What the founding team used on the mask competition: five families of published networks, their losses and their optimizers.

    python run_search.py COMPETITION --space baseline --trials 24 --gpus-per-trial 1

Meant for one GPU with 16 GB or more and ten to twenty thousand photos: two to four hours per target (an estimate; not measured).
Published weights come from the hub, once per machine; without it the launch refuses and says how to bring them.
Scores are that team's history (macro-F1 over 18 classes) and were not repeated here: one model of all classes 0.18, one per task
0.69, age by mask state and then all joined 0.75, with views 0.763. Expect the first two from this space alone.
"""

from typing import Any

MAX_EPOCHS = 16
GRACE_EPOCHS = 4
REDUCTION = 2
_PLAIN = {"loss": "cross_entropy", "sampler": "balanced", "augmentation": "light", "drop_rate": 0.0, "ema_decay": 0.0}
FIRST = [
    {**_PLAIN, "backbone": "regnety_006", "image_size": 224, "optimizer": "adamw", "adamw_lr": 3e-4, "adamw_weight_decay": 0.02},
    {**_PLAIN, "backbone": "efficientnet_b1", "image_size": 224, "optimizer": "adam", "adam_lr": 3e-4, "adam_weight_decay": 1e-5}
    | {"loss": "focal", "focal_gamma": 2.0, "augmentation": "strong"},
]


def suggest(trial: Any) -> dict[str, Any]:
    backbones = ["regnety_006", "efficientnet_b1", "resnet18", "resnet34", "vit_small_patch16_224", "mixer_b16_224"]
    backbone = trial.suggest_categorical("backbone", backbones)
    return {
        "backbone": backbone,
        "pretrained": True,
        "epochs": MAX_EPOCHS,
        "image_size": _image_size(trial, backbone),
        "batch_size": 64,
        "augmentation": trial.suggest_categorical("augmentation", ["none", "light", "strong"]),
        "drop_rate": trial.suggest_categorical("drop_rate", [0.0, 0.2]),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.0, 0.999]),
        **_optimizer(trial),
        **_loss(trial),
    }


def _image_size(trial: Any, backbone: str) -> int:
    if backbone.startswith("mixer"):
        return 224  # a mixer has a weight for each patch, so its published weights fit one size
    if backbone.startswith("vit"):
        return int(trial.suggest_categorical("vit_image_size", [160, 224]))  # whole patches of 16; positions are interpolated
    return int(trial.suggest_categorical("image_size", [128, 160, 224]))


def _optimizer(trial: Any) -> dict[str, Any]:
    """Rates and decays of one optimizer mean nothing to another, so each has parameters of its own."""
    name = trial.suggest_categorical("optimizer", ["adam", "adamw", "sgd"])
    rates = {"adam": (3e-5, 1e-3), "adamw": (3e-5, 1e-3), "sgd": (1e-3, 5e-2)}[name]
    decays = {"adam": (1e-6, 1e-4), "adamw": (1e-3, 1e-1), "sgd": (1e-5, 1e-3)}[name]
    return {
        "optimizer": name,
        "lr": trial.suggest_float(f"{name}_lr", *rates, log=True),
        "weight_decay": trial.suggest_float(f"{name}_weight_decay", *decays, log=True),
    }


def _loss(trial: Any) -> dict[str, Any]:
    """Rare classes are helped once: by the sampler, by class weights, or by a loss that counts classes evenly."""
    name = trial.suggest_categorical("loss", ["cross_entropy", "focal", "label_smoothing", "f1"])
    settings = {"loss": name, "sampler": trial.suggest_categorical("sampler", ["none", "sqrt", "balanced"])}
    if name == "focal":
        settings["focal_gamma"] = trial.suggest_float("focal_gamma", 0.5, 5.0)
    if name == "label_smoothing":
        settings["label_smoothing"] = trial.suggest_float("label_smoothing", 0.02, 0.2)
    if name != "f1" and settings["sampler"] == "none":
        settings["class_weights"] = trial.suggest_categorical("class_weights", ["none", "sqrt", "balanced"])
    return settings
