"""A photo's probabilities depend on the photo, the weights and the view, and on nothing beside it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from trainables.backbones import Preprocessing, build, preprocessing
from trainables.batches import normalise, to_unit
from trainables.prediction import BATCH, ViewProbs, predict

HEADS = {"age": 3, "mask": 2}
VIEWS = ("identity", "hflip", "rotate_left")
N = 100
PHOTOS = np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["test_vit", "test_byobnet", "test_efficientnet"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return build(request.param, HEADS, 32)


def probs_of(model: nn.Module, photos: NDArray[np.uint8], views: tuple[str, ...] = VIEWS) -> ViewProbs:
    wanted = preprocessing(model, 32)
    return predict(model, lambda a, b: photos[a:b], len(photos), heads=HEADS, views=views, wanted=wanted)


def test_one_photo_alone_has_the_bits_it_has_among_a_hundred(model: nn.Module) -> None:
    whole = probs_of(model, PHOTOS)
    for number in (0, 7, BATCH - 1, BATCH, N - 1):
        for key, alone in probs_of(model, PHOTOS[number : number + 1]).items():
            np.testing.assert_array_equal(alone[0], whole[key][number])
    order = np.random.default_rng(1).permutation(N)
    for key, shuffled in probs_of(model, PHOTOS[order]).items():
        np.testing.assert_array_equal(shuffled, whole[key][order])


def test_the_network_always_sees_full_batches() -> None:
    """Kernels are chosen by the size of the batch, so a photo alone in a short one may get other last bits."""
    seen = []

    class Counts(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(len(images))
            return images.mean(dim=(2, 3)).repeat(1, 2)[:, :5]

    wanted = Preprocessing(32, (0.5,) * 3, (0.5,) * 3)
    for n in (1, BATCH, N):
        found = predict(Counts(), lambda a, b: PHOTOS[a:b], n, heads=HEADS, views=["identity"], wanted=wanted)
        assert len(found["age", "identity"]) == n
    assert seen == [BATCH] * 4


def test_a_view_has_the_same_bits_with_and_without_others(model: nn.Module) -> None:
    whole = probs_of(model, PHOTOS[:5])
    for view in VIEWS:
        for (head, _), probs in probs_of(model, PHOTOS[:5], (view,)).items():
            np.testing.assert_array_equal(probs, whole[head, view])


def test_heads_are_float16_shares_of_their_own_columns(model: nn.Module) -> None:
    found = probs_of(model, PHOTOS[:8])
    assert list(found) == [(head, view) for head in HEADS for view in VIEWS]
    for (head, _), probs in found.items():
        assert probs.shape == (8, HEADS[head])
        assert probs.dtype == np.float16
        np.testing.assert_allclose(probs.astype(np.float64).sum(1), 1, atol=2e-3)
    with torch.inference_mode():
        logits = model.eval()(normalise(to_unit(PHOTOS[:8], "cpu"), preprocessing(model, 32)))
    np.testing.assert_allclose(found["mask", "identity"], logits[:, 3:].softmax(1).numpy(), atol=1e-3)
    flipped = probs_of(model, PHOTOS[:8, :, ::-1])
    np.testing.assert_array_equal(flipped["age", "identity"], found["age", "hflip"])


def test_predicting_leaves_the_network_as_it_was(model: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in model.train().state_dict().items()}
    probs_of(model, PHOTOS[:3])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
