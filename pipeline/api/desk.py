"""What every route and page works with: the ports, who is enrolled, and a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from pipeline.ports import AlarmBook, Blobs, Pulse, Store
from pipeline.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


def wall_clock() -> int:
    """Microseconds since the Unix epoch, UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, eq=False)
class Desk:
    """The ports of the api, each given one call at a time, off the event loop, as their contract asks.

    `fleet` is the set of enrolled units: what is not in it is not shown, whatever the store holds.
    """

    settings: Settings
    store: Store
    book: AlarmBook
    pulse: Pulse
    blobs: Blobs
    fleet: frozenset[str]
    clock: Callable[[], int] = wall_clock
    _lanes: dict[int, ThreadPoolExecutor] = field(default_factory=dict)

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `method` (bound to a port) in that port's own thread."""
        port = id(getattr(method, "__self__", method))
        if port not in self._lanes:
            self._lanes[port] = ThreadPoolExecutor(1, thread_name_prefix="port")
        return await asyncio.get_running_loop().run_in_executor(self._lanes[port], partial(method, *args, **kwargs))

    def close(self) -> None:
        """End the threads; the ports are closed by whoever opened them."""
        for lane in self._lanes.values():
            lane.shutdown(wait=True, cancel_futures=True)
        self._lanes.clear()
