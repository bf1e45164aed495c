"""From a `Look` and a mask state to a photo `(96, 72, 3) uint8`: place, tilt, light, blur and noise are this photo's own.

The same generator gives the same bytes: shapes are polygons on rounded points, sines are rounded, and nothing depends on fonts
or on an image encoder.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from competitions.demo.appearance import Colour, Look, mix, of_hue, shade, share

PHOTO_WIDTH, PHOTO_HEIGHT = 72, 96
MASK_STATES = ("wear", "incorrect", "normal")
_FINER = 3  # drawn at this multiple of the size, then averaged
Points = Sequence[tuple[float, float]]

_CIRCLE = [(round(math.cos(math.tau * k / 24), 6), round(math.sin(math.tau * k / 24), 6)) for k in range(24)]


def draw_photo(look: Look, state: str, rng: Generator) -> NDArray[np.uint8]:
    """One photo `(96, 72, 3) uint8` of a person; `state` is one of `MASK_STATES`, `rng` decides place, tilt, light, blur and noise."""
    image = Image.new("RGB", (PHOTO_WIDTH * _FINER, PHOTO_HEIGHT * _FINER), _whole(look.wall))
    pen = _Pen(image, rng)
    _draw_room(pen, look, rng)
    _draw_body(pen, look)
    _draw_head(pen, look)
    _draw_age(pen, look, rng)
    _draw_features(pen, look, rng)
    if state == "normal":
        _draw_distractor(pen, look, rng)
    else:
        _draw_mask(pen, look, rng, worn=state == "wear")
    _draw_front_hair(pen, look)
    return _develop(image.reduce(_FINER), rng)


class _Pen:
    """Draws in face units: origin between the ears, y downwards, 1 = half a face height; placed by one photo's own move."""

    def __init__(self, image: Image.Image, rng: Generator) -> None:
        self.draw = ImageDraw.Draw(image)
        self.unit = PHOTO_HEIGHT * _FINER * rng.uniform(0.235, 0.31)
        angle = math.radians(min(max(rng.normal(0, 5), -13), 13))
        self.cos, self.sin = round(math.cos(angle), 6), round(math.sin(angle), 6)
        self.x = _FINER * (PHOTO_WIDTH / 2 + min(max(rng.normal(0, 3), -7), 7))
        self.y = _FINER * (PHOTO_HEIGHT * 0.46 + min(max(rng.normal(0, 3), -6), 6))

    def fill(self, points: Points, colour: Colour) -> None:
        self.draw.polygon(self._placed(points), fill=_whole(colour))

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        self.fill([(x + rx * c, y + ry * s) for c, s in _CIRCLE], colour)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        self.draw.line(self._placed(points), fill=_whole(colour), width=max(1, round(width * self.unit)), joint="curve")

    def _placed(self, points: Points) -> list[tuple[float, float]]:
        u, c, s = self.unit, self.cos, self.sin
        return [(round(self.x + u * (c * x - s * y)), round(self.y + u * (s * x + c * y))) for x, y in points]


def _draw_room(pen: _Pen, look: Look, rng: Generator) -> None:
    away = rng.random() < 0.2  # a photo taken elsewhere
    wall = (
        of_hue(rng.random(), rng.uniform(0.05, 0.5), rng.uniform(0.4, 0.9)) if away else shade(look.wall, rng.uniform(0.92, 1.06))
    )
    other, shift = look.wall_other, rng.uniform(-0.2, 0.2)
    pen.fill([(-4, -4), (4, -4), (4, 4), (-4, 4)], wall)
    if look.room == 1:
        pen.fill([(-4, 0.3 + shift), (4, 0.3 + shift), (4, 4), (-4, 4)], other)
    for k in range(-4, 5):
        if look.room == 2:
            pen.fill([(k / 2 + shift, -4), (k / 2 + shift + 0.16, -4), (k / 2 + shift + 0.16, 4), (k / 2 + shift, 4)], other)
        if look.room == 3:
            pen.line([(-4, k / 2 + shift), (4, k / 2 + shift)], other, 0.05)
            pen.line([(k * 0.7, -4), (k * 0.7, 4)], other, 0.05)


def _draw_body(pen: _Pen, look: Look) -> None:
    if look.hair_length > 0.15:
        w, end = look.width * 1.17, look.hair_length
        right = [(w * 1.06, end * 0.4), (w * 1.1, end * 0.75), (w * 0.98, end), (w * 0.6, end + 0.06)]
        pen.fill([*_arch(w, 1.15, 0.0), *right, *((-x, y) for x, y in reversed(right))], shade(look.hair, 0.8))
    neck = shade(look.skin, 0.84)
    pen.fill([(-0.33, 0.6), (0.33, 0.6), (0.36, 1.5), (-0.36, 1.5)], neck)
    pen.fill([(-0.36, 1.2), (0.36, 1.2), (0.9, 1.38), (1.25, 1.7), (1.4, 3), (-1.4, 3), (-1.25, 1.7), (-0.9, 1.38)], look.shirt)
    if look.collar:
        pen.fill([(-0.32, 1.18), (0.32, 1.18), (0, 1.75 if look.collar == 1 else 1.4)], neck)
    if look.collar == 2:
        pen.fill([(-0.36, 1.1), (0.36, 1.1), (0.4, 1.4), (-0.4, 1.4)], shade(look.shirt, 0.85))


def _draw_head(pen: _Pen, look: Look) -> None:
    w = look.width
    for side in (-1, 1):
        pen.oval(side * w, 0.05, 0.1, 0.19, shade(look.skin, 0.92))
    pen.fill(_face(look), look.skin)
    if look.beard:
        lower = [(x, y) for x, y in _face(look) if y > 0.2]
        pen.fill([*lower, (-w * 0.6, 0.38), (w * 0.6, 0.38)], mix(look.skin, look.hair, 0.25 + 0.6 * look.beard))


def _draw_front_hair(pen: _Pen, look: Look) -> None:
    w, line = look.width * 1.08, look.hairline
    if look.bald:
        for side in (-1, 1):
            pen.fill([(side * w, 0.02), (side * w * 0.98, -0.35), (side * w * 0.86, -0.3), (side * w * 0.9, 0.02)], look.hair)
        return
    inner = w * 0.86
    edge = {
        0: [(inner, -0.3), (inner * 0.75, line), (0, line - 0.1), (-inner * 0.75, line), (-inner, -0.3)],
        1: [(inner, -0.32), (inner * 0.9, -0.36), (0, -0.4), (-inner * 0.9, -0.36), (-inner, -0.32)],
        2: [(inner, -0.25), (inner * 0.6, line + 0.12), (-inner * 0.4, line - 0.06), (-inner * 0.9, line + 0.2), (-inner, -0.2)],
    }[look.fringe]
    pen.fill([*_arch(w, 1.13, 0.0), *edge], look.hair)
    if look.hair_length > 0.5:
        end = look.hair_length * 0.7
        for side in (-1, 1):
            pen.fill([(side * w, -0.3), (side * inner, -0.3), (side * inner * 1.06, end), (side * w * 1.1, end)], look.hair)


def _draw_features(pen: _Pen, look: Look, rng: Generator) -> None:
    size, dark = look.eye_size, (40.0, 30.0, 28.0)
    openness, gaze = rng.uniform(0.45, 0.75), rng.uniform(-0.03, 0.03)
    for side in (-1, 1):
        x = side * look.eye_gap
        pen.oval(x, -0.1, size * 1.35, size * openness, (246, 244, 240))
        pen.oval(x + gaze, -0.1, size * 0.62, size * min(openness, 0.62), look.iris)
        pen.oval(x + gaze, -0.1, size * 0.3, size * 0.3, (16, 14, 14))
        lid = -0.1 - size * openness
        pen.line(
            [(x - size * 1.4, -0.1), (x - size * 0.5, lid), (x + size * 0.5, lid), (x + size * 1.4, -0.1)],
            dark,
            0.015 + 0.035 * look.lashes,
        )
        brow = [(x - side * 0.14, -0.26), (x + side * 0.04, -0.31), (x + side * 0.18, -0.25)]
        pen.line(brow, look.brows, look.brow)
    shadow = shade(look.skin, 0.66)
    pen.line(
        [(0.03, -0.05), (0.07, look.nose - 0.06), (0.09, look.nose), (0, look.nose + 0.03), (-0.08, look.nose)], shadow, 0.035
    )
    smile, mouth = rng.uniform(-0.02, 0.07), 0.56
    pen.fill(
        [
            (-0.24, mouth - smile),
            (0, mouth - look.lips),
            (0.24, mouth - smile),
            (0.1, mouth + look.lips),
            (-0.1, mouth + look.lips),
        ],
        look.lip_colour,
    )
    pen.line([(-0.24, mouth - smile), (0, mouth), (0.24, mouth - smile)], shade(look.lip_colour, 0.6), 0.02)
    if look.glasses is not None:
        for side in (-1, 1):
            ring = [(side * look.eye_gap + 0.21 * c, -0.09 + 0.17 * s) for c, s in _CIRCLE]
            pen.line([*ring, ring[0]], look.glasses, 0.035)
        pen.line([(-look.eye_gap + 0.2, -0.1), (look.eye_gap - 0.2, -0.1)], look.glasses, 0.035)


def _draw_age(pen: _Pen, look: Look, rng: Generator) -> None:
    strength = look.wrinkles * rng.uniform(0.9, 1.1)
    ink = mix(look.skin, shade(look.skin, 0.45), share(strength))
    if strength < 0.12:
        return
    for row in range(1 + (strength > 0.4) + (strength > 0.75)):
        y, half = -0.42 - 0.1 * row, look.width * (0.62 - 0.08 * row)
        pen.line([(-half, y + 0.02), (0, y - 0.01), (half, y + 0.02)], ink, 0.022 + 0.02 * strength)
    for side in (-1, 1):
        x = side * (look.eye_gap + 0.16)
        for rise in (-0.07, 0.0, 0.07):
            pen.line([(x, -0.09 + rise / 2), (x + side * 0.13, -0.09 + rise * 1.6)], ink, 0.02)
        pen.line(
            [(side * (look.eye_gap - 0.13), 0.03), (side * look.eye_gap, 0.085), (side * (look.eye_gap + 0.13), 0.03)], ink, 0.03
        )
        pen.line([(side * 0.13, look.nose - 0.03), (side * 0.27, 0.45), (side * 0.29, 0.62)], ink, 0.03)
    for _ in range(look.spots):
        pen.oval(rng.uniform(-0.5, 0.5), rng.uniform(-0.6, 0.1), 0.03, 0.025, shade(look.skin, 0.78))


def _draw_mask(pen: _Pen, look: Look, rng: Generator, *, worn: bool) -> None:
    colour = shade(look.masks[int(rng.integers(len(look.masks)))], rng.uniform(0.92, 1.06))
    w = look.width
    top = rng.uniform(0.0, 0.1) if worn else (rng.uniform(0.43, 0.5) if rng.random() < 0.7 else rng.uniform(0.7, 0.8))
    low = 1.06 if worn else top + rng.uniform(0.6, 0.72)
    side, narrow = top + 0.14 if worn else top + 0.05, 0.97 if top < 0.3 else 0.86
    fold = shade(colour, 0.8 if sum(colour) > 200 else 1.7)
    for s in (-1, 1):
        pen.line([(s * w * narrow, side), (s * w * 1.02, -0.02)], (232, 232, 232), 0.03)
        pen.line([(s * w * narrow * 0.9, min(low - 0.3, 0.8)), (s * w * 1.02, 0.16)], (232, 232, 232), 0.03)
    pen.fill(
        [
            *((-w * narrow, side), (-0.2, top + 0.03), (0, top), (0.2, top + 0.03), (w * narrow, side)),
            *((w * narrow * 0.86, low - 0.3), (w * 0.5, low), (-w * 0.5, low), (-w * narrow * 0.86, low - 0.3)),
        ],
        colour,
    )
    middle = (top + low) / 2
    if look.mask_cut == 0:
        for y in (middle - 0.12, middle, middle + 0.12):
            pen.line([(-w * 0.8, y), (w * 0.8, y)], fold, 0.02)
    elif look.mask_cut == 1:
        pen.line([(-w * 0.85, middle), (0, middle - 0.16), (w * 0.85, middle)], fold, 0.025)
    else:
        pen.line([(0, top), (0, low)], fold, 0.025)


def _draw_distractor(pen: _Pen, look: Look, rng: Generator) -> None:
    if rng.random() < 0.1:  # a scarf up to the chin
        scarf = mix(look.shirt, look.wall_other, 0.5)
        pen.fill([(-0.75, 0.95), (0, 0.82), (0.75, 0.95), (0.8, 1.5), (-0.8, 1.5)], scarf)
        pen.line([(-0.72, 1.15), (0.72, 1.2)], shade(scarf, 0.8), 0.03)


def _develop(image: Image.Image, rng: Generator) -> NDArray[np.uint8]:
    """Blur, light from one side, tint and grain; `(96, 72, 3) uint8`."""
    soft = image.filter(ImageFilter.GaussianBlur(round(rng.uniform(0, 0.7), 3)))
    side = np.linspace(-1, 1, PHOTO_WIDTH, dtype=np.float32)[None, :, None] * np.float32(rng.uniform(-0.15, 0.15))
    tint = rng.uniform(0.94, 1.06, 3).astype(np.float32) * np.float32(rng.uniform(0.72, 1.18))
    grain = rng.standard_normal((PHOTO_HEIGHT, PHOTO_WIDTH, 3), dtype=np.float32) * np.float32(rng.uniform(2, 7))
    light = np.asarray(soft, dtype=np.float32) * (1 + side) * tint
    pixels: NDArray[np.uint8] = np.clip(np.rint(light + grain), 0, 255).astype(np.uint8)
    return pixels


def _arch(w: float, h: float, base: float) -> list[tuple[float, float]]:
    return [(w * c, base + h * s) for c, s in [*_CIRCLE[12:], _CIRCLE[0]]]


def _face(look: Look) -> list[tuple[float, float]]:
    w, j = look.width, look.jaw
    right = [
        (w * 0.985, 0.25),
        (w * (0.5 + 0.5 * j), 0.5),
        (w * j, 0.7),
        (w * j * 0.78, 0.86),
        (w * j * 0.48, 0.96),
        (w * j * 0.2, 1.0),
    ]
    return [*_arch(w, 1.0, 0.0), *right, *((-x, y) for x, y in reversed(right))]


def _whole(colour: Colour) -> tuple[int, int, int]:
    return (min(255, round(colour[0])), min(255, round(colour[1])), min(255, round(colour[2])))
