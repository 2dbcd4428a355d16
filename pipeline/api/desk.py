"""What every route and page works with: the ports, who is enrolled, and a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

from pipeline.ports import AlarmBook, Blobs, Pulse, Store
from pipeline.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K")


def wall_clock() -> int:
    """Microseconds since the Unix epoch, UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, eq=False)
class Desk:
    """The ports of the api, each given one call at a time, off the event loop, as their contract asks.

    `fleet` is the set of enrolled units: what is not in it is not shown, whatever the store holds. `kinds` names
    the group of some of them.
    """

    settings: Settings
    store: Store
    book: AlarmBook
    pulse: Pulse
    blobs: Blobs
    fleet: frozenset[str]
    clock: Callable[[], int] = wall_clock
    kinds: Mapping[str, str] = field(default_factory=dict)
    _lanes: dict[int, ThreadPoolExecutor] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, str]:
        """Group of each enrolled unit, empty where none is known."""
        return {unit: self.kinds.get(unit, "") for unit in self.fleet}

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `method` (bound to a port) in that port's own thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._lane(method), partial(method, *args, **kwargs))

    async def turn(self, port: K, work: Callable[[K], T]) -> T:
        """`work` with a port, in one turn of that port's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._lane_of(port), work, port)

    async def each(self, method: Callable[[K], T], keys: Iterable[K]) -> dict[K, T]:
        """`method` (bound to a port) of every key, in one turn of that port's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._lane(method), lambda: {key: method(key) for key in keys})

    def _lane(self, method: Callable[..., Any]) -> ThreadPoolExecutor:
        return self._lane_of(getattr(method, "__self__", method))

    def _lane_of(self, port: object) -> ThreadPoolExecutor:
        if id(port) not in self._lanes:
            self._lanes[id(port)] = ThreadPoolExecutor(1, thread_name_prefix="port")
        return self._lanes[id(port)]

    def close(self) -> None:
        """End the threads; the ports are closed by whoever opened them."""
        for lane in self._lanes.values():
            lane.shutdown(wait=True, cancel_futures=True)
        self._lanes.clear()
