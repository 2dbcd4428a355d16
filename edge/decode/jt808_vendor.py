"""Messages in JT/T 808 frames that the standard does not know, where a place or a value is told in a layout seen.

0x5501 and 0x5502 are of padlocks (Jointech): position now, or kept where there was no network. 0x0900 with type F0
is of car diagnosis: readings, then a place. 0x2070 is acceleration. Their layouts are taken from recorded frames.
"""

from __future__ import annotations

from typing import Any

from edge.decode.base import KNOT, DecodeError, Position, Reader, bcd_moment
from edge.decode.jt808_location import GMT_PLUS_8, coordinate

SHORT = (b"\x55\x01", b"\x55\x02")
SAMPLE = 12


def is_short(inner: bytes) -> bool:
    """The serial number has one byte in these."""
    return inner[:2] in SHORT


def fields(message: int, body: bytes) -> dict[str, Any]:
    """What is kept of a message without a position."""
    return {"samples": len(body) // SAMPLE} if message == 0x2070 else {}


def padlock(reader: Reader, *, stored: bool) -> Position:
    """day, month, year, hour, minute, second | ddmm.mmmm | dddmm.mmmm, flags | speed (knots) | course / 2 | ...

    All BCD but course. Flags: 1 fixed, 2 north, 4 east.
    """
    day, month, year = (reader.bcd(1) for _ in range(3))
    at = bcd_moment(year + month + day + reader.bcd(3))
    digits = reader.bcd(4) + reader.bcd(5)
    if not digits[:-1].isdigit():
        raise DecodeError("digits", f"no coordinates: {digits}")
    bits = int(digits[-1], 16)
    lat = int(digits[:2]) + int(digits[2:8]) / 600_000
    lon = int(digits[8:11]) + int(digits[11:17]) / 600_000
    knots, course = reader.bcd(1), reader.uint(1) * 2
    speed = int(knots) * KNOT if knots.isdigit() else None
    return Position(
        at,
        lat if bits & 2 else -lat,
        lon if bits & 4 else -lon,
        speed,
        float(course),
        valid=bool(bits & 1),
        fields={"signal": reader.uint(1), "satellites": reader.uint(1), "stored": stored},
    )


def diagnosis(reader: Reader) -> Position | None:
    """time 6 | from memory 1 | vehicle 1 | subtype 1 | count 1 | readings | status 4 | lat 4 | lon 4 | ...

    Subtypes: 1 has readings of id 2, length 1, value; 3 has events of id 1, length 1, value. Others have no place.
    """
    at = bcd_moment(reader.bcd(6), GMT_PLUS_8)
    stored = reader.uint(1)
    reader.take(1)
    wide = {1: 2, 3: 1}.get(reader.uint(1))
    if wide is None:
        return None
    for _ in range(reader.uint(1)):
        reader.take(wide)
        reader.take(reader.uint(1))
    status = reader.uint(4)
    lat, lon = coordinate(reader, status & 4), coordinate(reader, status & 8)
    told = {"ignition": bool(status & 1), "stored": bool(stored)}
    return Position(at, lat, lon, valid=bool(status & 2), fields=told)
