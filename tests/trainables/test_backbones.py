"""Networks at any size, and where their first weights come from."""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from system.errors import UserError
from system.files import file_hash
from trainables.backbones import LAYOUTS, build, check_published, keep_weights, preprocessing
from trainables.config import TrialConfig
from trainables.prediction import load_network
from trainables.start.published import WEIGHT_PACKAGES
from trainables.training import TrialContext, TrialRun, run_trial

Configure = Callable[..., TrialConfig]
Attach = Callable[..., TrialContext]


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    """A tiny network that somebody trained for 7 classes."""
    torch.manual_seed(5)
    path = tmp_path / "start.safetensors"
    save_file(timm.create_model("test_vit", num_classes=7, img_size=32).state_dict(), path)
    return path


@pytest.mark.parametrize("backbone", ["test_vit", "test_byobnet", "test_efficientnet", "test_resnet"])
@pytest.mark.parametrize("size", [32, 48])
def test_a_network_has_one_column_per_class_of_every_head(backbone: str, size: int) -> None:
    model = build(backbone, {"age": 3, "mask": 2}, size).eval()
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 5)
    wanted = preprocessing(model, size)
    assert (wanted.image_size, len(wanted.mean), len(wanted.std)) == (size, 3, 3)


def test_a_size_the_network_cannot_take_is_the_users_to_change() -> None:
    for backbone, size in (("test_convnext", 16), ("levit_128s", 40)):
        with pytest.raises(UserError, match=f"'{backbone}' cannot take image_size {size}"):
            build(backbone, {"age": 3}, size)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_convnext", "tf_efficientnet_lite0"])
def test_a_stem_of_stride_1_keeps_the_detail_of_small_photos_and_takes_published_weights(backbone: str) -> None:
    weights = WEIGHT_PACKAGES[backbone].sha256 if backbone in WEIGHT_PACKAGES else ""
    photos = torch.zeros(2, 3, 32, 32)
    model, usual = (build(backbone, {"age": 3}, 32, stem_stride=stride, weights=weights).eval() for stride in (1, None))
    maps, before = model.forward_features(photos), usual.forward_features(photos)  # type: ignore[operator]  # timm's
    assert maps.shape[1] == before.shape[1]
    assert maps.shape[-1] > before.shape[-1]
    assert model(photos).shape == (2, 3)
    assert {name: one.shape for name, one in model.state_dict().items()} == {
        name: one.shape for name, one in usual.state_dict().items()
    }


@pytest.mark.parametrize(
    ("backbone", "settings", "why"),
    [
        ("test_vit", {"stem_stride": 1}, "cuts photos into patches"),
        ("test_resnet", {"stem_stride": 2}, "it has 2 at most"),
    ],
)
def test_what_a_network_does_not_have_is_the_users_to_leave_out(backbone: str, settings: dict[str, int], why: str) -> None:
    with pytest.raises(UserError, match=f"{backbone}.*{why}"):
        build(backbone, {"age": 3}, 64, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_lasts_through_a_step_and_saved_weights(layout: str, configure: Configure, attached: Attach) -> None:
    config = configure(backbone="test_resnet", epochs=1, layout=layout)
    run = TrialRun(config, attached(config, layout))
    run.step()
    model, _ = load_network(config, run.folder.best)
    for network in (run.model, model):
        maps = network.forward_features(torch.zeros(2, 3, 32, 32))  # type: ignore[operator]  # timm's
        assert maps.is_contiguous(memory_format=LAYOUTS[layout])


def test_a_local_weights_file_starts_the_network_and_names_the_trial(
    weights_file: Path, configure: Configure, attached: Attach
) -> None:
    plain, config = configure(epochs=1), configure(epochs=1, weights_file=str(weights_file))
    assert config.weights == file_hash(weights_file)
    assert config.trial_id != plain.trial_id
    assert config.config_id != plain.config_id
    context = attached(config)
    assert context.weights is not None
    assert keep_weights(str(weights_file), context.weights) == config.weights
    model = build("test_vit", {"colour": 3}, 32, weights=config.weights, store=context.weights)
    given = timm.models.load_state_dict(str(weights_file))
    for name, tensor in model.state_dict().items():
        assert name.startswith("head.") or torch.equal(tensor, given[name]), name
    run_trial(config, context)


def test_a_trial_goes_on_without_the_file_it_started_from(
    weights_file: Path, configure: Configure, attached: Attach, learned: Callable[[str, TrialConfig], object]
) -> None:
    config = configure(weights_file=str(weights_file))
    whole, pieces = attached(config, "whole"), attached(config, "pieces")
    assert whole.weights is not None
    keep_weights(str(weights_file), whole.weights)
    run_trial(config, whole)
    TrialRun(config, pieces).step()
    assert run_trial(config, replace(pieces, weights=None)).finished
    assert learned("pieces", config) == learned("whole", config)


def test_the_seed_draws_the_same_last_layer_whether_or_not_weights_are_compared(weights_file: Path, tmp_path: Path) -> None:
    name = keep_weights(str(weights_file), tmp_path / "store")
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        heads.append(build("test_vit", {"colour": 3}, 32, weights=name, store=tmp_path / "store").get_classifier().weight)
        following = torch.rand(1)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    torch.manual_seed(1)
    timm.create_model("test_vit", num_classes=3, img_size=32)
    assert torch.equal(torch.rand(1), following), "the comparison moves the random state that training goes on from"


def test_weights_are_kept_once_by_their_content(weights_file: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    name = keep_weights(str(weights_file), store)
    weights_file.rename(tmp_path / "renamed.safetensors")
    assert keep_weights(str(tmp_path / "renamed.safetensors"), store) == name
    assert [path.name for path in store.iterdir()] == [f"{name}.safetensors"]


def test_weights_that_are_not_there_are_a_user_error(configure: Configure, tmp_path: Path) -> None:
    for missing in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError, match="weights_file must be a file of weights"):
            configure(weights_file=str(missing))
        with pytest.raises(UserError, match="weights_file must be a file of weights"):
            keep_weights(str(missing), tmp_path / "store")
    (tmp_path / "notes.txt").write_text("resnet")
    with pytest.raises(UserError, match=r"must end in \.safetensors"):
        keep_weights(str(tmp_path / "notes.txt"), tmp_path / "store")
    with pytest.raises(UserError, match="not in this storage"):
        build("test_vit", {"age": 3}, 32, weights="0" * 64, store=tmp_path / "store")


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".bin"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x02]q\x00."], ids=["empty", "text", "pickle"])
def test_a_file_that_holds_no_weights_is_a_user_error(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"wrong{ending}"
    path.write_bytes(content)
    name = keep_weights(str(path), tmp_path / "store")
    with pytest.raises(UserError, match=r"start weights .* do not load into 'test_vit'"):
        build("test_vit", {"age": 3}, 32, weights=name, store=tmp_path / "store")


def test_weights_of_another_network_are_a_user_error(weights_file: Path, tmp_path: Path) -> None:
    """timm passes over names that do not match, which would be a random start that says it is not."""
    name = keep_weights(str(weights_file), tmp_path / "store")
    with pytest.raises(UserError, match="reach only 0% of 'test_byobnet'"):
        build("test_byobnet", {"age": 3}, 32, weights=name, store=tmp_path / "store")
    save_file({"patch_embed.proj.weight": torch.zeros(2, 2)}, tmp_path / "shape.safetensors")
    name = keep_weights(str(tmp_path / "shape.safetensors"), tmp_path / "store")
    with pytest.raises(UserError, match="do not load into 'test_vit'"):
        build("test_vit", {"age": 3}, 32, weights=name, store=tmp_path / "store")


@pytest.mark.parametrize("hub", ["offline", "unreachable", "silent"])
def test_published_weights_that_cannot_be_had_are_refused_in_a_moment(
    hub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("trainables.backbones.HUB", ("192.0.2.1", 443))  # TEST-NET-1: no host answers there
    monkeypatch.setenv("HF_HUB_OFFLINE", "1" if hub == "offline" else "0")
    if hub == "silent":  # as a name server that does not answer: no timeout of a socket ends the wait
        monkeypatch.setattr(socket, "create_connection", lambda *a, **k: answered.wait(30))
    started = time.monotonic()
    with pytest.raises(UserError, match=r"timm/test_vit\.r160_in1k.*weights_file=PATH, or set pretrained to False"):
        check_published("test_vit")
    seconds = time.monotonic() - started
    answered.set()
    print(f"{hub}: refused after {seconds:.2f} s")
    assert seconds < 3, "the aim is one second; three leave room for a busy machine"


def test_a_network_that_nobody_published_weights_for_is_refused(configure: Configure) -> None:
    with pytest.raises(UserError, match="no published weights for backbone 'seresnet18'"):
        configure(backbone="seresnet18", pretrained=True)
    with pytest.raises(UserError, match="no published weights for backbone 'seresnet18'"):
        check_published("seresnet18")


def test_a_pretrained_trial_is_named_after_the_published_tag(configure: Configure) -> None:
    spoken, silent = configure(backbone="resnet18.a1_in1k", pretrained=True), configure(backbone="resnet18", pretrained=True)
    assert spoken.weights == silent.weights == "timm:a1_in1k"
    other = configure(backbone="resnet18.tv_in1k", pretrained=True)
    assert len({other.trial_id, silent.trial_id, configure(backbone="resnet18").trial_id}) == 3
