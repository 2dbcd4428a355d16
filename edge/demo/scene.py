"""What the demonstration's watch-tower sees: a wooded valley by day, slow clouds, and after a while smoke.

A picture is a function of time and seed: `Scene(size, seed=...).render(seconds)`. The landscape is drawn once; each
picture adds the clouds, the plume, the camera's shake and the sensor's noise.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo.noise import Field, as_field, ridge, smooth
from edge.demo.plume import Plume

Image = NDArray[np.uint8]
HAZE = np.array([0.80, 0.74, 0.67], np.float32)
FOOT, SCALE = (0.56, 0.745), 2.0
"""Where the fire is, in parts of the picture's width and height: on the next hill; and how large it looks."""


class Scene:
    """Pictures of `size` (width, height); smoke begins `smoke_after_s` seconds after time 0."""

    def __init__(self, size: tuple[int, int] = (1280, 720), *, seed: int = 1, smoke_after_s: float = 10.0) -> None:
        rng = np.random.default_rng(seed)
        self._size, self._seed = size, seed
        self._sky_share = self._draw_land(rng)
        self._clouds = smooth((size[1] // 4, size[0] * 3 // 2), (7, 6), rng, octaves=6, gain=0.5)
        foot = (FOOT[0] * size[0], FOOT[1] * size[1])
        self._plume = Plume(size, foot, unit=SCALE * size[1], begins=smoke_after_s, seed=seed)

    def render(self, seconds: float) -> Image:
        """The picture at `seconds`: H x W x 3, BGR, uint8."""
        picture = self._plume.paint(self._with_clouds(seconds), seconds)
        picture = self._in_front(picture)
        return self._through_the_camera(picture, seconds)

    # ------------------------------------------------------------ drawn once

    def _draw_land(self, rng: np.random.Generator) -> Field:
        """Sky, hills from far to near, and what stands before the smoke. Returns where sky is seen, 0 to 1."""
        width, height = self._size
        land = _sky(self._size)
        hills = (
            (0.42, 0.030, 3, 0.80, 0.0),
            (0.47, 0.034, 4, 0.62, 0.006),
            (0.545, 0.040, 3, 0.40, 0.013),
            (0.66, 0.030, 3, 0.20, 0.024),
            (0.84, 0.035, 2, 0.05, 0.050),
        )
        sky = np.ones((height, width), np.float32)
        self._front = np.zeros((height, width), np.float32)
        for number, (level, swing, cells, haze, tree) in enumerate(hills):
            mask = _below(_skyline(self._size, level, swing, cells, tree, rng), self._size)
            texture = _forest(self._size, tree, haze, rng)
            land = as_field(land * (1 - mask[..., None]) + texture * mask[..., None])
            sky *= 1 - mask
            if number >= 4:
                self._front = np.maximum(self._front, mask)
        self._land = as_field(land * _light(self._size, rng)[..., None])
        return sky

    def _in_front(self, picture: Field) -> Field:
        """The near hills hide the foot of the plume's drift."""
        front = self._front[..., None]
        return as_field(picture * (1 - front) + self._land * front)

    # ------------------------------------------------------------ drawn for each picture

    def _with_clouds(self, seconds: float) -> Field:
        width, height = self._size
        span = self._clouds.shape[1]
        first = round(seconds * width * 0.0012) % (2 * span)
        columns = (np.arange(width) + first) % (2 * span)
        band = self._clouds[:, np.minimum(columns, 2 * span - 1 - columns)]  # there and back, without a seam
        tall = int(height * 0.5)
        cover = np.clip(as_field(cv2.resize(band, (width, tall))) * 0.30 - 0.08, 0, 1) ** 1.2
        cover *= np.clip(np.linspace(1.0, -0.3, tall, dtype=np.float32), 0, 1)[:, None] * self._sky_share[:tall]
        picture = self._land.copy()
        white = np.array([0.97, 0.955, 0.945], np.float32)
        shade = as_field(white - 0.12 * cover[..., None])
        picture[:tall] += cover[..., None] * 0.85 * (shade - picture[:tall])
        return picture

    def _through_the_camera(self, picture: Field, seconds: float) -> Image:
        """Shake of the mast, a soft lens, exposure that breathes, and the sensor's noise."""
        rng = np.random.default_rng((self._seed, round(seconds * 1000)))
        shake = rng.normal(0, 0.35, 2)
        move = np.array([[1, 0, shake[0]], [0, 1, shake[1]]], np.float64)
        picture = as_field(cv2.warpAffine(picture, move, self._size, borderMode=cv2.BORDER_REPLICATE))
        picture = as_field(cv2.GaussianBlur(picture, (0, 0), 0.7 * self._size[1] / 720))
        exposure = 1 + 0.008 * np.sin(seconds * 0.21)
        luma = rng.standard_normal(picture.shape[:2], np.float32) * np.float32(0.011)
        chroma = rng.standard_normal((picture.shape[0] // 2, picture.shape[1] // 2, 3), np.float32) * np.float32(
            0.008
        )
        grain = luma[..., None] + as_field(cv2.resize(chroma, self._size))
        return np.asarray(np.clip((picture * exposure + grain) * 255 + 0.5, 0, 255), np.uint8)


def render(seconds: float, size: tuple[int, int] = (1280, 720), *, seed: int = 1) -> Image:
    """One picture without keeping the scene; for many, keep a `Scene`."""
    return Scene(size, seed=seed).render(seconds)


def _sky(size: tuple[int, int]) -> Field:
    """Blue above, pale at the horizon."""
    width, height = size
    part = np.clip(np.linspace(0, 1, height, dtype=np.float32) / 0.5, 0, 1)[:, None, None]
    top, low = np.array([0.80, 0.60, 0.42], np.float32), np.array([0.88, 0.82, 0.76], np.float32)
    return np.broadcast_to(top + (low - top) * part**0.8, (height, width, 3)).astype(np.float32)


def _skyline(
    size: tuple[int, int], level: float, swing: float, cells: float, tree: float, rng: np.random.Generator
) -> Field:
    """Row of the hill's upper edge in each column, with the pointed tops of conifers of height `tree`."""
    width, height = size
    line = height * (level - swing * ridge(width, rng, cells=cells, gain=0.38))
    if tree <= 0:
        return as_field(line)
    columns = np.arange(width, dtype=np.float32)
    tops = np.zeros(width, np.float32)
    for x in np.arange(0, width, max(tree * height * 0.30, 1.5)):
        tall = tree * height * rng.uniform(0.35, 1.0)
        centre = x + rng.normal(0, tree * height * 0.15)
        tops = np.maximum(tops, tall * (1 - np.abs(columns - np.float32(centre)) / np.float32(tall * 0.34)))
    return as_field(line - tops)


def _below(line: Field, size: tuple[int, int]) -> Field:
    """1 below the line, 0 above, with a soft pixel between."""
    rows = np.arange(size[1], dtype=np.float32)[:, None]
    return as_field(np.clip(rows - line[None, :] + 0.5, 0, 1))


def _forest(size: tuple[int, int], tree: float, haze: float, rng: np.random.Generator) -> Field:
    """The cover of a hill: tree crowns of size `tree`, patches of other wood and clearings, behind haze."""
    width, height = size
    across = 1 / max(tree * 0.55, 0.006)
    crowns = smooth((height, width), (across * 0.8, across * 1.6), rng, octaves=3, gain=0.7)
    patches = smooth((height, width), (6, 9), rng, octaves=4)
    dark, fresh = np.array([0.13, 0.24, 0.17], np.float32), np.array([0.17, 0.36, 0.27], np.float32)
    field = np.array([0.26, 0.47, 0.45], np.float32)
    mix = np.clip(0.45 + 0.30 * patches, 0, 1)[..., None]
    colour = dark + (fresh - dark) * mix
    clearing = np.clip(patches * 1.2 - 2.0 - 20 * tree, 0, 1)[..., None]
    colour = colour + (field - colour) * clearing
    colour = colour * (1 + 0.26 * crowns * (1 - clearing[..., 0]))[..., None]
    return as_field(np.clip(colour, 0.02, 1) * (1 - haze) + HAZE * haze)


def _light(size: tuple[int, int], rng: np.random.Generator) -> Field:
    """Cloud shadows on the land, soft and wide; the sky is left alone."""
    width, height = size
    shadow = 1 + 0.07 * np.clip(smooth((height, width), (2, 3), rng, octaves=2), -1.5, 1.0)
    shadow[: int(height * 0.42)] = 1.0
    return as_field(cv2.GaussianBlur(shadow, (0, 0), height * 0.02))
