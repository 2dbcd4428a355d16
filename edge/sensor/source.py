"""A table of sensors as one device: each row is a channel, and none of them stops the others.

rows ──► pollers (a bus, a command, a file each) ──┐
     └─► listeners (a broker each) ────────────────┴─► readings ──► outlet
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edge.clock import DeviceClock
from edge.outlet import Outlet
from edge.rows import AnyRow, CommandRow, FileRow, ModbusRow, MqttRow, check
from edge.sensor.listen import Listener
from edge.sensor.machine import command_value, file_value
from edge.sensor.poll import Poller
from edge.settings import Sensor
from pipeline.message import Reading, Readings

TURN_S = 0.1
AT_ONCE = 500
MOST_TOLD = 8
MOST_WAITING = 10_000
"""Readings in memory while the disk is slow; what comes beyond is lost, and said."""


class SensorSource:
    """Sends the readings of all rows as they come. SetupError for a row that makes no sense."""

    def __init__(self, settings: Sensor, clock: DeviceClock | None = None) -> None:
        check(settings.sensor)
        self._rows, self._clock = settings.sensor, clock or DeviceClock()
        self._readings: queue.Queue[Reading] = queue.Queue(MOST_WAITING)
        self._overrun = False
        self._listeners = [Listener(rows, self._clock, self._tell) for rows in _shared(self._rows, MqttRow)]
        self._pollers: list[Poller[Any]] = list(self._make_pollers())

    @property
    def trouble(self) -> str:
        """Row by row, the first few of them."""
        said = self.troubles()
        told = [f"{row.channel}: {said[row.channel]}" for row in self._rows if row.channel in said]
        more = [f"and {len(told) - MOST_TOLD} rows more"] if len(told) > MOST_TOLD else []
        overrun = ["readings come faster than the disk takes them"] if self._overrun else []
        return "; ".join(overrun + told[:MOST_TOLD] + more)

    def troubles(self) -> dict[str, str]:
        """What is wrong, by channel; those that are well are not in it."""
        found = dict[str, str]()
        for poller in self._pollers:
            found |= poller.troubles()
        for listener in self._listeners:
            found |= listener.troubles()
        return found

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        """Until `stop`."""
        for listener in self._listeners:
            listener.start()
        try:
            while not stop.is_set():
                now = time.monotonic()
                for poller in self._pollers:
                    poller.turn(now)
                if readings := self._come():
                    outlet.send("reading", [Readings(readings)])
        finally:
            for listener in self._listeners:
                listener.stop()

    def _come(self) -> list[Reading]:
        """What has come, after a short wait for the first; what comes together goes together."""
        come = list[Reading]()
        try:
            come.append(self._readings.get(timeout=TURN_S))
            while len(come) < AT_ONCE:
                come.append(self._readings.get_nowait())
        except queue.Empty:
            self._overrun = False
        return come

    def _tell(self, reading: Reading) -> None:
        try:
            self._readings.put_nowait(reading)
        except queue.Full:
            self._overrun = True

    def _make_pollers(self) -> Iterator[Poller[Any]]:
        for rows in _shared(self._rows, ModbusRow):
            yield Poller(rows, _bus(rows[0]), self._clock, self._tell)
        for row in self._rows:
            if isinstance(row, CommandRow):
                yield Poller([row], lambda row: (command_value(row), None), self._clock, self._tell)
            elif isinstance(row, FileRow):
                yield Poller([row], file_value, self._clock, self._tell)


def _shared(rows: Sequence[AnyRow], kind: type[Any]) -> list[list[Any]]:
    """The rows of a kind, those with the same url together."""
    by_url: dict[str, list[Any]] = {}
    for row in rows:
        if isinstance(row, kind):
            by_url.setdefault(row.url, []).append(row)
    return list(by_url.values())


def _bus(row: ModbusRow) -> Callable[[ModbusRow], tuple[float, None]]:
    from edge.sensor.modbus import Bus  # pymodbus only where it is used

    bus = Bus(row)
    return lambda row: (bus.value(row), None)
