"""Photos that are numbers: arrays with a stated range, bands below one another, a column per pixel, a limit that one can raise."""

from pathlib import Path

import numpy as np
import pytest

from competitions.images.arrays import pixel_columns
from competitions.images.decode import MEGAPIXELS, BrokenImage, read_image, scaled_path
from competitions.loading import parse_competition
from competitions.readers.read import read
from system.errors import UserError


def saved(root: Path, array: np.ndarray) -> str:
    np.save(root / "a.npy", array)
    return "a.npy"


def test_bytes_are_pixels_as_they_are(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(4, 3)
    np.testing.assert_array_equal(read_image(tmp_path, saved(tmp_path, grey))[:, :, 0], grey)
    colour = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
    np.testing.assert_array_equal(read_image(tmp_path, saved(tmp_path, colour)), colour)
    np.testing.assert_array_equal(read_image(tmp_path, saved(tmp_path, np.moveaxis(colour, 2, 0))), colour)


def test_bands_are_laid_out_below_one_another(tmp_path: Path) -> None:
    bands = np.arange(6 * 9 * 8, dtype=np.uint8).reshape(6, 9, 8)
    tall = read_image(tmp_path, saved(tmp_path, bands))[:, :, 0]
    np.testing.assert_array_equal(tall, bands.reshape(54, 8))
    last = read_image(tmp_path, saved(tmp_path, np.moveaxis(bands[:2], 0, 2)))[:, :, 0]
    np.testing.assert_array_equal(last, bands[:2].reshape(18, 8))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_a_range_says_what_is_black_and_white(tmp_path: Path, dtype: type) -> None:
    numbers = np.array([[-9, -4, 0], [2, 4, 40]], dtype=dtype)
    path = scaled_path(saved(tmp_path, numbers), (-4, 4))
    assert path == "a.npy#[-4,4]"
    assert read_image(tmp_path, path)[:, :, 0].tolist() == [[0, 0, 128], [191, 255, 255]]
    with pytest.raises(BrokenImage, match=r"without a stated range; write `values: \[low, high\]`"):
        read_image(tmp_path, "a.npy")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros(4, np.uint8), "an array must be"),
        (np.zeros((2, 2, 2, 2), np.uint8), "an array must be"),
        (np.zeros((0, 3), np.uint8), "an array must be"),
        (np.array([[np.nan, 1.0]]), "must be finite"),
        (np.array([["a", "b"]]), "must be finite"),
    ],
)
def test_what_is_no_photo_says_so(tmp_path: Path, array: np.ndarray, says: str) -> None:
    with pytest.raises(BrokenImage, match=says):
        read_image(tmp_path, scaled_path(saved(tmp_path, array), None if array.dtype == np.uint8 else (0, 1)))


def test_a_damaged_or_pickled_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00junk")
    with pytest.raises(BrokenImage):
        read_image(tmp_path, "a.npy")
    np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(BrokenImage, match="allow_pickle=False"):
        read_image(tmp_path, "a.npy")


def test_values_without_arrays_or_upside_down_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,kind\na.jpg,x\nb.jpg,y\n")
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("x")
    yaml = "table: t.csv\ntasks: {kind: {column: kind}}\nsubmission: {answers: {kind: kind}}\nvalues: [0, 1]\n"
    with pytest.raises(UserError, match="values has no effect"):
        read(parse_competition(yaml, "x", where="x.yaml"), tmp_path)
    with pytest.raises(UserError, match="low under high"):
        parse_competition(yaml.replace("[0, 1]", "[1, 1]"), "x", where="x.yaml")


def test_pixel_columns_are_a_whole_square_in_their_order() -> None:
    assert pixel_columns(["label", *(f"pixel{k}" for k in reversed(range(16)))]) == list(reversed(range(1, 17)))
    assert pixel_columns(["label", *(f"pixel{k}" for k in range(15))]) == []
    assert pixel_columns(["label", *(f"pixel{k}" for k in range(17) if k != 3)]) == []
    assert pixel_columns(["label", "x1", "x2", "x3", "x4"]) == []


def test_a_table_of_pixels_that_are_none_is_broken_and_not_a_crash(tmp_path: Path) -> None:
    header = ",".join(f"p{k}" for k in range(16))
    for fields, says in ((["256", *["0"] * 15], "0 to 255"), (["x", *["0"] * 15], "damaged")):
        (tmp_path / "t.csv").write_text(f"{header}\n{','.join(fields)}\n")
        with pytest.raises(BrokenImage, match=says):
            read_image(tmp_path, "t.csv#0")


def test_the_limit_of_megapixels_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, np.zeros((1000, 2001), np.uint8))
    monkeypatch.setenv(MEGAPIXELS, "2")
    with pytest.raises(BrokenImage, match="more than 2 megapixels, the limit; make it smaller, or raise PODIUM_MAX_MEGAPIXELS"):
        read_image(tmp_path, path)
    monkeypatch.setenv(MEGAPIXELS, "3")
    assert read_image(tmp_path, path).shape == (1000, 2001, 3)
    monkeypatch.setenv(MEGAPIXELS, "many")
    with pytest.raises(UserError, match="whole number of megapixels, got 'many'"):
        read_image(tmp_path, path)
