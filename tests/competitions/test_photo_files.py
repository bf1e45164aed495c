"""Which files are photos: whatever the decoder can open, the same files for training and for a bundle."""

import io
from pathlib import Path

import pytest
from PIL import Image

from bundle.photos import find_photos
from competitions.images.decode import ENDINGS, FORMATS, decode
from competitions.images.photo_files import is_photo, list_photos
from system.errors import UserError


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_that_is_decoded_has_an_ending_that_is_listed(kind: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, kind)
    assert decode(file.getvalue()).shape == (8, 8, 3)
    endings = [ending for ending, name in Image.EXTENSION.items() if name == kind]
    assert endings
    assert all(is_photo(f"a{ending.upper()}") for ending in endings)


def test_photos_that_were_learned_from_by_their_ending_always_are() -> None:
    before = {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
    }
    assert before <= ENDINGS


def test_a_bundle_is_asked_about_the_photos_that_training_would_see(tmp_path: Path) -> None:
    for name in ("b/1.jfif", "a.png", "5.HEIC", "._a.png", ".cache/a.png", "notes.txt", "table"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path.parent / "more").mkdir()
    (tmp_path.parent / "more/6.png").write_bytes(b"x")
    (tmp_path / "linked").symlink_to(tmp_path.parent / "more")
    assert find_photos(tmp_path) == list_photos(tmp_path)
    assert find_photos(tmp_path).photos == ("5.HEIC", "a.png", "b/1.jfif", "linked/6.png")
    assert find_photos(tmp_path).passed_over == ("notes.txt", "table")


def test_a_folder_without_a_photo_says_what_is_there_instead(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"x")
    with pytest.raises(UserError, match=r"PHOTOS must hold image files .*\n1 files do not end like a photo.*\.ppm \(1\)"):
        find_photos(tmp_path)
