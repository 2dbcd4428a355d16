"""Decoders of what trackers send. A frame or line goes in, messages come out, or a DecodeError says why not.

    bytes of a stream ── frames.Splitter ── frame ── decode(frame) ── [Message(kind, device, positions, fields)]

`decode` of each protocol's module is pure; a `Session` adds what one connection knows: who logged in, parts that
came before, sentences of the same epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as Shape

from edge.decode import frames, gt06, jt808, nmea, osmand, owntracks
from edge.decode.base import DecodeError, Message, Position

__all__ = ["PROTOCOLS", "DecodeError", "Decoding", "Message", "Position", "Protocol"]


class Decoding(Shape):
    def decode(self, raw: bytes, /) -> list[Message]:
        """Messages of one frame or line. DecodeError if it is refused; nothing else."""
        ...


class Each:
    """A protocol whose messages stand alone."""

    def __init__(self, decode: Callable[[bytes], list[Message]]) -> None:
        self._decode = decode

    def decode(self, raw: bytes) -> list[Message]:
        return self._decode(raw)


@dataclass(frozen=True, slots=True)
class Protocol:
    """`decode` for messages that stand alone (None: they never do), `session` for those of one connection."""

    decode: Callable[[bytes], list[Message]] | None
    session: Callable[[], Decoding]
    splitter: Callable[[], frames.Splitter] | None = None

    @property
    def binary(self) -> bool:
        """Written as hexadecimal digits in files."""
        return self.splitter is not None


PROTOCOLS: dict[str, Protocol] = {
    "jt808": Protocol(jt808.decode, jt808.Session, frames.Jt808Splitter),
    "gt06": Protocol(gt06.decode, gt06.Session, frames.Gt06Splitter),
    "osmand": Protocol(osmand.decode, lambda: Each(osmand.decode)),
    "owntracks": Protocol(owntracks.decode, lambda: Each(owntracks.decode)),
    "nmea": Protocol(None, nmea.Session),
}
