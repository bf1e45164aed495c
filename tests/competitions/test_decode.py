"""Real files of every kind go in; the right pixels or one line come out."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from competitions.images.decode import (
    BrokenImage,
    decode,
    from_array,
    pixel_hash,
    read_bytes_of,
    read_image,
    read_measured,
    resize,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A smooth picture (H, W, 3) uint8 without symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (height + width)], axis=2).astype(np.uint8)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    middle = b"".join(chunk(*one) for one in extra)
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def outcome(data: bytes) -> NDArray[np.uint8] | str:
    """The pixels, or the reason why there are none; any other exception goes through."""
    try:
        return decode(data)
    except BrokenImage as broken:
        return broken.reason


WHOLE = {
    "jpeg": encoded(Image.fromarray(photo()), "JPEG", quality=95),
    "progressive": encoded(Image.fromarray(photo()), "JPEG", progressive=True),
    "png": encoded(Image.fromarray(photo()), "PNG"),
    "webp": encoded(Image.fromarray(photo()), "WEBP"),
    "gif": encoded(Image.fromarray(photo()), "GIF"),
    "tiff": encoded(Image.fromarray(photo()), "TIFF", compression="tiff_lzw"),
    "bmp": encoded(Image.fromarray(photo()), "BMP"),
}


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_the_pixels_that_were_saved(kind: str) -> None:
    pixels = decode(encoded(Image.fromarray(photo()), kind))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, photo())


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 98, "subsampling": 0}), ("WEBP", {"lossless": True})])
def test_photo_formats_give_nearly_the_pixels_that_were_saved(kind: str, options: dict[str, object]) -> None:
    pixels = decode(encoded(Image.fromarray(photo()), kind, **options))
    assert np.abs(pixels.astype(int) - photo()).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(photo()), kind, exif=exif)
    stored = Image.open(io.BytesIO(data))
    want = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    pixels = decode(data)
    assert pixels.shape == ((64, 48, 3) if orientation > 4 else (48, 64, 3))
    np.testing.assert_array_equal(pixels, want)


def test_a_jpeg_on_its_side_stands_up() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = np.zeros((32, 64, 3), np.uint8)
    sideways[:, :32] = RED  # the stored left is the top of the photo
    pixels = decode(encoded(Image.fromarray(sideways), "JPEG", exif=exif, quality=95))
    assert pixels.shape == (64, 32, 3)
    assert pixels[8, 16, 0] > 240
    assert pixels[56, 16, 0] < 15


def test_damaged_exif_does_not_make_the_pixels_broken() -> None:
    data = encoded(Image.fromarray(photo()), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff junk")
    assert decode(data).shape == (48, 64, 3)


def test_mid_grey_of_16_bits_stays_mid_grey() -> None:
    grey = np.full((8, 8), 32768, np.uint16)
    assert np.unique(decode(encoded(Image.fromarray(grey), "PNG"))).tolist() == [128]
    assert np.unique(decode(encoded(Image.fromarray(grey), "TIFF"))).tolist() == [128]


@pytest.mark.parametrize(("used", "depth"), [(1, 8), (8, 8), (9, 10), (10, 10), (11, 12), (12, 12), (13, 14), (15, 16), (16, 16)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_bits_that_16_bit_grey_uses_become_256_levels(used: int, depth: int, kind: str, tmp_path: Path) -> None:
    values = np.linspace(0, 2**used - 1, 64 * 64).astype(np.uint16).reshape(64, 64)
    (tmp_path / "a").write_bytes(encoded(Image.fromarray(values), kind))
    pixels, bits = read_measured(tmp_path, "a", None)
    assert bits == depth
    np.testing.assert_array_equal(pixels[:, :, 0], values >> (depth - 8))
    np.testing.assert_array_equal(
        read_image(tmp_path, "a", 16)[:, :, 0], values >> 8
    )  # as before, where the competition needs all
    np.testing.assert_array_equal(read_image(tmp_path, "a", 10)[:, :, 0], np.minimum(values >> 2, 255))


def test_bits_mean_nothing_to_photos_of_eight_bits(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(photo()), "PNG"))
    pixels, bits = read_measured(tmp_path, "a.png", 12)
    assert bits == 0
    np.testing.assert_array_equal(pixels, photo())


def test_16_bits_give_the_same_pixels_as_grey_and_as_colour() -> None:
    values = np.linspace(0, 65535, 64).astype(">u2").reshape(8, 8)
    grey = b"".join(b"\0" + row.tobytes() for row in values)
    colour = b"".join(b"\0" + np.repeat(row, 3).tobytes() for row in values)
    as_grey, as_colour = decode(png(8, 8, 16, 0, grey)), decode(png(8, 8, 16, 2, colour))
    np.testing.assert_array_equal(as_grey, as_colour)
    assert (as_grey.min(), as_grey.max()) == (0, 255)


def test_cmyk_jpeg_keeps_its_colours() -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(decode(encoded(inks, "JPEG", quality=95))[8, 8].astype(int) - RED).max() < 12


def test_a_transparent_palette_entry_shows_white() -> None:
    indexed = Image.new("P", (4, 2), 0)
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    indexed.paste(1, (2, 0, 4, 2))
    for data in (encoded(indexed, "PNG", transparency=b"\x00\xff"), encoded(indexed, "PNG", transparency=0)):
        pixels = decode(data)
        assert tuple(pixels[0, 0]) == WHITE
        assert tuple(pixels[0, 3]) == BLUE
    assert tuple(decode(encoded(indexed, "PNG"))[0, 0]) == RED


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(mode: str) -> None:
    half = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 128))
    half.putpixel((2, 0), (0, 0, 0, 0))
    assert decode(encoded(half.convert(mode), "PNG"))[0, :, 0].tolist() == [0, 127, 255]


@pytest.mark.parametrize(("depth", "colour", "rows"), [(8, 0, b"\0\x07\x08"), (8, 2, b"\0\7\7\7\x08\x08\x08")])
def test_a_colour_named_transparent_shows_white(depth: int, colour: int, rows: bytes) -> None:
    named = struct.pack(">H", 7) * (1 if colour == 0 else 3)
    assert decode(png(2, 1, depth, colour, rows, (b"tRNS", named)))[0, :, 0].tolist() == [255, 8]


def test_one_bit_is_black_and_white() -> None:
    bits = Image.fromarray(np.array([[True, False]]))
    assert bits.mode == "1"
    assert decode(encoded(bits, "PNG")).tolist() == [[[255] * 3, [0] * 3]]
    assert decode(encoded(bits, "TIFF")).tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_counts(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    pixels = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(pixels[8, 8].astype(int) - RED).max() < 8


def test_a_camera_file_with_two_pictures_shows_the_first() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN)]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert np.abs(decode(data)[8, 8].astype(int) - RED).max() < 8


def test_32_bit_pixels_are_refused_instead_of_guessed() -> None:
    for values in (np.ones((4, 4), np.float32), np.ones((4, 4), np.int32)):
        with pytest.raises(BrokenImage, match="32-bit"):
            decode(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_half_a_file_is_refused(kind: str) -> None:
    data = WHOLE[kind]
    with pytest.raises(BrokenImage) as caught:
        decode(data[: len(data) // 2])
    assert "\n" not in caught.value.reason
    assert caught.value.reason


def test_half_a_file_is_refused_even_where_another_library_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(BrokenImage, match="cut short"):
        decode(WHOLE["jpeg"][: len(WHOLE["jpeg"]) // 2])


@pytest.mark.parametrize("side", [8_001, 12_000, 30_000, 2**31 - 1])
def test_a_small_file_that_asks_for_huge_pixels_is_refused_before_decoding(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(side, side, 8, 2, b"\0")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(BrokenImage, match="64 megapixels"):
        decode(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not a photo at all", "not a readable image"),
        (b"<html><body>404</body></html>", "HTML"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
    ],
)
def test_what_is_no_photo_says_so_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(BrokenImage, match=reason) as caught:
        decode(data)
    assert len(str(caught.value).splitlines()) == 1
    assert "object at 0x" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=400), kind=st.sampled_from(sorted(WHOLE)), kept=st.integers(0, 64))
def test_random_bytes_never_raise_anything_else(data: bytes, kind: str, kept: int) -> None:
    found = outcome(WHOLE[kind][:kept] + data)
    assert found if isinstance(found, str) else found.dtype == np.uint8


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(WHOLE)), share=st.floats(0, 1))
def test_a_file_cut_anywhere_is_refused_or_complete(kind: str, share: float) -> None:
    data = WHOLE[kind]
    found = outcome(data[: int(share * len(data))])
    if not isinstance(found, str):
        np.testing.assert_array_equal(found, decode(data))


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(WHOLE)), place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_flipped_byte_never_raises_anything_else(kind: str, place: float, byte: int) -> None:
    data = bytearray(WHOLE[kind])
    data[int(place * len(data))] = byte
    found = outcome(bytes(data))
    assert found if isinstance(found, str) else found.ndim == 3


def test_arrays_become_what_photos_become() -> None:
    grey = photo()[:, :, 0]
    want = decode(encoded(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(from_array(grey), want)
    np.testing.assert_array_equal(from_array(grey[:, :, None]), want)
    np.testing.assert_array_equal(from_array(photo()), photo())


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)])
def test_other_arrays_are_refused(array: NDArray[np.uint8]) -> None:
    with pytest.raises(BrokenImage):
        from_array(array)


def test_resize_reduces_without_aliasing() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, 32)
    assert small.shape == (32, 32, 3)
    assert small.dtype == np.uint8
    assert small.min() > 120
    assert small.max() < 136
    assert resize(photo(), 96).shape == (96, 96, 3)


def test_resize_to_its_own_size_changes_nothing() -> None:
    np.testing.assert_array_equal(resize(photo(32, 32), 32), photo(32, 32))


def test_the_pixel_hash_knows_pixels_and_shape_but_not_the_file() -> None:
    assert pixel_hash(decode(WHOLE["png"])) == pixel_hash(decode(WHOLE["bmp"]))
    assert len(pixel_hash(photo())) == 32
    assert pixel_hash(photo()) != pixel_hash(photo()[::-1])
    assert pixel_hash(np.zeros((2, 8, 3), np.uint8)) != pixel_hash(np.zeros((4, 4, 3), np.uint8))


def test_a_member_of_an_archive_is_read_and_the_archive_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    np.savez_compressed(tmp_path / "images.npz", train=array)
    opened: list[str] = []
    load = np.load

    def counted(file: str, *, allow_pickle: bool) -> object:
        opened.append(file)
        return load(file, allow_pickle=allow_pickle)

    monkeypatch.setattr(np, "load", counted)
    for row in range(3):
        np.testing.assert_array_equal(read_bytes_of(tmp_path, f"images.npz#train/{row}"), array[row])
    np.testing.assert_array_equal(read_image(tmp_path, "images.npz#train/1"), from_array(array[1]))
    assert len(opened) == 1
    np.savez_compressed(tmp_path / "images.npz", train=array[:, ::-1])
    np.testing.assert_array_equal(read_bytes_of(tmp_path, "images.npz#train/0"), array[0, ::-1])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("images.npz#train/3", "no photo 3"),
        ("images.npz#other/0", "no array 'other'"),
        ("images.npz#things/0", "damaged"),
        ("cut.npz#train/0", "damaged"),
        ("gone.npz#train/0", "missing"),
        ("gone.jpg", "missing"),
        ("gone.jpg/below.jpg", "missing"),
        (".", "not a plain file"),
        ("a\0b", "cannot be read"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, path: str, reason: str) -> None:
    things = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "images.npz", train=np.zeros((3, 4, 4), np.uint8), things=things)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "images.npz").read_bytes()[:100])
    with pytest.raises(BrokenImage, match=reason):
        read_image(tmp_path, path)


def test_a_name_in_the_other_unicode_form_is_found(tmp_path: Path) -> None:
    (tmp_path / "\u1112\u1161\u11ab.png").write_bytes(WHOLE["png"])  # decomposed, as macOS writes it
    np.testing.assert_array_equal(read_image(tmp_path, "\ud55c.png"), photo())


def test_a_hash_sign_in_a_file_name_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "face#1.png").write_bytes(WHOLE["png"])
    np.testing.assert_array_equal(read_image(tmp_path, "face#1.png"), photo())
