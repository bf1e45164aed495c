"""Every sampler keeps its contract; a new line in the dict is tested at once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainables.batches import TrainingRows, epoch_order, training_batches
from trainables.config import TrialConfig
from trainables.samplers import SAMPLERS, chances
from trainables.training import TrialContext, TrialRun, run_trial

AGE = np.repeat(np.array([0, 1, 2], np.int16), (90, 9, 1))
MASK = np.tile(np.array([0, 1, -1, 0, -1], np.int16), 20)
N = len(AGE)
LABELS = {
    "one head": {"age": AGE},
    "two heads": {"age": AGE, "mask": MASK},
    "no label at all": {"age": np.full(N, -1, np.int16)},
}
DRAWING = [name for name in SAMPLERS if name != "none"]


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_chances_are_positive_and_sum_to_one(name: str, labels: dict[str, NDArray[np.int16]]) -> None:
    found = chances(name, labels)
    if name == "none":
        assert found is None
        return
    assert found is not None
    assert found.shape == (N,)
    assert found.min() > 0, "every photo can be drawn"
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", DRAWING)
def test_a_photo_of_a_rarer_class_is_drawn_more_often_and_equals_alike(name: str) -> None:
    found = chances(name, {"age": AGE})
    assert found is not None
    common, rare, rarest = np.split(found, [90, 99])
    assert common.max() < rare.min()
    assert rare.max() < rarest.min()
    assert all(np.ptp(alike) == 0 for alike in (common, rare))


def test_balanced_draws_the_classes_of_one_head_equally_often() -> None:
    found = chances("balanced", {"age": AGE})
    np.testing.assert_allclose(np.bincount(AGE, weights=found), 1 / 3)


@pytest.mark.parametrize("name", DRAWING)
def test_heads_count_alike_and_an_unknown_label_counts_as_the_average(name: str) -> None:
    age, mask, both = (chances(name, labels) for labels in ({"age": AGE}, {"mask": MASK}, {"age": AGE, "mask": MASK}))
    assert age is not None
    assert mask is not None
    np.testing.assert_allclose(both, (age + mask) / 2)
    np.testing.assert_allclose(mask[MASK < 0], 1 / N)


def test_epochs_draw_as_many_photos_as_before_and_the_rare_ones_more_often() -> None:
    found = chances("balanced", {"age": AGE})
    orders = [np.concatenate(epoch_order(N, 10, 0, epoch, found)) for epoch in range(1, 31)]
    assert {len(order) for order in orders} == {N}
    assert len({order.tobytes() for order in orders}) == 30
    share = np.bincount(AGE[np.concatenate(orders)], minlength=3) / (30 * N)
    np.testing.assert_allclose(share, 1 / 3, atol=0.03)


def test_a_photo_drawn_again_in_an_epoch_is_augmented_anew_whatever_the_threads() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    data = TrainingRows(np.repeat(images, 8, axis=0), np.arange(16), [f"photo-{n}" for n in range(16)])
    only_one = np.eye(16)[3]

    def drawn(workers: int) -> list[bytes]:
        settings: dict[str, Any] = {"batch_size": 4, "augmentation": "strong", "seed": 0, "epoch": 1, "chances": only_one}
        batches = training_batches(data, **settings, workers=workers)
        return [image.tobytes() for positions, batch in batches for image in batch if (positions == 3).all()]

    assert len(drawn(0)) == len(set(drawn(0))) == 16
    assert drawn(0) == drawn(2)


@pytest.mark.parametrize("name", DRAWING)
def test_a_trial_that_samples_goes_on_to_the_same_bits(
    name: str,
    configure: Callable[..., TrialConfig],
    attached: Callable[..., TrialContext],
    learned: Callable[[str, TrialConfig], dict[str, Any]],
) -> None:
    config = configure(sampler=name, augmentation="light")
    run_trial(config, attached(config, "one go"))
    for _ in range(config.epochs):
        TrialRun(config, attached(config, "pieces", loader_workers=2)).step()
    assert learned("pieces", config) == learned("one go", config)
