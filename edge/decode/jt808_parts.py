"""Divided messages of JT/T 808: their parts, until all are there."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from edge.decode.base import LIMIT, DecodeError
from edge.decode.jt808_frame import Header

MAX_PARTS = 256
PENDING = 8

Key = tuple[str, int, int]


@dataclass(slots=True)
class Divided:
    """What has come of one message."""

    bodies: dict[int, bytes] = field(default_factory=dict)
    size: int = 0

    def add(self, number: int, body: bytes) -> None:
        self.size += len(body) - len(self.bodies.get(number, b""))
        self.bodies[number] = body


class Parts:
    """Holds at most `most` divided messages and 64 kB each; the oldest give way."""

    def __init__(self, most: int = PENDING) -> None:
        self._most = most
        self._waiting: OrderedDict[Key, Divided] = OrderedDict()

    def has(self, header: Header) -> bool:
        """Whether this part has come before, and its message is not whole yet."""
        divided = self._waiting.get(_key(header))
        return divided is not None and header.part in divided.bodies

    def missing(self, header: Header) -> list[int]:
        """The parts that have not come of the message that this part belongs to."""
        there = self._waiting.get(_key(header), Divided()).bodies
        return [number for number in range(1, min(header.total, MAX_PARTS) + 1) if number not in there]

    def add(self, header: Header, body: bytes) -> bytes | None:
        """The whole body, if this was the last that lacked. DecodeError: parts, length."""
        if not 1 <= header.part <= header.total <= MAX_PARTS:
            raise DecodeError("parts", f"part {header.part} of {header.total}")
        key = _key(header)
        divided = self._waiting.setdefault(key, Divided())
        divided.add(header.part, body)
        if divided.size > LIMIT:
            del self._waiting[key]
            raise DecodeError("length", "a divided message over 64 kB")
        while len(self._waiting) > self._most:
            self._waiting.popitem(last=False)
        if len(divided.bodies) < header.total:
            return None
        del self._waiting[key]
        return b"".join(divided.bodies[number] for number in sorted(divided.bodies))


def first_serial(header: Header) -> int:
    """Serial number of the first part: parts are numbered on."""
    return (header.serial - header.part + 1) % 65536


def _key(header: Header) -> Key:
    return header.device, header.message, first_serial(header)
