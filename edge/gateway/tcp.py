"""TCP: one task for each tracker, and limits on what a stranger can cost.

A connection that names no known device within `login_s`, that sends no sound frame for `idle_s`, or 64 kB of
anything else, is closed: bytes that trickle in do not keep it open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from edge.gateway.desk import together
from edge.gateway.door import Door, address_of, watched
from edge.gateway.keeper import Keeper
from edge.gateway.talk import Talk, Turn
from edge.settings import Gateway

log = logging.getLogger(__name__)
CHUNK = 4096
RUBBISH = 64 * 1024
WRITE_S = 30.0
"""A tracker that takes no replies for so long is gone."""


class Closed(Exception):
    """The connection must be closed; the text says why. Never leaves this module."""


class TcpServer:
    """Called by asyncio with each connection; `talk` makes the protocol's side of it from the peer's address."""

    def __init__(self, settings: Gateway, door: Door, keeper: Keeper, talk: Callable[[str], Talk]) -> None:
        self._login_s, self._idle_s = settings.login_s, settings.idle_s
        self._door, self._keeper, self._talk = door, keeper, talk

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = self._talk(address_of(writer))
        with self._door.guest(writer) as admitted:
            if not admitted:
                return
            try:
                watched(writer)
                await self._converse(reader, writer, talk)
            except TimeoutError:
                self._door.desk.refused("silent")
                log.debug("%s: nothing sound for too long: closed", talk.device or address_of(writer))
            except Closed as reason:
                log.debug("%s: closed: %s", address_of(writer), reason)
            except OSError as error:
                log.debug("%s: %s", talk.device, error)
            finally:
                self._door.left(talk.device, writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: Talk) -> None:
        """Until the peer ends it. Closed, TimeoutError, OSError."""
        loop = asyncio.get_running_loop()
        deadline, unsound = loop.time() + self._login_s, 0
        while True:
            async with asyncio.timeout_at(deadline):
                data = await reader.read(CHUNK)
            if not data:
                return
            turns = talk.hear(data)
            unsound += len(data)
            if any(turn.heard for turn in turns):
                deadline, unsound = loop.time() + self._idle_s, 0
                self._door.named(talk.device, writer)
            await self._answer(writer, turns)
            if unsound > RUBBISH:
                self._door.desk.refused("rubbish")
                raise Closed(f"{unsound} bytes without a sound frame")

    async def _answer(self, writer: asyncio.StreamWriter, turns: Sequence[Turn]) -> None:
        """Keep what the turns bring, then reply to all of them: no reply goes out before."""
        if not await self._keeper.keep(together(turn.kept for turn in turns)):
            raise Closed("it could not be kept; the tracker will send it again")
        if writer.is_closing():
            raise Closed("the tracker came again")
        writer.write(b"".join(turn.reply for turn in turns))
        async with asyncio.timeout(WRITE_S):
            await writer.drain()
        if turns and turns[-1].ends:
            raise Closed(turns[-1].ends)
