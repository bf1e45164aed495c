"""A trial's configuration: from what a space draws to one frozen, fully resolved `TrialConfig` whose hash is the trial's name.

Every field changes what is learned. Where a trial runs, who asked and which device index it got are not here. A setting that
would have no effect is an error, and nothing unresolved is hashed: `auto` becomes a value first.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from inspect import Parameter, signature
from typing import Any

from ledger import trials
from system.errors import UserError, unknown
from system.files import known_hash
from system.paths import expanded
from trainables.start.published import WEIGHT_PACKAGES

RECIPE = 1
"""Raised by hand when the meaning of training changes; tests/trainables/test_recipe.py fails when losses move and this did not."""

_UNCHANGED: dict[str, Any] = {
    "layout": "contiguous",
    "stem_stride": None,
    "drop_path": 0.0,
    "head_lr_factor": 1.0,
    "layer_decay": 1.0,
    "frozen_epochs": 0,
    "clip_norm": None,
    "mix": "none",
    "mix_alpha": None,
    "head_start": "none",
}
"""Settings of training added since, of which the value that is as before is the default too, and what a probe has there."""

BEFORE: dict[str, Any] = {
    "sampler": "none",
    "soup": (),
    "probe": "none",
    "probe_c": None,
    "probe_scaling": None,
    **_UNCHANGED,
}
"""Settings added after the first release -> the value that stands for "as it was before"."""

WRITTEN_WHERE_SET = tuple(name for name in BEFORE if name != "sampler")
"""Settings that `config.json` has only where they say something, so that the files of trained trials stay what they were."""


@dataclass(frozen=True)
class TrialConfig:
    """Every setting that changes what one trial learns.

    Attributes:
        heads: Head -> number of classes; the network's columns stand in this order, that of the names.
        metric: Picks the best epoch, and with it the weights that are kept.
        data: Fingerprint of ids, labels, pixels and folds of the target's rows.
        weights: `""` for a random start, `timm:<tag>` for the hub's published weights, else the SHA-256 of a local or packaged file.
        epochs: Planned; the learning-rate schedule depends on it.
        warmup_epochs: Linear warm-up before the cosine, at most half of `epochs`.
        label_smoothing: In [0, 1); only with loss `label_smoothing`.
        focal_gamma: Lin et al. 2017; only with loss `focal`.
        sampler: How training photos are drawn; `none` shows each once per epoch.
        momentum: Only with optimizer `sgd`.
        ema_decay: Decay of the averaged weights that are validated and kept; 0 turns averaging off.
        micro_batch: Photos per forward pass; `batch_size` is reached by accumulation.
        precision: `fp32`, `bf16` or `fp16`.
        engine: What computes augmentations.
        threads: Compute threads; they change the order of sums and so the bits.
        soup: Of a trial whose weights are the mean of others' (`trainables.soup`) the ids of those, sorted; the other settings are
            then those of the best of them. Empty for a trial that was trained.
        probe: How the last layer is fitted on features of the frozen backbone (`trainables.probes.heads`), or `none`: it is trained.
        probe_c: How little the probe is regularised; only with those that have it.
        probe_scaling: What is done to each feature before the fit, one of `SCALINGS`; only with a probe.
        layout: How the network's tensors lie in memory, one of `backbones.LAYOUTS`; it decides the speed and the last bits.
        stem_stride: Stride of the first convolution that has one above it, so that small photos keep their detail; `None` leaves it.
        drop_path: The most that a residual branch is dropped (stochastic depth, Huang et al. 2016), rising from 0 over the depth.
        head_lr_factor: The last layer learns at so many times `lr`.
        layer_decay: Each of timm's layer groups learns at so many times the rate of the one behind it; 1 is the same rate for all.
        frozen_epochs: So many first epochs change the last layer alone; fewer than `epochs`.
        clip_norm: The gradient's norm is cut to this; `None` leaves it.
        mix: How photos of a batch are blended, one of `trainables.mixing.MIXES`; not in the last epochs.
        mix_alpha: Of the Beta distribution of their shares; only with those that have it.
        head_start: The probe that fits the last layer to the start weights before the first epoch, or `none`: it begins at random. Then
            less of what the weights know is lost (Kumar et al. 2022).
    """

    competition: str
    target: str
    heads: dict[str, int]
    metric: str
    data: str
    split: str
    fold: int
    seed: int
    epochs: int
    recipe: int
    backbone: str
    weights: str
    image_size: int
    batch_size: int
    micro_batch: int
    optimizer: str
    lr: float
    momentum: float | None
    weight_decay: float
    warmup_epochs: float
    loss: str
    label_smoothing: float | None
    focal_gamma: float | None
    class_weights: str
    sampler: str
    augmentation: str
    ema_decay: float
    drop_rate: float
    precision: str
    engine: str
    threads: int
    soup: tuple[str, ...] = ()
    probe: str = "none"
    probe_c: float | None = None
    probe_scaling: str | None = None
    layout: str = "contiguous"
    stem_stride: int | None = None
    drop_path: float = 0.0
    head_lr_factor: float = 1.0
    layer_decay: float = 1.0
    frozen_epochs: int = 0
    clip_norm: float | None = None
    mix: str = "none"
    mix_alpha: float | None = None
    head_start: str = "none"

    def json(self) -> dict[str, Any]:
        """All fields as plain values; those of `WRITTEN_WHERE_SET` only where they are not as before."""
        value = {**asdict(self), "soup": list(self.soup)}
        return {name: value[name] for name in value if name not in WRITTEN_WHERE_SET or getattr(self, name) != BEFORE[name]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrialConfig":
        """The configuration in a trial's `config.json`; fields added since take their "before" value.

        Raises:
            UserError: It has settings this version does not know, or lacks some.
        """
        known = {field.name for field in fields(cls)}
        complete = {**BEFORE, **value}
        odd = sorted(set(complete) ^ known)
        if odd:
            raise UserError(f"a trial's config has or lacks {', '.join(odd)}; it was written by another version of Podium")
        return cls(**complete)

    def __post_init__(self) -> None:
        """Heads and ingredients in the order of their names, whoever gave them: a JSON file must mean the same columns and soup."""
        object.__setattr__(self, "heads", dict(sorted(self.heads.items())))
        object.__setattr__(self, "soup", tuple(sorted(self.soup)))

    def settings_of(self, entry: Callable[..., Any]) -> dict[str, Any]:
        """What this entry of a CAPITAL dict takes of the configuration: its keyword parameters are settings by name."""
        return {name: getattr(self, name) for name in _keywords(entry)}

    @property
    def is_probe(self) -> bool:
        """Whether its backbone stays as it begins and the last layer is fitted, not trained."""
        return bool(self.probe != DEFAULTS["probe"])

    @property
    def needs_features(self) -> bool:
        """Whether something is fitted on features of the backbone as it begins."""
        return self.is_probe or self.head_start != DEFAULTS["head_start"]

    @cached_property
    def trial_id(self) -> str:
        return trials.trial_id(self.json(), BEFORE)

    @cached_property
    def config_id(self) -> str:
        return trials.config_id(self.json(), BEFORE)


def name_of(settings: Mapping[str, Any]) -> str:
    """The trial that settings from a file name.

    Raises:
        UserError: They are of another version of Podium.
        TypeError: They are no settings.
    """
    return TrialConfig.from_json(settings).trial_id


DEFAULTS: dict[str, Any] = {
    "backbone": "resnet18",
    "pretrained": False,
    "weights_file": None,
    "epochs": 10,
    "image_size": None,
    "batch_size": 32,
    "micro_batch": None,
    "optimizer": "adamw",
    "lr": 1e-3,
    "momentum": None,
    "weight_decay": 0.01,
    "warmup_epochs": 1.0,
    "loss": "cross_entropy",
    "label_smoothing": None,
    "focal_gamma": None,
    "class_weights": "none",
    "sampler": "none",
    "augmentation": "light",
    "ema_decay": 0.0,
    "drop_rate": 0.0,
    "precision": "auto",
    "probe": "none",
    "probe_c": None,
    "probe_scaling": None,
    **_UNCHANGED,
}
"""What a search space may set, and what it gets where it is silent."""

OF_A_PROBE: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 64,
    "micro_batch": 64,
    "optimizer": "adamw",
    "lr": 1e-3,
    "momentum": None,
    "weight_decay": 0.0,
    "warmup_epochs": 0.0,
    "loss": "cross_entropy",
    "label_smoothing": None,
    "focal_gamma": None,
    "sampler": "none",
    "augmentation": "none",
    "ema_decay": 0.0,
    "drop_rate": 0.0,
    "precision": "fp32",
    **_UNCHANGED,
}
"""Settings that mean nothing to a probe, which is fitted in one step -> what its configuration has there."""

RANGES: dict[str, tuple[type, float, float]] = {
    "epochs": (int, 1, 10_000),
    "image_size": (int, 16, 1024),
    "batch_size": (int, 2, 65_536),
    "micro_batch": (int, 1, 65_536),
    "lr": (float, 1e-8, 100.0),
    "momentum": (float, 0.0, 0.9999),
    "weight_decay": (float, 0.0, 10.0),
    "warmup_epochs": (float, 0.0, 10_000),
    "label_smoothing": (float, 0.0, 0.9999),
    "focal_gamma": (float, 0.0, 20.0),
    "ema_decay": (float, 0.0, 0.99999),
    "drop_rate": (float, 0.0, 0.95),
    "probe_c": (float, 1e-8, 1e8),
    "stem_stride": (int, 1, 4),
    "drop_path": (float, 0.0, 0.95),
    "head_lr_factor": (float, 1e-3, 1e3),
    "layer_decay": (float, 0.1, 1.0),
    "frozen_epochs": (int, 0, 10_000),
    "clip_norm": (float, 1e-6, 1e6),
    "mix_alpha": (float, 1e-3, 100.0),
}
PRECISIONS = ("fp32", "bf16", "fp16")
FASTER_CHANNELS_LAST = (
    *("tf_efficientnet", "efficientnet", "mobilenetv3", "regnet"),
    *("test_resnet", "test_efficientnet", "test_byobnet", "resnet10t", "convnext"),
)
"""First parts of the names of backbones that `layout="auto"` trains in channels_last: forward, backward and AdamW, batch 32, photos per
second of one CPU core, best of 2 x 3 steps (2026-11-29): tf_efficientnet_lite0 at 128 px 16.6 -> 22.1, lite1 13.6 -> 18.6, lite2 13.1 ->
17.7, efficientnet_b0 18.6 -> 21.5, mobilenetv3_large 36.6 -> 48.8, regnety_006 28.3 -> 34.2, convnext_femto 26.1 -> 27.1; test_resnet at
64 px 303 -> 399, test_byobnet 414 -> 613, test_efficientnet 446 -> 579. resnet18 (15.4, both) and vit_tiny (8.8, 9.0) stay as they are.
No GPU has measured it; there the same names are taken."""


@lru_cache(1)
def named() -> dict[str, tuple[str, ...]]:
    """Setting -> the names it takes: those of its CAPITAL dict, which is imported here, as who reads configurations needs no torch."""
    from trainables.augmentations import AUGMENTATIONS
    from trainables.backbones import LAYOUTS
    from trainables.losses import CLASS_WEIGHTS, LOSSES
    from trainables.mixing import MIXES
    from trainables.optimizers import OPTIMIZERS
    from trainables.probes.heads import PROBES, SCALINGS
    from trainables.samplers import SAMPLERS

    return {
        "optimizer": tuple(OPTIMIZERS),
        "loss": tuple(LOSSES),
        "class_weights": tuple(CLASS_WEIGHTS),
        "sampler": tuple(SAMPLERS),
        "augmentation": tuple(AUGMENTATIONS),
        "precision": ("auto", *PRECISIONS),
        "probe": ("none", *PROBES),
        "probe_scaling": tuple(SCALINGS),
        "layout": ("auto", *LAYOUTS),
        "mix": tuple(MIXES),
        "head_start": ("none", *PROBES),
    }


@lru_cache(1)
def only_with() -> dict[str, tuple[str, dict[str, Any]]]:
    """Setting -> the setting it belongs to, and of each name there that takes it the default: a keyword parameter that has one.

    Raises:
        UserError: An entry takes a keyword that is no setting.
    """
    from trainables.losses import LOSSES
    from trainables.mixing import MIXES
    from trainables.optimizers import OPTIMIZERS
    from trainables.probes.heads import PROBES, USUAL_SCALING

    found: dict[str, tuple[str, dict[str, Any]]] = {"probe_scaling": ("probe", dict.fromkeys(PROBES, USUAL_SCALING))}
    for owner, entries in (("loss", LOSSES), ("optimizer", OPTIMIZERS), ("mix", MIXES), ("probe", PROBES)):
        for name, entry in entries.items():
            for setting, parameter in _keywords(entry).items():
                if setting not in DEFAULTS:
                    raise UserError(
                        f"{owner} {name!r} takes the setting {setting!r}, which nobody has declared; add it to TrialConfig, DEFAULTS, "
                        "RANGES and BEFORE (docs/extend.md, A setting that changes what is learned)"
                    )
                if parameter.default is not Parameter.empty:
                    found.setdefault(setting, (owner, {}))[1][name] = parameter.default
    return found


def _keywords(entry: Callable[..., Any]) -> dict[str, Parameter]:
    return {name: one for name, one in signature(entry).parameters.items() if one.kind is Parameter.KEYWORD_ONLY}


@dataclass(frozen=True)
class Question:
    """What a study, not a space, decides about a trial: the data, the split, and the machine's part of the arithmetic.

    Attributes:
        start_backbone: Backbone of the trial whose weights every trial starts from (`init_from`); `""` where the space decides.
        start_weights: SHA-256 of those weights.
    """

    competition: str
    target: str
    heads: dict[str, int]
    metric: str
    data: str
    split: str
    fold: int
    seed: int
    image_size: int
    threads: int = 1
    gpu: bool = False
    start_backbone: str = ""
    start_weights: str = ""


NOT_TAKEN_OVER = ("gpu", "image_size", "start_backbone", "start_weights")
"""Fields of a question that become other fields of the configuration."""


def resolve(parameters: Mapping[str, Any], question: Question) -> TrialConfig:
    """The complete configuration for what a space drew.

    Args:
        parameters: Settings of `DEFAULTS`; those left out take their default.
        question: The study's part.

    Raises:
        UserError: Unknown names, values out of range, settings without effect, weights that cannot be had; all at once.
    """
    faults = check_parameters(parameters)
    if faults:
        raise UserError(*faults)
    chosen = {**DEFAULTS, **parameters}
    is_probe = chosen["probe"] != DEFAULTS["probe"]
    chosen |= OF_A_PROBE if is_probe else {}
    for name, (owner, defaults) in only_with().items():
        if chosen[name] is None:
            chosen[name] = defaults.get(chosen[owner])
    weights_file, pretrained = chosen.pop("weights_file"), chosen.pop("pretrained")
    chosen["backbone"], chosen["weights"] = (
        (question.start_backbone, question.start_weights)
        if question.start_weights
        else _start(chosen["backbone"], pretrained, weights_file)
    )
    if is_probe and not chosen["weights"]:
        raise UserError(
            f"probe={chosen['probe']} needs start weights, which it leaves as they are; set pretrained=True, give weights_file, or search "
            "with --init-from"
        )
    if chosen["head_start"] != DEFAULTS["head_start"] and not chosen["weights"]:
        raise UserError(
            f"head_start={chosen['head_start']} needs start weights, to whose features it fits the last layer; set pretrained=True, give "
            "weights_file, or leave it out"
        )
    chosen["image_size"] = chosen["image_size"] or question.image_size
    chosen["warmup_epochs"] = min(chosen["warmup_epochs"], chosen["epochs"] / 2)
    chosen["frozen_epochs"] = min(chosen["frozen_epochs"], chosen["epochs"] - 1)
    chosen["micro_batch"] = min(chosen["micro_batch"] or chosen["batch_size"], chosen["batch_size"])
    if chosen["precision"] == "auto":
        chosen["precision"] = "bf16" if question.gpu else "fp32"
    if chosen["layout"] == "auto":
        chosen["layout"] = "channels_last" if chosen["backbone"].startswith(FASTER_CHANNELS_LAST) else "contiguous"
    for name, (kind, _, _) in RANGES.items():
        chosen[name] = None if chosen[name] is None else kind(chosen[name])
    asked = {f.name: getattr(question, f.name) for f in fields(question) if f.name not in NOT_TAKEN_OVER}
    return TrialConfig(**asked, **chosen, recipe=RECIPE, engine="albumentations")


def check_parameters(parameters: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that is wrong with what a space drew; empty when all is well."""
    faults = [unknown("setting", name, DEFAULTS) for name in parameters if name not in DEFAULTS]
    chosen = {**DEFAULTS, **parameters}
    for name, names in named().items():
        if chosen[name] not in names and (chosen[name] is not None or DEFAULTS[name] is not None):
            faults.append(unknown(name, chosen[name], names))
    for name, (kind, low, high) in RANGES.items():
        value = chosen[name]
        if value is None and DEFAULTS[name] is None:
            continue
        if not _is_number(value) or not low <= value <= high or (kind is int and value != int(value)):
            faults.append(
                f"{name} must be {'a whole number' if kind is int else 'a number'} from {low:g} to {high:g}, got {value!r}"
            )
    for name, (owner, defaults) in only_with().items():
        if chosen[name] is not None and chosen[owner] not in list(defaults):
            needed = " or ".join(defaults)
            faults.append(f"{name} has an effect only with {owner}={needed}, got {owner}={chosen[owner]}; leave it out")
    if chosen["probe"] != DEFAULTS["probe"]:
        faults += [
            f"{name} has no effect on a probe, which is fitted in one step on features as they are; leave it out, or the probe"
            for name in parameters
            if name in OF_A_PROBE
        ]
    return faults + _weights_faults(chosen["pretrained"], chosen["weights_file"]) + _backbone_faults(chosen)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _weights_faults(pretrained: Any, weights_file: Any) -> list[str]:
    faults = []
    if not isinstance(pretrained, bool):
        faults.append(f"pretrained must be True or False, got {pretrained!r}")
    if pretrained and weights_file:
        faults.append("pretrained and weights_file exclude one another; give one of them")
    if weights_file is not None and not isinstance(weights_file, str):
        faults.append(f"weights_file must be a text, got {weights_file!r}")
    elif weights_file is not None and not expanded(weights_file).is_file():
        faults.append(f"weights_file must be a file of weights, got {weights_file!r}, which is not there")
    return faults


def _backbone_faults(chosen: Mapping[str, Any]) -> list[str]:
    import timm

    name = chosen["backbone"]
    if not isinstance(name, str):
        return [f"backbone must be a text, got {name!r}"]
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        near = _like(base) or ["resnet18"]
        return [f"unknown backbone {name!r}; did you mean {', '.join(near)}? (timm.list_models() has all names)"]
    published = _published(base)
    if tag and name not in published:
        return [unknown("backbone", name, [base, *published])]
    if chosen["pretrained"] is True and not published and name not in WEIGHT_PACKAGES:
        return [f"no published weights for backbone {name!r}; set pretrained=False or give weights_file"]
    return []


@lru_cache(256)
def _published(base: str) -> tuple[str, ...]:
    """timm's published weights of an architecture, `<base>.<tag>`; kept, for timm walks through all its names for every question."""
    import timm

    return tuple(timm.list_pretrained(f"{base}.*"))


@lru_cache(64)
def _like(backbone: str) -> list[str]:
    """timm's names that look like this one, nearest first; kept, for a space that is checked may say it in every draw."""
    import timm

    return difflib.get_close_matches(backbone, timm.list_models(), n=5, cutoff=0.4)


def _start(backbone: str, pretrained: bool, weights_file: str | None) -> tuple[str, str]:
    """The backbone and its start weights: a package's, else the hub's, whose tag is named so that no timm's default decides."""
    if weights_file:
        return backbone, known_hash(expanded(weights_file))
    if not pretrained:
        return backbone, ""
    if backbone in WEIGHT_PACKAGES:
        return backbone, WEIGHT_PACKAGES[backbone].sha256  # installed or not: the same settings are the same trial everywhere
    import timm

    base, _, tag = backbone.partition(".")
    tag = tag or timm.get_pretrained_cfg(base).tag
    return (f"{base}.{tag}" if tag else base), f"timm:{tag or 'default'}"
