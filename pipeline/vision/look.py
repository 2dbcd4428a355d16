"""What a picture looks like as a whole, in a millisecond or two: the material of the rule that notices blindness.

    grey ─► 640 x 360 ─► 160 x 90 ─► 64 x 36
    grain   fine edges   coarse      thumbnail: noise is averaged away, light and layout stay
            │            │
            └── ratio ───┴─► sharpness: fog and dusk take both, a lens out of focus takes only the fine ones

A picture taller than wide is squeezed into the same grid: it is compared with its own past only.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from pipeline.message import Look
from pipeline.vision.picture import Picture, cv2

FINE, COARSE, THUMB, GRAIN, BLOCKS = (640, 360), (160, 90), (64, 36), (32, 18), (16, 9)
"""Widths and heights."""

DARK, BRIGHT = 24, 250
STRUCTURE = 1.5
"""Grey levels of coarse edge energy (root mean square) from which a block has something to be sharp."""

LEAST_BLOCKS = 10
"""Blocks with structure below which no sharpness is told."""

DETAIL_UNIT = 8.0

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]


def measure(picture: Picture, encoded: bytes = b"") -> Look:
    """The look of H x W x 3 BGR; `encoded` are the bytes it came in, for `mark` (default: its own pixels)."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    fine = _resized(grey, FINE)
    coarse = _resized(fine, COARSE)
    thumb = _resized(coarse, THUMB)
    detail = _edges(coarse)
    return Look(
        mean=round(float(thumb.mean()), 2),
        contrast=round(float(thumb.std()), 2),
        dark=round(float((coarse < DARK).mean()), 4),
        bright=round(float((coarse >= BRIGHT).mean()), 4),
        sharpness=round(_sharpness(_edges(fine), detail), 2),
        thumb=thumb.tobytes(),
        grain=_grain(grey).tobytes(),
        detail=np.clip(detail * DETAIL_UNIT, 0, 255).astype(np.uint8).tobytes(),
        mark=hashlib.blake2b(encoded or fine.tobytes(), digest_size=8).hexdigest(),
    )


def _resized(grey: Grey, size: tuple[int, int]) -> Grey:
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _edges(grey: Grey) -> Floats:
    """Root mean square of the differences between neighbours in each of the blocks, 9 x 16, grey levels."""
    right = cv2.subtract(grey[:-1, 1:], grey[:-1, :-1], dtype=cv2.CV_32F)
    down = cv2.subtract(grey[1:, :-1], grey[:-1, :-1], dtype=cv2.CV_32F)
    energy = cv2.multiply(right, right) + cv2.multiply(down, down)
    return np.sqrt(np.asarray(cv2.resize(energy, BLOCKS, interpolation=cv2.INTER_AREA), np.float32))


def _sharpness(fine: Floats, coarse: Floats) -> float:
    """Fine edges as a percentage of coarse ones in the middle one of the blocks that have any: a line of text that
    the camera writes into a blurred picture does not make it sharp."""
    structured = coarse >= STRUCTURE
    if int(structured.sum()) < LEAST_BLOCKS:
        return 0.0
    return float(100 * np.median(fine[structured] / coarse[structured]))


def _grain(grey: Grey) -> Grey:
    """Single pixels in the middles of a grid, not averaged: the sensor's noise stays in them."""
    height, width = grey.shape
    rows = (np.arange(GRAIN[1]) * 2 + 1) * height // (2 * GRAIN[1])
    columns = (np.arange(GRAIN[0]) * 2 + 1) * width // (2 * GRAIN[0])
    return np.ascontiguousarray(grey[np.ix_(rows, columns)])
