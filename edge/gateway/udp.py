"""UDP: a talk for each address, of which the oldest give way; what waits to be kept is bounded."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import cast

from edge.gateway.desk import Desk, together
from edge.gateway.keeper import Keeper
from edge.gateway.talk import Talk

MOST_TALKS = 5000
MOST_WAITING = 1000
"""Datagrams on their way to the disk. One more is dropped: its sender gets no answer and sends it again."""

Address = tuple[str, int]


class UdpServer(asyncio.DatagramProtocol):
    def __init__(self, desk: Desk, keeper: Keeper, talk: Callable[[str], Talk]) -> None:
        self._desk, self._keeper, self._make = desk, keeper, talk
        self._talks: OrderedDict[Address, Talk] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if len(self._tasks) >= MOST_WAITING:
            self._desk.refused("no_room")
            return
        task = asyncio.get_running_loop().create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, addr: Address) -> None:
        """A datagram holds whole frames: what an earlier one left unfinished will not come any more."""
        turns = self._talk(addr).hear(data)
        if any(turn.ends for turn in turns):
            self._talks.pop(addr, None)
        kept = await self._keeper.keep(together(turn.kept for turn in turns))
        reply = b"".join(turn.reply for turn in turns)
        if kept and reply and self._transport is not None:
            self._transport.sendto(reply, addr)

    def _talk(self, addr: Address) -> Talk:
        talk = self._talks.pop(addr, None) or self._make(addr[0])
        self._talks[addr] = talk
        if len(self._talks) > MOST_TALKS:
            self._talks.popitem(last=False)
        return talk
