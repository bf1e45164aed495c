"""The names a configuration may use, without importing torch: what the CAPITAL dicts of this folder hold.

Tests hold each tuple against its dict, so a new line in a dict that is missing here fails at once.
"""

from system.errors import UserError, unknown

LOSS_NAMES = ("cross_entropy", "label_smoothing", "focal", "f1")
CLASS_WEIGHT_NAMES = ("none", "balanced", "sqrt")
SAMPLER_NAMES = ("none", "balanced", "sqrt")
OPTIMIZER_NAMES = ("adamw", "sgd", "adam")
AUGMENTATION_NAMES = ("none", "light", "strong")
PRECISIONS = ("fp32", "bf16", "fp16")
VIEW_NAMES = (
    "identity",
    "hflip",
    "zoom_in",
    "zoom_out",
    "rotate_left",
    "rotate_right",
    "brighten",
    "darken",
    "shift_left",
    "shift_right",
    "vflip",
    "crop_centre",
    "crop_left",
    "crop_right",
    "clahe",
    "equalize",
)


def check_views(views: tuple[str, ...]) -> None:
    """Refuse view names that nobody has written.

    Raises:
        UserError: With every unknown name.
    """
    wrong = [unknown("view", name, VIEW_NAMES) for name in views if name not in VIEW_NAMES]
    if wrong:
        raise UserError(*wrong)
