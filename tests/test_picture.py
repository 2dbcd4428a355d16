"""pipeline.vision.picture: bytes that nobody has vouched for."""

from __future__ import annotations

import base64
import random
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.ports import InvalidMessage
from pipeline.vision.picture import Picture, decode, decode_reduced

# 16 x 16, full magenta and yellow, written by Pillow 12: OpenCV writes no CMYK.
RED_CMYK = (
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdfYmdo"
    "Zz5NcXlwZHhcZWdj/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAAH/8QAFBABAAAAAAAAAAAAAAAA"
    "AAAAAP/aAA4EQwBNAFkASwAAPwCgJ+n6gAAAAP/Z"
)


def scene(width: int = 160, height: int = 90) -> Picture:
    """Left half blue-ish, right half red-ish, with a texture: JPEG-proof enough to compare."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.where(x < width // 2, 200, 30)
    image[..., 1] = 40 + (y * 100 // height)
    image[..., 2] = np.where(x < width // 2, 30, 200)
    return image


def encode(image: NDArray[Any], kind: str = ".jpg", *flags: int) -> bytes:
    done, data = cv2.imencode(kind, image, list(flags))
    assert done
    return data.tobytes()


def refused(data: bytes, **options: int) -> str:
    with pytest.raises(InvalidMessage) as caught:
        decode(data, **options)
    assert caught.value.detail
    return caught.value.reason


def sof(data: bytes) -> int:
    """Where a JPEG's frame header says the height (2 bytes) and width (2 bytes)."""
    return next(data.index(bytes([0xFF, m])) for m in (0xC0, 0xC2) if bytes([0xFF, m]) in data) + 5


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)])
def test_jpeg_of_each_kind_comes_back(flags: tuple[int, ...]) -> None:
    image = decode(encode(scene(), ".jpg", *flags))
    assert image.shape == (90, 160, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - scene()).mean() < 6


def test_png_grey_sixteen_bit_and_alpha_become_eight_bit_colour() -> None:
    grey16 = scene()[..., 1].astype(np.uint16) * np.uint16(256)
    image = decode(encode(grey16, ".png"))
    assert image.shape == (90, 160, 3)
    assert np.abs(image[..., 0].astype(int) - scene()[..., 1]).max() <= 1
    alpha = np.dstack([scene(), np.full((90, 160), 7, np.uint8)])
    assert np.array_equal(decode(encode(alpha, ".png")), scene())


def test_grey_jpeg_has_three_channels() -> None:
    assert decode(encode(scene()[..., 1])).shape == (90, 160, 3)


def test_exif_rotation_is_applied() -> None:
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
    app1 = b"\xff\xe1" + struct.pack(">H", 2 + 6 + len(tiff)) + b"Exif\x00\x00" + tiff
    plain = encode(scene())
    turned = decode(plain[:2] + app1 + plain[2:])
    assert turned.shape == (160, 90, 3)
    assert turned[10, 45, 0] > 150 > turned[150, 45, 0]  # blue was left; turned clockwise it is on top


def test_cmyk_jpeg_becomes_colour() -> None:
    image = decode(base64.b64decode(RED_CMYK))
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - (0, 0, 255)).max() < 8


def test_a_jpeg_that_says_it_has_more_components_than_it_has_is_refused() -> None:
    data = bytearray(encode(scene()[..., 1]))
    data[sof(bytes(data)) + 4] = 4
    assert refused(bytes(data)) == "undecodable"


def test_reduced_decoding_keeps_the_side_that_is_needed() -> None:
    data = encode(scene(1600, 900))
    for need, shape in ((1601, (900, 1600)), (800, (450, 800)), (801, (900, 1600)), (300, (225, 400))):
        image, found = decode_reduced(data, need)
        assert image.shape[:2] == shape
        assert (found.width, found.height) == (1600, 900)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_cut_pictures_are_refused(kind: str, share: float) -> None:
    data = encode(scene(), kind)
    assert refused(data[: max(12, int(len(data) * share))]) == "cut"


def test_cut_jpeg_with_a_thumbnail_inside_is_still_cut() -> None:
    small = encode(scene(32, 32))
    app1 = b"\xff\xe1" + struct.pack(">H", 2 + len(small)) + small
    data = encode(scene())
    data = data[:2] + app1 + data[2:]
    assert decode(data).shape == (90, 160, 3)
    assert refused(data[:-40]) == "cut"


def test_bytes_after_the_end_do_no_harm() -> None:
    assert decode(encode(scene()) + bytes(500)).shape == (90, 160, 3)


def test_not_pictures() -> None:
    assert refused(b"") == "empty"
    assert refused(b"once upon a time there was a text file named .jpg") == "not_a_picture"
    assert refused(b"\xff\xd8\xff") in ("cut", "undecodable")
    assert refused(b"\xff\xd8\xff\xd9") == "not_a_picture"


def test_one_pixel_is_refused() -> None:
    assert refused(encode(scene(1, 1))) == "too_small"
    assert refused(encode(scene(1, 1), ".png")) == "too_small"


def test_bombs_are_refused_before_they_go_off() -> None:
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + ihdr + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    assert refused(bomb) == "too_many_pixels"
    data = bytearray(encode(scene()))
    data[sof(bytes(data)) : sof(bytes(data)) + 4] = struct.pack(">HH", 60_000, 60_000)
    assert refused(bytes(data)) == "too_many_pixels"
    assert refused(encode(scene()), max_pixels=10_000) == "too_many_pixels"


@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_a_header_that_claims_more_than_the_data_can_hold(flags: tuple[int, ...]) -> None:
    data = bytearray(encode(scene(), ".jpg", *flags))
    data[sof(bytes(data)) : sof(bytes(data)) + 4] = struct.pack(">HH", 4000, 6000)
    assert refused(bytes(data)) == "cut"


def test_an_all_black_picture_is_not_taken_for_a_cut_one() -> None:
    black = np.zeros((720, 1280, 3), np.uint8)
    for flags in ((), (cv2.IMWRITE_JPEG_OPTIMIZE, 1), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)):
        assert not decode(encode(black, ".jpg", *flags)).any()


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_damaged_bytes_give_a_picture_or_a_reason(kind: str) -> None:
    whole, chance = encode(scene(), kind), random.Random(7)
    outcomes = set()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 12)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.randrange(len(data) // 2, len(data) + 1) :]
        try:
            image = decode(bytes(data), max_pixels=1_000_000)
        except InvalidMessage as refusal:
            outcomes.add(refusal.reason)
        else:
            assert image.ndim == 3 and image.shape[2] == 3 and image.size <= 3_000_000
    assert "cut" in outcomes
