"""Puts what trackers sent on the disk, many connections' worth in one fsync, and says so to each."""

from __future__ import annotations

import asyncio

from edge.clock import DeviceClock
from edge.gateway.desk import Kept, together
from edge.outlet import Outlet
from pipeline.message import SECOND, Clock, Fixes, Readings

PROMISE_EVERY_S = 10.0
AT_ONCE = 2000
"""Connections' worth in one fsync: bounds its time, and so everybody's wait."""


class Keeper:
    """`keep` returns when its fixes are durable. `run` is the one task that writes."""

    def __init__(self, outlet: Outlet, late_s: float, clock: DeviceClock | None = None) -> None:
        self._outlet = outlet
        self._late = round(late_s * SECOND)
        self._clock = clock or DeviceClock()
        self._waiting: list[tuple[Kept, asyncio.Future[bool]]] = []
        self._news = asyncio.Event()

    async def keep(self, kept: Kept) -> bool:
        """Whether it is on the disk. False: it is not, and must not be answered."""
        if not kept:
            return True
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((kept, done))
        self._news.set()
        return await done

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            if not self._waiting:
                self._news.clear()
            kept = together(each for each, _ in group)
            well = await asyncio.to_thread(self._send, kept)
            for _, done in group:
                if not done.cancelled():
                    done.set_result(well)

    async def promise(self) -> None:
        """Every ten seconds, until cancelled: a unit's silence can be told, although its tracker says nothing."""
        while True:
            await asyncio.sleep(PROMISE_EVERY_S)
            now, state = self._clock.now()
            if state == Clock.SYNCED:
                await asyncio.to_thread(self._outlet.send, "position", [Fixes([], now - self._late)])

    def _send(self, kept: Kept) -> bool:
        """Alarms first, and before every backlog: they are few, and without their fix they still tell."""
        if kept.readings and not self._outlet.send("reading", [Readings(kept.readings)], urgent=True):
            return False
        return not kept.fixes or self._outlet.send("position", [Fixes(kept.fixes)])
