"""Training samples: tiles of several pictures, small far smoke and lamps drawn in, light and camera varied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from data import FIRE, GREY, SMOKE, Boxes, Picture, Sample
from numpy.random import Generator
from numpy.typing import NDArray
from render import clouds, dusk, glare, lamps, neon, paste_plume, plume

KEPT_SHARE = 0.3  # a box cut to less than this of its area is neither there nor not there: ignored
LEAST_SIDE = 4.0  # px
LEAST_AREA = 60  # px: rendered smoke needs a picture to stand in
PLUMES = 200
NOT_FIRE = ((0.12, lamps), (0.08, glare), (0.06, dusk), (0.06, neon))


Rect = tuple[int, int, int, int]  # x1, y1, x2, y2


@dataclass
class Canvas:
    """One training picture in the making."""

    image: Picture
    boxes: list[Boxes] = field(default_factory=list)
    ignored: list[Boxes] = field(default_factory=list)
    areas: list[Rect] = field(default_factory=list)  # where there is a picture, not margin

    def truth(self) -> tuple[Boxes, Boxes]:
        return _stack(self.boxes), _stack(self.ignored)


def _stack(parts: list[Boxes]) -> Boxes:
    return np.concatenate([np.zeros((0, 5), np.float32), *parts]).astype(np.float32)


class Augment:
    """`draw()` → (image [s,s,3] BGR uint8, boxes [n,5], ignored [m,5]); the generator decides everything."""

    def __init__(self, samples: Sequence[Sample], size: int, rng: Generator) -> None:
        self.size, self.rng = size, rng
        self.samples = list(samples)
        weight = np.array([_weight(s) for s in samples])
        self.weight = weight / weight.sum()
        self.plumes = [plume(rng) for _ in range(PLUMES)]

    def draw(self) -> tuple[Picture, Boxes, Boxes]:
        canvas = Canvas(np.full((self.size, self.size, 3), GREY, np.uint8))
        tiles = int(self.rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
        for rect in self._grid(tiles):
            self._place(canvas, self.samples[self.rng.choice(len(self.samples), p=self.weight)], rect)
        if self.rng.random() < 0.12:
            self._clouds(canvas)
        if self.rng.random() < 0.35 and canvas.areas:
            self._far_smoke(canvas)
        for share, draw in NOT_FIRE:
            if self.rng.random() < share:
                draw(canvas.image, self.rng)
        return photometric(canvas.image, self.rng), *canvas.truth()

    def _grid(self, tiles: int) -> list[Rect]:
        """Rectangles x1, y1, x2, y2 of a tiles × tiles grid with jittered lines."""
        lines = [self._lines(tiles) for _ in range(2)]
        pairs = [list(pairwise(axis)) for axis in lines]
        return [(x1, y1, x2, y2) for x1, x2 in pairs[0] for y1, y2 in pairs[1]]

    def _lines(self, tiles: int) -> list[int]:
        inner = (np.arange(1, tiles) + self.rng.uniform(-0.25, 0.25, tiles - 1)) / tiles
        return [0, *(int(v * self.size) for v in inner), self.size]

    def _place(self, canvas: Canvas, sample: Sample, rect: Rect) -> None:
        """Scale, stretch, flip and shift a picture into a rectangle of the canvas; what sticks out is cut."""
        x1, y1, x2, y2 = rect
        height, width = sample.image.shape[:2]
        scale = max(x2 - x1, y2 - y1) / max(height, width) * float(np.exp(self.rng.uniform(-0.4, 0.6)))
        stretch = float(np.exp(self.rng.uniform(-0.2, 0.2)))
        sx, sy = scale * stretch, scale / stretch
        free_x, free_y = (x2 - x1) - width * sx, (y2 - y1) - height * sy
        dx, dy = self.rng.uniform(min(free_x, 0), max(free_x, 0)), self.rng.uniform(min(free_y, 0), max(free_y, 0))
        flip = self.rng.random() < 0.5
        matrix = np.array([[-sx if flip else sx, 0, dx + (width * sx if flip else 0)], [0, sy, dy]])
        tile = cv2.warpAffine(
            _preshrunk(sample.image, min(sx, sy)),
            matrix @ _preshrink_matrix(min(sx, sy)),
            (x2 - x1, y2 - y1),
            borderValue=(GREY,) * 3,
        )
        canvas.image[y1:y2, x1:x2] = tile
        seen = warp_boxes(np.array([[0, 0, 0, width, height]], np.float32), matrix)[0, 1:]
        canvas.areas.append(_inside(rect, seen))
        whole = np.array([[c, 0, 0, width, height] for c in sample.unlabelled], np.float32).reshape(-1, 5)
        for boxes, is_truth in ((sample.boxes, True), (whole, False)):
            self._add(canvas, warp_boxes(boxes, matrix), rect, is_truth)

    @staticmethod
    def _add(canvas: Canvas, boxes: Boxes, rect: Rect, is_truth: bool) -> None:
        x1, y1, x2, y2 = rect
        moved = boxes + np.array([0, x1, y1, x1, y1], np.float32)
        cut = moved.copy()
        cut[:, 1::2], cut[:, 2::2] = cut[:, 1::2].clip(x1, x2), cut[:, 2::2].clip(y1, y2)
        sides = cut[:, 3:] - cut[:, 1:3]
        share = sides.prod(1) / (moved[:, 3:] - moved[:, 1:3]).prod(1).clip(1e-6)
        visible = sides.min(1) > 0 if len(cut) else np.zeros(0, bool)
        good = visible & (share >= KEPT_SHARE) & (sides.min(1, initial=np.inf) >= LEAST_SIDE)
        canvas.boxes.append(cut[good & is_truth])
        canvas.ignored.append(cut[visible & ~(good & is_truth)])

    def _clouds(self, canvas: Canvas) -> None:
        for x1, y1, x2, y2 in canvas.areas:
            if min(x2 - x1, y2 - y1) >= LEAST_AREA:
                clouds(canvas.image[y1:y2, x1:x2], self.rng)

    def _far_smoke(self, canvas: Canvas) -> None:
        """One or two rendered plumes, small for the picture they stand in, each with its box."""
        for _ in range(int(self.rng.integers(1, 3))):
            x1, y1, x2, y2 = canvas.areas[self.rng.integers(len(canvas.areas))]
            if min(x2 - x1, y2 - y1) < LEAST_AREA:
                continue
            mask = self.plumes[self.rng.integers(len(self.plumes))]
            box = paste_plume(canvas.image[y1:y2, x1:x2], mask, self.rng)
            if box is not None:
                canvas.boxes.append(np.array([[SMOKE, *(box + np.array([x1, y1, x1, y1]))]], np.float32))


def _inside(rect: Rect, seen: NDArray[np.float32]) -> Rect:
    """The part of `rect` that a picture with corners `seen` (relative to the rect) covers."""
    x1, y1, x2, y2 = rect
    corners = np.array([x1, y1, x1, y1]) + seen.round().astype(int)
    return max(x1, corners[0]), max(y1, corners[1]), min(x2, corners[2]), min(y2, corners[3])


def _weight(sample: Sample) -> float:
    """Indoor fire is plenty; pictures with smoke boxes are what is short."""
    if SMOKE in sample.boxes[:, 0]:
        return 1.3
    return 0.6 if FIRE in sample.boxes[:, 0] else 1.0


def _preshrunk(image: Picture, scale: float) -> Picture:
    """Halve by area before a warp that shrinks a lot, or thin smoke aliases away."""
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) if scale < 0.6 else image


def _preshrink_matrix(scale: float) -> NDArray[np.float64]:
    factor = 2.0 if scale < 0.6 else 1.0
    return np.diag([factor, factor, 1.0])


def warp_boxes(boxes: Boxes, matrix: NDArray[np.float64]) -> Boxes:
    """Boxes under a matrix without shear: corners, put in order again after a flip."""
    out = boxes.copy()
    xs, ys = boxes[:, 1::2] * matrix[0, 0] + matrix[0, 2], boxes[:, 2::2] * matrix[1, 1] + matrix[1, 2]
    out[:, 1::2], out[:, 2::2] = np.sort(xs, 1), np.sort(ys, 1)
    return out


def photometric(image: Picture, rng: Generator) -> Picture:
    """Light, colour, haze, focus, compression: what differs between cameras and hours."""
    for share, change in CHANGES:
        if rng.random() < share:
            image = change(image, rng)
    return image


def _light(image: Picture, rng: Generator) -> Picture:
    gain, bias, gamma = rng.uniform(0.6, 1.4), rng.uniform(-25, 25), np.exp(rng.uniform(-0.35, 0.35))
    ramp = (np.arange(256) / 255.0) ** gamma * 255
    return cv2.LUT(image, np.clip(ramp * gain + bias, 0, 255).astype(np.uint8))


def _colour(image: Picture, rng: Generator) -> Picture:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + int(rng.integers(-6, 7))) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.5, 1.5), 0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)


def _haze(image: Picture, rng: Generator) -> Picture:
    white = np.full_like(image, int(rng.integers(130, 245)))
    share = rng.uniform(0.1, 0.5)
    return cv2.addWeighted(image, 1 - share, white, share, 0)


def _blur(image: Picture, rng: Generator) -> Picture:
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4))


def _grain(image: Picture, rng: Generator) -> Picture:
    grain = rng.standard_normal((*image.shape[:2], 1), np.float32) * rng.uniform(3, 14)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _compress(image: Picture, rng: Generator) -> Picture:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 75))])
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if done else image


def _grey(image: Picture, rng: Generator) -> Picture:
    del rng
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


CHANGES: tuple[tuple[float, Callable[[Picture, Generator], Picture]], ...] = (
    (0.7, _light),
    (0.6, _colour),
    (0.08, _haze),
    (0.15, _blur),
    (0.2, _grain),
    (0.3, _compress),
    (0.05, _grey),
)
