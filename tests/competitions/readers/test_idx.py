"""idx files: official MNIST-like downloads work as they are, are unpacked once, and a wrong one is named."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

import competitions.images.decode
from competitions.images.decode import BrokenImage, read_bytes_of, read_image, split_member
from competitions.images.image_cache import cache_name, open_or_build
from competitions.loading import parse_competition
from competitions.readers.read import READERS
from system.errors import UserError

YAML = 'reader: idx\nimages: raw\ntasks: {digit: {classes: ["0", "1", "2"]}}\nsubmission: {answers: {digit: digit}}\n'
TRAIN, LABELS, TEST = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"
RNG = np.random.default_rng(0)
PHOTOS, TESTS = RNG.integers(0, 256, (4, 6, 5), dtype=np.uint8), RNG.integers(0, 256, (2, 6, 5), dtype=np.uint8)
NUMBERS = np.array([2, 0, 1, 1], np.uint8)


def idx(array, *, kind=8):
    return struct.pack(f">4B{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def lay_out(root, *, packed, **changed):
    (root / "raw").mkdir(exist_ok=True)
    for name, data in ({TRAIN: idx(PHOTOS), LABELS: idx(NUMBERS), TEST: idx(TESTS)} | changed).items():
        (root / "raw" / (name + ".gz" * packed)).write_bytes(gzip.compress(data, 1) if packed else data)


def manifest_of(root, yaml=YAML):
    return READERS["idx"](parse_competition(yaml, "x", where="x.yaml"), root)


@pytest.mark.parametrize("packed", [True, False])
def test_an_official_download_reads_as_it_is(tmp_path, packed):
    lay_out(tmp_path, packed=packed)
    manifest = manifest_of(tmp_path)
    assert manifest.image_ids == ("train/0", "train/1", "train/2", "train/3", "t10k/0", "t10k/1")
    assert manifest.labels["digit"].tolist() == [2, 0, 1, 1, -1, -1]
    assert manifest.roles == ("train",) * 4 + ("test",) * 2
    for path, shown in zip(manifest.paths, [*PHOTOS, *TESTS], strict=True):
        np.testing.assert_array_equal(read_image(tmp_path, path), np.repeat(shown[:, :, None], 3, axis=2))


def test_a_packed_file_is_unpacked_once_and_again_when_it_was_replaced(tmp_path, monkeypatch):
    lay_out(tmp_path, packed=True)
    opened, real = [], gzip.open
    monkeypatch.setattr(competitions.images.decode.gzip, "open", lambda file: opened.append(file) or real(file))
    for row in range(4):
        np.testing.assert_array_equal(read_bytes_of(tmp_path, f"raw/{TRAIN}.gz#{row}"), PHOTOS[row])
    assert len(opened) == 1
    lay_out(tmp_path, packed=True, **{TRAIN: idx(PHOTOS[::-1])})
    os.utime(tmp_path / "raw" / f"{TRAIN}.gz", ns=(1, 1))
    np.testing.assert_array_equal(read_bytes_of(tmp_path, f"raw/{TRAIN}.gz#0"), PHOTOS[3])


def test_the_image_cache_holds_idx_photos_and_is_named_by_the_files_state(tmp_path):
    lay_out(tmp_path, packed=True)
    manifest = manifest_of(tmp_path)
    cache = open_or_build(manifest, tmp_path, 16, tmp_path / "cache")
    assert cache.images.shape == (6, 16, 16, 3)
    assert not cache.broken
    os.utime(tmp_path / "raw" / f"{TEST}.gz", ns=(1, 1))
    assert cache_name(manifest, tmp_path, 16) != cache.path.stem


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({LABELS: idx(np.array([2, 0, 1, 9], np.uint8))}, "labels must be 0..2, one per class of the YAML, got 9 (1 photos)"),
        ({LABELS: idx(NUMBERS[:3])}, "one label per photo, got 3 for 4 photos"),
        ({LABELS: idx(NUMBERS)[:-1]}, "its header promises 4 bytes, it holds 3"),
        ({LABELS: idx(PHOTOS)}, "must have 1 axes"),
        ({TRAIN: idx(NUMBERS)}, "must have 3 axes"),
        ({TRAIN: idx(PHOTOS, kind=13)}, "begins with 00 00 08"),
        ({TRAIN: b""}, "begins with 00 00 08"),
        ({TRAIN: idx(PHOTOS)[:9]}, "cut short in its header"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_each_unusable_file_says_what_is_wrong(tmp_path, changed, says, packed):
    lay_out(tmp_path, packed=packed, **changed)
    with pytest.raises(UserError) as caught:
        manifest_of(tmp_path)
    assert any(says in fault for fault in caught.value.faults), caught.value.faults


def test_missing_files_are_named_together(tmp_path):
    with pytest.raises(UserError) as caught:
        manifest_of(tmp_path)
    assert [fault.split()[4] for fault in caught.value.faults] == [TRAIN, TEST, LABELS]


@pytest.mark.parametrize("spoil", [lambda d: d[:40], lambda d: b"no gzip at all", lambda d: d[:20] + b"\xff" * 20 + d[40:]])
def test_a_damaged_packed_file_breaks_its_photos_and_no_others(tmp_path, spoil):
    lay_out(tmp_path, packed=True)
    file = tmp_path / "raw" / f"{TEST}.gz"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(BrokenImage) as caught:
        read_image(tmp_path, f"raw/{TEST}.gz#0")
    assert not caught.value.passing
    assert read_image(tmp_path, f"raw/{TRAIN}.gz#0").shape == (6, 5, 3)


def test_an_address_is_split_and_a_file_whose_name_holds_a_mark_is_a_file(tmp_path):
    assert split_member(f"raw/{TRAIN}.gz#12") == (f"raw/{TRAIN}.gz", "", 12)
    assert split_member("a#12") == ("a#12", None, 0)
    lay_out(tmp_path, packed=False)
    with pytest.raises(BrokenImage, match="no photo 4"):
        read_image(tmp_path, f"raw/{TRAIN}#4")


FASHION = Path(os.environ.get("PODIUM_DATA") or Path(__file__).parents[3].parent / "shared" / "data") / "fashion_mnist"


def test_fashion_mnist_as_published_is_fashion_mnist_as_packed_here(tmp_path):
    if not FASHION.is_dir():
        pytest.skip(f"{FASHION} is not there; PODIUM_DATA names the folder that holds it")
    from competitions.loading import load_competition

    asked = load_competition("fashion_mnist")
    flat = READERS["npz"](asked, FASHION)
    with np.load(FASHION / "images.npz") as packed:
        photos, tests = packed["train"], packed["eval"]
    numbers = flat.labels["article"][flat.rows("train")].astype(np.uint8)
    lay_out(tmp_path, packed=True, **{TRAIN: idx(photos), LABELS: idx(numbers), TEST: idx(tests)})
    classes = list(asked.tasks["article"].classes)
    manifest = manifest_of(
        tmp_path, f"reader: idx\nimages: raw\ntasks: {{digit: {{classes: {classes}}}}}\n" + YAML.split("\n")[3]
    )
    np.testing.assert_array_equal(manifest.labels["digit"], flat.labels["article"])
    assert manifest.roles == flat.roles
    for row in (0, 59_999, 60_000, 69_999):
        np.testing.assert_array_equal(read_image(tmp_path, manifest.paths[row]), read_image(FASHION, flat.paths[row]))
