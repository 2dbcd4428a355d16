"""One tracker's side of a connection, without the network: bytes in, turns out.

A turn is what one frame brings: what must be kept, and the reply to send when it is. A connection belongs to the
first device it names; a frame of another one ends it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from edge.decode import DecodeError, gt06, nmea
from edge.decode.frames import Gt06Splitter, Splitter
from edge.decode.gt06_reply import reply as gt06_reply
from edge.gateway.desk import Desk, Kept

LONGEST_LINE = 1000


@dataclass(frozen=True, slots=True)
class Turn:
    """`heard`: it was a sound frame of a known device. `ends` says why the connection is closed after the reply."""

    kept: Kept = field(default_factory=Kept)
    reply: bytes = b""
    heard: bool = True
    ends: str = ""


class Talk(Protocol):
    device: str

    def hear(self, data: bytes) -> list[Turn]:
        """The turns of what came, in order; the last one may end the connection."""
        ...


class Framed:
    """What the protocols with frames have in common. `turn` raises DecodeError for a frame to be refused."""

    def __init__(self, desk: Desk, splitter: Splitter) -> None:
        self.device = self.unit = ""
        self.desk = desk
        self._splitter = splitter

    def hear(self, data: bytes) -> list[Turn]:
        turns: list[Turn] = []
        for frame in self._splitter.feed(data):
            turns.append(self._turn(frame))
            if turns[-1].ends:
                break
        return turns

    def turn(self, frame: bytes) -> Turn:
        raise NotImplementedError

    def _turn(self, frame: bytes) -> Turn:
        try:
            return self.turn(frame)
        except DecodeError as error:
            self.desk.refused(error.reason)
            return Turn(heard=False)

    def belongs_to(self, device: str, *others: str | None) -> str:
        """Why a frame of this device is not taken; empty if it is."""
        if device == self.device:
            return ""
        if self.device:
            self.desk.refused("changed_device")
            return f"{self.device} calls itself {device} now"
        self.unit = self.desk.unit(device, *others)
        if not self.unit:
            return f"{device} is not in [source] units"
        self.device = device
        return ""


class Gt06Talk(Framed):
    """GT06: the login names the device, everything with a serial number is answered."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, Gt06Splitter())

    def turn(self, frame: bytes) -> Turn:
        opened, complaint = gt06.open_frame(frame)
        if complaint:
            raise DecodeError("checksum", complaint)
        message = gt06.read(opened)
        if not (message.device or self.device):
            self.desk.refused("no_login")
            return Turn(heard=False, ends="it speaks before it has logged in")
        if ends := self.belongs_to(message.device or self.device):
            return Turn(heard=False, ends=ends)
        if message.kind == "heartbeat" and opened.serial is not None and "alarms" not in message.fields:
            message = gt06.quiet(message)
        return Turn(self.desk.kept(self.unit, message), gt06_reply(opened, time.time()))


class NmeaTalk:
    """Sentences of a receiver that is known by its address. Nothing is answered, so what is lost is lost."""

    def __init__(self, desk: Desk, address: str) -> None:
        self.device, self.unit = address, ""
        self._desk, self._session, self._rest = desk, nmea.Session(), b""

    def hear(self, data: bytes) -> list[Turn]:
        self.unit = self.unit or self._desk.unit(self.device)
        if not self.unit:
            return [Turn(heard=False, ends=f"{self.device} is not in [source] units")]
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= LONGEST_LINE else b""
        return [turn for line in lines for turn in self._turns(line)]

    def _turns(self, line: bytes) -> Iterator[Turn]:
        try:
            messages = self._session.decode(line[:LONGEST_LINE])
        except DecodeError as error:
            self._desk.refused(error.reason)
            yield Turn(heard=False)
            return
        yield from (Turn(self._desk.kept(self.unit, message)) for message in messages)
        if not messages:
            yield Turn(heard=line.startswith(b"$"))
