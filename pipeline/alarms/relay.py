"""The alarm book's events, in the order of their numbers, onto the `alarms` topic for other systems to follow."""

from __future__ import annotations

import asyncio

from pipeline import wire
from pipeline.log import Log
from pipeline.ports import AlarmBook, Snapshots
from pipeline.record import Record
from pipeline.retry import Patience

NAME = "alarms-relay"
EVERY = 0.25
"""Seconds between two looks at the book."""


class Relay:
    """At least once: the number reached is saved after the log has acknowledged; repeats have the same number."""

    def __init__(self, book: AlarmBook, log: Log, snapshots: Snapshots, *, settle: float = 0.0) -> None:
        self._book, self._log, self._snapshots, self._settle = book, log, snapshots, settle
        self.patience = Patience(NAME)

    async def run(self) -> None:
        """Until cancelled."""
        saved = await self.patience.insist(lambda: asyncio.to_thread(self._snapshots.load, NAME, wire.ALARMS, 0))
        number = saved[0] if saved else 0
        while True:
            number = await self.patience.insist(lambda after=number: self._round(after))  # type: ignore[misc]
            await asyncio.sleep(EVERY)

    async def _round(self, after: int) -> int:
        events = await asyncio.to_thread(self._book.events_after, after)
        if not events:
            return after
        await self._log.append(Record(wire.ALARMS, 0, event.alarm, wire.pack(event)) for event in events)
        await asyncio.sleep(self._settle)  # until the log has synced them
        await asyncio.to_thread(self._snapshots.save, NAME, wire.ALARMS, 0, events[-1].number, b"")
        return events[-1].number
