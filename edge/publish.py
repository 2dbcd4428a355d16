"""From the spool to the broker, and receipts back: go-back-N.

The far side takes a stream's numbers only in order. So the window between the lowest number still held (`base`) and
the next to send is bounded; a receipt moves `base`; `resend` or a receipt that does not come in time moves `next`
back, and sending goes on from there.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.errors import SpoolError
from edge.link import Down, Event, Link, Taken, Up
from edge.settings import Mqtt, Publish
from edge.spool import Message, Spool, Summary
from pipeline import wire
from pipeline.message import Receipt, Status

log = logging.getLogger(__name__)
AT_ONCE = 200
"""Messages read from the spool at a time."""
SAME_REWIND_S = 2.0
PATIENCE_MOST_S = 60.0


@dataclass(slots=True)
class Window:
    """What is sent and not yet confirmed. Pure: times (monotonic seconds) are given.

    `patience_s` is how long no receipt may come before all is sent again; it doubles while that does not help.
    """

    base: int
    most: int = 2000
    most_bytes: int = 8 << 20
    patience_s: float = 5.0
    next: int = 0
    _sizes: deque[tuple[int, int]] = field(default_factory=deque)
    _bytes: int = 0
    _since: float = 0.0
    _patience: float = 0.0
    _rewound: tuple[int, float] = (0, 0.0)

    def __post_init__(self) -> None:
        self.next = self.next or self.base
        self._patience = self.patience_s

    @property
    def room(self) -> int:
        """How many more may be sent now."""
        return max(self.most - len(self._sizes), 0) if self._bytes < self.most_bytes else 0

    def sent(self, seq: int, size: int, now: float) -> None:
        """`seq` (always `next`) has been handed to the broker."""
        if not self._sizes:
            self._since = now
        self._sizes.append((seq, size))
        self._bytes += size
        self.next = seq + 1

    def confirmed(self, base: int, now: float) -> None:
        """Everything below `base` is settled."""
        if base <= self.base:
            return
        self.base, self._since, self._patience = base, now, self.patience_s
        while self._sizes and self._sizes[0][0] < base:
            self._bytes -= self._sizes.popleft()[1]
        self.next = max(self.next, base)

    def asked_again(self, seq: int, now: float) -> bool:
        """The far side needs `seq` next. False if we have just gone back there: its word crossed ours."""
        before, when = self._rewound
        if seq >= self.next or (seq == before and now - when < SAME_REWIND_S):
            return False
        self.rewind(seq, now)
        return True

    def rewind(self, seq: int, now: float) -> None:
        """Send again from `seq` on."""
        while self._sizes and self._sizes[-1][0] >= seq:
            self._bytes -= self._sizes.pop()[1]
        self.next, self._since, self._rewound = max(seq, self.base), now, (seq, now)

    def overdue(self, now: float) -> bool:
        """Whether something is unconfirmed for too long; asks for more patience next time."""
        if not self._sizes or now - self._since < self._patience:
            return False
        self._patience = min(self._patience * 2, PATIENCE_MOST_S)
        return True


class Publisher:
    """Feeds the broker from the spool, in a thread of its own.

    `said` gives the agent's own words for the status message: "" when all is well. `sent` and `connected` are for
    reading; `trouble` says why there is no connection.
    """

    _epoch: int
    _sent: int
    _window: Window

    def __init__(
        self,
        device: str,
        spool: Spool,
        mqtt: Mqtt,
        *,
        publish: Publish,
        version: str = "",
        said: Callable[[], str] = lambda: "",
    ) -> None:
        self.connected = False
        self.trouble = "not connected yet"
        self._device, self._spool, self._settings, self._version, self._said = device, spool, publish, version, said
        self._news: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._flying: set[int] = set()
        self._told: set[str] = set()
        self._status_due = 0.0
        self._stop = threading.Event()
        self._goodbye = "stopped"
        self._anew()
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
        """The highest number handed to a broker in this life of the spool."""
        return self._sent

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
                log.info("connected; %d messages wait", self._spool.summary().waiting)
                self.connected, self.trouble, self._status_due = True, "", now
                self._flying.clear()
                self._window.rewind(self._spool.base, now)
            case Down(reason):
                self.connected, self.trouble = False, reason
                self._flying.clear()
            case Taken(mid):
                self._flying.discard(mid)
            case Receipt():
                self._receipt(event, now)

    def _receipt(self, receipt: Receipt, now: float) -> None:
        if receipt.epoch != self._spool.epoch:
            return
        if receipt.seq > self._spool.last:
            log.error("the far side has more than this spool ever held (restored from a copy?): new epoch")
            self._spool.renew()
            self._anew()
            return
        if receipt.seq >= self._window.base:
            self._spool.confirm(receipt.epoch, receipt.seq)
            self._window.confirmed(receipt.seq + 1, now)
        if receipt.resend and self._window.asked_again(receipt.seq + 1, now):
            self._tell(logging.INFO, "asked to send again from %d", receipt.seq + 1)

    def _tell(self, level: int, words: str, seq: int) -> None:
        """The first time means little: at a normal start the bridge is still coming up."""
        log.log(level if words in self._told else logging.DEBUG, words, seq)
        self._told.add(words)

    def _turn(self, now: float) -> bool:
        """Send what may be sent; whether there may be more to send at once."""
        if self._epoch != self._spool.epoch:
            self._anew()
        if not self.connected:
            return False
        if now >= self._status_due:
            self._status_due = now + self._settings.status_s
            self._link.publish("status", self._status("online"))
        self._window.confirmed(self._spool.base, now)  # what gave way in a full spool is settled too
        if self._window.overdue(now):
            self._tell(logging.WARNING, "no receipt in time; sending again from %d", self._window.base)
            self._window.rewind(self._window.base, now)
        most = min(self._window.room, self._settings.in_flight - len(self._flying), AT_ONCE)
        messages = self._spool.pending(self._window.next - 1, most) if most > 0 else []
        return all(self._send(message, now) for message in messages) and len(messages) == AT_ONCE

    def _send(self, message: Message, now: float) -> bool:
        if not self._window.room:
            return False
        payload = wire.encode_envelope(self._device, self._epoch, message.seq, self._window.base, message.body)
        mid = self._link.publish(message.kind, payload)
        if mid is None:
            return False
        self._flying.add(mid)
        self._window.sent(message.seq, len(payload), now)
        self._sent = max(self._sent, message.seq)
        return True

    def _anew(self) -> None:
        """The spool has a new epoch, or is just opened."""
        settings = self._settings
        self._epoch = self._spool.epoch
        base = self._spool.base
        self._sent = base - 1
        self._window = Window(base, settings.window, settings.window_bytes, settings.receipt_timeout_s)

    # ------------------------------------------------------------ status

    def _status(self, state: str) -> bytes:
        summary = self._spool.summary()
        return self._envelope(self.describe(state, summary))

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
        return wire.encode_envelope(self._device, self._spool.epoch, 0, self._spool.base, body)
