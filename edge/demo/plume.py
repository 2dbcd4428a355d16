"""A plume of smoke as many overlapping puffs, and the glow of the fire at its foot.

Each puff is born at the fire, rises on its own heat, slows, drifts with the wind, grows and thins. What is drawn is
a field of optical depth: light passes as exp(-depth), so thin smoke is a veil and thick smoke hides what is behind.
Everything is a function of time and seed.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo.noise import Field, as_field, smooth

SPRITES, SPRITE_SIDE = 12, 96
LIFE_S = 32.0
RATE_HZ = 7.0
FADE_IN_S = 0.8
NUMBERS = 8192


WIND, GUST = 0.0042, 0.3
"""Drift in plume units a second (it grows with height), and how much it waves."""


class Plume:
    """Smoke from `foot` (x, y in pixels) in pictures of `size` (width, height), from `begins` seconds on.

    `unit` is the length in pixels in which the plume is measured; the nearer the fire, the larger.
    """

    def __init__(
        self, size: tuple[int, int], foot: tuple[float, float], *, unit: float, begins: float, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        self._size, self._foot, self._begins, self._unit = size, foot, begins, unit
        self._sprites = [_sprite(rng) for _ in range(SPRITES)]
        self._numbers = rng.standard_normal((NUMBERS, 6)).astype(np.float32)
        half = (size[1] // 2, size[0] // 2)
        self._warp = [smooth(half, (14, 24), rng) for _ in range(4)]

    def strength(self, t: float) -> float:
        """How big the fire is, 0 to 1: a wisp at first, grown up after half a minute."""
        return 0.0 if t <= self._begins else min(0.22 + (t - self._begins) / 38.0, 1.0)

    def paint(self, picture: Field, t: float) -> Field:
        """The picture (BGR, 0 to 1, float32) with smoke and glow; the same array when there is none yet."""
        if t <= self._begins:
            return picture
        depth, heat = self._fields(t)
        glowing = self._glow(picture, t)
        return _composite(glowing, depth, heat)

    # ------------------------------------------------------------ smoke

    def _fields(self, t: float) -> tuple[Field, Field]:
        """Optical depth and freshness (1 at the fire, 0 far from it) at half resolution, then full."""
        width, height = self._size[0] // 2, self._size[1] // 2
        depth = np.zeros((height, width), np.float32)
        fresh = np.zeros((height, width), np.float32)
        first = max(math.ceil((t - LIFE_S - self._begins) * RATE_HZ), 0)
        for number in range(first, math.floor((t - self._begins) * RATE_HZ) + 1):
            self._puff(number, t, depth, fresh)
        fresh = as_field(fresh / np.maximum(depth, 1e-4))
        return self._stir(depth, t), fresh

    def _puff(self, number: int, t: float, depth: Field, fresh: Field) -> None:
        """Add one puff to both fields."""
        born = self._begins + number / RATE_HZ
        age = t - born
        r = self._numbers[number % NUMBERS]
        power = self.strength(born + 0.01) * (1 + 0.25 * math.sin(born * 1.9) * math.sin(born * 0.7))
        x, y, radius = self._place(age, power, r)
        fade = min(age / FADE_IN_S, 1.0) * max(1 - age / LIFE_S, 0.0) ** 0.8
        thinning = (0.016 * self._unit / max(radius, 1.0)) ** 0.6
        amount = 0.42 * power * fade * thinning * math.exp(0.25 * float(r[3]))
        sprite = _turned(self._sprites[number % SPRITES], float(r[4]) * 180 + age * 6 * float(r[5]), radius)
        _add(depth, as_field(sprite * amount), x / 2, y / 2)
        _add(fresh, as_field(sprite * (amount * math.exp(-age / 5.0))), x / 2, y / 2)

    def _place(self, age: float, power: float, r: NDArray[np.float32]) -> tuple[float, float, float]:
        """Where a puff is (pixels) and how large: buoyant rise that slows, wind that grows with height."""
        unit = self._unit
        rise = unit * (0.020 + 0.018 * power) * 12 * (1 - math.exp(-age / 12)) * (1 + 0.08 * float(r[1]))
        drift = unit * WIND * age**1.32 * (1 + GUST * 0.4 * float(r[0]))
        sway = unit * 0.006 * float(r[2]) * math.sqrt(age + 0.2) * (1 + power)
        x = self._foot[0] + drift + sway + unit * 0.008 * power * float(r[0])
        radius = unit * (0.010 + 0.007 * power + 0.0062 * age**0.85 * (0.5 + power)) * (1 + 0.22 * float(r[3]))
        return x, self._foot[1] - rise, max(radius, 2.0) / 2

    def _stir(self, depth: Field, t: float) -> Field:
        """Warp the field by slowly moving noise, so that edges curl."""
        turn = np.float32(t * 0.35)
        amount = np.float32(0.0055 * self._unit)
        one, two, three, four = self._warp
        dx = amount * (one * np.cos(turn) + two * np.sin(turn))
        dy = amount * (three * np.cos(turn) + four * np.sin(turn))
        height, width = depth.shape
        xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        stirred = cv2.remap(depth, xs + dx, ys + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return as_field(stirred)

    # ------------------------------------------------------------ fire

    def _glow(self, picture: Field, t: float) -> Field:
        """Light of the fire on the trees about it, and flames, once it is big enough."""
        size = (self.strength(t) - 0.45) / 0.55
        if size <= 0:
            return picture
        x, y = self._foot
        flicker = 0.8 + 0.12 * math.sin(t * 11.3) + 0.08 * math.sin(t * 23.7 + 1)
        height, width = picture.shape[:2]
        reach = int(self._unit * 0.09)
        left, top = max(int(x) - reach, 0), max(int(y) - reach, 0)
        right, bottom = min(int(x) + reach, width), min(int(y) + reach, height)
        columns, rows = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)
        xs, ys = (as_field(axis) for axis in np.meshgrid(columns - np.float32(x), rows - np.float32(y)))
        spread = np.float32((self._unit * 0.02) ** 2)
        halo = np.exp(-(xs * xs + ys * ys * 1.5) / (2 * spread)) * np.float32(0.32 * size * flicker)
        flames = self._flames(xs, ys, t, size)
        colour = np.array([0.10, 0.42, 1.0], np.float32)
        core = np.array([0.35, 0.80, 1.0], np.float32)
        lit = picture.copy()
        part = lit[top:bottom, left:right]
        part += as_field(halo[..., None] * colour * (np.float32(0.25) + part))
        hot = np.clip(flames, 0, 1)[..., None]
        part *= 1 - hot
        part += as_field(hot * (colour + (core - colour) * np.clip(flames - 0.5, 0, 1)[..., None]))
        return lit

    def _flames(self, xs: Field, ys: Field, t: float, size: float) -> Field:
        """Tongues: a field above 0 where there is flame."""
        total = np.zeros_like(xs)
        for k, r in enumerate(self._numbers[:13]):
            phase = 2.1 * k + float(r[0])
            beat = 0.45 + 0.55 * math.sin(t * (3.1 + 0.9 * abs(float(r[1]))) + phase) ** 2
            tall = self._unit * 0.024 * size * beat * math.exp(0.3 * float(r[2]))
            wide = self._unit * 0.0042 * math.exp(0.25 * float(r[3]))
            lean, foot = self._unit * 0.010 * size * float(r[4]), self._unit * 0.003 * float(r[5])
            up = np.clip((foot - ys) / np.float32(tall), 0, 1)
            bend = np.float32(wide) * np.sin(up * 5 + np.float32(t * 9 + phase)) * up
            across = (xs - np.float32(lean) - bend) / (np.float32(wide) * (1 - 0.75 * up))
            body = (ys < foot) & (foot - ys < tall)
            total = np.maximum(total, np.where(body, (1.1 - up) * np.exp(-across * across), 0))
        return as_field(total)


def _sprite(rng: np.random.Generator) -> Field:
    """A cauliflower lump: noise inside a soft disc, 0 at its rim."""
    side = SPRITE_SIDE
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    distance = np.hypot(*np.meshgrid(axis, axis))
    lumps = smooth((side, side), (4, 4), rng, octaves=4, gain=0.6)
    edge = np.clip(1.0 - (distance + 0.16 * lumps) / 0.85, 0, 1)
    return as_field(edge**1.1 * np.clip(1 + 0.40 * lumps, 0.1, None) * (distance < 1))


def _turned(sprite: Field, degrees: float, radius: float) -> Field:
    """The sprite turned and scaled to a radius in pixels of the field."""
    side = max(int(2 * radius) + 1, 3)
    turn = cv2.getRotationMatrix2D((SPRITE_SIDE / 2, SPRITE_SIDE / 2), degrees, side / SPRITE_SIDE)
    centred = turn + np.array([[0, 0, 1], [0, 0, 1]]) * ((side - SPRITE_SIDE) / 2)
    return as_field(cv2.warpAffine(sprite, centred, (side, side), flags=cv2.INTER_LINEAR))


def _add(field: Field, sprite: Field, x: float, y: float) -> None:
    """Add the sprite centred at (x, y), cut at the field's rim."""
    side = sprite.shape[0]
    left, top = round(x - side / 2), round(y - side / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + side, field.shape[1]), min(top + side, field.shape[0])
    if x0 < x1 and y0 < y1:
        part = field[y0:y1, x0:x1]
        np.add(part, sprite[y0 - top : y1 - top, x0 - left : x1 - left], out=part)


def _composite(picture: Field, depth: Field, fresh: Field) -> Field:
    """Lay smoke over the picture: lit from the upper left, darker and browner where it is fresh and thick."""
    thick = cv2.GaussianBlur(depth, (0, 0), 3)
    towards_sun = np.array([[1, 0, 7], [0, 1, 7]], np.float64)
    shaded = cv2.warpAffine(thick, towards_sun, depth.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    light = np.clip(0.76 + 0.16 * (thick - shaded) - 0.08 * fresh - 0.07 * np.clip(thick, 0, 3), 0.34, 0.92)
    size = (picture.shape[1], picture.shape[0])
    light, depth, fresh = (as_field(cv2.resize(f, size)) for f in (light, depth, np.clip(fresh, 0, 1)))
    tint = np.stack([light * (0.985 - 0.05 * fresh), light * (0.985 - 0.03 * fresh), light * 0.985], axis=-1)
    veil = (1 - np.exp(-1.25 * depth))[..., None]
    return as_field(picture * (1 - veil) + tint * veil)
