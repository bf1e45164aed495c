"""Every photo decoded once per node: a manifest and a size S become a memory map `uint8 (N, S, S, 3)` that all trials share.

Two files, named by what went into them (decoder, size, and each photo's id, path, bytes and time of change):

    <fingerprint>-<size>.u8      the pixels, one row per manifest row, whatever its role; zeros for a broken photo
    <fingerprint>-<size>.json    ids, pixel hashes of the full photos, broken photos with their reasons, bits of 16-bit grey, checksum

The .json is written last: where it stands, the cache is whole. One process builds (`system.claims`), the others wait and attach.
To attach is to read the .json and map the .u8. The length is compared every time; the checksum when the .u8 was touched since it
was built, or when `verify()` is called. A cache that fails is built again, never used.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.images.decode import (
    CONTAINER_BITS,
    DECODER,
    BrokenImage,
    find_file,
    pixel_hash,
    read_image,
    read_measured,
    resize,
    split_member,
)
from competitions.manifest import Manifest
from system.claims import Claim, claim, gone, holder, wait_for
from system.disk import FullDiskError, writing
from system.errors import UserError
from system.files import file_hash, replace_bytes, sweep, sync_folder

LAYOUT = 1
PHOTOS_PER_TASK = 16  # photos per task: small enough for a smooth progress, large enough that tasks cost nothing

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImageCache:
    """N decoded photos of one size. Cheap to attach, so attach in every process instead of sending it.

    Attributes:
        path: The .json; the .u8 stands beside it.
        ids: The N photo ids in row order.
        images: `uint8 (N, S, S, 3)` RGB, a read-only memory map.
        broken: Id -> why the photo could not be decoded; its row is zero and must not be used.
        passing: The broken ids where the machine was at fault (permission, memory); tried again by `open_or_build`.
        hashes: N pixel hashes of the full decoded photos in row order, empty for broken ones.
        checksum: SHA-256 of the .u8.
        bits: How many bits of 16-bit grey values are used: as many as the brightest of these photos has, and all where none is 16-bit.
    """

    path: Path
    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    broken: dict[str, str]
    passing: tuple[str, ...]
    hashes: tuple[str, ...]
    checksum: str
    bits: int = CONTAINER_BITS

    @property
    def size(self) -> int:
        """The side S of a row in pixels."""
        return int(self.images.shape[1])

    def verify(self) -> bool:
        """Whether the .u8 on disk still has the checksum it was built with. Reads all of it."""
        return file_hash(self.path.with_suffix(".u8")) == self.checksum


def open_or_build(
    manifest: Manifest,
    root: Path,
    size: int,
    folder: Path,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> ImageCache:
    """The cache of all photos of `manifest` at `size`, built first where there is none.

    Args:
        manifest: N photos of any role, at least one.
        root: The folder its paths start from.
        size: Side S in pixels.
        folder: Where caches stand, on the node's own disk; made where it is missing.
        progress: Called as `progress(done, total)` from the calling thread while this process builds.
        workers: Decoding threads; None takes one per usable core. The bytes do not depend on it.

    Raises:
        FullDiskError: There is no room for it; PODIUM_CACHE names another disk.
        UserError: Not one photo can be decoded, or the folder cannot be written.
    """
    path = folder / f"{cache_name(manifest, root, size)}.json"
    while (cache := _attach_current(path, manifest, root)) is None:
        with _writing_to(folder, len(manifest) * size * size * 3):
            held = claim(_claim_of(path))
            if held is None:
                wait_for(_claim_of(path), path.exists)
                continue
            with held:
                if (cache := _attach_current(path, manifest, root)) is None:
                    _build(manifest, root, size, path, held, progress, workers)
                    cache = attach(path)
        if cache is None:
            raise UserError(f"the image cache just written to {folder} cannot be read back; set PODIUM_CACHE=/another/folder")
        break
    return cache


def attach(path: Path) -> ImageCache | None:
    """The cache whose .json is `path`, without looking at the photos it was made from; for trials that were told the path.

    Returns:
        None where it is missing, cut short or damaged: call `open_or_build`.
    """
    pixels = path.with_suffix(".u8")
    try:
        facts = json.loads(path.read_bytes())
        shape, status = tuple(facts["shape"]), pixels.stat()
        if facts["layout"] != LAYOUT or status.st_size != prod(shape) or shape[0] != len(facts["ids"]):
            return None
        images = np.memmap(pixels, dtype=np.uint8, mode="r", shape=shape)
        known = {name: tuple(facts[name]) for name in ("ids", "passing", "hashes")}
        bits = facts.get("bits", CONTAINER_BITS)
        cache = ImageCache(path=path, images=images, broken=facts["broken"], checksum=facts["checksum"], bits=bits, **known)
        if status.st_mtime_ns != facts["mtime_ns"] and not _verify_once(cache, facts["mtime_ns"]):
            return None
        return cache
    except (OSError, ValueError, KeyError, TypeError):
        return None


def cache_name(manifest: Manifest, root: Path, size: int) -> str:
    """`<fingerprint>-<size>`: changes with the decoder, the size, and any photo's id, path, bytes or time of change."""
    archives: dict[str, str] = {}
    top = str(root)
    lines = [f"podium image cache {LAYOUT} {DECODER} {size}"]
    for image_id, path in zip(manifest.image_ids, manifest.paths, strict=True):
        if "#" not in path:
            state = _state_of(top, path)
        else:
            name = split_member(path)[0]
            state = archives[name] = archives.get(name) or _state_of(top, name)
        lines.append(f"{image_id}\0{path}\0{state}")
    named = "\0\0".join(lines).encode(errors="surrogatepass")
    return f"{sha256(named).hexdigest()[:16]}-{size}"


def _state_of(top: str, name: str) -> str:
    try:  # os.stat of a text, not Path.stat: 1 us instead of 3 for each photo of each attach
        status = os.stat(f"{top}/{name}" if name.isascii() else find_file(Path(top), name))  # noqa: PTH116
        return f"{status.st_size}\0{status.st_mtime_ns}"
    except (OSError, ValueError):
        return "missing"


def _attach_current(path: Path, manifest: Manifest, root: Path) -> ImageCache | None:
    """As `attach`, but None as well when a photo that the machine could not read before can be read now."""
    cache = attach(path)
    if cache is None or not cache.passing:
        return cache
    again = set(cache.passing)
    places = (place for image_id, place in zip(manifest.image_ids, manifest.paths, strict=True) if image_id in again)
    return None if any(_is_readable(root, place) for place in places) else cache


def _is_readable(root: Path, path: str) -> bool:
    try:
        read_image(root, path)
    except BrokenImage:
        return False
    return True


def _verify_once(cache: ImageCache, mtime_ns: int) -> bool:
    """Check a .u8 whose time of change is not the recorded one (a copy, or damage); set the time back when it is whole."""
    if not cache.verify():
        return False
    with suppress(OSError):  # somebody else's folder: usable, but checked at every attach
        os.utime(cache.path.with_suffix(".u8"), ns=(mtime_ns, mtime_ns))
    return True


def _claim_of(path: Path) -> Path:
    return path.with_suffix(".claim")


def _build(
    manifest: Manifest, root: Path, size: int, path: Path, held: Claim, progress: Progress | None, workers: int | None
) -> None:
    _remove_leftovers(path.parent)
    path.unlink(missing_ok=True)
    part = path.with_name(f"{path.stem}.{held.holder.token}.part")
    try:
        shape = (len(manifest), size, size, 3)
        images = _allocated(part, shape)
        progress = progress or (lambda done, total: None)
        outcomes = _fill(images, manifest, root, range(len(manifest)), CONTAINER_BITS, workers, progress)
        _refuse_all_broken(manifest, root, outcomes)
        bits = max(outcome.bits for outcome in outcomes) or CONTAINER_BITS
        if bits < CONTAINER_BITS:  # known only now: radiographs of 12 bits would keep 16 levels of grey
            deep = [row for row, outcome in enumerate(outcomes) if outcome.bits]
            for row, outcome in zip(deep, _fill(images, manifest, root, deep, bits, workers, progress), strict=True):
                outcomes[row] = outcome
        images.flush()
        del images
        replace_bytes(path, _facts(manifest, shape, outcomes, {"bits": bits, **_settle(part, path.with_suffix(".u8"))}))
    except BaseException:
        part.unlink(missing_ok=True)
        if not path.exists():
            path.with_suffix(".u8").unlink(missing_ok=True)
        raise


def _remove_leftovers(folder: Path) -> None:
    # The half file of a killed builder: its claim is free, or belongs to another one by now.
    sweep(folder)
    for part in folder.glob("*.part"):
        name, token, _ = part.name.split(".", 2)
        owner = holder(folder / f"{name}.claim")
        if owner is None or owner.token != token or gone(owner):
            part.unlink(missing_ok=True)


def _allocated(part: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    # Blocks are taken now: a disk that fills up under a memory map kills the process (SIGBUS) instead of raising.
    with open(part, "xb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, prod(shape))
        else:
            file.truncate(prod(shape))
    return np.memmap(part, dtype=np.uint8, mode="r+", shape=shape)


@dataclass(frozen=True)
class _Outcome:
    hashed: str = ""
    reason: str = ""
    passing: bool = False
    bits: int = 0


def _fill(
    images: NDArray[np.uint8],
    manifest: Manifest,
    root: Path,
    rows: Sequence[int],
    bits: int,
    workers: int | None,
    progress: Progress,
) -> list[_Outcome]:
    """Decode photos into their rows of `images (N, S, S, 3) uint8`, with this many bits of 16-bit grey; one outcome per row asked for."""
    total, outcomes = len(rows), list[_Outcome]()

    def work(start: int) -> list[_Outcome]:
        return [_fill_row(images[row], root, manifest.paths[row], bits) for row in rows[start : start + PHOTOS_PER_TASK]]

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pool = ThreadPoolExecutor(workers or cores, thread_name_prefix="decode")
    try:
        for some in pool.map(work, range(0, total, PHOTOS_PER_TASK)):
            outcomes += some
            progress(len(outcomes), total)
    finally:
        pool.shutdown(cancel_futures=True)
    return outcomes


def _fill_row(row: NDArray[np.uint8], root: Path, path: str, bits: int) -> _Outcome:
    try:
        image, used = read_measured(root, path, bits)
    except BrokenImage as broken:
        return _Outcome(reason=broken.reason, passing=broken.passing)
    row[:] = resize(image, row.shape[0])
    return _Outcome(hashed=pixel_hash(image), bits=used)


def _refuse_all_broken(manifest: Manifest, root: Path, outcomes: list[_Outcome]) -> None:
    if any(outcome.hashed for outcome in outcomes):
        return
    some = [f"{path}: {outcome.reason}" for path, outcome in zip(manifest.paths[:5], outcomes[:5], strict=True)]
    raise UserError(f"not one of {len(manifest)} photos below {root} can be decoded; is PODIUM_DATA the right folder?", *some)


def _settle(part: Path, pixels: Path) -> dict[str, Any]:
    """Force `part` to the disk and give it its name; its checksum and time of change."""
    with open(part, "r+b") as file:
        os.fsync(file.fileno())
    checksum = file_hash(part)
    os.replace(part, pixels)
    sync_folder(pixels.parent)
    return {"checksum": checksum, "mtime_ns": pixels.stat().st_mtime_ns}


def _facts(manifest: Manifest, shape: tuple[int, ...], outcomes: list[_Outcome], settled: dict[str, Any]) -> bytes:
    named = list(zip(manifest.image_ids, outcomes, strict=True))
    facts = {
        "layout": LAYOUT,
        "decoder": DECODER,
        "shape": shape,
        "ids": manifest.image_ids,
        "hashes": [outcome.hashed for outcome in outcomes],
        "broken": {image_id: outcome.reason for image_id, outcome in named if outcome.reason},
        "passing": [image_id for image_id, outcome in named if outcome.passing],
        **settled,
    }
    return json.dumps(facts, separators=(",", ":")).encode()


@contextmanager
def _writing_to(folder: Path, needed: int) -> Iterator[None]:
    try:
        with writing(folder, needed):
            yield
    except FullDiskError:
        raise
    except OSError as error:
        raise UserError(
            f"the image cache cannot be written to {folder} ({error.strerror or error}); it needs {needed / 1e6:.1f} MB on the "
            "node's own disk: free some space there, or set PODIUM_CACHE=/another/folder"
        ) from error
