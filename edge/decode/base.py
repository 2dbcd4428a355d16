"""What every decoder gives and how it refuses: messages, positions, and a cursor that never reads past the end."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.message import SECOND
from pipeline.wire import rfc3339

KMH = 1000 / 3600
KNOT = 1852 / 3600
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LIMIT = 64 * 1024
"""Bytes of one message: more is refused unread. The longest that trackers send is a picture's part of 1 kB."""


class DecodeError(Exception):
    """A message is refused. `reason` is a code for programs (docs/protocols.md lists them), `detail` for people.

    `unverified` is what it would have said, where only the check code is wrong: for a technician's eyes only.
    """

    def __init__(self, reason: str, detail: str = "", *, unverified: Sequence[Message] = ()) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.unverified = tuple(unverified)


@dataclass(frozen=True, slots=True)
class Position:
    """One fix as sent, even if out of range: microseconds UTC, degrees WGS-84, m/s, degrees true, metres.

    `valid` is the receiver's own word for it, and False where the numbers are no place on Earth.
    """

    at: int | None
    lat: float
    lon: float
    speed: float | None = None
    course: float | None = None
    alt: float | None = None
    accuracy: float | None = None
    valid: bool = True
    fields: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"at": None if self.at is None else rfc3339(self.at)}
        row |= {"lat": round(self.lat, 7), "lon": round(self.lon, 7)}
        for name in ("speed", "course", "alt", "accuracy"):
            value = getattr(self, name)
            row[name] = None if value is None else round(value, 4)
        sane = abs(self.lat) <= 90 and abs(self.lon) <= 180
        return row | {"valid": self.valid and sane} | dict(self.fields)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a device. `device` is None where the protocol tells it only at login."""

    kind: str
    device: str | None = None
    positions: tuple[Position, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """`position` is the first of `positions`, which keep the order of the frame."""
        row: dict[str, Any] = {"ok": True, "kind": self.kind, "device": self.device}
        if self.positions:
            row["position"] = self.positions[0].as_json()
        if len(self.positions) > 1:
            row["positions"] = [position.as_json() for position in self.positions]
        return row | dict(self.fields)


class Reader:
    """A cursor over bytes, big-endian. DecodeError `short` when there is less than asked for."""

    __slots__ = ("data", "place")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.place

    def take(self, count: int) -> bytes:
        if not 0 <= count <= self.left:
            raise DecodeError("short", f"{count} bytes wanted at {self.place}, {self.left} are left")
        self.place += count
        return self.data[self.place - count : self.place]

    def rest(self) -> bytes:
        return self.take(self.left)

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def int16(self) -> int:
        return int.from_bytes(self.take(2), "big", signed=True)

    def bcd(self, size: int) -> str:
        """Two digits a byte, as they stand; a nibble over 9 stays a letter."""
        return self.take(size).hex()


def moment(parts: Sequence[int], offset_h: int = 0) -> int | None:
    """Microseconds of year (of the century), month, day, hour, minute, second; None if there is no such time."""
    year, *others = parts
    try:
        local = dt.datetime(2000 + year, *others, tzinfo=dt.UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    return since_epoch(local) - offset_h * 3600 * SECOND


def since_epoch(stamp: dt.datetime) -> int:
    delta = stamp - EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def bcd_moment(digits: str, offset_h: int = 0) -> int | None:
    """Microseconds of `yymmddhhmmss`; None for letters, or for a time that does not exist, like all zeros."""
    if len(digits) != 12 or not (digits.isascii() and digits.isdigit()):
        return None
    return moment([int(digits[i : i + 2]) for i in range(0, 12, 2)], offset_h)


def number(value: Any) -> float | None:
    """A finite number from JSON or text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def flags(bits: int, names: Mapping[int, str]) -> list[str]:
    """Names of the bits that are set, from low to high, each once."""
    return list(dict.fromkeys(name for bit, name in sorted(names.items()) if bits >> bit & 1))


def told(**fields: Any) -> dict[str, Any]:
    """Only what was said: None is left out."""
    return {name: value for name, value in fields.items() if value is not None}
