"""Looks: what differs is seen, what was not asked about is not."""

import numpy as np

from competitions.images.statistics import looks

RNG = np.random.default_rng(0)
PHOTOS = RNG.integers(40, 200, (6, 32, 32, 3), dtype=np.uint8)
EVERY = np.arange(6)


def test_a_photo_looks_the_same_in_any_company_and_size_of_batch() -> None:
    many = np.concatenate([PHOTOS] * 100)
    whole = looks(many, np.arange(600))
    assert whole.shape == (600, 29)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(looks(many, np.array([599, 3])), whole[[599, 3]])
    assert looks(PHOTOS, EVERY[:0]).shape == (0, 29)


def test_light_moves_the_percentiles_and_the_border_by_as_much_and_leaves_sharpness_as_it_was() -> None:
    plain, lighter = looks(PHOTOS, EVERY), looks(PHOTOS + np.uint8(51), EVERY)
    np.testing.assert_allclose(lighter[:, :18] - plain[:, :18], 0.2, atol=1e-6)
    np.testing.assert_allclose(lighter[:, 18:], plain[:, 18:], atol=1e-5)


def test_blur_lowers_sharpness_at_every_scale() -> None:
    wide = np.pad(PHOTOS.astype(np.float32), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    blurred = np.mean([wide[:, i : i + 32, j : j + 32] for i in range(5) for j in range(5)], axis=0).astype(np.uint8)
    assert (looks(blurred, EVERY)[:, 23:] < looks(PHOTOS, EVERY)[:, 23:]).all()


def test_a_grey_photo_has_no_saturation_and_three_equal_colours() -> None:
    grey = np.repeat(PHOTOS[..., :1], 3, axis=3)
    found = looks(grey, EVERY)
    np.testing.assert_array_equal(found[:, [18, 22]], 0)
    np.testing.assert_array_equal(found[:, 0:5], found[:, 5:10])


def test_large_photos_are_described_too() -> None:
    large = np.repeat(np.repeat(PHOTOS, 7, axis=1), 7, axis=2)  # 224 pixels
    found = looks(large, EVERY)
    assert found.shape == (6, 29)
    np.testing.assert_allclose(found[:, :15], looks(PHOTOS, EVERY)[:, :15], atol=0.08)
