"""Attaching to the decoded photos, as a second and every later trial does, against decoding them.

    python -m benchmarks.attach_speed

Goal: attaching is at least 50 times faster. Decoding uses every core; attaching checks that the cache is whole and current, and one
batch is then read through it.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._photos import prepared
from benchmarks._sides import in_turn
from competitions.images.decode import read_image, resize
from competitions.images.image_cache import open_or_build
from competitions.prepare import root_of

PHOTOS, SIDE, SIZE, REPEATS = 3000, 256, 64, 7


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = prepared(Path(folder), n=PHOTOS, side=SIDE, size=SIZE)
        root, caches = root_of(data.competition, data.paths), Path(folder) / "caches"
        number = iter(range(10_000))

        def decode() -> float:
            started = time.perf_counter()
            open_or_build(data.manifest, root, SIZE, caches / str(next(number)))
            return time.perf_counter() - started

        ready = open_or_build(data.manifest, root, SIZE, caches / "ready")

        def attach() -> float:
            started = time.perf_counter()
            np.array(open_or_build(data.manifest, root, SIZE, caches / "ready").images[:64])
            return time.perf_counter() - started

        some = range(0, PHOTOS, 97)
        equal = all(np.array_equal(ready.images[row], resize(read_image(root, data.manifest.paths[row]), SIZE)) for row in some)
        print(in_turn(attach, decode, repeats=REPEATS).line(f"{PHOTOS} JPEG photos of {SIDE} px, cache at {SIZE} px", "decoding"))
        print(f"  rows equal to decoding anew: {equal}")


if __name__ == "__main__":
    main()
