"""Pictures on their way out: made smaller, and encoded as JPEG."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
LEAST_QUALITY, QUALITY_STEP, SIDE_STEP = 40, 15, 0.75
LEAST_SIDE = 64


def encode(image: Image, quality: int, max_side: int = 0, *, max_bytes: int = 0) -> bytes:
    """JPEG of a BGR picture, its longer side at most `max_side` pixels (0: as it is).

    Over `max_bytes` (0: any size) it is encoded anew with less quality, and when that is at its least, smaller.
    """
    image = fit(image, max_side)
    data = _jpeg(image, quality)
    while max_bytes and len(data) > max_bytes and max(image.shape[:2]) > LEAST_SIDE:
        if quality > LEAST_QUALITY:
            quality = max(quality - QUALITY_STEP, LEAST_QUALITY)
        else:
            image = fit(image, max(round(max(image.shape[:2]) * SIDE_STEP), LEAST_SIDE))
        data = _jpeg(image, quality)
    return data


def _jpeg(image: Image, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of {image.shape} cannot be encoded")
    return data.tobytes()


def decode(data: bytes) -> Image:
    """The BGR picture of a whole JPEG or PNG file. ValueError for anything else, and for one cut short.

    Decoders differ in what they show of a picture cut short, so it is not left to them.
    """
    if not is_whole(data):
        raise ValueError(f"a picture cut short, or none: {len(data):,} bytes")
    try:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"a picture that cannot be decoded: {error.err}") from None
    if image is None:
        raise ValueError(f"a picture that cannot be decoded: {len(data):,} bytes")
    return np.asarray(image, np.uint8)


def is_whole(data: bytes) -> bool:
    """Whether it begins and ends as a JPEG or PNG file does; cameras pad the end with zeros and line ends."""
    if data.startswith(b"\xff\xd8"):
        return data.rstrip(b"\0\r\n ").endswith(b"\xff\xd9")
    return data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" in data[-64:]


def fit(image: Image, max_side: int) -> Image:
    """The picture made smaller so that its longer side is at most `max_side`; never larger."""
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    if not max_side or scale >= 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    smaller: Any = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, np.uint8)
