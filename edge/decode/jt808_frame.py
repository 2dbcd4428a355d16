"""Frames of JT/T 808: delimiters, escapes, header, length and check code.

    7E | id 2 | properties 2 | [version 1] | phone BCD 6 or 10 | serial 2 | [parts 2, part 2] | body | XOR 1 | 7E

Between the delimiters 7D 01 stands for 7D and 7D 02 for 7E. Properties: body length (10 bits), encryption (3),
divided (1), version flag of 2019 (1). Source: JT/T 808-2011, -2013 and -2019, chapter 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Any

from edge.decode import jt808_vendor
from edge.decode.base import LIMIT, DecodeError, Reader, told

DELIMITER = 0x7E


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


def opened(frame: bytes) -> tuple[Header, bytes]:
    """Header and body of a frame whose length and check code are right. DecodeError as for `decode`."""
    if len(frame) > LIMIT:
        raise DecodeError("length", f"{len(frame)} bytes are no frame")
    inner = bare(frame)
    if jt808_vendor.is_short(inner):
        return _short(inner)
    try:
        return parted(unescape(inner))
    except DecodeError as refused:
        try:
            return parted(inner)
        except DecodeError:
            raise refused from None


def bare(frame: bytes) -> bytes:
    """What stands between the delimiters."""
    if not frame:
        raise DecodeError("empty")
    if len(frame) < 2 or frame[0] != DELIMITER or frame[-1] != DELIMITER:
        raise DecodeError("framing", "a frame begins and ends with 7e")
    return frame[1:-1]


def unescape(inner: bytes) -> bytes:
    """Undo 7D 01 and 7D 02. DecodeError `escape` for another byte after 7D, or a bare 7E."""
    head, *pieces = inner.split(b"\x7d")
    plain = bytearray(head)
    for piece in pieces:
        if piece[:1] not in (b"\x01", b"\x02"):
            raise DecodeError("escape", f"7d is followed by {piece[:1].hex() or 'nothing'}")
        plain += bytes([0x7C + piece[0]]) + piece[1:]
    if DELIMITER in head or any(DELIMITER in piece for piece in pieces):
        raise DecodeError("escape", "7e stands inside the frame")
    return bytes(plain)


def parted(content: bytes) -> tuple[Header, bytes]:
    reader = Reader(content)
    message, properties = reader.uint(2), reader.uint(2)
    version = reader.uint(1) if properties & 0x4000 else None
    device = reader.bcd(6 if version is None else 10)
    header = Header(message, device, reader.uint(2), version)
    if properties & 0x2000:
        total, part = reader.uint(2), reader.uint(2)
        header = Header(message, device, header.serial, version, total, part)
    body = reader.take(reader.left - 1) if reader.left else b""
    _checked(content, body, reader, properties)
    return header, body


def _checked(content: bytes, body: bytes, reader: Reader, properties: int) -> None:
    said, length = reader.uint(1), properties & 0x03FF
    if length != len(body):
        raise DecodeError("length", f"the header says {length} bytes of body, {len(body)} came")
    if said != (code := reduce(xor, content[:-1], 0)):
        raise DecodeError("checksum", f"said {said:02x}, computed {code:02x}")
    if properties & 0x1C00:
        raise DecodeError("encrypted", f"method {properties >> 10 & 7}")


def _short(inner: bytes) -> tuple[Header, bytes]:
    """Padlocks of one maker count these messages with one byte, and the length from elsewhere."""
    content = inner
    if reduce(xor, content, 0):
        content = unescape(inner)
    if reduce(xor, content, 0) or len(content) < 13:
        raise DecodeError("checksum", "of a message with a short header")
    reader = Reader(content)
    message = reader.uint(2)
    reader.take(2)
    return Header(message, reader.bcd(6), reader.uint(1), None), reader.data[reader.place : -1]
