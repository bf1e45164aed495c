"""Features are computed once per (weights, size, view), shared, checked, and are those of the network itself."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from competitions.prepare import Prepared
from system.claims import claim
from system.errors import UserError
from trainables.attach import features_of
from trainables.backbones import build
from trainables.batches import normalise, to_unit
from trainables.config import TrialConfig
from trainables.prediction import deep_features
from trainables.probes import features as module
from trainables.probes.features import PhotoFeatures, frozen
from trainables.views import VIEWS

Probing = Callable[..., TrialConfig]
PART = 16


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Parts of 16 photos, nothing held in memory yet, and a line for each part that is computed."""
    lines: list[str] = []
    monkeypatch.setattr(module, "PART_ROWS", PART)
    monkeypatch.setattr(module, "_HELD", module.OrderedDict())
    real = PhotoFeatures._compute

    def counting(self: PhotoFeatures, view: str, rows: np.ndarray) -> np.ndarray:
        lines.append(view)
        return real(self, view, rows)

    monkeypatch.setattr(PhotoFeatures, "_compute", counting)
    return lines


@pytest.fixture
def features(tiny: Prepared, probing: Probing, tmp_path: Path) -> PhotoFeatures:
    return features_of(tiny, probing(), place=tmp_path)


def forget() -> None:
    module._HELD.clear()


def test_features_are_what_the_network_s_last_layer_sees(features: PhotoFeatures, tiny: Prepared) -> None:
    rows = np.array([70, 3, 3, 41])
    for view in ("identity", "hflip"):
        model = build("test_resnet", {"any": 2}, 32, weights=features.weights, store=features.store).eval()
        seen = normalise(VIEWS[view](to_unit(tiny.cache(32).images[rows], "cpu")), features.frozen().wanted)
        with torch.inference_mode():
            theirs = deep_features(model, seen).numpy()
        assert np.abs(features.of(rows, view) - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_a_photo_s_features_do_not_depend_on_who_asks_for_what(
    features: PhotoFeatures, computed: list[str], tmp_path: Path
) -> None:
    everything = np.arange(len(features.names))
    whole = features.of(everything)
    assert len(computed) == -(-len(everything) // PART)
    forget()
    assert np.array_equal(features.of(everything[::-7]), whole[::-7]), "read again from the files"
    assert len(computed) == -(-len(everything) // PART)
    forget()
    elsewhere = replace(features, folder=tmp_path / "elsewhere" / "features")
    assert np.array_equal(elsewhere.of(everything[5:6]), whole[5:6])
    assert len(computed) == -(-len(everything) // PART) + 1, "only the part that was asked for"


def test_photos_of_the_judging_fold_stand_side_by_side(features: PhotoFeatures, tiny: Prepared, computed: list[str]) -> None:
    rows = np.flatnonzero(tiny.folds.fold == 2)
    features.of(rows, "hflip")
    assert len(computed) <= len(rows) // PART + 2


def test_what_decides_the_bits_is_in_the_folder_s_name(features: PhotoFeatures) -> None:
    others = [
        replace(features, weights="f" * 64),
        replace(features, image_size=64),
        replace(features, threads=2),
        replace(features, device="cuda"),
        replace(features, names=[*features.names[:-1], ("t11", "other pixels")]),
    ]
    assert len({one.place("identity") for one in [features, *others]} | {features.place("hflip")}) == len(others) + 2


def test_a_damaged_part_goes_to_quarantine_and_is_computed_again(
    features: PhotoFeatures, computed: list[str], tmp_path: Path
) -> None:
    rows = np.arange(len(features.names))
    whole = features.of(rows)
    path = features.place("identity") / "00002.npy"
    data = bytearray(path.read_bytes())
    data[400] ^= 1
    path.write_bytes(data)
    forget()
    n_before = len(computed)
    assert np.array_equal(features.of(rows), whole)
    assert len(computed) == n_before + 1
    assert list(tmp_path.parent.rglob("quarantine/**/00002.npy*"))


def test_a_part_that_somebody_computes_is_waited_for_and_the_others_are_computed_meanwhile(
    features: PhotoFeatures, computed: list[str]
) -> None:
    rows = np.arange(len(features.names))
    held = claim(features.place("identity") / "00001.claim")
    assert held is not None
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(features.of(rows)))
    thread.start()
    n_parts = -(-len(rows) // PART)
    while len(computed) < n_parts - 1:
        assert thread.is_alive()
    assert not found
    held.release()
    thread.join(30)
    assert len(computed) == n_parts
    assert np.isfinite(found[0]).all()


def test_a_backbone_whose_last_layer_is_not_one_linear_layer_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from trainables.backbones import keep_weights

    save_file(build("deit_tiny_distilled_patch16_224", {"any": 2}, 32).state_dict(), tmp_path / "w.safetensors")
    name = keep_weights(str(tmp_path / "w.safetensors"), tmp_path / "store")
    with pytest.raises(UserError, match=r"no probe fits backbone 'deit_tiny.*: its last layer is not one linear layer"):
        frozen("deit_tiny_distilled_patch16_224", name, 32, tmp_path / "store", "cpu")
