"""The one decoder: the bytes of a photo become `uint8 (H, W, 3)` RGB pixels, or a `BrokenImage` with a one-line reason.

The image cache is built with it and an exported bundle predicts with it, so both see the same pixels. What is decided here:
EXIF orientation is applied; 16-bit grey keeps the eight highest of the bits that are used (12 in most radiographs, so not the high byte);
transparency is laid over white; of an animation or a multi-page file the first picture counts; colour profiles are not applied;
a photo that is cut short is refused, never half grey. `DECODER` is raised by hand whenever any of this changes the pixels.
"""

import gzip
import io
import os
import re
import stat
import struct
import threading
import unicodedata
import warnings
import zlib
from functools import lru_cache
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from system.errors import UserError
from system.paths import setting

DECODER = 2
CONTAINER_BITS = 16
"""Bits of a grey value that is stored in two bytes; all of them are used unless a competition's brightest photo says otherwise."""
MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 1 << 29
MAX_MEMBER_BYTES = 1 << 34
# Named plug-ins only: Pillow knows some forty formats, and the rarely used ones are where its faults are found. Imported here
# and not by Pillow's first look at a file, which several threads take at once. Two-picture camera files (MPO) open as JPEG.
_PLUGINS = (
    JpegImagePlugin.JpegImageFile,
    MpoImagePlugin.MpoImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    TiffImagePlugin.TiffImageFile,
)
FORMATS = tuple(str(plugin.format) for plugin in _PLUGINS)
ENDINGS = frozenset((*(ending for ending, kind in Image.EXTENSION.items() if kind in FORMATS), ".heic", ".heif", ".avif"))
"""How photos' names end: what can be opened, and three kinds that cannot and are named as broken, with the way out."""
NUMBER_ENDINGS = frozenset((".npy", ".dcm", ".dicom"))
"""How names of arrays and of DICOM files end: photos where no image stands beside them, for people also keep features in `.npy` files."""
_OPENERS = tuple(kind for kind in FORMATS if kind != "MPO")
_OTHERS = (
    (4, b"ftyp", "it is a HEIC, AVIF or video file; convert it to JPEG or PNG"),
    (0, b"version https://git-lfs", "it is a Git LFS pointer; fetch the photos with git lfs pull"),
    (0, b"<", "it is a text such as HTML or SVG"),
)
MEGAPIXELS = "PODIUM_MAX_MEGAPIXELS"
"""The setting that raises the limit, for a machine with the memory: three bytes per pixel and thread."""
_MEMBER = re.compile(r"(?P<file>.+\.npz)#(?P<key>[^#]+)/(?P<index>[0-9]{1,12})", re.DOTALL)
_IDX = re.compile(r"(?P<file>.+idx[0-9]-ubyte(?:\.gz)?)#(?P<index>[0-9]{1,12})", re.DOTALL)
_ARRAY = re.compile(r"(?P<file>.+\.npy)#\[(?P<low>[-+.0-9e]+),(?P<high>[-+.0-9e]+)\]", re.DOTALL)
_PIXELS = re.compile(r"(?P<file>.+\.[ct]sv)#(?P<index>[0-9]{1,12})", re.DOTALL | re.IGNORECASE)
DICOM_AT = 128  # a preamble of that many bytes stands before the mark (DICOM PS3.10, 7.1)
_WHOLE = ""  # the key of an idx file, which holds one array
_ORIENTATION = 0x0112
_members = threading.Lock()


class BrokenImage(Exception):  # noqa: N818 - the state of a photo, listed with it
    """A photo that cannot be used.

    Attributes:
        reason: One line saying why.
        passing: The fault lies with the machine (no permission, no memory), not with the photo; trying later may help.
    """

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        self.reason = " ".join(reason.split())[:200]
        self.passing = passing
        super().__init__(self.reason)


def read_image(root: Path, path: str, bits: int | None = None) -> NDArray[np.uint8]:
    """The photo at a manifest's `path` below `root`, whole: `uint8 (H, W, 3)` RGB.

    Args:
        root: The competition's folder.
        path: Relative, with `/`.
        bits: How many bits of 16-bit grey values are used, one number for a whole competition; for `None` as this photo.

    Raises:
        BrokenImage: It is missing or cannot be decoded.
    """
    return read_measured(root, path, bits)[0]


def read_measured(root: Path, path: str, bits: int | None) -> tuple[NDArray[np.uint8], int]:
    """As `read_image`, and the bit depth that the photo itself needs where it is 16-bit grey; 0 for any other.

    Raises:
        BrokenImage: It is missing or cannot be decoded.
    """
    found = read_bytes_of(root, path)
    return _decoded(found, bits) if isinstance(found, bytes) else (from_array(found), 0)


def read_bytes_of(root: Path, path: str) -> bytes | NDArray[np.uint8]:
    """What stands at a manifest's `path`: a file's bytes, or for `images.npz#train/0` row 0 of the archive's array `train`.

    For `train-images-idx3-ubyte.gz#0` it is row 0 of the idx file, for `train.csv#0` that of a table with a column per pixel. An array
    `a.npy#[-4,4]` has its numbers scaled, -4 to black and 4 to white.

    Args:
        root: The competition's folder.
        path: Relative, with `/`.

    Returns:
        The bytes, or the row as `uint8 (H, W)` or `(H, W, 1 or 3)`. An archive's array is unpacked once per process.

    Raises:
        BrokenImage: It is missing, is no plain file, or cannot be read.
    """
    name, key, index = split_member(path)
    file = find_file(root, name)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BrokenImage("it is not a plain file")
        if name.endswith(".npy"):
            return _array(file.read_bytes(), key)
        if key is not None:
            return _row(file, status, key, index)
        if status.st_size > MAX_FILE_BYTES:
            raise BrokenImage(f"the file has {status.st_size >> 20} MiB, the limit is {MAX_FILE_BYTES >> 20}")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BrokenImage("the file is missing") from None
    except MemoryError as error:
        raise BrokenImage("there is not enough memory to unpack its archive", passing=True) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BrokenImage(f"the file cannot be read ({_first_line(error)})", passing=isinstance(error, OSError)) from error


def split_member(path: str) -> tuple[str, str | None, int]:
    """A manifest path as (file, key, index); the key is None for a photo that is a file of its own, empty for an idx file."""
    if "#" not in path:
        return path, None, 0
    if match := _MEMBER.fullmatch(path):
        return match["file"], match["key"], int(match["index"])
    if match := _ARRAY.fullmatch(path):
        return match["file"], f"{match['low']},{match['high']}", 0
    match = _IDX.fullmatch(path) or _PIXELS.fullmatch(path)
    return (match["file"], _WHOLE, int(match["index"])) if match else (path, None, 0)


def scaled_path(path: str, values: tuple[float, float] | None) -> str:
    """The manifest's path of a photo whose numbers are black and white at these values, where it is an array."""
    return f"{path}#[{values[0]:g},{values[1]:g}]" if values is not None and path.lower().endswith(".npy") else path


def open_idx(file: Path) -> IO[bytes]:
    """An idx file, unpacked while it is read where its name ends in .gz."""
    return cast(IO[bytes], gzip.open(file)) if file.name.endswith(".gz") else open(file, "rb")


def idx_header(opened: IO[bytes]) -> tuple[int, ...]:
    """The shape of the array of unsigned bytes that follows.

    Raises:
        ValueError: It is no idx file of unsigned bytes.
    """
    mark = opened.read(4)
    if len(mark) < 4 or mark[:3] != b"\0\0\x08" or not mark[3]:
        raise ValueError(
            f"an idx file of unsigned bytes begins with 00 00 08 and its number of axes, this one with {mark.hex(' ')}"
        )
    lengths = opened.read(4 * mark[3])
    if len(lengths) < 4 * mark[3]:
        raise ValueError("it is cut short in its header")
    return struct.unpack(f">{mark[3]}I", lengths)


def find_file(root: Path, name: str) -> Path:
    """`root / name`, or the same name in the other Unicode form (NFC, NFD) where only that one is there."""
    file = root / name
    if name.isascii() or file.exists():
        return file
    others = (root / unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return next((other for other in others if other.exists()), file)


def idx_array(file: Path) -> NDArray[np.uint8] | str:
    """The array of an idx file, or why there is none: damaged, cut short, too large.

    Raises:
        OSError: The machine cannot read it.
    """
    try:
        with open_idx(file) as opened:
            shape = idx_header(opened)
            size = prod(shape)
            if size > MAX_MEMBER_BYTES:
                return f"it unpacks to {size >> 20} MiB, the limit is {MAX_MEMBER_BYTES >> 20}"
            data = opened.read(size + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        return f"it is no readable idx file ({_first_line(error)})"
    if len(data) != size:
        return f"it is damaged: its header promises {size} bytes, it holds {'more' if len(data) > size else len(data)}"
    return np.frombuffer(data, np.uint8).reshape(shape)


def decode(data: bytes, bits: int | None = None) -> NDArray[np.uint8]:
    """The pixels of an encoded photo.

    Args:
        data: A whole file of one of `FORMATS`.
        bits: As in `read_image`.

    Returns:
        `uint8 (H, W, 3)` RGB, upright, contiguous; it may be read-only.

    Raises:
        BrokenImage: For any fault of the data whatever; nothing else is raised.
    """
    return _decoded(data, bits)[0]


def _decoded(data: bytes, bits: int | None) -> tuple[NDArray[np.uint8], int]:
    _same_rules_everywhere()
    try:
        return _decode(data, bits)
    except (BrokenImage, UserError):
        raise
    except Image.DecompressionBombError as error:
        raise BrokenImage(_too_large()) from error
    except UnidentifiedImageError as error:
        raise BrokenImage(_not_an_image(data)) from error
    except MemoryError as error:
        raise BrokenImage("there is not enough memory to decode it", passing=True) from error
    except Exception as error:  # Pillow's readers raise nearly every built-in exception on damaged data
        raise BrokenImage(f"it is damaged or cut short ({_first_line(error)})") from error


def from_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels that were never encoded, as `decode` gives them.

    Args:
        array: `uint8 (H, W)` or `(H, W, 1)` grey, or `(H, W, 3)` RGB.

    Returns:
        `uint8 (H, W, 3)` RGB, contiguous.

    Raises:
        BrokenImage: Another type or shape, no pixels, or too many.
    """
    grey = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if array.dtype != np.uint8 or not (grey or (array.ndim == 3 and array.shape[2] == 3)):
        raise BrokenImage(f"a photo in an archive must be uint8 (H, W), (H, W, 1) or (H, W, 3), got {array.dtype} {array.shape}")
    if array.size == 0:
        raise BrokenImage("it has no pixels")
    if array.shape[0] * array.shape[1] > _most_pixels():
        raise BrokenImage(_too_large())
    if grey:
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The whole photo as a square; its aspect ratio is not kept, so that nothing at the borders is lost.

    Pillow's bilinear filter widens with the reduction, so that every source pixel counts (no aliasing), and computes in integers,
    so that every machine gets the same bytes.

    Args:
        image: `uint8 (H, W, 3)` RGB.
        size: Side S in pixels.

    Returns:
        `uint8 (S, S, 3)` RGB.
    """
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def pixel_hash(image: NDArray[np.uint8]) -> str:
    """A name for the pixels of `image (H, W, 3) uint8`: 32 hex digits; equal for equal pixels, however they were encoded."""
    digest = blake2b(np.array(image.shape, dtype="<i8").tobytes(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _same_rules_everywhere() -> None:
    # Process-wide switches that other libraries may have set, and set again: a photo's fate must not depend on them. Warnings are
    # about damaged metadata; with `-W error` they would refuse good pixels. `catch_warnings` is not safe among threads.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = None  # our own limit is asked before anything is decoded
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _most_pixels() -> int:
    given = setting(MEGAPIXELS)
    if given is None:
        return MAX_PIXELS
    if not re.fullmatch("[0-9]{1,7}", given) or not int(given):
        raise UserError(f"{MEGAPIXELS} must be a whole number of megapixels, got {given!r}; mend it in the environment or .env")
    return int(given) * 1_000_000


def _too_large() -> str:
    limit = _most_pixels() // 1_000_000
    return f"it has more than {limit} megapixels, the limit; make it smaller, or raise {MEGAPIXELS} where there is memory for it"


def _array(data: bytes, key: str | None) -> NDArray[np.uint8]:
    from competitions.images.arrays import array_pixels  # here, so that a bundle opens without it

    low, _, high = (key or "").partition(",")
    try:
        return array_pixels(data, (float(low), float(high)) if key else None)
    except (ValueError, EOFError, OSError) as error:
        raise BrokenImage(str(error)) from error


def _decode(data: bytes, bits: int | None) -> tuple[NDArray[np.uint8], int]:
    if not data:
        raise BrokenImage("the file is empty")
    if data[DICOM_AT : DICOM_AT + 4] == b"DICM":
        from competitions.images.dicom import WITHOUT_PYDICOM, dicom_pixels  # here, so that a bundle opens without it

        try:
            return from_array(dicom_pixels(data)), 0
        except ImportError as error:
            raise BrokenImage(WITHOUT_PYDICOM) from error
    with Image.open(io.BytesIO(data), formats=_OPENERS) as image:
        width, height = image.size
        if width * height > _most_pixels():
            raise BrokenImage(_too_large())
        if width * height == 0:
            raise BrokenImage("it has no pixels")
        image.load()
        used = _bits_used(image)
        return np.ascontiguousarray(_upright(_rgb(image, bits or used), _orientation(image))), used


def _bits_used(image: Image.Image) -> int:
    """The bit depth of 16-bit grey: the least of 8, 10, 12, 14 and 16 that holds its brightest value; 0 for any other photo."""
    if not image.mode.startswith("I;16"):
        return 0
    bits = int(np.asarray(image).max()).bit_length()
    return max(8, bits + bits % 2)  # devices have even depths, and a photo to come may be a little brighter


def _rgb(image: Image.Image, bits: int) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):  # a photo brighter than all that its scale was made from is white there
        return from_array(np.minimum(np.asarray(image) >> (bits - 8), 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise BrokenImage("its pixels are 32-bit numbers without a stated range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    # Asked after load(): Pillow turns TIFF files by itself and then removes the tag. Damaged EXIF does not make pixels wrong.
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # as many kinds as in decode()
        return 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    # EXIF 2.32, tag 0x0112: 1 and 3 are upright, 6 and 8 lie on a side; 2, 4, 5, 7 are their mirror images.
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _row(file: Path, status: os.stat_result, key: str, index: int) -> NDArray[np.uint8]:
    with _members:  # otherwise every thread unpacks the same archive at once
        array = _member(str(file), status.st_size, status.st_mtime_ns, key)
    if isinstance(array, str):
        raise BrokenImage(array)
    if array.ndim < 3 or index >= len(array):
        raise BrokenImage(f"the archive's {key!r} has shape {array.shape}; there is no photo {index}")
    row: NDArray[np.uint8] = array[index]
    return row


@lru_cache(maxsize=4)
def _member(file: str, size: int, mtime_ns: int, key: str) -> NDArray[np.uint8] | str:
    # A fault is returned, so that it is remembered too: 60,000 rows of a damaged archive must not unpack it 60,000 times.
    try:
        if key == _WHOLE and file.lower().endswith((".csv", ".tsv")):
            from competitions.images.arrays import pixel_table  # here, so that a bundle opens without it

            return pixel_table(Path(file))
        if key == _WHOLE:
            return idx_array(Path(file))
        with np.load(file, allow_pickle=False) as archive:
            if key not in archive.files:
                return f"the archive has no array {key!r}; it has {', '.join(archive.files[:10])}"
            unpacked = sum(info.file_size for info in archive.zip.infolist() if info.filename in (key, f"{key}.npy"))
            if unpacked > MAX_MEMBER_BYTES:
                return f"the archive's {key!r} unpacks to {unpacked >> 20} MiB, the limit is {MAX_MEMBER_BYTES >> 20}"
            array: NDArray[np.uint8] = archive[key]
            return array
    except (OSError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and numpy each raise their own on damaged data
        return f"the archive or table is damaged ({_first_line(error)})"


def _not_an_image(data: bytes) -> str:
    known = (what for start, mark, what in _OTHERS if data[start : start + len(mark)] == mark)
    return next(known, f"it is not a readable image of the formats {', '.join(FORMATS)}")


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next(iter(str(error).splitlines()), "") or type(error).__name__
