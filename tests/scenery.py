"""A landscape before a camera, rendered for tests: weather, light, lens and sensor, and what can befall them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo.noise import Field, as_field, smooth
from pipeline.message import SECOND, Clock, Look, ScoredFrame
from pipeline.vision.look import measure
from tests.moving import T0

SIZE = (480, 270)
MARGIN = 90
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Air:
    """What lies between land and picture. `light` 1 is day; `fog` and `snow` 0 to 1; `noise` grey levels."""

    light: float = 1.0
    fog: float = 0.0
    snow: float = 0.0
    rain: int = 0
    lamps: bool = False
    exposure: float = 1.0
    noise: float = 2.0
    blur: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    cover: float = 0.0
    quality: int = 85
    scale: float = 1.0
    mono: bool = False


class Land:
    """Hills one behind the other under a sky; `depth` 0 is near, 1 the horizon and the sky."""

    def __init__(self, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.wide, self.high = SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN
        shape = (self.high, self.wide)
        self.land = as_field(0.75 + 0.04 * smooth(shape, (3, 5), rng, octaves=4))
        self.depth = np.ones(shape, np.float32)
        rows = np.arange(self.high, dtype=np.float32)[:, None]
        for level, far, grain in ((0.42, 0.9, 30), (0.52, 0.6, 22), (0.62, 0.35, 16), (0.78, 0.1, 10)):
            line = self.high * (level + 0.05 * smooth((8, self.wide), (1, 4), rng, octaves=6)[4])
            below = rows > line[None, :]
            wood = smooth(shape, (grain, grain * 1.6), rng, octaves=5, gain=0.8)
            texture = np.clip(0.28 + 0.09 * wood, 0.03, 0.9) * (1 - 0.7 * far) + 0.7 * far * 0.7
            self.land = as_field(np.where(below, texture, self.land))
            self.depth = as_field(np.where(below, far, self.depth))
        self.lamps = np.zeros(shape, np.float32)
        for _ in range(14):
            y, x = rng.integers(self.high // 2, self.high - MARGIN), rng.integers(MARGIN, self.wide - MARGIN)
            cv2.circle(self.lamps, (int(x), int(y)), 3, 1.0, -1)
        self.lamps += 0.25 * as_field(cv2.GaussianBlur(self.lamps, (0, 0), 14)) * 20
        self.clouds = smooth(shape, (5, 5), rng, octaves=5)

    def picture(self, t: float, air: Air = Air()) -> Image:
        """The picture at `t` seconds as H x W x 3: the same for the same numbers."""
        rng = np.random.default_rng((7, round(t * 1000)))
        scene = self._lit(t, air)
        scene = scene * (1 - self._veil(air)) + 0.78 * min(air.light * 1.1, 1.0) * self._veil(air)
        scene = self._window(as_field(scene), air.shift)
        scene = self._weather(scene, air, rng)
        scene = self._lens(scene, air)
        grain = rng.standard_normal(scene.shape, np.float32) * np.float32(air.noise / 255)
        grey = np.asarray(np.clip((scene * air.exposure + grain) * 255 + 0.5, 0, 255), np.uint8)
        if air.scale != 1.0:
            grey = np.asarray(
                cv2.resize(grey, None, fx=air.scale, fy=air.scale, interpolation=cv2.INTER_AREA), np.uint8
            )
        return np.repeat(grey[..., None], 3, axis=2)

    def _lit(self, t: float, air: Air) -> Field:
        clouds = 0.05 * np.roll(self.clouds, round(t * 2), axis=1) * (self.depth >= 1)
        scene = (self.land + clouds) * air.light
        if air.mono:  # infrared: leaves are light, the sky is dark
            scene = np.where(self.depth < 1, 0.25 + 0.8 * self.land * (1 - 0.6 * self.depth), 0.05)
        return as_field(scene + (self.lamps if air.lamps else 0.0))

    def _veil(self, air: Air) -> Field:
        """Fog hides what is far first."""
        return as_field(1 - np.exp(-7 * air.fog * (0.12 + self.depth)))

    def _window(self, scene: Field, shift: tuple[float, float]) -> Field:
        move = np.array([[1, 0, shift[0] - MARGIN], [0, 1, shift[1] - MARGIN]], np.float64)
        return as_field(cv2.warpAffine(scene, move, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    def _weather(self, scene: Field, air: Air, rng: np.random.Generator) -> Field:
        for _ in range(int(air.snow * 500)):
            x, y = int(rng.integers(SIZE[0])), int(rng.integers(SIZE[1]))
            cv2.circle(scene, (x, y), int(rng.integers(1, 4)), float(0.9 * max(air.light, 0.15)), -1)
        if air.rain:
            drops = np.random.default_rng(air.rain)
            soft = as_field(cv2.GaussianBlur(scene, (0, 0), 6))
            mask = np.zeros(scene.shape, np.float32)
            for _ in range(40):
                spot = (int(drops.integers(SIZE[0])), int(drops.integers(SIZE[1])))
                cv2.circle(mask, spot, int(drops.integers(6, 18)), 1.0, -1)
            scene = as_field(scene * (1 - mask) + soft * mask)
        return scene

    def _lens(self, scene: Field, air: Air) -> Field:
        if air.blur:
            scene = as_field(cv2.GaussianBlur(scene, (0, 0), air.blur))
        if air.cover:
            scene = scene.copy()
            edge = int(SIZE[0] * air.cover)
            scene[:, :edge] = 0.22 * air.light + 0.02 * np.linspace(0, 1, edge, dtype=np.float32)
        return scene


Weather = Callable[[float], Air]


def film(
    land: Land,
    seconds: float,
    weather: Weather,
    *,
    every: float = 1.0,
    start: float = 0.0,
    camera: str = "tower",
    hour: float = 10.0,
) -> Iterator[ScoredFrame]:
    """Pictures from `start` on, `every` so many seconds, as a camera encodes them; it begins at `hour` UTC."""
    for n in range(round(seconds / every)):
        t = start + n * every
        air = weather(t)
        yield frame(t, land.picture(t, air), camera=camera, quality=air.quality, hour=hour)


def frame(
    t: float,
    picture: Image,
    *,
    camera: str = "tower",
    quality: int = 85,
    hour: float = 10.0,
    age: float = 0.0,
    **more: Any,
) -> ScoredFrame:
    """`picture` through JPEG, as it is when the detector has seen it `t` seconds after the beginning."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    seen = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return scored(
        t, measure(seen, data.tobytes()), size=picture.shape[:2], camera=camera, hour=hour, age=age, **more
    )


def scored(
    t: float,
    look: Look,
    *,
    size: tuple[int, ...] = (360, 640),
    camera: str = "tower",
    hour: float = 10.0,
    age: float = 0.0,
    clock: Clock = Clock.SYNCED,
) -> ScoredFrame:
    day = T0 // (86_400 * SECOND) * 86_400 * SECOND
    at = day + round((hour * 3600 + t) * SECOND)
    return ScoredFrame(camera, at, at + round(age * SECOND), size[1], size[0], "m@1", [], clock, look)


def at(air: Air, **changes: Any) -> Weather:
    """The same weather always."""
    fixed = replace(air, **changes)
    return lambda _t: fixed
