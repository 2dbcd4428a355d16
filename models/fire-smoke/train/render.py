"""Drawn into training pictures: smoke far away, with its box; without one clouds, lamps, glare, dusk, signs."""

from __future__ import annotations

import cv2
import numpy as np
from data import Picture
from numpy.random import Generator
from numpy.typing import NDArray

Mask = NDArray[np.float32]  # [h,w] opacity in 0..1
LEAST_CONTRAST = 7.0  # grey levels: smoke that nobody could see would teach the net to guess
TRIES = 4


def plume(rng: Generator, high: int = 128, wide: int = 128) -> NDArray[np.float32]:
    """Opacity [high,wide] of a smoke plume rising from the bottom: puffs that widen, drift and thin out."""
    lean, spread = rng.uniform(-0.7, 0.7), rng.uniform(0.1, 0.4)
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
    alpha = np.zeros((high, wide), np.float32)
    for _ in range(int(rng.integers(15, 60))):
        age = rng.random()
        radius = (0.04 + spread * age * rng.uniform(0.5, 1.0)) * wide / 2
        cx = wide / 2 + (lean * age**1.3 + rng.normal(0, 0.08) * age) * wide / 2
        cy = high * (1 - 0.95 * age)
        alpha += rng.uniform(0.2, 0.9) * (1 - 0.6 * age) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / radius**2)
    alpha = 1 - np.exp(-alpha * (0.4 + 1.2 * noise(rng, high, wide)))
    box = tight(alpha)
    return alpha[box[1] : box[3] + 1, box[0] : box[2] + 1]


def noise(rng: Generator, high: int, wide: int) -> NDArray[np.float32]:
    """Cloud-like noise in 0..1: sums of blurred grids, each twice as fine and half as strong."""
    total = np.zeros((high, wide), np.float32)
    for octave in range(2, 7):
        grid = rng.random((2**octave, 2**octave), np.float32)
        total += cv2.resize(grid, (wide, high), interpolation=cv2.INTER_CUBIC) / 2 ** (octave - 2)
    return (total - total.min()) / (total.max() - total.min())


def tight(alpha: Mask) -> NDArray[np.int64]:
    """Corners x1, y1, x2, y2 around what can be seen of an opacity mask."""
    seen = alpha > 0.2 * alpha.max()
    cols, rows = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
    return np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1])


def paste_plume(area: Picture, mask: Mask, rng: Generator) -> NDArray[np.int64] | None:
    """Draw a plume into `area`, in place: small, thin, pale or dark. Its box; None where it would not be seen."""
    height, width = area.shape[:2]
    high = int(np.exp(rng.uniform(np.log(10), np.log(0.55 * height))))
    wide = max(5, int(high * mask.shape[1] / mask.shape[0] * np.exp(rng.uniform(-0.5, 0.5))))
    if wide >= width or high >= height:
        return None
    x, y = int(rng.integers(width - wide)), int((height - high) * rng.beta(1.6, 2.0))
    alpha = cv2.resize(mask, (wide, high), interpolation=cv2.INTER_AREA)
    alpha = (alpha[:, ::-1] if rng.random() < 0.5 else alpha) * rng.uniform(0.3, 0.95)
    region, shade = area[y : y + high, x : x + wide], 1 + 0.4 * (noise(rng, high, wide) - 0.5)
    for _ in range(TRIES):
        drawn = region.copy()
        blend(drawn, alpha, smoke_colour(float(region.mean()), rng) * shade[..., None])
        change = np.abs(drawn.astype(np.int16) - region).mean(2)
        if change[alpha > 0.3 * alpha.max()].mean() >= LEAST_CONTRAST:
            region[:] = drawn
            return tight(alpha) + np.array([x, y, x, y])
    return None


def smoke_colour(bright: float, rng: Generator) -> NDArray[np.float32]:
    """BGR: mostly paler than what is behind it, sometimes dark; nearly without colour."""
    level = rng.uniform(100, 245) if rng.random() < 0.7 else rng.uniform(0.2, 0.7) * bright
    return np.clip(level + rng.normal(0, 5, 3) + rng.uniform(-8, 8) * np.array([1, 0, -1]), 8, 250).astype(
        np.float32
    )


def clouds(area: Picture, rng: Generator) -> None:
    """Pale banks over the upper part of `area`, in place, thinning out downwards: white and soft, yet no smoke."""
    high, width = int(area.shape[0] * rng.uniform(0.2, 0.55)), area.shape[1]
    bank = cv2.resize(noise(rng, high, max(8, width // 3)), (width, high), interpolation=cv2.INTER_CUBIC)
    alpha = np.clip((bank - rng.uniform(0.35, 0.6)) * rng.uniform(2, 6), 0, 1) * rng.uniform(0.25, 0.75)
    alpha *= np.linspace(1, rng.uniform(0, 0.5), high, dtype=np.float32)[:, None]
    level = rng.uniform(0.75, 1) * 250 if rng.random() < 0.8 else rng.uniform(90, 160)
    blend(area[:high], alpha.astype(np.float32), np.full(3, level, np.float32))


def lamps(image: Picture, rng: Generator) -> None:
    """Glows that are not fire, drawn in place: head lights, street lamps, a low sun."""
    size = min(image.shape[:2])
    for _ in range(int(rng.integers(1, 6))):
        radius = int(np.exp(rng.uniform(np.log(4), np.log(0.12 * size))))
        x, y = rng.integers(radius, size - radius, 2)
        axis = np.arange(-radius, radius) / radius
        away = np.hypot(*np.meshgrid(axis, axis)).astype(np.float32)
        alpha = np.clip(1.2 * (1 - away).clip(0) ** rng.uniform(0.7, 2.5), 0, 1) * (away < 1)
        warm = rng.uniform(0, 1)
        colour = np.array([255 - 130 * warm, 255 - 60 * warm, 255], np.float32)
        blend(image[y - radius : y + radius, x - radius : x + radius], alpha, colour)


def glare(image: Picture, rng: Generator) -> None:
    """A strong light against the lens, in place: a wide veil, a burning core, streaks, ghosts on the far side."""
    high, wide = image.shape[:2]
    light = rng.uniform(0.05, 0.95, 2) * (wide, high)
    warm = rng.uniform(0, 1)
    colour = np.array([255 - 140 * warm, 255 - 70 * warm, 255], np.float32)
    x, y = np.meshgrid(np.arange(wide, dtype=np.float32) - light[0], np.arange(high, dtype=np.float32) - light[1])
    away, size = np.hypot(x, y), min(high, wide)
    veil = np.exp(-away / (size * rng.uniform(0.08, 0.5))) * rng.uniform(0.3, 1.0)
    core = np.clip(1.6 - away / (size * rng.uniform(0.01, 0.08)), 0, 1)
    turn, count = rng.uniform(0, np.pi), int(rng.integers(0, 5))
    rays = (
        np.abs(np.cos(count * (np.arctan2(y, x) + turn))) ** rng.uniform(20, 120) if count else np.zeros_like(away)
    )
    streaks = rays * np.exp(-away / (size * rng.uniform(0.1, 0.4))) * rng.uniform(0.2, 0.8)
    blend(image, np.maximum(np.maximum(veil, core), streaks).astype(np.float32).clip(0, 1), colour)
    for _ in range(int(rng.integers(0, 4))):
        _ghost(image, light, rng)


def _ghost(image: Picture, light: NDArray[np.float64], rng: Generator) -> None:
    """A faint coloured disc on the line from the light through the picture's middle."""
    middle = np.array(image.shape[1::-1]) / 2
    centre = middle + (middle - light) * rng.uniform(-0.6, 1.2)
    spot = np.zeros(image.shape[:2], np.float32)
    radius = int(min(image.shape[:2]) * rng.uniform(0.01, 0.09)) + 1
    cv2.circle(spot, (int(centre[0]), int(centre[1])), radius, float(rng.uniform(0.15, 0.6)), -1)
    spot = cv2.GaussianBlur(spot, (0, 0), max(0.5, radius * rng.uniform(0.05, 0.4)))
    blend(image, spot, rng.uniform(90, 255, 3).astype(np.float32))


def dusk(image: Picture, rng: Generator) -> None:
    """A red or yellow sky, in place: strongest in one band, with banks of cloud that catch the light."""
    high, wide = image.shape[:2]
    rows = np.arange(high, dtype=np.float32) / high
    band = np.exp(-(((rows - rng.uniform(0.05, 0.6)) / rng.uniform(0.08, 0.35)) ** 2))
    bank = cv2.resize(noise(rng, 64, 64), (wide, max(high, 1)), interpolation=cv2.INTER_CUBIC)
    alpha = band[:, None] * (0.4 + 0.6 * bank) * rng.uniform(0.25, 0.8)
    colour = np.array([rng.uniform(20, 120), rng.uniform(70, 190), rng.uniform(200, 255)], np.float32)
    blend(image, alpha.astype(np.float32), colour)


def neon(image: Picture, rng: Generator) -> None:
    """Lit signs, in place: strokes and boxes in one strong colour with a glow about them."""
    high, wide = image.shape[:2]
    for _ in range(int(rng.integers(1, 5))):
        sign = np.zeros((high, wide), np.float32)
        w, h = int(wide * rng.uniform(0.03, 0.3)), int(high * rng.uniform(0.01, 0.1)) + 2
        x, y = int(rng.integers(0, max(1, wide - w))), int(rng.integers(0, max(1, high - h)))
        if rng.random() < 0.5:
            cv2.rectangle(sign, (x, y), (x + w, y + h), 1.0, int(rng.choice([-1, 1, 2])))
        else:
            steps = np.linspace(x, x + w, int(rng.integers(3, 12)))
            line = np.stack([steps, y + rng.uniform(0, h, len(steps))], 1).astype(np.int32)
            cv2.polylines(sign, [line], bool(rng.random() < 0.3), 1.0, int(rng.integers(1, 4)))
        glow = cv2.GaussianBlur(sign, (0, 0), rng.uniform(1.0, 6.0)) * rng.uniform(0.5, 1.5)
        colour = np.array([rng.uniform(0, 255), rng.uniform(0, 200), rng.uniform(150, 255)], np.float32)
        blend(image, np.maximum(sign * 0.95, glow).clip(0, 1), colour)


def blend(region: Picture, alpha: Mask, colour: NDArray[np.float32]) -> None:
    """Mix a colour (or one a pixel) into a region, in place, by opacity."""
    share = alpha[..., None]
    region[:] = (region * (1 - share) + colour * share).clip(0, 255).astype(np.uint8)
