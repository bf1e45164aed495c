"""Sizes: which sides in pixels a network takes, and what its weights take on a disk, found out from shapes before anything is trained.

The network stands on torch's meta device, where tensors have shapes and no values, and the shapes of one photo go through: 0.03 s
(resnet18) to 0.4 s (maxvit_tiny_tf_224) on one CPU core, whatever the size. Of timm 1.0.31, one network of each of its 98 modules
runs so; all but one (sequencer2d_l, 9 s) within a second.
"""

import re
from functools import lru_cache

import torch

from system.errors import UserError
from trainables.backbones import REFUSALS, arguments, cannot, first_line, fresh
from trainables.config import TrialConfig
from trainables.optimizers import OPTIMIZERS, state_copies

STEP = 32
"""Networks halve their maps up to five times, so sizes that work are looked for among the multiples of this."""


def check_size(backbone: str, image_size: int, *, stem_stride: int | None = None, published: bool = False) -> None:
    """Make sure that a network takes photos of this size.

    Args:
        backbone: A timm model name.
        image_size: Side S in pixels.
        stem_stride: See `TrialConfig`.
        published: It starts from published weights, which fit some networks at their own size alone.

    Raises:
        UserError: It does not; with the reason and the sizes near it that work.
    """
    reason, what = _refused(backbone, image_size, stem_stride), cannot(backbone, image_size, stem_stride)
    if reason is None and published:
        reason, what = (
            _refused_start(backbone, image_size),
            f"published weights of {backbone!r} do not fit image_size {image_size}",
        )
    if reason is not None:
        near = ", ".join(map(str, _near(backbone, image_size, stem_stride, published)))
        raise UserError(f"{what} ({reason}); " + (f"sizes near it that work: {near}" if near else "give another size"))


def weights_bytes(config: TrialConfig) -> tuple[int, int]:
    """What a trial's `best` and `last` take, headers left out: the weights; these, their average and the optimizer's state."""
    whole, learned = _tensor_bytes(config.backbone, sum(config.heads.values()), config.image_size)
    if config.is_probe:
        return whole, 0
    copies = state_copies(config.optimizer, **config.settings_of(OPTIMIZERS[config.optimizer]))
    return whole, whole * (2 if config.ema_decay else 1) + learned * copies


@lru_cache(1024)
def _tensor_bytes(backbone: str, n_classes: int, image_size: int) -> tuple[int, int]:
    """All tensors of the network, and those among them that are learned; of one that needs real tensors, from real ones."""
    import timm

    try:
        with torch.device("meta"):
            model = timm.create_model(backbone, **arguments(backbone, n_classes, image_size))
    except Exception:  # as in _runs_on_meta
        model = timm.create_model(backbone, **arguments(backbone, n_classes, image_size))
    whole = sum(tensor.nbytes for tensor in model.state_dict().values())
    return whole, sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)


@lru_cache(1024)
def _refused(backbone: str, image_size: int, stem_stride: int | None) -> str | None:
    """Why the network does not take the size, or `None` if it does. What fails on the meta device is decided by the real one."""
    if _runs_on_meta(backbone, image_size, stem_stride):
        return None
    try:
        fresh(backbone, 2, image_size, stem_stride=stem_stride)
    except REFUSALS as error:
        return first_line(error)
    return None


def _runs_on_meta(backbone: str, image_size: int, stem_stride: int | None) -> bool:
    try:
        with torch.device("meta"):
            fresh(backbone, 2, image_size, stem_stride=stem_stride)
    except Exception:  # code that asks a tensor for its values raises what it likes where there are none
        return False
    return True


@lru_cache(1024)
def _refused_start(backbone: str, image_size: int) -> str | None:
    """Why weights of the network's own size do not load into one of this size (mixers have a weight per patch), or `None`.

    A rehearsal without values: timm fits what it can (positions are interpolated) and refuses the rest, as at the real loading.
    """
    import timm

    config = timm.get_pretrained_cfg(backbone)
    if config is None or not config.fixed_input_size or image_size == config.input_size[-1]:
        return None
    try:
        with torch.device("meta"):
            whole = timm.create_model(backbone).state_dict()
            overlay = {"state_dict": whole}
            timm.create_model(backbone, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=2, img_size=image_size)
    except Exception as error:  # as above; what is not about shapes is for the real loading to say
        unfit = re.search(r"size mismatch for (\S+):", str(error))
        return f"{unfit[1]} has another shape at {config.input_size[-1]}" if unfit else None
    return None


def _near(backbone: str, image_size: int, stem_stride: int | None, published: bool) -> list[int]:
    """Sizes that work: of the two multiples of 32 on either side, and of the size the network was published at."""
    import timm

    below, config = image_size // STEP * STEP, timm.get_pretrained_cfg(backbone)
    sizes = {below - STEP, below, below + STEP, below + 2 * STEP} | ({config.input_size[-1]} if config else set())
    return [size for size in sorted(sizes - {image_size}) if size >= STEP and _works(backbone, size, stem_stride, published)]


def _works(backbone: str, size: int, stem_stride: int | None, published: bool) -> bool:
    return _runs_on_meta(backbone, size, stem_stride) and not (published and _refused_start(backbone, size))
