"""What every mix promises: a photo is its own share and its partner's rest, from the seed alone; the last epochs see it as it is."""

import numpy as np
import pytest
import torch

from trainables.mixing import MIXES, Mixed, chance_of, is_mixed

B, S = 64, 16
PHOTOS = torch.arange(B, dtype=torch.float32)[:, None, None, None].expand(B, 3, S, S).clone()
"""Photo b is grey everywhere, of value b: the mean of a blend says what it is made of."""


def mixed(name: str, epoch: int = 1) -> Mixed:
    return MIXES[name](PHOTOS.clone(), chance_of(0, epoch, "first"))


@pytest.mark.parametrize("name", MIXES)
def test_a_photo_is_made_of_itself_and_its_partner_by_their_shares(name: str) -> None:
    one = mixed(name)
    own = torch.arange(B, dtype=torch.float32)
    wanted = own * one.share + own[one.partner] * (1 - one.share)
    torch.testing.assert_close(one.images.mean(dim=(1, 2, 3)), wanted, rtol=1e-4, atol=1e-3)
    assert ((one.share >= 0) & (one.share <= 1)).all()
    assert sorted(one.partner.tolist()) == list(range(B))
    assert (one.images.shape, one.share.dtype) == (PHOTOS.shape, torch.float32)


@pytest.mark.parametrize("name", MIXES)
def test_the_seed_alone_decides(name: str) -> None:
    one, again, later = mixed(name), mixed(name), mixed(name, epoch=2)
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.share, again.share)
    assert name == "none" or not torch.equal(one.images, later.images)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 10, 40])
def test_the_last_epochs_are_not_mixed_and_most_are(epochs: int) -> None:
    mixing = [is_mixed(epoch, epochs) for epoch in range(1, epochs + 1)]
    assert mixing == sorted(mixing, reverse=True)
    assert np.mean(mixing) > 0.7
    assert epochs < 4 or not mixing[-1]
