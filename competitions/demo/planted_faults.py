"""The faults planted in the demo competition, as they stood in the real one. Each function says what it did, for `key.json`."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from competitions.demo.people import FILES, GENDERS, DemoPhoto, Person

N_NEAR_DUPLICATES, N_IDENTICAL, N_SWAPPED, N_MISWORN = 6, 2, 2, 2
TRAIN_BROKEN = ("truncated", "truncated", "empty", "not_an_image")
TEST_BROKEN = ("truncated", "not_an_image")
SPOIL: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) * 3 // 5],
    "empty": lambda data: b"",
    "not_an_image": lambda data: b"<html><body>404 Not Found</body></html>\n",
}
Pixels = NDArray[np.uint8]


def mislabel_person(rng: Generator, people: list[Person]) -> tuple[list[Person], list[Person], list[dict[str, str]]]:
    """The people without a fault, everybody, and the fault: one middle-aged person, a common kind, is given the other gender."""
    order = [int(k) for k in rng.permutation(len(people))]
    victim = next(k for k in order if people[k].age_group == "middle")
    wrong = replace(people[victim], gender=GENDERS[1 - GENDERS.index(people[victim].shown)])
    everybody = [wrong if k == victim else p for k, p in enumerate(people)]
    faults = [{"photo": f"{wrong.folder}/{f}.png", "column": "gender", "given": wrong.gender, "true": wrong.shown} for f in FILES]
    return [people[k] for k in order if k != victim], everybody, faults


def mislabel_photos(
    rng: Generator, calm: list[Person], photos: Sequence[DemoPhoto]
) -> tuple[list[DemoPhoto], list[dict[str, str]]]:
    """Two people's `incorrect_mask` and `normal` change places; two photos called masked show a mask worn wrongly.

    The people this befalls are taken from the end of `calm`.
    """
    shown: dict[str, str] = {}
    for _ in range(N_SWAPPED):
        folder = calm.pop().folder
        shown |= {f"{folder}/incorrect_mask.png": "normal", f"{folder}/normal.png": "incorrect"}
    for _ in range(N_MISWORN):
        shown[f"{calm.pop().folder}/mask{rng.integers(1, 6)}.png"] = "incorrect"
    changed = [replace(p, shown=shown.get(p.photo, p.shown)) for p in photos]
    faults = [{"photo": p.photo, "column": "mask", "given": p.state, "true": p.shown} for p in changed if p.state != p.shown]
    return changed, faults


def duplicate(rng: Generator, calm: Sequence[Person], pixels: dict[str, Pixels]) -> tuple[list[list[str]], list[list[str]]]:
    """Put photos of one person into another's folder: near-duplicates, then identical ones. Changes `pixels`.

    Both people have the same labels, so that none becomes wrong, and are not old, so that the rare class keeps its few people.
    """
    pairs: list[list[str]] = []
    free = [person for person in calm if person.age_group != "old"]
    while len(pairs) < N_NEAR_DUPLICATES + N_IDENTICAL:
        a = free.pop(0)
        b = next(p for p in free if (p.gender, p.age_group) == (a.gender, a.age_group))
        free.remove(b)
        file = list(FILES)[int(rng.integers(len(FILES)))]
        pair = [f"{a.folder}/{file}.png", f"{b.folder}/{file}.png"]
        near = len(pairs) < N_NEAR_DUPLICATES
        pixels[pair[1]] = _slightly_changed(rng, pixels[pair[0]]) if near else pixels[pair[0]]
        pairs.append(pair)
    return pairs[:N_NEAR_DUPLICATES], pairs[N_NEAR_DUPLICATES:]


def spoil(rng: Generator, photos: Sequence[str], kinds: Sequence[str], data: dict[str, bytes]) -> dict[str, str]:
    """Make the file of one photo per kind unreadable. Changes `data`; returns photo -> kind."""
    chosen = [photos[int(k)] for k in rng.choice(len(photos), len(kinds), replace=False)]
    for photo, kind in zip(chosen, kinds, strict=True):
        data[photo] = SPOIL[kind](data[photo])
    return dict(zip(chosen, kinds, strict=True))


def misname(rng: Generator, photos: Sequence[str], pixels: dict[str, Pixels], data: dict[str, bytes]) -> list[str]:
    """Give one photo the bytes of a BMP under its `.png` name; the pixels stay readable. Changes `data`."""
    photo = photos[int(rng.integers(len(photos)))]
    buffer = io.BytesIO()
    Image.fromarray(pixels[photo]).save(buffer, "BMP")
    data[photo] = buffer.getvalue()
    return [photo]


def _slightly_changed(rng: Generator, pixels: Pixels) -> Pixels:
    moved = np.roll(pixels, int(rng.integers(-1, 2)), axis=1).astype(np.int16)
    changed: Pixels = np.clip(moved + int(rng.integers(4, 9)) + rng.integers(-2, 3, pixels.shape), 0, 255).astype(np.uint8)
    return changed
