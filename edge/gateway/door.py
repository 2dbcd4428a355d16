"""Who is connected, over all servers, and how many may be."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from edge.gateway.desk import Desk
from edge.settings import Gateway

PROBE_AFTER_S, PROBE_EVERY_S, PROBES = 60, 20, 3
"""The kernel asks a silent peer whether it is still there: a half-open connection ends in two minutes."""


class Door:
    def __init__(self, settings: Gateway, desk: Desk) -> None:
        self.desk = desk
        self.open = 0
        self._most, self._most_of_one = settings.connections, settings.connections_per_address
        self._addresses: Counter[str] = Counter()
        self._devices: dict[str, asyncio.StreamWriter] = {}

    @property
    def devices(self) -> int:
        """Trackers that have named themselves and are connected."""
        return len(self._devices)

    @contextmanager
    def guest(self, writer: asyncio.StreamWriter) -> Iterator[bool]:
        """Whether there is room for the connection; it is closed at the end in any case."""
        address = address_of(writer)
        admitted = self.open < self._most and self._addresses[address] < self._most_of_one
        self.open += admitted
        self._addresses[address] += admitted
        try:
            if not admitted:
                self.desk.refused("no_room")
            yield admitted
        finally:
            self.open -= admitted
            self._addresses[address] -= admitted
            if not self._addresses[address]:
                del self._addresses[address]
            writer.close()

    def named(self, device: str, writer: asyncio.StreamWriter) -> None:
        """The device speaks over this connection; a former one of its own is cut off."""
        former = self._devices.get(device)
        if former is not None and former is not writer:
            self.desk.refused("came_again")
            former.transport.abort()
        self._devices[device] = writer

    def left(self, device: str, writer: asyncio.StreamWriter) -> None:
        if self._devices.get(device) is writer:
            del self._devices[device]


def address_of(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if peer else ""


def watched(writer: asyncio.StreamWriter) -> None:
    """Have the kernel look after the connection, where it can."""
    link: socket.socket = writer.get_extra_info("socket")
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    values = {"TCP_KEEPIDLE": PROBE_AFTER_S, "TCP_KEEPINTVL": PROBE_EVERY_S, "TCP_KEEPCNT": PROBES}
    for name, value in values.items():
        if (option := getattr(socket, name, None)) is not None:
            link.setsockopt(socket.IPPROTO_TCP, option, value)
