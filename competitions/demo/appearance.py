"""People who do not exist: from (gender, age) to a `Look`, all that the photos of one person share.

Cues of gender and age overlap on purpose, so that no model finds the label in every face.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

APPARENT_SD = 3.0  # years between the true age and the age a face shows
Colour = tuple[float, float, float]

_SKINS: tuple[Colour, ...] = ((246, 214, 186), (238, 196, 160), (226, 178, 138), (205, 154, 116), (176, 126, 92))
_HAIRS: tuple[Colour, ...] = ((28, 24, 24), (46, 34, 28), (72, 48, 32), (108, 72, 44), (150, 108, 62))
_MASKS: tuple[Colour, ...] = (
    (240, 242, 245),
    (168, 204, 226),
    (40, 42, 48),
    (126, 132, 140),
    (226, 178, 190),
    (58, 74, 118),
    (216, 206, 184),
)


@dataclass(frozen=True)
class Look:
    """What all photos of one person share. Lengths are in half face heights, shares are 0..1, colours are 0..255.

    Attributes:
        hair_length: How far the hair hangs below the eyes; under 0.15 it ends at the ears.
        hairline: Where the forehead ends, -1 is the crown.
        fringe: 0 combed back, 1 fringe, 2 parted.
        wrinkles: Strength of forehead lines, crow's feet and bags under the eyes.
        beard: 0 shaven, 1 full.
        room: Pattern of the wall: 0 plain, 1 two-coloured, 2 stripes, 3 shelves.
        masks: Colours of the masks this person owns.
        mask_cut: 0 pleated, 1 ridged, 2 cloth.
    """

    skin: Colour
    hair: Colour
    brows: Colour
    hair_length: float
    hairline: float
    fringe: int
    bald: bool
    width: float
    jaw: float
    eye_gap: float
    eye_size: float
    iris: Colour
    brow: float
    lashes: float
    nose: float
    lips: float
    lip_colour: Colour
    wrinkles: float
    spots: int
    beard: float
    glasses: Colour | None
    shirt: Colour
    collar: int
    room: int
    wall: Colour
    wall_other: Colour
    masks: tuple[Colour, ...]
    mask_cut: int


def invent_look(rng: Generator, *, female: bool, age: int) -> Look:
    """A person of this gender and age. The face shows an apparent age that differs from `age` by `APPARENT_SD` years."""
    apparent = age + rng.normal(0, APPARENT_SD)
    skin = shade(_SKINS[_pick(rng, (0.22, 0.3, 0.26, 0.14, 0.08))], rng.uniform(0.93, 1.05))
    dyed = rng.random() < (0.1 if female else 0.06) * (apparent < 62)
    grey = 0.0 if dyed else share((apparent - 33) / 33 + rng.normal(0, 0.07))
    youth = share((34 - apparent) / 14)
    own = _HAIRS[_pick(rng, _odds((0.42, 0.27, 0.16, 0.1, 0.05), (0.26, 0.18, 0.2, 0.2, 0.16), youth))]
    bald = not female and rng.random() < share((apparent - 36) / 80)
    length = rng.normal(1.15, 0.35) if female else rng.normal(-0.15, 0.22)
    wrinkles = share(0.5 * share((apparent - 23) / 14) + 0.5 * share((apparent - 46) / 20) + rng.normal(0, 0.05))
    lip = mix(shade(skin, 0.8), (196, 62, 74), share(rng.normal(0.72 if female else 0.22, 0.18)))
    hue = rng.random()
    return Look(
        skin=skin,
        hair=mix(mix(own, (132, 130, 130), share(1.6 * grey)), (232, 230, 228), share((apparent - 56) / 8) * (grey > 0)),
        brows=mix(own, (170, 168, 166), 0.7 * grey),
        hair_length=min(max(length, 0.0), 1.7),
        hairline=-0.62 - 0.22 * share((apparent - 34) / 40 + rng.normal(0, 0.25)) * (0.4 if female else 1.0),
        fringe=_pick(rng, _odds((0.45, 0.1, 0.45), (0.2, 0.5, 0.3), youth)),
        bald=bald,
        width=rng.normal(0.715, 0.03) + 0.03 * youth,
        jaw=min(max(rng.normal(0.68 if female else 0.88, 0.05), 0.6), 0.95),
        eye_gap=rng.normal(0.305, 0.02),
        eye_size=rng.normal(0.12 if female else 0.098, 0.006) + 0.026 * youth - 0.02 * wrinkles,
        iris=((60, 40, 30), (84, 56, 34), (70, 92, 70), (74, 102, 136))[_pick(rng, (0.5, 0.3, 0.1, 0.1))],
        brow=min(max(rng.normal(0.038 if female else 0.084, 0.01), 0.02), 0.1),
        lashes=share(rng.normal(0.85 if female else 0.1, 0.15)),
        nose=rng.normal(0.3, 0.03) + 0.03 * wrinkles,
        lips=min(max(rng.normal(0.085 if female else 0.062, 0.014) - 0.02 * wrinkles, 0.03), 0.12),
        lip_colour=lip,
        wrinkles=wrinkles,
        spots=int(rng.poisson(8 * share((apparent - 53) / 12))),
        beard=0.0 if female or rng.random() < 0.86 else rng.uniform(0.3, 0.9),
        glasses=shade((70, 60, 56), rng.uniform(0.3, 1.6)) if rng.random() < 0.18 + 0.25 * wrinkles else None,
        shirt=of_hue(rng.random(), rng.uniform(0.1, 0.6) * (1 - 0.6 * wrinkles) + 0.25 * youth, rng.uniform(0.25, 0.9)),
        collar=int(rng.integers(3)),
        room=int(rng.integers(4)),
        wall=of_hue(hue, rng.uniform(0.05, 0.5), rng.uniform(0.5, 0.92)),
        wall_other=of_hue(hue + rng.uniform(-0.15, 0.15), rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.85)),
        masks=tuple(_MASKS[_pick(rng, (0.34, 0.2, 0.2, 0.08, 0.07, 0.06, 0.05))] for _ in range(2)),
        mask_cut=int(rng.integers(3)),
    )


def share(value: float) -> float:
    """`value` held between 0 and 1."""
    return min(max(float(value), 0.0), 1.0)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with this share of `b` in it."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour times `factor`: darker under 1."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def of_hue(hue: float, saturation: float, value: float) -> Colour:
    """The colour `(r, g, b)` in 0..255 of a hue, saturation and value in 0..1; hues wrap around."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return (255 * red, 255 * green, 255 * blue)


def _pick(rng: Generator, odds: Sequence[float]) -> int:
    return int(np.searchsorted(np.cumsum(odds)[:-1], rng.random(), side="right"))


def _odds(old: Sequence[float], young: Sequence[float], youth: float) -> list[float]:
    return [o + (y - o) * youth for o, y in zip(old, young, strict=True)]
