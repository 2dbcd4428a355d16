"""From the spools to the broker, and receipts back: go-back-N.

The far side takes a stream's numbers only in order. So the window between the lowest number still held (`base`) and
the next to send is bounded; a receipt moves `base`; `resend` or a receipt that does not come in time moves `next`
back, and sending goes on from there.

A device may have two streams, each with its spool and epoch: the express one goes first, and carries what must not
wait behind a backlog.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from edge.errors import SpoolError
from edge.lane import AT_ONCE, Lane, together
from edge.link import Down, Event, Link, Taken, Up
from edge.settings import Mqtt, Publish
from edge.spool import Message, Spool, Summary
from pipeline import wire
from pipeline.message import Receipt, Status

log = logging.getLogger(__name__)
QUIET_S = 30.0
"""So long nothing may be confirmed until a person is told that the broker takes everything and nobody answers."""


class Publisher:
    """Feeds the broker from the spools, in a thread of its own.

    `said` gives the agent's own words for the status message: "" when all is well. `sent` and `connected` are for
    reading; `trouble` says why nothing gets through. With an `express` spool the source is live: a backlog then
    takes only its share of the line.
    """

    def __init__(
        self,
        device: str,
        spool: Spool,
        mqtt: Mqtt,
        *,
        publish: Publish,
        express: Spool | None = None,
        version: str = "",
        said: Callable[[], str] = lambda: "",
    ) -> None:
        self.connected = False
        self._trouble = "not connected yet"
        self._device, self._settings, self._version, self._said = device, publish, version, said
        share = publish.backlog_share if express else 1.0
        self._main = Lane(spool, publish, share=share)
        self._lanes = (Lane(express, publish, share=1.0), self._main) if express else (self._main,)
        self._news: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._flying: dict[int, Lane] = {}
        self._status_due = 0.0
        self._stop = threading.Event()
        self._goodbye = "stopped"
        will = self._envelope(Status(state="lost", version=version))
        self._link = Link(mqtt, device, will=will, tell=self._news.put, in_flight=publish.in_flight)
        self._thread = threading.Thread(target=self._run, name="publish", daemon=True)

    def start(self) -> None:
        self._link.start()
        self._thread.start()

    def stop(self, *, finished: bool = False) -> None:
        """Say "stopped", or "finished" for good, and disconnect; what waits stays in the spool."""
        self._goodbye = "finished" if finished else "stopped"
        self._stop.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(5)
        self._link.stop()

    @property
    def alive(self) -> bool:
        """Whether both threads run. If not, only a new process helps."""
        return self._thread.is_alive() and self._link.alive

    @property
    def sent(self) -> int:
        """How many have been handed to a broker in this life of the spools."""
        return sum(lane.sent for lane in self._lanes)

    @property
    def behind(self) -> bool:
        """Connected, with a backlog to send: what is live should take the express stream."""
        return self.connected and self._main.behind

    @property
    def trouble(self) -> str:
        """Why there is no connection, or that nobody answers; "" when all is well."""
        since = min((lane.quiet_since for lane in self._lanes if lane.quiet_since is not None), default=None)
        quiet = 0.0 if since is None else time.monotonic() - since
        if self._trouble or quiet < QUIET_S:
            return self._trouble
        return f"the broker takes messages, but no receipt has come for {quiet:.0f} s: is the bridge running?"

    def summary(self) -> Summary:
        """The figures of all streams together."""
        return together(self._lanes)

    def wake(self) -> None:
        """Something has been spooled."""
        self._news.put(None)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._hear(wait=not self._turn(time.monotonic()))
            except SpoolError as error:
                log.error("%s", error)
                self._stop.wait(1.0)  # the disk may come back; what is spooled stays
        if self.connected:
            self._link.publish("status", self._status(self._goodbye))

    def _hear(self, *, wait: bool) -> None:
        """Take the news; without `wait` only what is there already."""
        try:
            event = self._news.get(timeout=0.25) if wait else self._news.get_nowait()
            while True:
                self._take(event, time.monotonic())
                event = self._news.get_nowait()
        except queue.Empty:
            return

    def _take(self, event: Event | None, now: float) -> None:
        match event:
            case Up():
                self._up(now)
            case Down(reason):
                self.connected, self._trouble = False, reason
                self._flying.clear()
                for lane in self._lanes:
                    lane.down()
            case Taken(mid):
                if lane_of := self._flying.pop(mid, None):
                    lane_of.landed(now)
            case Receipt():
                for lane in self._lanes:
                    if event.epoch == lane.spool.epoch:
                        lane.receipt(event, now)

    def _up(self, now: float) -> None:
        log.info("connected; %d messages wait", self.summary().waiting)
        self.connected, self._trouble, self._status_due = True, "", now
        self._flying.clear()
        for lane in self._lanes:
            lane.up(now)

    def _turn(self, now: float) -> bool:
        """Send what may be sent; whether there may be more to send at once."""
        if not self.connected:
            return False
        for lane in self._lanes:
            lane.settle(now)
        if now >= self._status_due:
            self._status_due = now + self._settings.status_s
            self._link.publish("status", self._status("online"))
            for lane in self._lanes:
                lane.spool.tell_gaps()
        more = [self._feed(lane, now) for lane in self._lanes]
        return any(more)

    def _feed(self, lane: Lane, now: float) -> bool:
        messages = lane.next(self._settings.in_flight - len(self._flying), now)
        return all(self._send(lane, message, now) for message in messages) and len(messages) == AT_ONCE

    def _send(self, lane: Lane, message: Message, now: float) -> bool:
        if not lane.window.room:
            return False
        payload = wire.encode_envelope(self._device, lane.epoch, message.seq, lane.window.base, message.body)
        mid = self._link.publish(message.kind, payload)
        if mid is None:
            return False
        self._flying[mid] = lane
        lane.flew(message, len(payload), now)
        return True

    # ------------------------------------------------------------ status

    def _status(self, state: str) -> bytes:
        return self._envelope(self.describe(state, self.summary()))

    def describe(self, state: str, summary: Summary) -> Status:
        """The agent's own words about itself."""
        return Status(
            state=state,
            at=time.time_ns() // 1000,
            waiting=summary.waiting,
            oldest=summary.oldest,
            dropped=summary.dropped,
            detail=self._said(),
            version=self._version,
        )

    def _envelope(self, status: Status) -> bytes:
        body = wire.encode_body(status)
        return wire.encode_envelope(self._device, self._main.epoch, 0, self._main.spool.base, body)
