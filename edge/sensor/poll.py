"""Rows that are asked for their value now and then, in a thread that nobody waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from edge.clock import DeviceClock
from edge.errors import SourceError
from edge.rows import Row
from edge.sensor.value import calibrated
from edge.watch import BackOff
from pipeline.message import Clock, Reading

R = TypeVar("R", bound=Row)
HANGS_S = 30.0
UNFORESEEN = "ended by an error that nobody foresaw: see the log"


class Poller(Generic[R]):
    """Rows that must be read one after the other, because they share a line.

    `read` gives a raw value and its own time, if it has one. A row that fails is asked less and less often. A read
    that hangs holds up the rows of its own poller only.
    """

    def __init__(
        self,
        rows: Sequence[R],
        read: Callable[[R], tuple[float, int | None]],
        clock: DeviceClock,
        tell: Callable[[Reading], None],
    ) -> None:
        self._rows, self._read, self._clock, self._tell = rows, read, clock, tell
        self._due = dict.fromkeys((row.channel for row in rows), 0.0)
        self._patience = {row.channel: BackOff(1.0, 300.0) for row in rows}
        self._troubles: dict[str, str] = {}
        self._times: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._begun = 0.0
        self._asking = ""

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def turn(self, now: float) -> None:
        """Begin to read what is due; `now` in monotonic seconds."""
        rows = [] if self.busy else [row for row in self._rows if self._due[row.channel] <= now]
        if rows:
            self._begun = now
            self._thread = threading.Thread(target=self._ask, args=(rows,), name="sensor", daemon=True)
            self._thread.start()

    def troubles(self) -> dict[str, str]:
        """By channel."""
        lasts = time.monotonic() - self._begun
        if self.busy and lasts > HANGS_S:
            return {row.channel: f"no answer for {lasts:.0f} s" for row in self._rows}
        ended = {self._asking: UNFORESEEN} if self._asking and not self.busy else {}
        return self._troubles | ended

    def _ask(self, rows: Sequence[R]) -> None:
        for row in rows:
            self._asking, self._begun = row.channel, time.monotonic()  # stands if this thread ends here
            self._due[row.channel] = self._begun + HANGS_S
            self._one(row)
            self._asking = ""

    def _one(self, row: R) -> None:
        asked = time.monotonic()
        try:
            raw, told = self._read(row)
            at, state = self._clock.now()
            reading = Reading(
                row.channel, told or at, calibrated(row, raw), row.unit, Clock.UNKNOWN if told else state
            )
        except SourceError as error:
            self._troubles = self._troubles | {row.channel: str(error)}
            self._due[row.channel] = asked + max(row.every_s, self._patience[row.channel].next())
            return
        self._troubles = {name: words for name, words in self._troubles.items() if name != row.channel}
        self._patience[row.channel].reset()
        self._due[row.channel] = asked + row.every_s
        if told is None or self._times.get(row.channel) != told:  # an old value is told once
            self._tell(reading)
        self._times[row.channel] = reading.at
