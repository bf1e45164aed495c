"""The names that are known without importing torch are those of the dicts, in the same order."""

from collections.abc import Iterable

import pytest

from trainables import catalog
from trainables.augmentations import AUGMENTATIONS
from trainables.config import DEFAULTS, NAMED, ONLY_WITH, RANGES
from trainables.losses import CLASS_WEIGHTS, LOSSES
from trainables.optimizers import OPTIMIZERS
from trainables.samplers import SAMPLERS
from trainables.views import VIEWS


@pytest.mark.parametrize(
    ("names", "dictionary"),
    [
        (catalog.LOSS_NAMES, LOSSES),
        (catalog.CLASS_WEIGHT_NAMES, CLASS_WEIGHTS),
        (catalog.SAMPLER_NAMES, SAMPLERS),
        (catalog.OPTIMIZER_NAMES, OPTIMIZERS),
        (catalog.AUGMENTATION_NAMES, AUGMENTATIONS),
        (catalog.VIEW_NAMES, VIEWS),
    ],
    ids=["losses", "class weights", "samplers", "optimizers", "augmentations", "views"],
)
def test_the_catalog_lists_its_dict(names: Iterable[str], dictionary: dict[str, object]) -> None:
    assert tuple(names) == tuple(dictionary)


def test_every_setting_is_checked_by_a_rule() -> None:
    assert set(DEFAULTS) == {*RANGES, *NAMED, "backbone", "pretrained", "weights_file"}
    assert set(ONLY_WITH) <= set(DEFAULTS)
