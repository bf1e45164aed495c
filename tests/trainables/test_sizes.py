"""Sizes are judged from shapes, as the real network judges them, and a refusal says what would work."""

import re
from contextlib import AbstractContextManager, nullcontext

import pytest
import timm
import torch

from system.errors import UserError
from trainables.backbones import build
from trainables.sizes import check_size


def refusal(match: str = "") -> AbstractContextManager[object]:
    return pytest.raises(UserError, match=match) if match else nullcontext()


@pytest.mark.parametrize("backbone", ["test_vit", "test_byobnet", "test_convnext", "levit_128s", "gmlp_s16_224", "test_nfnet"])
@pytest.mark.parametrize("size", [16, 32, 40, 64])
def test_shapes_say_what_the_network_itself_says(backbone: str, size: int) -> None:
    try:
        build(backbone, {"age": 3}, size)
    except UserError:
        with pytest.raises(UserError, match=f"'{backbone}' cannot take image_size {size}"):
            check_size(backbone, size)
    else:
        check_size(backbone, size)


@pytest.mark.parametrize(("backbone", "size"), [("test_vit", 40), ("test_convnext", 16), ("levit_128s", 40)])
def test_a_refusal_names_the_reason_and_sizes_that_are_then_taken(backbone: str, size: int) -> None:
    with pytest.raises(UserError, match=rf"'{backbone}' cannot take image_size {size} \(\S.*\); sizes near it") as caught:
        check_size(backbone, size)
    listed = re.search(r"sizes near it that work: ([\d, ]+)$", str(caught.value))
    assert listed
    for near in map(int, listed[1].split(", ")):
        build(backbone, {"age": 3}, near)


@pytest.mark.parametrize(
    ("backbone", "size", "match"),
    [
        ("mixer_b16_224", 64, r"published weights of 'mixer_b16_224' do not fit image_size 64 \(blocks.*work: 224$"),
        ("mixer_b16_224", 224, ""),
        ("vit_small_patch16_224", 64, ""),
        ("resnet18", 64, ""),
    ],
)
def test_published_weights_that_fit_one_size_alone_are_known_before_they_are_fetched(
    backbone: str, size: int, match: str
) -> None:
    check_size(backbone, size)
    with refusal(match):
        check_size(backbone, size, published=True)


def test_a_network_that_asks_for_values_is_judged_by_the_real_device(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, : int(images.sum()) + 2]

    monkeypatch.setattr(timm, "create_model", lambda backbone, **arguments: Counting())
    check_size("resnet10t", 32)
