"""What a picture looks like as a whole, in a millisecond or two: the material of the rule that notices blindness.

    grey ─► 480 x 270 ─► 160 x 90 ─► 64 x 36
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

FINE, COARSE, THUMB, GRAIN, BLOCKS = (480, 270), (160, 90), (64, 36), (32, 18), (16, 9)
"""Widths and heights."""

ROWS = 540
"""Of a picture with twice as many rows every second is looked at, and so on: enough, and twice as fast."""

DARK, BRIGHT = 24, 250
STRUCTURE = 1.5
"""Grey levels of coarse edge energy (root mean square) from which a block has something to be sharp."""

SMOOTH = COARSE[0] / FINE[0]
"""Edges in the fine picture as a part of those in the coarse one, where there is no fine detail."""

LEAST_BLOCKS = 10
"""Blocks with structure below which no sharpness is told."""

DETAIL_UNIT = 8.0
SMOOTHEST, CLUMPED = 5, 3.0
"""Percentile of the blocks that is taken for noise, and by how much noise outlives averaging."""

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]


def measure(picture: Picture, encoded: bytes = b"") -> Look:
    """The look of H x W x 3 BGR; `encoded` are the bytes it came in, for `mark` (default: its own pixels)."""
    rows = picture[:: max(1, picture.shape[0] // ROWS)]
    grey = np.asarray(cv2.cvtColor(rows, cv2.COLOR_BGR2GRAY), np.uint8)
    fine = _resized(grey, FINE)
    coarse = _resized(fine, COARSE)
    thumb = _resized(coarse, THUMB)
    sharp, detail = _without_noise(_edges(fine), _edges(coarse))
    return Look(
        mean=round(float(thumb.mean()), 2),
        contrast=round(float(thumb.std()), 2),
        dark=round(float((coarse < DARK).mean()), 4),
        bright=round(float((coarse >= BRIGHT).mean()), 4),
        sharpness=_sharpness(sharp, detail),
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


def _without_noise(fine: Floats, coarse: Floats) -> tuple[Floats, Floats]:
    """Both edge energies less the sensor's noise: what the smoothest blocks have left.

    Of white noise a ninth of the energy is left in the coarse picture; coding clumps it, so more is taken away.
    """
    floor = float(np.percentile(fine, SMOOTHEST)) ** 2
    return np.sqrt(np.maximum(fine**2 - floor, 0)), np.sqrt(np.maximum(coarse**2 - floor * CLUMPED / 9, 0))


def _sharpness(fine: Floats, coarse: Floats) -> float | None:
    """How much more of its edges a block with structure keeps in the fine picture than any smooth picture does.

    The middle one of the blocks: a line of text that the camera writes into a blurred picture changes nothing.
    """
    structured = coarse >= STRUCTURE
    if int(structured.sum()) < LEAST_BLOCKS:
        return None
    kept = float(np.median(fine[structured] / coarse[structured]))
    return round(max(0.0, 100 * (kept - SMOOTH) / (1 - SMOOTH)), 2)


def _grain(grey: Grey) -> Grey:
    """Single pixels in the middles of a grid, not averaged: the sensor's noise stays in them."""
    height, width = grey.shape
    rows = (np.arange(GRAIN[1]) * 2 + 1) * height // (2 * GRAIN[1])
    columns = (np.arange(GRAIN[0]) * 2 + 1) * width // (2 * GRAIN[0])
    return np.ascontiguousarray(grey[np.ix_(rows, columns)])
