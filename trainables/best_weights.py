"""The best weights of a trial: whole by the hash in its record, or made again from a checkpoint that still holds that epoch."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ledger.reading import readable_config, readable_record
from ledger.trials import Record, TrialFolder
from system.claims import claim
from system.files import file_hash, replace_bytes
from system.quarantine import quarantine_copy
from trainables import checkpoint
from trainables.config import TrialConfig


def best_is_whole(folder: TrialFolder) -> bool:
    """Whether a trial's `best.safetensors` is what its record says, made again where it was not and can be. Reads all of it."""
    record, settings = readable_record(folder), readable_config(folder)
    if record is None or settings is None or record.weights is None:
        return False
    fault = fault_of_best(folder, record)
    return fault is None or _made_again(folder, TrialConfig.from_json(settings), record, fault)


def lost_weights(folder: TrialFolder) -> str:
    """The sentence for a trial whose best weights are not to be had."""
    return (
        f"trial {folder.id} is left out: {folder.best.name} is damaged or gone (--keep drops it), and its checkpoints are of other epochs; "
        f"get it back with: python reproduce_trial.py {folder.root.name} {folder.id} --restore"
    )


def went_on(trials: Iterable[str]) -> str:
    """The sentence for stopped trials that are trained on while somebody exports them."""
    return (
        f"trial {', '.join(trials)} was stopped and went on during this export, so its best weights may be others now; run the same "
        "command again, it chooses among the trials as they are then"
    )


def best_header(config: TrialConfig, epoch: int) -> dict[str, Any]:
    """The header of the best weights: the same bytes whoever writes them."""
    heads = [[head, n] for head, n in config.heads.items()]  # pairs: a header does not keep the order of names
    return {"trial_id": config.trial_id, "epoch": epoch, "backbone": config.backbone, "heads": heads}


def fault_of_best(folder: TrialFolder, record: Record) -> str | None:
    """What is wrong with the best weights on disk; `None` where they are those of the record. Reads all of them."""
    if not folder.best.is_file():
        return "it is not there"
    return None if file_hash(folder.best) == record.weights else "its bytes are not those of the record's weights"


def _made_again(folder: TrialFolder, config: TrialConfig, record: Record, fault: str) -> bool:
    """Write the best weights from a checkpoint of that epoch; the hash proves that they are the same bytes."""
    data = next((found for path in (folder.last, folder.previous) if (found := _from(path, config, record))), None)
    held = claim(folder.claim) if data is not None else None
    if data is None or held is None:
        return False
    with held:
        if folder.best.is_file():
            quarantine_copy(folder.root, folder.best, fault, did="made again from a checkpoint")
        replace_bytes(folder.best, data)
    return True


def _from(path: Path, config: TrialConfig, record: Record) -> bytes | None:
    if not path.exists():
        return None
    try:
        tensors, header = checkpoint.read_tensors(path)
    except ValueError:
        return None  # named by whoever goes on from it
    judged = checkpoint.below_prefix("averaged." if config.ema_decay else "model.", tensors)
    data = checkpoint.tensor_bytes(judged, best_header(config, header["epoch"]))
    return data if hashlib.sha256(data).hexdigest() == record.weights else None
