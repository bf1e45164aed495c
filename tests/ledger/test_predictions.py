"""Cached probabilities come back with their ids, and never answer for other photos than those they were computed from."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ledger.predictions import Predictions, npy_bytes, predictions_of

PHOTOS = (("a", "1f"), ("흰 옷/001.png", "2f"), ("broken", ""))
HEADS, VIEWS = ("age", "mask"), ("identity", "hflip")


def probs_of(n: int, seed: int = 0, c: int = 3) -> NDArray[np.float16]:
    return np.random.default_rng(seed).dirichlet(np.ones(c), n).astype(np.float16)


@pytest.fixture
def kept(tmp_path: Path) -> Predictions:
    kept = predictions_of(tmp_path / "trials" / "t0" / "predictions", "abcdef" * 10)
    for number, (head, view) in enumerate((head, view) for head in HEADS for view in VIEWS):
        kept.write("test", head, view, PHOTOS, probs_of(3, number))
    kept.write("validation", "age", "identity", PHOTOS[:2], probs_of(2))
    return kept


def test_what_was_written_is_read_with_its_ids_in_order(kept: Predictions) -> None:
    ids, probs = kept.read("test", "mask", "identity")
    assert ids == kept.ids("test") == ("a", "흰 옷/001.png", "broken")
    np.testing.assert_array_equal(probs, probs_of(3, 2))
    assert probs.dtype == np.float16
    assert kept.folder.name == "abcdef" * 2 + "abcd", "keyed by the weights"
    kept.write("validation", "age", "hflip", PHOTOS[:2], probs_of(2).astype(np.float64))
    np.testing.assert_array_equal(kept.read("validation", "age", "hflip")[1], probs_of(2))


def test_only_what_is_not_there_for_every_head_is_missing(kept: Predictions) -> None:
    assert kept.missing("test", HEADS, [*VIEWS, "zoom_in"], PHOTOS) == ["zoom_in"]
    assert kept.missing("validation", ["age"], VIEWS, PHOTOS[:2]) == ["hflip"]
    assert kept.missing("validation", HEADS, VIEWS, PHOTOS[:2]) == list(VIEWS)
    assert Predictions(kept.folder / "none").missing("test", HEADS, VIEWS, PHOTOS) == list(VIEWS)
    assert Predictions(kept.folder / "none").ids("test") == ()


@pytest.mark.parametrize(
    "photos",
    [
        (("a", "1f"), ("흰 옷/001.png", "changed pixels"), ("broken", "")),
        (("a", "1f"), ("another id", "2f"), ("broken", "")),
        (PHOTOS[1], PHOTOS[0], PHOTOS[2]),
        PHOTOS[:2],
        (*PHOTOS, ("new", "9f")),
    ],
    ids=["pixels", "id", "order", "fewer", "more"],
)
def test_arrays_of_other_photos_are_missing_and_then_dropped(kept: Predictions, photos: tuple[tuple[str, str], ...]) -> None:
    assert kept.missing("test", HEADS, VIEWS, photos) == list(VIEWS)
    kept.write("test", "age", "identity", photos, probs_of(len(photos)))
    assert kept.missing("test", ["age"], VIEWS, photos) == ["hflip"]
    assert kept.missing("test", HEADS, VIEWS, PHOTOS) == list(VIEWS), "stale arrays must not come back"
    assert [path.name for path in sorted(kept.folder.glob("test.*.npy"))] == ["test.age.identity.npy"]
    assert kept.read("test", "age", "identity")[0] == tuple(image_id for image_id, _ in photos)
    assert kept.missing("validation", ["age"], ["identity"], PHOTOS[:2]) == [], "the other part stays"


def test_rows_must_be_as_many_as_photos(kept: Predictions) -> None:
    with pytest.raises(ValueError, match="test has 3 photos and 2 rows"):
        kept.write("test", "age", "identity", PHOTOS, probs_of(2))


def test_a_damaged_array_is_named(kept: Predictions) -> None:
    path = kept.folder / "test.age.hflip.npy"
    whole = path.read_bytes()
    fewer, flat = npy_bytes(probs_of(2)), npy_bytes(np.zeros(3, np.float16))
    wrong = [whole[:length] for length in (0, 1, 8, 60, len(whole) - 1)]
    wrong += [b"\0" * len(whole), b"PK\3\4" + whole, b"\x80\x04N.", fewer, flat, npy_bytes(np.zeros((3, 3)))]
    for content in wrong:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"test\.age\.hflip\.npy .*delete it and export again"):
            kept.read("test", "age", "hflip")


@given(st.integers(0, 127), st.integers(0, 255))
def test_a_flipped_byte_in_the_header_is_a_value_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    kept = Predictions(tmp_path_factory.mktemp("kept") / "trials/t0/predictions/flipped")
    kept.write("test", "age", "identity", [(name, "") for name in "abc"], probs_of(3))
    content = bytearray(npy_bytes(probs_of(3)))
    content[place] = byte
    (kept.folder / "test.age.identity.npy").write_bytes(content)
    with suppress(ValueError):
        assert kept.read("test", "age", "identity")[1].shape[0] == 3


def test_the_same_array_gives_the_same_bytes() -> None:
    probs = probs_of(4)
    assert npy_bytes(probs) == npy_bytes(np.asfortranarray(probs).copy(order="C")) == npy_bytes(probs.copy())


def test_every_changed_bit_of_an_array_is_seen_and_the_array_is_missing_then(kept: Predictions) -> None:
    path = kept.folder / "test.age.hflip.npy"
    whole = path.read_bytes()
    np.testing.assert_array_equal(np.load(path), probs_of(3, 1))  # its seal stands where numpy does not look
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="export again"):
            kept.read("test", "age", "hflip")
    assert kept.missing("test", ["age"], VIEWS, PHOTOS) == ["hflip"]


def test_a_damaged_array_goes_to_quarantine_when_it_is_computed_again(
    kept: Predictions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = kept.folder / "test.age.hflip.npy"
    path.write_bytes(path.read_bytes()[:-60])
    damaged = path.read_bytes()
    kept.write("test", "age", "hflip", PHOTOS, probs_of(3, 1))
    assert kept.missing("test", ["age"], VIEWS, PHOTOS) == []
    (moved,) = (tmp_path / "quarantine").rglob("test.age.hflip.npy.*")
    assert moved.read_bytes() == damaged
    assert "test.age.hflip.npy" in caplog.text
    assert "computed again" in caplog.text


def test_a_damaged_list_of_photos_is_written_again_and_its_arrays_stay(kept: Predictions, tmp_path: Path) -> None:
    listing = kept.folder / "test.photos.tsv"
    listing.write_bytes(listing.read_bytes().replace(b"broken", b"croken"))
    with pytest.raises(ValueError, match=r"test\.photos\.tsv is not the list"):
        kept.read("test", "age", "identity")
    assert kept.missing("test", HEADS, VIEWS, PHOTOS) == list(VIEWS)
    kept.write("test", "age", "identity", PHOTOS, probs_of(3))
    assert kept.missing("test", HEADS, VIEWS, PHOTOS) == []
    assert [path.name for path in (tmp_path / "quarantine").rglob("*.tsv.*")]


def test_an_array_of_before_is_believed(kept: Predictions) -> None:
    (kept.folder / "test.age.hflip.npy").write_bytes(npy_bytes(probs_of(3, 7)))
    np.testing.assert_array_equal(kept.read("test", "age", "hflip")[1], probs_of(3, 7))
