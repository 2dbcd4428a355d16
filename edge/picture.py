"""Pictures on their way out: made smaller, and encoded as JPEG."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def encode(image: Image, quality: int, max_side: int = 0) -> bytes:
    """JPEG of a BGR picture, its longer side at most `max_side` pixels (0: as it is)."""
    done, data = cv2.imencode(".jpg", fit(image, max_side), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of {image.shape} cannot be encoded")
    return data.tobytes()


def fit(image: Image, max_side: int) -> Image:
    """The picture made smaller so that its longer side is at most `max_side`; never larger."""
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    if not max_side or scale >= 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    smaller: Any = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, np.uint8)
