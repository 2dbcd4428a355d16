"""What the header of every page shows, looked up once a second for all screens together."""

from __future__ import annotations

import asyncio

from pipeline.api.desk import Desk
from pipeline.api.devices import look
from pipeline.api.health import Health, PartHealth
from pipeline.api.stream import Tail
from pipeline.message import SECOND
from pipeline.ports import NotConnected, Retryable


class Outlook:
    """The newest judgement, at most a second old."""

    def __init__(self, desk: Desk, tail: Tail) -> None:
        self.desk = desk
        self.tail = tail
        self._health = Health([], [])
        self._at = 0
        self._turn = asyncio.Lock()

    async def now(self) -> Health:
        """The judgement. Without the database there is one too: that this server is blind."""
        async with self._turn:
            if self.desk.clock() - self._at > SECOND:
                self._health = await self._look()
                self._at = self.desk.clock()
        return self._health

    async def _look(self) -> Health:
        try:
            return await look(self.desk, self.tail)
        except (NotConnected, Retryable) as error:
            return Health([PartHealth("api", "", None, f"cannot read: {error}", {})], [])
