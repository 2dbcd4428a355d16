"""What a platform answers in JT/T 808: bodies, and the frame around them.

A reply has the version and the phone number of what it answers. Source: JT/T 808-2013 and -2019, chapters 7 and 8.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from edge.decode.jt808_frame import Header, sealed

GENERAL, RESEND, TIME, REGISTERED = 0x8001, 0x8003, 0x8004, 0x8100
OK, FAILED, WRONG, UNSUPPORTED = 0, 1, 2, 3
NO_SUCH_TERMINAL = 4


def frame(header: Header, message: int, body: bytes, *, serial: int) -> bytes:
    """A frame for the sender of `header`; `serial` counts the platform's own frames. Bodies up to 1023 bytes."""
    new = header.version is not None
    properties = len(body) | (0x4000 if new else 0)
    head = message.to_bytes(2, "big") + properties.to_bytes(2, "big")
    if header.version is not None:
        head += bytes([header.version])
    return sealed(head + bytes.fromhex(header.device) + (serial % 65536).to_bytes(2, "big") + body)


def general(header: Header, result: int = OK) -> bytes:
    """Body of 0x8001: the answered serial number 2, its message 2, result 1."""
    return header.serial.to_bytes(2, "big") + header.message.to_bytes(2, "big") + bytes([result])


def registered(header: Header, code: str) -> bytes:
    """Body of 0x8100: the answered serial number 2, result 1 (0: taken), and the code to authenticate with."""
    return header.serial.to_bytes(2, "big") + bytes([OK]) + code.encode("ascii")


def not_registered(header: Header, result: int = NO_SUCH_TERMINAL) -> bytes:
    return header.serial.to_bytes(2, "big") + bytes([result])


def resend(header: Header, first: int, missing: Sequence[int]) -> bytes:
    """Body of 0x8003: serial number of the first part 2, how many 1 (2019: 2), and the numbers of those missing."""
    wide = 1 if header.version is None else 2
    asked = missing[: 255 if wide == 1 else 500]
    numbers = b"".join(number.to_bytes(2, "big") for number in asked)
    return (first % 65536).to_bytes(2, "big") + len(asked).to_bytes(wide, "big") + numbers


def time_of_day(now_s: float) -> bytes:
    """Body of 0x8004: UTC, unlike the times of locations."""
    return bytes.fromhex(time.strftime("%y%m%d%H%M%S", time.gmtime(now_s)))
