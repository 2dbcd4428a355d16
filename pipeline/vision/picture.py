"""Encoded pictures to pixels, for bytes that nobody has vouched for.

    header(data)   what the file says of itself: kind, width, height; nothing is decoded
    decode(data)   pixels, or InvalidMessage with one of the reasons below

    empty            no bytes
    not_a_picture    neither JPEG nor PNG
    cut              the file ends before its end marker, or carries less data than its pixels can need
    too_many_pixels  more than `max_pixels`: refused before any memory is asked for
    too_small        a side under `MIN_SIDE`: nothing can be seen in it
    undecodable      OpenCV gives up

OpenCV alone would not do: it fills what is missing of a cut JPEG with grey and says nothing.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.ports import InvalidMessage

MAX_PIXELS = 50_000_000
MIN_SIDE = 8

# OpenCV reads these once, when it is loaded; its own limit is 2^30 pixels. `header` checks first, this is the net.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**26))
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_WIDTH", str(2**15))
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_HEIGHT", str(2**15))
import cv2 as cv2  # noqa: E402  (after its environment; other modules take it from here)

Picture = NDArray[np.uint8]

JPEG_START, JPEG_END, JPEG_SCAN = 0xD8, 0xD9, 0xDA
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# In entropy-coded data a marker is 0xFF and something that is neither stuffing, nor fill, nor a restart.
JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself. Width and height are as stored: EXIF rotation may still swap them."""

    kind: str
    width: int
    height: int


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """H x W x 3 uint8 BGR; EXIF rotation applied, grey and CMYK and 16 bit converted, alpha dropped.

    Raises `InvalidMessage`; the reasons stand in the module's docstring.
    """
    found = header(data)
    _check_size(found, max_pixels)
    return _pixels(data, cv2.IMREAD_COLOR)


def decode_reduced(data: bytes, need: int, *, max_pixels: int = MAX_PIXELS) -> tuple[Picture, Header]:
    """Like `decode`, but a JPEG may come at half or a quarter of its size, and then much faster.

    The longer side stays at least `need` pixels (when it was). Returns the picture and the header as stored;
    the picture's own scale is `max(picture.shape[:2]) / max(header.width, header.height)`.
    """
    found = header(data)
    _check_size(found, max_pixels)
    times = max(found.width, found.height) // max(1, need) if found.kind == "jpeg" else 1
    if times >= 4:
        return _pixels(data, cv2.IMREAD_REDUCED_COLOR_4), found
    return _pixels(data, cv2.IMREAD_REDUCED_COLOR_2 if times >= 2 else cv2.IMREAD_COLOR), found


class Decoded(NamedTuple):
    """A picture, perhaps drawn smaller than it is stored; `width` and `height` are the stored size, as turned."""

    picture: Picture
    width: int
    height: int


def decode_for(data: bytes, need: int, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """`decode_reduced` for whoever must tell places in the stored picture's own pixels, EXIF rotation applied."""
    picture, found = decode_reduced(data, need, max_pixels=max_pixels)
    turned = (picture.shape[1] > picture.shape[0]) != (found.width > found.height) and found.width != found.height
    return Decoded(picture, *((found.height, found.width) if turned else (found.width, found.height)))


def header(data: bytes) -> Header:
    """Kind and size from the file's own structure, walked to its end marker. Raises `InvalidMessage`."""
    if not data:
        raise InvalidMessage("empty", "the picture has no bytes")
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_header(data)
    if data.startswith(PNG_SIGNATURE):
        return _png_header(data)
    raise InvalidMessage("not_a_picture", f"neither JPEG nor PNG: starts with {data[:8].hex(' ')}")


def _check_size(found: Header, max_pixels: int) -> None:
    if found.width * found.height > max_pixels:
        raise InvalidMessage("too_many_pixels", f"{found.width} x {found.height}, at most {max_pixels} pixels")
    if min(found.width, found.height) < MIN_SIDE:
        raise InvalidMessage("too_small", f"{found.width} x {found.height}, at least {MIN_SIDE} pixels a side")


def _pixels(data: bytes, mode: int) -> Picture:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error as error:
        raise InvalidMessage("undecodable", str(error).strip().splitlines()[-1][:200]) from error
    if image is None:
        raise InvalidMessage("undecodable", "OpenCV cannot read it")
    return np.ascontiguousarray(image, np.uint8)


# ---------------------------------------------------------------- JPEG


def _jpeg_header(data: bytes) -> Header:
    frame: tuple[int, int, int, int] | None = None
    entropy = 0
    for marker, start, end in _jpeg_segments(data):
        if marker in JPEG_FRAMES and frame is None:
            frame = (marker, *_jpeg_frame(data[start:end]))
        elif marker == JPEG_SCAN:
            entropy += end - start
    if frame is None:
        raise InvalidMessage("not_a_picture", "a JPEG without a frame header")
    marker, height, width, blocks = frame
    # A Huffman code has at least one bit: two codes a block in a sequential scan, one in a progressive one.
    least = blocks * (1 if marker in JPEG_PROGRESSIVE else 2) // 8
    if entropy < least and width * height <= MAX_PIXELS:
        raise InvalidMessage("cut", f"{entropy} bytes of data for {width} x {height}, at least {least} needed")
    return Header("jpeg", width, height)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment's body up to the end marker; a scan's body is its entropy-coded data."""
    at = 2
    while (marker := _jpeg_marker(data, at)) != JPEG_END:
        at = data.index(marker, at) + 1
        if marker == 0x01 or JPEG_START - 8 <= marker <= JPEG_START:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        end = at + length
        if length < 2 or end > len(data):
            raise InvalidMessage("cut", f"the JPEG ends inside the segment that starts at byte {at}")
        if marker != JPEG_SCAN:
            yield marker, at + 2, end
            at = end
            continue
        after = JPEG_MARKER.search(data, end)
        if after is None:
            raise InvalidMessage("cut", f"the JPEG ends inside its picture data, after {len(data)} bytes")
        yield marker, end, after.start()
        at = after.start()


def _jpeg_marker(data: bytes, at: int) -> int:
    """The marker code at `at`: 0xFF, perhaps repeated, then the code."""
    if at >= len(data):
        raise InvalidMessage("cut", "the JPEG ends without its end marker")
    if data[at] != 0xFF:
        raise InvalidMessage("undecodable", f"no JPEG marker at byte {at}")
    while at < len(data) and data[at] == 0xFF:
        at += 1
    if at == len(data):
        raise InvalidMessage("cut", "the JPEG ends inside a marker")
    return data[at]


def _jpeg_frame(body: bytes) -> tuple[int, int, int]:
    """(height, width, blocks of 8 x 8 over all components) of a frame header's body."""
    if len(body) < 6 or len(body) < 6 + 3 * body[5] or not body[5]:
        raise InvalidMessage("undecodable", "a JPEG frame header that is too short")
    height, width = struct.unpack(">HH", body[1:5])
    sampling = [(body[7 + 3 * i] >> 4, body[7 + 3 * i] & 15) for i in range(body[5])]
    most = max(h * v for h, v in sampling)
    if not height or not width or not most:
        raise InvalidMessage("undecodable", f"a JPEG frame header that says {width} x {height}")
    blocks = sum(width * height * h * v // (64 * most) for h, v in sampling)
    return height, width, blocks


# ---------------------------------------------------------------- PNG


def _png_header(data: bytes) -> Header:
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise InvalidMessage("cut", "a PNG without its header")
    width, height = struct.unpack(">II", data[16:24])
    at = len(PNG_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise InvalidMessage("cut", f"the PNG ends without its end chunk, after {len(data)} bytes")
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return Header("png", width, height)
