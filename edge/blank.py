"""Parts of a picture that nobody may see: filled with black before the picture is stored, measured or sent."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import SetupError
from edge.picture import Image

Polygon = Sequence[tuple[float, float]]
"""Corners as shares of the picture's width and height, 0 to 1 from the upper left."""


class Blank:
    """Fills `polygons`, whatever size the picture has. SetupError for corners outside, or fewer than three."""

    def __init__(self, polygons: Sequence[Polygon]) -> None:
        self._polygons = [_checked(i, polygon) for i, polygon in enumerate(polygons, 1)]
        self._mask: NDArray[np.bool_] = np.zeros((0, 0), np.bool_)

    def __call__(self, image: Image) -> Image:
        """The picture itself, changed in place."""
        if self._polygons:
            if self._mask.shape != image.shape[:2]:
                self._mask = self._mask_of(*image.shape[:2])
            image[self._mask] = 0
        return image

    def _mask_of(self, height: int, width: int) -> NDArray[np.bool_]:
        """Where nothing may be seen: pixels that an edge only touches are meant too."""
        mask = np.zeros((height, width), np.uint8)
        for polygon in self._polygons:
            corners = np.rint(polygon * (width - 1, height - 1)).astype(np.int32)
            cv2.fillPoly(mask, [corners], 1)
            cv2.polylines(mask, [corners], isClosed=True, color=1, thickness=3)
        return mask.astype(np.bool_)


def _checked(number: int, polygon: Polygon) -> NDArray[np.float64]:
    corners = np.array(polygon, np.float64).reshape(-1, 2)
    if len(corners) < 3:
        raise SetupError(
            f"[source]: blank, polygon {number}: {len(corners)} corners: give three or more, like [x, y]"
        )
    if not ((corners >= 0) & (corners <= 1)).all():
        fix = "give shares of the width and height, 0 to 1, not pixels"
        raise SetupError(f"[source]: blank, polygon {number}: a corner outside the picture: {fix}")
    return corners
