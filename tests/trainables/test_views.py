"""Every view keeps shape and range, and what it does to a photo does not depend on the photos beside it."""

import pytest
import torch
from torch import Tensor

from trainables.views import VIEWS, rotate, shift, zoom


@pytest.fixture(params=[(6, 32), (3, 47)], ids=["even side", "odd side"])
def images(request: pytest.FixtureRequest) -> Tensor:
    n, side = request.param
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0)).round(decimals=2)


@pytest.mark.parametrize("name", VIEWS)
def test_shape_and_range_are_kept_and_the_photo_is_not_changed(name: str, images: Tensor) -> None:
    before = images.clone()
    found = VIEWS[name](images)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    assert torch.equal(images, before)
    assert torch.equal(found, images) == (name == "identity")


@pytest.mark.parametrize("name", VIEWS)
def test_a_photo_looks_the_same_in_any_batch(name: str, images: Tensor) -> None:
    whole = VIEWS[name](images)
    assert torch.equal(VIEWS[name](images), whole)
    assert torch.equal(VIEWS[name](images.flip(0)), whole.flip(0))
    for number in range(len(images)):
        assert torch.equal(VIEWS[name](images[number : number + 1])[0], whole[number])


@pytest.mark.parametrize("name", VIEWS)
def test_a_flat_grey_photo_stays_flat(name: str) -> None:
    found = VIEWS[name](torch.full((1, 3, 32, 32), 0.5))
    torch.testing.assert_close(found, found[0, 0, 0, 0].expand_as(found))


@pytest.mark.parametrize("name", ["hflip", "vflip"])
def test_flipping_twice_is_the_photo_itself(name: str, images: Tensor) -> None:
    assert torch.equal(VIEWS[name](VIEWS[name](images)), images)


@pytest.mark.parametrize("name", ["clahe", "equalize"])
def test_a_dull_photo_gets_contrast_and_keeps_its_colours(name: str) -> None:
    dull = 0.4 + 0.1 * torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)).expand(2, 3, 64, 64)
    found = VIEWS[name](dull)
    assert found.std() > 1.5 * dull.std()
    torch.testing.assert_close(found[:, 0], found[:, 2], atol=2 / 255, rtol=0)
    reddish = dull * torch.tensor([1.0, 0.6, 0.5]).view(1, 3, 1, 1)
    red, green, blue = VIEWS[name](reddish).mean(dim=(0, 2, 3))
    assert red > green > blue - 0.02


def test_names_say_the_direction() -> None:
    dot = torch.zeros(1, 3, 33, 33)
    dot[..., 14:19, 26:31] = 1  # right of the centre

    def centre(found: Tensor) -> tuple[float, float]:
        weight = found[0, 0] / found[0, 0].sum()
        places = torch.arange(33.0)
        return (weight.sum(0) @ places).item(), (weight.sum(1) @ places).item()

    x, y = centre(dot)
    assert centre(VIEWS["rotate_left"](dot))[1] < y - 0.5, "counter-clockwise: the right side goes up"
    assert centre(VIEWS["rotate_right"](dot))[1] > y + 0.5
    assert centre(VIEWS["shift_left"](dot))[0] < x - 0.5
    assert centre(VIEWS["shift_right"](dot))[0] > x + 0.5
    assert centre(VIEWS["zoom_in"](dot))[0] > x + 0.5
    assert centre(VIEWS["zoom_out"](dot))[0] < x - 0.5
    assert centre(VIEWS["crop_centre"](dot))[0] > x + 0.5
    assert centre(VIEWS["crop_left"](dot))[0] > centre(VIEWS["crop_right"](dot))[0] + 3, (
        "a crop at the left shows the left at full size"
    )
    assert centre(VIEWS["vflip"](dot.roll(-9, dims=-2)))[1] > y + 8
    assert VIEWS["brighten"](dot / 2).mean() > (dot / 2).mean() > VIEWS["darken"](dot / 2).mean()


def test_neutral_settings_change_nothing(images: Tensor) -> None:
    for found in (rotate(images, 0.0), zoom(images, 1.0), rotate(rotate(images, 90.0), -90.0)):
        torch.testing.assert_close(found, images, atol=1e-4, rtol=0)
    right = shift(images, 0.1)
    pixels = round(0.1 * images.shape[-1])
    assert torch.equal(right[..., pixels:], images[..., :-pixels])
