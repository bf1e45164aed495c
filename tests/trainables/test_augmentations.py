"""Every augmentation policy: the seed alone decides, whoever draws, in which order and from which thread."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import albumentations as A
import numpy as np
import pytest
from numpy.typing import NDArray

from trainables.augmentations import AUGMENTATIONS, augment, compose, image_seed
from trainables.batches import TrainingRows, epoch_order, training_batches

N, SIZE = 24, 32
IMAGES = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE, 3), dtype=np.uint8)
DATA = TrainingRows(IMAGES, np.arange(N), [f"photo-{number}" for number in range(N)])


def drawn(policy: str, seeds: list[int]) -> list[NDArray[np.uint8]]:
    transform = compose(policy, SIZE)
    return [IMAGES[0] if transform is None else augment(transform, IMAGES[0].copy(), seed) for seed in seeds]


def epoch(policy: str, *, seed: int = 0, number: int = 1, workers: int = 0) -> list[bytes]:
    batches = training_batches(DATA, batch_size=7, augmentation=policy, seed=seed, epoch=number, workers=workers)
    return [positions.tobytes() + images.tobytes() for positions, images in batches]


@pytest.mark.parametrize("policy", AUGMENTATIONS)
def test_a_seed_gives_the_same_bytes_and_another_seed_others(policy: str) -> None:
    first, again = drawn(policy, list(range(20))), drawn(policy, list(reversed(range(20))))[::-1]
    for one, other in zip(first, again, strict=True):
        assert one.shape == (SIZE, SIZE, 3)
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, other)
    n_distinct = len({image.tobytes() for image in first})
    assert n_distinct == 1 if policy == "none" else n_distinct >= 15


@pytest.mark.parametrize("policy", AUGMENTATIONS)
def test_the_photo_in_the_cache_is_not_touched(policy: str) -> None:
    before = IMAGES.copy()
    epoch(policy)
    np.testing.assert_array_equal(IMAGES, before)


@pytest.mark.parametrize("policy", AUGMENTATIONS)
def test_threads_change_no_byte(policy: str) -> None:
    alone = epoch(policy)
    assert all(epoch(policy, workers=workers) == alone for workers in (1, 2, 5))
    with ThreadPoolExecutor(4) as pool:
        assert all(found == alone for found in pool.map(lambda _: epoch(policy), range(4)))


@pytest.mark.parametrize("policy", AUGMENTATIONS)
def test_every_epoch_and_every_seed_draws_anew(policy: str) -> None:
    assert len({b"".join(epoch(policy, seed=seed, number=number)) for seed in (0, 1) for number in (1, 2)}) == 4
    assert epoch(policy) == epoch(policy)


def test_each_photo_of_an_epoch_has_its_own_draw() -> None:
    seeds = {image_seed(seed, epoch, f"{photo}") for seed in range(3) for epoch in range(3) for photo in range(50)}
    assert len(seeds) == 450


def test_an_epoch_shows_every_photo_at_most_once_in_full_batches() -> None:
    order = epoch_order(N, 7, 0, 1)
    assert [len(batch) for batch in order] == [7, 7, 7]
    assert len(set(np.concatenate(order).tolist())) == 21
    (only,) = epoch_order(5, 7, 0, 1)
    assert sorted(only.tolist()) == list(range(5)), "fewer photos than a batch are one batch"


def test_an_argument_albumentations_does_not_know_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AUGMENTATIONS, "typo", lambda size: [A.Rotate(limits=3)])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with pytest.raises(ValueError, match=r"augmentation 'typo'.*limits"):
            compose("typo", SIZE)
