"""Frames of JT/T 808: delimiters, escapes, header, length and check code.

    7E | id 2 | properties 2 | [version 1] | phone BCD 6 or 10 | serial 2 | [parts 2, part 2] | body | XOR 1 | 7E

Between the delimiters 7D 01 stands for 7D and 7D 02 for 7E. Properties: body length (10 bits), encryption (3),
divided (1), version flag of 2019 (1). Source: JT/T 808-2011, -2013 and -2019, chapter 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from operator import xor
from typing import Any

from edge.decode import jt808_vendor
from edge.decode.base import LIMIT, DecodeError, Reader, told


@dataclass(frozen=True, slots=True)
class Header:
    """`device` is the phone number's digits, leading zeros included; some makers fill in hexadecimals."""

    message: int
    device: str
    serial: int
    version: int | None
    total: int = 1
    part: int = 1

    def fields(self) -> dict[str, Any]:
        divided = {"total": self.total, "part": self.part} if self.total > 1 else {}
        named = told(imei=imei(self.device), version=self.version)
        return {"message_id": f"0x{self.message:04x}", "serial": self.serial} | named | divided


def imei(device: str) -> str | None:
    """Where six bytes are no digits, they are the first fourteen digits of an IMEI; the last one checks them."""
    if device.isdigit() or len(device) != 12 or len(digits := str(int(device, 16))) != 14:
        return None
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(digits)]
    return digits + str(-sum(number // 10 + number % 10 for number in doubled) % 10)


@dataclass(frozen=True, slots=True)
class Frame:
    """`complaint` says what is wrong with the check code; it is empty if nothing is."""

    header: Header
    body: bytes
    complaint: str = ""


def opened(frame: bytes) -> Frame:
    """The parts of a frame, escaped as on the line; if that does not fit, as it is: some record it unescaped.

    DecodeError: empty, framing, escape, short, length, encrypted.
    """
    if len(frame) > LIMIT:
        raise DecodeError("length", f"{len(frame)} bytes are no frame")
    inner, line = bare(frame)
    refused, doubtful = DecodeError("framing"), None
    for undo in (bytes, line.unescape):
        try:
            found = line.part(undo(inner))
        except DecodeError as error:
            refused, doubtful = error, None
            continue
        if not found.complaint:
            return found
        doubtful = found
    if doubtful is None:
        raise refused
    return doubtful


def unescape(inner: bytes) -> bytes:
    """Undo 7D 01 and 7D 02. DecodeError `escape` for another byte after 7D, or a bare 7E."""
    head, *pieces = inner.split(b"\x7d")
    plain = bytearray(head)
    for piece in pieces:
        if piece[:1] not in (b"\x01", b"\x02"):
            raise DecodeError("escape", f"7d is followed by {piece[:1].hex() or 'nothing'}")
        plain += bytes([0x7C + piece[0]]) + piece[1:]
    if b"\x7e" in inner:
        raise DecodeError("escape", "7e stands inside the frame")
    return bytes(plain)


def sealed(content: bytes) -> bytes:
    """A frame of header and body: with check code, escapes and delimiters."""
    plain = content + bytes([reduce(xor, content, 0)])
    return b"\x7e" + plain.replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02") + b"\x7e"


def unescape_e7(inner: bytes) -> bytes:
    """Undo the escapes of the delimiter E7."""
    return ESCAPED_E7.sub(lambda pair: ESCAPES_E7[pair[0]], inner)


ESCAPES_E7 = {b"\xe6\x01": b"\xe6", b"\xe6\x02": b"\xe7", b"\x3e\x01": b"\x3e", b"\x3e\x02": b"\x3d"}
ESCAPED_E7 = re.compile(b"[\xe6\x3e][\x01\x02]")


def part(content: bytes) -> Frame:
    return short(content) if jt808_vendor.is_short(content) else parted(content, phone=6)


def parted(content: bytes, *, phone: int) -> Frame:
    reader = Reader(content)
    message, properties = reader.uint(2), reader.uint(2)
    version = reader.uint(1) if properties & 0x4000 else None
    device = reader.bcd(phone if version is None else 10)
    header = Header(message, device, reader.uint(2), version)
    if properties & 0x2000:
        total, number = reader.uint(2), reader.uint(2)
        header = Header(message, device, header.serial, version, total, number)
    body = reader.take(max(0, reader.left - 1))
    if (length := properties & 0x03FF) != len(body):
        raise DecodeError("length", f"the header says {length} bytes of body, {len(body)} came")
    if properties & 0x1C00:
        raise DecodeError("encrypted", f"method {properties >> 10 & 7}")
    return Frame(header, body, complaint(content))


def complaint(content: bytes) -> str:
    """The last byte is all others combined by exclusive or."""
    said, code = content[-1], reduce(xor, content[:-1], 0)
    return "" if said == code else f"said {said:02x}, computed {code:02x}"


def short(content: bytes) -> Frame:
    """Padlocks of one maker count these messages with one byte, and the length from elsewhere."""
    reader = Reader(content)
    message = reader.uint(2)
    reader.take(2)
    header = Header(message, reader.bcd(6), reader.uint(1), None)
    return Frame(header, reader.take(max(0, reader.left - 1)), complaint(content))


@dataclass(frozen=True, slots=True)
class Line:
    """What belongs to a delimiter."""

    unescape: Callable[[bytes], bytes]
    part: Callable[[bytes], Frame]


LINES = {
    0x7E: Line(unescape, part),
    0xE7: Line(unescape_e7, partial(parted, phone=7)),
}
"""E7 is one maker's: other escapes, and seven bytes of phone number. Length and check code tell if it is so."""


def bare(frame: bytes) -> tuple[bytes, Line]:
    """What stands between the delimiters, and what belongs to them."""
    if not frame:
        raise DecodeError("empty")
    if len(frame) < 2 or frame[0] not in LINES or frame[-1] != frame[0]:
        raise DecodeError("framing", "a frame begins and ends with 7e")
    return frame[1:-1], LINES[frame[0]]
