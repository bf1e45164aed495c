"""Licence notes: the trials of a bundle and the files imported into it -> Markdown that says where everything comes from, and under what
terms as far as their authors say so. Notes for people, not legal advice: what nobody says is not guessed.
"""

from collections.abc import Mapping
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from ledger.reading import readable_config
from ledger.trials import TrialFolder, is_trial
from system.errors import UserError
from system.paths import CompetitionPaths
from trainables.backbones import kept_weights
from trainables.checkpoint import read_header
from trainables.config import TrialConfig
from trainables.start.published import package_of

PACKAGES = ("torch", "timm", "opencv-python-headless", "pillow", "numpy", "safetensors")
"""What a bundle needs to run."""
LONGEST = 80
"""A licence field of more characters holds the whole text of a licence, not its name."""
RULES_TEXT = """\
The competition's rules decide whether external data, published weights and other people's files may be used, and whether that
has to be announced; no check of Podium knows them. The weights were trained from the competition's photos, so the licence of its data
applies to them as well. What stands here about published weights is what timm says about them: look at their source as well."""


def licence_notes(configs: Mapping[str, TrialConfig], sources: Mapping[str, str], paths: CompetitionPaths) -> str:
    """The text of a bundle's licence notes.

    Args:
        configs: Trial id -> configuration, of every trial whose weights are in the bundle.
        sources: Name of an imported file of answers or probabilities -> where it comes from, as told at its import.
        paths: The storage, where trials that others started from stand.

    Returns:
        Markdown; the same arguments give the same text.
    """
    lines = ["# Licences and sources", "", RULES_TEXT, "", "## Weights", ""]
    for trial, config in sorted(configs.items()):
        made = f", the mean of {', '.join(config.soup)}" if config.soup else ""
        lines.append(f"* `{trial}`{made}: backbone `{config.backbone}`, {start_note(config, paths)}")
    lines += ["* none"] if not configs else []
    lines += ["", "## Imported voters", ""]
    lines += [f"* `{name}`: {source or 'no source was told'}" for name, source in sorted(sources.items())] or ["* none"]
    lines += ["", "## Packages that run it", ""]
    lines += [f"* {package_note(name)}" for name in PACKAGES]
    return "\n".join(lines) + "\n"


def start_note(config: TrialConfig, paths: CompetitionPaths) -> str:
    """Where the start weights of a trial come from; of a trial that started from another, where those come from, and so on."""
    weights = config.weights
    if not weights:
        return "random start: no weights from outside"
    if weights.startswith("timm:"):
        return f"published weights `{weights}`, {_published(config.backbone)}"
    package = package_of(weights)
    if package is not None:
        return f"published weights of package `{package.package}`, licence by its own word: {package.licence}; from: {package.source}"
    source = _trial_of(weights, paths)
    if source is None:
        return f"a local weights file with SHA-256 `{weights}`; whoever gave it knows its licence"
    started = f"started from the weights of trial `{source}`"
    known = is_trial(paths.trials, source) and readable_config(TrialFolder(paths.trials / source))
    if not known:
        return f"{started}, which is not in this storage, so its own start is not known"
    return f"{started} ({start_note(TrialConfig.from_json(known), paths)})"


def package_note(name: str) -> str:
    """A package with its version and the name of its licence, as its own metadata say it."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return f"{name}: not installed here"
    licence = _licence_of(told)
    return f"{name} {told['Version']}: {licence or 'its metadata name no licence'}"


def _published(backbone: str) -> str:
    """What timm's own configuration says of published weights."""
    import timm

    config: Any = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
    facts = {
        "licence": getattr(config, "license", None),
        "architecture": getattr(config, "architecture", None),
        "paper": " ".join(filter(None, [_text(getattr(config, "paper_name", None)), _text(getattr(config, "paper_ids", None))])),
        "from": getattr(config, "hf_hub_id", None) or getattr(config, "url", None) or getattr(config, "origin_url", None),
    }
    if facts["licence"] is None:
        facts["licence"] = "timm does not say"
    return "; ".join(f"{name}: {_text(value)}" for name, value in facts.items() if value)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")


def _trial_of(weights: str, paths: CompetitionPaths) -> str | None:
    """The trial whose best weights these are; `None` for anybody else's file, and for one that is not kept here."""
    try:
        file: Path = kept_weights(paths.data / "weights", weights)
    except UserError:
        return None
    trial = (read_header(file) or {}).get("trial_id")
    return None if trial is None else str(trial)


def _licence_of(told: PackageMetadata) -> str:
    """The expression (PEP 639), else the short licence field, else the classifiers."""
    expression, name = (str(told[field] or "").strip() if field in told else "" for field in ("License-Expression", "License"))
    if expression:
        return expression
    if name and name.upper() != "UNKNOWN" and "\n" not in name and len(name) <= LONGEST:
        return name
    return ", ".join(line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or [] if line.startswith("License ::"))
