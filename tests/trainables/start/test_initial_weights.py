"""A trial that starts from another's weights has what they share, and draws the rest as if it started from nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from ledger.trials import TrialFolder
from system.errors import UserError
from system.files import file_hash
from trainables.attach import start_of
from trainables.backbones import build
from trainables.checkpoint import read_tensors, write_tensors
from trainables.config import TrialConfig
from trainables.losses import split_heads
from trainables.prediction import load_network
from trainables.training import TrialContext, TrialRun, run_trial

Configure = Callable[..., TrialConfig]
Attach = Callable[..., TrialContext]
COLOUR, BOTH = {"colour": 3}, {"colour": 3, "shape": 2}
PHOTOS = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def trained(configure: Configure, attached: Attach) -> Callable[..., tuple[TrialConfig, TrialFolder]]:
    """`trained(backbone, heads)`: a trial of two epochs, and its folder."""

    def train(backbone: str = "test_vit", heads: dict[str, int] = COLOUR) -> tuple[TrialConfig, TrialFolder]:
        config = configure("both" if heads == BOTH else "colour", backbone=backbone)
        context = attached(config)
        assert run_trial(config, context).finished
        return config, context.folder

    return train


def rows(logits_or_rows: Tensor, heads: dict[str, int]) -> dict[str, Tensor]:
    return split_heads(logits_or_rows.T if logits_or_rows.ndim == 2 else logits_or_rows[None], heads)


@pytest.mark.parametrize("backbone", ["test_vit", "test_byobnet"])
def test_with_the_same_heads_the_network_predicts_as_the_trial_it_starts_from(
    backbone: str, trained: Callable[..., tuple[TrialConfig, TrialFolder]], tmp_path: Path
) -> None:
    config, folder = trained(backbone)
    name, weights = start_of(folder, tmp_path / "store")
    assert name == backbone
    source, _ = load_network(config, folder.best)
    model = build(name, COLOUR, 32, weights=weights, store=tmp_path / "store")
    with torch.no_grad():
        assert torch.equal(model.eval()(PHOTOS), source.eval()(PHOTOS))


@pytest.mark.parametrize(("before", "after"), [(COLOUR, BOTH), (BOTH, COLOUR), (BOTH, {"colour": 4, "shape": 2})], ids=str)
def test_shared_heads_are_taken_over_and_others_are_drawn(
    before: dict[str, int], after: dict[str, int], trained: Callable[..., tuple[TrialConfig, TrialFolder]], tmp_path: Path
) -> None:
    _, folder = trained(heads=before)
    _, weights = start_of(folder, tmp_path / "store")
    torch.manual_seed(3)
    drawn = build("test_vit", after, 32).state_dict()
    following = torch.rand(1)
    torch.manual_seed(3)
    model = build("test_vit", after, 32, weights=weights, store=tmp_path / "store").state_dict()
    assert torch.equal(torch.rand(1), following), "the start moves the random state that training goes on from"
    given = timm.models.load_state_dict(str(folder.best))
    for name in model:
        if not name.startswith("head."):
            assert torch.equal(model[name], given[name]), name
            continue
        now, then, fresh = rows(model[name], after), rows(given[name], before), rows(drawn[name], after)
        for head, n in after.items():
            assert torch.equal(now[head], then[head] if before.get(head) == n else fresh[head]), (name, head)


def test_both_of_two_last_layers_are_taken_over_head_by_head(tmp_path: Path) -> None:
    """`deit_tiny_distilled_patch16_224` has `head` and `head_dist`; its best is written here as training writes it."""
    source = build("deit_tiny_distilled_patch16_224", COLOUR, 32).state_dict()
    header = {"trial_id": "0" * 12, "epoch": 1, "backbone": "deit_tiny_distilled_patch16_224", "heads": [["colour", 3]]}
    weights = write_tensors(tmp_path / "best.safetensors", source, header)
    (tmp_path / "best.safetensors").rename(tmp_path / f"{weights}.safetensors")
    model = build("deit_tiny_distilled_patch16_224", BOTH, 32, weights=weights, store=tmp_path).state_dict()
    for name in ("head.weight", "head.bias", "head_dist.weight", "head_dist.bias"):
        assert torch.equal(model[name][:3], source[name]), name


def test_a_trial_that_started_from_another_goes_on_without_it(
    configure: Configure,
    attached: Attach,
    trained: Callable[..., tuple[TrialConfig, TrialFolder]],
    learned: Callable[[str, TrialConfig], object],
    tmp_path: Path,
) -> None:
    _, source = trained()
    backbone, weights = start_of(source, tmp_path / "store")
    config = replace(configure("shape"), backbone=backbone, weights=weights)
    assert config.trial_id != configure("shape").trial_id
    run_trial(config, replace(attached(config, "whole"), weights=tmp_path / "store"))
    TrialRun(config, replace(attached(config, "pieces"), weights=tmp_path / "store")).step()
    assert run_trial(config, replace(attached(config, "pieces"), weights=None)).finished
    assert learned("pieces", config) == learned("whole", config)


def test_another_backbone_or_size_is_refused_by_its_names(
    trained: Callable[..., tuple[TrialConfig, TrialFolder]], tmp_path: Path
) -> None:
    config, folder = trained()
    _, weights = start_of(folder, tmp_path)
    with pytest.raises(UserError, match=f"trial {config.trial_id} belong to backbone 'test_vit', not to 'test_byobnet'"):
        build("test_byobnet", COLOUR, 32, weights=weights, store=tmp_path)
    with pytest.raises(UserError, match=r"pos_embed is \(1, \d+, 64\), not \(1, \d+, 64\); give the image_size"):
        build("test_vit", COLOUR, 64, weights=weights, store=tmp_path)


def test_a_trial_without_weights_is_no_start(trained: Callable[..., tuple[TrialConfig, TrialFolder]], tmp_path: Path) -> None:
    config, folder = trained()
    store, record = tmp_path / "store", folder.record()
    assert record is not None
    with pytest.raises(UserError, match="no trial 'abc'"):
        start_of(TrialFolder(tmp_path / "abc"), store)
    folder.write_record(replace(record, diverged=True))
    with pytest.raises(UserError, match=f"trial {config.trial_id} diverged"):
        start_of(folder, store)
    folder.write_record(record)
    tensors, _ = read_tensors(folder.best)
    folder.last.unlink()  # or the best weights would be made again from it
    for wrong in (b"", b"not weights at all"):
        folder.best.write_bytes(wrong)
        with pytest.raises(UserError, match=r"best\.safetensors is damaged or gone.*give another trial to start from"):
            start_of(folder, store)
    save_file(tensors, folder.best)
    folder.write_record(replace(record, weights=file_hash(folder.best)))
    with pytest.raises(UserError, match=r"best\.safetensors is damaged or of an earlier version"):
        start_of(folder, store)
    folder.best.unlink()
    with pytest.raises(UserError, match=f"reproduce_trial.py .* {config.trial_id} --restore"):
        start_of(folder, store)
    assert not store.exists()
