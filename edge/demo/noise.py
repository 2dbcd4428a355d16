"""Smooth random fields for made-up landscapes: sums of value noise over octaves."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def smooth(
    shape: tuple[int, int],
    cells: tuple[float, float],
    rng: np.random.Generator,
    *,
    octaves: int = 5,
    gain: float = 0.5,
) -> Field:
    """Noise of mean 0 and standard deviation 1 on `shape` (height, width), with `cells` (down, across) lumps."""
    total = np.zeros(shape, np.float32)
    weight = 1.0
    for octave in range(octaves):
        down, across = (max(round(n * 2**octave), 1) + 3 for n in cells)
        grid = rng.standard_normal((min(down, shape[0]), min(across, shape[1]))).astype(np.float32)
        total += weight * as_field(cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC))
        weight *= gain
    return as_field((total - total.mean()) / (total.std() + 1e-6))


def ridge(width: int, rng: np.random.Generator, *, cells: float, octaves: int = 6, gain: float = 0.5) -> Field:
    """A skyline: one noise value a column, mean 0 and standard deviation 1."""
    return as_field(smooth((8, width), (1, cells), rng, octaves=octaves, gain=gain)[4])


def as_field(values: Any) -> Field:
    """float32, for OpenCV's and numpy's results."""
    return np.asarray(values, np.float32)
