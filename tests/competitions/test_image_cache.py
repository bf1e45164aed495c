"""A folder of photos becomes one file, once, whole, whoever asks and whatever is killed."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competitions.images import image_cache as module
from competitions.images.decode import pixel_hash, read_image, resize
from competitions.images.image_cache import ImageCache, attach, cache_name, open_or_build
from competitions.manifest import Manifest
from system.errors import UserError

ROOT = Path(__file__).parents[2]
N = 40
BUILDER = """
import sys, time
from pathlib import Path
from competitions.images.image_cache import open_or_build
from competitions.manifest import Manifest
root, folder, log, pause = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
names = tuple(sorted(p.name for p in root.iterdir()))
def progress(done, total):
    with open(log, "a") as file:
        file.write(f"{done}\\n")
    time.sleep(pause)
cache = open_or_build(Manifest(names, names, names, ("train",) * len(names), {}), root, 24, folder, progress=progress)
print(cache.checksum, len(cache.ids), int(cache.images.sum()))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    chance = np.random.default_rng(0)
    for number in range(N):
        pixels = chance.integers(0, 256, (30 + number, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png", compress_level=1)
    return folder


def manifest_of(root: Path) -> Manifest:
    names = tuple(sorted(path.name for path in root.iterdir()))
    return Manifest(names, names, names, ("train",) * len(names), {})


def build(root: Path, folder: Path, size: int = 24) -> tuple[ImageCache, list[int]]:
    """The cache, and what `progress` was told: nothing where it was only attached."""
    told: list[int] = []
    return open_or_build(manifest_of(root), root, size, folder, progress=lambda done, total: told.append(done)), told


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def start(root: Path, folder: Path, log: Path, pause: float = 0) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", BUILDER, str(root), str(folder), str(log), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_every_row_is_its_photo_decoded_and_resized(root: Path, tmp_path: Path) -> None:
    cache, told = build(root, tmp_path / "cache")
    assert cache.images.shape == (N, 24, 24, 3)
    assert cache.images.dtype == np.uint8
    assert not cache.images.flags.writeable
    assert (cache.size, cache.bits) == (24, 16)
    assert cache.broken == {}
    assert told[-1] == N
    ids = ("017.png", "003.png")
    for image_id in ids:
        row = cache.ids.index(image_id)
        image = read_image(root, image_id)
        np.testing.assert_array_equal(cache.images[row], resize(image, 24))
        assert cache.hashes[row] == pixel_hash(image)
    assert cache.verify()
    assert names(tmp_path / "cache") == [".json", ".u8"]


def test_all_photos_of_a_competition_have_the_scale_of_the_brightest(root: Path, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    for name, brightest in (("a.png", 4000), ("b.png", 900), ("c.tif", 200)):
        Image.fromarray(chance.integers(0, brightest, (24, 24)).astype(np.uint16)).save(root / name)
    cache, told = build(root, tmp_path / "cache")
    assert (cache.bits, told[-1]) == (12, 3)
    for row, name in enumerate(cache.ids):
        image = read_image(root, name, 12)
        np.testing.assert_array_equal(cache.images[row], resize(image, 24))
        assert cache.hashes[row] == pixel_hash(image)
    assert [int(cache.images[cache.ids.index(name)].max()) for name in ("a.png", "b.png", "c.tif")] == [249, 56, 12]
    attached, nothing = build(root, tmp_path / "cache")
    assert (attached.bits, nothing) == (12, [])
    assert build(root, tmp_path / "cache", 16)[0].hashes == cache.hashes
    Image.fromarray(np.full((24, 24), 40_000, np.uint16)).save(root / "d.png")
    whole, _ = build(root, tmp_path / "cache")
    assert (whole.bits, int(whole.images[whole.ids.index("a.png")].max())) == (16, 15)


def test_the_facts_hold_no_absolute_path(root: Path, tmp_path: Path) -> None:
    cache, _ = build(root, tmp_path / "cache")
    assert str(tmp_path) not in cache.path.read_text()


def test_broken_photos_are_named_with_their_reason(root: Path, tmp_path: Path) -> None:
    whole = (root / "005.png").read_bytes()
    (root / "005.png").write_bytes(whole[: len(whole) // 2])
    (root / "006.png").write_bytes(b"")
    manifest = manifest_of(root)
    (root / "007.png").unlink()
    cache = open_or_build(manifest, root, 24, tmp_path / "cache")
    assert set(cache.broken) == {"005.png", "006.png", "007.png"}
    assert "cut short" in cache.broken["005.png"]
    assert "empty" in cache.broken["006.png"]
    assert "missing" in cache.broken["007.png"]
    assert not cache.images[[cache.ids.index(image_id) for image_id in cache.broken]].any()
    assert {i for i, hashed in zip(cache.ids, cache.hashes, strict=True) if not hashed} == set(cache.broken)
    assert open_or_build(manifest, root, 24, tmp_path / "cache").broken == cache.broken


def test_the_second_time_nothing_is_decoded(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = build(root, tmp_path / "cache")
    before = first.path.with_suffix(".u8").stat()
    monkeypatch.setattr(module, "read_measured", lambda *args: pytest.fail("a photo was decoded"))
    monkeypatch.setattr(ImageCache, "verify", lambda self: pytest.fail("the whole file was read"))
    second, told = build(root, tmp_path / "cache")
    after = second.path.with_suffix(".u8").stat()
    assert told == []
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert second.path == first.path
    assert second.hashes == first.hashes
    np.testing.assert_array_equal(first.images, second.images)
    told_path = attach(first.path)
    assert told_path is not None
    assert told_path.checksum == first.checksum


def test_a_changed_photo_a_new_photo_and_another_size_are_another_cache(root: Path, tmp_path: Path) -> None:
    found = {build(root, tmp_path / "cache")[0].path, build(root, tmp_path / "cache", 16)[0].path}
    os.utime(root / "001.png", ns=(1, 1))
    found.add(build(root, tmp_path / "cache")[0].path)
    Image.new("RGB", (9, 9)).save(root / "new.png")
    found.add(build(root, tmp_path / "cache")[0].path)
    assert len(found) == 4


def test_the_place_of_the_photos_is_no_part_of_the_name(root: Path, tmp_path: Path) -> None:
    before = cache_name(manifest_of(root), root, 24)
    moved = root.rename(tmp_path / "elsewhere")
    assert cache_name(manifest_of(moved), moved, 24) == before


@pytest.mark.parametrize("damage", ["short", "flipped", "gone", "facts cut", "facts gone"])
def test_a_damaged_cache_is_built_again_not_used(root: Path, tmp_path: Path, damage: str) -> None:
    first, _ = build(root, tmp_path / "cache")
    pixels, right = first.path.with_suffix(".u8"), first.images.copy()
    content = pixels.read_bytes()
    if damage == "short":
        pixels.write_bytes(content[:-1])
    elif damage == "flipped":
        pixels.write_bytes(content[:999] + bytes([content[999] ^ 1]) + content[1000:])
        assert not first.verify()
    elif damage == "gone":
        pixels.unlink()
    elif damage == "facts cut":
        first.path.write_bytes(first.path.read_bytes()[:200])
    else:
        first.path.unlink()
    assert attach(first.path) is None
    second, told = build(root, tmp_path / "cache")
    assert told[-1] == N
    assert second.verify()
    np.testing.assert_array_equal(second.images, right)
    assert names(tmp_path / "cache") == [".json", ".u8"]


def test_a_copied_cache_is_checked_once_and_used(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = build(root, tmp_path / "cache")
    os.utime(first.path.with_suffix(".u8"), ns=(5, 5))
    checks: list[Path] = []
    verify = ImageCache.verify

    def counted(cache: ImageCache) -> bool:
        checks.append(cache.path)
        return verify(cache)

    monkeypatch.setattr(ImageCache, "verify", counted)
    assert attach(first.path) is not None
    assert attach(first.path) is not None
    assert len(checks) == 1


def test_the_number_of_workers_changes_no_byte(root: Path, tmp_path: Path) -> None:
    manifest = manifest_of(root)
    one = open_or_build(manifest, root, 24, tmp_path / "one", workers=1)
    four = open_or_build(manifest, root, 24, tmp_path / "four", workers=4)
    assert one.path.with_suffix(".u8").read_bytes() == four.path.with_suffix(".u8").read_bytes()
    assert one.checksum == four.checksum
    assert one.hashes == four.hashes


def test_four_processes_at_once_build_once(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    children = [start(root, tmp_path / "cache", log, pause=0.3) for _ in range(4)]
    said = {child.communicate(timeout=30)[0] for child in children}
    assert [child.returncode for child in children] == [0] * 4
    assert len(said) == 1
    assert [int(done) for done in log.read_text().split()] == [16, 32, 40]
    assert names(tmp_path / "cache") == [".json", ".u8"]


def test_a_killed_builder_leaves_nothing_half_and_the_next_takes_over_in_seconds(root: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "cache", tmp_path / "log"
    child = start(root, folder, log, pause=60)
    end = time.monotonic() + 20
    while not log.exists() and time.monotonic() < end:
        time.sleep(0.02)
    child.kill()
    child.communicate()
    assert names(folder) == [".claim", ".part"]
    begun = time.monotonic()
    cache, told = build(root, folder)
    assert time.monotonic() - begun < 3
    assert told[-1] == N
    assert cache.verify()
    assert names(folder) == [".json", ".u8"]


def test_the_half_file_of_a_killed_builder_of_other_photos_is_removed_too(root: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "0123-24.token.part").write_bytes(b"half")
    build(root, tmp_path / "cache")
    assert names(tmp_path / "cache") == [".json", ".u8"]


def test_a_build_that_is_interrupted_leaves_nothing(root: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_or_build(manifest_of(root), root, 24, tmp_path / "cache", progress=interrupt)
    assert names(tmp_path / "cache") == []


def test_photos_that_are_all_broken_are_the_users_mistake(root: Path, tmp_path: Path) -> None:
    for path in root.iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not one of 40 photos"):
        build(root, tmp_path / "cache")
    assert names(tmp_path / "cache") == []


@pytest.fixture
def small_disk() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_names_the_way_out_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="PODIUM_CACHE"):
        build(root, tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_a_folder_that_cannot_be_written_names_the_way_out(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="PODIUM_CACHE"):
        build(root, tmp_path / "file" / "cache")


def test_a_photo_the_machine_could_not_read_is_tried_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "004.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        first, _ = build(root, tmp_path / "cache")
        again, told = build(root, tmp_path / "cache")
    assert first.broken == {"004.png": "the file cannot be read (Permission denied)"} == again.broken
    assert told == []
    second, _ = build(root, tmp_path / "cache")
    assert second.broken == {}
    assert second.images[second.ids.index("004.png")].any()


def test_archives_and_files_stand_in_one_cache(root: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    np.savez_compressed(root / "images.npz", train=array)
    paths = (*(f"images.npz#train/{row}" for row in range(6)), "000.png")
    manifest = Manifest(paths, paths, paths, ("test",) * 7, {})
    cache = open_or_build(manifest, root, 28, tmp_path / "cache")
    np.testing.assert_array_equal(cache.images[:5], np.repeat(array[..., None], 3, axis=3))
    assert list(cache.broken) == ["images.npz#train/5"]
    before = cache_name(manifest, root, 28)
    os.utime(root / "images.npz", ns=(1, 1))
    assert cache_name(manifest, root, 28) != before


def test_the_facts_are_written_last(root: Path, tmp_path: Path) -> None:
    cache, _ = build(root, tmp_path / "cache")
    facts = json.loads(cache.path.read_text())
    assert facts["checksum"] == cache.checksum
    assert facts["shape"] == [N, 24, 24, 3]
    assert cache.path.stat().st_ctime_ns >= cache.path.with_suffix(".u8").stat().st_ctime_ns
